// What a manifest's policies would make of traffic that was seen, from text to row.
#include "agent/policy/policy_trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "control-plane/policy_manifest.h"
#include "tests/unit/agent/policy_fixture.h"

namespace weft::agent {
namespace {

using Verdict = PolicyTrial::Verdict;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Both on one node, where the kernel knows who the client is.
constexpr char kOneNode[] = R"(
apiVersion: v1
kind: Pod
metadata: {name: cart, namespace: shop, labels: {app: cart}}
spec: {nodeName: node1}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node1, serviceAccountName: web}
status: {podIP: 10.0.0.2}
---
)";

SeenTraffic request(const std::string& path, const std::string& method = "GET") {
  return {.client = "shop/web",
          .source = *IpAddress::parse("10.0.0.2"),
          .server = "shop/cart",
          .destination = {*IpAddress::parse("10.0.0.1"), 8080},
          .method = method,
          .path = path,
          .authority = "cart",
          .refused = false};
}
SeenTraffic connection() {
  SeenTraffic out = request("");
  out.method.clear();
  return out;
}

PolicyTrial trial_of(const std::string& manifest) {
  control_plane::PolicyManifest read = control_plane::read_policies("new.yaml", manifest);
  for (const auto& finding : read.findings) ADD_FAILURE() << control_plane::to_string(finding);
  return PolicyTrial(std::move(read.policies));
}

TEST(PolicyTrialTest, WhatWouldBeDeniedIsNamedWithRuleAndManifest) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(
      authorization("shop", "strict",
                    "{selector: {matchLabels: {app: cart}}, action: DENY, rules: [{to: [{operation: {ports: "
                    "['1']}}]}, {to: [{operation: {paths: ['/admin*']}}]}]}"));
  for (int i = 0; i < 3; ++i) trial.see(model, request(str_cat("/admin/", i)));
  trial.see(model, request("/ok"));
  EXPECT_EQ(trial.judged(), 4u);
  EXPECT_EQ(trial.unchanged(), 1u);
  const auto rows = trial.rows();
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].client, "cluster.local/ns/shop/sa/web");
  EXPECT_EQ(rows[0].server, "shop/cart:8080");
  EXPECT_EQ(rows[0].request, "GET /admin/*");
  EXPECT_FALSE(rows[0].denied);
  EXPECT_EQ(rows[0].then, Verdict::kDenied);
  EXPECT_EQ(rows[0].policy, "shop/strict");
  EXPECT_EQ(rows[0].rule, 1);
  EXPECT_EQ(rows[0].file, "new.yaml");
  EXPECT_EQ(rows[0].line, 1u);
  EXPECT_EQ(rows[0].count, 3u);
}

TEST(PolicyTrialTest, AnAllowPolicyDeniesWhatItDoesNotName) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial =
      trial_of(authorization("shop", "readers", "{rules: [{to: [{operation: {methods: [GET]}}]}]}"));
  trial.see(model, request("/x"));
  trial.see(model, request("/x", "POST"));
  const auto rows = trial.rows();
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].request, "POST /x");
  EXPECT_EQ(rows[0].policy, "shop/readers");
  EXPECT_EQ(rows[0].rule, -1) << "none of its rules";
}

TEST(PolicyTrialTest, WhichServerAConnectionAsksForIsNotSeenAndARequestAsksForNone) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(
      authorization("shop", "named", "{rules: [{when: [{key: connection.sni, values: [good.example]}]}]}"));
  trial.see(model, connection());
  trial.see(model, request("/x"));
  const auto rows = trial.rows();
  ASSERT_THAT(rows, SizeIs(2));
  for (const auto& row : rows) {
    EXPECT_EQ(row.policy, "shop/named");
    EXPECT_EQ(row.then, row.request.empty() ? Verdict::kDepends : Verdict::kDenied);
  }
}

