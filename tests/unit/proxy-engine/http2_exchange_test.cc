// Exchanges with HTTP/2 on either side, through a real worker: every combination of versions, trailers,
// cancelling, refusing, draining, and gRPC's kind of local reply.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/http2_wire.h"

namespace weft::proxy {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Http2ExchangeTest, AnHttp2ClientReachesAnHttp2Server) {
  TestServer server(http2_server(echo));
  Rig rig(to(server.address()));
  Http2Client client(rig);
  client.ask(service_request("POST", "/a?b"), "payload");
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.body, "/a?b payload");
  EXPECT_THAT(client.request.closed, ElementsAre(Http2StreamEnd::kComplete));
  const SeenRecord record = rig.sink().wait(1).at(0);
  EXPECT_EQ(record.outcome, Outcome::kOk);
  EXPECT_EQ(record.received_bytes, 7u);
  EXPECT_EQ(record.protocol, ExchangeRecord::Protocol::kHttp2);
}

TEST(Http2ExchangeTest, AnHttp1RequestAfterAnHttp2OneIsForwardedAsHttp1) {
  TestServer server([](TestConnection& c) {
    // The preface is the head of a request to one that speaks HTTP/1.
    if (c.read_until("\r\n\r\n").starts_with("GET / HTTP/1.1\r\n")) c.send(ok_response("as it should be"));
  });
  Rig rig(to(server.address()));
  Http2Client client(rig);
  client.ask(service_request("GET", "/"));
  EXPECT_EQ(client.status(), "503");
  EXPECT_THAT(rig.get(), EndsWith("as it should be"));
  const std::vector<SeenRecord> records = rig.sink().wait(2);
  EXPECT_EQ(records.at(0).protocol, ExchangeRecord::Protocol::kHttp2);
  EXPECT_EQ(records.at(1).protocol, ExchangeRecord::Protocol::kHttp1);
}

TEST(Http2ExchangeTest, AnHttp2ClientReachesAnHttp1Server) {
  TestServer server([](TestConnection& c) {
    const std::string head = c.read_until("\r\n\r\n");
    EXPECT_THAT(head, StartsWith("POST /a HTTP/1.1\r\nHost: service\r\n"));
    EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
    EXPECT_EQ(c.read_until("0\r\nx-sum: 7\r\n\r\n"), "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");
    c.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kept: 1\r\n\r\n2\r\nok\r\n0\r\nX-End: 1\r\n\r\n");
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  const std::vector<Header> trailers = {{"x-sum", "7"}};
  client.ask(service_request("POST", "/a"), "abc", trailers);
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.field(0, "x-kept"), "1");
  EXPECT_EQ(client.request.body, "ok");
  EXPECT_EQ(client.request.trailers, "x-end=1;");
}

// Servers of a port that is declared "http" may know nothing newer.
TEST(Http2ExchangeTest, AnHttp2ClientOfAPortThatSaysHttpReachesItsServerOverHttp1) {
  TestServer server(always("plain"));
  Rig rig(to(server.address(), ClusterProtocol::kHttp1OrGrpc));
  Http2Client client(rig);
  client.ask(service_request("GET", "/"));
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.body, "plain");
}

TEST(Http2ExchangeTest, AGrpcCallToAPortThatSaysHttpStaysHttp2) {
  TestServer server(http2_server(echo));
  Rig rig(to(server.address(), ClusterProtocol::kHttp1OrGrpc));
  Http2Client client(rig);
  Http2Fields call = service_request("POST", "/pkg.Service/Call");
  call.add("content-type", "application/grpc+proto");
  client.ask(call, "message");
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.body, "/pkg.Service/Call message");
}

