// How long the engine waits for whom: each limit just kept and just missed, by a clock that the test moves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/turned_rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";
// The defaults of ExchangeLimits.
constexpr uint64_t kHeadMs = 60'000;
constexpr uint64_t kExchangeMs = 300'000;
constexpr uint64_t kIdleMs = 3'600'000;
constexpr size_t kProgress = 64 * 1024;

class PatienceTest : public ::testing::Test {
 protected:
  // A request that has reached the service.
  void ask(std::string_view request = kGet) {
    client_ = rig_.connect();
    ASSERT_TRUE(rig_.give(client_, request));
    server_ = rig_.accept_upstream();
    ASSERT_TRUE(rig_.turn_until([&] { return server_.has("\r\n\r\n"); }));
  }
  bool client_gets(std::string_view text) {
    return rig_.turn_until([&] { return client_.has(text); });
  }
  Outcome outcome() {
    EXPECT_TRUE(rig_.turn_until([&] { return rig_.sink().count() > 0; }));
    return rig_.sink().wait(1).at(0).outcome;
  }
  // Sends from one end and reads at the other.
  void move(FarEnd& from, FarEnd& to, size_t count) {
    const size_t before = to.received().size();
    const std::string bytes(count, 'x');
    size_t sent = 0;
    EXPECT_TRUE(rig_.turn_until([&] {
      sent += from.send(std::string_view(bytes).substr(sent));
      return to.received().size() >= before + count;
    }));
  }

  TurnedRig rig_;
  FarEnd client_, server_;
};

TEST_F(PatienceTest, ServesAHeadThatIsWholeJustInTime) {
  client_ = rig_.connect();
  ASSERT_TRUE(rig_.give(client_, "GET / HT"));
  rig_.pass(kHeadMs - 1);
  ASSERT_TRUE(rig_.give(client_, "TP/1.1\r\nHost: a\r\n\r\n"));
  server_ = rig_.accept_upstream();
  server_.send(ok_response("in time"));
  EXPECT_TRUE(client_gets("in time"));
}

