// What objects of the Gateway API are told about themselves, from manifest text: which routes attach to what
// and why not, which references are good, which listeners are served.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/gateway_api_status.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

constexpr char kWorld[] = R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: tcp-db, port: 90}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: bank}
spec: {clusterIP: 10.0.0.2, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop, generation: 7}
spec:
  gatewayClassName: weft
  listeners:
  - {name: web, port: 8080, protocol: HTTP, hostname: '*.example.com'}
  - {name: open, port: 8081, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}, {kind: TCPRoute}]}}
  - {name: raw, port: 9000, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: theirs, namespace: shop}
spec: {gatewayClassName: istio, listeners: [{name: web, port: 8080, protocol: HTTP}]}
---
)";

std::string route(const std::string& kind, const std::string& ns, const std::string& parent,
                  const std::string& rest = "", const std::string& name = "r") {
  return str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: ", kind, "\nmetadata: {name: ", name,
                 ", namespace: ", ns, ", generation: 3}\nspec:\n  parentRefs: [", parent, "]\n",
                 rest.empty() ? "  rules: [{backendRefs: [{name: web, namespace: shop, port: 80}]}]\n" : rest,
                 "---\n");
}

GatewayApiStatus status_of(const std::string& text) {
  const Compiled compiled = compile_text(str_cat(kWorld, text), kAllNodes);
  EXPECT_NE(compiled.gateway_api, nullptr);
  return *compiled.gateway_api;
}

// "Accepted: reason, ResolvedRefs: reason" of the first parent; "" when nothing is said.
std::string told(const std::string& text, const std::string& kind = "HTTPRoute",
                 const std::string& ns = "shop") {
  const GatewayApiStatus status = status_of(text);
  const auto found = status.routes.find(ObjectKey{kind, ns, "r"});
  if (found == status.routes.end()) return "";
  EXPECT_EQ(found->second.generation, 3);
  std::string out;
  for (const auto& condition : found->second.parents.front().conditions) {
    str_append(&out, out.empty() ? "" : " ", condition.reason);
    EXPECT_EQ(condition.holds, condition.message.empty())
        << "what does not hold says why: " << condition.reason;
    EXPECT_TRUE(condition.holds || condition.message.find("next: ") != std::string::npos)
        << condition.message;
  }
  return out;
}

TEST(GatewayStatusTest, ARouteThatFitsItsParentIsAccepted) {
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: edge, sectionName: web}")), "Accepted ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{group: '', kind: Service, name: web}")),
            "Accepted ResolvedRefs");
  EXPECT_EQ(told(route("TCPRoute", "shop", "{name: edge}"), "TCPRoute"), "Accepted ResolvedRefs");
  // From another namespace a Service may be a parent, and needs no grant.
  EXPECT_EQ(told(route("HTTPRoute", "bank", "{group: '', kind: Service, name: web, namespace: shop}"),
                 "HTTPRoute", "bank"),
            "Accepted ResolvedRefs");
}

TEST(GatewayStatusTest, ARouteThatDoesNotFitIsToldWhy) {
  const char* const kHosts = "  hostnames: [other.org]\n  rules: [{backendRefs: [{name: web, port: 80}]}]\n";
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: edge, sectionName: web}", kHosts)),
            "NoMatchingListenerHostname ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: edge, sectionName: none}")),
            "NoMatchingParent ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: edge, port: 1}")), "NoMatchingParent ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: edge, sectionName: open}")),
            "NotAllowedByListeners ResolvedRefs")
      << "that listener takes other kinds";
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: edge, sectionName: raw}")),
            "NotAllowedByListeners ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "bank", "{name: edge, namespace: shop, sectionName: web}",
                       "  rules: [{backendRefs: [{name: db, port: 80}]}]\n"),
                 "HTTPRoute", "bank"),
            "NotAllowedByListeners ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{group: '', kind: Service, name: none}")),
            "NoMatchingParent ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{group: '', kind: Service, name: web, port: 81}")),
            "NoMatchingParent ResolvedRefs");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{group: '', kind: Service, name: web, port: 90}")),
            "NotAllowedByListeners ResolvedRefs");
}

TEST(GatewayStatusTest, WhatIsSomebodyElsesIsNotTold) {
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: theirs}")), "");
  EXPECT_EQ(told(route("HTTPRoute", "shop", "{name: unknown}")), "");
  EXPECT_FALSE(status_of("").gateways.contains(ObjectKey{"Gateway", "shop", "theirs"}));
}

TEST(GatewayStatusTest, ReferencesThatMayNotBeUsedAreNamed) {
  const auto backend = [](const std::string& ref) {
    return str_cat("  rules: [{backendRefs: [", ref, "]}]\n");
  };
  const std::string edge = "{name: edge, sectionName: web}";
  EXPECT_EQ(told(route("HTTPRoute", "shop", edge, backend("{name: none, port: 80}"))),
            "Accepted BackendNotFound");
  EXPECT_EQ(told(route("HTTPRoute", "shop", edge, backend("{name: web, port: 81}"))),
            "Accepted BackendNotFound");
  EXPECT_EQ(told(route("HTTPRoute", "shop", edge, backend("{name: db, namespace: bank, port: 80}"))),
            "Accepted RefNotPermitted");
  EXPECT_EQ(
      told(route("HTTPRoute", "shop", edge, backend("{group: example.com, kind: Thing, name: a, port: 80}"))),
      "Accepted InvalidKind");
  const char* const kGrant =
      "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: "
      "bank}\n"
      "spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: '', "
      "kind: "
      "Service}]}\n---\n";
  EXPECT_EQ(told(str_cat(route("HTTPRoute", "shop", edge, backend("{name: db, namespace: bank, port: 80}")),
                         kGrant)),
            "Accepted ResolvedRefs");
}

