// What `weft canary` does to a manifest and makes of counts: digits at their places, files of others left
// alone, bounds that decide.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "tests/unit/base/scratch_folder.h"
#include "tools/weft/canary_judge.h"
#include "tools/weft/canary_run.h"
#include "tools/weft/manifest_file.h"
#include "tools/weft/weight_edit.h"

namespace weft::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kManifest[] = R"(# ümlaut before everything
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart, "cart.example.com"]
  http:
  - name: admin
    route: [{destination: {host: cart, subset: v1}}]
  - name: primary   # the one
    route:
    - destination: {host: cart, subset: v1}
      weight: 95  # known
    - {weight: 5, destination: {host: cart, subset: v2}}
---
kind: VirtualService
metadata: {name: other}
spec:
  hosts: [other]
  http:
  - route:
    - {destination: {host: other-a.shop.svc.cluster.local}, weight: 1}
    - {destination: {host: other-b}, weight: 1}
    - {destination: {host: other-c}, weight: 0}
)";

TEST(WeightEditTest, OnlyTheDigitsChange) {
  const auto place = find_route(kManifest, {.route = "", .host = "", .to = "v2"});
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_EQ(place->ns, "shop");
  EXPECT_EQ(place->route, "primary");
  EXPECT_EQ(place->line, 10u);
  EXPECT_EQ(place->canary, 1u);
  std::string expected = kManifest;
  expected.replace(expected.find("weight: 95"), 10, "weight: 0");
  expected.replace(expected.find("weight: 5,"), 10, "weight: 100,");
  EXPECT_EQ(with_weights(kManifest, *place, shifted_weights(*place, 100)), expected);
}

TEST(WeightEditTest, EditsFollowOneAnother) {
  std::string text = kManifest;
  for (const uint32_t percent : {5, 25, 100, 0, 7}) {
    const auto place = find_route(text, {.route = "", .host = "", .to = "v2"});
    ASSERT_TRUE(place.ok()) << place.status();
    text = with_weights(text, *place, shifted_weights(*place, percent));
    EXPECT_EQ(find_route(text, {.route = "", .host = "", .to = "v2"})->destinations[1].weight, percent);
  }
}

constexpr char kHttpRoute[] = R"(apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
  hostnames: [cart.example.com]
  rules:
  - matches: [{path: {value: /admin}}]
    backendRefs: [{name: cart-v1, port: 80}]
  - name: primary
    backendRefs:
    - {name: cart-v1, port: 80, weight: 95}
    - name: cart-v2   # the new one
      namespace: store
      port: 80
      weight: 5
)";

TEST(WeightEditTest, BackendsOfAnHttpRouteAreShiftedToo) {
  for (const char* to : {"cart-v2", "cart-v2.store"}) {
    const auto place = find_route(kHttpRoute, {.route = "", .host = "cart", .to = to});
    ASSERT_TRUE(place.ok()) << place.status();
    EXPECT_EQ(place->kind, "HTTPRoute");
    EXPECT_EQ(place->ns, "shop");
    EXPECT_EQ(place->route, "primary");
    EXPECT_EQ(place->line, 10u);
    EXPECT_EQ(service_of(place->destinations[1].host, place->ns), "store/cart-v2");
    std::string expected = kHttpRoute;
    expected.replace(expected.find("weight: 95"), 10, "weight: 75");
    expected.replace(expected.find("weight: 5\n"), 9, "weight: 25");
    EXPECT_EQ(with_weights(kHttpRoute, *place, shifted_weights(*place, 25)), expected);
    EXPECT_EQ(weights_text(*place, shifted_weights(*place, 25)), "cart-v1 75, cart-v2 25");
  }
  EXPECT_TRUE(find_route(kHttpRoute, {.route = "", .host = "cart.example.com", .to = "cart-v2"}).ok());
  std::string grpc = kHttpRoute;
  grpc.replace(grpc.find("HTTPRoute"), 9, "GRPCRoute");
  EXPECT_EQ(find_route(grpc, {.route = "", .host = "", .to = "cart-v2"})->kind, "GRPCRoute");
}

TEST(WeightEditTest, RoutesWithoutDestinationsStandInNobodysWay) {
  const std::string http = std::string(kHttpRoute) + "  - filters: [{type: RequestRedirect}]\n";
  EXPECT_TRUE(find_route(http, {.route = "", .host = "", .to = "cart-v2"}).ok());
  const std::string istio = std::string(kManifest) +
                            "  - redirect: {uri: /a}\n---\nkind: VirtualService\nmetadata: {name: tls}\n"
                            "spec: {hosts: [tls]}\n---\nkind: VirtualService\nmetadata: {name: none}\n";
  EXPECT_TRUE(find_route(istio, {.route = "", .host = "", .to = "v2"}).ok());
}

