// Limits of HTTP/2 connections to an endpoint: streams on one, connections at all, the queue of those that
// wait, and who shares a dial.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "tests/unit/proxy-engine/http2_wire.h"

namespace weft::proxy {
namespace {

using std::chrono::milliseconds;

// Answers streams only when it is told to, and knows the most that were open on one connection.
class HeldServer {
 public:
  explicit HeldServer(const Http2Limits& limits = Http2Limits())
      : server_([this, limits](TestConnection& c) { serve(c, limits); }) {}
  void release() { eventfd_write(release_.get(), 1); }
  int asked() const { return asked_; }
  uint32_t most() const { return most_; }
  int connections() const { return server_.connections(); }
  const SocketAddress& address() const { return server_.address(); }

 private:
  void serve(TestConnection& c, const Http2Limits& limits) {
    WirePeer wire(Http2Session::Role::kServer, c, limits);
    wire.speak();
    bool released = false;
    size_t seen = 0, answered = 0;
    for (;;) {
      pollfd ready[] = {{c.fd(), POLLIN, 0}, {release_.get(), POLLIN, 0}};
      if (poll(ready, released ? 1 : 2, 5'000) <= 0) return;
      released = released || ready[1].revents != 0;
      if (ready[0].revents != 0 && !wire.turn()) return;
      most_ = std::max<uint32_t>(most_, wire.peer.session->open_streams());
      for (; seen < wire.peer.streams.size(); ++seen) ++asked_;
      for (; released && answered < seen && wire.peer.streams[answered].ended; ++answered)
        echo(wire, wire.peer.streams[answered]);
    }
  }

  UniqueFd release_{eventfd(0, EFD_CLOEXEC)};
  std::atomic<int> asked_{0};
  std::atomic<uint32_t> most_{0};
  TestServer server_;
};

Rig::Setup limited(const SocketAddress& address, uint32_t connections, uint32_t streams) {
  Rig::Setup setup = to(address);
  setup.options.max_upstream_connections = connections;
  setup.options.max_upstream_streams = streams;
  return setup;
}

// A client's connection with several requests on it.
class Crowd {
 public:
  Crowd(const Rig& rig, size_t count)
      : connection_(rig.connect()), wire_(Http2Session::Role::kClient, connection_), requests_(count) {
    for (RecordingStream& each : requests_)
      EXPECT_TRUE(wire_.peer.session->send_request(each, service_request("GET", "/"), true));
    wire_.speak();
  }
  // Until all are answered; the statuses in the order of asking.
  std::vector<std::string> statuses() {
    EXPECT_TRUE(wire_.turn_until([&] {
      return std::all_of(requests_.begin(), requests_.end(),
                         [](const RecordingStream& each) { return !each.closed.empty(); });
    }));
    std::vector<std::string> out;
    for (const RecordingStream& each : requests_)
      out.push_back(each.heads.empty() ? "none" : each.field(0, ":status"));
    return out;
  }
  std::string reason(size_t index) const { return requests_[index].field(0, "x-weft-reason"); }

 private:
  TestConnection connection_;
  WirePeer wire_;
  std::deque<RecordingStream> requests_;
};

const std::vector<std::string> kAllGood(5, "200");

TEST(Http2PoolTest, StreamsTakeTurnsOnTheOneConnectionAllowed) {
  HeldServer server;
  Rig rig(limited(server.address(), 1, 2));
  Crowd crowd(rig, 5);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 2; }))
      << server.asked() << " asked, " << server.connections() << " connections, "
      << rig.worker().gauges().active_exchanges << " under way, " << rig.sink().count() << " recorded";
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().active_exchanges == 5; }));
  server.release();
  EXPECT_EQ(crowd.statuses(), kAllGood);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(server.most(), 2u);
}

TEST(Http2PoolTest, AnotherConnectionIsDialledWhereOneIsFull) {
  HeldServer server;
  Rig rig(limited(server.address(), 0, 2));
  Crowd crowd(rig, 5);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 5; }));
  server.release();
  EXPECT_EQ(crowd.statuses(), kAllGood);
  EXPECT_EQ(server.connections(), 3);
  EXPECT_EQ(server.most(), 2u);
}

TEST(Http2PoolTest, SaysOverloadWhenNoStreamBecomesFreeInTime) {
  HeldServer server;
  Rig::Setup setup = limited(server.address(), 1, 1);
  setup.options.max_wait = milliseconds(20);
  Rig rig(setup);
  Crowd first(rig, 1);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 1; }));
  Crowd second(rig, 1);
  EXPECT_EQ(second.statuses().at(0), "503");
  EXPECT_EQ(second.reason(0), "overload");
  server.release();
  EXPECT_EQ(first.statuses().at(0), "200");
}

TEST(Http2PoolTest, SaysOverloadAtOnceWhenTooManyWait) {
  HeldServer server;
  Rig::Setup setup = limited(server.address(), 1, 1);
  setup.options.max_waiting = 2;
  Rig rig(setup);
  Crowd first(rig, 3);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 1; }))
      << server.asked() << " asked, " << server.connections() << " connections, "
      << rig.worker().gauges().active_exchanges << " under way, " << rig.sink().count() << " recorded";
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().active_exchanges == 3; }));
  Crowd second(rig, 1);
  EXPECT_EQ(second.reason((second.statuses(), 0)), "overload");
  server.release();
  EXPECT_EQ(first.statuses(), std::vector<std::string>(3, "200"));
}

TEST(Http2PoolTest, TheServersOwnLimitOfStreamsIsKept) {
  Http2Limits one_stream;
  one_stream.max_concurrent_streams = 1;
  HeldServer server(one_stream);
  server.release();
  Rig rig(limited(server.address(), 1, 100));
  EXPECT_EQ(Crowd(rig, 1).statuses().at(0), "200");
  Crowd crowd(rig, 5);
  EXPECT_EQ(crowd.statuses(), kAllGood);
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(server.most(), 1u);
}

TEST(Http2PoolTest, RequestsThatAreRefusedTogetherShareOneNewConnection) {
  std::atomic<int> accepted{0};
  TestServer server([&](TestConnection& c) {
    WirePeer wire(Http2Session::Role::kServer, c);
    wire.peer.refusing = accepted++ == 0;
    size_t answered = 0;
    while (wire.turn()) {
      for (; answered < wire.peer.streams.size(); ++answered) echo(wire, wire.peer.streams[answered]);
    }
  });
  Rig rig(to(server.address()));
  Crowd crowd(rig, 5);
  EXPECT_EQ(crowd.statuses(), kAllGood);
  EXPECT_EQ(server.connections(), 2);
}

TEST(Http2PoolTest, ThePlaceOfAConnectionThatIsGoneGoesToThoseThatWait) {
  std::atomic<int> accepted{0};
  TestServer server([&](TestConnection& c) {
    WirePeer wire(Http2Session::Role::kServer, c);
    const bool fails = accepted++ == 0;
    size_t answered = 0;
    while (wire.turn()) {
      if (fails && !wire.peer.streams.empty()) return c.reset();
      for (; answered < wire.peer.streams.size(); ++answered) echo(wire, wire.peer.streams[answered]);
    }
  });
  Rig rig(limited(server.address(), 1, 1));
  Crowd crowd(rig, 3);
  // A GET on a connection that ended is sent once more.
  EXPECT_EQ(crowd.statuses(), std::vector<std::string>(3, "200"));
  EXPECT_EQ(server.connections(), 2);
}

}  // namespace
}  // namespace weft::proxy
