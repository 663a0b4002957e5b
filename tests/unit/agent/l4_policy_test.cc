// Verdicts of authorization policies: each kind of term, how terms combine, and the order of actions. The
// expectations are Istio's; where Istio's own tests have a case, it is here too.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "agent/policy/l4_policy.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

namespace pb = istio::security;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Reason = Verdict::Reason;

pb::Authorization policy(const std::string& text) {
  pb::Authorization out;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &out)) << text;
  return out;
}

pb::Authorization named(const char* ns, const char* name, pb::Action action, const char* rules) {
  pb::Authorization out = policy(rules);
  out.set_namespace_(ns);
  out.set_name(name);
  out.set_action(action);
  return out;
}

// From pod web of namespace shop, in the clear or with its identity, or from a third pod elsewhere.
PolicyConnection plain() {
  return {.source = *IpAddress::parse("10.0.0.1"), .destination = *SocketAddress::parse("10.0.1.2:8080")};
}
PolicyConnection web() {
  PolicyConnection out = plain();
  out.identity = PeerIdentity{"td", "shop", "web"};
  return out;
}
PolicyConnection other() {
  return {.source = *IpAddress::parse("fd00::3"),
          .identity = PeerIdentity{"td2", "bank", "teller"},
          .destination = *SocketAddress::parse("[fd00::4]:9090")};
}

Verdict verdict(const std::vector<pb::Authorization>& policies, const PolicyConnection& connection) {
  std::vector<const pb::Authorization*> pointers;
  for (const pb::Authorization& p : policies) pointers.push_back(&p);
  return evaluate(pointers, connection);
}

bool matches(const std::string& rules, const PolicyConnection& connection) {
  return verdict({policy(rules)}, connection).reason == Reason::kAllowed;
}

struct TermRow {
  const char* match;
  bool plain, web, other;
};

constexpr TermRow kTerms[] = {
    {"", false, false, false},
    {"namespaces { exact: 'shop' }", false, true, false},
    {"not_namespaces { exact: 'shop' }", true, false, true},
    {"namespaces { prefix: 'sh' }", false, true, false},
    {"namespaces { prefix: '' }", false, true, true},
    {"not_namespaces { prefix: '' }", true, false, false},
    {"namespaces { suffix: 'k' }", false, false, true},
    {"namespaces { presence {} }", false, true, true},
    {"not_namespaces { presence {} }", true, false, false},
    {"namespaces { exact: 'shop' } namespaces { exact: 'bank' }", false, true, true},
    {"principals { exact: 'td/ns/shop/sa/web' }", false, true, false},
    {"principals { exact: 'spiffe://td/ns/shop/sa/web' }", false, false, false},
    {"not_principals { exact: 'td/ns/shop/sa/web' }", true, false, true},
    {"principals { prefix: 'td2/' }", false, false, true},
    {"principals { suffix: '/sa/web' }", false, true, false},
    {"principals { presence {} }", false, true, true},
    {"not_principals { presence {} }", true, false, false},
    {"service_accounts { namespace: 'shop' serviceAccount: 'web' }", false, true, false},
    {"service_accounts { namespace: 'bank' serviceAccount: 'web' }", false, false, false},
    {"not_service_accounts { namespace: 'shop' serviceAccount: 'web' }", true, false, true},
    {"source_ips { address: '\\n\\0\\0\\1' length: 32 }", true, true, false},
    {"source_ips { address: '\\n\\0\\0\\0' length: 8 }", true, true, false},
    {"source_ips { address: '\\0\\0\\0\\0' }", true, true, false},
    {"not_source_ips { address: '\\n\\0\\0\\1' length: 32 }", false, false, true},
    {"source_ips { address: '\\xfd\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0' length: 8 }", false, false,
     true},
    {"destination_ips { address: '\\n\\0\\1\\2' length: 32 }", true, true, false},
    {"destination_ips { address: '\\n\\0\\0\\2' length: 16 }", true, true, false},
    {"not_destination_ips { address: '\\n\\0\\1\\2' length: 32 }", false, false, true},
    {"destination_ports: 8080", true, true, false},
    {"destination_ports: [ 1, 9090 ]", false, false, true},
    {"not_destination_ports: 8080", false, false, true},
    {"not_destination_ports: [ 8080, 9090 ]", false, false, false},
    {"namespaces { exact: 'shop' } destination_ports: 8080", false, true, false},
    {"namespaces { exact: 'shop' } destination_ports: 9090", false, false, false},
    {"namespaces { presence {} } not_namespaces { exact: 'shop' }", false, false, true},
};

