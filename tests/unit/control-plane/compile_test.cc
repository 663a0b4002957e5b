// Routes, policies, services and the checks between objects, compiled from text; the canary of the design is
// taken verbatim.
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/strings.h"
#include "control-plane/compile/protocol.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> codes(const Compiled& compiled) {
  std::vector<std::string> out;
  for (const Finding& finding : compiled.findings) out.push_back(finding.code);
  std::sort(out.begin(), out.end());
  return out;
}

TEST(CanaryTest, CompilesVerbatimToTheExpectedRoutes) {
  const Compiled compiled = compile_text(read_file("tests/data/manifests/canary.yaml"));
  const auto routes = resource<mesh::v1::RouteSet>(compiled, kRouteSetType, "default/product-service");
  ASSERT_EQ(routes.hosts_size(), 1);
  EXPECT_EQ(routes.hosts(0), "product-service.default.svc.cluster.local");
  EXPECT_EQ(routes.origin().line(), 1U);
  ASSERT_EQ(routes.http_size(), 1);
  EXPECT_EQ(routes.http(0).matches_size(), 0);
  ASSERT_EQ(routes.http(0).destinations_size(), 2);
  EXPECT_EQ(routes.http(0).destinations(0).subset(), "v1");
  EXPECT_EQ(routes.http(0).destinations(0).weight(), 95U);
  EXPECT_EQ(routes.http(0).destinations(1).subset(), "v2");
  EXPECT_EQ(routes.http(0).destinations(1).weight(), 5U);
  EXPECT_EQ(routes.http(0).destinations(1).host(), "product-service.default.svc.cluster.local");
  EXPECT_EQ(routes.http(0).origin().line(), 9U);
  const auto policy =
      resource<mesh::v1::DestinationPolicy>(compiled, kDestinationPolicyType, "default/product-service");
  EXPECT_EQ(policy.host(), "product-service.default.svc.cluster.local");
  ASSERT_EQ(policy.subsets_size(), 2);
  EXPECT_EQ(policy.subsets(1).labels().at("version"), "v2");
}

TEST(CanaryTest, TheExampleFolderHasNothingToReport) {
  for (const Finding& finding : analyze({"examples/canary"})) ADD_FAILURE() << to_string(finding);
}

TEST(CanaryTest, TheExampleRoutingIsTheDesignsCanary) {
  EXPECT_EQ(read_file("examples/canary/routing.yaml"), read_file("tests/data/manifests/canary.yaml"));
}

TEST(CompileTest, TheSameObjectsGiveTheSameVersions) {
  const std::string text =
      read_file("examples/canary/workloads.yaml") + "---\n" + read_file("examples/canary/routing.yaml");
  const Compiled one = compile_text(text);
  const Compiled two = compile_text(text);
  Change change;
  diff(one, two, change);
  EXPECT_TRUE(change.upserted.empty());
  EXPECT_TRUE(change.removed.empty());
}

TEST(CompileTest, OnlyWhatChangedIsEmitted) {
  const std::string a =
      "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n---\n";
  const std::string b =
      "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n---\n";
  const std::string b2 =
      "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 81}]}\n---\n";
  Change change;
  diff(compile_text(a + b), compile_text(b2), change);
  ASSERT_EQ(change.upserted.size(), 1U);
  EXPECT_EQ(change.upserted[0].name(), "default/b.default.svc.cluster.local");
  ASSERT_EQ(change.removed.size(), 1U);
  EXPECT_EQ(change.removed[0].second, "default/a.default.svc.cluster.local");
}