TEST_F(PatienceTest, TellsAClientWhoseHeadTricklesThatItTookTooLong) {
  client_ = rig_.connect();
  // Never silent for more than five seconds, but not whole after sixty.
  ASSERT_TRUE(rig_.give(client_, "GET /"));
  for (int i = 0; i < 11; ++i) {
    rig_.pass(5'000);
    ASSERT_TRUE(rig_.give(client_, "x"));
    ASSERT_EQ(client_.received(), "");
  }
  rig_.pass(5'000);
  EXPECT_TRUE(client_gets("408 Request Timeout\r\nx-weft-reason: request_timeout"));
  EXPECT_EQ(outcome(), Outcome::kRequestTimeout);
}

TEST_F(PatienceTest, CountsTheBytesThatDoNotTellTheProtocolYetToTheHead) {
  client_ = rig_.connect();
  // The begin of HTTP/2's preface, or of a method.
  for (const std::string_view byte : {"P", "R", "I"}) {
    ASSERT_TRUE(rig_.give(client_, byte));
    rig_.pass(kHeadMs / 4);
  }
  ASSERT_EQ(client_.received(), "");
  rig_.pass(kHeadMs / 4);
  rig_.pass(1);
  EXPECT_TRUE(client_gets("408 Request Timeout"));
}

TEST_F(PatienceTest, LetsARequestBodyGoOnThatKeepsItsLeastRate) {
  ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  for (int i = 0; i < 4; ++i) {
    move(client_, server_, kProgress);
    rig_.pass(kExchangeMs);
  }
  EXPECT_EQ(rig_.sink().count(), 0u);
}

TEST_F(PatienceTest, EndsARequestBodyThatIsAByteTooSlow) {
  ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  for (size_t i = 0; i < 10; ++i) {
    move(client_, server_, kProgress / 10);
    rig_.pass(kExchangeMs / 10);
  }
  EXPECT_TRUE(client_gets("504 Gateway Timeout\r\nx-weft-reason: idle_timeout"));
  EXPECT_EQ(outcome(), Outcome::kIdleTimeout);
}

TEST_F(PatienceTest, LetsAResponseBodyGoOnThatKeepsItsLeastRate) {
  ask();
  server_.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  ASSERT_TRUE(client_gets("\r\n\r\n"));
  for (int i = 0; i < 4; ++i) {
    move(server_, client_, kProgress);
    rig_.pass(kExchangeMs);
  }
  EXPECT_EQ(rig_.sink().count(), 0u);
}

TEST_F(PatienceTest, EndsAResponseBodyThatIsAByteTooSlow) {
  ask();
  server_.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  ASSERT_TRUE(client_gets("\r\n\r\n"));
  move(server_, client_, kProgress - 1);
  rig_.pass(kExchangeMs);
  EXPECT_EQ(outcome(), Outcome::kIdleTimeout);
  EXPECT_TRUE(rig_.turn_until([&] { return client_.end() != FarEnd::End::kOpen; }));
  EXPECT_TRUE(rig_.turn_until([&] { return server_.end() != FarEnd::End::kOpen; }));
}

TEST_F(PatienceTest, LetsAStreamOfUnknownLengthSayAByteNowAndThen) {
  ask();
  server_.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  ASSERT_TRUE(client_gets("\r\n\r\n"));
  for (int i = 0; i < 5; ++i) {
    client_.forget_received();
    server_.send("1\r\nx\r\n");
    EXPECT_TRUE(client_gets("1\r\nx\r\n"));
    rig_.pass(kExchangeMs - 1);
  }
  EXPECT_EQ(rig_.sink().count(), 0u);
  rig_.pass(kExchangeMs);
  rig_.pass(kExchangeMs);
  EXPECT_EQ(outcome(), Outcome::kIdleTimeout);
}

// Fills what the kernel buffers on the way to a client that reads nothing.
void stall(TurnedRig& rig, FarEnd& server) {
  const std::string block(1 << 20, 'x');
  int full = 0;
  ASSERT_TRUE(rig.turn_until([&] { return (full = server.send(block) == 0 ? full + 1 : 0) > 100; }));
}

TEST_F(PatienceTest, EndsAResponseThatItsClientDoesNotRead) {
  ask();
  server_.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n");
  ASSERT_TRUE(client_gets("\r\n\r\n"));
  stall(rig_, server_);
  rig_.pass(kExchangeMs);
  rig_.pass(kExchangeMs);
  EXPECT_EQ(outcome(), Outcome::kIdleTimeout);
  EXPECT_TRUE(rig_.turn_until([&] { return server_.end() != FarEnd::End::kOpen; }));
}

TEST_F(PatienceTest, EndsAResponseThatItsClientReadsTooSlowly) {
  ask();
  server_.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000\r\n");
  ASSERT_TRUE(client_gets("\r\n\r\n"));
  stall(rig_, server_);
  // The first look may still see what filled the buffers.
  rig_.pass(kExchangeMs);
  ASSERT_EQ(rig_.sink().count(), 0u);
  client_.received(1);
  rig_.pass(kExchangeMs);
  EXPECT_EQ(outcome(), Outcome::kIdleTimeout);
}

TEST_F(PatienceTest, ForwardsAResponseThatBeginsJustInTime) {
  ask();
  rig_.pass(kExchangeMs - 1);
  server_.send(ok_response("at last"));
  EXPECT_TRUE(client_gets("at last"));
  EXPECT_EQ(outcome(), Outcome::kOk);
}

TEST_F(PatienceTest, AnswersForAServerThatDoesNotBeginItsResponse) {
  ask();
  rig_.pass(kExchangeMs);
  EXPECT_TRUE(client_gets("504 Gateway Timeout\r\nx-weft-reason: idle_timeout"));
  EXPECT_EQ(outcome(), Outcome::kIdleTimeout);
  EXPECT_TRUE(rig_.turn_until([&] { return server_.end() != FarEnd::End::kOpen; }));
}

TEST_F(PatienceTest, GivesUpAnEndpointThatDoesNotAnswerTheConnect) {
  client_ = rig_.connect();
  // A queue that is full: further SYNs are dropped.
  listen(rig_.service(), 0);
  TestConnection first = TestConnection::to(rig_.service_address());
  ASSERT_TRUE(rig_.give(client_, kGet));
  rig_.pass(999);
  ASSERT_EQ(client_.received(), "");
  rig_.pass(1);
  EXPECT_TRUE(client_gets("503 Service Unavailable\r\nx-weft-reason: connect_timeout"));
}

TEST_F(PatienceTest, ClosesAConnectionThatAsksNothingForItsTime) {
  ask();
  server_.send(ok_response("one"));
  ASSERT_TRUE(client_gets("one"));
  rig_.pass(kIdleMs - 1);
  EXPECT_EQ(client_.end(), FarEnd::End::kOpen);
  rig_.pass(1);
  EXPECT_TRUE(rig_.turn_until([&] { return client_.end() == FarEnd::End::kFin; }));
}

class TcpPatienceTest : public PatienceTest {
 protected:
  TcpPatienceTest() : tcp_({.protocol = Protocol::kTcp}) {
    client_ = tcp_.connect();
    server_ = tcp_.accept_upstream();
  }
  bool passes(FarEnd& from, FarEnd& to) {
    to.forget_received();
    from.send("x");
    return tcp_.turn_until([&] { return to.has("x"); });
  }
  TurnedRig tcp_;
};

TEST_F(TcpPatienceTest, LetsAConnectionLiveThatSaysAByteNowAndThen) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(passes(i % 2 == 0 ? client_ : server_, i % 2 == 0 ? server_ : client_));
    tcp_.pass(kIdleMs - 1);
  }
  EXPECT_EQ(tcp_.sink().count(), 0u);
}

