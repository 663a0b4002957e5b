// Which policies and rules for tokens are compiled into the routes of which gateway, and what is said of
// targets that are none.
#include <gmock/gmock.h>

#include <algorithm>

#include "base/strings.h"
#include "tests/unit/control-plane/compile_fixture.h"
#include "tests/unit/identity/tokens.h"

namespace weft::control_plane {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kIstio[] = R"(
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: front}
spec:
  selector: {istio: ingressgateway, tier: web}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*.shop.example']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: front}
spec:
  hosts: [a.shop.example]
  gateways: [edge]
  http: [{route: [{destination: {host: x}}]}]
---
)";
constexpr char kApi[] = R"(
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: api, namespace: front}
spec:
  gatewayClassName: weft
  listeners:
  - {name: http, port: 8080, protocol: HTTP, hostname: b.example, allowedRoutes: {namespaces: {from: All}}}
  - {name: tcp, port: 9000, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: b, namespace: front}
spec:
  parentRefs: [{name: api, sectionName: http}]
  rules: [{backendRefs: [{name: x, port: 80}]}]
---
)";

std::string policy(const std::string& name, const std::string& ns, const std::string& spec) {
  return str_cat("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ", name,
                 ", namespace: ", ns, "}\nspec: {", spec, "}\n---\n");
}
std::string tokens(const std::string& name, const std::string& ns, const std::string& spec) {
  static const std::string keys = test::jwk_set(test::jwk(test::ec_key("P-256").get()));
  return str_cat("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: ", name,
                 ", namespace: ", ns, "}\nspec: {", spec, "jwtRules: [{issuer: i, jwks: '", keys,
                 "'}]}\n---\n");
}
constexpr char kApiTarget[] =
    "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: api}], rules: [{}]";

mesh::v1::GatewayPolicies policies_at(const std::string& text, const std::string& set) {
  const auto found = resource<mesh::v1::RouteSet>(compile_text(text), kRouteSetType, set);
  return found.gateway().policies();
}

std::vector<std::string> findings_of(const std::string& text) {
  std::vector<std::string> out;
  for (const Finding& finding : compile_text(text).findings)
    out.push_back(str_cat(finding.code, " ", finding.object, " ", finding.field));
  return out;
}
bool has(const std::vector<std::string>& list, const std::string& one) {
  return std::find(list.begin(), list.end(), one) != list.end();
}

TEST(GatewayPolicyTest, ASelectorIsComparedWithTheGatewaysOwn) {
  const std::string all =
      str_cat(kIstio, kApi, policy("part", "front", "selector: {matchLabels: {istio: ingressgateway}}"),
              policy("whole", "istio-system",
                     "selector: {matchLabels: {istio: ingressgateway, tier: web}}, rules: [{}]"),
              policy("more", "front", "selector: {matchLabels: {istio: ingressgateway, zone: a}}"),
              policy("elsewhere", "shop", "selector: {matchLabels: {istio: ingressgateway}}"));
  EXPECT_THAT(policies_at(all, "gateway/8080/a.shop.example").authorizations(),
              ElementsAre("front/part", "istio-system/whole"));
  EXPECT_THAT(policies_at(all, "gateway/8080/b.example").authorizations(), IsEmpty())
      << "the other gateway's host";
  EXPECT_FALSE(has(findings_of(all), "WF0003 AuthorizationPolicy front/part spec.selector"));
  EXPECT_TRUE(has(findings_of(all), "WF0003 AuthorizationPolicy front/more spec.selector"));
}

