// Retries of routes through a real worker, against servers that fail as servers do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_wire.h"
#include "tests/unit/proxy-engine/route_rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";
constexpr std::string_view kUnavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

// Answers the first `failures` requests with `failure` (closes when it is empty), the others with their body.
class FlakyServer {
 public:
  FlakyServer(int failures, std::string failure)
      : failure_(std::move(failure)), left_(failures), server_([this](TestConnection& c) { serve(c); }) {}
  const SocketAddress& address() const { return server_.address(); }
  int requests() const { return requests_; }

 private:
  void serve(TestConnection& c) {
    for (std::string request = c.read_message(); !request.empty(); request = c.read_message()) {
      ++requests_;
      if (left_.fetch_sub(1) > 0) {
        if (failure_.empty() || !c.send(failure_)) return;
        continue;
      }
      if (!c.send(ok_response(request.substr(request.find("\r\n\r\n") + 4)))) return;
    }
  }
  const std::string failure_;
  std::atomic<int> left_;
  std::atomic<int> requests_{0};
  TestServer server_;
};

class RetryRig {
 public:
  RetryRig(const std::vector<SocketAddress>& endpoints, const std::string& route)
      : clusters_{TestCluster{.name = "v1", .endpoints = endpoints}},
        rig(Rig::Setup{
            .protocol = Protocol::kHttp, .clusters = clusters_, .options = {}, .with_route = true}) {
    rig.use(with_routes(rig.make_snapshot(clusters_, 2), str_cat("http{", route, kTo, "}")));
  }
  std::string ask(std::string_view request) const {
    TestConnection client = rig.connect();
    client.send(request);
    return client.read_message();
  }

 private:
  std::vector<TestCluster> clusters_;

 public:
  Rig rig;
};

std::string retries(std::string_view more, int attempts = 3) {
  return str_cat("retries{attempts:", attempts, " base_interval_ms:1 ", more, "}");
}

