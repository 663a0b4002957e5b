// Which routes and policies apply to which client: subsets, weights, exportTo, look-up order, several rules
// on one host.
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

// "cart" in namespace shop with v1 and v2; clients in shop, other and istio-system.
World shop() {
  World world;
  for (const char* ns : {"shop", "other", "istio-system"}) world.workload(ns, "client", {"10.1.0.1"});
  world.service("shop", "cart", {"10.96.0.1"}, {{80, 8080}});
  world.workload("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart"}, {{"app", "cart"}, {"version", "v1"}});
  world.workload("shop", "cart-v2", {"10.1.0.4"}, {"shop/cart"}, {{"app", "cart"}, {"version", "v2"}});
  return world;
}

std::string subsets(const std::string& ns, const std::string& rest = "") {
  return "name:'cart' namespace:'" + ns + "' host:'cart.shop.svc.cluster.local' " +
         "subsets{name:'v1' labels{key:'version' value:'v1'}} subsets{name:'v2' labels{key:'version' "
         "value:'v2'}} " +
         rest;
}

std::string route_to(const std::string& name, const std::string& subset, const std::string& rest = "") {
  return "name:'" + name + "' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{name:'" + name +
         "' destinations{host:'cart.shop.svc.cluster.local' subset:'" + subset + "' weight:1}} " + rest;
}

Asked cart(const Snapshot& snapshot, const std::string& ns = "shop", std::string_view path = "/") {
  return ask(snapshot, ns, "cart.shop", "10.96.0.1:80", path);
}

TEST(SnapshotPolicyTest, CanarySplitsBySubset) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(
      "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{"
      "destinations{host:'cart.shop.svc.cluster.local' subset:'v1' weight:95}"
      "destinations{host:'cart.shop.svc.cluster.local' subset:'v2' weight:5}}");
  const auto snapshot = world.build();
  const Asked asked = cart(*snapshot);
  EXPECT_EQ(asked.clusters(), "cart.shop.svc.cluster.local|80|v1 95, cart.shop.svc.cluster.local|80|v2 5");
  EXPECT_EQ(asked.endpoints(), "10.1.0.3:8080");
  EXPECT_EQ(asked.route->total_weight, 100u);
  EXPECT_EQ(asked.route->clusters[1].label, "v2");
  EXPECT_EQ(asked.route->name, "shop/cart[0]");
}

TEST(SnapshotPolicyTest, ConnectionsThatAreNoHttpFollowTheRulesOfTheirClientsNamespace) {
  World world = shop();
  world.policy(
      "name:'cart' namespace:'other' host:'cart.shop.svc.cluster.local' "
      "traffic_policy{connection_pool{max_connections:7}}");
  const auto snapshot = world.build();
  const SocketAddress dialled = *SocketAddress::parse("10.96.0.1:80");
  const ServicePort* port = snapshot->find_service_port(kNone, dialled);
  ASSERT_NE(port, nullptr);
  const auto cluster_for = [&](const std::string& ns) {
    const uint32_t source = snapshot->find_source("cluster/" + ns + "/client");
    EXPECT_NE(source, kNone);
    return snapshot->find_tcp_cluster(source, dialled, *port);
  };
  EXPECT_EQ(cluster_for("shop"), port->tcp_cluster);
  EXPECT_EQ(cluster_for("istio-system"), port->tcp_cluster);
  ASSERT_NE(cluster_for("other"), port->tcp_cluster);
  EXPECT_EQ(snapshot->clusters[cluster_for("other")].policy->connections->max_connections, 7u);
  EXPECT_EQ(snapshot->clusters[port->tcp_cluster].policy, nullptr);
}

TEST(SnapshotPolicyTest, UnknownSubsetAndHostHaveNoCluster) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(route_to("cart", "v9"));
  EXPECT_EQ(cart(*world.build()).clusters(), "-");
  world.routes(
      "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{destinations{host:'gone' "
      "weight:1}}");
  EXPECT_EQ(cart(*world.build()).clusters(), "-");
}

TEST(SnapshotPolicyTest, SubsetWithoutWorkloadsIsAClusterWithoutEndpoints) {
  World world = shop();
  world.policy(
      "name:'cart' namespace:'shop' host:'cart.shop.svc.cluster.local' subsets{name:'v3' "
      "labels{key:'version' "
      "value:'v3'}}");
  world.routes(route_to("cart", "v3"));
  const auto snapshot = world.build();
  EXPECT_EQ(cart(*snapshot).clusters(), "cart.shop.svc.cluster.local|80|v3");
  EXPECT_EQ(cart(*snapshot).endpoints(), "");
}

