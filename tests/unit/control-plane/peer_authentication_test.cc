// PeerAuthentication to denials of plaintext: which object wins where, and what each port gets. What a denial
// matches is asked of the policies as they go out.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "tests/unit/control-plane/compile_fixture.h"

namespace weft::control_plane {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kPods[] =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web}}\n"
    "spec: {nodeName: node1}\nstatus: {phase: Running, podIP: 10.0.0.1}\n---\n"
    "apiVersion: v1\nkind: Pod\nmetadata: {name: db, namespace: shop, labels: {app: db}}\n"
    "spec: {nodeName: node1}\nstatus: {phase: Running, podIP: 10.0.0.2}\n";
constexpr char kStatic[] = "istio-system/istio_converted_static_strict";

std::string object(const std::string& ns, const std::string& name, const std::string& spec,
                   int age_rank = 1) {
  return str_cat("---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: ", name,
                 "\n  namespace: ", ns, "\n  creationTimestamp: \"2024-01-0", age_rank,
                 "T00:00:00Z\"\nspec: ", spec, "\n");
}

std::vector<std::string> policies_of(const Compiled& compiled, const std::string& pod) {
  const auto found = workload(compiled, "Kubernetes//Pod/shop/" + pod);
  return {found.authorization_policies().begin(), found.authorization_policies().end()};
}

TEST(PeerAuthenticationTest, WithoutOneNothingIsDenied) {
  EXPECT_THAT(policies_of(compile_text(kPods), "web"), IsEmpty());
}

TEST(PeerAuthenticationTest, StrictForTheMeshDeniesWhoHasNoIdentity) {
  const Compiled compiled = compile_text(kPods + object("istio-system", "default", "{mtls: {mode: STRICT}}"));
  EXPECT_THAT(policies_of(compiled, "web"), ElementsAre(kStatic));
  const auto policy = resource<istio::security::Authorization>(compiled, kAuthorizationType, kStatic);
  EXPECT_EQ(policy.action(), istio::security::DENY);
  EXPECT_EQ(policy.scope(), istio::security::WORKLOAD_SELECTOR);
  ASSERT_EQ(policy.rules_size(), 1);
  ASSERT_EQ(policy.rules(0).clauses_size(), 1);
  EXPECT_TRUE(policy.rules(0).clauses(0).matches(0).not_principals(0).has_presence());
}

TEST(PeerAuthenticationTest, TheNarrowerObjectWins) {
  const std::string mesh = object("istio-system", "default", "{mtls: {mode: STRICT}}");
  const std::string open = object("shop", "default", "{mtls: {mode: PERMISSIVE}}");
  EXPECT_THAT(policies_of(compile_text(kPods + mesh + open), "web"), IsEmpty());
  const std::string own =
      object("shop", "web", "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}");
  const Compiled compiled = compile_text(kPods + mesh + open + own);
  EXPECT_THAT(policies_of(compiled, "web"), ElementsAre(kStatic));
  EXPECT_THAT(policies_of(compiled, "db"), IsEmpty());
}

TEST(PeerAuthenticationTest, UnsetInheritsAndDisableIsPermissive) {
  const std::string mesh = object("istio-system", "default", "{mtls: {mode: STRICT}}");
  EXPECT_THAT(
      policies_of(compile_text(kPods + mesh + object("shop", "default", "{mtls: {mode: UNSET}}")), "web"),
      ElementsAre(kStatic));
  EXPECT_THAT(
      policies_of(compile_text(kPods + mesh + object("shop", "default", "{mtls: {mode: DISABLE}}")), "web"),
      IsEmpty());
}

TEST(PeerAuthenticationTest, OfTwoTheOlderWins) {
  const std::string text = kPods + object("shop", "a-newer", "{mtls: {mode: PERMISSIVE}}", 2) +
                           object("shop", "b-older", "{mtls: {mode: STRICT}}", 1);
  EXPECT_THAT(policies_of(compile_text(text), "web"), ElementsAre(kStatic));
}

TEST(PeerAuthenticationTest, APortMayBeOpenOrStrictAlone) {
  const std::string selector = "selector: {matchLabels: {app: web}}, ";
  const Compiled open = compile_text(
      kPods + object("shop", "web",
                     "{" + selector + "mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: PERMISSIVE}}}"));
  const std::string name = "shop/converted_peer_authentication_web";
  EXPECT_THAT(policies_of(open, "web"), ElementsAre(name));
  const auto but_one = resource<istio::security::Authorization>(open, kAuthorizationType, name);
  ASSERT_EQ(but_one.rules_size(), 1);
  ASSERT_EQ(but_one.rules(0).clauses_size(), 2);
  EXPECT_THAT(but_one.rules(0).clauses(1).matches(0).not_destination_ports(), ElementsAre(8080u));

  const Compiled strict = compile_text(
      kPods +
      object("shop", "web", "{" + selector + "portLevelMtls: {8080: {mode: STRICT}, 9090: {mode: UNSET}}}"));
  const auto one = resource<istio::security::Authorization>(strict, kAuthorizationType, name);
  ASSERT_EQ(one.rules_size(), 1);
  ASSERT_EQ(one.rules(0).clauses_size(), 2);
  EXPECT_TRUE(one.rules(0).clauses(0).matches(0).not_principals(0).has_presence());
  EXPECT_THAT(one.rules(0).clauses(1).matches(0).destination_ports(), ElementsAre(8080u));
}