TEST(RouteRetryTest, A503IsRepeatedUntilItIsNone) {
  FlakyServer server(2, std::string(kUnavailable));
  RetryRig mesh({server.address()}, retries("on:ON_5XX"));
  EXPECT_THAT(mesh.ask(kGet), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(server.requests(), 3);
  EXPECT_EQ(mesh.rig.sink().wait(1).at(0).outcome, Outcome::kOk);
  EXPECT_EQ(mesh.rig.sink().count(), 1u) << "one request is one record";
}

TEST(RouteRetryTest, AttemptsAreTriesBeyondTheFirst) {
  FlakyServer server(100, std::string(kUnavailable));
  RetryRig mesh({server.address()}, retries("on:ON_GATEWAY_ERROR", 2));
  EXPECT_THAT(mesh.ask(kGet), StartsWith("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"))
      << "the last answer is the server's own";
  EXPECT_EQ(server.requests(), 3);
}

TEST(RouteRetryTest, AServerThatClosesIsAskedAgain) {
  FlakyServer server(2, "");
  RetryRig mesh({server.address()}, retries("on:ON_RESET"));
  EXPECT_THAT(mesh.ask(kGet), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(server.requests(), 3);
}

TEST(RouteRetryTest, APostThatWasSentIsNeverRepeated) {
  FlakyServer closing(100, ""), failing(100, std::string(kUnavailable));
  for (FlakyServer* server : {&closing, &failing}) {
    RetryRig mesh({server->address()}, retries("on:ON_5XX on:ON_RESET on:ON_RESET_BEFORE_REQUEST"));
    EXPECT_THAT(mesh.ask("POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 2\r\n\r\nab"),
                StartsWith("HTTP/1.1 503"));
    EXPECT_EQ(server->requests(), 1);
  }
}

TEST(RouteRetryTest, APostGoesToAnotherEndpointWhenOneRefusesTheConnection) {
  FlakyServer server(0, "");
  RetryRig mesh({refused_address(), refused_address(), server.address()}, retries("on:ON_CONNECT_FAILURE"));
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(mesh.ask("POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 2\r\n\r\nab"), ok_response("ab"));
  }
  EXPECT_EQ(server.requests(), 6);
}

TEST(RouteRetryTest, ZeroAttemptsSwitchRetriesOff) {
  FlakyServer server(0, "");
  RetryRig mesh({refused_address(), server.address()}, retries("on:ON_5XX", 0));
  int refused = 0;
  for (int i = 0; i < 4; ++i) refused += mesh.ask(kGet).starts_with("HTTP/1.1 503") ? 1 : 0;
  EXPECT_EQ(refused, 2);
}

TEST(RouteRetryTest, ABodyIsSentAgainWithTheRequest) {
  FlakyServer server(2, std::string(kUnavailable));
  RetryRig mesh({server.address()}, retries("on:ON_5XX"));
  const std::string body(20'000, 'b');
  EXPECT_EQ(mesh.ask(str_cat("PUT / HTTP/1.1\r\nHost: service\r\nContent-Length: 20000\r\n\r\n", body)),
            ok_response(body));
  EXPECT_EQ(server.requests(), 3);
}

TEST(RouteRetryTest, ABodyThatIsTooLargeToKeepIsSentOnce) {
  FlakyServer server(2, std::string(kUnavailable));
  RetryRig mesh({server.address()}, retries("on:ON_5XX"));
  const std::string body(200'000, 'b');
  EXPECT_THAT(mesh.ask(str_cat("PUT / HTTP/1.1\r\nHost: service\r\nContent-Length: 200000\r\n\r\n", body)),
              StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(server.requests(), 1);
}

TEST(RouteRetryTest, ATryThatTakesTooLongIsGivenUpForAnother) {
  TestServer silent([](TestConnection& c) { c.read_to_end(); });
  FlakyServer server(0, "");
  RetryRig mesh({silent.address(), server.address()}, retries("on:ON_5XX per_try_timeout_ms:50"));
  for (int i = 0; i < 4; ++i) EXPECT_THAT(mesh.ask(kGet), StartsWith("HTTP/1.1 200"));
}

TEST(RouteRetryTest, TheLastTryThatTakesTooLongIsAnswered504) {
  TestServer silent([](TestConnection& c) { c.read_to_end(); });
  RetryRig mesh({silent.address()}, retries("on:ON_5XX per_try_timeout_ms:20", 2));
  EXPECT_THAT(mesh.ask(kGet), StartsWith("HTTP/1.1 504 Gateway Timeout\r\nx-weft-reason: try_timeout\r\n"));
  EXPECT_EQ(silent.connections(), 3);
}

TEST(RouteRetryTest, TheRoutesTimeoutCoversAllTries) {
  TestServer silent([](TestConnection& c) { c.read_to_end(); });
  RetryRig mesh({silent.address()},
                str_cat("timeout_ms:70 ", retries("on:ON_5XX per_try_timeout_ms:30", 50)));
  EXPECT_THAT(mesh.ask(kGet), HasSubstr("x-weft-reason: timeout\r\n"));
  EXPECT_LT(silent.connections(), 5);
}

TEST(RouteRetryTest, PreviousEndpointsAreAvoided) {
  FlakyServer bad(1000, std::string(kUnavailable)), good(0, "");
  RetryRig mesh({bad.address(), good.address()}, retries("on:ON_5XX", 1));
  for (int i = 0; i < 20; ++i) EXPECT_THAT(mesh.ask(kGet), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(good.requests(), 20);
}

TEST(RouteRetryTest, AStormOfFailuresStaysWithinTheBudget) {
  // Every request fails, and none is answered before all are here: 60 are under way, so 12 may be repeated.
  constexpr int kClients = 60;
  std::atomic<int> requests{0};
  TestServer server([&](TestConnection& c) {
    while (!c.read_message().empty()) {
      ++requests;
      while (requests < kClients) std::this_thread::yield();
      if (!c.send(kUnavailable)) return;
    }
  });
  RetryRig mesh({server.address()}, "retries{attempts:1 base_interval_ms:3600000 on:ON_5XX}");
  std::vector<TestConnection> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(mesh.rig.connect());
    clients.back().send(kGet);
  }
  // Those that are not repeated get the server's answer; the others wait in their back-off.
  EXPECT_GE(mesh.rig.sink().wait(kClients - 12).size(), static_cast<size_t>(kClients) - 12);
  EXPECT_EQ(requests, kClients);
  EXPECT_EQ(mesh.rig.sink().count(), static_cast<size_t>(kClients) - 12);
}

TEST(RouteRetryTest, AGrpcStatusInTheHeadIsRepeatedWhenNamed) {
  std::atomic<int> calls{0};
  TestServer server(http2_server([&](WirePeer& wire, RecordingStream& stream) {
    Http2Fields fields = response_fields();
    fields.add("content-type", "application/grpc");
    fields.add("grpc-status", ++calls < 3 ? "14" : "0");
    wire.peer.session->send_response(stream, fields, true);
  }));
  RetryRig mesh({server.address()}, retries("on:ON_UNAVAILABLE"));
  TestConnection connection = mesh.rig.connect();
  WirePeer wire(Http2Session::Role::kClient, connection);
  RecordingStream answer;
  wire.mine = &answer;
  Http2Fields fields = request_fields("POST", "/pkg.Service/Method");
  fields.add("content-type", "application/grpc");
  const iovec body[] = {piece("message")};
  ASSERT_TRUE(wire.peer.session->send_request(answer, fields, false));
  wire.peer.session->offer(answer, body, true, {});
  EXPECT_TRUE(wire.turn_until([&] { return !answer.closed.empty(); }));
  EXPECT_EQ(answer.field(0, "grpc-status"), "0");
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace weft::proxy
