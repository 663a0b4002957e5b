// connectionPool: limits of what one source has under way to a destination, and how its connections live,
// with real servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::shared_ptr<const ClusterPolicy> limits(const ConnectionSettings& settings) {
  auto policy = std::make_shared<ClusterPolicy>();
  policy->connections = std::make_shared<const ConnectionSettings>(settings);
  return policy;
}

Rig::Setup limited(const SocketAddress& server, const ConnectionSettings& settings,
                   Protocol protocol = Protocol::kHttp) {
  Rig::Setup setup = setup_for(server, protocol);
  setup.clusters[0].policy = limits(settings);
  return setup;
}

// Answers each request when it is told to.
class HeldServer {
 public:
  HeldServer()
      : server_([this](TestConnection& c) {
          while (!c.read_message().empty()) {
            ++asked_;
            if (released_.wait_for(std::chrono::seconds(5)) != std::future_status::ready) return;
            if (!c.send(ok_response("ok"))) return;
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

TestConnection ask(Rig& rig) {
  TestConnection client = rig.connect();
  client.send(kGetRoot);
  return client;
}

TEST(CircuitTest, MoreRequestsThanAllowedAreAnsweredAtOnce) {
  HeldServer server;
  Rig rig(limited(server.address(), {.max_requests = 2}));
  TestConnection first = ask(rig), second = ask(rig);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 2; }));
  EXPECT_THAT(rig.get(), StartsWith("HTTP/1.1 503 Service Unavailable\r\nx-weft-reason: circuit_open"));
  EXPECT_EQ(rig.pod()->refusals(Refusal::kCircuitOpen), 1u);
  server.release();
  EXPECT_EQ(first.read_message(), ok_response("ok"));
  EXPECT_EQ(second.read_message(), ok_response("ok"));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
}

TEST(CircuitTest, RequestsWaitForAConnectionUntilTooManyDo) {
  HeldServer server;
  Rig rig(limited(server.address(), {.max_connections = 1, .max_pending = 1}));
  TestConnection first = ask(rig);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 1; }));
  TestConnection second = ask(rig);
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->waiting.get() == 1; }));
  EXPECT_THAT(rig.get(), HasSubstr("x-weft-reason: circuit_open"));
  server.release();
  EXPECT_EQ(first.read_message(), ok_response("ok"));
  EXPECT_EQ(second.read_message(), ok_response("ok"));
  EXPECT_EQ(server.connections(), 1);
}

TEST(CircuitTest, EachSourceHasLimitsOfItsOwn) {
  HeldServer server;
  Rig rig(limited(server.address(), {.max_requests = 1}));
  const SocketAddress other_pod = rig.listen(2);
  TestConnection first = ask(rig);
  TestConnection other = TestConnection::to(other_pod);
  other.send(kGetRoot);
  EXPECT_TRUE(rig.wait_for([&] { return server.asked() == 2; }));
  EXPECT_THAT(rig.get(), HasSubstr("x-weft-reason: circuit_open"));
  server.release();
  EXPECT_EQ(other.read_message(), ok_response("ok"));
}

TEST(CircuitTest, EveryEndpointMayHaveOneConnectionWhateverTheLimit) {
  HeldServer one, other;
  Rig::Setup setup = limited(one.address(), {.max_connections = 1});
  setup.clusters[0].endpoints.push_back(other.address());
  Rig rig(setup);
  TestConnection first = ask(rig), second = ask(rig);
  EXPECT_TRUE(rig.wait_for([&] { return one.asked() == 1 && other.asked() == 1; }));
  one.release();
  other.release();
  EXPECT_EQ(first.read_message(), ok_response("ok"));
  EXPECT_EQ(second.read_message(), ok_response("ok"));
}

TEST(CircuitTest, ATcpConnectionTooManyIsClosed) {
  TestServer server([](TestConnection& c) {
    c.send("hello");
    c.read_to_end();
  });
  Rig rig(limited(server.address(), {.max_connections = 1}, Protocol::kTcp));
  TestConnection first = rig.connect();
  EXPECT_EQ(first.read(5), "hello");
  EXPECT_EQ(rig.connect().read_end(), ECONNRESET);
  first.close();
  EXPECT_EQ(rig.sink().wait(2)[0].outcome, Outcome::kCircuitOpen);
  EXPECT_EQ(rig.connect().read(5), "hello");
}

TEST(CircuitTest, ATcpConnectionIsAsOldAsItMayBe) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Rig rig(limited(server.address(), {.max_duration_ms = 50}, Protocol::kTcp));
  TestConnection client = rig.connect();
  client.send("hello");
  EXPECT_EQ(client.read_end(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1)[0].outcome, Outcome::kMaxDuration);
}

