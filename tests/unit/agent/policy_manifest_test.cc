// From manifest to verdict: what an author writes decides what a connection gets. The connections come from
// pods of the same manifests, so that identities are the ones the mesh knows.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/agent/policy_fixture.h"

namespace weft::agent {
namespace {

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
    {"{rules: [{from: [{source: {trustDomains: [cluster.local]}}]}]}", "allow shop/p", "allow shop/p",
     "deny shop/p"},
    {"{rules: [{from: [{source: {trustDomains: [cluster.loca, cluster.local.org]}}]}]}", "deny shop/p",
     "deny shop/p", "deny shop/p"},
    {"{rules: [{from: [{source: {trustDomains: ['clu*'], namespaces: [bank]}}]}]}", "deny shop/p",
     "allow shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{from: [{source: {notTrustDomains: [cluster.local]}}]}]}", "allow", "allow",
     "deny shop/p"},
    {"{action: DENY, rules: [{from: [{source: {notTrustDomains: [other], notPrincipals: ['*/sa/web']}}]}]}",
     "allow", "deny shop/p", "deny shop/p"},
    {"{rules: [{when: [{key: source.trustDomain, values: ['*']}, {key: source.serviceAccount, values: "
     "[web]}]}]}",
     "allow shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{when: [{key: source.serviceAccount, notValues: [bank/default]}]}]}", "allow shop/p",
     "deny shop/p", "allow shop/p"},
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
    // Where nobody reads the requests, a rule that asks about them never allows, and denies by the rest of
    // it.
    {"{rules: [{to: [{operation: {methods: [GET]}}]}]}", "deny shop/p", "deny shop/p", "deny shop/p"},
    {"{rules: [{to: [{operation: {paths: [/a], ports: ['8080']}}]}, {from: [{source: {namespaces: "
     "[shop]}}]}]}",
     "allow shop/p", "deny shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ['8080']}}]}]}", "deny shop/p",
     "deny shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}", "deny shop/p", "deny shop/p",
     "deny shop/p"},
    {"{action: DENY, rules: [{from: [{source: {namespaces: [bank]}}], to: [{operation: {paths: [/a]}}]}]}",
     "allow", "deny shop/p", "allow"},
    {"{action: DENY, rules: [{when: [{key: 'request.headers[x]', values: [y]}]}]}", "deny shop/p",
     "deny shop/p", "deny shop/p"},
    {"{action: DENY, rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}]}", "deny shop/p",
     "deny shop/p", "deny shop/p"},
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
