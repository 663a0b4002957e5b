// Which endpoints a client gets by place, label and age, and in which shares.
#include <gtest/gtest.h>

#include "base/clock.h"
#include "userspace-proxy/upstream/balancer.h"

namespace weft::proxy {
namespace {

constexpr int kPicks = 100'000;
constexpr uint64_t kHash = 0x9e3779b97f4a7c15;

// A client in r1/z1/s1 with labels, and endpoints at places, each with its priority_values.
struct Place {
  Locality at;
  std::vector<std::string> values;
};

class EndpointSetTest : public ::testing::Test {
 protected:
  EndpointSetTest() {
    policy_.outlier = OutlierSettings{.consecutive_5xx = 1, .max_ejection_percent = 100};
    snapshot_->localities.push_back({"r1", "z1", "s1"});
    snapshot_->sources.push_back(
        Source{.uid = "client", .labels = {{"team", "blue"}}, .locality = 0, .node = "n1"});
  }
  void endpoints(const std::vector<Place>& places) {
    Cluster cluster{.name = "c", .load_balancer = LoadBalancer::kRandom};
    for (const Place& place : places) {
      Endpoint endpoint{.address = {*IpAddress::parse("10.0.0.1"), uint16_t(cluster.endpoints.size() + 1)}};
      if (!place.at.empty()) {
        endpoint.locality = static_cast<uint32_t>(snapshot_->localities.size());
        snapshot_->localities.push_back(place.at);
      }
      endpoint.priority_values = place.values;
      cluster.endpoints.push_back(std::move(endpoint));
    }
    snapshot_->clusters = {std::move(cluster)};
  }
  void use() {
    snapshot_->clusters[0].policy = std::make_shared<const ClusterPolicy>(policy_);
    generation_ = GenerationRef(std::make_unique<Generation>(std::make_shared<const Snapshot>(*snapshot_)));
  }
  // Per cent of the picks that each endpoint gets.
  std::vector<int> shares(uint32_t source = 0) {
    if (!generation_) use();
    std::vector<int> seen(snapshot_->clusters[0].endpoints.size());
    for (int i = 0; i < kPicks; ++i) {
      const uint32_t picked =
          balancer_.pick_endpoint(*generation_, 0, {}, {.source = source, .now = clock_.now()});
      if (picked != kNone) ++seen[picked];
    }
    for (int& count : seen) count = (count + kPicks / 200) / (kPicks / 100);
    return seen;
  }
  void eject(uint32_t endpoint) {
    if (!generation_) use();
    balancer_.pick_endpoint(*generation_, 0, {}, {.source = 0, .now = clock_.now()});
    balancer_.report(*generation_, 0, endpoint, TryResult{.status = 500}, clock_.now());
  }