TEST(CircuitTest, ATcpConnectionIsIdleAsLongAsTheRuleSays) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Rig rig(limited(server.address(), {.tcp_idle_ms = 30}, Protocol::kTcp));
  TestConnection client = rig.connect();
  EXPECT_EQ(client.read_end(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1)[0].outcome, Outcome::kIdleTimeout);
}

TEST(CircuitTest, AConnectionServesSoManyRequests) {
  TestServer server(always("ok"));
  Rig rig(limited(server.address(), {.max_requests_per_connection = 2}));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  EXPECT_EQ(server.connections(), 3);
}

TEST(CircuitTest, AConnectionWaitsForItsNextRequestAsLongAsTheRuleSays) {
  TestServer server(always("ok"));
  Rig rig(limited(server.address(), {.http_idle_ms = 20}));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
}

TEST(CircuitTest, AnHttpConnectionThatIsTooOldServesNoFurtherRequest) {
  TestServer server(always("ok"));
  Rig rig(limited(server.address(), {.max_duration_ms = 20}));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  EXPECT_EQ(server.connections(), 2);
}

TEST(CircuitTest, LimitsThatChangeApplyToNewConnectionsAndForgetNothing) {
  HeldServer server;
  Rig rig(limited(server.address(), {.max_requests = 1}));
  TestConnection first = ask(rig);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 1; }));
  std::vector<TestCluster> clusters = one_endpoint(server.address());
  clusters[0].policy = limits({.max_requests = 2});
  rig.use(rig.make_snapshot(clusters, 2));
  TestConnection second = ask(rig);
  EXPECT_TRUE(rig.wait_for([&] { return server.asked() == 2; }));
  EXPECT_THAT(rig.get(), HasSubstr("x-weft-reason: circuit_open"));
  server.release();
  EXPECT_EQ(first.read_message(), ok_response("ok"));
  EXPECT_EQ(second.read_message(), ok_response("ok"));
}

TEST(CircuitTest, ConnectionsUnderLimitsThatAreNoMoreEnd) {
  TestServer server(always("ok"));
  Rig rig(limited(server.address(), {.max_connections = 1}));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_idle == 1; }));
  std::vector<TestCluster> clusters = one_endpoint(server.address());
  clusters[0].policy = limits({.max_connections = 1, .max_pending = 5});
  rig.use(rig.make_snapshot(clusters, 2));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
}

TEST(CircuitTest, AConnectionInUseWhileLimitsChangeServesItsRequestAndNoFurther) {
  HeldServer server;
  Rig rig(limited(server.address(), {.max_connections = 1}));
  TestConnection client = ask(rig);
  ASSERT_TRUE(rig.wait_for([&] { return server.asked() == 1; }));
  rig.use(rig.make_snapshot(one_endpoint(server.address()), 2));
  server.release();
  EXPECT_EQ(client.read_message(), ok_response("ok"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
}

TEST(CircuitTest, AnIdleConnectionOutlivesASwapThatLeavesItsLimits) {
  TestServer server(always("ok"));
  Rig rig(limited(server.address(), {.max_connections = 1}));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  std::vector<TestCluster> clusters = one_endpoint(server.address());
  clusters[0].policy = limits({.max_connections = 1});
  rig.use(rig.make_snapshot(clusters, 2));
  EXPECT_THAT(rig.get(), HasSubstr("200 OK"));
  EXPECT_EQ(server.connections(), 1);
}

TEST(CircuitTest, PassthroughGoesWhereTheClientWantedTo) {
  TestServer other(always("balanced"));
  Rig::Setup setup = setup_for(other.address());
  setup.clusters[0].load_balancer = LoadBalancer::kPassthrough;
  Rig rig(setup);
  // The proxy dials the address that its own listener has: it comes back as one more client, and so on, until
  // the limit ends it. That it is no endpoint is what counts.
  std::vector<TestCluster> clusters = setup.clusters;
  clusters[0].policy = limits({.max_requests = 2});
  rig.use(rig.make_snapshot(clusters, 2));
  EXPECT_THAT(rig.get(), HasSubstr("circuit_open"));
  EXPECT_EQ(other.connections(), 0);
  for (const SeenRecord& record : rig.sink().wait(3)) {
    if (record.outcome != Outcome::kCircuitOpen) EXPECT_EQ(record.upstream, rig.address());
  }
}

}  // namespace
}  // namespace weft::proxy
