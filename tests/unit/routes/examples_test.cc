// The examples of this folder's subjects, as they stand: compiled without any finding, and asked what their
// READMEs say. Real traffic through some of them is in tests/integration/traffic_test.cc.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "absl/strings/escaping.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/routes/route_world.h"
#include "userspace-proxy/policy/request_policy.h"

namespace weft::proxy {
namespace {

std::string file(const std::string& path) {
  std::ifstream in(str_cat("examples/", path));
  EXPECT_TRUE(in.is_open()) << "run from the root of the repository: " << path;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// With the workloads of the canary, and clients of two namespaces.
RouteWorld example(const std::string& name) {
  RouteWorld world(str_cat(file("canary/workloads.yaml"), "\n---\n", file(name + "/routing.yaml")));
  for (const control_plane::Finding& finding : world.findings()) {
    // The services that every world of these tests has select nothing.
    if (finding.code == "WF0011" || finding.file.empty()) continue;
    ADD_FAILURE() << control_plane::to_string(finding);
  }
  return world;
}

std::string first_endpoint(const RouteWorld& world, uint32_t cluster) {
  return cluster == kNone ? "none" : world.snapshot().clusters[cluster].endpoints.front().workload;
}

std::string connection(const RouteWorld& world, const std::string& ns, std::string_view name,
                       const std::string& dialled) {
  const SocketAddress address = *SocketAddress::parse(dialled);
  const uint32_t source = world.source(ns);
  const L4Host* host = world.snapshot().find_l4_host(source, address);
  if (host == nullptr) return "service";
  const L4Route* route =
      match_l4_route(*host, !name.empty(), name, address, source_view(world.snapshot(), source));
  return route == nullptr ? "refused" : first_endpoint(world, route->clusters.front().cluster);
}

constexpr char kAddress[] = "10.96.0.10:80";
constexpr char kHost[] = " HTTP/1.1\r\nHost: product-service";

TEST(ExampleTest, HttpRoute) {
  const RouteWorld world = example("http-route");
  EXPECT_EQ(world.ask(str_cat("GET /old/item", kHost), kAddress, "default"),
            "301 http://product-service/new/item");
  EXPECT_EQ(world.ask(str_cat("GET /", kHost, "\r\nx-user: tester"), kAddress, "default"),
            "product-v2 <x-old=1 <x-keep=1 <x-route=testers");
  EXPECT_EQ(world.ask(str_cat("GET /", kHost), kAddress, "default"),
            "product-v1 90/100, product-v2 10/100 timeout 10000");
}

TEST(ExampleTest, GrpcRoute) {
  const RouteWorld world = example("grpc-route");
  EXPECT_EQ(world.ask(str_cat("POST /shop.Products/Search", kHost), kAddress, "default"), "product-v2");
  EXPECT_EQ(world.ask(str_cat("POST /shop.Products/Get", kHost), kAddress, "default"), "product-v1");
  EXPECT_EQ(world.ask(str_cat("POST /shop.Cart/Get", kHost), kAddress, "default"), "404");
}

TEST(ExampleTest, ConsumerRoute) {
  const RouteWorld world = example("consumer-route");
  EXPECT_EQ(world.ask(str_cat("GET /", kHost), kAddress, "shop"), "product-v2");
  EXPECT_EQ(world.ask(str_cat("GET /", kHost), kAddress, "default"), "product-service");
}

TEST(ExampleTest, ExternalAuthorization) {
  const RouteWorld world = example("external-authorization");
  const Snapshot& snapshot = world.snapshot();
  const auto provider = snapshot.find_provider("desk");
  ASSERT_NE(provider, nullptr);
  EXPECT_EQ(provider->kind, ExternalProvider::Kind::kHttp);
  EXPECT_EQ(first_endpoint(world, snapshot.find_provider_cluster("default", "desk")), "desk");
}

TEST(ExampleTest, ClaimRouting) {
  const RouteWorld world = example("claim-routing");
  const auto with = [](const std::vector<std::string>& claim, const char* text) {
    VerifiedToken out;
    out.claims[claim_key(claim)] = {"other", text};
    return out;
  };
  const VerifiedToken tester = with({"groups"}, "testers"), other = with({"groups"}, "users"),
                      nested = with({"realm_access", "role"}, "test-7"), flat = with({"role"}, "test-7");
  const auto ask = [&](const VerifiedToken* token) {
    return world.ask_gateway_workload("/", "shop.example.com", 8080, token);
  };
  EXPECT_EQ(ask(&tester), "product-v2");
  EXPECT_EQ(ask(&nested), "product-v2");
  EXPECT_EQ(ask(&flat), "product-v1");
  EXPECT_EQ(ask(&other), "product-v1");
  EXPECT_EQ(ask(nullptr), "product-v1");
}

TEST(ExampleTest, GatewayAuthorization) {
  const RouteWorld world = example("gateway-authorization");
  const Snapshot& snapshot = world.snapshot();
  const VirtualHost* host = snapshot.find_gateway_host("shop.example.com", 8080, nullptr);
  ASSERT_NE(host, nullptr);
  const GatewayRules* rules = snapshot.find_gateway_rules(*host);
  ASSERT_NE(rules, nullptr);
  const auto status = [&](const char* client, std::string path) {
    const ConnectionPolicy policy(rules->policies, {.source = *IpAddress::parse(client),
                                                    .identity = {},
                                                    .destination = *SocketAddress::parse("10.0.0.1:8080")});
    RequestHead head;
    head.method = "GET";
    head.authority = "shop.example.com";
    head.target = path;
    EXPECT_TRUE(split_origin_form(path, &head));
    EXPECT_TRUE(normalise_target(PathNormalisation::kBase, &head.rewritten, &head));
    PathReadings readings;
    return policy.judge(judged(head, *IpAddress::parse(client), &readings)).allowed ? 200 : 403;
  };
  EXPECT_EQ(status("127.0.0.1", "/products"), 200);
  EXPECT_EQ(status("10.1.2.3", "/admin"), 403);
  EXPECT_EQ(status("127.0.0.1", "/a/../%61dmin"), 403);
  EXPECT_EQ(status("192.0.2.1", "/products"), 403);
}

TEST(ExampleTest, Gateway) {
  const RouteWorld world = example("gateway");
  EXPECT_EQ(world.ask_gateway("/products", "shop.example.com", 8080), "product-service");
  EXPECT_EQ(world.ask_gateway("/", "shop.example.com", 8080), "404");
  EXPECT_EQ(world.ask_gateway("/a", "old.example.com", 8080), "301 https://old.example.com/a");
}

TEST(ExampleTest, GatewayTls) {
  const test::Leaf leaf =
      test::make_leaf(test::make_authority("public"), {.names = {{GEN_DNS, "shop.example.com"}}});
  const auto encoded = [](const std::string& text) { return absl::Base64Escape(text); };
  const RouteWorld world(str_cat(file("canary/workloads.yaml"), "\n---\n", file("gateway-tls/routing.yaml"),
                                 "---\napiVersion: v1\nkind: Secret\nmetadata: {name: "
                                 "shop-certificate}\ntype: kubernetes.io/tls\ndata: {tls.crt: ",
                                 encoded(to_pem(leaf.certificate.get())),
                                 ", tls.key: ", encoded(test::key_pem(leaf.key.get())), "}\n"));
  const GatewayServer* server = world.snapshot().find_gateway_server("shop.example.com", 8443);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->tls->problem, "");
  EXPECT_EQ(world.ask_gateway("/products", "shop.example.com", 8443), "product-service");
  EXPECT_EQ(world.ask_gateway("/a", "shop.example.com", 8080), "301 https://shop.example.com/a");
}

TEST(ExampleTest, GatewayApi) {
  const RouteWorld world = example("gateway-api");
  EXPECT_EQ(world.ask_gateway("/products/1", "shop.example.com", 8080), "product-service");
  EXPECT_EQ(world.ask_gateway("/products", "www.example.com", 8080), "404");
}

TEST(ExampleTest, TcpRoute) {
  const RouteWorld world = example("tcp-route");
  EXPECT_EQ(connection(world, "default", "", "10.96.0.40:9000"), "product-v2");
}

TEST(ExampleTest, VirtualServiceTcp) {
  const RouteWorld world = example("virtual-service-tcp");
  EXPECT_EQ(connection(world, "default", "", "10.96.0.40:9000"), "product-v2");
  EXPECT_EQ(connection(world, "nobody", "", "10.96.0.40:9000"), "product-v1");
}

TEST(ExampleTest, RegistryOnly) {
  const RouteWorld world = example("registry-only");
  const Snapshot& snapshot = world.snapshot();
  const uint32_t client = world.source("default");
  ASSERT_NE(client, kNone);
  const auto undeclared = [&](const std::string& address) {
    return snapshot.is_undeclared(client, *SocketAddress::parse(address));
  };
  EXPECT_FALSE(undeclared(kAddress));
  EXPECT_FALSE(undeclared("240.0.0.1:80"));
  EXPECT_TRUE(undeclared("198.51.100.1:80"));
  EXPECT_FALSE(snapshot.is_undeclared(world.source("shop"), *SocketAddress::parse("198.51.100.1:80")));
  EXPECT_EQ(world.ask("GET / HTTP/1.1\r\nHost: catalogue.example.com", "240.0.0.1:80", "default"),
            "catalogue");
  EXPECT_EQ(world.ask("GET / HTTP/1.1\r\nHost: elsewhere.example", "198.51.100.1:80", "default"), "no host");
  EXPECT_NE(snapshot.find_named_cluster(client, "files.cloud.example.com", 443), kNone);
  EXPECT_EQ(snapshot.find_named_cluster(client, "cloud.example.com", 443), kNone);
}

TEST(ConfinedPodTest, AnEndpointOfAServiceEntryIsDeclaredAtItsPortsToWhomTheEntryIsFor) {
  const RouteWorld world(R"(
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: only, namespace: istio-system}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: fixed, namespace: shop}
spec:
  hosts: [api.example.com]
  exportTo: ["."]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.7}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: machines, namespace: shop}