// Files that come one after the other, each compiled on what was before.
class RecompileTest : public testing::Test {
 protected:
  // nullopt: the file goes.
  void write(const std::string& file, const std::optional<std::string>& text) {
    Store::Changes changes;
    changes.emplace(file, text ? std::optional(parse_file(file, *text)) : std::nullopt);
    store_.update(std::move(changes));
    now_ = compile(store_.objects(), "node1", {}, &now_);
  }
  static std::string routes(const std::string& name, const std::string& host, const std::string& path) {
    return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                   "}\nspec: {hosts: [", host, "], http: [{match: [{uri: {prefix: ", path,
                   "}}], route: [{destination: {host: a}}]}]}\n");
  }
  // Where the resource's bytes are; nullptr: there is none.
  const char* body(const std::string& name) const {
    const auto found = now_.resources.find({kRouteSetType, name});
    return found == now_.resources.end() ? nullptr : found->second.body().data();
  }
  // As if nothing had been before.
  void expect_as_fresh() const {
    Change change;
    const Compiled fresh = compile(store_.objects(), "node1");
    diff(fresh, now_, change);
    EXPECT_TRUE(change.upserted.empty());
    EXPECT_TRUE(change.removed.empty());
    EXPECT_EQ(sorted(now_.findings), sorted(fresh.findings));
  }
  static std::vector<std::string> sorted(const std::vector<Finding>& findings) {
    std::vector<std::string> out;
    for (const Finding& finding : findings) out.push_back(to_string(finding));
    std::sort(out.begin(), out.end());
    return out;
  }
  static std::string service(const std::string& name, uint32_t port) {
    return str_cat("apiVersion: v1\nkind: Service\nmetadata: {name: ", name, "}\nspec: {clusterIP: 10.96.0.",
                   name.size(), ", ports: [{port: ", port, "}]}\n---\n");
  }
  // `parent` and `hostname` as they stand in the manifest.
  static std::string http_route(const std::string& name, const std::string& parent, const std::string& to,
                                const std::string& path, const std::string& hostname = "") {
    return str_cat("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: ", name,
                   "}\nspec:\n  parentRefs: [", parent, "]\n  hostnames: [", hostname,
                   "]\n  rules: [{matches: [{path: {value: ", path, "}}], backendRefs: [{name: ", to,
                   ", port: 80}]}]\n---\n");
  }

  Store store_;
  Compiled now_;
};

TEST_F(RecompileTest, WhatDidNotChangeKeepsItsResource) {
  write("a.yaml", routes("a", "a", "/one"));
  write("b.yaml", routes("b", "b", "/one"));
  const char* a = body("default/a");
  const Resource b = now_.resources.at({kRouteSetType, "default/b"});
  ASSERT_NE(a, nullptr);
  write("b.yaml", routes("b", "b", "/two"));
  EXPECT_EQ(body("default/a"), a);
  EXPECT_NE(body("default/b"), b.body().data());
  EXPECT_NE(now_.resources.at({kRouteSetType, "default/b"}).version(), b.version());
  expect_as_fresh();
}

TEST_F(RecompileTest, WhatIsRenamedOrGoneIsForgotten) {
  write("a.yaml", routes("a", "a", "/one"));
  write("b.yaml", routes("b", "b", "/one"));
  write("b.yaml", routes("c", "b", "/one"));
  EXPECT_EQ(body("default/b"), nullptr);
  EXPECT_NE(body("default/c"), nullptr);
  expect_as_fresh();
  write("b.yaml", std::nullopt);
  EXPECT_EQ(body("default/c"), nullptr);
  EXPECT_EQ(now_.steps.size(), 2U) << "its routes, and its references";
  expect_as_fresh();
}

TEST_F(RecompileTest, RoutesThatDelegateFollowTheirDelegate) {
  write("root.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: root}\n"
        "spec: {hosts: [a], http: [{match: [{uri: {prefix: /x}}], delegate: {name: part}}]}\n");
  write("part.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: part}\n"
        "spec: {http: [{route: [{destination: {host: one}}]}]}\n");
  const Resource before = now_.resources.at({kRouteSetType, "default/root"});
  write("part.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: part}\n"
        "spec: {http: [{route: [{destination: {host: two}}]}]}\n");
  EXPECT_NE(now_.resources.at({kRouteSetType, "default/root"}).version(), before.version());
  expect_as_fresh();
}

