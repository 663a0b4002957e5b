// Token buckets: the rate they keep, alone and shared by threads, their keys, and what a change of
// configuration does to them.
#include "userspace-proxy/route/rate_limiter.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "tests/unit/proxy-config/world.h"
#include "userspace-proxy/config/resource_store.h"

namespace weft::proxy {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kStart = 5 * kSecond;

RateLimiter::Settings per_second(uint32_t requests, uint32_t burst) {
  return {.requests = requests, .period_ms = 1000, .burst = burst, .header = ""};
}

TEST(RateLimiterTest, ABurstPassesAndThenTheRateDoes) {
  RateLimiter limiter(per_second(10, 3));
  for (uint32_t left : {2, 1, 0}) EXPECT_EQ(limiter.take("", kStart).remaining, left);
  const RateLimiter::Answer refused = limiter.take("", kStart);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.wait_ns, kSecond / 10);
  EXPECT_EQ(refused.full_ns, 3 * kSecond / 10);
  EXPECT_FALSE(limiter.take("", kStart + kSecond / 10 - 1).allowed);
  EXPECT_TRUE(limiter.take("", kStart + kSecond / 10).allowed);
  uint32_t passed = 0;
  for (uint64_t ms = 101; ms <= 10'100; ++ms)
    passed += limiter.take("", kStart + ms * 1'000'000).allowed ? 1 : 0;
  EXPECT_EQ(passed, 100u) << "ten seconds of ten a second";
}

TEST(RateLimiterTest, AFullBucketHasItsBurstAndNoMore) {
  RateLimiter limiter(per_second(100, 5));
  uint32_t passed = 0;
  for (int i = 0; i < 50; ++i) passed += limiter.take("", kStart + 3600 * kSecond).allowed ? 1 : 0;
  EXPECT_EQ(passed, 5u);
}

TEST(RateLimiterTest, ThreadsTakeOfOneBucket) {
  RateLimiter limiter(per_second(1, 1000));
  std::atomic<uint32_t> passed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) passed += limiter.take("", kStart).allowed ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(passed, 1000u);
}

TEST(RateLimiterTest, EachKeyHasItsOwnBucket) {
  RateLimiter::Settings settings = per_second(1, 2);
  settings.by = RateLimiter::By::kHeader;
  settings.max_keys = 100;
  RateLimiter limiter(settings);
  for (const char* user : {"anna", "ben", ""}) {
    EXPECT_TRUE(limiter.take(user, kStart).allowed) << user;
    EXPECT_TRUE(limiter.take(user, kStart).allowed) << user;
    EXPECT_FALSE(limiter.take(user, kStart).allowed) << user;
  }
}

TEST(RateLimiterTest, KeysAreBoundedAndOnlyThoseThatLoseTokensCountAsEvicted) {
  RateLimiter::Settings settings = per_second(1, 1);
  settings.by = RateLimiter::By::kHeader;
  settings.max_keys = 8;
  RateLimiter limiter(settings);
  const uint64_t before = RateLimiter::evicted();
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(limiter.take(std::to_string(i), kStart).allowed);
  EXPECT_EQ(RateLimiter::evicted(), before);
  // A second later all are full again: their places cost nobody anything.
  for (int i = 100; i < 108; ++i) EXPECT_TRUE(limiter.take(std::to_string(i), kStart + kSecond).allowed);
  EXPECT_EQ(RateLimiter::evicted(), before);
  EXPECT_TRUE(limiter.take("one more", kStart + kSecond).allowed);
  EXPECT_EQ(RateLimiter::evicted(), before + 1);
}

TEST(RateLimiterTest, ThreadsThatFightForKeysKeepThemApart) {
  RateLimiter::Settings settings = per_second(1, 100);
  settings.by = RateLimiter::By::kHeader;
  settings.max_keys = 64;
  RateLimiter limiter(settings);
  std::vector<std::atomic<uint32_t>> passed(16);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 16 * 200; ++n) {
        const size_t key = static_cast<size_t>(n) % 16;
        passed[key] += limiter.take(std::to_string(key), kStart).allowed ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Keys that share a set of eight may lose their places to one another, never the other way round.
  for (const std::atomic<uint32_t>& count : passed) EXPECT_GE(count, 100u);
}

constexpr char kSet[] =
    "name:'r' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{ "
    "destinations{host:'cart.shop.svc.cluster.local' weight:%w} rate_limits{name:'one' requests:%n "
    "period_ms:1000 burst:2}}";

weft::mesh::v1::RouteSet set_of(int weight, int requests) {
  std::string text = kSet;
  text.replace(text.find("%w"), 2, std::to_string(weight));
  text.replace(text.find("%n"), 2, std::to_string(requests));
  return parse<weft::mesh::v1::RouteSet>(text);
}

RateLimiter& limit_of(const absl::StatusOr<RouteSetSpec>& set) {
  return *set->routes.at(0).action->limits.at(0);
}