spec:
  hosts: [db.example.com]
  ports: [{number: 5432, name: tcp, protocol: TCP}]
  resolution: STATIC
  workloadSelector: {labels: {app: db}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: db, namespace: shop}
spec: {address: 203.0.113.9, labels: {app: db}}
)");
  const auto undeclared = [&](const std::string& address, std::string_view ns) {
    return world.snapshot().is_undeclared(world.source(ns), *SocketAddress::parse(address));
  };
  EXPECT_FALSE(undeclared("203.0.113.7:443", "shop"));
  EXPECT_TRUE(undeclared("203.0.113.7:22", "shop")) << "a port that the entry has not";
  EXPECT_TRUE(undeclared("203.0.113.7:443", "other")) << "a namespace that the entry is not for";
  EXPECT_TRUE(undeclared("203.0.113.7:22", "other"));
  EXPECT_FALSE(undeclared("203.0.113.9:22", "other")) << "a machine is known as such, as a pod is";
}

TEST(ExampleTest, WorkloadEntry) {
  const RouteWorld world = example("workload-entry");
  EXPECT_EQ(world.ask(str_cat("GET /", kHost), kAddress, "default"),
            "product-service 90/100, product-service 10/100");
  for (const Cluster& cluster : world.snapshot().clusters) {
    if (cluster.subset != "machine" || cluster.endpoints.empty()) continue;
    EXPECT_EQ(cluster.endpoints.front().address.to_string(), "192.0.2.30:9080");
    return;
  }
  ADD_FAILURE() << "no cluster of the machine";
}

TEST(ExampleTest, TlsRoute) {
  const RouteWorld world(str_cat(file("canary/workloads.yaml"), "\n---\n", file("tls-route/routing.yaml")));
  const auto named = [&](std::string_view name) {
    const SocketAddress address = *SocketAddress::parse("10.96.0.50:443");
    const L4Host* host = world.snapshot().find_l4_host(kNone, address);
    const L4Route* route =
        host == nullptr ? nullptr
                        : match_l4_route(*host, true, name, address, source_view(world.snapshot(), kNone));
    return route == nullptr ? std::string("refused")
                            : world.snapshot().clusters[route->clusters.front().cluster].service;
  };
  EXPECT_EQ(named("new.vault.example"), "vault-v2");
  EXPECT_EQ(named("old.vault.example"), "vault");
  EXPECT_EQ(named("vault.example"), "refused");
}

}  // namespace
}  // namespace weft::proxy
