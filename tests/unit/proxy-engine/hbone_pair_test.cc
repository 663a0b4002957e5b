// HbonePool and HboneServer against each other: what tunnels carry and how they end, who waits for whom, and
// what becomes of tunnels being opened when an end leaves.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "tests/unit/proxy-engine/hbone_pair.h"
#include "tests/unit/proxy-engine/hbone_peer.h"

namespace weft::proxy {
namespace {

namespace pb = istio::security;

TEST_P(HbonePairTest, BytesGoBothWaysAndEachEndIsAnEnd) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  EXPECT_EQ(send(*tunnel, "question"), 0);
  ASSERT_TRUE(until([&] { return application.has("question"); }));
  tunnel->socket.shutdown_write();
  ASSERT_TRUE(until([&] { return application.end() == FarEnd::End::kFin; }));
  application.send("answer");
  application.finish_sending();
  int end = 1;
  EXPECT_EQ(read_all(*tunnel, &end), "answer");
  EXPECT_EQ(end, 0);
}

TEST_P(HbonePairTest, AnApplicationThatBreaksOffIsNoEnd) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  application.send("half an ans");
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(*tunnel, input), 11);
  application.reset();
  input.clear();
  EXPECT_EQ(receive(*tunnel, input), -ECONNRESET);
}

TEST_P(HbonePairTest, AClientThatBreaksOffResetsTheApplication) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  EXPECT_EQ(send(*tunnel, "half a quest"), 0);
  ASSERT_TRUE(until([&] { return application.has("half a quest"); }));
  tunnel->socket.reset();
  ASSERT_TRUE(until([&] { return application.end() != FarEnd::End::kOpen; }));
  EXPECT_EQ(application.end(), FarEnd::End::kReset);
}

TEST_P(HbonePairTest, AClientThatNeedsNothingMoreEndsTheApplicationsConnection) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  tunnel->socket.close();
  ASSERT_TRUE(until([&] { return application.end() != FarEnd::End::kOpen; }));
  EXPECT_EQ(application.end(), FarEnd::End::kFin);
}

// The clock stands still: nothing here waits for the idle timeout.
TEST_P(HbonePairTest, AClientThatBreaksOffAfterItsLastWordIsHeardAtOnce) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  tunnel->socket.shutdown_write();
  ASSERT_TRUE(until([&] { return application.end() == FarEnd::End::kFin; }));
  EXPECT_EQ(server_->use->exchanges.get(), 1u);
  tunnel->socket.reset();
  EXPECT_TRUE(until([&] { return server_->use->exchanges.get() == 0; }));
}

TEST_P(HbonePairTest, TunnelsThatNobodyReadsStopNoOther) {
  constexpr size_t kFive = 5, kMuch = 6 * 1024 * 1024;
  const std::string block = numbered(256 * 1024);
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<FarEnd> applications;
  for (size_t i = 0; i < kFive; ++i) {
    calls.push_back(opened());
    applications.push_back(accept_application());
    // Read for a while, so that it is trusted with more.
    InputBuffer input(loop_->buffers());
    for (size_t taken = 0; taken < kMuch; input.clear()) {
      TestStep reading;
      reading.began(calls[i]->socket.recv(reading.operation, input));
      ASSERT_TRUE(until([&] {
        applications[i].send(block);
        return reading.done;
      }));
      ASSERT_GT(reading.result, 0);
      taken += static_cast<size_t>(reading.result);
    }
  }
  uint64_t held = 0;
  int turns = 0;  // since more came
  ASSERT_TRUE(until([&] {
    for (FarEnd& each : applications) each.send(block);
    const uint64_t now = client_->use->buffered_bytes.get();
    turns = now == held ? turns + 1 : 0;
    held = now;
    return turns > 50;
  }));
  EXPECT_GT(held, kMuch);
  const auto other = opened();
  accept_application().send("x");
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(*other, input), 1);
  EXPECT_EQ(hbone_->connections(), 1u);
}

TEST_P(HbonePairTest, AConnectionThatIsCutIsNoEndForItsTunnels) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  servers_->cut_all();
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(*tunnel, input), -ECONNRESET);
  ASSERT_TRUE(until([&] { return application.end() != FarEnd::End::kOpen; }));
  EXPECT_EQ(application.end(), FarEnd::End::kReset);
}

TEST_P(HbonePairTest, WhatTheReceiverDoesNotTakeIsChargedToItsPodUntilItDoes) {
  const auto tunnel = opened();
  FarEnd application = accept_application();
  const std::string large = numbered(128 * 1024);
  size_t sent = 0;
  ASSERT_TRUE(until([&] {
    sent += application.send(std::string_view(large).substr(sent));
    return sent == large.size() && client_->use->buffered_bytes.get() >= large.size();
  }));
  application.finish_sending();
  int end = 1;
  EXPECT_TRUE(read_all(*tunnel, &end) == large);
  EXPECT_LT(client_->use->buffered_bytes.get(), 64u * 1024);
}

