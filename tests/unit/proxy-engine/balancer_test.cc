// Balancer: shares, policies, and what it remembers across snapshots.
#include "userspace-proxy/upstream/balancer.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace weft::proxy {
namespace {

GenerationRef generation(LoadBalancer policy, const std::vector<uint32_t>& weights) {
  auto snapshot = std::make_shared<Snapshot>();
  Cluster cluster{.name = "c", .load_balancer = policy};
  for (size_t i = 0; i < weights.size(); ++i) {
    const SocketAddress address{*IpAddress::parse("10.0.0.1"), static_cast<uint16_t>(i + 1)};
    cluster.endpoints.push_back(Endpoint{.address = address, .weight = weights[i]});
  }
  snapshot->cluster_by_name["c"] = 0;
  snapshot->clusters.push_back(std::move(cluster));
  return GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
}

// A cluster of one endpoint with such a limit.
GenerationRef limited(uint32_t connections, uint64_t number = 0) {
  auto snapshot = std::make_shared<Snapshot>(generation(LoadBalancer::kRandom, {1})->snapshot());
  snapshot->generation = number;
  auto policy = std::make_shared<ClusterPolicy>();
  policy->connections =
      std::make_shared<const ConnectionSettings>(ConnectionSettings{.max_connections = connections});
  snapshot->clusters[0].policy = policy;
  return GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
}

std::vector<int> picks(Balancer& balancer, const GenerationRef& g, int count) {
  std::vector<int> seen(g->snapshot().clusters[0].endpoints.size());
  for (int i = 0; i < count; ++i) ++seen[balancer.pick_endpoint(*g, 0, {})];
  return seen;
}

// So many of 100,000 requests for each of the weights, in hundredths of a per cent.
std::vector<int> shares_of(const std::vector<uint32_t>& weights) {
  Balancer balancer(1);
  Route route;
  for (const uint32_t weight : weights) {
    route.clusters.push_back(
        WeightedCluster{.cluster = static_cast<uint32_t>(route.clusters.size()), .weight = weight});
    route.total_weight += weight;
  }
  std::vector<int> seen(weights.size());
  for (int i = 0; i < 100'000; ++i) ++seen[balancer.pick_cluster(route)->cluster];
  for (int& count : seen) count /= 10;
  return seen;
}

TEST(BalancerTest, SharesClustersByWeightWithinHalfAPoint) {
  constexpr int kHalfAPoint = 50;
  EXPECT_NEAR(shares_of({1, 99})[0], 100, kHalfAPoint);
  EXPECT_NEAR(shares_of({50, 50})[0], 5000, kHalfAPoint);
  const std::vector<int> three = shares_of({20, 30, 50});
  EXPECT_NEAR(three[0], 2000, kHalfAPoint);
  EXPECT_NEAR(three[1], 3000, kHalfAPoint);
  const std::vector<int> with_zero = shares_of({95, 5, 0});
  EXPECT_NEAR(with_zero[1], 500, kHalfAPoint);
  EXPECT_EQ(with_zero[2], 0);
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
  const Snapshot without_it;
  balancer.prune(without_it);
  EXPECT_EQ(balancer.remembered_clusters(), 0u);
}

TEST(BalancerTest, RemembersWhatTheNextSnapshotHasToo) {
  Balancer balancer(1);
  GenerationRef first = generation(LoadBalancer::kLeastRequest, {1, 1});
  balancer.state(*first, 0, 0).active = 3;
  balancer.state(*first, 0, 1).active = 4;
  const GenerationRef second = generation(LoadBalancer::kLeastRequest, {1});
  const GenerationRef third = generation(LoadBalancer::kLeastRequest, {1, 1});
  first = GenerationRef();
  balancer.prune(second->snapshot());
  EXPECT_EQ(balancer.state(*third, 0, 0).active, 3u);
  EXPECT_EQ(balancer.state(*third, 0, 1).active, 0u) << "it was in none";
}

TEST(BalancerTest, AHashStaysOnItsEndpointOnEveryWorkerAndOneWithoutGoesAnywhere) {
  for (const LoadBalancer kind : {LoadBalancer::kRingHash, LoadBalancer::kMaglev}) {
    auto snapshot = std::make_shared<Snapshot>(generation(kind, {1, 1, 1, 1})->snapshot());
    auto policy = std::make_shared<ClusterPolicy>();
    policy->balancing.table_size = 1021;
    snapshot->clusters[0].policy = policy;
    const GenerationRef g(std::make_unique<Generation>(snapshot)), h(std::make_unique<Generation>(snapshot));
    Balancer one(1), other(2);
    std::array<int, 4> seen{};
    for (uint64_t key = 0; key < 1000; ++key) {
      const PickFor who{.hash = key * 0x9e3779b97f4a7c15};
      const uint32_t picked = one.pick_endpoint(*g, 0, {}, who);
      EXPECT_EQ(picked, other.pick_endpoint(*h, 0, {}, who));
      ++seen[picked];
      const std::array<uint32_t, 1> failed{picked};
      EXPECT_NE(one.pick_endpoint(*g, 0, failed, who), picked);
    }
    for (const int count : seen) EXPECT_GT(count, 100);
    EXPECT_NEAR(picks(one, g, 4000)[0], 1000, 150);
  }
}

TEST(BalancerTest, TermsAreOfOneSourceAndChangeWithTheSettings) {
  Balancer balancer(1);
  const GenerationRef a = limited(1), same = limited(1), other = limited(2);
  const ConnectionTermsPtr first = balancer.terms(*a, 0, 7);
  EXPECT_EQ(balancer.terms(*same, 0, 7), first);
  EXPECT_NE(balancer.terms(*a, 0, 8)->counts, first->counts);
  const ConnectionTermsPtr changed = balancer.terms(*other, 0, 7);
  EXPECT_NE(changed->id, first->id);
  EXPECT_EQ(changed->counts, first->counts);
  EXPECT_EQ(balancer.terms(*generation(LoadBalancer::kRandom, {1}), 0, 7), nullptr);
}

TEST(BalancerTest, ASwapLooksOnlyAtWhatLeft) {
  const auto shared = std::make_shared<SharedClusters>();
  Balancer balancer(1, shared);
  GenerationRef g = limited(1);
  const std::string name = g->snapshot().clusters[0].name;
  const std::weak_ptr<SharedCluster> other = shared->find("of another worker");
  ConnectionTermsPtr terms = balancer.terms(*g, 0, 7);
  const std::weak_ptr<SourceCounts> counts = terms->counts;
  const std::weak_ptr<SharedCluster> own = shared->find(name);
  g = GenerationRef(std::make_unique<Generation>(std::make_shared<Snapshot>()));
  balancer.prune(g->snapshot());
  EXPECT_FALSE(counts.expired()) << "a connection is still counted";
  EXPECT_EQ(shared->find(name), own.lock());
  terms = nullptr;
  balancer.prune(g->snapshot());
  EXPECT_TRUE(counts.expired());
  EXPECT_TRUE(own.expired());
  EXPECT_EQ(balancer.remembered_clusters(), 0u);
  EXPECT_FALSE(other.expired());
}

TEST(BalancerTest, TermsThatAreInUseOutliveASwapToTheSameLimits) {
  Balancer balancer(1);
  GenerationRef g = limited(1);
  const ConnectionTermsPtr terms = balancer.terms(*g, 0, 7);
  g = limited(1);
  balancer.prune(g->snapshot());
  EXPECT_EQ(balancer.terms(*g, 0, 7), terms);
  EXPECT_FALSE(terms->over);
}

TEST(BalancerTest, TermsAreOverAtTheSwapToOthersOrToNone) {
  for (const GenerationRef& next :
       {limited(2), generation(LoadBalancer::kRandom, {1}),
        GenerationRef(std::make_unique<Generation>(std::make_shared<Snapshot>()))}) {
    Balancer balancer(1);
    const GenerationRef g = limited(1);
    const ConnectionTermsPtr terms = balancer.terms(*g, 0, 7);
    balancer.prune(next->snapshot());
    EXPECT_TRUE(terms->over);
  }
}

TEST(BalancerTest, WhatBeganBeforeASwapDoesNotTakeTheNewTermsAway) {
  Balancer balancer(1);
  const GenerationRef old = limited(1, 1), now = limited(2, 2);
  balancer.terms(*old, 0, 7);
  balancer.prune(now->snapshot());
  const ConnectionTermsPtr fresh = balancer.terms(*now, 0, 7);
  const ConnectionTermsPtr late = balancer.terms(*old, 0, 7);
  EXPECT_TRUE(late->over);
  EXPECT_EQ(late->counts, fresh->counts);
  EXPECT_EQ(balancer.terms(*now, 0, 7), fresh);
  EXPECT_FALSE(fresh->over);
}

TEST(BalancerTest, WhatWasCountedOfRequestsFromBeforeASwapIsForgottenAtTheNextOne) {
  Balancer balancer(1);
  const GenerationRef old = limited(1, 1), now = limited(2, 2);
  balancer.prune(now->snapshot());
  ConnectionTermsPtr late = balancer.terms(*old, 0, 7);
  EXPECT_EQ(balancer.terms(*old, 0, 7), late) << "one for all of them";
  const std::weak_ptr<const SourceCounts> counts = late->counts;
  balancer.prune(now->snapshot());
  EXPECT_FALSE(counts.expired()) << "a request is still counted";
  late = nullptr;
  balancer.prune(now->snapshot());
  EXPECT_TRUE(counts.expired());
}

TEST(BalancerTest, AHashWhoseEndpointsFailedFindsNobody) {
  Balancer balancer(1);
  auto snapshot = std::make_shared<Snapshot>(generation(LoadBalancer::kMaglev, {1, 100'000})->snapshot());
  auto policy = std::make_shared<ClusterPolicy>();
  policy->balancing.table_size = 65'537;
  snapshot->clusters[0].policy = policy;
  const GenerationRef g(std::make_unique<Generation>(snapshot));
  const std::array<uint32_t, 2> failed{1, 0};
  const PickFor who{.hash = 0x9e3779b97f4a7c15};
  EXPECT_EQ(balancer.pick_endpoint(*g, 0, std::span(failed).first(1), who), 0u)
      << "however small its part is";
  EXPECT_EQ(balancer.pick_endpoint(*g, 0, failed, who), kNone);
}

}  // namespace
}  // namespace weft::proxy
