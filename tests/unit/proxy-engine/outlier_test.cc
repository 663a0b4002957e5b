// Outlier detection on a fake clock: what counts, how long an endpoint rests, how many may, and who gets the
// requests meanwhile.
#include <gtest/gtest.h>

#include <thread>

#include "base/clock.h"
#include "userspace-proxy/upstream/balancer.h"

namespace weft::proxy {
namespace {

using Kind = TryResult::Kind;

constexpr uint64_t kSecondMs = 1000;

TryResult status(uint16_t code) { return TryResult{.kind = Kind::kStatus, .status = code}; }
TryResult failure(Kind kind) { return TryResult{.kind = kind, .status = 0}; }

// One endpoint of two, both of which may rest.
struct Watched {
  OutlierDetector detector;
  std::shared_ptr<EndpointHealth> health = detector.health(*SocketAddress::parse("10.0.0.1:80"));
  OutlierSettings settings{.max_ejection_percent = 100};
  FakeClock clock;

  // Milliseconds for which the last of so many results ejected it.
  uint64_t report(TryResult result, int times = 1) {
    uint64_t rest_ms = 0;
    for (int i = 0; i < times; ++i) rest_ms = detector.report(*health, settings, result, 2, clock.now());
    return rest_ms;
  }
  void pass(uint64_t ms) { clock.advance(ms * kNsPerMs); }
  bool ejected() {
    detector.version(clock.now());
    return health->ejected;
  }
};

TEST(OutlierTest, FiveServerErrorsInARowEject) {
  Watched w;
  EXPECT_EQ(w.report(status(500), 4), 0u);
  EXPECT_EQ(w.report(status(500)), 30 * kSecondMs);
  EXPECT_TRUE(w.ejected());
}

TEST(OutlierTest, AGoodAnswerBeginsTheCountAnew) {
  Watched w;
  w.report(status(503), 4);
  w.report(status(404));
  EXPECT_EQ(w.report(status(503), 4), 0u);
  EXPECT_FALSE(w.ejected());
}

TEST(OutlierTest, GatewayErrorsCountByThemselvesAndAnInternalErrorEndsTheirRow) {
  Watched w;
  w.settings.consecutive_5xx = 0;
  w.settings.consecutive_gateway = 3;
  w.report(status(502), 2);
  w.report(status(500));
  EXPECT_EQ(w.report(status(503), 2), 0u);
  EXPECT_NE(w.report(status(504)), 0u);
}

TEST(OutlierTest, ServerErrorsDoNotEjectWhereTheirCountIsZero) {
  Watched w;
  w.settings.consecutive_5xx = 0;
  EXPECT_EQ(w.report(status(500), 100), 0u);
}

TEST(OutlierTest, FailuresWithoutAResponseCountAsServerErrors) {
  for (const Kind kind : {Kind::kConnectFailed, Kind::kTimeout, Kind::kReset}) {
    Watched w;
    EXPECT_NE(w.report(failure(kind), 5), 0u);
  }
  Watched gateway;
  gateway.settings.consecutive_5xx = 0;
  gateway.settings.consecutive_gateway = 2;
  EXPECT_NE(gateway.report(failure(Kind::kConnectFailed), 2), 0u);
}

TEST(OutlierTest, SplitLocalOriginFailuresHaveTheirOwnCount) {
  Watched w;
  w.settings.split_local_origin = true;
  w.settings.consecutive_local_origin = 3;
  w.report(status(500), 4);
  w.report(failure(Kind::kConnectFailed), 2);
  w.report(failure(Kind::kConnected));
  EXPECT_EQ(w.report(failure(Kind::kReset), 2), 0u);
  EXPECT_NE(w.report(failure(Kind::kTimeout)), 0u);
}

TEST(OutlierTest, OnlyTheListedStatusesCountWhereThereAreSome) {
  Watched w;
  w.settings.error_codes = {429};
  EXPECT_EQ(w.report(status(500), 10), 0u);
  EXPECT_NE(w.report(status(429), 5), 0u);
}

TEST(OutlierTest, ReturnsWhenItsTimeIsOverAndNotBefore) {
  Watched w;
  w.settings.base_ejection_ms = 500;
  EXPECT_EQ(w.report(status(500), 5), 500u);
  w.pass(499);
  EXPECT_TRUE(w.ejected());
  w.pass(1);
  EXPECT_FALSE(w.ejected());
  EXPECT_EQ(w.report(status(500), 4), 0u) << "the row begins anew";
}

TEST(OutlierTest, EachEjectionIsLongerAndEachGoodIntervalTakesOneBack) {
  Watched w;
  w.settings.base_ejection_ms = kSecondMs;
  w.settings.interval_ms = 10 * kSecondMs;
  for (uint64_t times = 1; times <= 3; ++times) {
    EXPECT_EQ(w.report(status(500), 5), times * kSecondMs);
    w.pass(times * kSecondMs);
    EXPECT_FALSE(w.ejected());
  }
  w.pass(20 * kSecondMs);
  EXPECT_EQ(w.report(status(500), 5), 2 * kSecondMs);
  w.pass(2 * kSecondMs);
  EXPECT_FALSE(w.ejected());
  w.pass(1000 * kSecondMs);
  EXPECT_EQ(w.report(status(500), 5), kSecondMs);
}

TEST(OutlierTest, NoEjectionIsLongerThanFiveMinutesUnlessTheFirstIs) {
  Watched w;
  w.settings.base_ejection_ms = 200 * kSecondMs;
  EXPECT_EQ(w.report(status(500), 5), 200 * kSecondMs);
  w.pass(200 * kSecondMs);
  EXPECT_FALSE(w.ejected());
  EXPECT_EQ(w.report(status(500), 5), 300 * kSecondMs);
  Watched longer;
  longer.settings.base_ejection_ms = 1000 * kSecondMs;
  EXPECT_EQ(longer.report(status(500), 5), 1000 * kSecondMs);
}

TEST(OutlierTest, TheDefaultOfTenPerCentEjectsNobodyOfFewerThanTen) {
  Watched w;
  w.settings.max_ejection_percent = 10;
  const auto fail_of = [&](uint32_t hosts) {
    uint64_t rest_ms = 0;
    for (int i = 0; i < 5; ++i)
      rest_ms = w.detector.report(*w.health, w.settings, status(500), hosts, w.clock.now());
    return rest_ms;
  };
  EXPECT_EQ(fail_of(9), 0u);
  EXPECT_EQ(w.detector.withheld(), 1u);
  EXPECT_NE(fail_of(10), 0u);
}

TEST(OutlierTest, WorkersTogetherCountOneRow) {
  Watched w;
  w.settings.consecutive_5xx = 4000;
  std::atomic<int> ejections{0};
  std::vector<std::thread> workers;
  for (int t = 0; t < 4; ++t) {
    workers.emplace_back([&] {
      for (int i = 0; i < 1000; ++i)
        ejections += w.detector.report(*w.health, w.settings, status(500), 2, w.clock.now()) > 0 ? 1 : 0;
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(ejections, 1);
}

// A cluster of so many endpoints whose failures count.
GenerationRef watched_cluster(size_t count, const OutlierSettings& settings,
                              LoadBalancer balancer = LoadBalancer::kRoundRobin) {
  auto snapshot = std::make_shared<Snapshot>();
  auto policy = std::make_shared<ClusterPolicy>();
  policy->outlier = settings;
  policy->balancing.table_size = 1024;
  Cluster cluster{.name = "c", .load_balancer = balancer};
  cluster.policy = policy;
  for (uint16_t i = 0; i < count; ++i)
    cluster.endpoints.push_back(Endpoint{.address = {*IpAddress::parse("10.0.0.1"), uint16_t(i + 1)}});
  snapshot->cluster_by_name["c"] = 0;
  snapshot->clusters.push_back(std::move(cluster));
  return GenerationRef(std::make_unique<Generation>(std::move(snapshot)));
}

std::vector<int> picks(Balancer& balancer, const GenerationRef& g, const PickFor& who, int count) {
  std::vector<int> seen(g->snapshot().clusters[0].endpoints.size());
  for (int i = 0; i < count; ++i) {
    const uint32_t picked = balancer.pick_endpoint(*g, 0, {}, who);
    if (picked != kNone) ++seen[picked];
  }
  return seen;
}

void fail(Balancer& balancer, const GenerationRef& g, uint32_t endpoint, MonotonicNs now) {
  for (int i = 0; i < 5; ++i) balancer.report(*g, 0, endpoint, status(500), now);
}

TEST(OutlierTest, AnEjectedEndpointGetsNothingUntilItReturns) {
  Balancer balancer(1);
  const GenerationRef g =
      watched_cluster(3, OutlierSettings{.base_ejection_ms = 100, .max_ejection_percent = 50});
  FakeClock clock;
  EXPECT_EQ(picks(balancer, g, {.now = clock.now()}, 9), (std::vector<int>{3, 3, 3}));
  fail(balancer, g, 1, clock.now());
  EXPECT_EQ(picks(balancer, g, {.now = clock.now()}, 10), (std::vector<int>{5, 0, 5}));
  fail(balancer, g, 0, clock.now());
  EXPECT_EQ(picks(balancer, g, {.now = clock.now()}, 10), (std::vector<int>{5, 0, 5}))
      << "two of three are too many";
  clock.advance(100 * kNsPerMs);
  EXPECT_EQ(picks(balancer, g, {.now = clock.now()}, 9)[1], 3);
}

TEST(OutlierTest, BalancersOfOneProcessKnowTheSame) {
  const auto shared = std::make_shared<SharedClusters>();
  Balancer one(1, shared), other(2, shared);
  const OutlierSettings settings{.max_ejection_percent = 100};
  const GenerationRef a = watched_cluster(2, settings), b = watched_cluster(2, settings);
  EXPECT_EQ(picks(other, b, {.now = 1}, 4), (std::vector<int>{2, 2}));
  picks(one, a, {.now = 1}, 1);
  fail(one, a, 0, 1);
  EXPECT_EQ(picks(other, b, {.now = 2}, 4), (std::vector<int>{0, 4}));
  EXPECT_EQ(shared->sums().ejected, 1u);
  EXPECT_EQ(shared->sums().ejections, 1u);
}

TEST(OutlierTest, AnEjectionOutlivesASwapWhenNothingIsUnderWay) {
  Balancer balancer(1);
  const OutlierSettings settings{.base_ejection_ms = 100, .max_ejection_percent = 100};
  GenerationRef g = watched_cluster(2, settings);
  picks(balancer, g, {.now = 1}, 1);
  fail(balancer, g, 0, 1);
  g = watched_cluster(2, settings);
  balancer.prune(g->snapshot());
  EXPECT_EQ(picks(balancer, g, {.now = 2}, 4), (std::vector<int>{0, 4}));
  EXPECT_EQ(picks(balancer, g, {.now = 1 + 100 * kNsPerMs}, 4), (std::vector<int>{2, 2}));
}

TEST(OutlierTest, ARequestOfAnOlderSnapshotDoesNotWatchForTheNewerOne) {
  const auto shared = std::make_shared<SharedClusters>();
  Balancer balancer(1, shared);
  const GenerationRef old = watched_cluster(2, OutlierSettings{.max_ejection_percent = 100});
  auto snapshot = std::make_shared<Snapshot>(old->snapshot());
  snapshot->generation = 1;
  auto policy = std::make_shared<ClusterPolicy>();
  snapshot->clusters[0].policy = policy;
  const GenerationRef now(std::make_unique<Generation>(snapshot));
  picks(balancer, old, {.now = 1}, 1);
  fail(balancer, old, 0, 1);
  balancer.prune(now->snapshot());
  fail(balancer, old, 1, 2);
  EXPECT_EQ(picks(balancer, now, {.now = 3}, 4), (std::vector<int>{2, 2}));
  EXPECT_EQ(shared->sums().ejections, 1u);
}

TEST(OutlierTest, WithoutAPanicThresholdNobodyLeftIsNobody) {
  Balancer balancer(1);
  const GenerationRef g = watched_cluster(1, OutlierSettings{.max_ejection_percent = 100});
  picks(balancer, g, {.now = 1}, 1);
  fail(balancer, g, 0, 1);
  EXPECT_EQ(balancer.pick_endpoint(*g, 0, {}, {.now = 2}), kNone);
}

TEST(OutlierTest, BelowThePanicThresholdAllAreUsed) {
  Balancer balancer(1);
  const GenerationRef g =
      watched_cluster(4, OutlierSettings{.max_ejection_percent = 100, .min_health_percent = 50});
  picks(balancer, g, {.now = 1}, 1);
  for (const uint32_t endpoint : {0u, 1u}) fail(balancer, g, endpoint, 1);
  EXPECT_EQ(picks(balancer, g, {.now = 2}, 8)[0], 0);
  fail(balancer, g, 2, 2);
  EXPECT_EQ(picks(balancer, g, {.now = 3}, 8), (std::vector<int>{2, 2, 2, 2}));
}

TEST(OutlierTest, AnEjectionMovesOnlyTheKeysOfTheEndpoint) {
  Balancer balancer(1);
  const GenerationRef g =
      watched_cluster(4, OutlierSettings{.max_ejection_percent = 100}, LoadBalancer::kRingHash);
  std::vector<uint32_t> before;
  for (uint64_t key = 0; key < 1000; ++key)
    before.push_back(balancer.pick_endpoint(*g, 0, {}, {.hash = key * 0x9e3779b97f4a7c15, .now = 1}));
  fail(balancer, g, 2, 1);
  for (uint64_t key = 0; key < 1000; ++key) {
    const uint32_t after = balancer.pick_endpoint(*g, 0, {}, {.hash = key * 0x9e3779b97f4a7c15, .now = 2});
    EXPECT_NE(after, 2u);
    if (before[key] != 2) EXPECT_EQ(after, before[key]);
  }
}

}  // namespace
}  // namespace weft::proxy
