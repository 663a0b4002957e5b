// The annotation weft.dev/rate-limit, as resources and as findings with lines of the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/resource/parse_file.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::HasSubstr;

// Two routes, "pay" and "rest"; `lines` are those of the annotation's block, from line 8 of the file on.
std::string manifest(std::string_view lines, std::string_view kind = "VirtualService") {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: ", kind,
                 "\nmetadata:\n  name: cart\n  namespace: shop\n  annotations:\n    weft.dev/rate-limit: |\n",
                 lines,
                 "spec:\n  hosts: [cart]\n  http:\n"
                 "  - name: pay\n    match: [{uri: {prefix: /pay}}]\n"
                 "    route: [{destination: {host: cart}}]\n"
                 "  - name: rest\n    route: [{destination: {host: cart}}]\n");
}

mesh::v1::RouteSet routes_of(std::string_view lines) {
  const ParsedFile parsed = parse_file("f", manifest(lines));
  for (const Finding& finding : parsed.findings) ADD_FAILURE() << to_string(finding);
  if (parsed.objects.size() != 1) return {};
  return *std::get<VirtualService>(parsed.objects[0]).routes;
}

std::string only_finding(const std::string& text) {
  const ParsedFile parsed = parse_file("f", text);
  return parsed.findings.size() == 1 ? to_string(parsed.findings[0])
                                     : str_cat(parsed.findings.size(), " findings");
}

