// Retries, mirrors and CORS of a VirtualService's http routes, as resources. Refusals are in
// broken_manifest_test.cc.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {
namespace {

using mesh::v1::HttpRoute;
using mesh::v1::RetryPolicy;

// The one route of a VirtualService whose route has these lines besides its destination.
HttpRoute route_of(std::string_view lines, std::string_view allowed_code = "") {
  const ParsedFile parsed =
      parse_file("f", str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: "
                              "cart, namespace: shop}\n"
                              "spec:\n  hosts: [cart]\n  http:\n  - route: [{destination: {host: cart}}]\n",
                              lines));
  for (const Finding& finding : parsed.findings) EXPECT_EQ(finding.code, allowed_code) << to_string(finding);
  if (parsed.objects.size() != 1) return HttpRoute();
  return std::get<VirtualService>(parsed.objects[0]).routes->http(0);
}

std::string on(const HttpRoute& route) {
  std::string out;
  for (const int word : route.retries().on())
    str_append(&out, RetryPolicy::On_Name(static_cast<RetryPolicy::On>(word)), " ");
  return out;
}

TEST(RetriesTest, EveryFieldIsRead) {
  const HttpRoute route = route_of(
      "    retries: {attempts: 3, perTryTimeout: 2s, backoff: 10ms, retryIgnorePreviousHosts: false, "
      "retryOn: 5xx}\n");
  EXPECT_EQ(route.retries().attempts(), 3U);
  EXPECT_EQ(route.retries().per_try_timeout_ms(), 2000U);
  EXPECT_EQ(route.retries().base_interval_ms(), 10U);
  EXPECT_TRUE(route.retries().repeat_hosts());
  EXPECT_EQ(on(route), "ON_5XX ");
}

TEST(RetriesTest, NumbersAreStatusCodesAndEveryWordIsKnown) {
  const HttpRoute route = route_of(
      "    retries:\n      attempts: 1\n      retryOn: gateway-error, "
      "reset,reset-before-request,connect-failure,"
      "refused-stream,retriable-4xx,429,envoy-ratelimited,cancelled,deadline-exceeded,internal,resource-"
      "exhausted,"
      "unavailable,418\n");
  EXPECT_EQ(
      on(route),
      "ON_GATEWAY_ERROR ON_RESET ON_RESET_BEFORE_REQUEST ON_CONNECT_FAILURE ON_REFUSED_STREAM "
      "ON_RETRIABLE_4XX "
      "ON_STATUS_CODES ON_RATE_LIMITED ON_CANCELLED ON_DEADLINE_EXCEEDED ON_INTERNAL ON_RESOURCE_EXHAUSTED "
      "ON_UNAVAILABLE ");
  EXPECT_EQ(route.retries().status_codes(0), 429U);
  EXPECT_EQ(route.retries().status_codes(1), 418U);
}

TEST(RetriesTest, WithoutRetryOnTheDefaultIsIstios) {
  const HttpRoute route = route_of("    retries: {attempts: 2}\n");
  EXPECT_EQ(on(route), "ON_CONNECT_FAILURE ON_REFUSED_STREAM ON_UNAVAILABLE ON_CANCELLED ON_STATUS_CODES ");
  EXPECT_EQ(route.retries().base_interval_ms(), 25U);
  EXPECT_FALSE(route.retries().repeat_hosts());
  EXPECT_FALSE(route_of("").has_retries());
}

TEST(MirrorTest, OneMirrorTakesAllUnlessSaidOtherwise) {
  const HttpRoute route = route_of("    mirror: {host: shadow, subset: v2, port: {number: 81}}\n");
  ASSERT_EQ(route.mirrors_size(), 1);
  EXPECT_EQ(route.mirrors(0).destination().host(), "shadow.shop.svc.cluster.local");
  EXPECT_EQ(route.mirrors(0).destination().subset(), "v2");
  EXPECT_EQ(route.mirrors(0).destination().port(), 81U);
  EXPECT_EQ(route.mirrors(0).ppm(), 1'000'000U);
}

TEST(MirrorTest, PercentagesOldAndNew) {
  constexpr std::string_view kMirror = "    mirror: {host: shadow}\n";
  EXPECT_EQ(route_of(str_cat(kMirror, "    mirrorPercentage: {value: 0.5}\n")).mirrors(0).ppm(), 5'000U);
  EXPECT_EQ(route_of(str_cat(kMirror, "    mirrorPercent: 7\n")).mirrors(0).ppm(), 70'000U);
  EXPECT_EQ(route_of(str_cat(kMirror, "    mirror_percent: 8\n")).mirrors(0).ppm(), 80'000U);
  EXPECT_EQ(route_of(str_cat(kMirror, "    mirrorPercentage: {value: 0}\n")).mirrors_size(), 0);
}

TEST(MirrorTest, SeveralMirrorsHaveTheirOwnPercentages) {
  const HttpRoute route = route_of(
      "    mirrors:\n    - destination: {host: a}\n      percentage: {value: 5}\n    - destination: {host: "
      "b}\n"
      "    - destination: {host: c}\n      percentage: {value: 0}\n");
  ASSERT_EQ(route.mirrors_size(), 2);
  EXPECT_EQ(route.mirrors(0).ppm(), 50'000U);
  EXPECT_EQ(route.mirrors(1).ppm(), 1'000'000U);
}

TEST(CorsTest, EveryFieldIsRead) {
  const HttpRoute route = route_of(R"(    corsPolicy:
      allowOrigins: [{exact: "http://shop"}, {regex: "https://.*"}]
      allowMethods: [GET, PUT]
      allowHeaders: [x-a, X-B]
      exposeHeaders: ["*"]
      maxAge: 24h
      allowCredentials: true
      unmatchedPreflights: IGNORE
)");
  const auto& cors = route.cors();
  EXPECT_EQ(cors.allow_origins(0).exact(), "http://shop");
  EXPECT_EQ(cors.allow_origins(1).regex(), "https://.*");
  EXPECT_EQ(cors.allow_methods(), "GET,PUT");
  EXPECT_EQ(cors.allow_headers(), "x-a,X-B");
  EXPECT_EQ(cors.expose_headers(), "*");
  EXPECT_EQ(cors.max_age(), "86400");
  EXPECT_TRUE(cors.allow_credentials());
  EXPECT_TRUE(cors.answer_unmatched_preflights());
}

TEST(CorsTest, TheOldListOfOriginsCountsWithoutTheNewOne) {
  EXPECT_EQ(route_of("    corsPolicy: {allowOrigin: ['http://a']}\n").cors().allow_origins(0).exact(),
            "http://a");
  const HttpRoute both =
      route_of("    corsPolicy: {allowOrigin: ['http://a'], allowOrigins: [{exact: 'http://b'}]}\n");
  EXPECT_EQ(both.cors().allow_origins_size(), 1);
}

TEST(CorsTest, WithoutOriginsNothingIsAllowedAndThatIsSaid) {
  EXPECT_EQ(route_of("    corsPolicy: {allowMethods: [GET]}\n", "WF0036").cors().allow_origins_size(), 0);
}

}  // namespace
}  // namespace weft::control_plane