TEST_F(TcpPatienceTest, EndsASilentConnectionAfterItsTime) {
  EXPECT_TRUE(passes(client_, server_));
  tcp_.pass(kIdleMs - 1);
  EXPECT_EQ(client_.end(), FarEnd::End::kOpen);
  tcp_.pass(1);
  tcp_.pass(kIdleMs);
  EXPECT_TRUE(tcp_.turn_until([&] { return client_.end() == FarEnd::End::kReset; }));
  EXPECT_TRUE(tcp_.turn_until([&] { return server_.end() != FarEnd::End::kOpen; }));
  EXPECT_EQ(tcp_.sink().wait(1).at(0).outcome, Outcome::kIdleTimeout);
}

TEST_F(TcpPatienceTest, EndsAHalfClosedConnectionInWhichNothingMoves) {
  client_.finish_sending();
  ASSERT_TRUE(tcp_.turn_until([&] { return server_.end() == FarEnd::End::kFin; }));
  tcp_.pass(kIdleMs - 1);
  EXPECT_EQ(tcp_.sink().count(), 0u);
  tcp_.pass(1);
  EXPECT_TRUE(tcp_.turn_until([&] { return tcp_.sink().count() == 1; }));
}

TEST(SniffPatienceTest, DialsForASilentClientOnceItsTimeToSpeakIsOver) {
  TurnedRig rig({.protocol = Protocol::kSniff});
  FarEnd client = rig.connect();
  rig.pass(49);
  EXPECT_EQ(rig.pool().open(), 0u);
  rig.pass(1);
  FarEnd server = rig.accept_upstream();
  server.send("220 ready\r\n");
  EXPECT_TRUE(rig.turn_until([&] { return client.has("220 ready\r\n"); }));
}

}  // namespace
}  // namespace weft::proxy
