// RequestAuthentication from manifest to resource, and the keys that are fetched for it.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/address.h"
#include "base/fd.h"
#include "base/strings.h"
#include "control-plane/pipeline.h"
#include "control-plane/source/fetch_keys.h"
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
      {"{jwtRules: [{issuer: i}]}", "WF0025 spec.jwtRules[0]"},
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
  const FetchedKeys fetched = {{"https://b/keys", keys()}};
  const Compiled out = compile(store.objects(), "", {}, nullptr, &fetched);
  const auto message = resource<mesh::v1::RequestAuthentication>(out, kAuthenticationType, "shop/r");
  EXPECT_EQ(message.rules(0).jwks(), "");
  EXPECT_EQ(message.rules(1).jwks(), keys());
  ASSERT_THAT(out.findings, SizeIs(1));
  EXPECT_EQ(out.findings[0].code, "WF0060");
  EXPECT_EQ(out.findings[0].field, "spec.jwtRules[0].jwksUri");
  // Nobody fetches: nothing is missing.
  EXPECT_THAT(compile(store.objects(), "").findings, IsEmpty());
}

// Answers one request with this.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer)
      : answer_(std::move(answer)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    socklen_t length = sizeof(address);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~OneAnswer() { thread_.join(); }
  std::string url() const { return str_cat("http://127.0.0.1:", port_, "/keys"); }

 private:
  void serve() {
    const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::string asked(4096, '\0');
    if (::recv(client.get(), asked.data(), asked.size(), 0) <= 0) return;
    for (size_t sent = 0; sent < answer_.size();) {
      const ssize_t n = ::send(client.get(), answer_.data() + sent, answer_.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<size_t>(n);
    }
  }
  const std::string answer_;
  const UniqueFd listener_;
  uint16_t port_ = 0;
  std::thread thread_;
};

TEST(FetchKeysTest, OnlyAWholeGoodSetIsTaken) {
  const auto fetched = [](const std::string& head, const std::string& body) {
    OneAnswer server(str_cat("HTTP/1.1 ", head, "\r\nConnection: close\r\nContent-Length: ", body.size(),
                             "\r\n\r\n", body));
    return fetch_keys(server.url());
  };
  EXPECT_THAT(fetched("200 OK", keys()), ::testing::Optional(ElementsAre(keys())));
  EXPECT_EQ(fetched("200 OK", "{}"), std::nullopt);
  EXPECT_EQ(fetched("404 Not Found", keys()), std::nullopt);
  EXPECT_EQ(fetched("302 Found\r\nLocation: http://127.0.0.1:1/", keys()), std::nullopt);
  EXPECT_EQ(fetched("200 OK", std::string(300'000, ' ')), std::nullopt);
  EXPECT_EQ(fetch_keys("file:///etc/hostname"), std::nullopt);
}

}  // namespace
}  // namespace weft::control_plane
