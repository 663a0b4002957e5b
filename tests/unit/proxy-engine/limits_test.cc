// What a client meets when its pod or the worker is at a limit, and when a body trickles.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <future>

#include "tests/unit/proxy-engine/rig.h"
#include "userspace-proxy/admission_limits.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";

// Answers nothing: who asks it stays busy.
void hold(TestConnection& c) { c.read_to_end(); }

Rig::Setup to(const TestServer& server) {
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {server.address()}});
  setup.options.pod_max_connections = 1000;
  setup.options.pod_max_exchanges = 1000;
  return setup;
}

// `count` connections, opened one after the other, each of which has sent `bytes`.
std::vector<TestConnection> open(const Rig& rig, Worker& worker, size_t count, std::string_view bytes) {
  std::vector<TestConnection> clients;
  for (size_t i = 0; i < count; ++i) {
    clients.push_back(rig.connect());
    clients.back().send(bytes);
    EXPECT_TRUE(rig.wait_for([&] { return worker.gauges().downstream_connections == i + 1; }));
  }
  return clients;
}

TEST(LimitsTest, GivesUpThePodsOldestHalfHeadForANewConnection) {
  TestServer server(always("ok"));
  Rig::Setup setup = to(server);
  setup.options.pod_max_connections = 2;
  Rig rig(setup);
  std::vector<TestConnection> slow = open(rig, rig.worker(), 2, "GET / HT");
  EXPECT_THAT(rig.get(), HasSubstr("ok"));
  EXPECT_EQ(slow[0].read_end(), ECONNRESET);
  slow[1].send("TP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(slow[1].read_message(), ok_response("ok"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().evicted_connections == 1; }));
}

TEST(LimitsTest, RefusesAConnectionOfAPodAllOfWhoseConnectionsAreBusy) {
  TestServer server(hold);
  Rig::Setup setup = to(server);
  setup.options.pod_max_connections = 1;
  Rig rig(setup);
  std::vector<TestConnection> busy = open(rig, rig.worker(), 1, kGet);
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 1; }));
  TestConnection refused = rig.connect();
  EXPECT_EQ(refused.read_end(), 0);
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().refused_connections == 1; }));
  EXPECT_EQ(rig.worker().gauges().downstream_connections, 1u);
}

TEST(LimitsTest, AnswersOverloadWhenAPodHasTooManyRequestsUnderWay) {
  TestServer server(hold);
  Rig::Setup setup = to(server);
  setup.options.pod_max_exchanges = 1;
  Rig rig(setup);
  std::vector<TestConnection> busy = open(rig, rig.worker(), 1, kGet);
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 1; }));
  TestConnection client = rig.connect();
  client.send(kGet);
  const std::string response = client.read_message();
  EXPECT_THAT(response, HasSubstr("HTTP/1.1 503"));
  EXPECT_THAT(response, HasSubstr("x-weft-reason: overload"));
  EXPECT_THAT(response, HasSubstr("connection: close"));
  EXPECT_EQ(client.read_end(), 0);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOverload);
}

TEST(LimitsTest, RefusesRequestsNearTheLimitOfConnectionsAndRecovers) {
  TestServer server([](TestConnection& c) {
    if (c.read_message().find("/hold") != std::string::npos) return hold(c);
    c.send(ok_response("ok"));
  });
  Rig::Setup setup = to(server);
  setup.options.max_connections = 10;
  Rig rig(setup);
  std::vector<TestConnection> busy = open(rig, rig.worker(), 8, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 8; }));
  TestConnection ninth = rig.connect();
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().overloaded == 1; }));
  ninth.send(kGet);
  EXPECT_THAT(ninth.read_message(), HasSubstr("x-weft-reason: overload"));
  EXPECT_EQ(ninth.read_end(), 0);
  for (TestConnection& client : busy) client.reset();
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().overloaded == 0; }));
  EXPECT_THAT(rig.get(), HasSubstr("ok"));
  EXPECT_EQ(rig.worker().gauges().shed_requests, 1u);
}

TEST(LimitsTest, ClosesTheOldestIdleConnectionsUnderOverload) {
  TestServer server(always("ok"));
  Rig::Setup setup = to(server);
  setup.options.max_connections = 10;
  setup.options.overload_grace = std::chrono::milliseconds(0);
  Rig rig(setup);
  std::vector<TestConnection> idle = open(rig, rig.worker(), 8, "");
  TestConnection last = rig.connect();
  EXPECT_EQ(idle[0].read_end(), 0);
  EXPECT_EQ(idle[1].read_end(), 0);
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().evicted_connections == 2; }));
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().overloaded == 0; }));
  idle[2].send(kGet);
  EXPECT_EQ(idle[2].read_message(), ok_response("ok"));
  EXPECT_EQ(rig.worker().gauges().evicted_connections, 2u);
}

// A client connection may need a second descriptor, for its endpoint; the operator may know that few do.
TEST(LimitsTest, ConnectionsAreHalfOfTheDescriptorsUnlessTheOptionSaysMore) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{.rlim_cur = std::min<rlim_t>(before.rlim_cur, 1000), .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const AdmissionLimits half = admission_limits(Worker::Options{});
  const AdmissionLimits more = admission_limits(Worker::Options{.max_connections = half.descriptors - 1});
  const AdmissionLimits all = admission_limits(Worker::Options{.max_connections = 1'000'000});
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(half.descriptors, few.rlim_cur);
  EXPECT_EQ(half.connections, half.descriptors / 2);
  EXPECT_EQ(half.pod_connections, half.connections / 2);
  EXPECT_EQ(more.connections, half.descriptors - 1);
  EXPECT_EQ(all.connections, half.descriptors);
}

TEST(LimitsTest, EndsARequestWhoseAnnouncedBodyTrickles) {
  TestServer server(hold);
  Rig::Setup setup = to(server);
  setup.options.exchange_idle = std::chrono::milliseconds(100);
  Rig rig(setup);
  TestConnection client = rig.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx");
  // A byte for each look: never silent, never done.
  EXPECT_TRUE(rig.wait_for([&] {
    client.send("x");
    return rig.sink().count() == 1;
  }));
  const SeenRecord record = rig.sink().wait(1).at(0);
  EXPECT_EQ(record.outcome, Outcome::kIdleTimeout);
  EXPECT_GT(record.received_bytes, 0u);
}

}  // namespace
}  // namespace weft::proxy