TEST(SnapshotPolicyTest, FirstMatchingRouteWinsAndNoneIsNoRoute) {
  World world = shop();
  world.routes(
      "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local'"
      "http{name:'a' matches{uri{prefix:'/a'}} destinations{host:'cart.shop.svc.cluster.local' weight:1}}"
      "http{name:'ab' matches{uri{prefix:'/ab'}} matches{uri{exact:'/x'}} "
      "destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  const auto snapshot = world.build();
  EXPECT_EQ(cart(*snapshot, "shop", "/ab").route->name, "a");
  EXPECT_EQ(cart(*snapshot, "shop", "/x").route->name, "ab");
  EXPECT_EQ(cart(*snapshot, "shop", "/z").clusters(), "no route");
}

TEST(SnapshotPolicyTest, RoutesSeeOnlyTheNamespacesTheyAreExportedTo) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(route_to("cart", "v1", "export_to:'shop'"));
  const auto snapshot = world.build();
  EXPECT_EQ(cart(*snapshot, "shop").clusters(), "cart.shop.svc.cluster.local|80|v1");
  EXPECT_EQ(cart(*snapshot, "other").clusters(), "cart.shop.svc.cluster.local|80|");
}

TEST(SnapshotPolicyTest, StarExportsToEverybody) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(route_to("cart", "v1", "export_to:'*'"));
  EXPECT_EQ(cart(*world.build(), "other").clusters(), "cart.shop.svc.cluster.local|80|v1");
}

TEST(SnapshotPolicyTest, OldestRouteSetOwnsTheHost) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(route_to("a-young", "v1", "created_unix:20"));
  world.routes(route_to("z-old", "v2", "created_unix:10"));
  EXPECT_EQ(cart(*world.build()).route->name, "z-old");
}

TEST(SnapshotPolicyTest, AmongTwinsTheNameDecides) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(route_to("b", "v1", "created_unix:10"));
  world.routes(route_to("a", "v2", "created_unix:10"));
  EXPECT_EQ(cart(*world.build()).route->name, "a");
}

TEST(SnapshotPolicyTest, ExactHostBeatsWildcardThoughYounger) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(
      "name:'any' namespace:'shop' hosts:'*.shop.svc.cluster.local' created_unix:1 http{name:'any' "
      "destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  EXPECT_EQ(cart(*world.build()).route->name, "any");
  world.routes(route_to("cart", "v1", "created_unix:20"));
  EXPECT_EQ(cart(*world.build()).route->name, "cart");
}

TEST(SnapshotPolicyTest, ClientNamespacePolicyComesFirst) {
  World world = shop();
  world.policy(subsets("shop"));
  world.policy(
      "name:'mine' namespace:'other' host:'cart.shop.svc.cluster.local' "
      "traffic_policy{load_balancing{algorithm:RANDOM} "
      "connection_pool{connect_timeout_ms:50}} "
      "subsets{name:'v1' labels{key:'version' value:'v2'}}");
  world.routes(route_to("cart", "v1"));
  const auto snapshot = world.build();
  EXPECT_EQ(cart(*snapshot, "shop").endpoints(), "10.1.0.3:8080");
  const Asked other = cart(*snapshot, "other");
  EXPECT_EQ(other.clusters(), "cart.shop.svc.cluster.local|80|v1|other");
  EXPECT_EQ(other.endpoints(), "10.1.0.4:8080");
  const Cluster& cluster = snapshot->clusters[other.route->clusters[0].cluster];
  EXPECT_EQ(cluster.load_balancer, LoadBalancer::kRandom);
  EXPECT_EQ(cluster.connect_timeout_ms, 50u);
}

TEST(SnapshotPolicyTest, ServiceNamespacePolicyHidesTheRootOne) {
  World world = shop();
  world.policy(subsets("istio-system", "traffic_policy{load_balancing{algorithm:ROUND_ROBIN}}"));
  world.routes(route_to("cart", "v1"));
  EXPECT_EQ(cart(*world.build()).clusters(), "cart.shop.svc.cluster.local|80|v1");
  world.policy(
      "name:'own' namespace:'shop' host:'cart.shop.svc.cluster.local' "
      "traffic_policy{load_balancing{algorithm:RANDOM}}");
  EXPECT_EQ(cart(*world.build()).clusters(), "-");
}

