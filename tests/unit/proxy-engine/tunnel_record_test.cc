// The one record that each tunnel leaves behind at the node of its server: who came by it, where it led, what
// it carried, and how it ended.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "tests/unit/proxy-engine/tunnel_rig.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;

class TunnelRecordTest : public TunnelTest {
 protected:
  // The only one, once it is there.
  SeenRecord record() {
    EXPECT_TRUE(until([&] { return sink_.count() > 0; }));
    const std::vector<SeenRecord> all = sink_.wait(0);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? SeenRecord{} : all.front();
  }
  static std::shared_ptr<const pb::Authorization> denying(const char* account) {
    auto out = std::make_shared<pb::Authorization>();
    out->set_name("one");
    out->set_namespace_("shop");
    out->set_action(pb::DENY);
    out->add_rules()->add_clauses()->add_matches()->add_principals()->set_exact(
        str_cat("cluster.local/ns/shop/sa/", account));
    return out;
  }
};

TEST_P(TunnelRecordTest, OneThatEndsWellSaysWhoCameWhereAndWhatItCarried) {
  {
    const auto tunnel = opened();
    FarEnd application = accept_application();
    EXPECT_EQ(send(*tunnel, "question"), 0);
    ASSERT_TRUE(until([&] { return application.has("question"); }));
    application.send("the answer");
    application.finish_sending();
    InputBuffer input(loop_->buffers());
    EXPECT_EQ(receive(*tunnel, input), 10);
    EXPECT_EQ(sink_.count(), 0u) << "it is still open";
    tunnel->socket.shutdown_write();
    ASSERT_TRUE(until([&] { return application.end() == FarEnd::End::kFin; }));
  }
  const SeenRecord seen = record();
  EXPECT_EQ(seen.protocol, ExchangeRecord::Protocol::kTunnel);
  EXPECT_EQ(seen.outcome, Outcome::kOk) << label(seen.outcome);
  EXPECT_EQ(seen.status, 200);
  EXPECT_EQ(seen.identity, kClientId);
  EXPECT_EQ(seen.dialled, application_address_);
  EXPECT_EQ(seen.upstream, application_address_);
  EXPECT_EQ(seen.received_bytes, 8u);
  EXPECT_EQ(seen.sent_bytes, 10u);
}

TEST_P(TunnelRecordTest, AnApplicationThatBreaksOffIsTheReason) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  application.reset();
  EXPECT_EQ(record().outcome, Outcome::kUpstreamReset);
}

TEST_P(TunnelRecordTest, AClientThatBreaksOffIsTheReason) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  tunnel->socket.reset();
  EXPECT_EQ(record().outcome, Outcome::kDownstreamReset);
}

TEST_P(TunnelRecordTest, OneThatNobodyAnswersIsRefused) {
  application_.reset();
  const auto tunnel = call();
  ASSERT_TRUE(until([&] { return tunnel->step.done; }));
  const SeenRecord seen = record();
  EXPECT_EQ(seen.outcome, Outcome::kConnectRefused);
  EXPECT_EQ(seen.status, 503);
  EXPECT_EQ(seen.upstream, SocketAddress()) << "nobody was reached";
  EXPECT_EQ(seen.dialled, application_address_);
}

TEST_P(TunnelRecordTest, OneThatAPolicyForbidsIsDeniedBeforeAndAfterItOpened) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  use_policies({denying("client")});
  const SeenRecord cut = record();
  EXPECT_EQ(cut.outcome, Outcome::kAccessDenied);
  EXPECT_EQ(cut.status, 200);
  const auto denied = call();
  ASSERT_TRUE(until([&] { return denied->step.done && sink_.count() == 2; }));
  EXPECT_EQ(sink_.wait(2)[1].outcome, Outcome::kAccessDenied);
  EXPECT_EQ(sink_.wait(2)[1].status, 401);
  EXPECT_EQ(sink_.wait(2)[1].identity, kClientId);
}

INSTANTIATE_TEST_SUITE_P(, TunnelRecordTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
