// Whole HTTP exchanges through a real worker: keep-alive, bodies, early answers, endings, retries.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(HttpExchangeTest, AnswersManyRequestsOverOneConnectionOnEachSide) {
  Served t(always("hello"));
  auto& [server, rig, client] = t;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.send(kGetRoot));
    ASSERT_EQ(client.read_message(), ok_response("hello"));
  }
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(rig.sink().wait(100).size(), 100u);
  EXPECT_EQ(rig.worker().gauges().downstream_connections, 1u);
}

TEST(HttpExchangeTest, AnswersPipelinedRequestsInOrder) {
  Served t([](TestConnection& c) {
    for (std::string request = c.read_message(); !request.empty(); request = c.read_message()) {
      c.send(ok_response(request.substr(4, 2)));
    }
  });
  auto& [server, rig, client] = t;
  client.send(
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: "
      "a\r\n\r\n");
  EXPECT_THAT(client.read_message(), EndsWith("/1"));
  EXPECT_THAT(client.read_message(), EndsWith("/2"));
  EXPECT_THAT(client.read_message(), EndsWith("/3"));
}

TEST(HttpExchangeTest, SplitsTwentyThousandRequestsNinetyFiveToFive) {
  TestServer v1(always("1")), v2(always("2"));
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {v1.address()}, .weight = 95});
  setup.clusters.push_back(TestCluster{.name = "v2", .endpoints = {v2.address()}, .weight = 5});
  Rig rig(setup);
  rig.sink().keep = false;
  TestConnection client = rig.connect();
  int second = 0;
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(client.send(kGetRoot));
    second += client.read_message().back() == '2' ? 1 : 0;
  }
  EXPECT_NEAR(second, 1000, 120);
}

TEST(HttpExchangeTest, ForwardsFixedBodiesBothWays) {
  Served t([](TestConnection& c) {
    const std::string request = c.read_message();
    c.send(ok_response(request.substr(request.find("\r\n\r\n") + 4)));
  });
  auto& [server, rig, client] = t;
  const std::string body(300'000, 'x');
  ASSERT_TRUE(
      client.send(str_cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(), "\r\n\r\n", body)));
  EXPECT_EQ(client.read_message(), ok_response(body));
  const SeenRecord record = rig.sink().wait(1).at(0);
  EXPECT_EQ(record.received_bytes, body.size());
  EXPECT_EQ(record.sent_bytes, body.size());
}

TEST(HttpExchangeTest, ForwardsChunkedBodiesAndTrailersBothWays) {
  std::string seen;
  Served t([&](TestConnection& c) {
    seen = c.read_until("0\r\nX-Sum: 1\r\n\r\n");
    c.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-End: 2\r\n\r\n");
  });
  auto& [server, rig, client] = t;
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwxyz\r\n0\r\nX-Sum: 1\r\n\r\n");
  const std::string response = client.read_until("X-End: 2\r\n\r\n");
  EXPECT_THAT(seen, EndsWith("4\r\nwxyz\r\n0\r\nX-Sum: 1\r\n\r\n"));
  EXPECT_THAT(response, EndsWith("\r\n\r\n5\r\nabcde\r\n0\r\nX-End: 2\r\n\r\n"));
}