TEST(PolicyTrialTest, WhatAProviderWouldSayNobodyKnows) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(
      authorization("shop", "ask",
                    "{selector: {matchLabels: {app: cart}}, action: CUSTOM, provider: {name: login}, "
                    "rules: [{to: [{operation: {paths: [/in]}}]}]}") +
      authorization("shop", "never", "{action: DENY, rules: [{to: [{operation: {methods: [PUT]}}]}]}"));
  trial.see(model, request("/in"));
  trial.see(model, request("/in", "PUT"));
  trial.see(model, request("/out"));
  EXPECT_EQ(trial.unchanged(), 1u) << "nobody is asked about /out";
  const auto rows = trial.rows();
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[0].request, "GET /in");
  EXPECT_EQ(rows[0].then, Verdict::kDepends);
  EXPECT_EQ(rows[0].policy, "shop/ask");
  EXPECT_EQ(rows[0].rule, 0);
  EXPECT_EQ(rows[1].request, "PUT /in");
  EXPECT_EQ(rows[1].then, Verdict::kDenied) << "whatever the provider says";
  EXPECT_EQ(rows[1].policy, "shop/never");
}

TEST(PolicyTrialTest, OfAConnectionThatNobodyReadItDependsWhetherAProviderIsAsked) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial =
      trial_of(authorization("shop", "ask", "{action: CUSTOM, provider: {name: login}, rules: [{}]}"));
  trial.see(model, connection());
  const auto rows = trial.rows();
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].then, Verdict::kDepends);
  EXPECT_EQ(rows[0].policy, "shop/ask");
}

TEST(PolicyTrialTest, ThePolicyOfTheSameNameIsReplacedAndOthersStay) {
  const MeshModel model = model_of(
      kOneNode +
      authorization("shop", "strict", "{action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}") +
      authorization("shop", "other", "{action: DENY, rules: [{to: [{operation: {paths: [/b]}}]}]}"));
  PolicyTrial trial = trial_of(
      authorization("shop", "strict", "{action: DENY, rules: [{to: [{operation: {paths: [/c]}}]}]}"));
  SeenTraffic a = request("/a"), b = request("/b");
  a.refused = b.refused = true;
  trial.see(model, a);
  trial.see(model, b);
  trial.see(model, request("/c"));
  const auto rows = trial.rows();
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[1].request, "GET /c");
  EXPECT_EQ(rows[1].then, Verdict::kDenied);
  EXPECT_EQ(rows[0].request, "GET /a");
  EXPECT_TRUE(rows[0].denied);
  EXPECT_EQ(rows[0].then, Verdict::kAllowed);
  EXPECT_EQ(rows[0].policy, "") << "no policy would ask for more";
  EXPECT_EQ(trial.unchanged(), 1u) << "the other policy denies /b as before";
}

TEST(PolicyTrialTest, WhatIsNotSeenOfARequestDependsOnlyWhereItDecides) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(
      authorization("shop", "strict",
                    "{action: DENY, rules: [{to: [{operation: {paths: [/a]}}], when: [{key: "
                    "'request.headers[x-key]', values: [v]}]}, {to: [{operation: {paths: [/b]}}]}]}") +
      authorization(
          "shop", "users",
          "{rules: [{from: [{source: {requestPrincipals: ['*']}}], to: [{operation: {paths: ['/u*', /a, "
          "/b]}}]}, {to: [{operation: {paths: [/free]}}]}]}"));
  for (const char* path : {"/a", "/b", "/u", "/free", "/no"}) trial.see(model, request(path));
  std::map<std::string, Verdict> then;
  for (const auto& row : trial.rows()) then[row.request] = row.then;
  EXPECT_EQ(then, (std::map<std::string, Verdict>{{"GET /a", Verdict::kDepends},
                                                  {"GET /b", Verdict::kDenied},
                                                  {"GET /u", Verdict::kDepends},
                                                  {"GET /no", Verdict::kDenied}}))
      << "/free is allowed as now";
}

TEST(PolicyTrialTest, OfAConnectionNobodyKnowsTheRequests) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial depends = trial_of(authorization(
      "shop", "p", "{action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ['8080']}}]}]}"));
  depends.see(model, connection());
  ASSERT_THAT(depends.rows(), SizeIs(1));
  EXPECT_EQ(depends.rows()[0].then, Verdict::kDepends);
  EXPECT_EQ(depends.rows()[0].request, "");
  PolicyTrial other_port = trial_of(authorization(
      "shop", "p", "{action: DENY, rules: [{to: [{operation: {paths: [/a], ports: ['9']}}]}]}"));
  other_port.see(model, connection());
  EXPECT_THAT(other_port.rows(), IsEmpty());
  PolicyTrial denied = trial_of(authorization(
      "shop", "p",
      "{action: DENY, rules: [{from: [{source: {principals: ['cluster.local/ns/shop/sa/web']}}]}]}"));
  denied.see(model, connection());
  ASSERT_THAT(denied.rows(), SizeIs(1));
  EXPECT_EQ(denied.rows()[0].then, Verdict::kDenied);
}

