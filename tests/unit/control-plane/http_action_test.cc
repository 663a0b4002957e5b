// What a VirtualService's http routes say besides where requests go, as resources: redirects, direct
// responses, rewrites, header edits, faults, timeouts. Refusals are in broken_manifest_test.cc.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/strings.h"
#include "control-plane/control_plane.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/parse_file.h"
#include "control-plane/resource/value_template.h"

namespace weft::control_plane {
namespace {

using mesh::v1::HttpRoute;
using mesh::v1::ValueTemplate;

// The one route of a VirtualService with these lines below "http:"; findings of any kind fail the test.
HttpRoute route_of(std::string_view lines, std::string_view allowed_code = "") {
  const ParsedFile parsed = parse_file(
      "f",
      str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, namespace: "
              "shop}\nspec:\n  hosts: [cart]\n  http:\n",
              lines));
  for (const Finding& finding : parsed.findings) EXPECT_EQ(finding.code, allowed_code) << to_string(finding);
  if (parsed.objects.size() != 1) return HttpRoute();
  return std::get<VirtualService>(parsed.objects[0]).routes->http(0);
}

constexpr std::string_view kRoute = "  - route: [{destination: {host: cart}}]\n";

TEST(HttpActionTest, RedirectFieldsAreRead) {
  const HttpRoute route = route_of(
      "  - redirect: {uri: '/new?x=1', authority: 'shop.example:81', scheme: https, port: 8443, "
      "redirectCode: 308}\n");
  EXPECT_EQ(route.redirect().path(), "/new?x=1");
  EXPECT_EQ(route.redirect().authority(), "shop.example:81");
  EXPECT_EQ(route.redirect().scheme(), "https");
  EXPECT_EQ(route.redirect().port(), 8443U);
  EXPECT_EQ(route.redirect().code(), 308U);
  EXPECT_EQ(route.destinations_size(), 0);
}

TEST(HttpActionTest, RedirectsAre301UnlessSaidOtherwise) {
  const HttpRoute route = route_of("  - redirect: {prefixRewrite: /new, derivePort: FROM_REQUEST_PORT}\n");
  EXPECT_EQ(route.redirect().code(), 301U);
  EXPECT_EQ(route.redirect().prefix(), "/new");
  EXPECT_TRUE(route.redirect().port_from_request());
}

TEST(HttpActionTest, DirectResponsesHaveTextOrBytes) {
  const HttpRoute text = route_of("  - directResponse: {status: 503, body: {string: 'back soon'}}\n");
  EXPECT_EQ(text.direct_response().status(), 503U);
  EXPECT_EQ(text.direct_response().body(), "back soon");
  EXPECT_EQ(route_of("  - directResponse: {status: 200, body: {bytes: AAEC}}\n").direct_response().body(),
            std::string("\0\1\2", 3));
  EXPECT_EQ(route_of("  - directResponse: {status: 204}\n").direct_response().body(), "");
}

TEST(HttpActionTest, ALargeBodyIsAWarningAndAHugeOneAnError) {
  const auto lines = [](size_t bytes) {
    return str_cat("  - directResponse: {status: 200, body: {string: ", std::string(bytes, 'x'), "}}\n");
  };
  EXPECT_EQ(route_of(lines(100 * 1024)).direct_response().body().size(), 100U * 1024);
  EXPECT_EQ(route_of(lines(100 * 1024 + 1), "WF0037").direct_response().body().size(), 100U * 1024 + 1);
}

TEST(HttpActionTest, RewritesAreRead) {
  const HttpRoute prefix = route_of(str_cat(kRoute, "    rewrite: {uri: /new, authority: other.example}\n"));
  EXPECT_EQ(prefix.path_rewrite().matched(), "/new");
  EXPECT_EQ(prefix.authority_rewrite(), "other.example");
  const HttpRoute regex =
      route_of(str_cat(kRoute, "    rewrite: {uriRegexRewrite: {match: '^/(a)', rewrite: '/\\1'}}\n"));
  EXPECT_EQ(regex.path_rewrite().regex().pattern(), "^/(a)");
  EXPECT_EQ(regex.path_rewrite().regex().substitution(), "/\\1");
}

TEST(HttpActionTest, RoutesThatOnlyForwardSayNothingMore) {
  const HttpRoute route = route_of(kRoute);
  EXPECT_FALSE(route.has_redirect() || route.has_direct_response() || route.has_path_rewrite() ||
               route.has_request_headers() || route.has_response_headers() || route.has_fault());
  EXPECT_FALSE(route.destinations(0).has_request_headers() || route.destinations(0).has_response_headers());
}

TEST(HttpActionTest, HeaderEditsAreSetsThenAddsByName) {
  const HttpRoute route = route_of(str_cat(kRoute, R"(    headers:
      request:
        add: {B-Add: "1", a-add: "2"}
        set: {D-Set: "3", c-set: "4"}
        remove: [X-Gone]
      response:
        set: {server: weft}
)"));
  const auto& request = route.request_headers();
  EXPECT_EQ(request.remove(0), "x-gone");
  std::string order;
  for (const auto& edit : request.edits()) str_append(&order, edit.name(), edit.append() ? "+ " : " ");
  EXPECT_EQ(order, "c-set d-set a-add+ b-add+ ");
  EXPECT_EQ(route.response_headers().edits(0).value().parts(0).literal(), "weft");
}

TEST(HttpActionTest, DestinationsHaveHeadersOfTheirOwn) {
  const HttpRoute route = route_of(R"(  - route:
    - destination: {host: cart}
      weight: 1
      headers:
        request: {set: {host: v1.example, x-v: "1"}}
    - destination: {host: other}
      weight: 1
)");
  EXPECT_EQ(route.destinations(0).authority(), "v1.example");
  EXPECT_EQ(route.destinations(0).request_headers().edits(0).name(), "x-v");
  EXPECT_FALSE(route.destinations(1).has_request_headers());
}

TEST(HttpActionTest, AHostThatIsSetIsARewriteOfTheAuthority) {
  EXPECT_EQ(
      route_of(
          str_cat(kRoute, "    headers: {request: {add: {Host: added}, set: {':authority': set.example}}}\n"))
          .authority_rewrite(),
      "set.example");
  EXPECT_EQ(route_of(str_cat(kRoute, "    headers: {request: {add: {host: added}}}\n")).authority_rewrite(),
            "added");
  EXPECT_EQ(
      route_of(str_cat(kRoute,
                       "    rewrite: {authority: rewritten}\n    headers: {request: {set: {host: set}}}\n"))
          .authority_rewrite(),
      "rewritten");
}

TEST(HttpActionTest, FaultsCountInPartsPerMillion) {
  const HttpRoute route = route_of(str_cat(kRoute, R"(    fault:
      delay: {fixedDelay: 1.5s, percentage: {value: 0.0001}}
      abort: {grpcStatus: UNAVAILABLE, percentage: {value: 12.5}}
)"));
  EXPECT_EQ(route.fault().delay_ms(), 1500U);
  EXPECT_EQ(route.fault().delay_ppm(), 1U);
  EXPECT_EQ(route.fault().abort_ppm(), 125'000U);
  EXPECT_EQ(route.fault().grpc_status(), 14U);
}

TEST(HttpActionTest, TheOldWholePercentageOfADelayCounts) {
  EXPECT_EQ(
      route_of(str_cat(kRoute, "    fault: {delay: {fixedDelay: 1s, percent: 7}}\n")).fault().delay_ppm(),
      70'000U);
}

TEST(HttpActionTest, AFaultWithoutPercentageNeverHappensAndIsSaidSo) {
  EXPECT_EQ(route_of(str_cat(kRoute, "    fault: {delay: {fixedDelay: 1s}}\n"), "WF0036").fault().delay_ppm(),
            0U);
  EXPECT_EQ(
      route_of(str_cat(kRoute, "    fault: {abort: {httpStatus: 500}}\n"), "WF0036").fault().abort_ppm(), 0U);
}

TEST(HttpActionTest, TimeoutsAreRead) {
  EXPECT_EQ(route_of(str_cat(kRoute, "    timeout: 0.25s\n")).timeout_ms(), 250U);
  EXPECT_EQ(route_of(str_cat(kRoute, "    timeout: 0s\n")).timeout_ms(), 0U);
}

TEST(ValueTemplateTest, PartsAreTakenApart) {
  ValueTemplate value;
  EXPECT_EQ(parse_value_template("a%%b %REQ(X-A?:path):12% c%PROTOCOL%", false, value), "");
  ASSERT_EQ(value.parts_size(), 4);
  EXPECT_EQ(value.parts(0).literal(), "a%b ");
  EXPECT_EQ(value.parts(1).variable(), ValueTemplate::REQUEST_HEADER);
  EXPECT_EQ(value.parts(1).header(), "x-a");
  EXPECT_EQ(value.parts(1).alternative(), ":path");
  EXPECT_EQ(value.parts(1).max_length(), 12U);
  EXPECT_EQ(value.parts(2).literal(), " c");
  EXPECT_EQ(value.parts(3).variable(), ValueTemplate::PROTOCOL);
}

TEST(ValueTemplateTest, WhatIsNoVariableIsSaid) {
  for (const char* text : {"%", "50%", "%NONE%", "%REQ%", "%REQ()%", "%REQ(a b)%", "%REQ(a%", "%PROTOCOL:x%",
                           "%PROTOCOL:0%", "%PROTOCOL(a)%", "%RESP(x)%", "%START_TIME%"}) {
    ValueTemplate value;
    EXPECT_NE(parse_value_template(text, false, value), "") << text;
  }
  ValueTemplate value;
  EXPECT_EQ(parse_value_template("%RESP(x)%", true, value), "");
}

// The workloads of the canary example are those that the others route. A certificate is its reader's own to
// make, and that it is not there is said.
TEST(ExamplesTest, EveryExampleIsAcceptedWithoutAFinding) {
  int folders = 0;
  for (const auto& entry : std::filesystem::directory_iterator("examples")) {
    ++folders;
    const std::string name = entry.path().filename();
    size_t expected = name == "gateway-tls" || name == "tls-origination" ? 1 : 0;
    for (const Finding& finding :
         analyze({"examples/canary/workloads.yaml", entry.path() / "routing.yaml"})) {
      if (expected > 0 && (finding.code == kTlsNotEnded || finding.code == kTlsNotOriginated)) {
        --expected;
      } else {
        ADD_FAILURE() << to_string(finding);
      }
    }
    EXPECT_EQ(expected, 0U) << entry.path();
    EXPECT_TRUE(std::filesystem::exists(entry.path() / "README.md")) << entry.path();
  }
  EXPECT_GE(folders, 5);
}

}  // namespace
}  // namespace weft::control_plane