TEST(WeightEditTest, ABackendWithoutAWeightAndAnotherHostAreRefused) {
  std::string without = kHttpRoute;
  without.replace(without.find(", weight: 95"), 12, "");
  EXPECT_THAT(std::string(find_route(without, {.route = "", .host = "", .to = "cart-v2"}).status().message()),
              HasSubstr("line 12: destination cart-v1 has no weight"));
  EXPECT_THAT(
      std::string(find_route(kHttpRoute, {.route = "", .host = "other", .to = "cart-v2"}).status().message()),
      HasSubstr("there are: rules[0], primary"));
}

TEST(WeightEditTest, ANameOfTwoDestinationsIsRefusedAndBothAreNamed) {
  constexpr char kRoute[] = R"(kind: HTTPRoute
metadata: {name: cart}
spec:
  parentRefs: [{kind: Service, name: cart}]
  rules:
  - backendRefs:
    - {name: cart-v1, port: 80, weight: 90}
    - {name: cart-v2, port: 80, weight: 5}
    - {name: cart-v2, port: 8080, weight: 5}
)";
  const auto place = find_route(kRoute, {.route = "", .host = "", .to = "cart-v2"});
  ASSERT_FALSE(place.ok()) << "the weight of " << place->destinations[place->canary].line;
  EXPECT_THAT(
      std::string(place.status().message()),
      HasSubstr(
          "rules[0]: cart-v2 is 2 of its destinations, cart-v2:80 on line 8 and cart-v2:8080 on line 9"));
  EXPECT_TRUE(find_route(kRoute, {.route = "", .host = "", .to = "cart-v1"}).ok());
}

TEST(WeightEditTest, OthersShareTheRestAsBefore) {
  auto place = find_route(kManifest, {.route = "", .host = "other", .to = "other-c"});
  ASSERT_TRUE(place.ok()) << place.status();
  EXPECT_THAT(shifted_weights(*place, 25), ElementsAre(37, 38, 25));
  EXPECT_THAT(shifted_weights(*place, 0), ElementsAre(50, 50, 0));
  place->destinations[0].weight = 3;
  EXPECT_THAT(shifted_weights(*place, 20), ElementsAre(60, 20, 20));
  for (WeightPlace& destination : place->destinations) destination.weight = 0;
  EXPECT_THAT(shifted_weights(*place, 0), ElementsAre(50, 50, 0)) << "when nothing says how they shared";
}

TEST(WeightEditTest, WhatCannotBeEditedSaysWhy) {
  const auto problem = [](const std::string& text, const RouteQuery& query) {
    return std::string(find_route(text, query).status().message());
  };
  EXPECT_THAT(problem(kManifest, {.route = "", .host = "", .to = "v3"}),
              HasSubstr("there are: admin, primary, http[0]"));
  EXPECT_THAT(problem(kManifest, {.route = "admin", .host = "", .to = "v1"}), HasSubstr("no route admin"));
  EXPECT_THAT(problem("a: [", {.route = "", .host = "", .to = "v1"}), HasSubstr("no YAML"));
  std::string without = kManifest;
  without.replace(without.find("weight: 5, "), 11, "");
  EXPECT_THAT(problem(without, {.route = "", .host = "", .to = "v2"}), HasSubstr("has no weight"));
  std::string twice = kManifest;
  twice +=
      "  - name: again\n    route:\n    - {destination: {host: cart, subset: v2}, weight: 1}\n"
      "    - {destination: {host: cart, subset: v1}, weight: 1}\n";
  EXPECT_THAT(problem(twice, {.route = "", .host = "", .to = "v2"}), HasSubstr("name one with --route"));
  EXPECT_TRUE(find_route(twice, {.route = "again", .host = "", .to = "v2"}).ok());
  std::string alias = kManifest;
  alias.replace(alias.find("weight: 95"), 10, "weight: &w 95");
  alias.replace(alias.find("weight: 5,"), 10, "weight: *w,");
  EXPECT_FALSE(find_route(alias, {.route = "", .host = "", .to = "v2"}).ok());
}

TEST(WeightEditTest, AServiceIsFoundByItsHost) {
  EXPECT_EQ(service_of("cart", "shop"), "shop/cart");
  EXPECT_EQ(service_of("cart.store.svc.cluster.local", "shop"), "store/cart");
}

class ManifestFileTest : public ::testing::Test {
 protected:
  void SetUp() override { put("one\n"); }
  void put(const std::string& text) { std::ofstream(path_) << text; }
  std::string get() {
    std::stringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  const test::ScratchFolder folder_;
  const std::string path_ = folder_.file("m.yaml");
};

TEST_F(ManifestFileTest, IsReplacedWholeWithItsMode) {
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  auto file = ManifestFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->replace("two\n"), absl::OkStatus());
  EXPECT_EQ(get(), "two\n");
  EXPECT_EQ(file->replace("three\n"), absl::OkStatus());
  struct stat status{};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777u, 0640u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1) << "no draft is left";
}

