// What a client gets for a name it asks for: hosts, ports, routes, endpoints, seen through the snapshot's own
// look-ups.
#include <malloc.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/strings.h"
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

constexpr char kCartHost[] = "cart.shop.svc.cluster.local";

World shop() {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  world.workload("default", "client", {"10.1.0.2"});
  world.service("shop", "cart", {"10.96.0.1"}, {{80, 8080}});
  world.workload("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart"}, {{"version", "v1"}});
  world.workload("shop", "cart-v2", {"10.1.0.4"}, {"shop/cart"}, {{"version", "v2"}});
  return world;
}

TEST(SnapshotBuilderTest, ServiceWithoutRoutesGoesToItsEndpoints) {
  const auto snapshot = shop().build();
  const Asked asked = ask(*snapshot, "shop", "cart", "10.96.0.1:80");
  EXPECT_EQ(asked.clusters(), "cart.shop.svc.cluster.local|80|");
  EXPECT_EQ(asked.endpoints(), "10.1.0.3:8080 10.1.0.4:8080");
  EXPECT_EQ(asked.route->name, "default");
}

std::string routes_of(const std::string& name, int count) {
  std::string out = str_cat("namespace:'shop' name:'", name, "' hosts:'", name, ".shop.svc.cluster.local'");
  for (int i = 0; i < count; ++i) {
    str_append(&out, " http{matches{uri{prefix:'/item-", i, "/'}} destinations{host:'", kCartHost,
               "' weight:1}}");
  }
  return out;
}

TEST(SnapshotBuilderTest, ARouteSetThatDidNotChangeKeepsItsCompiledObject) {
  World world = shop();
  world.routes(routes_of("cart", 20));
  world.routes(routes_of("pay", 20));
  const auto first = world.build();
  world.routes(routes_of("pay", 21));
  const auto second = world.build();
  const auto host = [](const Snapshot& snapshot, const char* name) {
    return ask(snapshot, "shop", str_cat(name, ".shop.svc.cluster.local"), "10.9.9.9:80", "/item-1/").host;
  };
  ASSERT_NE(host(*first, "cart"), nullptr);
  ASSERT_NE(host(*second, "pay"), nullptr);
  EXPECT_EQ(host(*first, "cart")->owner, host(*second, "cart")->owner);
  EXPECT_EQ(host(*first, "cart")->index, host(*second, "cart")->index);
  EXPECT_NE(host(*first, "pay")->owner, host(*second, "pay")->owner);
  EXPECT_EQ(host(*second, "pay")->routes.size(), 21U);
}

TEST(SnapshotBuilderTest, RoutesThatAreGoneOrFewerGiveTheirMemoryBack) {
  World world = shop();
  const auto fill = [&world](const char* name, int count) {
    world.routes(routes_of(name, count));
    const auto snapshot = world.build();
    const VirtualHost* host =
        ask(*snapshot, "shop", str_cat(name, ".shop.svc.cluster.local"), "10.9.9.9:80").host;
    return host == nullptr ? std::weak_ptr<const void>() : std::weak_ptr<const void>(host->owner);
  };
  fill("cart", 10);
  const size_t before = ::mallinfo2().uordblks;
  const std::weak_ptr<const void> many = fill("cart", 10'000);
  EXPECT_FALSE(many.expired());
  fill("cart", 10);
  EXPECT_TRUE(many.expired());
  // A sanitizer's own allocator reports nothing here; the two are the same then.
  EXPECT_LT(::mallinfo2().uordblks, before + 100'000);
  // Under another name: the first one's goes when it is removed.
  const std::weak_ptr<const void> old = fill("pay", 20);
  fill("pay-2", 20);
  EXPECT_FALSE(old.expired());
  world.store.remove(kRouteSetType, "shop/pay");
  EXPECT_TRUE(old.expired());
}

TEST(SnapshotBuilderTest, EverySpellingOfAHostReachesIt) {
  const auto snapshot = shop().build();
  for (const char* authority :
       {"cart", "cart.shop", "cart.shop.svc", kCartHost, "cart:80", "CART", "Cart.Shop:80",
        "cart.shop.svc.cluster.local.", "cart.shop.svc.cluster.local.:80"}) {
    EXPECT_EQ(ask(*snapshot, "shop", authority, "10.9.9.9:80").clusters(), "cart.shop.svc.cluster.local|80|")
        << authority;
  }
}

TEST(SnapshotBuilderTest, ShortNameMeansTheClientsOwnNamespace) {
  World world = shop();
  world.service("default", "cart", {"10.96.0.2"}, {{80, 8080}});
  const auto snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "cart", "10.9.9.9:80").clusters(), "cart.shop.svc.cluster.local|80|");
  EXPECT_EQ(ask(*snapshot, "default", "cart", "10.9.9.9:80").clusters(),
            "cart.default.svc.cluster.local|80|");
}

