// What a DestinationRule's `tls` becomes at the proxy: with which Secret, under which name, for which of the
// service's clusters, and what stands in the way. How a handshake then goes: identity/client_tls_test.cc.
#include <algorithm>

#include "absl/strings/escaping.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/routes/route_world.h"

namespace weft::proxy {
namespace {

std::string entry(std::string_view name, std::string_view value) {
  return str_cat(name, ": ", absl::Base64Escape(to_absl(value)), ", ");
}

class ClientTlsRuleTest : public testing::Test {
 protected:
  std::string secret(std::string_view name, bool pair, bool ca, std::string_view ns = "shop") const {
    std::string entries;
    if (pair) {
      entries = entry("tls.crt", to_pem(leaf_.certificate.get()));
      entries += entry("tls.key", test::key_pem(leaf_.key.get()));
    }
    if (ca) entries += entry("ca.crt", to_pem(authority_.certificate.get()));
    return str_cat("apiVersion: v1\nkind: Secret\nmetadata: {name: ", name, ", namespace: ", ns, "}\ndata: {",
                   entries, "}\n---\n");
  }
  static std::string rule(std::string_view policy, std::string_view host = "v1") {
    return str_cat(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r, namespace: shop}\n",
        "spec: {host: ", host, ", ", policy, "}\n---\n");
  }
  static std::string tls(std::string_view text) {
    return rule(str_cat("trafficPolicy: {tls: {", text, "}}"));
  }
  // Of the cluster; null: no TLS is begun.
  static const ClientTerms* terms(const RouteWorld& world,
                                  const std::string& cluster = "v1.shop.svc.cluster.local|80|") {
    const uint32_t index = world.snapshot().find_cluster(cluster);
    if (index == kNone) {
      ADD_FAILURE() << "no cluster " << cluster;
      return nullptr;
    }
    const auto& policy = world.snapshot().clusters[index].policy;
    return policy == nullptr || policy->connections == nullptr ? nullptr
                                                               : policy->connections->tls.terms.get();
  }
  static bool warned(const RouteWorld& world, std::string_view words) {
    return std::any_of(world.findings().begin(), world.findings().end(), [&](const auto& finding) {
      return finding.code == std::string_view("WF0053") && finding.message.find(words) != std::string::npos;
    });
  }

  const test::Authority authority_ = test::make_authority("partner");
  const test::Leaf leaf_ = test::make_leaf(authority_, {.names = {{GEN_DNS, "client"}}});
};

TEST_F(ClientTlsRuleTest, SimpleTrustsTheSystemAndWantsTheHostsOwnName) {
  const RouteWorld world(tls("mode: SIMPLE"));
  const ClientTerms* found = terms(world);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->mode, ClientTlsMode::kSimple);
  EXPECT_EQ(found->sni, "v1.shop.svc.cluster.local");
  EXPECT_EQ(found->names, std::vector<std::string>{"v1.shop.svc.cluster.local"});
  EXPECT_EQ(found->roots, "");
  EXPECT_TRUE(found->verifies);
  EXPECT_EQ(found->problem, "");
  EXPECT_EQ(terms(world, "v2.shop.svc.cluster.local|80|"), nullptr);
}

TEST_F(ClientTlsRuleTest, SecretsAreThoseOfTheRulesNamespace) {
  const std::string mutual = tls("mode: MUTUAL, credentialName: c, sni: a.example, subjectAltNames: [b]");
  const RouteWorld world(str_cat(secret("c", true, true), mutual));
  const ClientTerms* found = terms(world);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->pair.key, test::key_pem(leaf_.key.get()));
  EXPECT_EQ(found->roots, to_pem(authority_.certificate.get()));
  EXPECT_EQ(found->sni, "a.example");
  EXPECT_EQ(found->names, std::vector<std::string>{"b"});
  EXPECT_EQ(found->problem, "");
  const RouteWorld elsewhere(str_cat(secret("c", true, true, "other"), mutual));
  EXPECT_NE(terms(elsewhere)->problem, "");
  EXPECT_EQ(terms(elsewhere)->pair.key, "");
  EXPECT_TRUE(warned(elsewhere, "Secret shop/c is unknown"));
  const RouteWorld beside(str_cat(secret("c", true, false), secret("c-cacert", false, true), mutual));
  EXPECT_EQ(terms(beside)->roots, to_pem(authority_.certificate.get()));
  EXPECT_EQ(terms(beside)->problem, "");
}