TEST_F(ManifestFileTest, WhatSomebodyElseWroteStays) {
  auto file = ManifestFile::open(path_);
  put("theirs\n");
  EXPECT_EQ(file->replace("two\n").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(get(), "theirs\n");
}

TEST_F(ManifestFileTest, ALinkStaysALink) {
  const std::string link = folder_.file("link.yaml");
  ASSERT_EQ(::symlink(path_.c_str(), link.c_str()), 0);
  auto file = ManifestFile::open(link);
  EXPECT_EQ(file->replace("two\n"), absl::OkStatus());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(get(), "two\n");
}

TEST_F(ManifestFileTest, ALinkAtTheNameOfADraftLeadsNowhere) {
  const std::string victim = folder_.file("victim");
  std::ofstream(victim) << "theirs\n";
  ASSERT_EQ(::symlink(victim.c_str(), folder_.file(".m.yaml.weft-canary").c_str()), 0);
  auto file = ManifestFile::open(path_);
  EXPECT_EQ(file->replace("two\n"), absl::OkStatus());
  EXPECT_EQ(get(), "two\n");
  EXPECT_FALSE(std::filesystem::is_symlink(path_));
  std::stringstream text;
  text << std::ifstream(victim).rdbuf();
  EXPECT_EQ(text.str(), "theirs\n");
}

TEST_F(ManifestFileTest, AMissingFileNamesItself) {
  EXPECT_THAT(std::string(ManifestFile::open(folder_.file("no.yaml")).status().message()),
              HasSubstr("no.yaml"));
}

Tally tally(uint64_t requests, uint64_t errors, uint64_t fast, uint64_t slow) {
  Tally out{.requests = requests, .errors = errors};
  out.buckets[4] = fast;   // to 1 ms
  out.buckets[11] = slow;  // 100 to 250 ms
  return out;
}

TEST(CanaryJudgeTest, ErrorsAboveTheRateBreakIt) {
  const Bounds bounds{.max_error_rate = 0.01, .max_p99_us = 0, .min_requests = 100};
  EXPECT_EQ(broken_bound(tally(1000, 10, 1000, 0), {}, bounds), "");
  EXPECT_THAT(broken_bound(tally(1000, 11, 1000, 0), {}, bounds),
              HasSubstr("11 of 1000 requests failed (1.1%)"));
  EXPECT_EQ(broken_bound(tally(2, 1, 2, 0), {}, bounds), "") << "one of a hundred may";
  EXPECT_NE(broken_bound(tally(2, 2, 2, 0), {}, bounds), "") << "the other 98 cannot make up for two";
  EXPECT_NE(broken_bound(tally(1, 1, 1, 0), {}, {.max_error_rate = 0, .max_p99_us = 0, .min_requests = 100}),
            "");
}

TEST(CanaryJudgeTest, RequestsThatReachNobodyBreakItToo) {
  const Bounds bounds{.max_error_rate = 0.01, .max_p99_us = 0, .min_requests = 100};
  EXPECT_EQ(broken_bound(tally(1000, 0, 1000, 0), tally(10, 10, 0, 0), bounds), "");
  EXPECT_EQ(broken_bound(tally(1000, 0, 1000, 0), tally(11, 11, 0, 0), bounds),
            "11 requests reached no endpoint");
  EXPECT_EQ(broken_bound({}, tally(2, 2, 0, 0), bounds), "2 requests reached no endpoint");
  EXPECT_EQ(broken_bound({}, tally(2, 0, 0, 0), bounds), "") << "answered by a route itself";
}

TEST(CanaryJudgeTest, TheNinetyNinthPercentileBreaksItFromTheLeastNumberOn) {
  const Bounds bounds{.max_error_rate = 0.01, .max_p99_us = 50'000, .min_requests = 100};
  EXPECT_EQ(broken_bound(tally(1000, 0, 990, 10), {}, bounds), "");
  EXPECT_THAT(broken_bound(tally(1000, 0, 970, 30), {}, bounds), HasSubstr("p99 is 200 ms, at most 50 ms"));
  EXPECT_EQ(broken_bound(tally(99, 0, 90, 9), {}, bounds), "");
}

TEST(CanaryJudgeTest, OnlyTheWorkloadsOfTheVersionCountSinceTheStepBegan) {
  admin::v1::RequestCounts counts;
  for (const char* name : {"shop/cart-v1", "shop/cart-v2", "shop/cart-v2b"}) {
    auto* row = counts.add_rows();
    row->set_workload(name);
    row->set_requests(10);
    row->set_errors(1);
    for (int i = 0; i < WEFT_HISTOGRAM_BUCKETS; ++i) row->add_duration_buckets(i == 4 ? 10 : 0);
  }
  const Tally first = tally_of(counts, {"shop/cart-v2", "shop/cart-v2b"});
  EXPECT_EQ(first.requests, 20u);
  EXPECT_EQ(first.buckets[4], 20u);
  counts.mutable_rows(1)->set_requests(15);
  const Tally now = since(tally_of(counts, {"shop/cart-v2", "shop/cart-v2b"}), first);
  EXPECT_EQ(now.requests, 5u);
  EXPECT_EQ(now.errors, 0u);
}

}  // namespace
}  // namespace weft::cli