TEST(GatewayPolicyTest, TargetsAreGatewaysOfTheGatewayApi) {
  const std::string all = str_cat(kIstio, kApi, policy("named", "front", kApiTarget));
  EXPECT_THAT(policies_at(all, "gateway/8080/b.example").authorizations(), ElementsAre("front/named"));
  EXPECT_THAT(policies_at(all, "gateway/8080/a.shop.example").authorizations(), IsEmpty());
  EXPECT_THAT(policies_at(all, "gateway/9000/*").authorizations(), ElementsAre("front/named"))
      << "of connections too";
  EXPECT_EQ(
      resource<istio::security::Authorization>(compile_text(all), kAuthorizationType, "front/named").scope(),
      istio::security::WORKLOAD_SELECTOR)
      << "no pod has it";
  EXPECT_TRUE(has(findings_of(str_cat(kIstio, policy("named", "front", kApiTarget))),
                  "WF0005 AuthorizationPolicy front/named spec.targetRefs"));
  EXPECT_THAT(policies_at(str_cat(kApi, policy("named", "shop", kApiTarget)), "gateway/8080/b.example")
                  .authorizations(),
              IsEmpty())
      << "of its own namespace";
}

TEST(GatewayPolicyTest, PoliciesOfTheNamespaceAndOfTheMeshReachGatewaysAsTheyReachPods) {
  const std::string all =
      str_cat(kIstio, kApi, policy("ns", "front", "rules: [{}]"),
              policy("mesh", "istio-system", "rules: [{}]"), policy("other", "shop", "rules: [{}]"));
  for (const char* set : {"gateway/8080/a.shop.example", "gateway/8080/b.example", "gateway/9000/*"})
    EXPECT_THAT(policies_at(all, set).authorizations(), ElementsAre("front/ns", "istio-system/mesh")) << set;
}

// A request of no host that is served is answered with 404 by all gateways of the port.
TEST(GatewayPolicyTest, WhatNoHostHasIsAskedByEveryGatewayOfThePort) {
  const std::string all =
      str_cat(kIstio, kApi, policy("named", "front", kApiTarget),
              policy("part", "front", "selector: {matchLabels: {istio: ingressgateway}}"));
  EXPECT_THAT(policies_at(all, "gateway/8080/*").authorizations(), ElementsAre("front/named", "front/part"));
}

TEST(GatewayPolicyTest, RulesForTokensAreFoundInTheSameWay) {
  const std::string all =
      str_cat(kIstio, kApi, tokens("part", "front", "selector: {matchLabels: {istio: ingressgateway}}, "),
              tokens("named", "front",
                     "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: api}], "),
              tokens("other", "shop", ""));
  EXPECT_THAT(policies_at(all, "gateway/8080/a.shop.example").request_authentications(),
              ElementsAre("front/part"));
  EXPECT_THAT(policies_at(all, "gateway/8080/b.example").request_authentications(),
              ElementsAre("front/named"));
  const auto named =
      resource<mesh::v1::RequestAuthentication>(compile_text(all), kAuthenticationType, "front/named");
  EXPECT_TRUE(named.gateways_only()) << "no pod of the namespace has it";
}

TEST(GatewayPolicyTest, ServersThatEndTlsOrPassItOnHaveThoseOfTheirGateway) {
  const std::string tls = R"(
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: one, namespace: front}
spec:
  selector: {app: one}
  servers:
  - {port: {number: 8443, name: a, protocol: TLS}, hosts: [a.example], tls: {mode: PASSTHROUGH}}
  - {port: {number: 8443, name: c, protocol: HTTPS}, hosts: [c.example], tls: {mode: SIMPLE, credentialName: c}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: two, namespace: front}
spec:
  selector: {app: two}
  servers: [{port: {number: 8443, name: b, protocol: TLS}, hosts: [b.example], tls: {mode: PASSTHROUGH}}]
---
)";
  const std::string all = str_cat(tls, policy("one", "front", "selector: {matchLabels: {app: one}}"));
  const auto set = resource<mesh::v1::RouteSet>(compile_text(all), kRouteSetType, "gateway/8443/*");
  ASSERT_EQ(set.gateway().servers_size(), 3);
  for (const auto& server : set.gateway().servers()) {
    if (server.hosts(0) == "b.example")
      EXPECT_THAT(server.policies().authorizations(), IsEmpty());
    else
      EXPECT_THAT(server.policies().authorizations(), ElementsAre("front/one")) << server.hosts(0);
  }
  EXPECT_THAT(policies_at(all, "gateway/8443/c.example/*").authorizations(), ElementsAre("front/one"));
}

