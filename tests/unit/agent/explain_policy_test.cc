// Which rule decided, and where it is written: as the proxy's evaluator says.
#include "userspace-proxy/config/explain_policy.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/agent/policy_fixture.h"

namespace weft::proxy {
namespace {

using agent::authorization;

// Of shop/web to shop/cart:80; null: no HTTP.
PolicyExplanation asked(const std::string& manifests, const char* path, const char* server_name = "") {
  const agent::MeshModel model = agent::model_of(agent::kPods + manifests);
  const auto server = model.find_workload("shop", "cart"), client = model.find_workload("shop", "web");
  if (!server || !client) {
    ADD_FAILURE() << "the fixture has no such pods";
    return {};
  }
  PolicyQuestion question{.connection = {.source = *IpAddress::parse("10.0.0.2"),
                                         .identity = agent::identity_of(*client),
                                         .destination = {*IpAddress::parse("10.0.0.1"), 80}},
                          .method = path == nullptr ? "" : "GET",
                          .target = path == nullptr ? "" : path,
                          .authority = "cart.shop",
                          .headers = {},
                          .server_name = server_name};
  const auto explained = explain_policy(agent::select_policies(*server, model.authorizations()), question);
  EXPECT_TRUE(explained.ok()) << explained.status();
  return explained.value_or(PolicyExplanation{});
}

TEST(ExplainPolicyTest, TheRuleThatDecidesIsNamedWithItsManifest) {
  const std::string policies =
      authorization(
          "shop", "readers",
          "{rules: [{to: [{operation: {paths: [/other]}}]}, {to: [{operation: {paths: [/ok]}}]}]}") +
      authorization("shop", "strict", "{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}");
  const PolicyExplanation allowed = asked(policies, "/ok");
  EXPECT_TRUE(allowed.allowed);
  EXPECT_EQ(allowed.verdict, "allowed by shop/readers");
  ASSERT_TRUE(allowed.rule);
  const ExplainedPolicyRule& decided = allowed.rules[*allowed.rule];
  EXPECT_EQ(decided.index, 1);
  EXPECT_EQ(decided.file, "f.yaml");
  EXPECT_GT(decided.line, 0u);
  ASSERT_EQ(allowed.rules.size(), 3u);
  EXPECT_EQ(allowed.rules[0].policy, "shop/strict") << "what denies is asked first";
  EXPECT_FALSE(allowed.rules[0].matched);
  const PolicyExplanation denied = asked(policies, "/admin");
  EXPECT_EQ(denied.verdict, "denied by shop/strict");
  ASSERT_TRUE(denied.rule);
  EXPECT_EQ(denied.rules[*denied.rule].index, 0);
  EXPECT_LT(denied.rules[*denied.rule].line, 200u);
  const PolicyExplanation other = asked(policies, "/no");
  EXPECT_FALSE(other.allowed);
  EXPECT_EQ(other.verdict, "denied: no rule allows it, and shop/readers allows others");
  EXPECT_FALSE(other.rule);
  EXPECT_EQ(asked(policies, nullptr).verdict, "denied by shop/strict")
      << "no HTTP: denied by what else it says";
}

TEST(ExplainPolicyTest, AConnectionIsWhatItsClientAsksForByTls) {
  const std::string policy = authorization(
      "shop", "named", "{rules: [{when: [{key: connection.sni, values: ['*.good.example']}]}]}");
  EXPECT_EQ(asked(policy, nullptr, "A.Good.example").verdict, "allowed by shop/named");
  EXPECT_FALSE(asked(policy, nullptr, "bad.example").allowed);
  EXPECT_FALSE(asked(policy, nullptr).allowed);
  EXPECT_FALSE(asked(policy, "/").allowed) << "plain HTTP names no server";
}

// Words of claims are those that the server's rule of the issuer names.
TEST(ExplainPolicyTest, ARequestMayHaveATokenThatIsTakenForProved) {
  const agent::MeshModel model = agent::model_of(
      std::string(agent::kPods) +
      authorization("shop", "admins",
                    "{rules: [{when: [{key: 'request.auth.claims[roles]', values: [admin]}]}]}"));
  const auto server = model.find_workload("shop", "cart");
  ASSERT_TRUE(server);
  const auto verdict = [&](const std::string& claims, const std::vector<mesh::v1::TokenRule>& rules) {
    const PolicyQuestion question{.connection = {.source = *IpAddress::parse("10.0.0.2"),
                                                 .identity = {},
                                                 .destination = {*IpAddress::parse("10.0.0.1"), 80}},
                                  .method = "GET",
                                  .target = "/",
                                  .authority = "cart.shop",
                                  .headers = {},
                                  .claims = claims,
                                  .token_rules = rules};
    return explain_policy(agent::select_policies(*server, model.authorizations()), question);
  };
  mesh::v1::TokenRule rule, words;
  rule.set_issuer("iss");
  words.set_issuer("iss");
  words.add_space_delimited_claims("roles");
  const std::string both = R"({"iss":"iss","sub":"me","roles":"editor admin"})";
  EXPECT_TRUE(verdict(both, {words})->allowed);
  EXPECT_FALSE(verdict(both, {rule})->allowed) << "one text";
  EXPECT_TRUE(verdict(R"({"iss":"iss","roles":["editor","admin"]})", {rule})->allowed);
  EXPECT_FALSE(verdict("", {words})->allowed) << "no token";
  const auto other = verdict(R"({"iss":"other","roles":"admin"})", {words});
  EXPECT_FALSE(other->allowed);
  ASSERT_EQ(other->notes.size(), 1u);
  EXPECT_NE(other->notes[0].find("401"), std::string::npos);
  const auto unread = verdict(both, {});
  EXPECT_FALSE(unread->allowed);
  ASSERT_EQ(unread->notes.size(), 1u);
  EXPECT_NE(unread->notes[0].find("nobody looks at the token"), std::string::npos);
  for (const char* bad : {"{", "[]", "text"}) {
    EXPECT_EQ(verdict(bad, {words}).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(ExplainPolicyTest, WhatDecidesNothingIsShownAndDoesNot) {
  const PolicyExplanation check = asked(authorization("shop", "seen", "{action: AUDIT, rules: [{}]}"), "/ok");
  EXPECT_TRUE(check.allowed);
  EXPECT_EQ(check.verdict, "allowed: no policy asks for more");
  ASSERT_EQ(check.rules.size(), 1u);
  EXPECT_STREQ(check.rules[0].action, "AUDIT");
  EXPECT_TRUE(check.rules[0].matched);
}

TEST(ExplainPolicyTest, WhomARequestHasToBeAllowedByIsNamedAndBytesAreDenied) {
  const std::string custom = authorization(
      "shop", "ask",
      "{action: CUSTOM, provider: {name: login}, rules: [{to: [{operation: {paths: [/in]}}]}]}");
  const PolicyExplanation check = asked(custom, "/in");
  EXPECT_TRUE(check.allowed);
  EXPECT_EQ(check.verdict, "allowed: no policy asks for more, if provider login allows it (shop/ask)");
  ASSERT_EQ(check.rules.size(), 1u);
  EXPECT_STREQ(check.rules[0].action, "CUSTOM");
  EXPECT_TRUE(check.rules[0].matched);
  EXPECT_EQ(asked(custom, "/out").verdict, "allowed: no policy asks for more");
  EXPECT_EQ(asked(custom, nullptr).verdict, "denied by shop/ask") << "nobody can be asked about bytes";
  const std::string both =
      custom +
      authorization("shop", "strict", "{action: DENY, rules: [{to: [{operation: {paths: [/in]}}]}]}");
  EXPECT_EQ(asked(both, "/in").verdict, "denied by shop/strict");
}

TEST(ExplainPolicyTest, APolicyWithoutRulesHasARowOfItsOwn) {
  const PolicyExplanation check = asked(authorization("shop", "nobody", "{}"), "/ok");
  EXPECT_FALSE(check.allowed);
  ASSERT_EQ(check.rules.size(), 1u);
  EXPECT_EQ(check.rules[0].index, -1);
  EXPECT_EQ(check.verdict, "denied: no rule allows it, and shop/nobody allows others");
}

}  // namespace
}  // namespace weft::proxy
