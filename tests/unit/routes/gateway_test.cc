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
                    "AUTO_PASSTHROUGH}}\n"
                    "  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}\n"),
              api("  - {name: https, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}\n"
                  "  - {name: tls, port: 8080, protocol: TLS, tls: {mode: Passthrough}}\n"),
              bound("a", "a.example", V("v1")), bound("b", "b.example", V("v1"), "nobody")));
  const auto is_open = [&](uint16_t port) { return world.snapshot().find_gateway_port(port) != nullptr; };
  const GatewayServer* refusing = world.snapshot().find_gateway_server("a.example", 443);
  ASSERT_NE(refusing, nullptr);
  EXPECT_NE(refusing->tls->problem.find("protocol HTTPS with mode Passthrough"), std::string::npos);
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

// A VirtualService of namespace shop, with whatever stands in its spec.
std::string service(std::string_view name, std::string_view spec) {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                 ", namespace: shop}\nspec: {gateways: [edge], ", spec, "}\n---\n");
}
std::string grpc(std::string_view name, std::string_view hostnames) {
  return str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: ", name,
                 ", namespace: shop, creationTimestamp: '2020-01-01T00:00:00Z'}\nspec: {hostnames: [",
                 hostnames, "], parentRefs: [{name: edge}], rules: [" B("v2") "]}\n---\n");
}
constexpr char kTls[] =
    "hosts: ['*.example'], tls: [{match: [{sniHosts: ['*.example']}], route: "
    "[{destination: {host: v1}}]}]";

TEST(GatewayTest, ServerNamesAreThoseOfTheServersThatTheNamespaceHas) {
  const RouteWorld world(
      str_cat(istio("  - {port: {number: 8443, name: tls, protocol: TLS}, hosts: ['shop/*.shop.example', "
                    "'*/a.example', 'other/b.example'], tls: {mode: PASSTHROUGH}}\n"),
              service("t", kTls)));
  EXPECT_EQ(pass(world, "x.shop.example", 8443), "v1");
  EXPECT_EQ(pass(world, "a.example", 8443), "v1");
  EXPECT_EQ(pass(world, "b.example", 8443), "refused") << "for routes of another namespace";
  EXPECT_EQ(pass(world, "c.example", 8443), "refused") << "of no server";
}

TEST(GatewayTest, AGatewayHasNothingThatItsNamespaceDoesNotSee) {
  const std::string seen = "hosts: [a.example], http: [" V("v1") "], exportTo: [";
  const RouteWorld world(str_cat(istio(kHttp), service("a", str_cat(seen, "other]"))));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "404");
  EXPECT_TRUE(found(world, "WF0052", "Gateway shop/edge is in a namespace that this is not exported to"));
  const RouteWorld own(str_cat(istio(kHttp), service("a", str_cat(seen, "other, '.']"))));
  EXPECT_EQ(own.ask_gateway("/", "a.example", 8080), "v1");
  EXPECT_FALSE(found(own, "WF0052", ""));
}

TEST(GatewayTest, TheFirstVirtualServiceWithRoutesForATcpPortHasIt) {
  const auto tcp = [](const char* port, const char* to) {
    return str_cat("hosts: ['*'], tcp: [{match: [{port: ", port, "}], route: [{destination: {host: ", to,
                   "}}]}]");
  };
  const RouteWorld world(str_cat(istio("  - {port: {number: 9000, name: a, protocol: TCP}, hosts: ['*']}\n"
                                       "  - {port: {number: 9001, name: b, protocol: TCP}, hosts: ['*']}\n"),
                                 service("a", tcp("9001", "v1")), service("b", tcp("9000", "v2")),
                                 service("c", tcp("9000", "v3"))));
  EXPECT_EQ(pass(world, "", 9000), "v2");
  EXPECT_EQ(pass(world, "", 9001), "v1");
  const auto late =
      std::count_if(world.findings().begin(), world.findings().end(), [](const control_plane::Finding& f) {
        return f.code == "WF0052" && f.object == "VirtualService shop/c" &&
               f.message.find("an older VirtualService has the TCP port") != std::string::npos;
      });
  EXPECT_EQ(late, 1);
}