TEST(SnapshotBuilderTest, ShortNameOfAnotherNamespaceIsUnknown) {
  const auto snapshot = shop().build();
  EXPECT_EQ(ask(*snapshot, "default", "cart", "10.9.9.9:80").clusters(), "no host");
  EXPECT_EQ(ask(*snapshot, "default", "cart.shop", "10.9.9.9:80").clusters(),
            "cart.shop.svc.cluster.local|80|");
}

TEST(SnapshotBuilderTest, UnknownClientRoutesAsNamespaceDefault) {
  World world = shop();
  world.service("default", "web", {"10.96.0.3"}, {{80, 80}});
  const auto snapshot = world.build();
  EXPECT_EQ(snapshot->find_source("cluster/nobody"), kNone);
  EXPECT_NE(snapshot->find_virtual_host(kNone, "web", *SocketAddress::parse("10.9.9.9:80")), nullptr);
  EXPECT_EQ(snapshot->find_virtual_host(kNone, "cart", *SocketAddress::parse("10.9.9.9:80")), nullptr);
}

TEST(SnapshotBuilderTest, UnknownHostFallsBackToTheDialledAddress) {
  const auto snapshot = shop().build();
  for (const char* authority : {"", "10.96.0.1", "10.96.0.1:80", "elsewhere.example.com", "[fd00::1]:80"}) {
    EXPECT_EQ(ask(*snapshot, "shop", authority, "10.96.0.1:80").clusters(), "cart.shop.svc.cluster.local|80|")
        << authority;
  }
}

TEST(SnapshotBuilderTest, NeitherHostNorAddressKnownIsNull) {
  const auto snapshot = shop().build();
  EXPECT_EQ(ask(*snapshot, "shop", "elsewhere", "10.9.9.9:80").clusters(), "no host");
  EXPECT_EQ(snapshot->find_service_port(kNone, *SocketAddress::parse("10.9.9.9:80")), nullptr);
}

TEST(SnapshotBuilderTest, OverlongAndOddAuthoritiesAreNoHost) {
  const auto snapshot = shop().build();
  const std::string longest(5000, 'A');
  for (const std::string_view authority :
       {std::string_view(longest), std::string_view("."), std::string_view(":80"), std::string_view("..:80"),
        std::string_view(".shop")}) {
    EXPECT_EQ(ask(*snapshot, "shop", authority, "10.9.9.9:80").clusters(), "no host");
  }
}

TEST(SnapshotBuilderTest, HostIsLookedUpOnTheDialledPort) {
  World world = shop();
  world.service("shop", "api", {"10.96.0.5"}, {{80, 8080}, {9000, 9090}});
  world.workload("shop", "api-1", {"10.1.0.9"}, {"shop/api"});
  const auto snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "api", "10.96.0.5:9000").endpoints(), "10.1.0.9:9090");
  EXPECT_EQ(ask(*snapshot, "shop", "api:9000", "10.96.0.5:80").endpoints(), "10.1.0.9:8080");
}

