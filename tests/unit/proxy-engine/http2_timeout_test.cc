// What stalls on an HTTP/2 connection ends, on either side, with a reason and a count: heads, windows,
// sockets that nobody reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/http2_wire.h"

namespace weft::proxy {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

uint64_t ended_by(Rig& rig, Http2Fault fault) {
  return rig.worker().gauges().http2_faults[static_cast<size_t>(fault)];
}

// What the worker sent until it closed.
Endings endings_of(TestConnection& connection) { return endings_in(connection.read_to_end()); }

Rig::Setup with_head_timeout(milliseconds timeout) {
  Rig::Setup setup = to(refused_address());
  setup.options.head_timeout = timeout;
  return setup;
}

TEST(Http2TimeoutTest, AHeadThatIsNeverFinishedEndsItsConnection) {
  Rig rig(with_head_timeout(milliseconds(20)));
  TestConnection client = rig.connect();
  client.send(preface() + frame(NGHTTP2_HEADERS, kEnd, 1, request_block()));
  const Endings endings = endings_of(client);
  EXPECT_THAT(endings.goaways, ElementsAre(NGHTTP2_ENHANCE_YOUR_CALM));
  EXPECT_EQ(endings.goaway_text, "head_timeout");
  EXPECT_EQ(ended_by(rig, Http2Fault::kHeadTimeout), 1u);
}

TEST(Http2TimeoutTest, APrefaceThatIsNeverFinishedEndsItsConnection) {
  Rig rig(with_head_timeout(milliseconds(20)));
  TestConnection client = rig.connect();
  client.send(std::string_view(NGHTTP2_CLIENT_MAGIC).substr(0, 20));
  EXPECT_EQ(endings_of(client).goaway_text, "head_timeout");
}

TEST(Http2TimeoutTest, SettingsThatNeverComeEndTheConnection) {
  Rig rig(with_head_timeout(milliseconds(20)));
  TestConnection client = rig.connect();
  client.send(NGHTTP2_CLIENT_MAGIC);
  EXPECT_EQ(endings_of(client).goaway_text, "head_timeout");
}

TEST(Http2TimeoutTest, WhoWaitsForTheSettingsOfASilentServerIsTold) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Rig::Setup setup = to(server.address(), ClusterProtocol::kHttp2);
  setup.options.upstream_idle = milliseconds(20);
  Rig rig(setup);
  TestConnection client = rig.connect();
  client.send(
      "GET /chat HTTP/1.1\r\nHost: service\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  EXPECT_THAT(client.read_until("\r\n\r\n"), ::testing::HasSubstr("x-weft-reason: connect_failed"));
}

TEST(Http2TimeoutTest, ExchangesThatWereUnderWayAreRecorded) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Rig::Setup setup = to(server.address(), ClusterProtocol::kHttp1);
  setup.options.head_timeout = milliseconds(20);
  Rig rig(setup);
  TestConnection client = rig.connect();
  client.send(preface() + frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1, request_block()) +
              frame(NGHTTP2_HEADERS, kEnd, 3, request_block()));
  client.read_to_end();
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kRequestTimeout);
}

TEST(Http2TimeoutTest, AStreamWhoseWindowStaysClosedEndsAndItsConnectionLives) {
  TestServer server([](TestConnection& c) {
    while (!c.read_message().empty()) c.send(ok_response("a body for which there is no window"));
  });
  Rig::Setup setup = to(server.address(), ClusterProtocol::kHttp1);
  setup.options.exchange_idle = milliseconds(20);
  Rig rig(setup);
  Http2Limits closed;
  closed.stream_window_bytes = 0;
  Http2Client client(rig, closed);
  ASSERT_TRUE(client.wire.peer.session->send_request(client.request, service_request("GET", "/"), true));
  EXPECT_TRUE(client.wire.turn_until([&] { return !client.request.closed.empty(); }));
  EXPECT_THAT(client.request.closed, ElementsAre(Http2StreamEnd::kReset));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kIdleTimeout);
  client.wire.peer.session->send_ping();
  EXPECT_TRUE(client.wire.turn_until([&] { return client.wire.peer.pongs == 1; }));
}