TEST(SnapshotPolicyTest, PolicyThatIsNotExportedDoesNotReachOthers) {
  World world = shop();
  world.policy(subsets("shop", "export_to:'shop' traffic_policy{load_balancing{algorithm:RANDOM}}"));
  const auto snapshot = world.build();
  const auto balancer = [&](const std::string& ns) {
    return snapshot->clusters[cart(*snapshot, ns).route->clusters[0].cluster].load_balancer;
  };
  EXPECT_EQ(balancer("shop"), LoadBalancer::kRandom);
  EXPECT_EQ(balancer("other"), LoadBalancer::kLeastRequest);
}

TEST(SnapshotPolicyTest, RulesOfOneNamespaceAreMerged) {
  World world = shop();
  world.policy(
      "name:'b' namespace:'shop' host:'cart.shop.svc.cluster.local' created_unix:2 "
      "traffic_policy{load_balancing{algorithm:RANDOM}} "
      "subsets{name:'v1' labels{key:'version' value:'v2'}} subsets{name:'v2' labels{key:'version' "
      "value:'v2'}}");
  world.policy(
      "name:'a' namespace:'shop' host:'cart.shop.svc.cluster.local' created_unix:1 "
      "traffic_policy{load_balancing{algorithm:ROUND_ROBIN}} "
      "subsets{name:'v1' labels{key:'version' value:'v1'}}");
  world.routes(
      "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{"
      "destinations{host:'cart.shop.svc.cluster.local' subset:'v1' weight:1}"
      "destinations{host:'cart.shop.svc.cluster.local' subset:'v2' weight:1}}");
  const auto snapshot = world.build();
  EXPECT_EQ(cart(*snapshot).clusters(),
            "cart.shop.svc.cluster.local|80|v1 1, cart.shop.svc.cluster.local|80|v2 1");
  EXPECT_EQ(cart(*snapshot).endpoints(), "10.1.0.3:8080");
  EXPECT_EQ(snapshot->clusters[cart(*snapshot).route->clusters[0].cluster].load_balancer,
            LoadBalancer::kRoundRobin);
}

TEST(SnapshotPolicyTest, SubsetsBalancerOverridesThePolicys) {
  World world = shop();
  world.policy(
      "name:'cart' namespace:'shop' host:'cart.shop.svc.cluster.local' "
      "traffic_policy{load_balancing{algorithm:RANDOM}} "
      "subsets{name:'v1' traffic_policy{load_balancing{algorithm:ROUND_ROBIN}} labels{key:'version' "
      "value:'v1'}}");
  world.routes(route_to("cart", "v1"));
  const auto snapshot = world.build();
  EXPECT_EQ(snapshot->clusters[cart(*snapshot).route->clusters[0].cluster].load_balancer,
            LoadBalancer::kRoundRobin);
}

TEST(SnapshotPolicyTest, NamespacesThatSeeTheSameShareClusters) {
  World world = shop();
  world.policy(subsets("shop"));
  world.routes(route_to("cart", "v1"));
  const auto snapshot = world.build();
  EXPECT_EQ(cart(*snapshot, "shop").route->clusters[0].cluster,
            cart(*snapshot, "other").route->clusters[0].cluster);
  EXPECT_EQ(snapshot->clusters.size(), 2u);
}

TEST(SnapshotPolicyTest, DestinationPortIsTheOnlyOneElseTheDialledOne) {
  World world = shop();
  world.service("shop", "one", {"10.96.0.5"}, {{7000, 7070}});
  world.service("shop", "two", {"10.96.0.6"}, {{80, 1080}, {81, 1081}});
  world.routes(
      "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{"
      "destinations{host:'one.shop.svc.cluster.local' weight:1}"
      "destinations{host:'two.shop.svc.cluster.local' weight:1}"
      "destinations{host:'two.shop.svc.cluster.local' port:81 weight:1}"
      "destinations{host:'two.shop.svc.cluster.local' port:99 weight:1}}");
  EXPECT_EQ(cart(*world.build()).clusters(),
            "one.shop.svc.cluster.local|7000| 1, two.shop.svc.cluster.local|80| 1, "
            "two.shop.svc.cluster.local|81| 1, "
            "- 1");
}