TEST(SnapshotBuilderTest, ProtocolComesFromTheDeclaration) {
  namespace mesh = weft::mesh::v1;
  World world;
  world.service("shop", "all", {"10.96.0.7"},
                {{80, 80, mesh::PROTOCOL_HTTP},
                 {81, 81, mesh::PROTOCOL_TCP},
                 {82, 82, mesh::PROTOCOL_TLS},
                 {83, 83, mesh::PROTOCOL_GRPC},
                 {84, 84, mesh::PROTOCOL_HTTP2},
                 {85, 85, mesh::PROTOCOL_UNSPECIFIED}});
  const auto snapshot = world.build();
  const auto protocol = [&](uint16_t port) {
    return snapshot->find_service_port(kNone, SocketAddress{*IpAddress::parse("10.96.0.7"), port})->protocol;
  };
  EXPECT_EQ(protocol(80), Protocol::kHttp);
  EXPECT_EQ(protocol(85), Protocol::kSniff);
  EXPECT_EQ(protocol(81), Protocol::kTcp);
  EXPECT_EQ(protocol(82), Protocol::kTls);
  for (const uint16_t port : {83, 84}) EXPECT_EQ(protocol(port), Protocol::kHttp2) << port;
  const auto upstream = [&](std::string_view port) {
    const uint32_t cluster = snapshot->find_cluster("all.shop.svc.cluster.local|" + std::string(port) + "|");
    return snapshot->clusters.at(cluster).protocol;
  };
  EXPECT_EQ(upstream("80"), ClusterProtocol::kHttp1OrGrpc);
  EXPECT_EQ(upstream("85"), ClusterProtocol::kAsClient);
  EXPECT_EQ(upstream("83"), ClusterProtocol::kHttp2);
}

TEST(SnapshotBuilderTest, TheUpgradePolicyDecidesTheVersionTowardsEndpoints) {
  namespace mesh = weft::mesh::v1;
  const auto protocols = [](std::string_view policy) {
    World world;
    world.service("shop", "all", {"10.96.0.7"},
                  {{80, 80, mesh::PROTOCOL_HTTP}, {83, 83, mesh::PROTOCOL_GRPC}});
    world.policy(str_cat("name:'p' namespace:'shop' host:'all.shop.svc.cluster.local' ", policy));
    const auto snapshot = world.build();
    std::vector<ClusterProtocol> out;
    for (const std::string_view port : {"80", "83"}) {
      const uint32_t cluster = snapshot->find_cluster(str_cat("all.shop.svc.cluster.local|", port, "|"));
      out.push_back(snapshot->clusters.at(cluster).protocol);
    }
    return out;
  };
  using enum ClusterProtocol;
  EXPECT_EQ(protocols(""), (std::vector{kHttp1OrGrpc, kHttp2}));
  EXPECT_EQ(protocols("traffic_policy{connection_pool{http2_upgrade: UPGRADE}}"),
            (std::vector{kHttp2, kHttp2}));
  // What is declared HTTP/2 speaks nothing else.
  EXPECT_EQ(protocols("traffic_policy{connection_pool{http2_upgrade: DO_NOT_UPGRADE}}"),
            (std::vector{kHttp1, kHttp2}));
}

TEST(SnapshotBuilderTest, EveryPortHasATcpCluster) {
  const auto snapshot = shop().build();
  const ServicePort* port = snapshot->find_service_port(kNone, *SocketAddress::parse("10.96.0.1:80"));
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(snapshot->clusters[port->tcp_cluster].name, "cart.shop.svc.cluster.local|80|");
  EXPECT_EQ(snapshot->find_cluster("cart.shop.svc.cluster.local|80|"), port->tcp_cluster);
  EXPECT_EQ(snapshot->find_cluster("nothing"), kNone);
}

TEST(SnapshotBuilderTest, MappedAddressFindsTheService) {
  const auto snapshot = shop().build();
  EXPECT_NE(snapshot->find_service_port(kNone, *SocketAddress::parse("[::ffff:10.96.0.1]:80")), nullptr);
}

TEST(SnapshotBuilderTest, UnhealthyAndWeightlessWorkloadsAreNoEndpoints) {
  World world = shop();
  auto sick = workload_address("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart.shop.svc.cluster.local"});
  sick.mutable_workload()->set_status(istio::workload::UNHEALTHY);
  world.address("cluster/shop/cart-v1", sick);
  auto idle = workload_address("shop", "cart-v2", {"10.1.0.4"}, {"shop/cart.shop.svc.cluster.local"});
  idle.mutable_workload()->mutable_capacity()->set_value(0);
  world.address("cluster/shop/cart-v2", idle);
  EXPECT_EQ(ask(*world.build(), "shop", "cart", "10.96.0.1:80").endpoints(), "");
}

