// Which blocks of which traffic policy a cluster gets: rule, subset, port; and what they become.
#include <gmock/gmock.h>

#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;

// "cart" in namespace shop on ports 80 and 81, with v1; a client in a place.
World shop() {
  World world;
  world.workload("shop", "client", {"10.1.0.1"});
  world.service("shop", "cart", {"10.96.0.1"}, {{80, 8080}, {81, 8081}});
  world.workload("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart"}, {{"version", "v1"}});
  world.routes(
      "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' "
      "http{matches{uri{prefix:'/v1'}} destinations{host:'cart.shop.svc.cluster.local' subset:'v1' "
      "weight:1}} "
      "http{destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  return world;
}

constexpr char kRule[] = "name:'cart' namespace:'shop' host:'cart.shop.svc.cluster.local' ";

const Cluster& cluster(const Snapshot& snapshot, const std::string& name) {
  const uint32_t index = snapshot.find_cluster("cart.shop.svc.cluster.local|" + name);
  EXPECT_NE(index, kNone) << name;
  return snapshot.clusters[index];
}

uint32_t connections(const Cluster& cluster) {
  return cluster.policy == nullptr || cluster.policy->connections == nullptr
             ? 0
             : cluster.policy->connections->max_connections;
}

TEST(SnapshotDestinationTest, ARuleThatSaysNothingCostsNothing) {
  World world = shop();
  world.policy(std::string(kRule) + "traffic_policy{load_balancing{algorithm:RANDOM} connection_pool{}}");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(cluster(*snapshot, "80|").policy, nullptr);
  EXPECT_EQ(cluster(*snapshot, "80|").load_balancer, LoadBalancer::kRandom);
}

