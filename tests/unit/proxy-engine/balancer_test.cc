// Balancer: shares, policies, and what it remembers across snapshots.
#include "userspace-proxy/upstream/balancer.h"

#include <gtest/gtest.h>

#include <array>

namespace weft::proxy {
namespace {

GenerationRef generation(LoadBalancer policy, const std::vector<uint32_t>& weights) {
  auto snapshot = std::make_shared<Snapshot>();
  Cluster cluster{.name = "c", .load_balancer = policy};
  for (size_t i = 0; i < weights.size(); ++i) {
    const SocketAddress address{*IpAddress::parse("10.0.0.1"), static_cast<uint16_t>(i + 1)};
    cluster.endpoints.push_back(Endpoint{.address = address, .weight = weights[i]});
  }
  snapshot->clusters.push_back(std::move(cluster));
  return GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
}

std::vector<int> picks(Balancer& balancer, const GenerationRef& g, int count) {
  std::vector<int> seen(g->snapshot().clusters[0].endpoints.size());
  for (int i = 0; i < count; ++i) ++seen[balancer.pick_endpoint(*g, 0, {})];
  return seen;
}

TEST(BalancerTest, SharesClustersByWeight) {
  Balancer balancer(1);
  Route route;
  route.clusters = {WeightedCluster{.cluster = 0, .weight = 95}, WeightedCluster{.cluster = 1, .weight = 5},
                    WeightedCluster{.cluster = 2, .weight = 0}};
  route.total_weight = 100;
  std::array<int, 3> seen{};
  for (int i = 0; i < 100'000; ++i) ++seen[balancer.pick_cluster(route)->cluster];
  EXPECT_NEAR(seen[1], 5000, 300);
  EXPECT_EQ(seen[2], 0);
}

TEST(BalancerTest, GoesRoundAndHonoursWeights) {
  Balancer balancer(1);
  EXPECT_EQ(picks(balancer, generation(LoadBalancer::kRoundRobin, {1, 1, 1}), 9),
            (std::vector<int>{3, 3, 3}));
  EXPECT_EQ(picks(balancer, generation(LoadBalancer::kRoundRobin, {5, 1, 0}), 12),
            (std::vector<int>{10, 2, 0}));
}

TEST(BalancerTest, DrawsRandomlyByWeight) {
  Balancer balancer(1);
  const std::vector<int> seen = picks(balancer, generation(LoadBalancer::kRandom, {3, 0, 1}), 40'000);
  EXPECT_NEAR(seen[0], 30'000, 500);
  EXPECT_EQ(seen[1], 0);
}

TEST(BalancerTest, PrefersTheLessLoadedOfTwo) {
  Balancer balancer(1);
  const GenerationRef g = generation(LoadBalancer::kLeastRequest, {1, 1});
  balancer.state(*g, 0, 0).active = 10;
  EXPECT_EQ(picks(balancer, g, 100), (std::vector<int>{0, 100}));
}

TEST(BalancerTest, AvoidsWhatFailedAndSaysWhenNothingIsLeft) {
  Balancer balancer(1);
  const GenerationRef g = generation(LoadBalancer::kRoundRobin, {1, 1, 0});
  const std::array<uint32_t, 2> failed{0, 1};
  EXPECT_EQ(balancer.pick_endpoint(*g, 0, std::span(failed).first(1)), 1u);
  EXPECT_EQ(balancer.pick_endpoint(*g, 0, failed), kNone);
  EXPECT_EQ(balancer.pick_endpoint(*generation(LoadBalancer::kRandom, {0}), 0, {}), kNone);
  EXPECT_EQ(balancer.pick_endpoint(*generation(LoadBalancer::kRandom, {}), 0, {}), kNone);
}

TEST(BalancerTest, KeepsActiveCountsAcrossSnapshotsAndForgetsWhatIsGone) {
  Balancer balancer(1);
  GenerationRef first = generation(LoadBalancer::kLeastRequest, {1, 1});
  balancer.state(*first, 0, 1).active = 4;
  GenerationRef second = generation(LoadBalancer::kLeastRequest, {1, 1});
  EXPECT_EQ(balancer.state(*second, 0, 1).active, 4u);
  first = second = GenerationRef();
  balancer.prune();
  EXPECT_EQ(balancer.remembered_clusters(), 0u);
}

}  // namespace
}  // namespace weft::proxy
