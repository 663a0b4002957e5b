// The Gateway API's mesh profile: a test for each of its nine extended features, by its name there, and for
// what routes, namespaces and ports do to one another. The manifests are compiled and asked as agent and
// proxy do it.
#include <algorithm>

#include "tests/unit/routes/route_world.h"

namespace weft::proxy {
namespace {

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: cart";
#define TO(service) "backendRefs: [{name: " service ", port: 80}]"
#define MARK(value)                                                                                      \
  "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-mark, value: " value \
  "}]}}]"

bool found(const RouteWorld& world, std::string_view code, std::string_view words) {
  return std::any_of(world.findings().begin(), world.findings().end(), [&](const control_plane::Finding& f) {
    return f.code == code && f.message.find(words) != std::string::npos;
  });
}

TEST(MeshFeatureTest, MeshClusterIPMatching) {
  // As the conformance test has it: the address that was dialled decides, not Host.
  const RouteWorld world(http_route("{" MARK("set") ", " TO("v1") "}"));
  EXPECT_EQ(world.ask("GET / HTTP/1.1\r\nHost: v2"), "v1 <x-old=1 <x-keep=1 <x-mark=set");
  EXPECT_EQ(world.ask(kGet, "10.96.0.12:80"), "v2");
  EXPECT_EQ(world.ask("GET / HTTP/1.1\r\nHost: nobody.example"), "v1 <x-old=1 <x-keep=1 <x-mark=set");
}

TEST(MeshFeatureTest, MeshConsumerRoute) {
  const RouteWorld world(
      str_cat(http_route("{" MARK("producer") ", " TO("v1") "}"), "---\n",
              http_route("{" MARK("consumer") ", backendRefs: [{name: v1, namespace: shop, port: 80}]}",
                         "name: cart, namespace: other")));
  EXPECT_EQ(world.ask(kGet, "10.96.0.1:80", "shop"), "v1 <x-old=1 <x-keep=1 <x-mark=producer");
  EXPECT_EQ(world.ask(kGet, "10.96.0.1:80", "other"), "v1 <x-old=1 <x-keep=1 <x-mark=consumer");
}

TEST(MeshFeatureTest, MeshHTTPRouteRewritePath) {
  const RouteWorld world(http_route(
      "{matches: [{path: {value: /prefix/one}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: "
      "ReplacePrefixMatch, replacePrefixMatch: /one}}}], " TO(
          "v1") "}, {matches: [{path: {value: "
                "/full/one}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, "
                "replaceFullPath: /one}}}], " TO("v1") "}"));
  EXPECT_EQ(world.ask("GET /prefix/one/two HTTP/1.1\r\nHost: cart"), "v1 /one/two");
  EXPECT_EQ(world.ask("GET /full/one/two HTTP/1.1\r\nHost: cart"), "v1 /one");
}

TEST(MeshFeatureTest, MeshHTTPRouteSchemeRedirect) {
  const RouteWorld world(
      http_route("{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}"));
  EXPECT_EQ(world.ask("GET /scheme HTTP/1.1\r\nHost: cart:80"), "302 https://cart/scheme");
}

TEST(MeshFeatureTest, MeshHTTPRouteRedirectPort) {
  const RouteWorld world(http_route("{filters: [{type: RequestRedirect, requestRedirect: {port: 8083}}]}"));
  EXPECT_EQ(world.ask("GET /port HTTP/1.1\r\nHost: cart"), "302 http://cart:8083/port");
}

TEST(MeshFeatureTest, MeshHTTPRouteRedirectPath) {
  const RouteWorld world(http_route(
      "{matches: [{path: {value: /original-prefix}}], filters: [{type: RequestRedirect, requestRedirect: "
      "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /replacement-prefix}}}]}, {matches: [{path: "
      "{value: /full}}], filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, "
      "replaceFullPath: /full-path-replacement}}}]}"));
  EXPECT_EQ(world.ask("GET /original-prefix/lemon HTTP/1.1\r\nHost: cart"),
            "302 http://cart/replacement-prefix/lemon");
  EXPECT_EQ(world.ask("GET /full/path/original HTTP/1.1\r\nHost: cart"),
            "302 http://cart/full-path-replacement");
}

TEST(MeshFeatureTest, MeshHTTPRouteBackendRequestHeaderModification) {
  const RouteWorld world(http_route(
      "{backendRefs: [{name: v1, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
      "{set: [{name: X-Old, value: set}], add: [{name: x-new, value: added}], remove: [x-keep]}}]}]}"));
  EXPECT_EQ(world.ask(kGet), "v1 >>x-old=set >>x-new=added");
}

TEST(MeshFeatureTest, MeshHTTPRouteQueryParamMatching) {
  const RouteWorld world(http_route("{matches: [{queryParams: [{name: animal, value: whale}]}], " TO(
      "v1") "}, {matches: [{queryParams: "
            "[{name: animal, value: dolphin}, {name: color, value: blue}]}], " TO("v2") "}"));
  EXPECT_EQ(world.ask("GET /?animal=whale HTTP/1.1\r\nHost: cart"), "v1");
  EXPECT_EQ(world.ask("GET /?animal=dolphin&color=blue HTTP/1.1\r\nHost: cart"), "v2");
  EXPECT_EQ(world.ask("GET /?animal=dolphin HTTP/1.1\r\nHost: cart"), "404");
}

TEST(MeshFeatureTest, MeshHTTPRouteNamedRouteRule) {
  const RouteWorld world(http_route("{name: named-rule, " TO("v1") "}"));
  const SocketAddress dialled = *SocketAddress::parse("10.96.0.1:80");
  const VirtualHost* host = world.snapshot().find_virtual_host(world.source("shop"), "cart", dialled);
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(host->routes.front().name, "shop/cart.named-rule");
}

TEST(MeshRouteTest, AParentsPortRestricts) {
  const RouteWorld world(
      "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: "
      "shop}\nspec:\n"
      "  parentRefs: [{group: '', kind: Service, name: cart, port: 8080}]\n  rules: [{" TO("v1") "}]\n");
  EXPECT_EQ(world.ask(kGet, "10.96.0.1:8080"), "v1");
  EXPECT_EQ(world.ask(kGet, "10.96.0.1:80"), "cart");
}

TEST(MeshRouteTest, RoutesOfOneServiceAreOneListAndTheOlderWins) {
  const RouteWorld world(str_cat(
      http_route("{matches: [{path: {value: /a}}], " TO("v1") "}",
                 "name: young, namespace: shop, creationTimestamp: '2026-02-01T00:00:00Z'"),
      "---\n",
      http_route(
          "{matches: [{path: {value: /a}}], " TO("v2") "}, {matches: [{path: {value: /b}}], " TO("v3") "}",
          "name: old, namespace: shop, creationTimestamp: '2026-01-01T00:00:00Z'")));
  EXPECT_EQ(world.ask("GET /a HTTP/1.1\r\nHost: cart"), "v2");
  EXPECT_EQ(world.ask("GET /b HTTP/1.1\r\nHost: cart"), "v3");
}

// Enough matches that the proxy looks them up instead of trying one after the other.
TEST(MeshRouteTest, LongListsKeepTheMeaningOfSegments) {
  std::string manifest;
  for (const char* half : {"a", "b"}) {
    std::string rules;
    for (int i = 0; i < 16; ++i) {
      str_append(&rules, rules.empty() ? "" : ", ", "{matches: [{path: {value: /", half, i,
                 "}}], backendRefs: [{name: v", i % 3 + 1, ", port: 80}]}");
    }
    str_append(&manifest, manifest.empty() ? "" : "---\n",
               http_route(rules, str_cat("namespace: shop, name: ", half)));
  }
  const RouteWorld world(manifest);
  const auto ask = [&](std::string_view path) {
    return world.ask(str_cat("GET ", path, " HTTP/1.1\r\nHost: cart"));
  };
  EXPECT_EQ(ask("/a1"), "v2");
  EXPECT_EQ(ask("/a1/x"), "v2");
  EXPECT_EQ(ask("/a15/"), "v1");
  EXPECT_EQ(ask("/b14/x/y"), "v3");
  EXPECT_EQ(ask("/a1x"), "404");
  EXPECT_EQ(ask("/a150"), "404");
  EXPECT_EQ(ask("/"), "404");
}

// Whoever is in the mesh may call the Service anyway.
TEST(MeshRouteTest, AReferenceToAnotherNamespaceNeedsNoGrant) {
  const RouteWorld world(http_route("{backendRefs: [{name: v1, namespace: shop, port: 80, weight: 3}]}",
                                    "name: cart, namespace: other"));
  EXPECT_EQ(world.ask(kGet, "10.96.0.1:80", "other"), "v1");
  EXPECT_FALSE(found(world, "WF0051", "ReferenceGrant"));
}

TEST(MeshRouteTest, InvalidBackendsTakeTheirShare) {
  const RouteWorld world(
      http_route("{backendRefs: [{name: v1, port: 80, weight: 2}, {name: nobody, port: 80, weight: 3}, "
                 "{name: v2, port: 99, weight: 4}, "
                 "{group: example.org, kind: Thing, name: t, weight: 1}]}"));
  EXPECT_EQ(world.ask(kGet), "v1 2/10, 500 3/10, 500 4/10, 500 1/10");
  EXPECT_TRUE(found(world, "WF0005", "Service shop/nobody is unknown"));
  EXPECT_TRUE(found(world, "WF0005", "has no port 99"));
  EXPECT_TRUE(found(world, "WF0051", "kind Thing of example.org is no backend"));
}

TEST(MeshRouteTest, NoBackendAndOnlyZeroWeightsAnswer500) {
  EXPECT_EQ(RouteWorld(http_route("{backendRefs: [{name: v1, port: 80, weight: 0}]}")).ask(kGet), "500");
  const RouteWorld none(http_route("{matches: [{path: {value: /}}]}"));
  EXPECT_EQ(none.ask(kGet), "500");
  EXPECT_TRUE(found(none, "WF0051", "a rule without backends answers 500"));
}

constexpr char kGrpcRoute[] =
    "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: g, namespace: shop}\nspec:\n"
    "  parentRefs: [{group: '', kind: Service, name: cart}]\n  rules:\n"
    "  - matches: [{method: {method: Ping}}]\n    backendRefs: [{name: v3, port: 80}]\n"
    "  - matches: [{method: {service: shop.Cart}}]\n    backendRefs: [{name: v1, port: 80}]\n"
    "  - matches: [{method: {service: shop.Cart, method: Add}, headers: [{name: tier, value: gold}]}]\n"
    "    backendRefs: [{name: v2, port: 80}]\n"
    "  - matches: [{method: {type: RegularExpression, service: 'admin[.].*'}}]\n    backendRefs: [{name: v3, "
    "port: 80}]\n";

std::string call(std::string_view path, std::string_view more = "") {
  return str_cat("POST ", path, " HTTP/1.1\r\nHost: cart\r\nContent-Length: 0", more);
}

TEST(MeshRouteTest, GrpcRoutesMatchServiceAndMethod) {
  const RouteWorld world(kGrpcRoute);
  EXPECT_EQ(world.ask(call("/shop.Cart/Add", "\r\ntier: gold")), "v2");
  EXPECT_EQ(world.ask(call("/shop.Cart/Add")), "v1");
  EXPECT_EQ(world.ask(call("/shop.Cart/Ping")), "v1") << "a service is more than a method";
  EXPECT_EQ(world.ask(call("/other.Thing/Ping")), "v3");
  EXPECT_EQ(world.ask(call("/admin.Users/List")), "v3");
  EXPECT_EQ(world.ask(call("/other.Thing/Pong")), "404");
  EXPECT_EQ(world.ask(call("/shop.CartX/Add")), "404");
}

TEST(MeshRouteTest, OneKindHasAPort) {
  const RouteWorld world(
      str_cat(kGrpcRoute, "---\n", http_route("{" TO("v2") "}", "name: h, namespace: shop")));
  EXPECT_EQ(world.ask(call("/other.Thing/Pong")), "404") << "the HTTPRoute takes nothing";
  EXPECT_TRUE(found(world, "WF0050", "a GRPCRoute has port 80 of Service shop/cart already"));
}

TEST(MeshRouteTest, AVirtualServiceIsFoundByHostBesideIt) {
  const RouteWorld world(str_cat(virtual_service("{route: [{destination: {host: v2}}]}"), "---\n",
                                 http_route("{" TO("v1") "}", "name: h, namespace: shop")));
  EXPECT_EQ(world.ask(kGet), "v1") << "who dialled the Service gets its HTTPRoute";
  EXPECT_EQ(world.ask(kGet, "10.96.0.13:80"), "v2") << "who named it elsewhere its VirtualService";
}

TEST(MeshRouteTest, ParentsThatTakeNothingAreFindings) {
  const auto route = [](std::string_view parent) {
    return str_cat(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\n",
        "spec:\n  hostnames: [a.example]\n  parentRefs: [{group: '', kind: Service, ", parent,
        "}]\n  rules: [{" TO("v1") "}]\n");
  };
  EXPECT_TRUE(found(RouteWorld(route("name: nobody")), "WF0005", "Service shop/nobody is unknown"));
  EXPECT_TRUE(found(RouteWorld(route("name: cart, port: 99")), "WF0005", "has no port 99"));
  EXPECT_TRUE(found(RouteWorld(route("name: cart")), "WF0036", "hostnames do not count"));
}

// What a connection with this server name (empty: no TLS) gets.
std::string connect(const RouteWorld& world, std::string_view name, std::string_view dialled,
                    std::string_view ns = "shop") {
  const SocketAddress address = *SocketAddress::parse(std::string(dialled));
  const uint32_t source = world.source(ns);
  const L4Host* host = world.snapshot().find_l4_host(source, address);
  if (host == nullptr) return "service";
  const L4Route* route =
      match_l4_route(*host, !name.empty(), name, address, source_view(world.snapshot(), source));
  if (route == nullptr) return "refused";
  std::string out;
  for (const WeightedCluster& cluster : route->clusters)
    str_append(&out, out.empty() ? "" : ", ",
               cluster.invalid ? "invalid" : world.snapshot().clusters[cluster.cluster].service, " ",
               cluster.weight);
  return out;
}

constexpr char kDatabase[] =
    "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\n"
    "spec: {clusterIP: 10.96.0.20, ports: [{name: tcp-main, port: 5432}, {name: tls-main, port: 443}]}\n---\n"
    "apiVersion: v1\nkind: Service\nmetadata: {name: db2, namespace: shop}\n"
    "spec: {clusterIP: 10.96.0.21, ports: [{name: tcp-main, port: 5432}, {name: tls-main, port: "
    "443}]}\n---\n";

TEST(Layer4RouteTest, TcpRoutesOfVirtualServicesTellClientsAndAddressesApart) {
  const RouteWorld world(str_cat(
      kDatabase,
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: db, namespace: "
      "shop}\nspec:\n"
      "  hosts: [db]\n  tcp:\n"
      "  - match: [{port: 5432, sourceNamespace: other}]\n    route: [{destination: {host: db2}}]\n"
      "  - match: [{port: 5432, sourceLabels: {app: nobody}}]\n    route: [{destination: {host: v1}}]\n"
      "  - match: [{port: 5432, destinationSubnets: [10.97.0.0/16]}]\n    route: [{destination: {host: "
      "v2}}]\n"
      "  - match: [{port: 5432, sourceLabels: {app: client}, destinationSubnets: [10.96.0.0/24]}]\n"
      "    route: [{destination: {host: db}, weight: 9}, {destination: {host: db2}, weight: 1}]\n"));
  EXPECT_EQ(connect(world, "", "10.96.0.20:5432", "other"), "db2 1");
  EXPECT_EQ(connect(world, "", "10.96.0.20:5432"), "db 9, db2 1");
  EXPECT_EQ(connect(world, "", "10.96.0.20:443"), "service") << "nothing is said about that port";
}

TEST(Layer4RouteTest, TlsRoutesOfVirtualServicesMatchServerNames) {
  const RouteWorld world(str_cat(
      kDatabase,
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: db, namespace: "
      "shop}\nspec:\n"
      "  hosts: [db, '*.example.com', db.example.org]\n  tls:\n"
      "  - match: [{sniHosts: [db.example.org]}, {sniHosts: ['*.b.example.com']}]\n"
      "    route: [{destination: {host: db2}}]\n"
      "  - match: [{sniHosts: ['*.example.com'], port: 443}]\n    route: [{destination: {host: db}}]\n"));
  EXPECT_EQ(connect(world, "db.example.org", "10.96.0.20:443"), "db2 1");
  EXPECT_EQ(connect(world, "a.b.example.com", "10.96.0.20:443"), "db2 1");
  EXPECT_EQ(connect(world, "c.example.com", "10.96.0.20:443"), "db 1");
  EXPECT_EQ(connect(world, "example.com", "10.96.0.20:443"), "refused");
  EXPECT_EQ(connect(world, "c.example.com", "10.96.0.20:5432"), "service") << "that port speaks no TLS";
}

TEST(Layer4RouteTest, ExportToHoldsForConnectionsToo) {
  const RouteWorld world(
      str_cat(kDatabase,
              "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: db, namespace: "
              "shop}\nspec:\n"
              "  hosts: [db]\n  exportTo: ['.']\n  tcp: [{route: [{destination: {host: db2}}]}]\n"));
  EXPECT_EQ(connect(world, "", "10.96.0.20:5432", "shop"), "db2 1");
  EXPECT_EQ(connect(world, "", "10.96.0.20:5432", "other"), "service");
}

TEST(Layer4RouteTest, TcpRouteSplitsAndTheOldestTakesAll) {
  const auto route = [](std::string_view meta, std::string_view backends) {
    return str_cat(
        "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: {", meta,
        ", namespace: shop}\nspec:\n  parentRefs: [{group: '', kind: Service, name: db, port: 5432}]\n",
        "  rules: [{backendRefs: [", backends, "]}]\n");
  };
  const RouteWorld world(str_cat(
      kDatabase, route("name: b", "{name: v1, port: 80}"), "---\n",
      route("name: a",
            "{name: db, port: 5432, weight: 3}, {name: db2, port: 5432}, {name: gone, port: 1, weight: 2}")));
  EXPECT_EQ(connect(world, "", "10.96.0.20:5432"), "db 3, db2 1, invalid 2");
  EXPECT_EQ(connect(world, "", "10.96.0.20:443"), "service");
}

TEST(Layer4RouteTest, TlsRouteRanksServerNames) {
  const auto route = [](std::string_view name, std::string_view names, std::string_view backend) {
    return str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {name: ", name,
                   ", namespace: shop}\nspec:\n  hostnames: [", names,
                   "]\n  parentRefs: [{group: '', kind: Service, name: db, port: 443}]\n  rules: "
                   "[{backendRefs: [{name: ",
                   backend, ", port: 443}]}]\n");
  };
  const RouteWorld world(str_cat(kDatabase, route("wide", "'*.example.com'", "db"), "---\n",
                                 route("narrow", "'*.a.example.com', one.example.com", "db2")));
  EXPECT_EQ(connect(world, "x.example.com", "10.96.0.20:443"), "db 1");
  EXPECT_EQ(connect(world, "x.a.example.com", "10.96.0.20:443"), "db2 1");
  EXPECT_EQ(connect(world, "one.example.com", "10.96.0.20:443"), "db2 1");
  EXPECT_EQ(connect(world, "example.org", "10.96.0.20:443"), "refused");
}

TEST(Layer4RouteTest, TheKernelLeavesRoutedPortsToTheProxy) {
  const std::string text =
      str_cat(kServices, kDatabase,
              "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: db, namespace: "
              "shop}\nspec:\n"
              "  hosts: [db]\n  tcp: [{match: [{port: 5432}], route: [{destination: {host: db2}}]}]\n");
  const auto service =
      control_plane::service(control_plane::compile_text(text), "shop/db.shop.svc.cluster.local");
  ASSERT_EQ(service.ports_size(), 2);
  EXPECT_EQ(service.ports(0).app_protocol(), istio::workload::UNKNOWN);
  EXPECT_EQ(service.ports(1).app_protocol(), istio::workload::TLS);
}

}  // namespace
}  // namespace weft::proxy