// What is compiled for a host is remembered: a policy that comes later must still reach it.
TEST(GatewayPolicyTest, APolicyThatComesLaterReachesRoutesThatStay) {
  Store store;
  store.update({{"gateway.yaml", parse_file("gateway.yaml", str_cat(kIstio, kApi))}});
  const Compiled first = compile(store.objects(), "node1");
  store.update({{"policy.yaml", parse_file("policy.yaml", policy("named", "front", kApiTarget))}});
  const Compiled second = compile(store.objects(), "node1", {}, &first);
  EXPECT_THAT(resource<mesh::v1::RouteSet>(second, kRouteSetType, "gateway/8080/b.example")
                  .gateway()
                  .policies()
                  .authorizations(),
              ElementsAre("front/named"));
}

TEST(ClaimMatchTest, ClaimsKeepTheirSpellingAndWrongNamesAreRefused) {
  const auto parsed = [](const std::string& header, const std::string& gateways,
                         const char* value = "{exact: v}") {
    return parse_file(
        "f", str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n"
                     "spec:\n  hosts: [x]\n",
                     gateways, "  http: [{match: [{headers: {\"", header, "\": ", value,
                     "}}], route: [{destination: {host: x}}]}]\n"));
  };
  const ParsedFile good = parsed("@request.auth.claims.Role", "  gateways: [edge]\n");
  EXPECT_TRUE(good.findings.empty());
  ASSERT_EQ(good.objects.size(), 1U);
  EXPECT_EQ(std::get<VirtualService>(good.objects[0]).routes->http(0).matches(0).headers(0).name(),
            "@request.auth.claims.Role");
  for (const char* bad : {"@request.auth.claims", "@request.auth.claims[a", "@request.auth.principal",
                          "@request.auth.Claims.role", "@Request.Auth.claims.role", "@REQUEST.AUTH.x"}) {
    for (const char* value : {"{exact: v}", "null", "{}"}) {
      const ParsedFile refused = parsed(bad, "  gateways: [edge]\n", value);
      EXPECT_TRUE(refused.objects.empty()) << bad << " " << value;
      ASSERT_FALSE(refused.findings.empty()) << bad << " " << value;
      EXPECT_EQ(refused.findings[0].code, "WF0002");
      EXPECT_THAT(refused.findings[0].message, HasSubstr("names no claim"));
    }
  }
  const ParsedFile on_mesh = parsed("@request.auth.claims.role", "");
  ASSERT_EQ(on_mesh.findings.size(), 1U);
  EXPECT_EQ(on_mesh.findings[0].code, "WF0036") << "clients in the mesh have no claims";
}

TEST(ClaimMatchTest, TheGatewayApiHasNone) {
  for (const char* kind : {"HTTPRoute", "GRPCRoute"}) {
    for (const char* name : {"@request.auth.claims.role", "@Request.Auth.claims", "@request.auth.x"}) {
      const ParsedFile refused =
          parse_file("f", str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: ", kind,
                                  "\nmetadata: {name: a}\nspec:\n  parentRefs: [{name: edge}]\n  rules:\n"
                                  "  - {matches: [{headers: [{name: \"",
                                  name, "\", value: v}]}], backendRefs: [{name: x, port: 80}]}\n"));
      EXPECT_TRUE(refused.objects.empty()) << kind << " " << name;
      ASSERT_EQ(refused.findings.size(), 1U) << kind << " " << name;
      EXPECT_EQ(refused.findings[0].code, "WF0002");
      EXPECT_EQ(refused.findings[0].field, "spec.rules[0].matches[0].headers[0].name");
    }
  }
}

}  // namespace
}  // namespace weft::control_plane