TEST(GatewayStatusTest, OfTwoKindsOnOnePortTheOneThatTakesNothingIsToldSo) {
  const std::string both =
      str_cat(route("HTTPRoute", "shop", "{group: '', kind: Service, name: web, port: 80}"),
              route("GRPCRoute", "shop", "{group: '', kind: Service, name: web, port: 80}"));
  EXPECT_EQ(told(both, "HTTPRoute"), "RouteConflict ResolvedRefs");
  EXPECT_EQ(told(both, "GRPCRoute"), "Accepted ResolvedRefs");
}

TEST(GatewayStatusTest, AGatewayCountsItsRoutesAndSaysWhichKindsItTakes) {
  const GatewayApiStatus status = status_of(
      str_cat(route("HTTPRoute", "shop", "{name: edge, sectionName: web}, {name: edge, port: 8080}", "", "a"),
              route("HTTPRoute", "shop", "{name: edge}", "", "b"),
              route("TCPRoute", "shop", "{name: edge}", "", "c")));
  const GatewayApiStatus::Gateway& edge = status.gateways.at(ObjectKey{"Gateway", "shop", "edge"});
  EXPECT_EQ(edge.generation, 7);
  ASSERT_EQ(edge.listeners.size(), 3U);
  EXPECT_EQ(edge.listeners[0].attached_routes, 2U) << "a route counts once";
  EXPECT_EQ(edge.listeners[1].attached_routes, 0U);
  EXPECT_EQ(edge.listeners[2].attached_routes, 1U);
  EXPECT_EQ(edge.listeners[0].kinds, (std::vector<std::string>{"HTTPRoute", "GRPCRoute"}));
  EXPECT_EQ(edge.listeners[1].kinds, (std::vector<std::string>{"GRPCRoute"}));
  EXPECT_STREQ(edge.listeners[1].conditions[2].reason, "InvalidRouteKinds");
  EXPECT_STREQ(edge.listeners[0].conditions[3].type, "Programmed");
  EXPECT_TRUE(edge.listeners[0].conditions[3].holds);
  EXPECT_TRUE(edge.conditions[0].holds && edge.conditions[1].holds);
}

TEST(GatewayStatusTest, AListenerThatIsNotServedSaysWhy) {
  const GatewayApiStatus status = status_of(R"(
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: later, namespace: shop, creationTimestamp: '2026-01-01T00:00:00Z'}
spec:
  gatewayClassName: weft
  listeners:
  - {name: taken, port: 9000, protocol: HTTP}
  - {name: keys, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: none}]}}
  - {name: foreign, port: 8444, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: bank}]}}
)");
  const GatewayApiStatus::Gateway& later = status.gateways.at(ObjectKey{"Gateway", "shop", "later"});
  const auto reasons = [&](size_t at) {
    std::string out;
    for (const auto& condition : later.listeners[at].conditions) str_append(&out, condition.reason, " ");
    return out;
  };
  EXPECT_EQ(reasons(0), "ProtocolConflict ProtocolConflict ResolvedRefs Invalid ");
  EXPECT_TRUE(later.listeners[0].conditions[1].holds) << "Conflicted";
  EXPECT_EQ(reasons(1), "Accepted NoConflicts InvalidCertificateRef Invalid ");
  EXPECT_EQ(reasons(2), "Accepted NoConflicts RefNotPermitted Invalid ");
  EXPECT_STREQ(later.conditions[0].reason, "ListenersNotValid");
  EXPECT_TRUE(later.conditions[0].holds) << "some of it is";
  EXPECT_FALSE(later.conditions[1].holds) << "nothing of it is programmed";
}

TEST(GatewayStatusTest, NothingIsMadeAnewForWhatDoesNotMatterAndNothingForASingleNode) {
  Store store;
  const auto file = [](const std::string& name, const std::string& text) {
    return Store::Changes{{name, parse_file(name, text)}};
  };
  store.update(file("a.yaml", str_cat(kWorld, route("HTTPRoute", "shop", "{name: edge}"))));
  const Compiled first = compile(store.objects(), kAllNodes);
  const auto pod = [](const char* ip) {
    return str_cat(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {nodeName: n}\n"
        "status: {phase: Running, podIP: ",
        ip, "}\n");
  };
  store.update(file("b.yaml", pod("10.1.0.1")));
  const Compiled second = compile(store.objects(), kAllNodes, {}, &first);
  EXPECT_EQ(second.gateway_api, first.gateway_api);
  store.update(file("c.yaml", route("HTTPRoute", "shop", "{name: edge}", "", "more")));
  const Compiled third = compile(store.objects(), kAllNodes, {}, &second);
  EXPECT_NE(third.gateway_api, second.gateway_api);
  EXPECT_EQ(third.gateway_api->routes.size(), 2U);
  EXPECT_EQ(compile(store.objects(), "node1").gateway_api, nullptr);
}

}  // namespace
}  // namespace weft::control_plane