TEST(Http2TimeoutTest, AServerThatGivesNoWindowIsGivenUp) {
  std::atomic<bool> cancelled{false};
  TestServer server([&](TestConnection& c) {
    Http2Limits closed;
    closed.stream_window_bytes = 0;
    WirePeer wire(Http2Session::Role::kServer, c, closed);
    wire.turn_until([&] { return !wire.peer.streams.empty() && !wire.peer.streams[0].closed.empty(); });
    cancelled = wire.peer.streams.at(0).closed.at(0) == Http2StreamEnd::kCancelled;
  });
  Rig::Setup setup = to(server.address());
  setup.options.exchange_idle = milliseconds(20);
  Rig rig(setup);
  Http2Client client(rig);
  client.ask(service_request("POST", "/"), std::string(200 * 1024, 'b'));
  EXPECT_EQ(client.status(), "504");
  EXPECT_EQ(client.request.field(0, "x-weft-reason"), "idle_timeout");
  EXPECT_TRUE(rig.wait_for([&] { return cancelled.load(); }));
}

TEST(Http2TimeoutTest, AClientThatDoesNotReadItsSocketLosesIt) {
  const std::string body(64 * 1024, 'b');
  TestServer server([&](TestConnection& c) {
    c.read_message();
    c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (c.send(str_cat("10000\r\n", body, "\r\n"))) continue;
  });
  Rig::Setup setup = to(server.address(), ClusterProtocol::kHttp1);
  setup.options.exchange_idle = milliseconds(50);
  Rig rig(setup);
  TestConnection client = rig.connect();
  client.send(preface() + frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x4", 2) + u32(0x7fffffff)) +
              frame(NGHTTP2_WINDOW_UPDATE, 0, 0, u32(0x7fff0000 - 65535)) +
              frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1, request_block()));
  EXPECT_TRUE(rig.wait_for([&] { return ended_by(rig, Http2Fault::kStalled) == 1; }));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().downstream_connections == 0; }));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kIdleTimeout);
}

TEST(Http2TimeoutTest, EachHeadHasItsOwnTime) {
  const Http2Limits limits;
  Http2FrameMeter meter(limits, 0);
  EXPECT_NE(meter.unfinished(), 0u);
  meter.received(0, frame(NGHTTP2_SETTINGS, 0, 0));
  EXPECT_EQ(meter.unfinished(), 0u);
  const std::string head = frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1, request_block());
  meter.received(0, head.substr(0, 20));
  const uint64_t first = meter.unfinished();
  EXPECT_NE(first, 0u);
  meter.received(0, head.substr(20) + head.substr(0, 5));
  const uint64_t second = meter.unfinished();
  EXPECT_NE(second, 0u);
  EXPECT_NE(second, first);
  meter.received(0, head.substr(5));
  EXPECT_EQ(meter.unfinished(), 0u);
}

TEST(Http2TimeoutTest, AHeadInSeveralFramesIsOne) {
  const Http2Limits limits;
  Http2FrameMeter meter(limits, 0);
  meter.received(0, frame(NGHTTP2_SETTINGS, 0, 0) + frame(NGHTTP2_HEADERS, kEnd, 1, request_block()));
  const uint64_t head = meter.unfinished();
  EXPECT_NE(head, 0u);
  meter.received(0, frame(NGHTTP2_CONTINUATION, 0, 1, literal("a", "b")) + "\0");
  EXPECT_EQ(meter.unfinished(), head);
  Http2FrameMeter other(limits, 0);
  other.received(0, frame(NGHTTP2_SETTINGS, 0, 0) + frame(NGHTTP2_HEADERS, kEnd, 1, request_block()) +
                        frame(NGHTTP2_CONTINUATION, kEndHeaders, 1, literal("a", "b")));
  EXPECT_EQ(other.unfinished(), 0u);
}

TEST(Http2TimeoutTest, ABodyMayPauseWithinAFrame) {
  const Http2Limits limits;
  Http2FrameMeter meter(limits, 0);
  meter.received(0, frame(NGHTTP2_SETTINGS, 0, 0) + frame(NGHTTP2_DATA, 0, 1, "payload").substr(0, 12));
  EXPECT_EQ(meter.unfinished(), 0u);
}

}  // namespace
}  // namespace weft::proxy