  std::shared_ptr<Snapshot> snapshot_ = std::make_shared<Snapshot>();
  ClusterPolicy policy_;
  GenerationRef generation_;
  Balancer balancer_{1};
  FakeClock clock_;
};

using Shares = std::vector<int>;

TEST_F(EndpointSetTest, TheNearestLevelTakesEverythingWhileItIsWell) {
  endpoints({{{"r1", "z1", "s1"}, {}},
             {{"r1", "z1", "s2"}, {}},
             {{"r1", "z2", "s1"}, {}},
             {{"r2", "z1", "s1"}, {}}});
  EXPECT_EQ(shares(), (Shares{100, 0, 0, 0}));
  eject(0);
  EXPECT_EQ(shares(), (Shares{0, 100, 0, 0}));
  eject(1);
  EXPECT_EQ(shares(), (Shares{0, 0, 100, 0}));
  eject(2);
  EXPECT_EQ(shares(), (Shares{0, 0, 0, 100}));
  eject(3);
  EXPECT_EQ(shares(), (Shares{0, 0, 0, 0}));
}

TEST_F(EndpointSetTest, ALevelThatIsHalfWellKeepsSeventyPerCent) {
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r1", "z1", "s1"}, {}}, {{"r2", "z1", "s1"}, {}}});
  eject(0);
  EXPECT_EQ(shares(), (Shares{0, 70, 30}));
}

TEST_F(EndpointSetTest, TheLastOfVeryManyStillGetsSomething) {
  std::vector<Place> places(150, Place{{"r1", "z1", "s1"}, {}});
  endpoints(places);
  for (uint32_t i = 1; i < 150; ++i) eject(i);
  EXPECT_EQ(shares()[0], 100);
}

TEST_F(EndpointSetTest, AWarmUpOutlivesASwapWhenNothingIsUnderWay) {
  policy_.outlier.reset();
  policy_.balancing.warmup = Warmup{.duration_ms = 10'000, .minimum = 0.1, .aggression = 1};
  endpoints({{}});
  snapshot_->cluster_by_name["c"] = 0;
  snapshot_->clusters[0].load_balancer = LoadBalancer::kRoundRobin;
  shares();
  clock_.advance(60 * kNsPerSecond);
  generation_ = GenerationRef();
  snapshot_->clusters[0].endpoints.push_back(Endpoint{.address = *SocketAddress::parse("10.0.0.9:80")});
  use();
  balancer_.prune(generation_->snapshot());
  EXPECT_NEAR(shares()[1], 9, 1) << "the other is as old as it was";
}

TEST_F(EndpointSetTest, WithoutOutlierDetectionNearnessPlaysNoPart) {
  policy_.outlier.reset();
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r2", "z1", "s1"}, {}}});
  EXPECT_NEAR(shares()[0], 50, 1);
}

TEST_F(EndpointSetTest, SwitchedOffOrForAClientWithoutAPlaceNearnessPlaysNoPart) {
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r2", "z1", "s1"}, {}}});
  EXPECT_NEAR(shares(kNone)[0], 50, 1);
  policy_.balancing.locality.disabled = true;
  use();
  EXPECT_NEAR(shares()[0], 50, 1);
}

TEST_F(EndpointSetTest, FailoverNamesTheRegionThatComesNext) {
  policy_.balancing.locality.failover = {{"r1", "r3"}};
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r2", "z1", "s1"}, {}}, {{"r3", "z1", "s1"}, {}}});
  eject(0);
  EXPECT_EQ(shares(), (Shares{0, 0, 100}));
  eject(2);
  EXPECT_EQ(shares(), (Shares{0, 100, 0}));
}

TEST_F(EndpointSetTest, DistributeGivesEachPlaceItsShareAndOthersNothing) {
  policy_.outlier.reset();
  policy_.balancing.locality.distribute = {{.from = "r1/z1/*", .to = {{"r1/z1/*", 80}, {"r1/z2/*", 20}}},
                                           {.from = "*", .to = {{"r9", 100}}}};
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r1", "z2", "s9"}, {}}, {{"r2", "z1", "s1"}, {}}});
  const Shares seen = shares();
  EXPECT_NEAR(seen[0], 80, 1);
  EXPECT_NEAR(seen[1], 20, 1);
  EXPECT_EQ(seen[2], 0);
}

TEST_F(EndpointSetTest, DistributeSendsNothingToAPlaceThatIsDown) {
  policy_.balancing.locality.distribute = {{.from = "r1/*", .to = {{"r1/*", 50}, {"r2/*", 50}}}};
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r2", "z1", "s1"}, {}}});
  eject(0);
  EXPECT_EQ(shares(), (Shares{0, 100}));
}

TEST_F(EndpointSetTest, FailoverPriorityCountsTheLabelsThatHoldInARow) {
  policy_.balancing.locality.priority_labels = {"team", "kubernetes.io/hostname", "version=v2"};
  endpoints({{{}, {"red", "n1", "v2"}}, {{}, {"blue", "n2", "v2"}}, {{}, {"blue", "n1", "v1"}}});
  EXPECT_EQ(shares(), (Shares{0, 0, 100}));
  eject(2);
  EXPECT_EQ(shares(), (Shares{0, 100, 0}));
  eject(1);
  EXPECT_EQ(shares(), (Shares{100, 0, 0}));
}

TEST_F(EndpointSetTest, ARequestKeepsItsEndpointWhereAClientHasSeveralGroups) {
  policy_.balancing.locality.distribute = {{.from = "*", .to = {{"r1", 50}, {"r2", 50}}}};
  policy_.balancing.table_size = 1024;
  endpoints({{{"r1", "z1", "s1"}, {}}, {{"r2", "z1", "s1"}, {}}, {{"r2", "z2", "s1"}, {}}});
  snapshot_->clusters[0].load_balancer = LoadBalancer::kRingHash;
  use();
  for (uint64_t key = 1; key < 100; ++key) {
    const PickFor who{.hash = key * kHash, .source = 0, .now = 1};
    EXPECT_EQ(balancer_.pick_endpoint(*generation_, 0, {}, who),
              balancer_.pick_endpoint(*generation_, 0, {}, who));
  }
}

TEST_F(EndpointSetTest, ANewEndpointWarmsUp) {
  policy_.outlier.reset();
  policy_.balancing.warmup = Warmup{.duration_ms = 10'000, .minimum = 0.1, .aggression = 1};
  endpoints({{}});
  snapshot_->clusters[0].load_balancer = LoadBalancer::kRoundRobin;
  EXPECT_EQ(shares(), (Shares{100}));
  clock_.advance(60 * kNsPerSecond);
  snapshot_->clusters[0].endpoints.push_back(Endpoint{.address = *SocketAddress::parse("10.0.0.9:80")});
  use();
  EXPECT_NEAR(shares()[1], 9, 1) << "a tenth of the other's weight";
  clock_.advance(5 * kNsPerSecond);
  EXPECT_NEAR(shares()[1], 33, 1) << "half of it";
  clock_.advance(5 * kNsPerSecond);
  EXPECT_EQ(shares()[1], 50);
}

TEST_F(EndpointSetTest, AggressionMakesTheBeginOfAWarmUpSteeper) {
  policy_.outlier.reset();
  policy_.balancing.warmup = Warmup{.duration_ms = 10'000, .minimum = 0.1, .aggression = 2};
  endpoints({{}});
  snapshot_->clusters[0].load_balancer = LoadBalancer::kLeastRequest;
  shares();
  clock_.advance(60 * kNsPerSecond);
  snapshot_->clusters[0].endpoints.push_back(Endpoint{.address = *SocketAddress::parse("10.0.0.9:80")});
  use();
  shares();
  clock_.advance(2'500 * kNsPerMs);
  // A quarter of the time: half of the weight. A draw of two endpoints without load stays with the first.
  EXPECT_NEAR(shares()[1], 33, 1);
}

}  // namespace
}  // namespace weft::proxy
