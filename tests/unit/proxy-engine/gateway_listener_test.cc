// Connections that come to a gateway's port, through a real worker: routed by the port's hosts alone, never
// passed on to where they came.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/client_hello.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

class GatewayListenerTest : public testing::Test {
 protected:
  GatewayListenerTest() : server_(always("inside")), rig_(setup_for(server_.address())) {
    listener_ = listen_on_loopback(&address_);
    fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
  }

  // `port` and its hosts become what the gateway has.
  void serve(const GatewayPort& port, const std::string& host, L4Host l4 = {}) {
    auto snapshot = std::make_shared<Snapshot>(*rig_.make_snapshot(clusters_, 2));
    snapshot->gateway_ports[address_.port] = port;
    if (!host.empty()) snapshot->gateway_host_by_host[Snapshot::HostKey{"", address_.port, host}] = 0;
    snapshot->l4_hosts.push_back(std::move(l4));
    const auto routes = std::make_shared<VirtualHost>(*snapshot->virtual_hosts.front());
    routes->routes.front().action = action_;
    snapshot->virtual_hosts.front() = routes;
    rig_.use(std::move(snapshot));
    rig_.worker().add_listener({.netns_cookie = 99,
                                .workload_uid = std::string(kGatewayUid),
                                .netns = {},
                                .listener = std::move(listener_)});
  }
  // `from`: the client's address; empty: any.
  std::string get(const std::string& host, const std::string& from = "") {
    TestConnection client = TestConnection::to(address_, from);
    client.send(str_cat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n"));
    return client.read_message();
  }
  static constexpr std::string_view kGatewayUid = "weft.dev/gateway";

  TestServer server_;
  std::vector<TestCluster> clusters_ = one_endpoint(server_.address());
  Rig rig_;
  SocketAddress address_;
  UniqueFd listener_;
  std::shared_ptr<const RouteAction> action_;  // of the one route
};

TEST_F(GatewayListenerTest, HostsOfThePortAreServed) {
  serve({.kind = GatewayPort::Kind::kHttp}, "shop.example");
  EXPECT_EQ(get("shop.example"), ok_response("inside"));
  EXPECT_EQ(get("Shop.Example:8080"), ok_response("inside"));
  EXPECT_TRUE(get("service").starts_with("HTTP/1.1 404")) << "hosts of the mesh are none of the gateway";
  EXPECT_EQ(rig_.sink().wait(3).at(2).outcome, Outcome::kNoRoute);
}

TEST_F(GatewayListenerTest, ClientsAreCountedByTheirAddresses) {
  auto action = std::make_shared<RouteAction>();
  action->limits.push_back(std::make_shared<RateLimiter>(RateLimiter::Settings{
      .period_ms = 3'600'000, .by = RateLimiter::By::kSource, .header = "", .max_keys = 100}));
  action_ = std::move(action);
  serve({.kind = GatewayPort::Kind::kHttp}, "shop.example");
  EXPECT_EQ(get("shop.example"), ok_response("inside"));
  EXPECT_TRUE(get("shop.example").starts_with("HTTP/1.1 429"));
  EXPECT_EQ(get("shop.example", "127.0.0.2"), ok_response("inside"));
  EXPECT_TRUE(get("shop.example", "127.0.0.2").starts_with("HTTP/1.1 429"));
}

TEST_F(GatewayListenerTest, APortThatNoSnapshotKnowsIsRefused) {
  rig_.worker().add_listener({.netns_cookie = 99,
                              .workload_uid = std::string(kGatewayUid),
                              .netns = {},
                              .listener = std::move(listener_)});
  TestConnection client = TestConnection::to(address_);
  client.send(kGetRoot);
  EXPECT_EQ(client.read_to_end(), "");
}

// It would come back to the gateway until nothing is left to dial with.
TEST_F(GatewayListenerTest, NothingIsSentToWhereItWasDialled) {
  clusters_[0].load_balancer = LoadBalancer::kPassthrough;
  serve({.kind = GatewayPort::Kind::kHttp}, "shop.example");
  EXPECT_TRUE(get("shop.example").starts_with("HTTP/1.1 503"));
  const std::vector<SeenRecord> records = rig_.sink().wait(1);
  EXPECT_EQ(records.at(0).outcome, Outcome::kNoEndpoint);
  EXPECT_EQ(rig_.sink().count(), 1u);
}

TEST_F(GatewayListenerTest, NorIsAConnection) {
  clusters_[0].load_balancer = LoadBalancer::kPassthrough;
  L4Route route{.name = "r", .matches = {}, .clusters = {WeightedCluster{.cluster = 0, .label = ""}}};
  route.total_weight = 1;
  serve({.kind = GatewayPort::Kind::kTcp, .l4_host = 0}, "", {.name = "edge", .tls = {}, .tcp = {route}});
  TestConnection client = TestConnection::to(address_);
  client.send("hello");
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_EQ(rig_.sink().wait(1).at(0).outcome, Outcome::kNoEndpoint);
}

TEST_F(GatewayListenerTest, TlsIsPassedThroughByName) {
  L4Route route{.name = "r", .matches = {}, .clusters = {WeightedCluster{.cluster = 0, .label = ""}}};
  route.total_weight = 1;
  route.matches.emplace_back().sni_hosts = {"a.example"};
  serve({.kind = GatewayPort::Kind::kTls, .l4_host = 0}, "", {.name = "edge", .tls = {route}, .tcp = {}});
  TestConnection good = TestConnection::to(address_);
  good.send(client_hello("a.example") + "GET / HTTP/1.1\r\n\r\n\r\n");
  good.finish_sending();
  good.read_to_end();
  TestConnection bad = TestConnection::to(address_);
  bad.send(client_hello("b.example"));
  EXPECT_EQ(bad.read_to_end(), "");
  TestConnection plain = TestConnection::to(address_);
  plain.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(plain.read_to_end(), "");
  const std::vector<SeenRecord> records = rig_.sink().wait(3);
  EXPECT_EQ(records.at(0).upstream, server_.address());
  EXPECT_EQ(records.at(1).outcome, Outcome::kNoRoute);
  EXPECT_EQ(records.at(2).outcome, Outcome::kNoRoute);
}

}  // namespace
}  // namespace weft::proxy