TEST(L4PolicyTest, ATermMatchesWhatItNames) {
  for (const TermRow& row : kTerms) {
    const std::string rules = str_cat("rules { clauses { matches { ", row.match, " } } }");
    EXPECT_TRUE(validate_policy(policy(rules)).ok()) << row.match;
    EXPECT_EQ(matches(rules, plain()), row.plain) << row.match;
    EXPECT_EQ(matches(rules, web()), row.web) << row.match;
    EXPECT_EQ(matches(rules, other()), row.other) << row.match;
  }
}

TEST(L4PolicyTest, RulesAndMatchesAreAlternativesAndClausesMustAllHold) {
  constexpr char kShop[] = "matches { namespaces { exact: 'shop' } }";
  constexpr char kBank[] = "matches { namespaces { exact: 'bank' } }";
  constexpr char kPort[] = "matches { destination_ports: 8080 }";
  const std::string two_clauses = str_cat("clauses { ", kBank, " ", kShop, " } clauses { ", kPort, " }");
  struct Row {
    std::string rules;
    bool expected;  // of web()
  };
  const Row rows[] = {
      {"", false},
      {"rules {}", true},
      {"rules { clauses {} }", true},
      {"rules { clauses { matches {} } }", false},
      {str_cat("rules { clauses { matches {} ", kShop, " } }"), true},
      {str_cat("rules { clauses { matches {} } clauses { ", kShop, " } }"), false},
      {str_cat("rules { ", two_clauses, " }"), true},
      {str_cat("rules { clauses { ", kBank, " } clauses { ", kPort, " } }"), false},
      {str_cat("rules { clauses { ", kBank, " } } rules { clauses { ", kShop, " } }"), true},
      {str_cat("rules { clauses { ", kBank, " } } rules { clauses { ", kBank, " } }"), false},
  };
  for (const Row& row : rows) EXPECT_EQ(matches(row.rules, web()), row.expected) << row.rules;
}

TEST(L4PolicyTest, DenyGoesFirstThenAnAllowPolicyMustMatchIfThereIsAny) {
  constexpr char kAll[] = "rules {}";
  constexpr char kNone[] = "";
  const auto allow_all = named("shop", "allow-all", pb::ALLOW, kAll);
  const auto allow_none = named("shop", "allow-none", pb::ALLOW, kNone);
  const auto allow_nobody = named("istio-system", "nobody", pb::ALLOW, kNone);
  const auto deny_all = named("shop", "deny-all", pb::DENY, kAll);
  const auto deny_none = named("shop", "deny-none", pb::DENY, kNone);
  struct Row {
    std::vector<pb::Authorization> policies;
    Verdict expected;
  };
  const Row rows[] = {
      {{}, {Reason::kNoAllowPolicy, ""}},
      {{deny_none}, {Reason::kNoAllowPolicy, ""}},
      {{deny_all}, {Reason::kDenied, "shop/deny-all"}},
      {{allow_all}, {Reason::kAllowed, "shop/allow-all"}},
      {{allow_none}, {Reason::kNotAllowed, "shop/allow-none"}},
      {{allow_all, deny_all}, {Reason::kDenied, "shop/deny-all"}},
      {{allow_all, deny_none}, {Reason::kAllowed, "shop/allow-all"}},
      {{allow_none, allow_all}, {Reason::kAllowed, "shop/allow-all"}},
      {{allow_nobody, allow_none}, {Reason::kNotAllowed, "istio-system/nobody"}},
      {{allow_nobody, allow_none, deny_all}, {Reason::kDenied, "shop/deny-all"}},
  };
  for (const Row& row : rows) {
    const Verdict got = verdict(row.policies, web());
    EXPECT_EQ(got, row.expected) << row.policies.size() << " policies gave " << got.policy;
    const bool allowed =
        row.expected.reason == Reason::kAllowed || row.expected.reason == Reason::kNoAllowPolicy;
    EXPECT_EQ(got.allowed(), allowed);
  }
}

TEST(L4PolicyTest, ADryRunPolicyDecidesNothing) {
  auto deny = named("shop", "deny", pb::DENY, "rules {}");
  deny.set_dry_run(true);
  auto allow = named("shop", "allow", pb::ALLOW, "");
  allow.set_dry_run(true);
  EXPECT_EQ(verdict({deny, allow}, web()).reason, Reason::kNoAllowPolicy);
}

