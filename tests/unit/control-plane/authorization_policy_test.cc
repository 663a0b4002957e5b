// AuthorizationPolicy from text to the wire: every field, terms about requests, terms that nothing checks,
// scopes, and which workloads name it.
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

#include "base/strings.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "proto/weft/mesh/v1/mesh.pb.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::security;

std::string policy(const std::string& meta, const std::string& spec,
                   const std::string& version = "security.istio.io/v1") {
  return str_cat("apiVersion: ", version, "\nkind: AuthorizationPolicy\nmetadata: {", meta, "}\nspec:\n",
                 spec, "\n---\n");
}

std::string pod(const std::string& ns, const std::string& name, const std::string& labels) {
  return str_cat("apiVersion: v1\nkind: Pod\nmetadata: {name: ", name, ", namespace: ", ns, ", labels: {",
                 labels, "}}\nstatus: {podIP: 10.0.0.", name.size(), "}\n---\n");
}

pb::Authorization published(const Compiled& compiled, const std::string& name) {
  return resource<pb::Authorization>(compiled, kAuthorizationType, name);
}

// The rules of a policy "default/p" whose spec is `spec`, compared with the text form of what is expected.
void expect_rules(const std::string& spec, const std::string& expected) {
  pb::Authorization wanted;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(expected, &wanted)) << expected;
  pb::Authorization got = published(compile_text(policy("name: p", spec)), "default/p");
  got.clear_name();
  got.clear_namespace_();
  got.clear_scope();
  got.clear_extensions();
  std::string difference;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(wanted, got)) << spec << "\n" << difference << got.DebugString();
}

std::vector<Finding> findings_of(const std::string& spec) {
  const ParsedFile parsed = parse_file("f", policy("name: p", spec));
  EXPECT_EQ(parsed.objects.size(), 1U);
  return parsed.findings;
}

TEST(AuthorizationPolicyTest, EverySourceFieldBecomesATerm) {
  expect_rules(R"(  rules:
  - from:
    - source:
        principals: ["a", "b*", "*c", "*"]
        notPrincipals: ["d"]
        namespaces: ["e", "f*"]
        notNamespaces: ["*g"]
        ipBlocks: ["1.2.3.4", "5.6.0.0/16"]
        notIpBlocks: ["fd00::/8"]
    - source:
        serviceAccounts: ["ns/sa", "own"]
        notServiceAccounts: ["ns/other"]
)",
               R"(rules { clauses {
    matches {
      principals { exact: "a" } principals { prefix: "b" } principals { suffix: "c" } principals { presence {} }
      not_principals { exact: "d" }
      namespaces { exact: "e" } namespaces { prefix: "f" }
      not_namespaces { suffix: "g" }
      source_ips { address: "\001\002\003\004" length: 32 } source_ips { address: "\005\006\000\000" length: 16 }
      not_source_ips { address: "\375\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000" length: 8 }
    }
    matches {
      service_accounts { namespace: "ns" serviceAccount: "sa" }
      service_accounts { namespace: "default" serviceAccount: "own" }
      not_service_accounts { namespace: "ns" serviceAccount: "other" }
    } } })");
}

// Which the wire has no term for.
TEST(AuthorizationPolicyTest, ATrustDomainIsTheBeginningOfAPrincipal) {
  expect_rules(R"(  rules:
  - from:
    - source: {trustDomains: [cluster.local, "other*", "*"], namespaces: [a]}
    - source: {notTrustDomains: [other.org], principals: [b], notPrincipals: [c]}
    - source: {trustDomains: [cluster.local], serviceAccounts: [own]}
    when:
    - {key: source.trustDomain, values: [a.org], notValues: ["b*"]}
)",
               R"(rules {
    clauses {
      matches {
        principals { prefix: "cluster.local/ns/" } principals { prefix: "other" } principals { presence {} }
        namespaces { exact: "a" } }
      matches {
        principals { exact: "b" } not_principals { exact: "c" } not_principals { prefix: "other.org/ns/" } }
      matches {
        principals { prefix: "cluster.local/ns/" }
        service_accounts { namespace: "default" serviceAccount: "own" } } }
    clauses { matches { principals { prefix: "a.org/ns/" } not_principals { prefix: "b" } } } })");
}

