// Gateways of both APIs: what is bound to which port of the node, for which hosts, and what is not served.
#include <algorithm>

#include "tests/unit/routes/route_world.h"

namespace weft::proxy {
namespace {

constexpr char kIstio[] =
    "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\nspec:\n  "
    "servers:\n";
constexpr char kApi[] =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: "
    "shop}\nspec:\n"
    "  gatewayClassName: weft\n  listeners:\n";

std::string istio(std::string_view servers) { return str_cat(kIstio, servers, "---\n"); }
std::string api(std::string_view listeners) { return str_cat(kApi, listeners, "---\n"); }

// A VirtualService of this gateway and name.
std::string bound(std::string_view name, std::string_view hosts, std::string_view http,
                  std::string_view gateways = "edge") {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                 ", namespace: shop}\nspec:\n  hosts: [", hosts, "]\n  gateways: [", gateways, "]\n  http: [",
                 http, "]\n---\n");
}
std::string attached(std::string_view name, std::string_view hostnames, std::string_view rules,
                     std::string_view ns = "shop", std::string_view parent = "name: edge, namespace: shop") {
  return str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: ", name,
                 ", namespace: ", ns, "}\nspec:\n  hostnames: [", hostnames, "]\n  parentRefs: [{", parent,
                 "}]\n  rules: [", rules, "]\n---\n");
}

bool found(const RouteWorld& world, std::string_view code, std::string_view words) {
  return std::any_of(world.findings().begin(), world.findings().end(), [&](const control_plane::Finding& f) {
    return f.code == code && f.message.find(words) != std::string::npos;
  });
}

#define V(service) "{route: [{destination: {host: " service "}}]}"
#define B(service) "{backendRefs: [{name: " service ", port: 80}]}"
constexpr char kHttp[] = "  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}\n";
constexpr char kListener[] = "  - {name: http, port: 8080, protocol: HTTP}\n";

TEST(GatewayTest, VirtualServicesAreBoundByHost) {
  const RouteWorld world(str_cat(istio(kHttp), bound("a", "a.example", V("v1")),
                                 bound("wide", "'*.example'", V("v2")), bound("all", "'*'", V("v3"))));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "v1");
  EXPECT_EQ(world.ask_gateway("/", "A.example:8080", 8080), "v1");
  EXPECT_EQ(world.ask_gateway("/", "b.c.example", 8080), "v2");
  EXPECT_EQ(world.ask_gateway("/", "example.org", 8080), "v3");
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8081), "no port");
  EXPECT_EQ(world.ask("GET / HTTP/1.1\r\nHost: a.example", "10.96.0.1:80"), "cart")
      << "the mesh has none of it";
}

TEST(GatewayTest, ServersNarrowHosts) {
  const RouteWorld world(str_cat(istio("  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: "
                                       "['./*.shop.example', 'other/b.example']}\n"),
                                 bound("a", "'*'", V("v1"))));
  EXPECT_EQ(world.ask_gateway("/", "a.shop.example", 8080), "v1");
  EXPECT_EQ(world.ask_gateway("/", "b.example", 8080), "404") << "for routes of another namespace";
  EXPECT_EQ(world.ask_gateway("/", "c.example", 8080), "404");
}

TEST(GatewayTest, SeveralVirtualServicesOfAHostAreOneListAndCatchAllsComeLast) {
  const RouteWorld world(
      str_cat(istio(kHttp), bound("a", "a.example", V("v1")),
              bound("b", "a.example", "{match: [{uri: {exact: /b}}], route: [{destination: {host: v2}}]}")));
  EXPECT_EQ(world.ask_gateway("/b", "a.example", 8080), "v2");
  EXPECT_EQ(world.ask_gateway("/c", "a.example", 8080), "v1");
}

TEST(GatewayTest, MatchesSayWhereTheyHold) {
  const RouteWorld world(str_cat(
      istio(kHttp),
      bound("cart", "cart",
            "{match: [{gateways: [edge], uri: {exact: /x}, sourceNamespace: nobody}, {gateways: [mesh]}], "
            "route: [{destination: {host: v1}}]}, " V("v2"),
            "mesh, edge")));
  EXPECT_EQ(world.ask_gateway("/x", "cart.shop.svc.cluster.local", 8080), "v1")
      << "no client is told apart there";
  EXPECT_EQ(world.ask_gateway("/y", "cart.shop.svc.cluster.local", 8080), "v2");
  EXPECT_EQ(world.ask("GET /y HTTP/1.1\r\nHost: cart"), "v1");
}

TEST(GatewayTest, HttpIsRedirectedToHttps) {
  const RouteWorld world(
      str_cat(istio("  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*.example'], tls: "
                    "{httpsRedirect: true}}\n"
                    "  - {port: {number: 8080, name: h2, protocol: HTTP}, hosts: [example.org]}\n"),
              bound("a", "a.example, example.org", V("v1"))));
  EXPECT_EQ(world.ask_gateway("/p?q", "a.example:8080", 8080), "301 https://a.example/p?q");
  EXPECT_EQ(world.ask_gateway("/", "x.example", 8080), "301 https://x.example/");
  EXPECT_EQ(world.ask_gateway("/", "example.org", 8080), "v1");
}

