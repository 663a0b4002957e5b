// HTTP/2 peers on real sockets for the engine's tests: a client that asks, a server that answers, both on the
// session under test's own class in the opposite role.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <utility>

#include "tests/unit/proxy-engine/http2_peers.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {

class WirePeer {
 public:
  WirePeer(Http2Session::Role role, TestConnection& connection, const Http2Limits& limits = Http2Limits())
      : peer(role, limits), connection_(connection) {}

  void speak() { connection_.send(peer.said()); }
  // Reads once, says what is due. False at the end of the connection, or after five seconds of silence.
  bool turn() {
    speak();
    char bytes[16384];
    const ssize_t count = recv_uninterrupted(connection_.fd(), bytes, sizeof(bytes));
    if (count <= 0) return false;
    peer.hears({bytes, static_cast<size_t>(count)});
    accept_all();
    speak();
    return true;
  }
  bool turn_until(const std::function<bool()>& condition) {
    while (!condition()) {
      if (!turn()) return condition();
    }
    return true;
  }
  // Gives credit for everything that came.
  void accept_all() {
    if (!accepting) return;
    for (RecordingStream& stream : peer.streams) accept(stream);
    if (mine != nullptr) accept(*mine);
  }
  void accept(RecordingStream& stream) {
    const size_t count = stream.body.size() - stream.credited;
    if (count > 0) peer.session->accepted(stream, static_cast<uint32_t>(count));
    stream.credited += count;
  }

  Peer peer;
  RecordingStream* mine = nullptr;
  bool accepting = true;

 private:
  TestConnection& connection_;
};

// Serves requests one after the other as they become whole.
inline TestServer::Handler http2_server(std::function<void(WirePeer&, RecordingStream&)> answer) {
  return [answer = std::move(answer)](TestConnection& connection) {
    WirePeer wire(Http2Session::Role::kServer, connection);
    size_t answered = 0;
    while (wire.turn()) {
      for (; answered < wire.peer.streams.size() && wire.peer.streams[answered].ended; ++answered)
        answer(wire, wire.peer.streams[answered]);
      wire.speak();
    }
  };
}

// 200, the request's path and body as body.
inline void echo(WirePeer& wire, RecordingStream& stream) {
  const std::string text = stream.field(0, ":path") + " " + stream.body;
  const iovec body[] = {piece(text)};
  wire.peer.session->send_response(stream, response_fields(), false);
  wire.peer.session->offer(stream, body, true, {});
  wire.turn_until(
      [&] { return stream.taken > 0 || !stream.closed.empty() || (wire.speak(), stream.taken > 0); });
}

inline Rig::Setup to(const SocketAddress& address, ClusterProtocol protocol = ClusterProtocol::kAsClient) {
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {address}, .protocol = protocol});
  return setup;
}

inline Http2Fields service_request(std::string_view method, std::string_view path) {
  Http2Fields fields;
  fields.add(":method", method);
  fields.add(":scheme", "http");
  fields.add(":authority", "service");
  fields.add(":path", path);
  return fields;
}

// A client's connection to the worker, with one request on it.
class Http2Client {
 public:
  explicit Http2Client(const Rig& rig, const Http2Limits& limits = Http2Limits())
      : connection(rig.connect()), wire(Http2Session::Role::kClient, connection, limits) {
    wire.mine = &request;
  }
  // Sends a whole request and waits for its end.
  void ask(const Http2Fields& fields, std::string_view body = {}, std::span<const Header> trailers = {}) {
    const iovec pieces[] = {piece(body)};
    const bool bare = body.empty() && trailers.empty();
    ASSERT_TRUE(wire.peer.session->send_request(request, fields, bare));
    if (!bare) wire.peer.session->offer(request, pieces, true, trailers);
    EXPECT_TRUE(wire.turn_until([this] { return !request.closed.empty(); }));
  }
  std::string status() const { return request.heads.empty() ? "" : request.field(0, ":status"); }

  TestConnection connection;
  RecordingStream request;
  WirePeer wire;
};

}  // namespace weft::proxy