TEST(AuthorizationPolicyTest, OperationsComeBeforeSourcesAndEveryConditionIsAClause) {
  expect_rules(R"(  action: DENY
  rules:
  - from:
    - source: {namespaces: [web]}
    to:
    - operation: {ports: ["80", "90"], notPorts: ["800"]}
    when:
    - {key: source.ip, values: [10.0.0.1], notValues: [10.0.0.2]}
    - {key: source.namespace, values: [a], notValues: [b]}
    - {key: source.principal, values: [c], notValues: [d]}
    - {key: source.serviceAccount, values: [e, f/g], notValues: [f/h]}
    - {key: destination.ip, values: [10.0.0.3], notValues: [10.0.0.4]}
    - {key: destination.port, values: ["91"], notValues: ["92"]}
)",
               R"(action: DENY rules {
    clauses { matches { destination_ports: [80, 90] not_destination_ports: 800 } }
    clauses { matches { namespaces { exact: "web" } } }
    clauses { matches { source_ips { address: "\n\000\000\001" length: 32 }
                        not_source_ips { address: "\n\000\000\002" length: 32 } } }
    clauses { matches { namespaces { exact: "a" } not_namespaces { exact: "b" } } }
    clauses { matches { principals { exact: "c" } not_principals { exact: "d" } } }
    clauses { matches { service_accounts { namespace: "default" serviceAccount: "e" }
                        service_accounts { namespace: "f" serviceAccount: "g" }
                        not_service_accounts { namespace: "f" serviceAccount: "h" } } }
    clauses { matches { destination_ips { address: "\n\000\000\003" length: 32 }
                        not_destination_ips { address: "\n\000\000\004" length: 32 } } }
    clauses { matches { destination_ports: 91 not_destination_ports: 92 } } })");
}

TEST(AuthorizationPolicyTest, NoRulesNeverMatchAndAnEmptyRuleMatchesEverything) {
  expect_rules("  {}", "");
  expect_rules("  rules: []", "");
  expect_rules("  rules: [{}]", "rules {}");
  expect_rules("  action: DENY\n  rules: [{}]", "action: DENY rules {}");
}

TEST(HttpTermTest, EveryTermAboutRequestsIsAnExtensionOfItsMatch) {
  expect_rules(R"(  rules:
  - from: [{source: {namespaces: [a], remoteIpBlocks: [10.0.0.1], notRemoteIpBlocks: [10.0.0.0/8]}}]
    to:
    - operation:
        ports: ["80"]
        methods: [GET, "P*"]
        notMethods: ["*T"]
        hosts: ["*"]
        notHosts: [a.b]
        paths: [/a, "/b*", "/c/{*}/d/{**}"]
        notPaths: ["/e/{*}", "*.f"]
    when:
    - {key: "request.headers[X-User]", values: [y], notValues: ["z*"]}
    - {key: remote.ip, values: [10.0.0.2], notValues: [10.0.0.3]}
)",
               R"(rules {
    clauses { matches { destination_ports: 80 extensions { name: "weft.mesh.v1.HttpTerms" config {
      [type.googleapis.com/weft.mesh.v1.HttpTerms] {
        methods { exact: "GET" } methods { prefix: "P" } not_methods { suffix: "T" }
        hosts { presence {} } not_hosts { exact: "a.b" }
        paths { exact: "/a" } paths { prefix: "/b" } not_paths { suffix: ".f" }
        path_templates: "/c/{*}/d/{**}" not_path_templates: "/e/{*}" } } } } }
    clauses { matches { namespaces { exact: "a" } extensions { name: "weft.mesh.v1.HttpTerms" config {
      [type.googleapis.com/weft.mesh.v1.HttpTerms] {
        remote_ips { address: "\n\000\000\001" length: 32 } not_remote_ips { address: "\n\000\000\000" length: 8 }
      } } } } }
    clauses { matches { extensions { name: "weft.mesh.v1.HttpTerms" config {
      [type.googleapis.com/weft.mesh.v1.HttpTerms] {
        headers { name: "x-user" values { exact: "y" } not_values { prefix: "z" } } } } } } }
    clauses { matches { extensions { name: "weft.mesh.v1.HttpTerms" config {
      [type.googleapis.com/weft.mesh.v1.HttpTerms] {
        remote_ips { address: "\n\000\000\002" length: 32 }
        not_remote_ips { address: "\n\000\000\003" length: 32 } } } } } } })");
}