TEST(SnapshotBuilderTest, CapacityIsTheEndpointsWeight) {
  World world = shop();
  auto big = workload_address("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart.shop.svc.cluster.local"});
  big.mutable_workload()->mutable_capacity()->set_value(7);
  world.address("cluster/shop/cart-v1", big);
  const auto snapshot = world.build();
  const Cluster& cluster = snapshot->clusters[snapshot->find_cluster("cart.shop.svc.cluster.local|80|")];
  EXPECT_EQ(cluster.endpoints[0].weight, 7u);
  EXPECT_EQ(cluster.endpoints[1].weight, 1u);
}

TEST(SnapshotBuilderTest, WorkloadsOwnTargetPortWins) {
  World world = shop();
  auto own = workload_address("shop", "cart-v1", {"10.1.0.3"}, {});
  istio::workload::Port* port =
      (*own.mutable_workload()->mutable_services())["shop/cart.shop.svc.cluster.local"].add_ports();
  port->set_service_port(80);
  port->set_target_port(3000);
  world.address("cluster/shop/cart-v1", own);
  EXPECT_EQ(ask(*world.build(), "shop", "cart", "10.96.0.1:80").endpoints(), "10.1.0.3:3000 10.1.0.4:8080");
}

TEST(SnapshotBuilderTest, WorkloadThatDoesNotServeAPortIsNotItsEndpoint) {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  world.service("shop", "named", {"10.96.0.8"}, {{80, 0}});
  world.workload("shop", "named-1", {"10.1.0.8"}, {"shop/named"});
  EXPECT_EQ(ask(*world.build(), "shop", "named", "10.96.0.8:80").endpoints(), "");
}

TEST(SnapshotBuilderTest, FamilyOfTheServiceAddressIsPreferred) {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  world.service("shop", "six", {"fd00::96"}, {{80, 8080}});
  world.service("shop", "four", {"10.96.0.9"}, {{80, 8080}});
  world.workload("shop", "dual", {"10.1.0.5", "fd00::5"}, {"shop/six", "shop/four"});
  world.workload("shop", "only4", {"10.1.0.6"}, {"shop/six"});
  const auto snapshot = world.build();
  EXPECT_EQ(ask(*snapshot, "shop", "six", "[fd00::96]:80").endpoints(), "[fd00::5]:8080 10.1.0.6:8080");
  EXPECT_EQ(ask(*snapshot, "shop", "four", "10.96.0.9:80").endpoints(), "10.1.0.5:8080");
  EXPECT_EQ(ask(*snapshot, "shop", "", "[fd00::96]:80").clusters(), "six.shop.svc.cluster.local|80|");
}

TEST(SnapshotBuilderTest, EveryWorkloadIsASourceWithItsLabels) {
  const auto snapshot = shop().build();
  const uint32_t source = snapshot->find_source("cluster/shop/cart-v1");
  ASSERT_NE(source, kNone);
  EXPECT_EQ(snapshot->sources[source].ns, "shop");
  EXPECT_EQ(*source_view(*snapshot, source).labels, (Labels{{"version", "v1"}}));
}

TEST(SnapshotBuilderTest, SameResourcesMakeTheSameSnapshot) {
  World one = shop(), two;
  two.workload("shop", "cart-v2", {"10.1.0.4"}, {"shop/cart"}, {{"version", "v2"}});
  two.workload("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart"}, {{"version", "v1"}});
  two.service("shop", "cart", {"10.96.0.1"}, {{80, 8080}});
  two.workload("default", "client", {"10.1.0.2"});
  two.workload("shop", "client", {"10.1.0.1"});
  const auto a = one.build(), b = two.build();
  ASSERT_EQ(a->clusters.size(), b->clusters.size());
  for (size_t i = 0; i < a->clusters.size(); ++i) EXPECT_EQ(a->clusters[i].name, b->clusters[i].name);
  EXPECT_EQ(ask(*a, "shop", "cart", "10.96.0.1:80").endpoints(),
            ask(*b, "shop", "cart", "10.96.0.1:80").endpoints());
}