// The annotation counts of the object whose mode counts, where that is strict.
TEST(PeerAuthenticationTest, PodsOfANodeEncryptTooWhereAStrictObjectSaysSo) {
  const auto with = [](std::string text) {
    const std::string key = "metadata:\n";
    return text.insert(text.find(key) + key.size(), "  annotations: {weft.dev/same-node: encrypt}\n");
  };
  constexpr char kSameNode[] = "istio-system/istio_converted_static_strict_same_node";
  const std::string own = "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}}";
  const Compiled mesh =
      compile_text(kPods + with(object("istio-system", "default", "{mtls: {mode: STRICT}}")));
  EXPECT_THAT(policies_of(mesh, "web"), ElementsAre(kSameNode));
  const auto policy = resource<istio::security::Authorization>(mesh, kAuthorizationType, kSameNode);
  EXPECT_EQ(policy.action(), istio::security::DENY);
  EXPECT_EQ(policy.rules_size(), 1) << "and plaintext is denied as ever";

  const Compiled narrower = compile_text(
      kPods + with(object("istio-system", "default", "{mtls: {mode: STRICT}}")) + object("shop", "web", own));
  EXPECT_THAT(policies_of(narrower, "web"), ElementsAre(kStatic)) << "its own object says nothing of it";
  EXPECT_THAT(policies_of(narrower, "db"), ElementsAre(kSameNode));

  const Compiled ports = compile_text(
      kPods + with(object("shop", "web",
                          "{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: "
                          "{mode: PERMISSIVE}}}")));
  EXPECT_THAT(policies_of(ports, "web"), ElementsAre("shop/converted_peer_authentication_web_same_node"));

  const Compiled open = compile_text(kPods + with(object("shop", "default", "{mtls: {mode: PERMISSIVE}}")));
  EXPECT_THAT(policies_of(open, "web"), IsEmpty());
}

TEST(PeerAuthenticationTest, WhatTheAnnotationCannotMeanIsSaid) {
  const auto findings = [](const char* value, const char* mode) {
    std::string text;
    for (const Finding& each :
         parse_file("f",
                    str_cat("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: "
                            "d\n  annotations: {weft.dev/same-node: ",
                            value, "}\nspec: {mtls: {mode: ", mode, "}}\n"))
             .findings)
      text += to_string(each) + "\n";
    return text;
  };
  EXPECT_EQ(findings("encrypt", "STRICT"), "");
  EXPECT_THAT(findings("encrypt", "PERMISSIVE"), testing::HasSubstr("set mtls.mode to STRICT"));
  EXPECT_THAT(findings("tls", "STRICT"), testing::HasSubstr("use \"encrypt\""));
}

TEST(PeerAuthenticationTest, TheExampleIsWithoutFindings) {
  for (const Finding& finding : analyze({"examples/mutual-tls"})) ADD_FAILURE() << to_string(finding);
}

TEST(PeerAuthenticationTest, APodThatTakesTunnelsSaysSo) {
  const auto plain = workload(compile_text(kPods), "Kubernetes//Pod/shop/web");
  EXPECT_EQ(plain.tunnel_protocol(), istio::workload::NONE);
  const std::string native = std::string(kPods).replace(std::string(kPods).find("app: web"), 8,
                                                        "app: web, networking.istio.io/tunnel: http");
  EXPECT_EQ(workload(compile_text(native), "Kubernetes//Pod/shop/web").tunnel_protocol(),
            istio::workload::HBONE);
  EXPECT_TRUE(workload(compile_text(native), "Kubernetes//Pod/shop/web").native_tunnel());
  const std::string captured =
      std::string(kPods).replace(std::string(kPods).find("labels: {app: web}"), 18,
                                 "labels: {app: web}, annotations: {ambient.istio.io/redirection: enabled}");
  EXPECT_EQ(workload(compile_text(captured), "Kubernetes//Pod/shop/web").tunnel_protocol(),
            istio::workload::HBONE);
}

}  // namespace
}  // namespace weft::control_plane