TEST(L4PolicyTest, StrictMutualTlsAsIstioConvertsItDeniesConnectionsWithoutIdentity) {
  const auto strict = named("istio-system", "istio_converted_static_strict", pb::DENY,
                            "rules { clauses { matches { not_principals { presence {} } } } }");
  EXPECT_EQ(verdict({strict}, plain()).reason, Reason::kDenied);
  EXPECT_EQ(verdict({strict}, web()).reason, Reason::kNoAllowPolicy);
}

TEST(SelectPoliciesTest, ByNameByNamespaceAndGlobalEachOnce) {
  Authorizations all;
  const auto put = [&all](const char* ns, const char* name, pb::Scope scope) {
    pb::Authorization p = named(ns, name, pb::ALLOW, "");
    p.set_scope(scope);
    all[str_cat(ns, "/", name)] = p;
  };
  put("istio-system", "everywhere", pb::GLOBAL);
  put("istio-system", "root-selected", pb::WORKLOAD_SELECTOR);
  put("shop", "whole-shop", pb::NAMESPACE);
  put("shop", "selected", pb::WORKLOAD_SELECTOR);
  put("shop", "not-selected", pb::WORKLOAD_SELECTOR);
  put("bank", "whole-bank", pb::NAMESPACE);
  istio::workload::Workload workload;
  workload.set_namespace_("shop");
  for (const char* name : {"shop/selected", "shop/whole-shop", "istio-system/root-selected", "shop/gone"}) {
    workload.add_authorization_policies(name);
  }
  const SelectedPolicies selected = select_policies(workload, all);
  std::vector<std::string> names;
  for (const pb::Authorization* p : selected.policies) names.push_back(p->name());
  EXPECT_THAT(names, ElementsAre("everywhere", "root-selected", "selected", "whole-shop"));
  EXPECT_THAT(selected.missing, ElementsAre("shop/gone"));
  EXPECT_THAT(select_policies({}, {}).policies, IsEmpty());
}

TEST(PeerIdentityTest, AWorkloadWithoutOneHasTheDefaults) {
  istio::workload::Workload workload;
  workload.set_namespace_("shop");
  EXPECT_EQ(identity_of(workload).principal(), "cluster.local/ns/shop/sa/default");
  workload.set_trust_domain("td");
  workload.set_service_account("web");
  EXPECT_EQ(identity_of(workload).principal(), "td/ns/shop/sa/web");
}

TEST(ValidatePolicyTest, WhatCannotBeReadIsRefusedByItsName) {
  struct Row {
    const char* match;
    const char* reason;
  };
  constexpr Row kRows[] = {
      {"namespaces {}", "rule 1: namespaces"},
      {"not_namespaces {}", "rule 1: not_namespaces"},
      {"principals {}", "rule 1: principals"},
      {"not_principals {}", "rule 1: not_principals"},
      {"source_ips {}", "rule 1: source_ips: 0 bytes"},
      {"source_ips { address: 'abcd' length: 33 }", "a prefix of 33 bits"},
      {"not_source_ips { address: 'abc' }", "rule 1: not_source_ips: 3 bytes"},
      {"destination_ips { address: 'abcde' }", "rule 1: destination_ips"},
      {"not_destination_ips {}", "rule 1: not_destination_ips"},
      {"destination_ports: 65536", "rule 1: destination_ports: 65536 is no port"},
      {"not_destination_ports: 70000", "rule 1: not_destination_ports"},
  };
  for (const Row& row : kRows) {
    const absl::Status status =
        validate_policy(policy(str_cat("rules {} rules { clauses { matches { ", row.match, " } } }")));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.match;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(row.reason)) << row.match;
  }
  pb::Authorization unknown;
  unknown.set_action(static_cast<pb::Action>(7));
  EXPECT_FALSE(validate_policy(unknown).ok());
  unknown.set_action(pb::DENY);
  unknown.set_scope(static_cast<pb::Scope>(7));
  EXPECT_FALSE(validate_policy(unknown).ok());
}

TEST(CompareOnlyAddressesTest, AnyTermAboutTheSourcesIdentityNeedsMore) {
  const auto rule = [](const char* match) {
    return policy(str_cat("rules { clauses { matches { destination_ports: 1 } } clauses { matches { ", match,
                          " } } }"))
        .rules(0);
  };
  EXPECT_TRUE(compares_only_addresses({}));
  EXPECT_TRUE(compares_only_addresses(rule("source_ips { address: 'abcd' } not_destination_ports: 2")));
  for (const char* term : {"namespaces", "not_namespaces", "principals", "not_principals", "service_accounts",
                           "not_service_accounts"}) {
    EXPECT_FALSE(compares_only_addresses(rule(str_cat(term, " {}").c_str()))) << term;
  }
}

}  // namespace
}  // namespace weft::agent
