// MeshConfig from its ConfigMap to what proxies get, and policies of CUSTOM that name its providers.
#include <gmock/gmock.h>

#include "agent/policy/l4_policy.h"
#include "base/strings.h"
#include "control-plane/pipeline.h"
#include "control-plane/resource/finding_codes.h"
#include "proto/weft/mesh/v1/egress.pb.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Each line of `mesh` two spaces deep.
std::string config_map(std::string_view mesh, std::string_view ns = "istio-system") {
  std::string text;
  size_t begin = 0;
  while (begin < mesh.size()) {
    const size_t end = std::min(mesh.find('\n', begin), mesh.size());
    str_append(&text, "    ", mesh.substr(begin, end - begin), "\n");
    begin = end + 1;
  }
  return str_cat("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: ", ns,
                 "}\ndata:\n  mesh: |-\n", text, "---\n");
}

constexpr char kAuthz[] =
    "apiVersion: v1\nkind: Service\nmetadata: {name: authz, namespace: shop}\nspec: {clusterIP: 10.96.0.7, "
    "selector: {app: authz}, ports: [{name: http, port: 9000}]}\n---\n";

std::vector<std::string> findings_of(const std::string& text) {
  Store store;
  store.update({{"f.yaml", parse_file("f.yaml", text)}});
  std::vector<std::string> out;
  for (const Finding& finding : all_findings(store, compile(store.objects(), ""))) {
    if (finding.code != std::string(kServiceSelectsNothing)) out.push_back(to_string(finding));
  }
  return out;
}

mesh::v1::MeshConfig mesh_of(const std::string& text) {
  return resource<mesh::v1::MeshConfig>(compile_text(text), kMeshConfigType, kMeshConfigName);
}

TEST(MeshConfigTest, WhatProxiesNeedGoesOut) {
  const auto mesh = mesh_of(config_map(R"(connectTimeout: 2s
pathNormalization: {normalization: MERGE_SLASHES}
localityLbSetting: {enabled: false}
defaultHttpRetryPolicy: {attempts: 5, retryOn: "5xx"}
rootNamespace: istio-system
trustDomain: cluster.local
extensionProviders:
- name: web
  envoyExtAuthzHttp:
    service: shop/authz
    port: 9000
    timeout: 3s
    failOpen: true
    statusOnError: "503"
    pathPrefix: /check
    includeRequestHeadersInCheck: [X-A, "x-b-*", "*-id"]
    includeAdditionalHeadersInCheck: {x-mesh: weft}
    headersToUpstreamOnAllow: [x-user]
    headersToDownstreamOnAllow: [set-cookie]
    headersToDownstreamOnDeny: ["*"]
    includeRequestBodyInCheck: {maxRequestBytes: 100, allowPartialMessage: true}
- name: call
  envoyExtAuthzGrpc: {service: authz.shop.svc.cluster.local, port: 9000})"));
  EXPECT_EQ(mesh.connect_timeout_ms(), 2000u);
  EXPECT_EQ(mesh.path_normalization(), mesh::v1::MeshConfig::PATH_MERGE_SLASHES);
  EXPECT_TRUE(mesh.locality().disabled());
  EXPECT_EQ(mesh.default_retries().attempts(), 5u);
  ASSERT_EQ(mesh.providers_size(), 2);
  const mesh::v1::ExternalProvider& web = mesh.providers(0);
  EXPECT_EQ(web.name(), "web");
  EXPECT_EQ(web.host(), "authz.shop.svc.cluster.local");
  EXPECT_EQ(web.port(), 9000u);
  EXPECT_EQ(web.timeout_ms(), 3000u);
  EXPECT_TRUE(web.fail_open());
  EXPECT_EQ(web.status_on_error(), 503u);
  EXPECT_EQ(web.max_body_bytes(), 100u);
  EXPECT_TRUE(web.partial_body());
  EXPECT_FALSE(web.raw_body());
  EXPECT_EQ(web.http().path_prefix(), "/check");
  EXPECT_EQ(web.http().request_fields(0).exact(), "x-a");
  EXPECT_EQ(web.http().request_fields(1).prefix(), "x-b-");
  EXPECT_EQ(web.http().request_fields(2).suffix(), "-id");
  EXPECT_EQ(web.http().added_fields().at("x-mesh"), "weft");
  EXPECT_EQ(web.http().fields_to_upstream(0).exact(), "x-user");
  EXPECT_EQ(web.http().fields_on_allow(0).exact(), "set-cookie");
  EXPECT_TRUE(web.http().fields_on_deny(0).has_suffix()) << "any name";
  EXPECT_EQ(mesh.providers(1).host(), "authz.shop.svc.cluster.local");
  EXPECT_FALSE(mesh.providers(1).has_http());
}

TEST(MeshConfigTest, EachFieldThatWeftDoesNotGoByIsSaidOnceWithItsPlace) {
  const std::string text = config_map(
      "accessLogFile: /dev/stdout\nenableTracing: true\ntrustDomain: example.org\nrootNamespace: mesh\n"
      "defaultConfig: {discoveryAddress: istiod}\nextensionProviders: [{name: z, zipkin: {service: z, port: "
      "1}}]");
  const std::vector<std::string> findings = findings_of(text);
  EXPECT_EQ(findings.size(), 6u) << ::testing::PrintToString(findings);
  EXPECT_THAT(findings, Contains(HasSubstr("f.yaml:6: warning WF0071 ConfigMap istio-system/istio "
                                           "data.mesh.accessLogFile: ")));
  EXPECT_THAT(findings, Contains(HasSubstr("f.yaml:10: warning WF0071 ConfigMap istio-system/istio "
                                           "data.mesh.defaultConfig: ")));
  EXPECT_THAT(findings, Contains(HasSubstr("data.mesh.trustDomain: workloads are of")));
  EXPECT_THAT(findings, Contains(HasSubstr("provider \"z\" is none of ext_authz")));
}

TEST(MeshConfigTest, AValueThatIsNoneLeavesTheLastGoodOneInForce) {
  Store store;
  store.update({{"f.yaml", parse_file("f.yaml", config_map("connectTimeout: 2s"))}});
  for (const char* bad : {"connectTimeout: soon", "pathNormalization: {normalization: SOME}",
                          "outboundTrafficPolicy: {mode: NONE}", "- a list", "a: [",
                          "extensionProviders: [{name: x, envoyExtAuthzHttp: {service: 'a b', port: 1}}]",
                          "extensionProviders: [{name: x, envoyExtAuthzHttp: {service: a, port: 70000}}]",
                          "extensionProviders: [{name: x, envoyExtAuthzGrpc: {service: a}}]",
                          "extensionProviders: [{name: x, envoyExtAuthzGrpc: {service: a, port: 1, "
                          "statusOnError: \"200\"}}]",
                          "extensionProviders: [{name: x, envoyExtAuthzGrpc: {service: a, port: 1, "
                          "includeRequestBodyInCheck: {maxRequestBytes: 100000}}}]"}) {
    store.update({{"f.yaml", parse_file("f.yaml", config_map(bad))}});
    bool error = false;
    for (const Finding& finding : store.findings()) error = error || finding.level == Finding::Level::kError;
    EXPECT_TRUE(error) << bad;
    const MeshConfig* mesh = nullptr;
    for (const auto& [key, object] : store.objects()) mesh = std::get_if<MeshConfig>(object);
    ASSERT_NE(mesh, nullptr) << bad;
    EXPECT_EQ(mesh->message.connect_timeout_ms(), 2000u) << bad;
  }
}

TEST(MeshConfigTest, OtherConfigMapsAreNotRead) {
  const std::string text =
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: shop}\ndata: {mesh: 3}\n";
  const std::vector<std::string> findings = findings_of(text);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_THAT(findings[0], HasSubstr("WF0023"));
  EXPECT_THAT(compile_text(text).resources, IsEmpty());
}