TEST(GatewayTest, AVirtualServiceThatNoServerTakesIsAFinding) {
  const std::string servers =
      "  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*.example']}\n";
  for (const std::string& spec :
       {std::string("hosts: [a.example.org], http: [" V("v1") "]"), std::string(kTls),
        std::string("hosts: [a.example], http: [{match: [{port: 81}], route: [{destination: {host: v1}}]}]")})
    EXPECT_TRUE(found(RouteWorld(str_cat(istio(servers), service("a", spec))), "WF0052",
                      "no server of Gateway shop/edge takes anything of this"))
        << spec;
  EXPECT_FALSE(found(RouteWorld(str_cat(istio(servers), bound("a", "a.example", V("v1")))), "WF0052", ""));
}

TEST(GatewayTest, OfTwoKindsTheOlderHasTheHost) {
  const RouteWorld world(str_cat(
      api(kListener), attached("young, creationTimestamp: '2021-01-01T00:00:00Z'", "'*.example'", B("v1")),
      attached("else", "a.example.org", B("v3")), grpc("old", "a.example")));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "v2");
  EXPECT_EQ(world.ask_gateway("/", "b.example", 8080), "404");
  EXPECT_EQ(world.ask_gateway("/", "a.example.org", 8080), "v3");
  EXPECT_TRUE(found(world, "WF0050", "the older GRPCRoute shop/old has host names of this"));
}

TEST(GatewayTest, AmongVirtualServicesOfOneAgeTheNameDecides) {
  const auto in = [](const char* ns, const char* name, const char* to) {
    return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                   ", namespace: ", ns,
                   "}\nspec: {gateways: [shop/edge], hosts: [a.example], http: [{match: "
                   "[{uri: {prefix: /}}], route: [{destination: {host: ",
                   to,
                   ".shop.svc.cluster.local}}]}]}\n"
                   "---\n");
  };
  const RouteWorld world(str_cat(istio(kHttp), in("aaa", "z", "v1"), in("zzz", "a", "v2")));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "v2");
}

TEST(GatewayTest, AReferenceToAnotherNamespaceNeedsAGrant) {
  const std::string route = str_cat(
      api("  - {name: http, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}\n"),
      attached("a", "", "{backendRefs: [{name: v1, namespace: shop, port: 80, weight: 3}]}", "other"));
  const RouteWorld refused(route);
  EXPECT_EQ(refused.ask_gateway("/", "a.example", 8080), "500");
  EXPECT_TRUE(found(refused, "WF0051", "no ReferenceGrant of namespace shop"));
  const auto with = [&](std::string_view kind, std::string_view name) {
    const RouteWorld world(str_cat(
        route, "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n",
        "metadata: {name: g, namespace: shop}\nspec:\n  from: [{group: gateway.networking.k8s.io, kind: ",
        kind, ", namespace: other}]\n  to: [{group: '', kind: Service, name: ", name, "}]\n"));
    return world.ask_gateway("/", "a.example", 8080);
  };
  EXPECT_EQ(with("HTTPRoute", "v1"), "v1");
  EXPECT_EQ(with("GRPCRoute", "v1"), "500");
  EXPECT_EQ(with("HTTPRoute", "v2"), "500");
}

// A parent that is a Service needs no grant, one that is a Gateway does, and says so.
TEST(GatewayTest, AMissingGrantIsReportedBesideAServiceToo) {
  const RouteWorld world(
      str_cat(api("  - {name: http, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}\n"),
              attached("a", "", "{backendRefs: [{name: v1, namespace: shop, port: 80}]}", "other",
                       "name: edge, namespace: shop}, {group: '', kind: Service, name: cart, namespace: "
                       "shop")));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "500");
  EXPECT_EQ(world.ask("GET / HTTP/1.1\r\nHost: cart", "10.96.0.1:80", "other"), "v1");
  EXPECT_TRUE(found(world, "WF0051", "no ReferenceGrant of namespace shop"));
}

