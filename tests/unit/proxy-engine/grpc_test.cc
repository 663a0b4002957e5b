// gRPC calls: how their deadline is read and written, and that it ends them on both sides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_wire.h"
#include "userspace-proxy/http/grpc.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;

constexpr MonotonicNs kHour = 3600 * kNsPerSecond;

TEST(GrpcTimeoutTest, ReadsEveryUnit) {
  EXPECT_EQ(parse_grpc_timeout("2H"), 2 * kHour);
  EXPECT_EQ(parse_grpc_timeout("3M"), 180 * kNsPerSecond);
  EXPECT_EQ(parse_grpc_timeout("10S"), 10 * kNsPerSecond);
  EXPECT_EQ(parse_grpc_timeout("000000250m"), std::nullopt) << "nine digits";
  EXPECT_EQ(parse_grpc_timeout("0000250m"), 250 * kNsPerMs);
  EXPECT_EQ(parse_grpc_timeout("99999999u"), 99'999'999'000u);
  EXPECT_EQ(parse_grpc_timeout("1n"), 1u);
}

TEST(GrpcTimeoutTest, IgnoresWhatIsNone) {
  for (const char* text :
       {"", "S", "5", "-1S", "+1S", " 1S", "1 S", "1.5S", "1s", "1h", "0S", "123456789S", "99999999H", "1Sx"})
    EXPECT_EQ(parse_grpc_timeout(text), std::nullopt) << text;
}

TEST(GrpcTimeoutTest, WritesWhatItReads) {
  GrpcTimeoutText text;
  EXPECT_EQ(write_grpc_timeout(1'500 * kNsPerMs, &text), "1500m");
  EXPECT_EQ(write_grpc_timeout(10, &text), "1m");
  EXPECT_EQ(write_grpc_timeout(100 * kHour, &text), "360000S");
  EXPECT_EQ(parse_grpc_timeout(write_grpc_timeout(99'999'999 * kNsPerMs, &text)), 99'999'999 * kNsPerMs);
}

TEST(GrpcTimeoutTest, OnlyCallsHaveOne) {
  RequestHead head;
  head.method = "POST";
  for (const char* type : {"application/grpc", "application/grpc+proto", "application/grpc;a=b"}) {
    head.headers = {{"Content-Type", type}};
    EXPECT_TRUE(is_grpc_call(head)) << type;
  }
  for (const char* type : {"application/grpc-web", "application/json", ""}) {
    head.headers = {{"Content-Type", type}};
    EXPECT_FALSE(is_grpc_call(head)) << type;
  }
  head.headers = {{"content-type", "application/grpc"}};
  head.method = "GET";
  EXPECT_FALSE(is_grpc_call(head));
}

Http2Fields call(std::string_view timeout) {
  Http2Fields fields = service_request("POST", "/pkg.Service/Call");
  fields.add("content-type", "application/grpc");
  fields.add("te", "trailers");
  if (!timeout.empty()) fields.add("grpc-timeout", timeout);
  return fields;
}

// How the server's first stream ended.
struct CallServer {
  explicit CallServer(std::function<void(WirePeer&, RecordingStream&)> answer)
      : server([this, answer](TestConnection& c) {
          WirePeer wire(Http2Session::Role::kServer, c);
          if (!wire.turn_until([&] { return !wire.peer.streams.empty(); })) return;
          RecordingStream& stream = wire.peer.streams[0];
          timeout = stream.field(0, "grpc-timeout");
          answer(wire, stream);
          wire.turn_until([&] { return !stream.closed.empty(); });
          if (stream.closed.empty()) return;
          cancelled = stream.closed.at(0) == Http2StreamEnd::kCancelled;
          over = true;
          // Closing with something unread would take the answer away.
          while (wire.turn()) continue;
        }) {}
  std::string timeout;
  std::atomic<bool> cancelled{false}, over{false};
  TestServer server;
};

TEST(GrpcDeadlineTest, ACallWithoutAnAnswerEndsWithStatusFour) {
  CallServer upstream([](WirePeer&, RecordingStream&) {});
  Rig rig(to(upstream.server.address()));
  Http2Client client(rig);
  client.ask(call("30m"), "request");
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.field(0, "grpc-status"), "4");
  EXPECT_EQ(client.request.field(0, "grpc-message"), "deadline_exceeded");
  EXPECT_EQ(client.request.body, "");
  EXPECT_EQ(client.request.trailers, "") << "nothing but trailers, so they are the head";
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDeadlineExceeded);
  EXPECT_TRUE(rig.wait_for([&] { return upstream.over.load(); }));
  EXPECT_TRUE(upstream.cancelled);
}

TEST(GrpcDeadlineTest, AStreamThatHasBegunEndsWithTrailersOfStatusFour) {
  const std::string message = "first message";
  CallServer upstream([&](WirePeer& wire, RecordingStream& stream) {
    const iovec body[] = {piece(message)};
    wire.peer.session->send_response(stream, response_fields(), false);
    wire.peer.session->offer(stream, body, false, {});
    wire.speak();
  });
  Rig rig(to(upstream.server.address()));
  Http2Client client(rig);
  client.ask(call("100m"), "request");
  EXPECT_EQ(client.request.body, message);
  EXPECT_EQ(client.request.trailers, "grpc-status=4;grpc-message=deadline_exceeded;");
  EXPECT_THAT(client.request.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDeadlineExceeded);
  EXPECT_TRUE(rig.wait_for([&] { return upstream.over.load(); }));
  EXPECT_TRUE(upstream.cancelled);
}

TEST(GrpcDeadlineTest, AClientWithoutWindowStillGetsTheStatus) {
  const std::string message = "there is no room for this";
  CallServer upstream([&](WirePeer& wire, RecordingStream& stream) {
    const iovec body[] = {piece(message)};
    wire.peer.session->send_response(stream, response_fields(), false);
    wire.peer.session->offer(stream, body, true, {});
    wire.speak();
  });
  Rig rig(to(upstream.server.address()));
  Http2Limits closed;
  closed.stream_window_bytes = 0;
  Http2Client client(rig, closed);
  client.ask(call("100m"), "request");
  EXPECT_EQ(client.request.body, "");
  EXPECT_EQ(client.request.trailers, "grpc-status=4;grpc-message=deadline_exceeded;");
}

TEST(GrpcDeadlineTest, ACallThatWaitsForAConnectionHasADeadlineToo) {
  CallServer upstream([](WirePeer&, RecordingStream&) {});
  Rig::Setup setup = to(upstream.server.address());
  setup.options.max_upstream_connections = setup.options.max_upstream_streams = 1;
  Rig rig(setup);
  Http2Client first(rig);
  ASSERT_TRUE(first.wire.peer.session->send_request(first.request, call(""), true));
  first.wire.speak();
  ASSERT_TRUE(rig.wait_for([&] { return upstream.server.connections() == 1; }));
  Http2Client second(rig);
  second.ask(call("30m"), "request");
  EXPECT_EQ(second.request.field(0, "grpc-status"), "4");
  EXPECT_EQ(upstream.server.connections(), 1);
}

TEST(GrpcDeadlineTest, TheServerGetsTheDeadlineOrWhatIsLeftOfIt) {
  CallServer upstream([](WirePeer& wire, RecordingStream& stream) {
    Http2Fields trailers = response_fields();
    trailers.add("grpc-status", "0");
    wire.peer.session->send_response(stream, trailers, true);
    wire.speak();
  });
  Rig rig(to(upstream.server.address()));
  Http2Client client(rig);
  client.ask(call("100S"), "request");
  EXPECT_EQ(client.request.field(0, "grpc-status"), "0") << client.request.field(0, "grpc-message");
  ASSERT_TRUE(rig.wait_for([&] { return upstream.over.load(); }));
  const auto left = parse_grpc_timeout(upstream.timeout);
  ASSERT_TRUE(left.has_value()) << upstream.timeout;
  EXPECT_LE(*left, 100 * kNsPerSecond);
  EXPECT_GT(*left, 90 * kNsPerSecond);
}

TEST(GrpcDeadlineTest, OthersThanCallsMaySendTheFieldAndItMeansNothing) {
  TestServer server(http2_server(echo));
  Rig rig(to(server.address()));
  Http2Client client(rig);
  Http2Fields fields = service_request("POST", "/");
  fields.add("grpc-timeout", "1n");
  client.ask(fields, "body");
  EXPECT_EQ(client.status(), "200");
}

}  // namespace
}  // namespace weft::proxy
