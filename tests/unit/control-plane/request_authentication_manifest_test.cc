// RequestAuthentication from manifest to resource, and the keys that are fetched for it.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "control-plane/pipeline.h"
#include "tests/unit/control-plane/compile_fixture.h"
#include "tests/unit/identity/tokens.h"

namespace weft::control_plane {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string& keys() {
  static const std::string set = test::jwk_set(test::jwk(test::ec_key("P-256").get()));
  return set;
}

std::string object(const std::string& spec, const std::string& ns = "shop") {
  return str_cat(
      "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata:\n  name: r\n  "
      "namespace: ",
      ns, "\nspec: ", spec, "\n");
}

// One more than a rule may name.
std::string sixty_five_names() {
  std::string out;
  for (int i = 0; i < 65; ++i) str_append(&out, i == 0 ? "" : ", ", "c", i);
  return out;
}

std::vector<Finding> all_findings_of(const std::string& text) {
  Store store;
  store.update({{"f.yaml", parse_file("f.yaml", text)}});
  return all_findings(store, compile(store.objects(), ""));
}

mesh::v1::RequestAuthentication compiled(const std::string& text, const std::string& name) {
  return resource<mesh::v1::RequestAuthentication>(compile_text(text), kAuthenticationType, name);
}

TEST(RequestAuthenticationManifestTest, EveryFieldGoesOut) {
  const auto out = compiled(
      object(str_cat(
          R"({selector: {matchLabels: {app: web}}, jwtRules: [{issuer: i, audiences: [a, b], jwks: ')",
          keys(), R"(', fromHeaders: [{name: X-Jwt, prefix: "p "}], fromParams: [t], fromCookies: [c],
  outputPayloadToHeader: X-Payload, outputClaimToHeaders: [{header: X-Sub, claim: a.b}], forwardOriginalToken: true,
  spaceDelimitedClaims: [roles, a.b]}]})")),
      "shop/r");
  EXPECT_EQ(out.namespace_(), "shop");
  EXPECT_FALSE(out.every_namespace());
  EXPECT_EQ(out.selector().at("app"), "web");
  ASSERT_EQ(out.rules_size(), 1);
  const auto& rule = out.rules(0);
  EXPECT_EQ(rule.issuer(), "i");
  EXPECT_THAT(rule.audiences(), ElementsAre("a", "b"));
  EXPECT_EQ(rule.jwks(), keys());
  EXPECT_EQ(rule.from_headers(0).name(), "x-jwt");
  EXPECT_EQ(rule.from_headers(0).prefix(), "p ");
  EXPECT_THAT(rule.from_params(), ElementsAre("t"));
  EXPECT_THAT(rule.from_cookies(), ElementsAre("c"));
  EXPECT_EQ(rule.output_payload_to_header(), "x-payload");
  EXPECT_EQ(rule.output_claims(0).header(), "x-sub");
  EXPECT_THAT(rule.output_claims(0).claim(), ElementsAre("a", "b"));
  EXPECT_TRUE(rule.forward_original_token());
  EXPECT_THAT(rule.space_delimited_claims(), ElementsAre("roles", "a.b"));
  EXPECT_TRUE(compiled(object(str_cat("{jwtRules: [{issuer: i, jwks: '", keys(), "'}]}"), "istio-system"),
                       "istio-system/r")
                  .every_namespace());
}

TEST(RequestAuthenticationManifestTest, WhatCannotBeDoneIsRefusedAtItsField) {
  const std::string good = str_cat("issuer: i, jwks: '", keys(), "'");
  const struct {
    std::string spec;
    const char* expected;  // of code, field and message
  } rows[] = {
      {"{jwtRules: [{issuer: i}]}", "WF0002 spec.jwtRules[0].issuer"},
      {"{jwtRules: [{issuer: 'ftp://a/b'}]}", "WF0002 spec.jwtRules[0].issuer"},
      {"{jwtRules: [{issuer: 'https://u:p@a/b'}]}", "WF0002 spec.jwtRules[0].issuer"},
      {"{jwtRules: [{issuer: 'https://a/b?c=d'}]}", "WF0002 spec.jwtRules[0].issuer"},
      {"{jwtRules: [{issuer: 'https://a/b#c'}]}", "WF0002 spec.jwtRules[0].issuer"},
      {"{jwtRules: [{issuer: i, jwks: '{}'}]}", "WF0002 spec.jwtRules[0].jwks"},
      {"{jwtRules: [{jwksUri: 'https://a/b'}]}", "WF0026 spec.jwtRules[0].issuer"},
      {"{jwtRules: [{issuer: i, jwksUri: 'file:///etc/passwd'}]}", "WF0002 spec.jwtRules[0].jwksUri"},
      {"{jwtRules: [{issuer: i, jwksUri: 'https://u:p@a/b'}]}", "WF0002 spec.jwtRules[0].jwksUri"},
      {str_cat("{jwtRules: [{", good, ", jwksUri: 'https://a/b'}]}"), "WF0002 spec.jwtRules[0].jwks"},
      {str_cat("{jwtRules: [{", good, ", audiences: []}]}"), "WF0026 spec.jwtRules[0].audiences"},
      {str_cat("{jwtRules: [{", good, ", fromHeaders: [{name: host}]}]}"),
       "WF0002 spec.jwtRules[0].fromHeaders[0].name"},
      {str_cat("{jwtRules: [{", good, ", fromHeaders: [{prefix: a}]}]}"),
       "WF0026 spec.jwtRules[0].fromHeaders[0]"},
      {str_cat("{jwtRules: [{", good, ", outputClaimToHeaders: [{header: 'a b', claim: c}]}]}"),
       "WF0002 spec.jwtRules[0].outputClaimToHeaders[0].header"},
      {str_cat("{jwtRules: [{", good, ", outputClaimToHeaders: [{header: a, claim: 'c..d'}]}]}"),
       "WF0002 spec.jwtRules[0].outputClaimToHeaders[0].claim"},
      {str_cat("{jwtRules: [{", good, ", outputPayloadToHeader: connection}]}"),
       "WF0002 spec.jwtRules[0].outputPayloadToHeader"},
      {str_cat("{jwtRules: [{", good, ", spaceDelimitedClaims: []}]}"),
       "WF0026 spec.jwtRules[0].spaceDelimitedClaims"},
      {str_cat("{jwtRules: [{", good, ", spaceDelimitedClaims: [a, '']}]}"),
       "WF0026 spec.jwtRules[0].spaceDelimitedClaims"},
      {str_cat("{jwtRules: [{", good, ", spaceDelimitedClaims: [", sixty_five_names(), "]}]}"),
       "WF0022 spec.jwtRules[0].spaceDelimitedClaims"},
      {"{selector: {matchLabels: {}}, jwtRules: []}", "WF0026 spec.selector"},
      {"{targetRefs: [{kind: Gateway, name: g}]}", "WF0025 spec.targetRefs[0].kind"},
      {"{targetRefs: [{kind: Service, name: g}]}", "WF0025 spec.targetRefs[0].kind"},
      {"{targetRefs: []}", "WF0026 spec.targetRefs"},
      {"{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g, namespace: other}]}",
       "WF0002 spec.targetRefs[0].namespace"},
      {"{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}]}",
       "WF0005 spec.targetRefs"},
      {"{selector: {matchLabels: {app: nobody}}, jwtRules: []}", "WF0003 spec.selector"},
  };
  for (const auto& row : rows) {
    std::string got;
    for (const Finding& finding : all_findings_of(object(row.spec)))
      str_append(&got, finding.code, " ", finding.field, "\n");
    EXPECT_THAT(got, HasSubstr(str_cat(row.expected, "\n"))) << row.spec;
  }
}