TEST(GatewayTest, HttpRoutesAttachWhereTheyFit) {
  const RouteWorld world(str_cat(
      api("  - {name: shop, port: 8080, protocol: HTTP, hostname: '*.shop.example'}\n"
          "  - {name: plain, port: 8081, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}\n"),
      attached("a", "a.shop.example, b.example", B("v1")), attached("b", "", B("v2")),
      attached("c", "", "{backendRefs: [{name: v3, namespace: shop, port: 80}]}", "other",
               "name: edge, namespace: shop, sectionName: shop")));
  EXPECT_EQ(world.ask_gateway("/", "a.shop.example", 8080), "v1");
  EXPECT_EQ(world.ask_gateway("/", "c.shop.example", 8080), "v2");
  EXPECT_EQ(world.ask_gateway("/", "b.example", 8080), "404");
  EXPECT_EQ(world.ask_gateway("/", "b.example", 8081), "v1");
  EXPECT_EQ(world.ask_gateway("/", "d.example", 8081), "v2");
  EXPECT_TRUE(found(world, "WF0052", "no listener of Gateway shop/edge takes this route"));
}

TEST(GatewayTest, ParentsNameAPort) {
  const RouteWorld world(
      str_cat(api("  - {name: a, port: 8080, protocol: HTTP}\n  - {name: b, port: 8081, protocol: HTTP}\n"),
              attached("a", "", B("v1"), "shop", "name: edge, port: 8081")));
  EXPECT_EQ(world.ask_gateway("/", "x.example", 8080), "404");
  EXPECT_EQ(world.ask_gateway("/", "x.example", 8081), "v1");
}

TEST(GatewayTest, RulesOfAHostAreRanked) {
  const RouteWorld world(str_cat(
      api(kListener), attached("a", "a.example", B("v1")),
      attached("b", "a.example", "{matches: [{path: {value: /b}}], backendRefs: [{name: v2, port: 80}]}")));
  EXPECT_EQ(world.ask_gateway("/b", "a.example", 8080), "v2");
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "v1");
}

// The service that a connection with this server name goes to.
std::string pass(const RouteWorld& world, std::string_view name, uint16_t port) {
  const GatewayPort* gateway = world.snapshot().find_gateway_port(port);
  if (gateway == nullptr || gateway->l4_host == kNone) return "no port";
  const SocketAddress address{*IpAddress::parse("192.0.2.1"), port};
  const L4Route* route = match_l4_route(world.snapshot().l4_hosts[gateway->l4_host], !name.empty(), name,
                                        address, source_view(world.snapshot(), kNone));
  return route == nullptr ? "refused" : world.snapshot().clusters[route->clusters.front().cluster].service;
}

TEST(GatewayTest, TlsIsPassedThroughByName) {
  const RouteWorld world(str_cat(
      istio("  - {port: {number: 8443, name: tls, protocol: TLS}, hosts: ['*'], tls: {mode: PASSTHROUGH}}\n"),
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: t, namespace: "
      "shop}\nspec:\n"
      "  hosts: ['*.example']\n  gateways: [edge]\n"
      "  tls: [{match: [{sniHosts: [a.example]}], route: [{destination: {host: v1}}]}]\n---\n",
      api("  - {name: tls, port: 8443, protocol: TLS, tls: {mode: Passthrough}}\n"),
      "apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {name: t, namespace: "
      "shop}\nspec:\n"
      "  hostnames: ['*.example.org']\n  parentRefs: [{name: edge}]\n  rules: [{backendRefs: [{name: v2, "
      "port: 80}]}]\n"));
  EXPECT_EQ(pass(world, "a.example", 8443), "v1");
  EXPECT_EQ(pass(world, "x.example.org", 8443), "v2");
  EXPECT_EQ(pass(world, "b.example", 8443), "refused");
  EXPECT_EQ(pass(world, "", 8443), "refused");
}

TEST(GatewayTest, TcpPortsHaveOneRoute) {
  const RouteWorld world(str_cat(
      api("  - {name: tcp, port: 9000, protocol: TCP}\n"),
      "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {name: t, namespace: shop}\n"
      "spec:\n  parentRefs: [{name: edge}]\n  rules: [{backendRefs: [{name: v2, port: 80}]}]\n"));
  EXPECT_EQ(pass(world, "", 9000), "v2");
}

TEST(GatewayTest, WhatIsNotServedIsAFinding) {
  const RouteWorld world(
      str_cat(istio("  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: "
                    "SIMPLE, credentialName: c}}\n"
                    "  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}\n"),
              api("  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}\n"
                  "  - {name: tls, port: 8080, protocol: TLS, tls: {mode: Passthrough}}\n"),
              bound("a", "a.example", V("v1")), bound("b", "b.example", V("v1"), "nobody")));
  const auto is_open = [&](uint16_t port) { return world.snapshot().find_gateway_port(port) != nullptr; };
  EXPECT_FALSE(is_open(443));
  EXPECT_TRUE(is_open(8080));
  EXPECT_TRUE(found(world, "WF0050", "port 8080 speaks another protocol"));
  EXPECT_TRUE(found(world, "WF0005", "Gateway shop/nobody is unknown"));
}

TEST(GatewayTest, APortWithoutRoutesAnswers404) {
  const RouteWorld world(istio(kHttp));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "404");
}

TEST(GatewayTest, GatewaysOfOthersAreLeftAlone) {
  const RouteWorld world(
      str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: "
              "shop}\nspec:\n"
              "  gatewayClassName: other\n  listeners: [{name: http, port: 8080, protocol: HTTP}]\n---\n",
              attached("a", "", B("v1"))));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "no port");
}

}  // namespace
}  // namespace weft::proxy
