// Timeouts and injected faults of routes through a real worker. Waits are bounded below only: a busy machine
// may be late, never early.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <latch>

#include "tests/unit/proxy-engine/http2_wire.h"
#include "tests/unit/proxy-engine/route_rig.h"

namespace weft::proxy {
namespace {

using std::chrono::milliseconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ask(Rig& rig, std::string_view request) {
  TestConnection client = rig.connect();
  client.send(request);
  return client.read_message();
}

// A worker whose one cluster has this endpoint.
class TimedRig {
 public:
  TimedRig(const SocketAddress& endpoint, const std::string& http)
      : rig(Rig::Setup{.protocol = Protocol::kHttp,
                       .clusters = {TestCluster{.name = "v1", .endpoints = {endpoint}}},
                       .options = {},
                       .with_route = true}) {
    rig.use(with_routes(rig.make_snapshot({TestCluster{.name = "v1", .endpoints = {endpoint}}}, 2), http));
  }
  Rig rig;
};

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";

TEST(RouteTimeoutTest, AServerThatSaysNothingIsGivenUp) {
  std::latch over(1);
  TestServer server([&](TestConnection& c) {
    c.read_message();
    // The proxy closes it.
    EXPECT_EQ(c.read_end(), 0);
    over.count_down();
  });
  TimedRig timed(server.address(), str_cat("http{timeout_ms:50", kTo, "}"));
  const auto begin = std::chrono::steady_clock::now();
  const std::string answer = ask(timed.rig, kGet);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(49));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 504 Gateway Timeout\r\nx-weft-reason: timeout\r\n"));
  over.wait();
  EXPECT_EQ(timed.rig.sink().wait(1).at(0).outcome, Outcome::kTimeout);
}

TEST(RouteTimeoutTest, AResponseThatDoesNotEndIsCut) {
  TestServer server([](TestConnection& c) {
    c.read_message();
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    c.read_end();
  });
  TimedRig timed(server.address(), str_cat("http{timeout_ms:50", kTo, "}"));
  TestConnection client = timed.rig.connect();
  client.send(kGet);
  EXPECT_THAT(client.read_to_end(), EndsWith("half"));
  EXPECT_EQ(timed.rig.sink().wait(1).at(0).outcome, Outcome::kTimeout);
}

TEST(RouteTimeoutTest, AConnectionThatIsNotAcceptedCountsToo) {
  // The backlog of one is full: further SYNs are dropped.
  SocketAddress address;
  const UniqueFd listener = listen_on_loopback(&address);
  ASSERT_EQ(listen(listener.get(), 0), 0);
  TestConnection first = TestConnection::to(address);
  UniqueFd more[4];
  for (UniqueFd& fd : more) {
    fd = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_storage storage;
    const socklen_t length = address.to_sockaddr(&storage);
    ::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length);
  }
  TimedRig timed(address, str_cat("http{timeout_ms:50", kTo, "}"));
  EXPECT_THAT(ask(timed.rig, kGet), HasSubstr("x-weft-reason: timeout"));
}

TEST(RouteTimeoutTest, AnAnswerInTimeIsPassedOn) {
  TestServer server(always("ok"));
  TimedRig timed(server.address(), str_cat("http{timeout_ms:5000", kTo, "}"));
  TestConnection client = timed.rig.connect();
  for (int i = 0; i < 3; ++i) {
    client.send(kGet);
    EXPECT_EQ(client.read_message(), ok_response("ok"));
  }
}

TEST(RouteTimeoutTest, TheTimeInWhichTheClientSendsIsItsOwn) {
  TestServer server([](TestConnection& c) {
    const std::string request = c.read_message();
    c.send(ok_response(request.substr(request.find("\r\n\r\n") + 4)));
  });
  TimedRig timed(server.address(), str_cat("http{timeout_ms:40", kTo, "}"));
  TestConnection client = timed.rig.connect();
  client.send("POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 4\r\n\r\nab");
  // Longer than the timeout: another exchange's own timeout is awaited.
  TestServer silent([](TestConnection& c) { c.read_to_end(); });
  TimedRig clock(silent.address(), str_cat("http{timeout_ms:120", kTo, "}"));
  EXPECT_THAT(ask(clock.rig, kGet), StartsWith("HTTP/1.1 504"));
  client.send("cd");
  EXPECT_EQ(client.read_message(), ok_response("abcd"));
}