TEST_P(HbonePairTest, WhatWasNeverTakenIsChargedNoLongerThanTheTunnelLives) {
  auto tunnel = opened();
  FarEnd application = accept_application();
  const std::string large = numbered(128 * 1024);
  size_t sent = 0;
  ASSERT_TRUE(until([&] {
    sent += application.send(std::string_view(large).substr(sent));
    return sent == large.size() && client_->use->buffered_bytes.get() >= large.size();
  }));
  tunnel.reset();
  EXPECT_TRUE(until([&] { return client_->use->buffered_bytes.get() < 64 * 1024; }));
}

TEST_P(HbonePairTest, MoreDialsThanAConnectionTakesShareSeveral) {
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 250; ++i) calls.push_back(call());
  ASSERT_TRUE(all_over(calls));
  EXPECT_EQ(count(calls, ConnectStatus::kConnected), 250);
  EXPECT_EQ(hbone_->connections(), 3u);
}

TEST_P(HbonePairTest, ADialWhileTheServerLeavesIsServed) {
  const auto first = opened();
  servers_->drain();
  const auto second = call();
  ASSERT_TRUE(until([&] { return second->step.done; }));
  EXPECT_EQ(second->status(), ConnectStatus::kConnected);
  FarEnd one = accept_application(), other = accept_application();
  other.send("x");
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(*second, input), 1);
}

TEST_P(HbonePairTest, ADialWhoseConnectionIsInTheHandshakeWhenTheServerLeavesIsServed) {
  const auto dial = call();
  ASSERT_TRUE(until([&] { return server_->handshake_count == 1; }));
  context_->draining = true;
  servers_->drain();
  EXPECT_EQ(ended_, 0);
  ASSERT_TRUE(until([&] { return dial->step.done; }));
  EXPECT_EQ(dial->status(), ConnectStatus::kConnected);
}

TEST_P(HbonePairTest, AnIdleConnectionEndsWhenItsServerLeaves) {
  opened().reset();
  ASSERT_TRUE(until([&] { return server_->use->connections.get() == 1; }));
  servers_->drain();
  EXPECT_EQ(ended_, 0);
  ASSERT_TRUE(until([&] {
    clock_.advance(kNsPerMs);
    return ended_ == 1;
  }));
  EXPECT_EQ(hbone_->connections(), 0u);
}