TEST_F(RecompileTest, RoutesThatDelegateAreCompiledOnlyWhenTheyChange) {
  const auto root = [](const std::string& name, const std::string& part) {
    return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                   "}\nspec: {hosts: [", name,
                   "], http: [{match: [{uri: {prefix: /x}}], delegate: {name: ", part, "}}]}\n");
  };
  const auto part = [](const std::string& name, const std::string& path) {
    return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                   "}\nspec: {http: [{match: [{uri: {prefix: ", path,
                   "}}], route: [{destination: {host: a}}]}]}\n");
  };
  write("one.yaml", root("one", "first"));
  write("two.yaml", root("two", "second"));
  write("first.yaml", part("first", "/x/0"));
  write("three.yaml", root("three", "third"));
  write("third.yaml", part("third", "/y"));
  write("second.yaml", part("second", "/x/1"));
  expect_as_fresh();
  const char* one = body("default/one");
  ASSERT_NE(one, nullptr);
  write("second.yaml", part("second", "/x/2"));
  EXPECT_EQ(body("default/one"), one);
  // That /y is no part of /x is still said.
  expect_as_fresh();
  write("first.yaml", std::nullopt);
  EXPECT_NE(body("default/one"), one);
  expect_as_fresh();
}

TEST_F(RecompileTest, RoutesOfTheGatewayApiAreCompiledByPort) {
  write("services.yaml", service("a", 80) + service("bb", 80));
  write("a.yaml", http_route("a", "{kind: Service, group: '', name: a}", "a", "/one"));
  write("b.yaml", http_route("b", "{kind: Service, group: '', name: bb}", "nobody", "/one"));
  const std::string of_a = "gateway-api/default/a:80", of_b = "gateway-api/default/bb:80";
  const char* a = body(of_a);
  const char* b = body(of_b);
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  expect_as_fresh();
  write("a.yaml", http_route("a", "{kind: Service, group: '', name: a}", "a", "/two"));
  EXPECT_NE(body(of_a), a);
  EXPECT_EQ(body(of_b), b);
  // That nobody is unknown is still said.
  expect_as_fresh();
  write("nobody.yaml", service("nobody", 80));
  EXPECT_NE(body(of_b), b);
  expect_as_fresh();
}

TEST_F(RecompileTest, RoutesOfGatewaysAreCompiledByHost) {
  write("services.yaml", service("a", 80) + service("bb", 80));
  write("edge.yaml",
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\n"
        "spec: {servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]}\n---\n"
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: other}\n"
        "spec: {gatewayClassName: weft, listeners: [{name: http, port: 8081, protocol: HTTP}]}\n");
  const auto bound = [](const std::string& name, const std::string& path) {
    return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                   "}\nspec: {hosts: [", name,
                   ".example], gateways: [edge], http: [{match: [{uri: {prefix: ", path,
                   "}}], route: [{destination: {host: a}}]}]}\n");
  };
  write("x.yaml", bound("x", "/one"));
  write("y.yaml", bound("y", "/one"));
  write("r.yaml", http_route("r", "{name: other}", "a", "/one", "r.example"));
  write("s.yaml", http_route("s", "{name: other}", "nobody", "/one", "s.example"));
  const std::vector<std::string> names = {"gateway/8080/x.example", "gateway/8080/y.example",
                                          "gateway/8081/r.example", "gateway/8081/s.example"};
  const auto bodies = [&] {
    std::vector<const char*> out;
    for (const std::string& name : names) out.push_back(body(name));
    return out;
  };
  const std::vector<const char*> first = bodies();
  for (const char* made : first) ASSERT_NE(made, nullptr);
  expect_as_fresh();
  write("x.yaml", bound("x", "/two"));
  write("r.yaml", http_route("r", "{name: other}", "a", "/two", "r.example"));
  const std::vector<const char*> second = bodies();
  EXPECT_NE(second[0], first[0]);
  EXPECT_EQ(second[1], first[1]);
  EXPECT_NE(second[2], first[2]);
  EXPECT_EQ(second[3], first[3]);
  expect_as_fresh();
  write("y.yaml", std::nullopt);
  EXPECT_EQ(body(names[1]), nullptr);
  expect_as_fresh();
}