TEST(GatewayTest, WhatIsReachedWhereItWasDialledIsAFinding) {
  const std::string to = "hosts: [a.example], http: [{route: [{destination: {host: api.example.com}}]}]";
  const std::string entry =
      "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: api, namespace: shop}\n"
      "spec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}]";
  EXPECT_TRUE(found(RouteWorld(str_cat(istio(kHttp), service("a", to), entry, "}\n")), "WF0036",
                    "host api.example.com is reached at the address that was dialled"));
  EXPECT_FALSE(found(RouteWorld(str_cat(istio(kHttp), service("a", to), entry,
                                        ", resolution: STATIC, endpoints: [{address: 192.0.2.1}]}\n")),
                     "WF0036", ""));
}

TEST(GatewayTest, PodsThatTakeTunnelsAreReachedByTheGatewaysIdentity) {
  const auto pod = [](const char* annotations) {
    return str_cat(
        "apiVersion: v1\nkind: Service\nmetadata: {name: safe, namespace: shop}\nspec: {clusterIP: "
        "10.96.0.20, selector: {app: safe}, ports: [{name: http, port: 80}]}\n---\n"
        "apiVersion: v1\nkind: Pod\nmetadata: {name: safe, namespace: shop, labels: {app: safe}, "
        "annotations: {",
        annotations, "}}\nstatus: {podIP: 10.1.0.20, phase: Running}\n---\n");
  };
  const auto says = [&](const char* annotations, const std::string& route) {
    return found(RouteWorld(str_cat(pod(annotations), route)), "WF0036",
                 "pods of safe.shop.svc.cluster.local");
  };
  constexpr char kTunnels[] = "ambient.istio.io/redirection: enabled";
  const std::string istio_route = str_cat(istio(kHttp), bound("a", "a.example", V("safe")));
  const std::string api_route = str_cat(api(kListener), attached("a", "a.example", B("safe")));
  for (const std::string& route : {istio_route, api_route}) {
    EXPECT_FALSE(says(kTunnels, route));
    const RouteWorld world(str_cat(pod(kTunnels), route));
    EXPECT_EQ(world.snapshot().gateway_identities.size(), 1u);
    const VirtualHost* host = world.snapshot().find_gateway_host("a.example", 8080, nullptr);
    ASSERT_NE(host, nullptr);
    ASSERT_NE(host->routes.front().dials_as, nullptr);
    EXPECT_EQ(host->routes.front().dials_as->id.to_string(), "spiffe://cluster.local/ns/shop/sa/edge-weft");
  }
}

// Who is asked at a gateway is found as the gateway's namespace sees it, which may have no pod that asks.
TEST(GatewayTest, ACustomPolicyBringsItsProviderToTheGateway) {
  const std::string edge =
      "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: front}\nspec:\n"
      "  selector: {app: edge}\n  servers:\n" +
      std::string(kHttp) + "---\n";
  const std::string mesh =
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n"
      "    extensionProviders:\n"
      "    - {name: login, envoyExtAuthzHttp: {service: v1.shop.svc.cluster.local, port: 80}}\n---\n";
  const std::string policy =
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ask, namespace: "
      "front}\nspec:\n"
      "  action: CUSTOM\n  provider: {name: login}\n  rules: [{to: [{operation: {paths: [/a]}}]}]\n---\n";
  const std::string route = bound("a", "a.example", V("v1"), "front/edge");
  const RouteWorld without(str_cat(edge, mesh, route));
  EXPECT_FALSE(without.snapshot().gateways_ask);
  const RouteWorld world(str_cat(edge, mesh, policy, route));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 8080), "v1");
  EXPECT_TRUE(world.snapshot().gateways_ask);
  const uint32_t cluster = world.snapshot().find_provider_cluster("front", "login");
  ASSERT_LT(cluster, world.snapshot().clusters.size());
  EXPECT_NE(world.snapshot().clusters[cluster].name.find("v1.shop"), std::string::npos)
      << world.snapshot().clusters[cluster].name;
}

}  // namespace
}  // namespace weft::proxy