TEST(MeshConfigTest, WeftsOwnConfigMapTakesThePlaceOfIstios) {
  const std::string both = config_map("connectTimeout: 1s") + config_map("connectTimeout: 2s", "weft-system");
  EXPECT_EQ(mesh_of(both).connect_timeout_ms(), 2000u);
  EXPECT_THAT(findings_of(both), Contains(HasSubstr("warning WF0036 ConfigMap istio-system/istio data.mesh: "
                                                    "ConfigMap weft-system/istio takes its place")));
}

TEST(MeshConfigTest, RegistryOnlyHoldsWhereNoSidecarSaysOtherwise) {
  const std::string pod =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nstatus: {podIP: 10.1.0.1}\n---\n";
  const std::string sidecar =
      "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s, namespace: shop}\n"
      "spec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}\n---\n";
  const std::string only = config_map("outboundTrafficPolicy: {mode: REGISTRY_ONLY}");
  const auto confined = [](const std::string& text) {
    bool out = false;
    const Compiled compiled = compile_text(text);
    const auto pod_workload = workload(compiled, "Kubernetes//Pod/shop/web");
    for (const auto& extension : pod_workload.extensions()) {
      mesh::v1::EgressPolicy policy;
      out = out || (extension.config().UnpackTo(&policy) && policy.registry_only());
    }
    return out;
  };
  EXPECT_TRUE(confined(pod + only));
  EXPECT_FALSE(confined(pod + only + sidecar));
  EXPECT_FALSE(confined(pod + config_map("outboundTrafficPolicy: {mode: ALLOW_ANY}")));
}