TEST(Http2ExchangeTest, AnHttp1ClientReachesAnHttp2Server) {
  TestServer server(http2_server(echo));
  Rig rig(to(server.address(), ClusterProtocol::kHttp2));
  TestConnection client = rig.connect();
  for (int i = 0; i < 3; ++i) {
    client.send("POST /p HTTP/1.1\r\nHost: service\r\nContent-Length: 4\r\n\r\nbody");
    const std::string response = client.read_until("0\r\n\r\n");
    EXPECT_THAT(response, StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(response, HasSubstr("/p body"));
  }
  EXPECT_EQ(server.connections(), 1);
}

// A head is used again: what an HTTP/2 client left in it must not choose the next request's upstream.
TEST(Http2ExchangeTest, AnHttp1ClientAfterAnHttp2OneReachesItsServerOverHttp1) {
  TestServer server([](TestConnection& c) {
    const std::string head = c.read_until("\r\n\r\n");
    if (head.starts_with("PRI ")) return;
    EXPECT_THAT(head, StartsWith("GET / HTTP/1.1\r\n"));
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  Rig rig(to(server.address(), ClusterProtocol::kAsClient));
  {
    Http2Client client(rig);
    client.ask(service_request("GET", "/"));
    EXPECT_EQ(client.status(), "503");
  }
  rig.sink().wait(1);
  EXPECT_THAT(rig.get(), StartsWith("HTTP/1.1 200"));
}

TEST(Http2ExchangeTest, AServerThatFailsMidwayIsSeenByAnHttp2ClientAsAReset) {
  TestServer server([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  client.ask(service_request("GET", "/"));
  EXPECT_THAT(client.request.closed, ElementsAre(Http2StreamEnd::kReset));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kUpstreamReset);
}

TEST(Http2ExchangeTest, ALargeBodyGoesBothWaysThroughEveryWindow) {
  TestServer server(http2_server(echo));
  Rig rig(to(server.address()));
  Http2Client client(rig);
  const std::string big(3 * 1024 * 1024, 'b');
  client.ask(service_request("POST", "/"), big);
  EXPECT_EQ(client.request.body.size(), big.size() + 2);
}

TEST(Http2ExchangeTest, AClientThatDoesNotReadStopsItsServer) {
  std::atomic<size_t> taken{0};
  TestServer server([&](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    const std::string part(64 * 1024, 'x');
    while (c.send(part)) taken += part.size();
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  client.wire.accepting = false;
  ASSERT_TRUE(client.wire.peer.session->send_request(client.request, service_request("GET", "/"), true));
  ASSERT_TRUE(client.wire.turn_until(
      [&] { return client.request.body.size() == client.wire.peer.limits.stream_window_bytes; }));
  // What sockets and one window hold, and no more.
  EXPECT_LT(taken.load(), 20u * 1024 * 1024);
  client.connection.close();
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
}

TEST(Http2ExchangeTest, ManyStreamsShareOneConnectionToTheServer) {
  TestServer server(http2_server(echo));
  Rig rig(to(server.address()));
  TestConnection connection = rig.connect();
  WirePeer wire(Http2Session::Role::kClient, connection);
  std::deque<RecordingStream> requests(50);
  for (RecordingStream& each : requests)
    ASSERT_TRUE(wire.peer.session->send_request(each, service_request("GET", "/"), true));
  EXPECT_TRUE(wire.turn_until([&] {
    for (const RecordingStream& each : requests) {
      if (each.closed.empty()) return false;
    }
    return true;
  }));
  for (const RecordingStream& each : requests) EXPECT_EQ(each.body, "/ ");
  EXPECT_EQ(server.connections(), 1);
}

TEST(Http2ExchangeTest, ACancelledStreamIsCancelledAtItsServer) {
  std::atomic<bool> cancelled{false};
  TestServer server([&](TestConnection& c) {
    WirePeer wire(Http2Session::Role::kServer, c);
    wire.turn_until([&] { return !wire.peer.streams.empty() && !wire.peer.streams[0].closed.empty(); });
    cancelled = wire.peer.streams.at(0).closed.at(0) == Http2StreamEnd::kCancelled;
  });
  Rig rig(to(server.address()));
  Http2Client client(rig);
  ASSERT_TRUE(client.wire.peer.session->send_request(client.request, service_request("POST", "/"), false));
  client.wire.speak();
  ASSERT_TRUE(rig.wait_for([&] { return server.connections() == 1; }));
  client.wire.peer.session->reset(client.request, NGHTTP2_CANCEL);
  client.wire.speak();
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDownstreamReset);
  EXPECT_TRUE(rig.wait_for([&] { return cancelled.load(); }));
}

TEST(Http2ExchangeTest, ARefusedStreamIsSentAgainOnAnotherConnection) {
  std::atomic<int> accepted{0};
  TestServer server([&](TestConnection& c) {
    WirePeer wire(Http2Session::Role::kServer, c);
    wire.peer.refusing = accepted++ == 0;
    bool answered = false;
    while (wire.turn()) {
      if (answered || wire.peer.streams.empty() || !wire.peer.streams[0].ended) continue;
      answered = true;
      echo(wire, wire.peer.streams[0]);
    }
  });
  Rig rig(to(server.address()));
  Http2Client client(rig);
  client.ask(service_request("GET", "/again"));
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http2ExchangeTest, LocalRepliesSpeakHttpOrGrpc) {
  Rig rig(to(refused_address()));
  Http2Client plain(rig);
  plain.ask(service_request("GET", "/"));
  EXPECT_EQ(plain.status(), "503");
  EXPECT_EQ(plain.request.body, "weft: connect_refused\n");
  Http2Client grpc(rig);
  Http2Fields fields = service_request("POST", "/pkg.Service/Call");
  fields.add("content-type", "application/grpc+proto");
  grpc.ask(fields, "\0\0\0\0\0");
  EXPECT_EQ(grpc.status(), "200");
  EXPECT_EQ(grpc.request.field(0, "grpc-status"), "14");
  EXPECT_EQ(grpc.request.field(0, "grpc-message"), "connect_refused");
  EXPECT_EQ(grpc.request.body, "");
}

TEST(Http2ExchangeTest, ADrainFinishesStreamsAndSendsClientsElsewhere) {
  std::atomic<bool> go{false};
  TestServer server([&](TestConnection& c) {
    c.read_until("\r\n\r\n");
    while (!go) std::this_thread::yield();
    c.send(ok_response("late"));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  ASSERT_TRUE(client.wire.peer.session->send_request(client.request, service_request("GET", "/"), true));
  client.wire.speak();
  ASSERT_TRUE(rig.wait_for([&] { return server.connections() == 1; }));
  std::atomic<bool> drained{false};
  rig.worker().drain(std::chrono::seconds(5), [&] { drained = true; });
  EXPECT_TRUE(client.wire.turn_until([&] { return client.wire.peer.goaways > 0; }));
  EXPECT_FALSE(client.wire.peer.session->can_open_stream());
  go = true;
  EXPECT_TRUE(client.wire.turn_until([&] { return !client.request.closed.empty(); }));
  EXPECT_EQ(client.request.body, "late");
  while (client.wire.turn()) continue;
  client.connection.close();
  EXPECT_TRUE(rig.wait_for([&] { return drained.load(); }));
}

TEST(Http2ExchangeTest, AFloodEndsTheConnectionAndItsExchangesSaySo) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  TestConnection attacker = rig.connect();
  std::string bytes = preface() + frame(NGHTTP2_HEADERS, kEndHeaders | kEnd, 1,
                                        literal(":method", "GET") + literal(":scheme", "http") +
                                            literal(":authority", "service") + literal(":path", "/"));
  attacker.send(bytes);
  ASSERT_TRUE(rig.wait_for([&] { return server.connections() == 1; }));
  std::string pings;
  for (int i = 0; i < 2000; ++i) pings += frame(NGHTTP2_PING, 0, 0, "12345678");
  attacker.send(pings);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kHttp2Flood);
}

}  // namespace
}  // namespace weft::proxy