TEST(SnapshotPolicyTest, HostThatIsNoServiceIsReachedByNameOnAnyPort) {
  World world = shop();
  world.routes(
      "name:'free' namespace:'shop' hosts:'shop.example.com' hosts:'*.example.org' http{name:'free' "
      "destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  const auto snapshot = world.build();
  const auto at = [&](std::string_view authority, const std::string& dialled) {
    return ask(*snapshot, "other", authority, dialled).clusters();
  };
  EXPECT_EQ(at("shop.example.com", "10.9.9.9:80"), "cart.shop.svc.cluster.local|80|");
  EXPECT_EQ(at("shop.example.com:8080", "10.9.9.9:8080"), "cart.shop.svc.cluster.local|80|");
  EXPECT_EQ(at("a.b.EXAMPLE.org", "10.9.9.9:80"), "cart.shop.svc.cluster.local|80|");
  EXPECT_EQ(at("example.org", "10.9.9.9:80"), "no host");
}

TEST(SnapshotPolicyTest, RouteSetWithoutHttpRoutesLeavesTheDefaultRoute) {
  World world = shop();
  world.routes("name:'tcp' namespace:'shop' hosts:'cart.shop.svc.cluster.local'");
  EXPECT_EQ(cart(*world.build()).route->name, "default");
}

TEST(SnapshotPolicyTest, MeshConfigHoldsWhereNoRuleSaysOtherwise) {
  World world = shop();
  const auto mesh = [&world](const std::string& text) {
    return world.store.apply(kMeshConfigType, make_resource("mesh", parse<weft::mesh::v1::MeshConfig>(text)));
  };
  constexpr char kPlain[] = "cart.shop.svc.cluster.local|80|";
  const auto cluster = [&](const Snapshot& snapshot) {
    return snapshot.clusters[snapshot.find_cluster(kPlain)];
  };
  EXPECT_EQ(cluster(*world.build()).connect_timeout_ms, 10'000u);
  ASSERT_TRUE(mesh("connect_timeout_ms:2000 path_normalization:PATH_MERGE_SLASHES locality{disabled:true} "
                   "default_retries{attempts:5 base_interval_ms:25} "
                   "providers{name:'ask' host:'cart.shop.svc.cluster.local' port:80} "
                   "providers{name:'gone' host:'gone.shop.svc.cluster.local' port:80}")
                  .ok());
  const auto snapshot = world.build();
  EXPECT_EQ(cluster(*snapshot).connect_timeout_ms, 2'000u);
  EXPECT_TRUE(cluster(*snapshot).policy->balancing.locality.disabled);
  EXPECT_EQ(snapshot->path_normalisation, PathNormalisation::kMergeSlashes);
  const Asked asked = cart(*snapshot);
  ASSERT_NE(asked.route->action, nullptr);
  EXPECT_EQ(asked.route->action->retries->attempts, 5u);
  EXPECT_NE(snapshot->find_provider("ask"), nullptr);
  EXPECT_EQ(snapshot->find_provider_cluster("shop", "ask"), snapshot->find_cluster(kPlain));
  EXPECT_NE(snapshot->find_provider("gone"), nullptr);
  EXPECT_EQ(snapshot->find_provider_cluster("shop", "gone"), kNone);
  EXPECT_EQ(snapshot->find_provider("other"), nullptr);
  // A rule's own word counts more.
  world.policy(
      subsets("shop", "traffic_policy{connection_pool{connect_timeout_ms:700} load_balancing{locality{}}}"));
  EXPECT_EQ(cluster(*world.build()).connect_timeout_ms, 700u);
  EXPECT_FALSE(cluster(*world.build()).policy != nullptr &&
               cluster(*world.build()).policy->balancing.locality.disabled);
  EXPECT_FALSE(mesh("providers{name:'ask' host:'x' port:70000}").ok()) << "the last good one stays";
  EXPECT_NE(world.build()->find_provider("gone"), nullptr);
  world.store.remove(kMeshConfigType, "mesh");
  EXPECT_EQ(world.build()->find_provider("ask"), nullptr);
}

}  // namespace
}  // namespace weft::proxy