TEST(MeshConfigTest, RoutesThatSayNothingAboutRetriesGetTheMeshs) {
  const std::string routes =
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\n"
      "spec: {hosts: [authz], http: [{match: [{uri: {prefix: /a}}], retries: {attempts: 0}, route: "
      "[{destination: {host: authz}}]}, {match: [{uri: {prefix: /b}}], redirect: {uri: /c}}, {route: "
      "[{destination: {host: authz}}]}]}\n---\n";
  const std::string mesh = config_map("defaultHttpRetryPolicy: {attempts: 5}");
  const auto set =
      resource<mesh::v1::RouteSet>(compile_text(kAuthz + routes + mesh), kRouteSetType, "shop/v");
  ASSERT_EQ(set.http_size(), 3);
  EXPECT_EQ(set.http(0).retries().attempts(), 0u);
  EXPECT_FALSE(set.http(1).has_retries());
  EXPECT_EQ(set.http(2).retries().attempts(), 5u);
}

TEST(MeshConfigTest, AChangeOfItMakesTheRoutesAnew) {
  const std::string routes =
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: shop}\n"
      "spec: {hosts: [authz], http: [{route: [{destination: {host: authz}}]}]}\n---\n";
  Store store;
  const auto attempts = [&](const std::string& mesh, const Compiled* before, Compiled* now) {
    store.update({{"f.yaml", parse_file("f.yaml", kAuthz + routes + mesh)}});
    *now = compile(store.objects(), "", {}, before);
    return resource<mesh::v1::RouteSet>(*now, kRouteSetType, "shop/v").http(0).retries().attempts();
  };
  Compiled first, second, third;
  EXPECT_EQ(attempts("", nullptr, &first), 0u);
  EXPECT_EQ(attempts(config_map("defaultHttpRetryPolicy: {attempts: 5}"), &first, &second), 5u);
  EXPECT_EQ(attempts(config_map("defaultHttpRetryPolicy: {attempts: 6}"), &second, &third), 6u);
}

std::string policy(std::string_view spec, std::string_view annotations = "") {
  return str_cat(
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: "
      "shop, annotations: {",
      annotations, "}}\nspec: ", spec, "\n---\n");
}

TEST(CustomPolicyTest, ItGoesOutAsADenialForWhoCannotAsk) {
  const Compiled compiled = compile_text(
      policy("{action: CUSTOM, provider: {name: web}, rules: [{to: [{operation: {paths: [/a]}}]}]}"));
  const auto message = resource<istio::security::Authorization>(compiled, kAuthorizationType, "shop/p");
  EXPECT_EQ(message.action(), istio::security::DENY);
  EXPECT_FALSE(message.dry_run());
  EXPECT_TRUE(agent::is_custom(message));
  EXPECT_EQ(agent::provider_of(message), "web");
  EXPECT_FALSE(agent::is_audit(message));
}

TEST(CustomPolicyTest, AProviderThatIsNotThereIsAWarning) {
  const std::string custom = policy("{action: CUSTOM, provider: {name: web}, rules: [{}]}");
  const std::string mesh =
      config_map("extensionProviders: [{name: web, envoyExtAuthzGrpc: {service: shop/authz, port: 9000}}]");
  EXPECT_THAT(findings_of(custom),
              Contains(HasSubstr("warning WF0072 AuthorizationPolicy shop/p "
                                 "spec.provider.name: the mesh has no provider \"web\"")));
  EXPECT_THAT(findings_of(custom + mesh + kAuthz), IsEmpty());
  EXPECT_THAT(
      findings_of(custom + mesh),
      Contains(HasSubstr("warning WF0072 ConfigMap istio-system/istio data.mesh.extensionProviders[0]: no "
                         "Service or ServiceEntry authz.shop.svc.cluster.local has port 9000")));
}

TEST(CustomPolicyTest, WhatCannotBeAskedIsRefusedByName) {
  const auto error = [](const std::string& text) {
    const std::vector<std::string> found = findings_of(text);
    for (const std::string& each : found) {
      if (each.find(" error ") != std::string::npos) return each;
    }
    return std::string("none");
  };
  EXPECT_THAT(error(policy("{action: CUSTOM, rules: [{}]}")),
              HasSubstr("spec.provider: a policy of action CUSTOM"));
  EXPECT_THAT(error(policy("{action: CUSTOM, provider: {name: ''}, rules: [{}]}")),
              HasSubstr("spec.provider.name"));
  EXPECT_THAT(error(policy("{action: CUSTOM, provider: {name: web}}")),
              HasSubstr("a CUSTOM policy without rules"));
  EXPECT_THAT(error(policy("{action: DENY, provider: {name: web}, rules: [{}]}")),
              HasSubstr("only a policy of action CUSTOM has a provider"));
  EXPECT_THAT(error(policy("{action: CUSTOM, provider: {name: web}, rules: [{from: [{source: "
                           "{requestPrincipals: ['*']}}]}]}")),
              HasSubstr("cannot ask for tokens"));
  EXPECT_THAT(
      error(policy("{action: CUSTOM, provider: {name: web}, rules: [{}]}", "istio.io/dry-run: \"true\"")),
      HasSubstr("CUSTOM has no dry run"));
  EXPECT_THAT(error(policy("{action: CUSTOM, provider: {name: web}, rules: [{from: [{source: {namespaces: "
                           "[shop]}}]}]}")),
              Not(HasSubstr(" error ")));
}

}  // namespace
}  // namespace weft::control_plane
