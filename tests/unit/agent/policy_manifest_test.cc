// From manifest to verdict: what an author writes decides what a connection gets. The connections come from
// pods of the same manifests, so that identities are the ones the mesh knows.
#include <gtest/gtest.h>

#include "agent/mesh/model.h"
#include "base/strings.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/resource/store.h"

namespace weft::agent {
namespace {

constexpr char kPods[] = R"(
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: teller, namespace: bank}
status: {podIP: 10.0.9.3}
---
)";

std::string authorization(const std::string& ns, const std::string& name, const std::string& spec) {
  return str_cat("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ", name,
                 ", namespace: ", ns, "}\nspec: ", spec, "\n---\n");
}

MeshModel model_of(const std::string& manifests) {
  namespace cp = control_plane;
  cp::Store store;
  cp::Store::Changes changes;
  changes.emplace("f.yaml", cp::parse_file("f.yaml", manifests));
  store.update(std::move(changes));
  for (const cp::Finding& finding : store.findings()) {
    EXPECT_NE(finding.level, cp::Finding::Level::kError) << cp::to_string(finding);
  }
  cp::Change change;
  cp::diff({}, cp::compile(store.objects(), "node1"), change);
  MeshModel model;
  model.apply(change);
  return model;
}

// Who opens a connection to port 8080 of cart: "web", "teller", or "nobody" from outside the mesh.
std::string verdict(const MeshModel& model, const std::string& source, uint16_t port = 8080) {
  const auto cart = model.find_workload("shop", "cart");
  PolicyConnection connection{.source = *IpAddress::parse("192.168.0.9"),
                              .destination = {*IpAddress::from_packed(cart->addresses(0)), port}};
  const auto pod = model.find_workload(source == "teller" ? "bank" : "shop", source);
  if (pod.has_value()) {
    connection.source = *IpAddress::from_packed(pod->addresses(0));
    connection.identity = identity_of(*pod);
  }
  const SelectedPolicies selected = select_policies(*cart, model.authorizations());
  EXPECT_TRUE(selected.missing.empty());
  const Verdict got = evaluate(selected.policies, connection);
  return str_cat(got.allowed() ? "allow" : "deny", got.policy.empty() ? "" : " ", got.policy);
}

struct Row {
  const char* spec;
  const char* web;
  const char* teller;
  const char* nobody;
};

// One policy shop/p, three sources.
constexpr Row kRows[] = {
    {"{}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: []}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{}]}", "allow shop/p", "allow shop/p", "allow shop/p"},
    {"{action: DENY, rules: [{}]}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{selector: {matchLabels: {app: web}}}", "allow", "allow", "allow"},
    {"{selector: {matchLabels: {app: cart}}}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{from: [{source: {namespaces: [shop]}}]}]}", "allow shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{from: [{source: {serviceAccounts: [web]}}]}]}", "allow shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{from: [{source: {serviceAccounts: [bank/default]}}]}]}", "deny shop/p", "allow shop/p",
     "deny shop/p"},
    {"{rules: [{from: [{source: {principals: ['*']}}]}]}", "allow shop/p", "allow shop/p", "deny shop/p"},
    {"{rules: [{from: [{source: {principals: ['cluster.local/ns/bank/*']}}]}]}", "deny shop/p",
     "allow shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{from: [{source: {notPrincipals: ['*/sa/web']}}]}]}", "allow", "deny shop/p",
     "deny shop/p"},
    {"{action: DENY, rules: [{from: [{source: {notNamespaces: [shop]}}]}]}", "allow", "deny shop/p",
     "deny shop/p"},
    {"{rules: [{from: [{source: {ipBlocks: [10.0.9.0/24, 192.168.0.9]}}]}]}", "deny shop/p", "allow shop/p",
     "allow shop/p"},
    {"{rules: [{from: [{source: {ipBlocks: [10.0.0.0/8], notIpBlocks: [10.0.9.3]}}]}]}", "allow shop/p",
     "deny shop/p", "deny shop/p"},
    {"{rules: [{to: [{operation: {ports: ['8080']}}]}]}", "allow shop/p", "allow shop/p", "allow shop/p"},
    {"{rules: [{to: [{operation: {notPorts: ['8080']}}]}]}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ['9']}}]}]}", "deny shop/p",
     "deny shop/p", "deny shop/p"},
    {"{rules: [{when: [{key: source.namespace, values: [b*]}, {key: destination.port, values: ['8080']}]}]}",
     "deny shop/p", "allow shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{when: [{key: source.ip, notValues: [10.0.0.0/16]}]}]}", "allow", "allow",
     "deny shop/p"},
    {"{rules: [{when: [{key: destination.ip, values: [10.0.0.1]}]}]}", "allow shop/p", "allow shop/p",
     "allow shop/p"},
    // HTTP terms: an ALLOW rule goes, a DENY rule stays without them or has nothing left.
    {"{rules: [{to: [{operation: {methods: [GET]}}]}]}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{to: [{operation: {paths: [/a], ports: ['8080']}}]}, {from: [{source: {namespaces: "
     "[shop]}}]}]}",
     "allow shop/p", "deny shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ['8080']}}]}]}", "deny shop/p",
     "deny shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}", "allow", "allow", "allow"},
    {"{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {paths: [/a]}}]}]}",
     "allow", "allow", "allow"},
};

TEST(PolicyManifestTest, TheManifestDecidesTheVerdict) {
  for (const Row& row : kRows) {
    const MeshModel model = model_of(kPods + authorization("shop", "p", row.spec));
    EXPECT_EQ(verdict(model, "web"), row.web) << row.spec;
    EXPECT_EQ(verdict(model, "teller"), row.teller) << row.spec;
    EXPECT_EQ(verdict(model, "nobody"), row.nobody) << row.spec;
  }
}

TEST(PolicyManifestTest, ScopesAddUpAndDenyBeatsAllowFromAnyScope) {
  const MeshModel model =
      model_of(kPods +
               authorization("istio-system", "no-bank",
                             "{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}]}]}") +
               authorization("istio-system", "carts",
                             "{selector: {matchLabels: {app: cart}}, rules: [{to: [{operation: {ports: "
                             "['9000']}}]}]}") +
               authorization("shop", "members", "{rules: [{from: [{source: {principals: ['*']}}]}]}") +
               authorization("bank", "closed", "{}"));
  EXPECT_EQ(verdict(model, "web"), "allow shop/members");
  EXPECT_EQ(verdict(model, "teller"), "deny istio-system/no-bank");
  EXPECT_EQ(verdict(model, "nobody"), "deny istio-system/carts");
  EXPECT_EQ(verdict(model, "nobody", 9000), "allow istio-system/carts");
}

}  // namespace
}  // namespace weft::agent