// A service "<name>" in namespace shop, and routes of the same name that go there.
void add_routed(World& world, const std::string& name, const std::string& ip, const std::string& path) {
  world.service("shop", name, {ip}, {{80, 8080}});
  world.routes(str_cat("name:'", name, "' namespace:'shop' hosts:'", name,
                       ".shop.svc.cluster.local' http{matches{uri{prefix:'", path, "'}} destinations{host:'",
                       name, ".shop.svc.cluster.local' weight:1}}"));
}

TEST(SnapshotBuilderTest, RoutesThatDidNotChangeAreSharedWithTheSnapshotBefore) {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  add_routed(world, "a", "10.96.0.1", "/one");
  add_routed(world, "b", "10.96.0.2", "/one");
  RouteLists lists;
  const auto host = [](const SnapshotPtr& snapshot, const std::string& name) {
    return snapshot->find_virtual_host(snapshot->find_source("cluster/shop/client"), name,
                                       *SocketAddress::parse("10.96.9.9:80"));
  };
  const auto first = build_snapshot(world.store.resources(), 1, lists);
  add_routed(world, "b", "10.96.0.2", "/two");
  const auto second = build_snapshot(world.store.resources(), 2, lists);
  EXPECT_EQ(host(second, "a"), host(first, "a"));
  EXPECT_NE(host(second, "b"), host(first, "b"));
  EXPECT_EQ(host(second, "b")->routes.front().matches.front().uri.text, "/two");
  EXPECT_EQ(host(first, "b")->routes.front().matches.front().uri.text, "/one");
}

TEST(SnapshotBuilderTest, SharedRoutesFollowTheirClustersToOtherPlaces) {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  add_routed(world, "b", "10.96.0.2", "/one");
  RouteLists lists;
  const auto first = build_snapshot(world.store.resources(), 1, lists);
  // Its cluster comes before b's.
  add_routed(world, "a", "10.96.0.1", "/one");
  const auto second = build_snapshot(world.store.resources(), 2, lists);
  const auto third = build_snapshot(world.store.resources(), 3, lists);
  for (const SnapshotPtr& snapshot : {first, second, third}) {
    const VirtualHost* host = snapshot->find_virtual_host(snapshot->find_source("cluster/shop/client"), "b",
                                                          *SocketAddress::parse("10.96.9.9:80"));
    ASSERT_NE(host, nullptr);
    const uint32_t cluster = host->routes.front().clusters.front().cluster;
    EXPECT_EQ(snapshot->clusters.at(cluster).name, "b.shop.svc.cluster.local|80|");
  }
}

TEST(SnapshotBuilderTest, AThousandServicesInFiveNamespacesBuildQuickly) {
  World world;
  for (int ns = 0; ns < 5; ++ns) world.workload(str_cat("ns", ns), "client", {str_cat("10.1.0.", ns + 1)});
  for (int i = 0; i < 1000; ++i) {
    const std::string ns = str_cat("ns", i % 5), name = str_cat("s", i);
    world.service(ns, name, {str_cat("10.96.", i / 250, ".", i % 250)}, {{80, 8080}});
    world.workload(ns, str_cat(name, "-1"), {str_cat("10.2.", i / 250, ".", i % 250)}, {ns + "/" + name});
    world.routes(str_cat("name:'", name, "' namespace:'", ns, "' hosts:'", name, ".", ns,
                         ".svc.cluster.local' http{matches{uri{regex:'/a.*'}} destinations{host:'", name, ".",
                         ns, ".svc.cluster.local' weight:1}}"));
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto snapshot = world.build();
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(snapshot->clusters.size(), 1000u);
  EXPECT_EQ(snapshot->virtual_hosts.size(), 1000u) << "namespaces that see the same share it";
  EXPECT_EQ(snapshot->virtual_host_by_address.size(), 6u * 1000) << "five namespaces and \"default\"";
  // Sanitizers cost a factor; without them it is some tens of milliseconds.
  EXPECT_LT(std::chrono::duration<double>(took).count(), 2.0);
}

}  // namespace
}  // namespace weft::proxy