TEST(RequestAuthenticationManifestTest, KeysThatWereFetchedGoOutAndMissingOnesAreTold) {
  Store store;
  store.update({{"a.yaml", parse_file("a.yaml", object("{jwtRules: [{issuer: i, jwksUri: 'https://a/keys'}, "
                                                       "{issuer: j, jwksUri: 'https://b/keys'}]}"))}});
  EXPECT_THAT(keys_to_fetch(store.objects()), ElementsAre("https://a/keys", "https://b/keys"));
  const FetchedKeys fetched = {.sets = {{"https://b/keys", keys()}}};
  const Compiled out = compile(store.objects(), "", {}, nullptr, &fetched);
  const auto message = resource<mesh::v1::RequestAuthentication>(out, kAuthenticationType, "shop/r");
  EXPECT_EQ(message.rules(0).jwks(), "");
  EXPECT_EQ(message.rules(1).jwks(), keys());
  ASSERT_THAT(out.findings, SizeIs(1));
  EXPECT_EQ(out.findings[0].code, "WF0060");
  EXPECT_EQ(out.findings[0].field, "spec.jwtRules[0].jwksUri");
  EXPECT_EQ(out.findings[0].message,
            "there are no keys of https://a/keys yet: tokens of the issuer are refused");
  // Nobody fetches: nothing is missing.
  EXPECT_THAT(compile(store.objects(), "").findings, IsEmpty());
}

TEST(RequestAuthenticationManifestTest, WithoutKeysTheyAreThoseThatTheIssuerNames) {
  Store store;
  store.update({{"a.yaml", parse_file("a.yaml", object("{jwtRules: [{issuer: 'https://a/tenant'}]}"))}});
  EXPECT_THAT(store.findings(), IsEmpty());
  EXPECT_THAT(keys_to_fetch(store.objects()), ElementsAre("discover https://a/tenant"));
  const auto with = [&](const FetchedKeys& fetched) {
    return compile(store.objects(), "", {}, nullptr, &fetched);
  };
  const auto keys_in = [](const Compiled& out) {
    return resource<mesh::v1::RequestAuthentication>(out, kAuthenticationType, "shop/r").rules(0).jwks();
  };
  const Compiled good = with({.sets = {{"discover https://a/tenant", keys()}}});
  EXPECT_EQ(keys_in(good), keys());
  EXPECT_THAT(good.findings, IsEmpty());
  const std::map<std::string, std::string> problem = {
      {"discover https://a/tenant", "https://a/x: HTTP status 404; next: look there"}};
  const Compiled missing = with({.sets = {}, .problems = problem});
  EXPECT_EQ(keys_in(missing), "");
  ASSERT_THAT(missing.findings, SizeIs(1));
  EXPECT_EQ(missing.findings[0].code, "WF0060");
  EXPECT_EQ(missing.findings[0].field, "spec.jwtRules[0].issuer");
  EXPECT_EQ(missing.findings[0].message,
            "there are no keys of https://a/tenant yet: tokens of the issuer are refused; https://a/x: HTTP "
            "status 404");
  EXPECT_EQ(missing.findings[0].remedy, "look there");
  // What was fetched once stays, and who looks sees that it grows old.
  const Compiled old = with({.sets = {{"discover https://a/tenant", keys()}}, .problems = problem});
  EXPECT_EQ(keys_in(old), keys());
  ASSERT_THAT(old.findings, SizeIs(1));
  EXPECT_THAT(old.findings[0].message, HasSubstr("those that were fetched last stay in force"));
}

}  // namespace
}  // namespace weft::control_plane