TEST(RateLimitTest, EveryFieldIsRead) {
  const auto routes = routes_of(
      "      - {route: pay, requests: 10, per: 1m, burst: 3, by: source, maxKeys: 50, responseHeaders: "
      "true}\n"
      "      - {requests: 200, by: 'header: X-User'}\n");
  ASSERT_EQ(routes.http(0).rate_limits_size(), 2);
  const mesh::v1::RateLimit& pay = routes.http(0).rate_limits(0);
  EXPECT_EQ(pay.name(), "VirtualService shop/cart pay source 0");
  EXPECT_EQ(pay.requests(), 10u);
  EXPECT_EQ(pay.period_ms(), 60'000u);
  EXPECT_EQ(pay.burst(), 3u);
  EXPECT_TRUE(pay.by_source());
  EXPECT_EQ(pay.max_keys(), 50u);
  EXPECT_TRUE(pay.response_headers());
  ASSERT_EQ(routes.http(1).rate_limits_size(), 1) << "without a route it is for all";
  const mesh::v1::RateLimit& all = routes.http(1).rate_limits(0);
  EXPECT_EQ(all.name(), "VirtualService shop/cart * header: X-User 0");
  EXPECT_EQ(all.period_ms(), 1000u);
  EXPECT_EQ(all.burst(), 200u);
  EXPECT_EQ(all.by_header(), "x-user");
  EXPECT_EQ(all.max_keys(), 10'000u);
}

TEST(RateLimitTest, DeepNestingIsRefused) {
  EXPECT_THAT(only_finding(manifest(str_cat("      ", std::string(200'000, '['), "\n"))),
              HasSubstr("the annotation is no YAML list"));
}

// Whose buckets stay is told by the name.
TEST(RateLimitTest, ALimitKeepsItsNameWhenOthersComeAndGo) {
  const auto name_of = [](std::string_view lines) {
    const auto limits = routes_of(lines).http(0).rate_limits();
    return limits.empty() ? "none" : limits[limits.size() - 1].name();
  };
  const std::string alone = name_of("      - {route: pay, requests: 10}\n");
  EXPECT_EQ(name_of("      - {requests: 7}\n      - {route: pay, requests: 10}\n"), alone);
  EXPECT_EQ(name_of("      - {route: pay, requests: 12}\n"), alone) << "the settings tell those apart";
  EXPECT_NE(name_of("      - {route: pay, requests: 10}\n      - {route: pay, requests: 3, per: 1m}\n"),
            alone);
  EXPECT_NE(name_of("      - {requests: 10}\n"), alone);
}

TEST(RateLimitTest, RoutesOfTheGatewayApiHaveThemToo) {
  for (const char* kind : {"HTTPRoute", "GRPCRoute"}) {
    const ParsedFile parsed = parse_file(
        "f",
        str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: ", kind,
                "\nmetadata:\n  name: cart\n  namespace: shop\n  annotations:\n"
                "    weft.dev/rate-limit: '[{requests: 5}, {route: pay, requests: 2, by: source}]'\nspec:\n"
                "  parentRefs: [{group: '', kind: Service, name: cart}]\n  rules:\n"
                "  - {name: pay, backendRefs: [{name: cart, port: 80}]}\n"
                "  - backendRefs: [{name: cart, port: 80}]\n"));
    for (const Finding& finding : parsed.findings) ADD_FAILURE() << to_string(finding);
    ASSERT_EQ(parsed.objects.size(), 1u);
    const auto& rules = std::get<GatewayRoute>(parsed.objects[0]).rules;
    ASSERT_EQ(rules.size(), 2u);
    EXPECT_EQ(rules[0].http.rate_limits_size(), 2);
    ASSERT_EQ(rules[1].http.rate_limits_size(), 1);
    EXPECT_EQ(rules[1].http.rate_limits(0).name(), str_cat(kind, " shop/cart * * 0"));
  }
}

TEST(RateLimitTest, MistakesAreNamedWithTheLineOfTheFile) {
  struct Case {
    const char* lines;
    const char* line;
    const char* field;
  };
  const Case cases[] = {
      {"      - requests: 5\n        brust: 3\n", "f:9:", "[0].brust"},
      {"      - per: 1s\n", "f:8:", "[0].requests"},
      {"      - requests: 0\n", "f:8:", "[0].requests"},
      {"      - requests: 5\n      - requests: 5\n        route: nobody\n", "f:10:", "[1].route"},
      {"      - requests: 5\n        by: user\n", "f:9:", "[0].by"},
      {"      - requests: 5\n        maxKeys: 9\n", "f:9:", "[0].maxKeys"},
      {"      - requests: 5000000\n", "f:8:", "[0].requests"},
      {"      - requests: 5\n        per: 2\n", "f:9:", "[0].per"},
      {"      requests: 5\n", "f:8:", "weft.dev/rate-limit"},
      {"      - [\n", "f:7:", "weft.dev/rate-limit"},
  };
  for (const Case& one : cases) {
    const std::string finding = only_finding(manifest(one.lines));
    EXPECT_THAT(finding, HasSubstr(one.line)) << one.lines;
    EXPECT_THAT(finding, HasSubstr(one.field)) << one.lines;
  }
}

// What one object may take of every node's memory and of every request's time.
TEST(RateLimitTest, AnObjectHasSoManyLimitsAndKeys) {
  std::string lines;
  for (int i = 0; i < 16; ++i) lines += "      - requests: 5\n";
  EXPECT_EQ(only_finding(manifest(lines)), "0 findings");
  EXPECT_THAT(only_finding(manifest(lines + "      - requests: 5\n")), HasSubstr("more than 16 limits"));
  const std::string half = "      - {requests: 5, by: source, maxKeys: 500000}\n";
  EXPECT_EQ(only_finding(manifest(half + half)), "0 findings");
  EXPECT_THAT(only_finding(manifest(half + half + half)), HasSubstr("more than a million keys"));
}

TEST(RateLimitTest, OnAnotherKindItHasNoEffectAndSaysSo) {
  EXPECT_THAT(
      only_finding("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: cart\n"
                   "  annotations: {weft.dev/rate-limit: '[]'}\nspec: {host: cart}\n"),
      HasSubstr("WF0034"));
  EXPECT_EQ(only_finding("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"
                         "  annotations: {weft.dev/fail-mode: open}\nspec: {}\n"),
            "0 findings")
      << "others of ours are known";
}

TEST(RateLimitTest, ADelegatesRoutesHaveTheLimitsOfBoth) {
  const Compiled compiled = compile_text(
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: root\n  annotations:\n"
      "    weft.dev/rate-limit: '[{requests: 5}]'\nspec:\n  hosts: [cart]\n  http:\n"
      "  - delegate: {name: leaf}\n---\n"
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: leaf\n  annotations:\n"
      "    weft.dev/rate-limit: '[{requests: 7}]'\nspec:\n  http:\n  - route: [{destination: {host: "
      "cart}}]\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\nspec: {ports: [{port: 80}]}\n");
  const auto set = resource<mesh::v1::RouteSet>(compiled, kRouteSetType, "default/root");
  ASSERT_EQ(set.http(0).rate_limits_size(), 2);
  EXPECT_EQ(set.http(0).rate_limits(0).requests(), 7u);
  EXPECT_EQ(set.http(0).rate_limits(1).requests(), 5u);
}

}  // namespace
}  // namespace weft::control_plane