TEST(HttpExchangeTest, RemovesConnectionHeadersAndKeepsTheRest) {
  std::string seen;
  Served t([&](TestConnection& c) {
    seen = c.read_message();
    c.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nX-Kept: yes\r\nContent-Length: 0\r\n\r\n");
  });
  auto& [server, rig, client] = t;
  client.send(
      "GET /a?b=c HTTP/1.1\r\nHost: service:80\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nB: 2\r\nb: "
      "3\r\n\r\n");
  EXPECT_EQ(client.read_message(), "HTTP/1.1 200 OK\r\nX-Kept: yes\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(seen, "GET /a?b=c HTTP/1.1\r\nHost: service:80\r\nB: 2\r\nb: 3\r\n\r\n");
}

TEST(HttpExchangeTest, AnswersHeadWithoutBodyAndGoesOn) {
  Served t([](TestConnection& c) {
    while (!c.read_message().empty()) c.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
  });
  auto& [server, rig, client] = t;
  for (int i = 0; i < 2; ++i) {
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_THAT(client.read_until("\r\n\r\n"), HasSubstr("Content-Length: 99"));
  }
}

TEST(HttpExchangeTest, PassesContinueOnBeforeTheBodyIsSent) {
  Served t([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 100 Continue\r\n\r\n");
    c.read(4);
    c.send(ok_response("done"));
  });
  auto& [server, rig, client] = t;
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("body");
  EXPECT_THAT(client.read_message(), EndsWith("done"));
}

TEST(HttpExchangeTest, DeliversAnEarlyResponseWhileTheRequestIsStillBeingSent) {
  Served t([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
  });
  auto& [server, rig, client] = t;
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nsome");
  const std::string response = client.read_message();
  EXPECT_THAT(response, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(response, HasSubstr("Connection: close"));
  EXPECT_THAT(response, EndsWith("no"));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOk);
}

TEST(HttpExchangeTest, CutsTheResponseWhenTheUpstreamDiesInTheMiddle) {
  Served t([](TestConnection& c) {
    c.read_message();
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  EXPECT_THAT(client.read_to_end(), EndsWith("half"));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kUpstreamReset);
}

TEST(HttpExchangeTest, RetriesOnceWhenAReusedConnectionEndsUnanswered) {
  std::atomic<int> requests{0};
  Served t([&](TestConnection& c) {
    // The first connection serves one request and dies at the second.
    while (!c.read_message().empty()) {
      if (++requests == 2) return;
      c.send(ok_response("ok"));
    }
  });
  auto& [server, rig, client] = t;
  for (int i = 0; i < 3; ++i) {
    client.send(kGetRoot);
    EXPECT_EQ(client.read_message(), ok_response("ok"));
  }
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(rig.sink().failed, 0u);
}

TEST(HttpExchangeTest, NeverRepeatsAPost) {
  std::atomic<int> requests{0};
  Served t([&](TestConnection& c) {
    while (!c.read_message().empty()) {
      if (++requests == 2) return;
      c.send(ok_response("ok"));
    }
  });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  client.read_message();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_THAT(client.read_message(), HasSubstr("x-weft-reason: upstream_reset"));
  EXPECT_EQ(requests, 2);
}

TEST(HttpExchangeTest, FallsToAnotherEndpointWhenOneRefuses) {
  TestServer server(always("ok"));
  Rig::Setup setup;
  setup.clusters.push_back(
      TestCluster{.name = "v1", .endpoints = {refused_address(), refused_address(), server.address()}});
  Rig rig(setup);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(rig.get(), ok_response("ok"));
}

TEST(HttpExchangeTest, NamesTheReasonWhenEveryEndpointRefuses) {
  Rig rig(setup_for(refused_address()));
  const std::string response = rig.get();
  EXPECT_THAT(response, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(response, HasSubstr("x-weft-reason: connect_refused\r\n"));
  EXPECT_THAT(response, EndsWith("weft: connect_refused\n"));
}

TEST(HttpExchangeTest, AnswersNoEndpointNoClusterAndNoRoute) {
  TestServer server(always("ok"));
  Rig::Setup empty;
  empty.clusters.push_back(TestCluster{.name = "v1"});
  EXPECT_THAT(Rig(empty).get(), HasSubstr("503 Service Unavailable\r\nx-weft-reason: no_endpoint"));
  EXPECT_THAT(Rig(Rig::Setup()).get(), HasSubstr("503 Service Unavailable\r\nx-weft-reason: no_cluster"));
  Rig::Setup unrouted = setup_for(server.address());
  unrouted.with_route = false;
  EXPECT_THAT(Rig(unrouted).get(), HasSubstr("404 Not Found\r\nx-weft-reason: no_route"));
}

TEST(HttpExchangeTest, SaysSoWhenTheUpstreamIsNotHttp) {
  TestServer server([](TestConnection& c) {
    c.read_message();
    c.send("220 mail.example ESMTP\r\n\r\n");
  });
  Rig rig(setup_for(server.address()));
  EXPECT_THAT(rig.get(), HasSubstr("502 Bad Gateway\r\nx-weft-reason: upstream_protocol"));
}

TEST(HttpExchangeTest, KeepsAliveAClientWhoseResponseEndsByClose) {
  Served t([](TestConnection& c) {
    c.read_message();
    c.send("HTTP/1.0 200 OK\r\n\r\nuntil close");
  });
  auto& [server, rig, client] = t;
  for (int i = 0; i < 2; ++i) {
    client.send(kGetRoot);
    EXPECT_THAT(client.read_message(), HasSubstr("until close"));
  }
}

TEST(HttpExchangeTest, GivesAnOldClientAnUnchunkedResponse) {
  Served t([](TestConnection& c) {
    c.read_message();
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  });
  auto& [server, rig, client] = t;
  client.send("GET / HTTP/1.0\r\n\r\n");
  const std::string response = client.read_to_end();
  EXPECT_THAT(response, EndsWith("\r\n\r\nabc"));
  EXPECT_THAT(response, Not(HasSubstr("chunked")));
}

TEST(HttpExchangeTest, AnswersABadRequestAndCloses) {
  Served t(always("ok"));
  auto& [server, rig, client] = t;
  client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_THAT(client.read_to_end(), HasSubstr("400 Bad Request\r\nx-weft-reason: bad_request"));
  EXPECT_EQ(server.connections(), 0);
}

TEST(HttpExchangeTest, TellsAClientThatItsHeadIsTooLargeOrTooSlow) {
  TestServer server(always("ok"));
  Rig::Setup setup = setup_for(server.address());
  setup.options.max_head_bytes = 4096;
  setup.options.head_timeout = std::chrono::milliseconds(50);
  Rig rig(setup);
  TestConnection large = rig.connect();
  large.send(str_cat("GET / HTTP/1.1\r\nHost: a\r\nX: ", std::string(5000, 'x'), "\r\n\r\n"));
  EXPECT_THAT(large.read_to_end(),
              HasSubstr("431 Request Header Fields Too Large\r\nx-weft-reason: headers_too_large"));
  TestConnection slow = rig.connect();
  slow.send("GET / HT");
  EXPECT_THAT(slow.read_to_end(), HasSubstr("408 Request Timeout\r\nx-weft-reason: request_timeout"));
}

TEST(HttpExchangeTest, EndsAnExchangeInWhichNothingMoves) {
  TestServer server([](TestConnection& c) {
    const std::string request = c.read_message();
    if (request.find("/half") != std::string::npos)
      c.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    c.read_to_end();
  });
  Rig::Setup setup = setup_for(server.address());
  setup.options.exchange_idle = std::chrono::milliseconds(50);
  Rig rig(setup);
  TestConnection silent = rig.connect();
  silent.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(silent.read_until("\r\n\r\n"), HasSubstr("504 Gateway Timeout\r\nx-weft-reason: idle_timeout"));
  TestConnection half = rig.connect();
  half.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(half.read_to_end(), EndsWith("half"));
  for (const SeenRecord& record : rig.sink().wait(2)) EXPECT_EQ(record.outcome, Outcome::kIdleTimeout);
}

TEST(HttpExchangeTest, GivesUpWhenTheClientResets) {
  std::atomic<bool> asked{false};
  Served t([&](TestConnection& c) {
    c.read_message();
    asked = true;
    c.read_message();
  });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  ASSERT_TRUE(rig.wait_for([&] { return asked.load(); }));
  client.reset();
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
}

TEST(HttpExchangeTest, TunnelsAfterSwitchingProtocols) {
  Served t([](TestConnection& c) {
    const std::string head = c.read_until("\r\n\r\n");
    if (head.find("Upgrade: websocket") == std::string::npos) return;
    c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    c.send(c.read(4));
  });
  auto& [server, rig, client] = t;
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), StartsWith("HTTP/1.1 101"));
  client.send("ping");
  EXPECT_EQ(client.read(4), "ping");
  EXPECT_EQ(client.read_end(), 0);
}

}  // namespace
}  // namespace weft::proxy