TEST(ServerNameTermTest, ItIsAnExtensionOfItsOwn) {
  expect_rules(R"(  rules:
  - from: [{source: {namespaces: [b]}}]
    when: [{key: connection.sni, values: [a.example, "*.b"], notValues: ["c*", "*"]}]
)",
               R"(rules {
    clauses { matches { namespaces { exact: "b" } } }
    clauses { matches { extensions { name: "weft.mesh.v1.ConnectionTerms" config {
      [type.googleapis.com/weft.mesh.v1.ConnectionTerms] {
        server_names { exact: "a.example" } server_names { suffix: ".b" }
        not_server_names { prefix: "c" } not_server_names { presence {} } } } } } } })");
  const ParsedFile refused =
      parse_file("f", policy("name: p", "  rules:\n  - when:\n    - {key: connection.sni, values: []}\n"));
  EXPECT_TRUE(refused.objects.empty());
  const auto& findings = refused.findings;
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(str_cat(findings[0].code, " ", findings[0].line, " ", findings[0].field),
            "WF0026 7 spec.rules[0].when[0].values");
}

TEST(UncheckedTermTest, AnAllowRuleWithOneIsLeftOut) {
  expect_rules(R"(  rules:
  - from: [{source: {namespaces: [b]}}]
    when: [{key: "experimental.envoy.filters.a[c]", values: [y]}]
  - from: [{source: {namespaces: [c]}}]
    when: [{key: "experimental.envoy.filters.a[b]", values: [y]}]
  - from: [{source: {namespaces: [d]}}]
)",
               "rules { clauses { matches { namespaces { exact: 'd' } } } }");
}

TEST(UncheckedTermTest, ADenyRuleKeepsWhatElseItSays) {
  expect_rules(R"(  action: DENY
  rules:
  - when: [{key: "experimental.envoy.filters.a[b]", notValues: ["*"]}]
  - when: [{key: source.namespace, values: [b]}, {key: "experimental.envoy.filters.a[b]", values: [s]}]
)",
               R"(action: DENY
    rules { clauses { matches {} } }
    rules { clauses { matches { namespaces { exact: "b" } } } clauses { matches {} } })");
}

TEST(UncheckedTermTest, EachIsReportedWithWhatItDoesToTheRule) {
  struct Row {
    const char* spec;
    std::vector<std::string> expected;  // "code line field"
  };
  const Row rows[] = {
      {"  action: DENY\n  rules:\n  - when:\n    - {key: \"experimental.envoy.filters.a[b]\", values: [a]}\n",
       {"WF0035 8 spec.rules[0].when[0].key"}},
      {"  rules:\n  - when:\n    - {key: \"experimental.envoy.filters.a.b[c]\", values: [a]}\n",
       {"WF0013 7 spec.rules[0].when[0].key"}},
      {"  rules:\n  - to: [{operation: {methods: [GET], paths: [/a], hosts: [h]}}]\n    when: [{key: "
       "\"request.headers[x]\", values: [a]}]\n",
       {}},
  };
  for (const Row& row : rows) {
    std::vector<std::string> got;
    for (const Finding& finding : findings_of(row.spec)) {
      EXPECT_EQ(finding.level, Finding::Level::kWarning);
      EXPECT_FALSE(finding.remedy.empty());
      got.push_back(str_cat(finding.code, " ", finding.line, " ", finding.field));
    }
    EXPECT_EQ(got, row.expected) << row.spec;
  }
}

