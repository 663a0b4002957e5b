// What an end of a tunnel lacks in its first moments is waited for: its certificate, or a peer that listens.
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/hbone_pair.h"

namespace weft::proxy {
namespace {

class HboneBeginningTest : public HbonePairTest {};

TEST_P(HboneBeginningTest, APodThatHasNoCertificateYetWaitsForIt) {
  use_certificates(false);
  const auto early = call();
  pass(600);
  const auto late = call();
  // Others' certificates are no news for these.
  use_certificates(false);
  pass(300);
  EXPECT_FALSE(early->step.done);
  EXPECT_FALSE(late->step.done);
  use_certificates(true);
  ASSERT_TRUE(until([&] { return early->step.done && late->step.done; }));
  EXPECT_EQ(early->status(), ConnectStatus::kConnected);
  EXPECT_EQ(late->status(), ConnectStatus::kConnected);
}

TEST_P(HboneBeginningTest, APodThatGetsNoCertificateIsToldSoAfterASecond) {
  use_certificates(false);
  const auto early = call();
  pass(600);
  const auto late = call();
  pass(500);
  ASSERT_TRUE(until([&] { return early->step.done; }));
  EXPECT_EQ(early->status(), ConnectStatus::kFailed);
  EXPECT_FALSE(late->step.done);
  pass(600);
  ASSERT_TRUE(until([&] { return late->step.done; }));
  EXPECT_EQ(late->status(), ConnectStatus::kFailed);
}

TEST_P(HboneBeginningTest, WhoIsDialledBeforeItHasACertificateServesOnceItDoes) {
  use_certificates(true, false);
  const auto early = call();
  ASSERT_TRUE(until([&] { return server_->handshake_count == 1; }));
  pass(900);
  // Others' certificates are no news for it.
  use_certificates(true, false);
  pass(50);
  EXPECT_FALSE(early->step.done);
  use_certificates(true);
  ASSERT_TRUE(until([&] { return early->step.done; }));
  EXPECT_EQ(early->status(), ConnectStatus::kConnected);
}

TEST_P(HboneBeginningTest, WhoGetsNoCertificateKeepsNobodyWaiting) {
  use_certificates(true, false);
  const auto early = call();
  ASSERT_TRUE(until([&] { return server_->handshake_count == 1; }));
  pass(1100);
  ASSERT_TRUE(until([&] { return early->step.done; }));
  EXPECT_EQ(early->status(), ConnectStatus::kFailed);
  EXPECT_EQ(server_->handshake_count, 0u);
  EXPECT_EQ(ended_, 1);
}

TEST_P(HboneBeginningTest, APeerThatListensSomeMillisecondsLaterIsReached) {
  hbone_listener_.reset();
  const auto early = call();
  pass(300);
  const auto late = call();
  pass(300);
  EXPECT_FALSE(early->step.done);
  EXPECT_EQ(hbone_->connections(), 1u) << "both wait for the same one";
  hbone_listener_ = listen_at(ip_, kHbonePort, &hbone_address_);
  pass(150);
  ASSERT_TRUE(until([&] { return early->step.done && late->step.done; }));
  EXPECT_EQ(early->status(), ConnectStatus::kConnected);
  EXPECT_EQ(late->status(), ConnectStatus::kConnected);
}

TEST_P(HboneBeginningTest, APeerThatRefusesAllTheTimeIsRefusedAfterASecond) {
  hbone_listener_.reset();
  const auto early = call();
  pass(600);
  const auto late = call();
  const auto given_up = call();
  pass(500);
  ASSERT_TRUE(until([&] { return early->step.done; }));
  EXPECT_EQ(early->status(), ConnectStatus::kRefused);
  EXPECT_FALSE(late->step.done);
  given_up->connector.cancel();
  pass(600);
  ASSERT_TRUE(until([&] { return late->step.done; }));
  EXPECT_EQ(late->status(), ConnectStatus::kRefused);
  EXPECT_TRUE(until([&] { return hbone_->connections() == 0; }));
}

// Its namespace's descriptor may be another pod's by now.
TEST_P(HboneBeginningTest, APodThatIsGoneMeanwhileDialsNobody) {
  hbone_listener_.reset();
  const auto refused = call();
  pass(50);
  EXPECT_FALSE(refused->step.done);
  client_->use->gone = true;
  hbone_listener_ = listen_at(ip_, kHbonePort, &hbone_address_);
  pass(150);
  ASSERT_TRUE(until([&] { return refused->step.done; }));
  EXPECT_EQ(refused->status(), ConnectStatus::kRefused);
  EXPECT_TRUE(until([&] { return hbone_->connections() == 0; }));

  client_->use->gone = false;
  use_certificates(false);
  const auto nameless = call();
  pass(50);
  EXPECT_FALSE(nameless->step.done);
  client_->use->gone = true;
  use_certificates(true);
  ASSERT_TRUE(until([&] { return nameless->step.done; }));
  EXPECT_EQ(nameless->status(), ConnectStatus::kFailed);
  EXPECT_EQ(hbone_->connections(), 0u);
}

INSTANTIATE_TEST_SUITE_P(, HboneBeginningTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
