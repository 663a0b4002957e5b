// The upstream pool through a real worker: limits, the queue of those that wait, idle connections and their
// end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";

Rig::Setup to(const SocketAddress& address) {
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {address}});
  return setup;
}

// A server that says what it was asked and answers when it is told to.
class HeldServer {
 public:
  HeldServer()
      : server_([this](TestConnection& c) {
          for (std::string head = c.read_message(); !head.empty(); head = c.read_message()) {
            ++asked_;
            if (released_.wait_for(std::chrono::seconds(5)) != std::future_status::ready) return;
            c.send(ok_response(head.substr(4, 2)));
          }
        }) {}
  void release() { release_.set_value(); }
  int asked() const { return asked_; }
  int connections() const { return server_.connections(); }
  const SocketAddress& address() const { return server_.address(); }

 private:
  std::atomic<int> asked_{0};
  std::promise<void> release_;
  std::shared_future<void> released_{release_.get_future()};
  TestServer server_;
};

std::string request_for(int number) { return str_cat("GET /", number, " HTTP/1.1\r\nHost: a\r\n\r\n"); }

// Sends requests 1 to `count` on connections of their own, each once the one before is known to the worker.
std::vector<TestConnection> ask_in_order(Rig& rig, int count) {
  std::vector<TestConnection> clients;
  for (int i = 1; i <= count; ++i) {
    clients.push_back(rig.connect());
    clients.back().send(request_for(i));
    EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().active_exchanges == uint64_t(i); }));
  }
  return clients;
}

TEST(PoolTest, LetsExchangesTakeTurnsOnTheOneConnectionAllowed) {
  HeldServer server;
  Rig::Setup setup = to(server.address());
  setup.options.max_upstream_connections = 1;
  Rig rig(setup);
  std::vector<TestConnection> clients = ask_in_order(rig, 4);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 1; }));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 1; }));
  server.release();
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(clients[i - 1].read_message(), ok_response(str_cat("/", i)));
  EXPECT_EQ(server.connections(), 1);
  const std::vector<SeenRecord> records = rig.sink().wait(4);
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(records[i - 1].path, str_cat("/", i));
}

TEST(PoolTest, SaysOverloadWhenNoConnectionBecomesFreeInTime) {
  HeldServer server;
  Rig::Setup setup = to(server.address());
  setup.options.max_upstream_connections = 1;
  setup.options.max_wait = std::chrono::milliseconds(20);
  Rig rig(setup);
  std::vector<TestConnection> clients = ask_in_order(rig, 1);
  EXPECT_THAT(rig.get(), HasSubstr("503 Service Unavailable\r\nx-weft-reason: overload"));
  server.release();
  EXPECT_EQ(clients[0].read_message(), ok_response("/1"));
}

TEST(PoolTest, SaysOverloadAtOnceWhenTooManyWait) {
  HeldServer server;
  Rig::Setup setup = to(server.address());
  setup.options.max_upstream_connections = 1;
  setup.options.max_waiting = 1;
  Rig rig(setup);
  std::vector<TestConnection> clients = ask_in_order(rig, 2);
  EXPECT_THAT(rig.get(), HasSubstr("x-weft-reason: overload"));
  server.release();
  EXPECT_EQ(clients[1].read_message(), ok_response("/2"));
}

TEST(PoolTest, GivesThePlaceOfAClosedConnectionToTheNextThatWaits) {
  std::promise<void> release;
  std::shared_future<void> released(release.get_future());
  TestServer server([&](TestConnection& c) {
    c.read_message();
    released.wait_for(std::chrono::seconds(5));
    c.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  });
  Rig::Setup setup = to(server.address());
  setup.options.max_upstream_connections = 1;
  Rig rig(setup);
  std::vector<TestConnection> clients = ask_in_order(rig, 3);
  release.set_value();
  for (TestConnection& client : clients) EXPECT_THAT(client.read_message(), HasSubstr("200 OK"));
  EXPECT_EQ(server.connections(), 3);
}

TEST(PoolTest, ForgetsAnExchangeThatGivesUpWaiting) {
  HeldServer server;
  Rig::Setup setup = to(server.address());
  setup.options.max_upstream_connections = 1;
  Rig rig(setup);
  std::vector<TestConnection> clients = ask_in_order(rig, 3);
  clients[1].reset();
  EXPECT_EQ(rig.sink().wait(1).at(0).path, "/2");
  server.release();
  EXPECT_EQ(clients[0].read_message(), ok_response("/1"));
  EXPECT_EQ(clients[2].read_message(), ok_response("/3"));
  EXPECT_EQ(server.asked(), 2);
}