TEST(TokenTermTest, EachBecomesAnExtensionOfItsMatch) {
  expect_rules(R"(  rules:
  - from: [{source: {namespaces: [b], requestPrincipals: ["iss/*"], notRequestPrincipals: [iss/me]}}]
    when:
    - {key: request.auth.principal, values: ["*"]}
    - {key: request.auth.audiences, values: [us]}
    - {key: request.auth.presenter, notValues: ["*x"]}
    - {key: "request.auth.claims[a.b][c]", values: [y]}
)",
               R"(rules {
    clauses { matches { namespaces { exact: "b" } extensions { name: "weft.mesh.v1.TokenTerms" config {
      [type.googleapis.com/weft.mesh.v1.TokenTerms] {
        request_principals { prefix: "iss/" } not_request_principals { exact: "iss/me" } } } } } }
    clauses { matches { extensions { name: "weft.mesh.v1.TokenTerms" config {
      [type.googleapis.com/weft.mesh.v1.TokenTerms] { request_principals { presence {} } } } } } }
    clauses { matches { extensions { name: "weft.mesh.v1.TokenTerms" config {
      [type.googleapis.com/weft.mesh.v1.TokenTerms] { claims { claim: "aud" values { exact: "us" } } } } } } }
    clauses { matches { extensions { name: "weft.mesh.v1.TokenTerms" config {
      [type.googleapis.com/weft.mesh.v1.TokenTerms] { claims { claim: "azp" not_values { suffix: "x" } } } } } } }
    clauses { matches { extensions { name: "weft.mesh.v1.TokenTerms" config {
      [type.googleapis.com/weft.mesh.v1.TokenTerms] {
        claims { claim: "a.b" claim: "c" values { exact: "y" } } } } } } } })");
}

TEST(TokenTermTest, WhatNamesNoClaimIsRefused) {
  for (const char* key :
       {"request.auth.claims", "request.auth.claims[]", "request.auth.claims[a", "request.auth.claims[a]b",
        "request.auth.claims[a][]", "request.auth.claims[[a]]", "request.auth.issuer", "request.auth."}) {
    const auto findings =
        parse_file("f",
                   policy("name: p", str_cat("  rules:\n  - when: [{key: \"", key, "\", values: [a]}]\n")))
            .findings;
    ASSERT_EQ(findings.size(), 1u) << key;
    EXPECT_EQ(findings[0].code, "WF0002") << key;
  }
}

TEST(HttpTermTest, WhatIsNoTemplateOrNoHeaderIsRefusedAtItsLine) {
  struct Row {
    const char* operation;
    const char* field;
  };
  const Row rows[] = {
      {"paths: [\"a/{*}\"]", "paths[0]"},       {"paths: [/a, \"/b/{*}.txt\"]", "paths[1]"},
      {"paths: [\"/{**}/a/{*}\"]", "paths[0]"}, {"paths: [\"/{**}/{**}\"]", "paths[0]"},
      {"paths: [\"/*/a/{*}\"]", "paths[0]"},    {"notPaths: [\"/{a}\"]", "notPaths[0]"},
      {"hosts: [\"a*b\"]", "hosts[0]"},
  };
  for (const Row& row : rows) {
    const ParsedFile parsed =
        parse_file("f", policy("name: p", str_cat("  rules:\n  - to: [{operation: {", row.operation, "}}]")));
    ASSERT_EQ(parsed.findings.size(), 1U) << row.operation;
    EXPECT_EQ(parsed.findings[0].code, "WF0002") << row.operation;
    EXPECT_EQ(parsed.findings[0].field, str_cat("spec.rules[0].to[0].operation.", row.field));
  }
  for (const char* key : {"request.headers[:path]", "request.headers[a b]", "request.headers[]"}) {
    const ParsedFile parsed = parse_file(
        "f", policy("name: p", str_cat("  rules:\n  - when: [{key: \"", key, "\", values: [a]}]")));
    ASSERT_EQ(parsed.findings.size(), 1U) << key;
    EXPECT_EQ(parsed.findings[0].field, "spec.rules[0].when[0].key");
  }
}

TEST(ScopeTest, TheSelectorThenTheNamespaceDecide) {
  const Compiled compiled =
      compile_text(policy("name: all, namespace: istio-system", "  {}") +
                   policy("name: some, namespace: istio-system", "  selector: {matchLabels: {app: a}}") +
                   policy("name: shop, namespace: shop", "  {}") +
                   policy("name: here", "  {}", "security.istio.io/v1beta1"));
  EXPECT_EQ(published(compiled, "istio-system/all").scope(), pb::GLOBAL);
  EXPECT_EQ(published(compiled, "istio-system/some").scope(), pb::WORKLOAD_SELECTOR);
  EXPECT_EQ(published(compiled, "shop/shop").scope(), pb::NAMESPACE);
  EXPECT_EQ(published(compiled, "shop/shop").name(), "shop");
  EXPECT_EQ(published(compiled, "shop/shop").namespace_(), "shop");
  EXPECT_EQ(published(compiled, "default/here").scope(), pb::NAMESPACE);
}

