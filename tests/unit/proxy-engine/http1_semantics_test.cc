// HTTP/1.1 between a client and a server as RFC 9110 and RFC 9112 want it of an intermediary, through a real
// worker: interim and early responses, messages without body, old clients, half-close, resets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <future>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// Sends one response after another, each when the head of a request has come.
TestServer::Handler answers(std::vector<std::string> responses) {
  return [responses = std::move(responses)](TestConnection& c) {
    for (const std::string& response : responses) {
      if (c.read_message().empty() || !c.send(response)) return;
    }
    c.read_to_end();
  };
}

TEST(Http1SemanticsTest, ForwardsEveryInterimResponseBeforeTheFinalOne) {
  const std::string all =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n" +
      ok_response("done");
  Served t(answers({all}));
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  EXPECT_EQ(client.read(all.size()), all);
}

TEST(Http1SemanticsTest, GivesAnOldClientNoInterimResponse) {
  Served t(answers({"HTTP/1.1 103 Early Hints\r\n\r\n" + ok_response("done")}));
  auto& [server, rig, client] = t;
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string response = client.read_to_end();
  EXPECT_THAT(response, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(response, EndsWith("done"));
}

TEST(Http1SemanticsTest, RefusesAnEndlessRowOfInterimResponses) {
  Served t([](TestConnection& c) {
    c.read_message();
    while (c.send("HTTP/1.1 103 Early Hints\r\n\r\n")) {
    }
  });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  EXPECT_THAT(client.read_until("upstream_protocol\n"), HasSubstr("502 Bad Gateway"));
}

TEST(Http1SemanticsTest, ForwardsTheFinalResponseThatComesInsteadOfContinue) {
  std::promise<std::string> rest;
  Served t([&](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    rest.set_value(c.read_to_end());
  });
  auto& [server, rig, client] = t;
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  const std::string response = client.read_message();
  EXPECT_THAT(response, StartsWith("HTTP/1.1 401"));
  EXPECT_THAT(response, HasSubstr("Connection: close"));
  EXPECT_EQ(client.read_end(), 0);
  EXPECT_EQ(rest.get_future().get(), "");
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOk);
}

TEST(Http1SemanticsTest, KeepsBothConnectionsAfterResponsesWithoutBody) {
  Served t(answers({"HTTP/1.1 204 No Content\r\n\r\n",
                    "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", ok_response("x")}));
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
  client.send(kGetRoot);
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n");
  client.send(kGetRoot);
  EXPECT_EQ(client.read_message(), ok_response("x"));
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http1SemanticsTest, TakesChunkExtensionsOffAndKeepsThePayload) {
  std::string seen;
  Served t([&](TestConnection& c) {
    seen = c.read_until("0\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0;end\r\n\r\n");
  });
  auto& [server, rig, client] = t;
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;sig=1\r\nwxyz\r\n0\r\n\r\n");
  EXPECT_THAT(client.read_until("0\r\n\r\n"), EndsWith("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
  EXPECT_THAT(seen, EndsWith("\r\n\r\n4\r\nwxyz\r\n0\r\n\r\n"));
}

TEST(Http1SemanticsTest, FindsTheRequestBehindAChunkedOneInTheSamePacket) {
  Served t([](TestConnection& c) {
    c.read_until("0\r\n\r\n");
    c.send(ok_response("first"));
    c.read_until("\r\n\r\n");
    c.send(ok_response("second"));
  });
  auto& [server, rig, client] = t;
  client.send(str_cat("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                      kGetRoot));
  EXPECT_EQ(client.read_message(), ok_response("first"));
  EXPECT_EQ(client.read_message(), ok_response("second"));
}

TEST(Http1SemanticsTest, KeepsTheConnectionOfAnOldClientThatAsks) {
  Served t(always("ok"));
  auto& [server, rig, client] = t;
  for (int i = 0; i < 2; ++i) {
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_THAT(client.read_message(), HasSubstr("Connection: keep-alive"));
  }
  client.send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.read_to_end(), HasSubstr("Connection: close"));
}

TEST(Http1SemanticsTest, KeepsTheClientsConnectionWhenTheServerClosesIts) {
  Served t(answers({"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"}));
  auto& [server, rig, client] = t;
  for (int i = 0; i < 2; ++i) {
    client.send(kGetRoot);
    EXPECT_EQ(client.read_message(), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  }
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http1SemanticsTest, AnswersAClientThatHasFinishedSending) {
  Served t(always("late"));
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  client.finish_sending();
  EXPECT_EQ(client.read_to_end(), ok_response("late"));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOk);
}

TEST(Http1SemanticsTest, SaysThatTheClientWentAwayWhenItsBodyIsCutShort) {
  std::promise<std::string> seen;
  Served t([&](TestConnection& c) {
    c.read_until("\r\n\r\n");
    seen.set_value(c.read_to_end());
  });
  auto& [server, rig, client] = t;
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
  client.finish_sending();
  EXPECT_THAT("half", StartsWith(seen.get_future().get()));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
}

TEST(Http1SemanticsTest, MovesBothBodiesAtOnceWhenTheResponseBeginsFirst) {
  Served t([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    c.send(str_cat("4\r\n", c.read_until("one\r\n").substr(3)));
    c.read_until("0\r\n\r\n");
    c.send("4\r\nlast\r\n0\r\n\r\n");
  });
  auto& [server, rig, client] = t;
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 200"));
  client.send("4\r\n-one\r\n");
  EXPECT_EQ(client.read_until("one\r\n"), "4\r\n-one\r\n");
  client.send("0\r\n\r\n");
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "4\r\nlast\r\n0\r\n\r\n");
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOk);
}

TEST(Http1SemanticsTest, DeliversAnEarlyResponseThoughItsServerThenResets) {
  Served t([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    c.reset();
  });
  auto& [server, rig, client] = t;
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
  client.send(std::string(1 << 20, 'x'));
  const std::string response = client.read_message();
  EXPECT_THAT(response, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(response, EndsWith("no"));
}

TEST(Http1SemanticsTest, TellsTheServerWithAResetThatTheClientReset) {
  std::atomic<bool> asked{false};
  std::promise<int> end;
  Served t([&](TestConnection& c) {
    c.read_message();
    asked = true;
    end.set_value(c.read_end());
  });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  ASSERT_TRUE(rig.wait_for([&] { return asked.load(); }));
  client.reset();
  EXPECT_EQ(end.get_future().get(), ECONNRESET);
}

TEST(Http1SemanticsTest, DropsTheTrailersThatAnOldClientCannotRead) {
  Served t(
      answers({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"}));
  auto& [server, rig, client] = t;
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string response = client.read_to_end();
  EXPECT_THAT(response, EndsWith("\r\n\r\nabc"));
  EXPECT_THAT(response, Not(HasSubstr("X-Sum")));
}

}  // namespace
}  // namespace weft::proxy