TEST(CompileTest, AServiceCarriesItsAddressesAndPorts) {
  const Compiled compiled = compile_text(R"(
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00::1"]
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: db, port: 3306}
  - {name: dns, port: 53, protocol: UDP}
)");
  const istio::workload::Service cart = service(compiled, "shop/cart.shop.svc.cluster.local");
  EXPECT_EQ(cart.hostname(), "cart.shop.svc.cluster.local");
  ASSERT_EQ(cart.addresses_size(), 2);
  EXPECT_EQ(cart.addresses(0).address(), std::string("\x0a\x60\x00\x01", 4));
  EXPECT_EQ(cart.addresses(1).address().size(), 16U);
  EXPECT_EQ(cart.ip_families(), istio::workload::DUAL);
  ASSERT_EQ(cart.ports_size(), 2);
  EXPECT_EQ(cart.ports(0).target_port(), 0U);
  EXPECT_EQ(cart.ports(1).target_port(), 3306U);
  mesh::v1::ServicePorts ports;
  ASSERT_TRUE(cart.extensions(0).config().UnpackTo(&ports));
  EXPECT_EQ(ports.ports(0).name(), "http");
  EXPECT_EQ(ports.ports(0).protocol(), mesh::v1::PROTOCOL_HTTP);
  EXPECT_EQ(ports.ports(1).protocol(), mesh::v1::PROTOCOL_TCP);
}

// The name of a port counts with its protocol: a pod may serve DNS by both.
TEST(CompileTest, ANamedDatagramPortIsTheNumberThatAPodGivesIt) {
  const Compiled compiled = compile_text(R"(
apiVersion: v1
kind: Service
metadata: {name: names, namespace: shop}
spec:
  clusterIP: 10.96.0.53
  selector: {app: names}
  ports: [{name: dns, port: 53, protocol: UDP, targetPort: dns}, {name: none, port: 54, protocol: UDP, targetPort: tcp}]
---
apiVersion: v1
kind: Pod
metadata: {name: names, namespace: shop, labels: {app: names}}
spec:
  containers:
  - {name: c, ports: [{name: tcp, containerPort: 5354}, {name: dns, containerPort: 5353, protocol: UDP}]}
status: {podIP: 10.1.0.53, phase: Running}
)");
  mesh::v1::ServicePorts ports;
  ASSERT_TRUE(service(compiled, "shop/names.shop.svc.cluster.local").extensions(0).config().UnpackTo(&ports));
  ASSERT_EQ(ports.datagram_ports_size(), 1) << "no pod serves the other by UDP";
  EXPECT_EQ(ports.datagram_ports(0).number(), 53U);
  EXPECT_EQ(ports.datagram_ports(0).target_port(), 5353U);
}

TEST(ProtocolTest, AppProtocolThenNamePrefixThenKnownPorts) {
  struct Row {
    const char* app;
    const char* name;
    uint16_t port;
    mesh::v1::Protocol expected;
  };
  constexpr Row kRows[] = {
      {"http", "tcp-x", 1, mesh::v1::PROTOCOL_HTTP},
      {"HTTP", "", 1, mesh::v1::PROTOCOL_HTTP},
      {"kubernetes.io/ws", "", 1, mesh::v1::PROTOCOL_HTTP},
      {"kubernetes.io/h2c", "", 1, mesh::v1::PROTOCOL_HTTP2},
      {"https", "", 1, mesh::v1::PROTOCOL_TLS},
      {"", "grpc-api", 1, mesh::v1::PROTOCOL_GRPC},
      {"", "http", 3306, mesh::v1::PROTOCOL_HTTP},
      {"", "httpx", 1, mesh::v1::PROTOCOL_UNSPECIFIED},
      {"", "redis-main", 1, mesh::v1::PROTOCOL_TCP},
      {"", "", 25, mesh::v1::PROTOCOL_TCP},
      {"", "", 8080, mesh::v1::PROTOCOL_UNSPECIFIED},
      {"example.com/own", "", 6379, mesh::v1::PROTOCOL_TCP},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(protocol_of(row.app, row.name, row.port), row.expected)
        << row.app << " " << row.name << " " << row.port;
  }
}