TEST(PoolTest, TellsEveryWaitingExchangeThatTheEndpointRefuses) {
  Rig::Setup setup = to(refused_address());
  setup.options.max_upstream_connections = 1;
  Rig rig(setup);
  std::vector<TestConnection> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(rig.connect());
    clients.back().send(kGet);
  }
  for (TestConnection& client : clients) EXPECT_THAT(client.read_message(), HasSubstr("connect_refused"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
}

TEST(PoolTest, RepeatsOnAFreshConnectionWhereOnlyOneIsAllowed) {
  std::atomic<int> requests{0};
  TestServer server([&](TestConnection& c) {
    while (!c.read_message().empty()) {
      if (++requests == 2) return;
      c.send(ok_response("ok"));
    }
  });
  Rig::Setup setup = to(server.address());
  setup.options.max_upstream_connections = 1;
  Rig rig(setup);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(rig.get(), ok_response("ok"));
  EXPECT_EQ(server.connections(), 2);
}

// Three at once, and then idle: how many are kept.
void keeps_idle(std::chrono::milliseconds surplus_idle, uint64_t kept) {
  HeldServer server;
  Rig::Setup setup = to(server.address());
  setup.options.max_idle_upstream = 1;
  setup.options.surplus_upstream_idle = surplus_idle;
  Rig rig(setup);
  std::vector<TestConnection> clients = ask_in_order(rig, 3);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 3; }));
  server.release();
  for (TestConnection& client : clients) client.read_message();
  EXPECT_TRUE(rig.wait_for([&] {
    const WorkerGauges gauges = rig.worker().gauges();
    return gauges.active_exchanges == 0 && gauges.upstream_idle == kept &&
           gauges.upstream_connections == kept;
  }));
}

TEST(PoolTest, KeepsNoMoreIdleConnectionsThanItsCapForLong) { keeps_idle(std::chrono::milliseconds(20), 1); }

TEST(PoolTest, KeepsWhatABurstDialledForTheNextOne) { keeps_idle(std::chrono::hours(1), 3); }

TEST(PoolTest, WhatWasKeptForLongAndIsOneTooManyNowIsNot) {
  std::atomic<int> asked{0};
  std::promise<void> answer_second;
  TestServer server([&, may_answer = answer_second.get_future().share()](TestConnection& c) {
    while (!c.read_message().empty()) {
      if (++asked == 2 && may_answer.wait_for(std::chrono::seconds(5)) != std::future_status::ready) return;
      c.send(ok_response("ok"));
    }
  });
  Rig::Setup setup = to(server.address());
  setup.options.max_idle_upstream = 1;
  setup.options.surplus_upstream_idle = std::chrono::milliseconds(20);
  Rig rig(setup);
  const auto one_is_idle = [&] {
    return rig.wait_for([&] { return rig.worker().gauges().upstream_idle == 1; });
  };
  EXPECT_EQ(rig.get(), ok_response("ok"));
  ASSERT_TRUE(one_is_idle());
  // That one becomes idle after another one.
  TestConnection client = rig.connect();
  client.send(kGet);
  ASSERT_TRUE(rig.wait_for([&] { return asked == 2; }));
  EXPECT_EQ(rig.get(), ok_response("ok"));
  ASSERT_TRUE(one_is_idle());
  answer_second.set_value();
  EXPECT_EQ(client.read_message(), ok_response("ok"));
  EXPECT_TRUE(rig.wait_for([&] {
    const WorkerGauges gauges = rig.worker().gauges();
    return gauges.active_exchanges == 0 && gauges.upstream_idle == 1 && gauges.upstream_connections == 1;
  }));
  EXPECT_EQ(server.connections(), 2);
}

TEST(PoolTest, ClosesAConnectionThatNobodyUsedForItsTime) {
  TestServer server(always("ok"));
  Rig::Setup setup = to(server.address());
  setup.options.upstream_idle = std::chrono::milliseconds(50);
  Rig rig(setup);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rig.get(), ok_response("ok"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
  EXPECT_EQ(rig.get(), ok_response("ok"));
}

}  // namespace
}  // namespace weft::proxy