TEST(ScopeTest, WorkloadsNameTheSelectorPoliciesOfTheirNamespaceAndOfTheRoot) {
  const auto selector = [](const char* labels) {
    return str_cat("  selector: {matchLabels: {", labels, "}}");
  };
  const Compiled compiled = compile_text(
      pod("shop", "web", "app: web, version: v1") + pod("shop", "db", "app: db") +
      pod("bank", "teller", "app: web") + policy("name: z, namespace: shop", selector("app: web")) +
      policy("name: both, namespace: shop", selector("app: web, version: v1")) +
      policy("name: none, namespace: shop", selector("app: web, version: v2")) +
      policy("name: root, namespace: istio-system", selector("app: web")) +
      policy("name: everybody, namespace: shop", "  {}"));
  const auto names = [&compiled](const char* uid) {
    const istio::workload::Workload w = workload(compiled, uid);
    return std::vector<std::string>(w.authorization_policies().begin(), w.authorization_policies().end());
  };
  EXPECT_EQ(names("Kubernetes//Pod/shop/web"),
            (std::vector<std::string>{"istio-system/root", "shop/both", "shop/z"}));
  EXPECT_EQ(names("Kubernetes//Pod/shop/db"), std::vector<std::string>());
  EXPECT_EQ(names("Kubernetes//Pod/bank/teller"), (std::vector<std::string>{"istio-system/root"}));
}

TEST(ChangeTest, AnotherRuleRepublishesThePolicyAloneAndAnotherSelectorItsPodsToo) {
  const std::string world = pod("default", "web", "app: web") + pod("default", "db", "app: db") +
                            policy("name: other", "  selector: {matchLabels: {app: web}}");
  const auto with = [&world](const std::string& spec) {
    return compile_text(world + policy("name: p", spec));
  };
  const auto names = [](const Compiled& before, const Compiled& after) {
    Change change;
    diff(before, after, change);
    std::vector<std::string> out;
    for (const Resource& r : change.upserted) out.emplace_back(r.name());
    for (const auto& [type, name] : change.removed) out.push_back(str_cat("-", name));
    return out;
  };
  const Compiled first = with("  selector: {matchLabels: {app: web}}");
  EXPECT_EQ(names(first, with("  selector: {matchLabels: {app: web}}\n  rules: [{}]")),
            (std::vector<std::string>{"default/p"}));
  EXPECT_EQ(names(first, with("  selector: {matchLabels: {app: db}}")),
            (std::vector<std::string>{"Kubernetes//Pod/default/db", "Kubernetes//Pod/default/web"}));
  EXPECT_EQ(names(first, compile_text(world)),
            (std::vector<std::string>{"Kubernetes//Pod/default/web", "-default/p"}));
  EXPECT_TRUE(names(first, with("  selector: {matchLabels: {app: web}}")).empty());
}

TEST(DryRunTest, ThePolicySaysSo) {
  const auto text = [](const char* word) {
    return policy(str_cat("name: p, annotations: {istio.io/dry-run: \"", word, "\"}"), "  {}");
  };
  EXPECT_TRUE(published(compile_text(text("true")), "default/p").dry_run());
  EXPECT_FALSE(published(compile_text(text("0")), "default/p").dry_run());
  EXPECT_TRUE(parse_file("f", text("1")).findings.empty());
}

TEST(AuditTest, WhoDoesNotKnowItEnforcesNothing) {
  const pb::Authorization audit =
      published(compile_text(policy("name: p", "  {action: AUDIT, rules: [{}]}")), "default/p");
  EXPECT_TRUE(audit.dry_run());
  EXPECT_EQ(audit.action(), pb::DENY);
  ASSERT_EQ(audit.extensions_size(), 2);
  EXPECT_EQ(audit.extensions(0).name(), "weft.dev/audit");
  EXPECT_TRUE(findings_of("  {action: AUDIT, rules: [{}]}").empty());
}