TEST(CrossCheckTest, UnknownHostsAndSubsetsAreWarnings) {
  EXPECT_EQ(codes(compile_text(read_file("tests/data/manifests/canary.yaml"))),
            (std::vector<std::string>{"WF0005", "WF0005"}));
}

TEST(CrossCheckTest, AMissingSubsetAndAnEmptySubsetAreTwoDifferentThings) {
  const Compiled compiled = compile_text(R"(
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: cart, version: v1}}
status: {podIP: 10.0.0.1}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec: {host: cart, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
  - route:
    - destination:
        host: cart
        subset: v3
)");
  ASSERT_EQ(codes(compiled), (std::vector<std::string>{"WF0005", "WF0033"}));
  for (const Finding& finding : compiled.findings) {
    if (finding.code == "WF0005") {
      EXPECT_EQ(finding.field, "spec.http[0].route[0].destination.subset");
      EXPECT_EQ(finding.line, 26U);
    }
  }
}

mesh::v1::DestinationPolicy policy_with(std::string_view upgrade) {
  const Compiled compiled = compile_text(str_cat(R"(
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec: {host: cart, trafficPolicy: {connectionPool: {http: {)",
                                                 upgrade, "}}}}\n"));
  return resource<mesh::v1::DestinationPolicy>(compiled, kDestinationPolicyType, "default/cart");
}

TEST(UpgradePolicyTest, IsReadFromTheDestinationRule) {
  using mesh::v1::ConnectionPool;
  const auto upgrade = [](std::string_view text) {
    return policy_with(text).traffic_policy().connection_pool().http2_upgrade();
  };
  EXPECT_EQ(upgrade("h2UpgradePolicy: UPGRADE"), ConnectionPool::UPGRADE);
  EXPECT_EQ(upgrade("h2UpgradePolicy: DO_NOT_UPGRADE"), ConnectionPool::DO_NOT_UPGRADE);
  EXPECT_EQ(upgrade("h2UpgradePolicy: DEFAULT"), upgrade(""));
}

TEST(UpgradePolicyTest, AWordThatIsNoneIsRefusedByNameAndPlace) {
  const ParsedFile file =
      parse_file("f.yaml",
                 "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
                 "metadata: {name: cart}\n"
                 "spec: {host: cart, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: yes}}}}\n");
  ASSERT_EQ(file.findings.size(), 1u);
  EXPECT_EQ(file.findings[0].field, "spec.trafficPolicy.connectionPool.http.h2UpgradePolicy");
}

TEST(CrossCheckTest, AServiceThatSelectsNoPodIsAWarning) {
  EXPECT_EQ(codes(compile_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: "
                               "a}, ports: [{port: 80}]}\n")),
            (std::vector<std::string>{"WF0011"}));
}

TEST(CrossCheckTest, TheYoungerOfTwoRouteSetsForAHostIsNamed) {
  const auto vs = [](const std::string& name, const std::string& created) {
    return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + name +
           ", creationTimestamp: \"" + created +
           "\"}\nspec: {hosts: [x.example.com], http: [{route: [{destination: {host: cart}}]}]}\n---\n";
  };
  const Compiled compiled = compile_text(
      "apiVersion: v1\nkind: Service\nmetadata: {name: cart}\nspec: {ports: [{port: 80}]}\n---\n" +
      vs("a", "2026-01-02T00:00:00Z") + vs("b", "2026-01-01T00:00:00Z"));
  ASSERT_EQ(codes(compiled), (std::vector<std::string>{"WF0032"}));
  EXPECT_EQ(compiled.findings[0].object, "VirtualService default/a");
}

TEST(CompileTest, ARouteSetExportedToNobodyIsNotEmitted) {
  const Compiled compiled = compile_text(
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n"
      "spec: {hosts: [a.b], exportTo: [\"~\"], http: [{route: [{destination: {host: a.b}}]}]}\n");
  EXPECT_TRUE(compiled.resources.empty());
}

}  // namespace
}  // namespace weft::control_plane