TEST(SnapshotDestinationTest, APortsBlocksTakeThePlaceOfAllOfTheRules) {
  World world = shop();
  world.policy(std::string(kRule) +
               "traffic_policy{load_balancing{algorithm:RANDOM} connection_pool{max_connections:5} "
               "outlier_detection{interval_ms:1 base_ejection_ms:1} retry_budget{percent:50} "
               "ports{port:81 policy{connection_pool{max_connections:7}}}}");
  const SnapshotPtr snapshot = world.build();
  const Cluster& plain = cluster(*snapshot, "80|");
  EXPECT_EQ(connections(plain), 5u);
  EXPECT_TRUE(plain.policy->outlier);
  const Cluster& port = cluster(*snapshot, "81|");
  EXPECT_EQ(connections(port), 7u);
  EXPECT_FALSE(port.policy->outlier);
  EXPECT_EQ(port.load_balancer, LoadBalancer::kLeastRequest);
  EXPECT_EQ(port.policy->retries.share, 5'000u) << "the budget is of no port";
}

TEST(SnapshotDestinationTest, ASubsetReplacesBlockByBlockAndItsPortsReplaceAll) {
  World world = shop();
  world.policy(std::string(kRule) +
               "traffic_policy{load_balancing{algorithm:RANDOM} connection_pool{max_connections:5} "
               "ports{port:81 policy{connection_pool{max_connections:7}}}} "
               "subsets{name:'v1' labels{key:'version' value:'v1'} traffic_policy{"
               "load_balancing{algorithm:ROUND_ROBIN} ports{port:81 policy{"
               "outlier_detection{interval_ms:1 base_ejection_ms:1}}}}}");
  const SnapshotPtr snapshot = world.build();
  const Cluster& subset = cluster(*snapshot, "80|v1");
  EXPECT_EQ(subset.load_balancer, LoadBalancer::kRoundRobin);
  EXPECT_EQ(connections(subset), 5u);
  const Cluster& port = cluster(*snapshot, "81|v1");
  EXPECT_EQ(port.load_balancer, LoadBalancer::kLeastRequest);
  EXPECT_EQ(connections(port), 0u);
  EXPECT_TRUE(port.policy->outlier);
}

TEST(SnapshotDestinationTest, TheOldestRuleWithATrafficPolicyDecidesAllOfIt) {
  World world = shop();
  world.policy(
      "name:'b' namespace:'shop' host:'cart.shop.svc.cluster.local' created_unix:2 "
      "traffic_policy{connection_pool{max_connections:5}}");
  world.policy(
      "name:'a' namespace:'shop' host:'cart.shop.svc.cluster.local' created_unix:3 "
      "traffic_policy{load_balancing{algorithm:RANDOM}}");
  world.policy("name:'c' namespace:'shop' host:'cart.shop.svc.cluster.local' created_unix:1");
  const SnapshotPtr snapshot = world.build();
  EXPECT_EQ(connections(cluster(*snapshot, "80|")), 5u);
  EXPECT_EQ(cluster(*snapshot, "80|").load_balancer, LoadBalancer::kLeastRequest);
}

TEST(SnapshotDestinationTest, MaxRetriesTakesThePlaceOfTheBudgetUnlessThereIsOne) {
  World world = shop();
  world.policy(std::string(kRule) + "traffic_policy{connection_pool{max_retries:4}}");
  EXPECT_EQ(cluster(*world.build(), "80|").policy->retries.max_retries, 4u);
  world.policy(std::string(kRule) +
               "traffic_policy{connection_pool{max_retries:4} retry_budget{percent:12.5 min_concurrency:1}}");
  const SnapshotPtr snapshot = world.build();
  const RetryLimits& limits = cluster(*snapshot, "80|").policy->retries;
  EXPECT_EQ(limits.max_retries, 0u);
  EXPECT_EQ(limits.share, 1'250u);
  EXPECT_EQ(limits.min_concurrency, 1u);
}

TEST(SnapshotDestinationTest, UseClientProtocolWinsOverAnUpgrade) {
  World world = shop();
  world.policy(std::string(kRule) +
               "traffic_policy{connection_pool{http2_upgrade:UPGRADE use_client_protocol:true}}");
  EXPECT_EQ(cluster(*world.build(), "80|").protocol, ClusterProtocol::kAsClient);
}

TEST(SnapshotDestinationTest, CookiesAreWrittenOnceForAll) {
  World world = shop();
  world.policy(std::string(kRule) +
               "traffic_policy{load_balancing{algorithm:RING_HASH table_size:1024 hash{cookie{name:'user' "
               "path:'/' ttl_seconds:60 attributes:'SameSite=Lax'}}}}");
  const SnapshotPtr snapshot = world.build();
  const HashKey& key = cluster(*snapshot, "80|").policy->balancing.hash;
  EXPECT_TRUE(key.generates);
  EXPECT_EQ(key.attributes, "; Max-Age=60; Path=/; SameSite=Lax; HttpOnly");
}

TEST(SnapshotDestinationTest, EndpointsAndClientsHaveTheirPlaces) {
  World world = shop();
  auto address = workload_address("shop", "cart-v2", {"10.1.0.4"}, {"shop/cart.shop.svc.cluster.local"},
                                  {{"team", "blue"}});
  address.mutable_workload()->set_node("n1");
  address.mutable_workload()->mutable_locality()->set_region("r1");
  address.mutable_workload()->mutable_locality()->set_zone("z1");
  world.address("cluster/shop/cart-v2", address);
  world.policy(
      std::string(kRule) +
      "traffic_policy{load_balancing{locality{failover_priority:['team', 'topology.kubernetes.io/zone', "
      "'kubernetes.io/hostname=n1', 'none']}}}");
  const SnapshotPtr snapshot = world.build();
  const Endpoint& endpoint = cluster(*snapshot, "80|").endpoints[1];
  EXPECT_EQ(snapshot->localities[endpoint.locality], (Locality{"r1", "z1", ""}));
  EXPECT_THAT(endpoint.priority_values, ::testing::ElementsAre("blue", "z1", "n1", ""));
  const Source& source = snapshot->sources[snapshot->find_source("cluster/shop/cart-v2")];
  EXPECT_EQ(source.locality, endpoint.locality);
  EXPECT_EQ(source.node, "n1");
  EXPECT_EQ(cluster(*snapshot, "80|").endpoints[0].locality, kNone);
}

std::string error_of(const std::string& policy) {
  const auto message =
      parse<weft::mesh::v1::DestinationPolicy>(std::string(kRule) + "traffic_policy{" + policy + "}");
  return std::string(validate(message).status().message());
}

TEST(SnapshotDestinationTest, WhatNoControlPlaneOfOursSendsIsRefusedByName) {
  EXPECT_THAT(error_of("load_balancing{algorithm:MAGLEV table_size:1000 hash{source_ip:true}}"),
              HasSubstr("prime"));
  EXPECT_THAT(error_of("load_balancing{algorithm:RING_HASH table_size:1000}"), HasSubstr("no key"));
  EXPECT_THAT(error_of("load_balancing{algorithm:RING_HASH hash{source_ip:true}}"), HasSubstr("table_size"));
  EXPECT_THAT(error_of("load_balancing{algorithm:RING_HASH table_size:131073 hash{source_ip:true}}"),
              HasSubstr("131072"));
  EXPECT_THAT(error_of("load_balancing{warmup{duration_ms:5}}"), HasSubstr("warmup"));
  EXPECT_THAT(error_of("outlier_detection{}"), HasSubstr("outlier_detection"));
  EXPECT_THAT(error_of("outlier_detection{interval_ms:1 base_ejection_ms:1 error_codes:7}"),
              HasSubstr("no status"));
  EXPECT_THAT(error_of("retry_budget{percent:101}"), HasSubstr("retry_budget"));
  EXPECT_THAT(error_of("ports{port:70000}"), HasSubstr("ports"));
  EXPECT_THAT(error_of("ports{port:80 policy{connection_pool{keepalive{probes:200}}}}"),
              HasSubstr("ports[80]"));
}

}  // namespace
}  // namespace weft::proxy