TEST(OriginTest, APolicySaysWhereItIsWritten) {
  const ParsedFile parsed = parse_file("f.yaml", "---\n" + policy("name: p", "  {}"));
  ASSERT_EQ(parsed.objects.size(), 1U);
  const auto& one = std::get<AuthorizationPolicy>(parsed.objects[0]);
  ASSERT_EQ(one.policy.extensions_size(), 1);
  EXPECT_EQ(one.policy.extensions(0).name(), "weft.dev/origin");
  mesh::v1::Origin origin;
  ASSERT_TRUE(one.policy.extensions(0).config().UnpackTo(&origin));
  EXPECT_EQ(origin.file(), "f.yaml");
  EXPECT_EQ(origin.line(), one.meta.line);
}

TEST(TargetRefsTest, APolicyForAServiceIsNamedByItsEndpoints) {
  const std::string world =
      pod("default", "web", "app: web") + pod("default", "other", "app: other") +
      "apiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec: {clusterIP: 10.96.0.1, selector: {app: "
      "web}, ports: [{port: 80}]}\n---\n";
  const auto named = [&](const std::string& spec, const char* uid) {
    const auto workload =
        resource<istio::workload::Address>(compile_text(world + policy("name: p", spec)), kAddressType, uid)
            .workload();
    return !workload.authorization_policies().empty();
  };
  for (const char* target : {"targetRefs: [{kind: Service, group: \"\", name: front}]",
                             "targetRef: {kind: Service, group: core, name: front, namespace: default}"}) {
    const std::string spec = str_cat("  {", target, ", rules: [{}]}");
    EXPECT_TRUE(findings_of(spec).empty()) << target;
    EXPECT_TRUE(named(spec, "Kubernetes//Pod/default/web")) << target;
    EXPECT_FALSE(named(spec, "Kubernetes//Pod/default/other")) << target;
    const pb::Authorization one = published(compile_text(world + policy("name: p", spec)), "default/p");
    EXPECT_EQ(one.scope(), pb::WORKLOAD_SELECTOR);
  }
}

TEST(TargetRefsTest, WhatCannotBeATargetIsRefused) {
  const auto refused = [](const std::string& spec) {
    const ParsedFile parsed = parse_file("f", policy("name: p", "  {" + spec + ", rules: [{}]}"));
    return parsed.objects.empty() && !parsed.findings.empty() &&
           parsed.findings[0].level == Finding::Level::kError;
  };
  EXPECT_TRUE(refused("targetRefs: []"));
  EXPECT_TRUE(refused("targetRefs: [{kind: Service}]"));
  EXPECT_TRUE(refused("targetRefs: [{kind: ServiceEntry, group: networking.istio.io, name: a}]"));
  EXPECT_TRUE(refused("targetRefs: [{kind: Service, name: a, namespace: other}]"));
  EXPECT_TRUE(refused("targetRefs: [{kind: Service, name: a}], selector: {matchLabels: {app: web}}"));
  std::string many;
  for (int i = 0; i < 17; ++i) many += str_cat(i == 0 ? "" : ", ", "{kind: Service, name: s", i, "}");
  EXPECT_TRUE(refused("targetRefs: [" + many + "]"));
}

TEST(CrossCheckPolicyTest, ASelectorWithoutPodsIsAWarning) {
  const auto has = [](const std::string& text) {
    const Compiled compiled = compile_text(text);
    return std::any_of(compiled.findings.begin(), compiled.findings.end(), [](const Finding& f) {
      return f.code == "WF0003" && f.object == "AuthorizationPolicy shop/p" && f.field == "spec.selector";
    });
  };
  const std::string p = policy("name: p, namespace: shop", "  selector: {matchLabels: {app: web}}");
  EXPECT_TRUE(has(p));
  EXPECT_TRUE(has(p + pod("bank", "web", "app: web")));
  EXPECT_FALSE(has(p + pod("shop", "web", "app: web")));
  EXPECT_FALSE(has(policy("name: p, namespace: shop", "  {}")));
}

}  // namespace
}  // namespace weft::control_plane