TEST_F(ClientTlsRuleTest, WhatIsMissingIsSaidAndNothingElseIsTrusted) {
  const RouteWorld keyless(str_cat(secret("c", false, true), tls("mode: MUTUAL, credentialName: c")));
  EXPECT_NE(terms(keyless)->problem, "");
  EXPECT_TRUE(warned(keyless, "no certificate with its key"));
  const RouteWorld rootless(str_cat(secret("c", true, false), tls("mode: SIMPLE, credentialName: c")));
  EXPECT_NE(terms(rootless)->problem, "");
  EXPECT_TRUE(warned(rootless, "no authority"));
  const RouteWorld careless(
      str_cat(secret("c", true, false), tls("mode: SIMPLE, credentialName: c, insecureSkipVerify: true")));
  EXPECT_EQ(terms(careless)->problem, "");
  EXPECT_FALSE(terms(careless)->verifies);
  EXPECT_EQ(terms(careless)->pair.key, "") << "SIMPLE shows nothing";
}

TEST_F(ClientTlsRuleTest, WhereNoTlsIsBegunOrNoNameIsKnownIsSaid) {
  const auto entry_of = [](std::string_view host, std::string_view address) {
    return str_cat(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: shop}\n",
        "spec: {hosts: ['", host, "'], addresses: [", address,
        "], resolution: NONE, ports: [{number: 80, name: http, protocol: HTTP}]}\n---\n");
  };
  const std::string simple = "trafficPolicy: {tls: {mode: SIMPLE}}";
  const RouteWorld range(str_cat(entry_of("a.example", "192.0.2.0/24"), rule(simple, "a.example")));
  EXPECT_TRUE(warned(range, "ServiceEntry shop/e pass as they are"));
  const RouteWorld single(str_cat(entry_of("a.example", "192.0.2.1"), rule(simple, "a.example")));
  EXPECT_FALSE(warned(single, ""));
  const RouteWorld wildcard(str_cat(entry_of("*.example", "192.0.2.1"), rule(simple, "'*.example'")));
  EXPECT_TRUE(warned(wildcard, "no server name is known"));
}

TEST_F(ClientTlsRuleTest, TheMeshsOwnServersAreTheWorkloadsOfTheService) {
  const RouteWorld world(
      str_cat("apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\n"
              "spec: {clusterIP: 10.96.0.20, selector: {app: db}, ports: [{name: http, port: 80}]}\n---\n"
              "apiVersion: v1\nkind: Pod\nmetadata: {name: db, namespace: shop, labels: {app: db}}\n"
              "spec: {nodeName: node1, serviceAccountName: keeper}\n"
              "status: {podIP: 10.1.0.9, phase: Running}\n---\n",
              rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}", "db")));
  const ClientTerms* found = terms(world, "db.shop.svc.cluster.local|80|");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->mode, ClientTlsMode::kMesh);
  EXPECT_EQ(found->names, std::vector<std::string>{"spiffe://cluster.local/ns/shop/sa/keeper"});
}

TEST_F(ClientTlsRuleTest, PortsHaveTheirOwnAndTheSameRuleIsTheSameTerms) {
  const std::string text =
      rule("trafficPolicy: {portLevelSettings: [{port: {number: 8080}, tls: {mode: SIMPLE, sni: admin}}]}",
           "cart");
  const RouteWorld one(text), two(text);
  EXPECT_EQ(terms(one, "cart.shop.svc.cluster.local|80|"), nullptr);
  const ClientTerms* found = terms(one, "cart.shop.svc.cluster.local|8080|");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->sni, "admin");
  const auto settings = [](const RouteWorld& world) {
    const Snapshot& snapshot = world.snapshot();
    return *snapshot.clusters[snapshot.find_cluster("cart.shop.svc.cluster.local|8080|")].policy->connections;
  };
  EXPECT_EQ(settings(one), settings(two)) << "connections outlive a snapshot that changes nothing here";
}

}  // namespace
}  // namespace weft::proxy
