// How the ends of one side of a TCP connection reach the other: in order, as what they are, and at once; and
// a conversation that has its worker to itself. The clock of these tests stands still, so nothing here may
// wait for a timer.
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/turned_rig.h"

namespace weft::proxy {
namespace {

class TcpEndsTest : public ::testing::Test {
 protected:
  TcpEndsTest() : client_(rig_.connect()), server_(rig_.accept_upstream()) {
    // Both directions are open once a byte has passed.
    client_.send("c");
    server_.send("s");
    EXPECT_TRUE(rig_.turn_until([&] { return client_.has("s") && server_.has("c"); }));
    client_.forget_received();
    server_.forget_received();
  }
  bool sees(FarEnd& peer, FarEnd::End end) {
    return rig_.turn_until([&] { return peer.end() == end; });
  }
  bool gets(FarEnd& peer, std::string_view text) {
    return rig_.turn_until([&] { return peer.has(text); });
  }
  Outcome outcome() {
    EXPECT_TRUE(rig_.turn_until([&] { return rig_.sink().count() > 0 && rig_.connections() == 0; }));
    return rig_.sink().wait(1).at(0).outcome;
  }
  // As much as the way to a peer that reads nothing takes.
  void fill(FarEnd& from) {
    const std::string block(1 << 20, 'x');
    int full = 0;
    EXPECT_TRUE(rig_.turn_until([&] { return (full = from.send(block) == 0 ? full + 1 : 0) > 100; }));
  }

  TurnedRig rig_{{.protocol = Protocol::kTcp}};
  FarEnd client_, server_;
};

TEST_F(TcpEndsTest, PassesTheClientsFinOnAndKeepsTheOtherWayOpen) {
  client_.send("last");
  client_.finish_sending();
  EXPECT_TRUE(sees(server_, FarEnd::End::kFin));
  EXPECT_EQ(server_.received(), "last");
  EXPECT_EQ(client_.end(), FarEnd::End::kOpen);
  server_.send("answer");
  EXPECT_TRUE(gets(client_, "answer"));
  server_.finish_sending();
  EXPECT_TRUE(sees(client_, FarEnd::End::kFin));
  EXPECT_EQ(outcome(), Outcome::kOk);
}

TEST_F(TcpEndsTest, PassesTheServersFinOnAndKeepsTheOtherWayOpen) {
  server_.send("bye");
  server_.finish_sending();
  EXPECT_TRUE(sees(client_, FarEnd::End::kFin));
  EXPECT_EQ(client_.received(), "bye");
  EXPECT_EQ(server_.end(), FarEnd::End::kOpen);
  client_.send("thanks");
  EXPECT_TRUE(gets(server_, "thanks"));
  client_.finish_sending();
  EXPECT_TRUE(sees(server_, FarEnd::End::kFin));
  EXPECT_EQ(outcome(), Outcome::kOk);
}

// Its answers are looked for before the worker sleeps, as those of a client of HTTP are.
TEST_F(TcpEndsTest, AConversationByItselfIsThatOfASoleClient) {
  EXPECT_FALSE(rig_.context().sole_client.is());
  for (int i = 0; i < 20; ++i) {
    client_.send("ask");
    EXPECT_TRUE(gets(server_, "ask"));
    server_.forget_received();
  }
  EXPECT_TRUE(rig_.context().sole_client.is());
}

TEST_F(TcpEndsTest, PassesTheClientsResetOn) {
  client_.reset();
  EXPECT_TRUE(sees(server_, FarEnd::End::kReset));
  EXPECT_EQ(outcome(), Outcome::kDownstreamReset);
}

TEST_F(TcpEndsTest, PassesTheServersResetOn) {
  server_.reset();
  EXPECT_TRUE(sees(client_, FarEnd::End::kReset));
  EXPECT_EQ(outcome(), Outcome::kUpstreamReset);
}

TEST_F(TcpEndsTest, PassesAResetOnAfterTheFinOfTheSameSide) {
  client_.finish_sending();
  ASSERT_TRUE(sees(server_, FarEnd::End::kFin));
  client_.reset();
  EXPECT_EQ(outcome(), Outcome::kDownstreamReset);
  // The server's end of it: what it sends meets a connection that is gone.
  EXPECT_TRUE(rig_.turn_until([&] { return server_.send("x") == 0; }));
}

TEST_F(TcpEndsTest, PassesAResetOnAfterTheFinOfTheOtherSide) {
  server_.finish_sending();
  ASSERT_TRUE(sees(client_, FarEnd::End::kFin));
  client_.reset();
  EXPECT_TRUE(sees(server_, FarEnd::End::kReset));
  EXPECT_EQ(outcome(), Outcome::kDownstreamReset);
}

TEST_F(TcpEndsTest, PassesAResetOnFromAClientThatDidNotReadWhatWaitsForIt) {
  fill(server_);
  client_.reset();
  EXPECT_TRUE(sees(server_, FarEnd::End::kReset));
  EXPECT_EQ(outcome(), Outcome::kDownstreamReset);
}

TEST_F(TcpEndsTest, PassesAResetOnFromAServerThatDidNotReadWhatWaitsForIt) {
  fill(client_);
  server_.reset();
  EXPECT_TRUE(sees(client_, FarEnd::End::kReset));
  EXPECT_EQ(outcome(), Outcome::kUpstreamReset);
}

TEST_F(TcpEndsTest, DeliversEverythingThatWasSentBeforeTheFin) {
  const std::string bytes(8 << 20, 'x');
  size_t sent = 0;
  EXPECT_TRUE(rig_.turn_until([&] {
    sent += client_.send(std::string_view(bytes).substr(sent));
    server_.received();
    return sent == bytes.size();
  }));
  client_.finish_sending();
  EXPECT_TRUE(sees(server_, FarEnd::End::kFin));
  EXPECT_TRUE(server_.received() == bytes);
}

TEST_F(TcpEndsTest, HoldsNoBufferOnceTheBulkIsThrough) {
  const uint64_t before = rig_.pod().use->buffered_bytes.get();
  const std::string bytes(8 << 20, 'x');
  size_t sent = 0;
  EXPECT_TRUE(rig_.turn_until([&] {
    sent += client_.send(std::string_view(bytes).substr(sent));
    return server_.received().size() == bytes.size();
  }));
  EXPECT_TRUE(rig_.turn_until([&] { return rig_.pod().use->buffered_bytes.get() == before; }));
  EXPECT_EQ(before, 0u);
}

}  // namespace
}  // namespace weft::proxy