TEST(RateLimiterTest, OtherWeightsLeaveTheBucketsAndOtherRatesMakeNewOnes) {
  LimiterTable table;
  auto set = validate(set_of(1, 1), table);
  ASSERT_TRUE(set.ok()) << set.status();
  while (limit_of(set).take("", kStart).allowed) {
  }
  set = validate(set_of(2, 1), table);
  EXPECT_FALSE(limit_of(set).take("", kStart).allowed);
  set = validate(set_of(2, 7), table);
  EXPECT_TRUE(limit_of(set).take("", kStart).allowed);
  set = validate(set_of(2, 1), table);
  EXPECT_TRUE(limit_of(set).take("", kStart).allowed) << "nobody kept the first";
}

TEST(RateLimiterTest, WhatARefusedVersionAsksForLeavesTheBucketsInForce) {
  ResourceStore store;
  envoy::service::discovery::v3::Resource resource;
  resource.set_name("shop/r");
  const auto apply = [&](const weft::mesh::v1::RouteSet& set) {
    resource.mutable_resource()->PackFrom(set);
    return store.apply(kRouteSetType, resource);
  };
  const auto allowed = [&] {
    return store.resources().route_sets.at("shop/r")->routes[0].action->limits[0]->take("", kStart).allowed;
  };
  ASSERT_TRUE(apply(set_of(1, 1)).ok());
  EXPECT_TRUE(allowed());
  EXPECT_TRUE(allowed());
  weft::mesh::v1::RouteSet bad = set_of(1, 5);
  bad.add_http();
  EXPECT_FALSE(apply(bad).ok());
  EXPECT_FALSE(allowed());
  ASSERT_TRUE(apply(set_of(2, 1)).ok());
  EXPECT_FALSE(allowed());
}

TEST(RateLimiterTest, TheTableForgetsWhatNobodyUses) {
  LimiterTable table;
  const auto kept = table.get("kept", per_second(1, 1));
  for (int i = 0; i < 10'000; ++i) table.get(std::to_string(i), per_second(1, 1));
  EXPECT_LE(table.size(), 128u);
  EXPECT_EQ(table.get("kept", per_second(1, 1)), kept);
}

TEST(RateLimiterTest, ATokenThatIsGivenBackIsThereForTheNext) {
  RateLimiter limiter(per_second(1, 2));
  EXPECT_TRUE(limiter.take("", kStart).allowed);
  const RateLimiter::Answer last = limiter.take("", kStart);
  EXPECT_EQ(last.remaining, 0u);
  limiter.give_back(last);
  EXPECT_TRUE(limiter.take("", kStart).allowed);
  EXPECT_FALSE(limiter.take("", kStart).allowed);
}

TEST(RateLimiterTest, RoutesThatNameOneLimitShareIt) {
  const auto set = validate(parse<weft::mesh::v1::RouteSet>(
      "name:'r' namespace:'shop' hosts:'a.b' "
      "http{destinations{host:'a.b' weight:1} rate_limits{name:'x' requests:1 period_ms:1 burst:1}} "
      "http{destinations{host:'a.b' weight:1} rate_limits{name:'x' requests:1 period_ms:1 burst:1}}"));
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->routes[0].action->limits, set->routes[1].action->limits);
}

TEST(RateLimiterTest, ARouteHasNoMoreLimitsThanCanBeAsked) {
  std::string set = "name:'r' namespace:'s' hosts:'a.b' http{destinations{host:'a.b' weight:1}";
  for (int i = 0; i < 32; ++i)
    str_append(&set, " rate_limits{name:'", i, "' requests:1 period_ms:1000 burst:1}");
  EXPECT_TRUE(validate(parse<weft::mesh::v1::RouteSet>(str_cat(set, "}"))).ok());
  str_append(&set, " rate_limits{name:'more' requests:1 period_ms:1000 burst:1}");
  EXPECT_FALSE(validate(parse<weft::mesh::v1::RouteSet>(str_cat(set, "}"))).ok());
}

TEST(RateLimiterTest, LimitsThatLimitNothingAreRefused) {
  for (const char* wrong : {"requests:0 period_ms:1 burst:1", "requests:1 period_ms:0 burst:1",
                            "requests:1 period_ms:1 burst:0", "requests:9000 period_ms:1 burst:1",
                            "requests:1 period_ms:1 burst:2000000", "requests:1 period_ms:4000000 burst:1",
                            "requests:1 period_ms:1 burst:1 by_source:true by_header:'x' max_keys:1",
                            "requests:1 period_ms:1 burst:1 by_source:true"}) {
    EXPECT_FALSE(validate(parse<weft::mesh::v1::RouteSet>(
                              str_cat("name:'r' namespace:'s' hosts:'a.b' http{destinations{host:'a.b' "
                                      "weight:1} rate_limits{name:'x' ",
                                      wrong, "}}")))
                     .ok())
        << wrong;
  }
}

}  // namespace
}  // namespace weft::proxy
