// Tunnels with HTTP/2 on either side: extended CONNECT (RFC 8441) to and from Upgrade, and CONNECT.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/http2_wire.h"
#include "userspace-proxy/http/websocket_key.h"

namespace weft::proxy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// RFC 6455 §1.3.
constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

std::string accept_of(std::string_view key) {
  const WebSocketAccept accept = websocket_accept(key);
  return std::string(accept.data(), accept.size());
}

std::string field_in(const std::string& head, std::string_view name) {
  const size_t at = head.find(str_cat(name, ": "));
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 2;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

Http2Fields web_socket_request() {
  Http2Fields fields;
  fields.add(":method", "CONNECT");
  fields.add(":protocol", "websocket");
  fields.add(":scheme", "http");
  fields.add(":authority", "service");
  fields.add(":path", "/chat");
  fields.add("sec-websocket-version", "13");
  return fields;
}

// Echoes what a tunnel brings and ends when it does.
TestServer::Handler http2_tunnel_server() {
  return [](TestConnection& c) {
    WirePeer wire(Http2Session::Role::kServer, c);
    if (!wire.turn_until([&] { return !wire.peer.streams.empty(); })) return;
    RecordingStream& stream = wire.peer.streams[0];
    Http2Fields agreed = response_fields();
    const std::string asked = stream.field(0, ":method") + " " + stream.field(0, ":protocol") + " " +
                              stream.field(0, ":authority") + stream.field(0, ":path");
    agreed.add("x-asked", asked);
    agreed.add("x-key", stream.field(0, "sec-websocket-key").empty() ? "none" : "some");
    wire.peer.session->send_response(stream, agreed, false);
    if (!wire.turn_until([&] { return stream.ended; })) return;
    const std::string text = "got " + stream.body;
    const iovec body[] = {piece(text)};
    wire.peer.session->offer(stream, body, true, {});
    while (wire.turn()) continue;
  };
}

TEST(WebSocketKeyTest, ProvesAsTheStandardSays) {
  EXPECT_EQ(accept_of(kKey), kAccept);
  const WebSocketKey one = make_websocket_key(), two = make_websocket_key();
  EXPECT_NE(one, two);
  EXPECT_EQ(std::string_view(one.data(), one.size()).substr(22), "==");
}

TEST(Http2TunnelTest, AWebSocketOfAnHttp2ClientReachesAnHttp1Server) {
  TestServer server([](TestConnection& c) {
    const std::string head = c.read_until("\r\n\r\n");
    EXPECT_THAT(head, StartsWith("GET /chat HTTP/1.1\r\n"));
    EXPECT_THAT(head, HasSubstr("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    c.send(
        str_cat("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Accept: ",
                accept_of(field_in(head, "Sec-WebSocket-Key")), "\r\nX-Kept: 1\r\n\r\n"));
    c.send(str_cat("got ", c.read_to_end()));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  client.ask(web_socket_request(), "frames");
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.field(0, "x-kept"), "1");
  EXPECT_EQ(client.request.field(0, "sec-websocket-accept"), "") << "HTTP/2 has none";
  EXPECT_EQ(client.request.body, "got frames");
  EXPECT_THAT(client.request.closed, ElementsAre(Http2StreamEnd::kComplete));
  EXPECT_EQ(rig.sink().wait(1).at(0).method, "GET") << "routes see the same request in both versions";
}

TEST(Http2TunnelTest, AServerThatProvesNothingIsNoWebSocketServer) {
  TestServer server([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    EXPECT_EQ(c.read_to_end(), "");
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  client.ask(web_socket_request(), "frames");
  EXPECT_EQ(client.status(), "502");
}

TEST(Http2TunnelTest, ARefusedWebSocketSendsNothingOfTheTunnelToTheServer) {
  TestServer server([](TestConnection& c) {
    c.read_until("\r\n\r\n");
    c.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    // The next request on this connection, and not what was meant for the tunnel.
    EXPECT_THAT(c.read_until("\r\n\r\n"), StartsWith("GET /next HTTP/1.1\r\n"));
    c.send(ok_response("next"));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  client.ask(web_socket_request(), "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.status(), "403");
  EXPECT_EQ(client.request.body, "no");
  EXPECT_THAT(rig.get("/next"), HasSubstr("next"));
}

TEST(Http2TunnelTest, AWebSocketOfAnHttp2ClientReachesAnHttp2Server) {
  TestServer server(http2_tunnel_server());
  Rig rig(to(server.address()));
  Http2Client client(rig);
  client.ask(web_socket_request(), "frames");
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.field(0, "x-asked"), "CONNECT websocket service/chat");
  EXPECT_EQ(client.request.body, "got frames");
}

TEST(Http2TunnelTest, AWebSocketOfAnHttp1ClientReachesAnHttp2Server) {
  TestServer server(http2_tunnel_server());
  Rig rig(to(server.address(), ClusterProtocol::kHttp2));
  TestConnection client = rig.connect();
  client.send(
      str_cat("GET /chat HTTP/1.1\r\nHost: service\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
              kKey, "\r\n\r\n"));
  const std::string head = client.read_until("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_EQ(field_in(head, "Sec-WebSocket-Accept"), kAccept);
  EXPECT_EQ(field_in(head, "Upgrade"), "websocket");
  EXPECT_EQ(field_in(head, "Connection"), "Upgrade");
  EXPECT_EQ(field_in(head, "x-key"), "none");
  EXPECT_EQ(field_in(head, "x-asked"), "CONNECT websocket service/chat");
  client.send("frames");
  client.finish_sending();
  EXPECT_EQ(client.take_unread() + client.read_to_end(), "got frames");
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOk);
}

TEST(Http2TunnelTest, AServerThatDoesNotKnowExtendedConnectIsNotAsked) {
  TestServer server([](TestConnection& c) {
    // Settings that say nothing about it.
    c.read(24);
    c.send(frame(NGHTTP2_SETTINGS, 0, 0));
    EXPECT_THAT(c.read_to_end(), Not(HasSubstr("websocket")));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp2));
  TestConnection client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: service\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_THAT(client.read_message(), StartsWith("HTTP/1.1 501 "));
}

TEST(Http2TunnelTest, ConnectOfAnHttp1ClientReachesAnHttp2Server) {
  TestServer server(http2_tunnel_server());
  Rig rig(to(server.address(), ClusterProtocol::kHttp2));
  TestConnection client = rig.connect();
  client.send("CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n");
  const std::string head = client.read_until("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(field_in(head, "x-asked"), "CONNECT  far:443");
  client.send("bytes");
  client.finish_sending();
  EXPECT_EQ(client.take_unread() + client.read_to_end(), "got bytes");
}

TEST(Http2TunnelTest, ConnectOfAnHttp2ClientReachesServersOfBothVersions) {
  Http2Fields connect;
  connect.add(":method", "CONNECT");
  connect.add(":authority", "far:443");
  {
    TestServer server(http2_tunnel_server());
    Rig rig(to(server.address()));
    Http2Client client(rig);
    client.ask(connect, "bytes");
    EXPECT_EQ(client.status(), "200");
    EXPECT_EQ(client.request.body, "got bytes");
  }
  TestServer server([](TestConnection& c) {
    EXPECT_THAT(c.read_until("\r\n\r\n"), StartsWith("CONNECT far:443 HTTP/1.1\r\n"));
    c.send("HTTP/1.1 200 OK\r\n\r\n");
    c.send(str_cat("got ", c.read_to_end()));
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  client.ask(connect, "bytes");
  EXPECT_EQ(client.status(), "200");
  EXPECT_EQ(client.request.body, "got bytes");
}

TEST(Http2TunnelTest, ACutTunnelIsSeenAsSuch) {
  TestServer server([](TestConnection& c) {
    const std::string head = c.read_until("\r\n\r\n");
    c.send(
        str_cat("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Accept: ",
                accept_of(field_in(head, "Sec-WebSocket-Key")), "\r\n\r\n"));
    c.reset();
  });
  Rig rig(to(server.address(), ClusterProtocol::kHttp1));
  Http2Client client(rig);
  ASSERT_TRUE(client.wire.peer.session->send_request(client.request, web_socket_request(), false));
  EXPECT_TRUE(client.wire.turn_until([&] { return !client.request.closed.empty(); }));
  EXPECT_THAT(client.request.closed, ElementsAre(Http2StreamEnd::kReset));
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kUpstreamReset);
}

}  // namespace
}  // namespace weft::proxy