TEST(PolicyTrialTest, OnlyServersThatAreMeantAreJudged) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial bank = trial_of(authorization("bank", "p", "{action: DENY, rules: [{}]}"));
  bank.see(model, request("/x"));
  EXPECT_THAT(bank.rows(), IsEmpty());
  PolicyTrial labels = trial_of(
      authorization("shop", "p", "{selector: {matchLabels: {app: web}}, action: DENY, rules: [{}]}"));
  labels.see(model, request("/x"));
  EXPECT_THAT(labels.rows(), IsEmpty());
  PolicyTrial gateway = trial_of(authorization("shop", "p",
                                               "{targetRefs: [{group: gateway.networking.k8s.io, kind: "
                                               "Gateway, name: g}], action: DENY, rules: [{}]}"));
  gateway.see(model, request("/x"));
  EXPECT_THAT(gateway.rows(), IsEmpty()) << "it is for no pod";
  PolicyTrial mesh = trial_of(authorization("istio-system", "p", "{action: DENY, rules: [{}]}"));
  mesh.see(model, request("/x"));
  EXPECT_THAT(mesh.rows(), SizeIs(1));
  SeenTraffic nobody = request("/x");
  nobody.server = "shop/gone";
  mesh.see(model, nobody);
  EXPECT_EQ(mesh.not_judged(), 1u);
}

TEST(PolicyTrialTest, DryRunCountsHereAndAuditNever) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop, "
      "annotations: {istio.io/dry-run: 'true'}}\nspec: {action: DENY, rules: [{}]}\n");
  trial.see(model, request("/x"));
  EXPECT_THAT(trial.rows(), SizeIs(1));
  PolicyTrial audit = trial_of(authorization("shop", "p", "{action: AUDIT, rules: [{}]}"));
  audit.see(model, request("/x"));
  EXPECT_THAT(audit.rows(), IsEmpty());
}

TEST(PolicyTrialTest, WhoIsNotProvedIsShownByNameOrAddress) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(authorization("shop", "p", "{action: DENY, rules: [{}]}"));
  SeenTraffic outsider = request("/x");
  outsider.client.clear();
  outsider.source = *IpAddress::parse("192.0.2.9");
  trial.see(model, outsider);
  ASSERT_THAT(trial.rows(), SizeIs(1));
  EXPECT_EQ(trial.rows()[0].client, "192.0.2.9");
}

TEST(PolicyTrialTest, RowsAreBounded) {
  const MeshModel model = model_of(kOneNode);
  PolicyTrial trial = trial_of(authorization("shop", "p", "{action: DENY, rules: [{}]}"));
  for (size_t i = 0; i < PolicyTrial::kMaxRows + 5; ++i) trial.see(model, request(str_cat("/", i)));
  EXPECT_THAT(trial.rows(), SizeIs(PolicyTrial::kMaxRows));
  EXPECT_EQ(trial.left_out(), 5u);
}

TEST(PathClassTest, TheFirstSegmentAndThatThereIsMore) {
  EXPECT_EQ(path_class("/"), "/");
  EXPECT_EQ(path_class("/items"), "/items");
  EXPECT_EQ(path_class("/items/"), "/items/");
  EXPECT_EQ(path_class("/items/17/parts?x=/y"), "/items/*");
  EXPECT_EQ(path_class("/items?x=/y"), "/items");
  EXPECT_EQ(path_class(""), "");
}

TEST(ReadPoliciesTest, OtherObjectsAreNamedAndErrorsAreFindings) {
  const auto read = control_plane::read_policies(
      "f.yaml", str_cat(kPods, authorization("shop", "good", "{rules: [{}]}"),
                        authorization("shop", "bad", "{action: MAYBE, rules: [{}]}")));
  ASSERT_THAT(read.policies, SizeIs(1));
  EXPECT_EQ(read.policies[0].policy.name(), "good");
  EXPECT_THAT(read.others, ElementsAre("Pod shop/cart", "Pod shop/web", "Pod bank/teller"));
  ASSERT_THAT(read.findings, SizeIs(1));
  EXPECT_EQ(read.findings[0].code, "WF0002");
}

}  // namespace
}  // namespace weft::agent