TEST_P(HbonePairTest, WhoSaysNothingTakesNoRoomFromThePodAndGoesFirst) {
  std::vector<FarEnd> silent;
  for (uint32_t i = 0; i < HboneServers::kMaxHandshakes + 10; ++i) {
    TestConnection one = TestConnection::to(hbone_address_);
    silent.emplace_back(UniqueFd(fcntl(one.fd(), F_DUPFD_CLOEXEC, 0)));
    until([] { return true; });
  }
  EXPECT_EQ(server_->use->connections.get(), 0u);
  EXPECT_EQ(server_->handshake_count, HboneServers::kMaxHandshakes);
  EXPECT_EQ(ended_, 10);
  ASSERT_TRUE(until([&] { return silent.front().end() != FarEnd::End::kOpen; }));
  EXPECT_EQ(silent.back().end(), FarEnd::End::kOpen);
  const auto tunnel = opened();
  EXPECT_EQ(server_->use->connections.get(), 1u);
  pass(10'100);
  EXPECT_EQ(server_->handshake_count, 0u);
  EXPECT_EQ(server_->use->connections.get(), 1u);
}

TEST_P(HbonePairTest, APodWithoutRoomRefusesWhoHasProvedItself) {
  pod_has_room_ = false;
  const auto dial = call();
  ASSERT_TRUE(until([&] { return dial->step.done; }));
  EXPECT_NE(dial->status(), ConnectStatus::kConnected);
  EXPECT_EQ(server_->use->connections.get(), 0u);
  EXPECT_EQ(server_->handshake_count, 0u);
}

TEST_P(HbonePairTest, OnlyConnectionsWithoutTunnelsAreGivenUp) {
  auto tunnel = opened();
  ASSERT_TRUE(until([&] { return server_->use->connections.get() == 1; }));
  EXPECT_FALSE(HboneServers::give_up_idle(*server_));
  EXPECT_EQ(hbone_->trim(10), 0u);
  tunnel.reset();
  accept_application().finish_sending();
  ASSERT_TRUE(until([&] { return server_->tunnel_servers.front()->idle(); }));
  EXPECT_TRUE(HboneServers::give_up_idle(*server_));
  EXPECT_EQ(server_->use->connections.get(), 0u);
  ASSERT_TRUE(until([&] { return hbone_->connections() == 0; }));
  opened().reset();
  EXPECT_EQ(hbone_->trim(10), 1u);
  pass(1);
  EXPECT_TRUE(until([&] { return hbone_->connections() == 0; }));
}

TEST_P(HbonePairTest, APolicyThatForbidsEndsTunnelsAndOneThatIsNotKnownDenies) {
  const auto tunnel = opened();
  use_policies({policy(pb::DENY, "somebody")});
  FarEnd application = accept_application();
  EXPECT_EQ(send(*tunnel, "still"), 0);
  ASSERT_TRUE(until([&] { return application.has("still"); }));
  use_policies({policy(pb::DENY, "client")});
  InputBuffer input(loop_->buffers());
  EXPECT_EQ(receive(*tunnel, input), -ECONNRESET);
  use_policies({policy(pb::ALLOW, "client"), nullptr});
  const auto denied = call();
  ASSERT_TRUE(until([&] { return denied->step.done; }));
  EXPECT_EQ(denied->status(), ConnectStatus::kRefused);
  use_policies({policy(pb::ALLOW, "client")});
  opened();
}

TEST_P(HbonePairTest, AWorkloadOnTheSameNodeIsDialledPlainly) {
  use_policies({});
  WorkloadSpec peer;
  peer.node = "far";
  peer.identity = target_;
  const Snapshot& snapshot = context_->current->snapshot();
  DialParameters dial;
  EXPECT_FALSE(choose_tunnel(*context_, *server_, snapshot, nullptr, dial));
  EXPECT_FALSE(choose_tunnel(*context_, *server_, snapshot, &peer, dial)) << "its own node";
  peer.uid = "neighbour";
  EXPECT_FALSE(choose_tunnel(*context_, *server_, snapshot, &peer, dial)) << "not known";
  EXPECT_EQ(dial.hbone, nullptr);
  Snapshot judging;
  judging.generation = snapshot.generation + 1;
  judging.sources = snapshot.sources;
  judging.sources.push_back(Source{.uid = "neighbour", .judges_requests = true});
  judging.source_by_uid.emplace(kServerUid, 0);
  judging.source_by_uid.emplace("neighbour", 1);
  EXPECT_FALSE(choose_tunnel(*context_, *server_, judging, &peer, dial)) << "its client takes part in none";
  const auto own = std::make_shared<WorkloadSpec>(*judging.sources[0].spec);
  own->hbone = true;
  judging.sources[0].spec = own;
  EXPECT_TRUE(choose_tunnel(*context_, *server_, judging, &peer, dial)) << "its requests are to be judged";
  judging.sources[1].judges_requests = false;
  dial = {};
  EXPECT_FALSE(choose_tunnel(*context_, *server_, judging, &peer, dial));
  judging.sources[1].encrypts_same_node = true;
  EXPECT_TRUE(choose_tunnel(*context_, *server_, judging, &peer, dial))
      << "its bytes are to be encrypted here too";
  judging.sources[0].judges_requests = judging.sources[0].encrypts_same_node = true;
  peer.uid = kServerUid;
  dial = {};
  EXPECT_FALSE(choose_tunnel(*context_, *server_, judging, &peer, dial)) << "itself";
  EXPECT_EQ(dial.hbone, nullptr);
  peer.node = "near";
  EXPECT_TRUE(choose_tunnel(*context_, *server_, snapshot, &peer, dial));
  EXPECT_EQ(dial.hbone, hbone_.get());
  EXPECT_EQ(*dial.tunnel_to, target_);
  peer.node = "far";
  EXPECT_TRUE(choose_tunnel(*context_, *client_, snapshot, &peer, dial)) << "a client that is not known";
}

// The pool against a server of the test's.
class HbonePoolTest : public HbonePairTest {
 protected:
  void SetUp() override {
    HbonePairTest::SetUp();
    serving_ = false;
    peer_loop_ = std::move(EventLoop::open(IoKind::kEpoll)).value();
  }
  void TearDown() override {
    peers_.clear();
    if (peer_loop_ != nullptr) peer_loop_->turn(0);
    HbonePairTest::TearDown();
  }
  bool talk_until(const std::function<bool()>& done) {
    return until([&] {
      UniqueFd fd(::accept4(hbone_listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd.valid())
        peers_.push_back(
            std::make_unique<HbonePeer>(*peer_loop_, std::move(fd), tls_.find(kServerUid), max_streams_));
      peer_loop_->turn(0);
      return done();
    });
  }
  bool talk_until_over(const std::vector<std::unique_ptr<Call>>& calls) {
    return talk_until([&] { return std::ranges::all_of(calls, [](const auto& c) { return c->step.done; }); });
  }

  std::unique_ptr<EventLoop> peer_loop_;
  std::vector<std::unique_ptr<HbonePeer>> peers_;
  uint32_t max_streams_ = 100;
};

TEST_P(HbonePoolTest, DialsBeyondThePeersLimitGoToOtherConnections) {
  max_streams_ = 10;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 95; ++i) calls.push_back(call());
  ASSERT_TRUE(talk_until_over(calls));
  EXPECT_EQ(count(calls, ConnectStatus::kConnected), 95);
  EXPECT_EQ(peers_.size(), 10u);
}

TEST_P(HbonePoolTest, APeerThatTakesNoneIsNotAskedForEver) {
  max_streams_ = 0;
  std::vector<std::unique_ptr<Call>> calls;
  for (int i = 0; i < 3; ++i) calls.push_back(call());
  ASSERT_TRUE(talk_until_over(calls));
  EXPECT_EQ(count(calls, ConnectStatus::kFailed), 3);
  EXPECT_LE(peers_.size(), 6u);
}

TEST_P(HbonePoolTest, WhatAServerBreaksOffIsNoEndWhateverTheCode) {
  for (const uint32_t code : {NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_CONNECT_ERROR}) {
    const auto dial = call();
    ASSERT_TRUE(talk_until([&] { return dial->step.done; }));
    InputBuffer input(loop_->buffers());
    TestStep reading;
    reading.began(dial->socket.recv(reading.operation, input));
    peers_.back()->reset_tunnels(code);
    ASSERT_TRUE(talk_until([&] { return reading.done; }));
    EXPECT_EQ(reading.result, -ECONNRESET) << code;
  }
}

TEST_P(HbonePoolTest, WhatAServerSaidToTheEndIsWholeThoughItWantsNoMore) {
  const auto dial = call();
  ASSERT_TRUE(talk_until([&] { return dial->step.done; }));
  peers_.back()->finish_sending();
  InputBuffer input(loop_->buffers());
  TestStep reading;
  reading.began(dial->socket.recv(reading.operation, input));
  ASSERT_TRUE(talk_until([&] { return reading.done; }));
  EXPECT_EQ(reading.result, 0);
  peers_.back()->reset_tunnels(NGHTTP2_NO_ERROR);
  ASSERT_TRUE(talk_until([&] { return peers_.back()->tunnels() == 0; }));
  TestStep again;
  again.began(dial->socket.recv(again.operation, input));
  ASSERT_TRUE(talk_until([&] { return again.done; }));
  EXPECT_EQ(again.result, 0);
}

TEST_P(HbonePoolTest, ADialThatAPeerLeavesUnansweredByGoingAwayIsMadeAgain) {
  const auto first = call();
  ASSERT_TRUE(talk_until([&] { return first->step.done; }));
  // Its last word is out before the next CONNECT comes.
  peers_.front()->leave();
  for (int i = 0; i < 4; ++i) peer_loop_->turn(0);
  const auto second = call();
  ASSERT_TRUE(talk_until([&] { return second->step.done; }));
  EXPECT_EQ(second->status(), ConnectStatus::kConnected);
}

TEST_P(HbonePoolTest, ATunnelOnAConnectionThatWasIdleIsWatched) {
  auto first = call();
  ASSERT_TRUE(talk_until([&] { return first->step.done; }));
  first.reset();
  ASSERT_TRUE(talk_until([&] { return peers_.front()->tunnels() == 0; }));
  pass(60'000);
  const auto second = call();
  ASSERT_TRUE(talk_until([&] { return second->step.done; }));
  ASSERT_EQ(second->status(), ConnectStatus::kConnected);
  ASSERT_EQ(peers_.size(), 1u);
  // From here on nothing comes from the peer.
  InputBuffer input(loop_->buffers());
  TestStep reading;
  reading.began(second->socket.recv(reading.operation, input));
  pass(10'100);
  pass(10'100);
  EXPECT_FALSE(reading.done);
  pass(20'100);
  pass(1);
  EXPECT_TRUE(reading.done);
  EXPECT_LT(reading.result, 0);
}

INSTANTIATE_TEST_SUITE_P(, HbonePairTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });
INSTANTIATE_TEST_SUITE_P(, HbonePoolTest, testing::Values(IoKind::kEpoll, IoKind::kUring),
                         [](const auto& kind) { return kind.param == IoKind::kEpoll ? "Epoll" : "Uring"; });

}  // namespace
}  // namespace weft::proxy