TEST(RouteTimeoutTest, AGrpcClientIsToldItsDeadlineIsOver) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  TimedRig timed(server.address(), str_cat("http{timeout_ms:50", kTo, "}"));
  TestConnection connection = timed.rig.connect();
  WirePeer wire(Http2Session::Role::kClient, connection);
  RecordingStream answer;
  wire.mine = &answer;
  Http2Fields fields = request_fields("POST", "/pkg.Service/Method");
  fields.add("content-type", "application/grpc");
  ASSERT_TRUE(wire.peer.session->send_request(answer, fields, true));
  EXPECT_TRUE(wire.turn_until([&] { return !answer.closed.empty(); }));
  EXPECT_EQ(answer.field(0, "grpc-status"), "4");
  EXPECT_EQ(answer.field(0, "grpc-message"), "timeout");
}

TEST(RouteFaultTest, ADelayHoldsTheRequestBack) {
  RouteRig mesh(str_cat("http{fault{delay_ms:60 delay_ppm:1000000}", kTo, "}"));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(mesh.get("/"), StartsWith("HTTP/1.1 200"));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(59));
  EXPECT_EQ(mesh.requests(), 1);
}

TEST(RouteFaultTest, AnAbortIsAnsweredWithItsStatus) {
  RouteRig mesh(str_cat("http{fault{abort_ppm:1000000 http_status:403}", kTo, "}"));
  const std::string answer = mesh.get("/");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 403 Forbidden\r\nx-weft-reason: fault_abort\r\n"));
  EXPECT_THAT(answer, EndsWith("weft: fault_abort\n"));
  EXPECT_EQ(mesh.requests(), 0);
  EXPECT_EQ(mesh.rig().sink().wait(1).at(0).outcome, Outcome::kFaultAbort);
}

TEST(RouteFaultTest, AGrpcStatusIsTranslatedForWhoSpeaksHttp) {
  RouteRig mesh(str_cat("http{fault{abort_ppm:1000000 grpc_status:8}", kTo, "}"));
  EXPECT_THAT(mesh.get("/"), StartsWith("HTTP/1.1 429 Too Many Requests\r\n"));
}

TEST(RouteFaultTest, AGrpcClientGetsTheGrpcStatus) {
  RouteRig mesh(str_cat("http{fault{abort_ppm:1000000 grpc_status:14}", kTo, "}"));
  TestConnection connection = mesh.rig().connect();
  WirePeer wire(Http2Session::Role::kClient, connection);
  RecordingStream answer;
  wire.mine = &answer;
  Http2Fields fields = request_fields("POST", "/pkg.Service/Method");
  fields.add("content-type", "application/grpc+proto");
  ASSERT_TRUE(wire.peer.session->send_request(answer, fields, true));
  EXPECT_TRUE(wire.turn_until([&] { return !answer.closed.empty(); }));
  EXPECT_EQ(answer.field(0, ":status"), "200");
  EXPECT_EQ(answer.field(0, "grpc-status"), "14");
}

TEST(RouteFaultTest, SharesAreDrawnInPartsPerMillionAndApart) {
  RouteRig mesh(str_cat("http{fault{delay_ms:1 delay_ppm:1 abort_ppm:250000 http_status:500}", kTo, "}"));
  TestConnection client = mesh.rig().connect();
  int aborted = 0;
  for (int i = 0; i < 2000; ++i) {
    client.send(kGet);
    aborted += client.read_message().starts_with("HTTP/1.1 500") ? 1 : 0;
  }
  // Six standard deviations.
  EXPECT_NEAR(aborted, 500, 117);
  EXPECT_EQ(mesh.requests() + aborted, 2000);
}

TEST(RouteFaultTest, AShareOfNothingNeverActs) {
  RouteRig mesh(str_cat("http{fault{delay_ms:3600000 abort_ppm:0 http_status:500}", kTo, "}"));
  for (int i = 0; i < 20; ++i) EXPECT_THAT(mesh.get("/"), StartsWith("HTTP/1.1 200"));
}

TEST(RouteFaultTest, AClientThatLeavesDuringADelayLeavesNothingBehind) {
  RouteRig mesh(str_cat("http{matches{uri{exact:'/slow'}} fault{delay_ms:3600000 delay_ppm:1000000}", kTo,
                        "} http{", kTo, "}"));
  TestConnection connection = mesh.rig().connect();
  {
    WirePeer wire(Http2Session::Role::kClient, connection);
    RecordingStream answer;
    wire.mine = &answer;
    ASSERT_TRUE(wire.peer.session->send_request(answer, request_fields("GET", "/slow"), true));
    wire.speak();
    wire.peer.session->reset(answer, NGHTTP2_CANCEL);
    wire.speak();
  }
  EXPECT_EQ(mesh.rig().sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
  EXPECT_EQ(mesh.requests(), 0);
}

}  // namespace
}  // namespace weft::proxy
