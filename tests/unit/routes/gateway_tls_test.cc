// Gateways of both APIs that end TLS: which listener has a server name, with which Secret, and what stands in
// the way.
#include <openssl/rsa.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "proto/xds/secret.pb.h"
#include "tests/unit/identity/pki.h"
#include "tests/unit/routes/route_world.h"

namespace weft::proxy {
namespace {

const test::Authority& authority() {
  static const test::Authority made = test::make_authority("public");
  return made;
}
const test::Leaf& leaf() {
  static const test::Leaf made = test::make_leaf(authority(), {.names = {{GEN_DNS, "a.example"}}});
  return made;
}
std::string key() { return test::key_pem(leaf().key.get()); }
std::string roots() { return to_pem(authority().certificate.get()); }

std::string entry(std::string_view name, std::string_view value) {
  return str_cat(name, ": ", absl::Base64Escape(to_absl(value)), ", ");
}
std::string secret(std::string_view name, std::string_view entries, std::string_view ns = "shop",
                   std::string_view type = "Opaque") {
  return str_cat("apiVersion: v1\nkind: Secret\nmetadata: {name: ", name, ", namespace: ", ns,
                 "}\ntype: ", type, "\ndata: {", entries, "}\n---\n");
}
std::string pair(std::string_view name, std::string_view ns = "shop") {
  return secret(name, entry("tls.crt", to_pem(leaf().certificate.get())) + entry("tls.key", key()), ns,
                "kubernetes.io/tls");
}
std::string istio(std::string_view servers) {
  return str_cat(
      "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\nspec:\n  "
      "servers:\n",
      servers, "---\n");
}
std::string https(std::string_view hosts, std::string_view tls, std::string_view protocol = "HTTPS") {
  return str_cat("  - {port: {number: 443, name: tls, protocol: ", protocol, "}, hosts: [", hosts,
                 "], tls: {", tls, "}}\n");
}
std::string api(std::string_view listeners) {
  return str_cat(
      "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: shop}\n",
      "spec:\n  gatewayClassName: weft\n  listeners:\n", listeners, "---\n");
}
std::string service(std::string_view name, std::string_view spec) {
  return str_cat("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ", name,
                 ", namespace: shop}\nspec: {gateways: [edge], ", spec, "}\n---\n");
}
std::string http(std::string_view host, std::string_view to) {
  return service(to, str_cat("hosts: ['", host, "'], http: [{route: [{destination: {host: ", to, "}}]}]"));
}

const GatewayServer* server(const RouteWorld& world, std::string_view name) {
  return world.snapshot().find_gateway_server(name, 443);
}
// What a handshake with this name would fail for; "" when it succeeds, "none" when nothing ends TLS there.
std::string problem(const RouteWorld& world, std::string_view name) {
  const GatewayServer* found = server(world, name);
  return found == nullptr || found->tls == nullptr ? "none" : found->tls->problem;
}
bool found(const RouteWorld& world, std::string_view code, std::string_view words) {
  return std::any_of(world.findings().begin(), world.findings().end(), [&](const control_plane::Finding& f) {
    return f.code == code && f.message.find(words) != std::string::npos;
  });
}

TEST(GatewayTlsTest, RequestsOfAServerNameAreThoseOfItsListener) {
  const RouteWorld world(str_cat(pair("a"), pair("wide"),
                                 istio(https("a.example", "mode: SIMPLE, credentialName: a") +
                                       https("'*.example'", "mode: SIMPLE, credentialName: wide")),
                                 http("a.example", "v1"), http("*.example", "v2")));
  EXPECT_EQ(world.ask_gateway("/", "a.example", 443), "v1");
  EXPECT_EQ(world.ask_gateway("/", "b.example", 443), "v2");
  ASSERT_EQ(problem(world, "a.example"), "");
  EXPECT_EQ(server(world, "a.example")->tls->certificates.front().key, key());
  EXPECT_NE(server(world, "a.example"), server(world, "b.example"));
  EXPECT_EQ(problem(world, "elsewhere"), "none");
  EXPECT_EQ(problem(world, ""), "none");
}

// What one listener asks of clients holds for all that is routed by it: no other listener of the port has it.
TEST(GatewayTlsTest, NobodyComesPastMutualByAWiderOrNarrowerListener) {
  const std::string gateways = str_cat(
      pair("a"), secret("clients", entry("ca.crt", roots())),
      istio(https("'*.example'", "mode: MUTUAL, credentialName: a, caCertCredentialName: clients")),
      "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: open, namespace: shop}\nspec:\n  "
      "servers:\n",
      https("public.example", "mode: SIMPLE, credentialName: a"), "---\n");
  const RouteWorld wide(str_cat(gateways, http("*.example", "v1")));
  EXPECT_EQ(wide.ask_gateway("/", "inside.example", 443), "v1");
  ASSERT_FALSE(server(wide, "public.example")->tls->mutual);
  EXPECT_EQ(wide.ask_gateway("/", "public.example", 443), "404");
  // A host of the routes that both listeners could have.
  const RouteWorld named(str_cat(gateways, http("public.example", "v1")));
  EXPECT_EQ(named.ask_gateway("/", "public.example", 443), "404");
  // A connection that is not encrypted has nothing of a port for TLS.
  EXPECT_EQ(wide.snapshot().find_gateway_host("inside.example", 443, nullptr), nullptr);
}

TEST(GatewayTlsTest, ListenersOfTheGatewayApiEndTls) {
  const RouteWorld world(str_cat(
      pair("a"), api("  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: a}]}}\n"),
      "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\n"
      "spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: v1, port: 80}]}]}\n"));
  EXPECT_EQ(world.ask_gateway("/", "any.example", 443), "v1");
  EXPECT_EQ(problem(world, ""), "");
}

TEST(GatewayTlsTest, ASecretOfAnotherNamespaceNeedsAGrant) {
  const std::string listener =
      "  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: a, namespace: keys}]}}\n";
  const RouteWorld without(str_cat(pair("a", "keys"), api(listener)));
  EXPECT_NE(problem(without, ""), "");
  EXPECT_TRUE(found(without, "WF0054", "no ReferenceGrant of namespace keys lets Gateways of shop"));
  EXPECT_TRUE(without.snapshot().gateway_servers.front().tls->certificates.empty());
  const RouteWorld granted(str_cat(pair("a", "keys"), api(listener),
                                   "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: "
                                   "ReferenceGrant\nmetadata: {name: g, namespace: keys}\n"
                                   "spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, "
                                   "namespace: shop}], to: [{group: '', kind: "
                                   "Secret}]}\n"));
  EXPECT_EQ(problem(granted, ""), "");
}

TEST(GatewayTlsTest, AMissingSecretIsOneListenersProblem) {
  const RouteWorld world(str_cat(pair("b"), istio(https("a.example", "mode: SIMPLE, credentialName: a") +
                                                  https("b.example", "mode: SIMPLE, credentialName: b"))));
  EXPECT_NE(problem(world, "a.example").find("Secret shop/a is unknown"), std::string::npos);
  EXPECT_NE(problem(world, "a.example").find("next:"), std::string::npos);
  EXPECT_TRUE(found(world, "WF0054", "Secret shop/a is unknown"));
  EXPECT_EQ(problem(world, "b.example"), "");
}

// A certificate for the key, in a Secret.
std::string secret_of(std::string_view name, KeyPtr key) {
  const X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  EXPECT_GT(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);
  return secret(name,
                entry("tls.crt", to_pem(certificate.get())) + entry("tls.key", test::key_pem(key.get())));
}

TEST(GatewayTlsTest, CertificatesThatNoProxyCouldUseAreFindings) {
  const std::string two = istio(https("a.example", "mode: SIMPLE, credentialNames: [a, b]"));
  const RouteWorld same(str_cat(pair("a"), pair("b"), two));
  EXPECT_TRUE(found(same, "WF0054", "the key of Secret shop/b is of the same kind"));
  EXPECT_NE(problem(same, "a.example"), "");
  const RouteWorld different(str_cat(pair("a"), secret_of("b", test::rsa_key()), two));
  EXPECT_EQ(problem(different, "a.example"), "");
  const RouteWorld weak(str_cat(secret_of("a", KeyPtr(EVP_RSA_gen(1024))),
                                istio(https("a.example", "mode: SIMPLE, credentialName: a"))));
  EXPECT_TRUE(found(weak, "WF0054", "too weak for OpenSSL"));
  EXPECT_NE(problem(weak, "a.example"), "");
}

TEST(GatewayTlsTest, MutualNeedsAnAuthority) {
  const std::string gateway = istio(https("a.example", "mode: MUTUAL, credentialName: a"));
  const RouteWorld without(str_cat(pair("a"), gateway));
  EXPECT_TRUE(found(without, "WF0054", "Secret shop/a has no authority"));
  EXPECT_NE(problem(without, "a.example"), "");
  const RouteWorld beside(str_cat(pair("a"), secret("a-cacert", entry("cacert", roots())), gateway));
  ASSERT_EQ(problem(beside, "a.example"), "");
  EXPECT_TRUE(server(beside, "a.example")->tls->mutual);
  EXPECT_EQ(server(beside, "a.example")->tls->roots, roots());
  const RouteWorld named(
      str_cat(pair("a"), secret("clients", entry("ca.crt", roots())),
              istio(https("a.example",
                          "mode: MUTUAL, credentialName: a, caCertCredentialName: clients, "
                          "subjectAltNames: [b.example], minProtocolVersion: TLSV1_3"))));
  ASSERT_EQ(problem(named, "a.example"), "");
  EXPECT_EQ(server(named, "a.example")->tls->client_names, std::vector<std::string>{"b.example"});
  EXPECT_EQ(server(named, "a.example")->tls->min, TlsVersion::k13);
}

TEST(GatewayTlsTest, OptionalMutualAsksAndDemandsNothing) {
  const std::string gateway = istio(https("a.example", "mode: OPTIONAL_MUTUAL, credentialName: a"));
  EXPECT_NE(problem(RouteWorld(str_cat(pair("a"), gateway)), "a.example"), "") << "it needs an authority too";
  const RouteWorld world(str_cat(pair("a"), secret("a-cacert", entry("cacert", roots())), gateway));
  ASSERT_EQ(problem(world, "a.example"), "");
  EXPECT_TRUE(server(world, "a.example")->tls->mutual);
  EXPECT_TRUE(server(world, "a.example")->tls->optional);
  EXPECT_EQ(server(world, "a.example")->tls->roots, roots());
}

TEST(GatewayTlsTest, IstioMutualShowsTheGatewaysOwnIdentity) {
  const RouteWorld world(str_cat(
      istio(https("a.example", "mode: ISTIO_MUTUAL, minProtocolVersion: TLSV1_3, subjectAltNames: [x]")),
      http("a.example", "v1")));
  EXPECT_FALSE(found(world, "WF0052", "") || found(world, "WF0054", ""));
  ASSERT_EQ(problem(world, "a.example"), "");
  const ServerTerms& terms = *server(world, "a.example")->tls;
  ASSERT_TRUE(terms.identity);
  EXPECT_EQ(terms.identity->to_string(), "spiffe://cluster.local/ns/shop/sa/edge-weft");
  EXPECT_TRUE(terms.mutual);
  EXPECT_FALSE(terms.optional);
  EXPECT_TRUE(terms.certificates.empty() && terms.roots.empty());
  EXPECT_EQ(terms.min, TlsVersion::k13);
  EXPECT_EQ(terms.client_names, std::vector<std::string>{"x"});
  EXPECT_EQ(world.ask_gateway("/", "a.example", 443), "v1");
  const RouteWorld tcp(str_cat(istio(https("a.example", "mode: ISTIO_MUTUAL", "TLS")),
                               service("t",
                                       "hosts: [a.example], tcp: [{route: [{destination: {host: v1, port: "
                                       "{number: 80}}}]}]")));
  EXPECT_EQ(problem(tcp, "a.example"), "");
  EXPECT_TRUE(server(tcp, "a.example")->tls->opaque);
}

TEST(GatewayTlsTest, IstioMutualHasNoOtherCertificates) {
  for (const std::string_view field :
       {"credentialName: a", "credentialNames: [a]", "serverCertificate: /c", "privateKey: /k",
        "caCertificates: /c", "caCertCredentialName: a", "caCrl: /c", "tlsCertificates: []"}) {
    const auto parsed = control_plane::parse_file(
        "f.yaml", istio(https("a.example", str_cat("mode: ISTIO_MUTUAL, ", field))));
    ASSERT_FALSE(parsed.findings.empty()) << field;
    EXPECT_EQ(parsed.findings.front().level, control_plane::Finding::Level::kError) << field;
    EXPECT_EQ(parsed.findings.front().field,
              str_cat("spec.servers[0].tls.", field.substr(0, field.find(':'))));
  }
}

// Which of the two it is decides whether bytes are decrypted: nothing may mix them.
TEST(GatewayTlsTest, WhatIsPassedThroughStandsBesideWhatIsNot) {
  const RouteWorld world(str_cat(
      pair("a"),
      istio(https("a.example", "mode: SIMPLE, credentialName: a", "TLS") +
            https("'*.example'", "mode: PASSTHROUGH", "TLS")),
      service("t", "hosts: [a.example], tcp: [{route: [{destination: {host: v1, port: {number: 80}}}]}]"),
      service("u",
              "hosts: ['*.example'], tls: [{match: [{sniHosts: ['*.example']}], route: [{destination: {host: "
              "v2}}]}]")));
  const GatewayServer* ended = server(world, "a.example");
  ASSERT_EQ(problem(world, "a.example"), "");
  EXPECT_TRUE(ended->tls->opaque);
  ASSERT_NE(ended->l4_host, kNone);
  const L4Host& connections = world.snapshot().l4_hosts[ended->l4_host];
  EXPECT_TRUE(connections.tls.empty());
  EXPECT_EQ(world.snapshot().clusters[connections.tcp.front().clusters.front().cluster].service, "v1");
  EXPECT_EQ(problem(world, "b.example"), "none");
  ASSERT_NE(server(world, "b.example"), nullptr);
}

TEST(GatewayTlsTest, AServerNameHasOneListener) {
  const RouteWorld world(str_cat(pair("a"), istio(https("a.example", "mode: SIMPLE, credentialName: a") +
                                                  https("a.example", "mode: PASSTHROUGH", "TLS"))));
  EXPECT_TRUE(found(world, "WF0050", "has a server name of this on port 443"));
  EXPECT_EQ(problem(world, "a.example"), "");
}

// Nothing is taken for enforced that is not.
TEST(GatewayTlsTest, SettingsThatAreNotEnforcedHaveHandshakesRefused) {
  for (const std::string_view setting :
       {"tlsCertificates: [], credentialName: a", "caCrl: /c, credentialName: a",
        "insecureSkipVerify: true, credentialName: a", "verifyCertificateHash: [x], credentialName: a",
        "verifyCertificateSpki: [x], credentialName: a", "caCertificates: /c, credentialName: a",
        "subjectAltNames: [x], credentialName: a", "maxProtocolVersion: TLSV1_1, credentialName: a"}) {
    const std::string manifest =
        str_cat(pair("a"), istio(https("a.example", str_cat("mode: SIMPLE, ", setting)) +
                                 "  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}\n"));
    const control_plane::ParsedFile parsed = control_plane::parse_file("f.yaml", manifest);
    ASSERT_EQ(parsed.findings.size(), 1u) << setting;
    EXPECT_EQ(parsed.findings.front().code, "WF0052") << setting;
    EXPECT_NE(parsed.findings.front().message.find("handshakes with this listener are refused"),
              std::string::npos);
    const RouteWorld world(manifest);
    EXPECT_NE(problem(world, "a.example").find("next:"), std::string::npos) << setting;
    EXPECT_NE(world.snapshot().find_gateway_port(8080), nullptr) << setting;
  }
}

TEST(GatewayTlsTest, FilesThatNobodyAllowsAreAFindingThatSaysWhatToType) {
  const RouteWorld world(
      istio(https("a.example", "mode: SIMPLE, serverCertificate: /certs/a.crt, privateKey: /certs/a.key")));
  EXPECT_TRUE(found(world, "WF0052", "files /certs/a.crt, /certs/a.key are not read"));
  EXPECT_NE(problem(world, "a.example").find("--certificate-files"), std::string::npos);
}

TEST(GatewayTlsTest, FilesAndSecretsExcludeEachOtherAndPathsAreAbsolute) {
  for (const auto& [tls, field] :
       {std::pair("mode: SIMPLE, credentialName: a, serverCertificate: /c, privateKey: /k",
                  "serverCertificate"),
        std::pair("mode: MUTUAL, credentialName: a, caCertCredentialName: b, caCertificates: /c",
                  "caCertCredentialName"),
        std::pair("mode: MUTUAL, serverCertificate: /c, privateKey: /k, caCertCredentialName: b, "
                  "caCertificates: /c",
                  "caCertCredentialName"),
        std::pair("mode: MUTUAL, serverCertificate: /c, privateKey: /k, caCertCredentialName: b, caCrl: /l",
                  "caCertCredentialName"),
        std::pair("mode: SIMPLE, serverCertificate: c, privateKey: /k", "serverCertificate"),
        std::pair("mode: SIMPLE, serverCertificate: /c", "serverCertificate"),
        std::pair("mode: SIMPLE, privateKey: /k", "privateKey")}) {
    const auto parsed = control_plane::parse_file("f.yaml", istio(https("a.example", tls)));
    ASSERT_FALSE(parsed.findings.empty()) << tls;
    EXPECT_EQ(parsed.findings.front().field, str_cat("spec.servers[0].tls.", field)) << tls;
    EXPECT_EQ(parsed.findings.front().level, control_plane::Finding::Level::kError) << tls;
  }
}

// What is not served keeps its names: who asks for one is not taken for a client of a wider listener.
TEST(GatewayTlsTest, ARefusedListenersNamesAreNobodyElses) {
  const std::string wide = https("'*.example'", "mode: SIMPLE, credentialName: a");
  for (const std::string_view tls :
       {"mode: MUTUAL, credentialName: a, caCrl: /c", "mode: OPTIONAL_MUTUAL, credentialName: a",
        "mode: ISTIO_MUTUAL, insecureSkipVerify: true", "mode: AUTO_PASSTHROUGH"}) {
    const RouteWorld world(
        str_cat(pair("a"), istio(wide + https("admin.example", tls)), http("*.example", "v1")));
    ASSERT_EQ(problem(world, "b.example"), "") << tls;
    EXPECT_NE(problem(world, "admin.example"), "") << tls;
    EXPECT_FALSE(server(world, "admin.example")->tls->admits_as(*server(world, "b.example")->tls));
  }
  const RouteWorld of_api(
      str_cat(pair("a"),
              api("  - {name: w, port: 443, hostname: '*.example', protocol: HTTPS, tls: {certificateRefs: "
                  "[{name: a}]}}\n"
                  "  - {name: n, port: 443, hostname: admin.example, protocol: HTTPS, tls: "
                  "{certificateRefs: [{name: a}], frontendValidation: {caCertificateRefs: []}}}\n")));
  EXPECT_EQ(problem(of_api, "b.example"), "");
  EXPECT_NE(problem(of_api, "admin.example"), "");
  // One that shares a name with an older one.
  const RouteWorld conflict(
      str_cat(pair("a"), istio(wide + https("a.example", "mode: SIMPLE, credentialName: a") +
                               https("a.example, admin.example", "mode: MUTUAL, credentialName: a"))));
  EXPECT_EQ(problem(conflict, "a.example"), "");
  EXPECT_NE(problem(conflict, "admin.example"), "");
}

// Some of the key is in the text, as PEM or as it stands in a manifest.
bool quotes(std::string_view text, const std::string& pem) {
  const std::string encoded = absl::Base64Escape(pem);
  return text.find(pem.substr(40, 20)) != std::string_view::npos ||
         text.find(encoded.substr(40, 20)) != std::string_view::npos;
}

// Resources but Secrets, and findings, are what listings and logs show.
TEST(GatewayTlsTest, KeysAreInNamedSecretsOnly) {
  const control_plane::Compiled compiled =
      control_plane::compile_text(str_cat(pair("a"), pair("unnamed"),
                                          istio(https("a.example", "mode: SIMPLE, credentialName: a") +
                                                https("b.example", "mode: SIMPLE, credentialName: b"))));
  size_t secrets = 0;
  for (const auto& [name, resource] : compiled.resources) {
    const bool has_key = quotes(resource.body(), key());
    EXPECT_EQ(has_key, name.first == control_plane::kSecretType) << name.second;
    secrets += name.first == control_plane::kSecretType ? 1 : 0;
  }
  EXPECT_EQ(secrets, 1u);
  for (const control_plane::Finding& finding : compiled.findings)
    EXPECT_FALSE(quotes(control_plane::to_string(finding), key()));
}

struct BadSecret {
  std::string entries, words;
};
TEST(GatewayTlsTest, BadSecretsAreRefusedWithoutBeingQuoted) {
  const std::string certificate = to_pem(leaf().certificate.get());
  const std::string other = test::key_pem(test::p256_key().get());
  const std::vector<BadSecret> rows = {
      {str_cat("tls.crt: '", key().substr(0, 60), "', ", entry("tls.key", key())), "no base64"},
      {entry("tls.crt", certificate) + entry("tls.key", other), "not that of the certificate"},
      {entry("tls.crt", "nonsense") + entry("tls.key", key()), "the certificate: "},
      {entry("tls.crt", certificate) + entry("tls.key", key().substr(0, 100)), "the key: "},
      {entry("ca.crt", key()), "the authority: "},
      {entry("ca.crt", roots()) + entry("ca.crl", "nonsense"),
       "the revocation list: no revocation list in PEM"},
      {entry("ca.crt", roots()) + entry("ca.crl", "\n"), "the revocation list: no revocation list in PEM"},
      {entry("ca.crt", roots()) + entry("ca.crl", roots()), "the revocation list: no revocation list in PEM"},
  };
  for (const BadSecret& row : rows) {
    const control_plane::ParsedFile parsed = control_plane::parse_file("f.yaml", secret("a", row.entries));
    ASSERT_EQ(parsed.findings.size(), 1u) << row.words;
    const std::string text = control_plane::to_string(parsed.findings.front());
    EXPECT_NE(text.find(row.words), std::string::npos) << text;
    EXPECT_TRUE(parsed.objects.empty());
    for (const std::string& value : {key(), other}) EXPECT_FALSE(quotes(text, value));
  }
}

}  // namespace
}  // namespace weft::proxy
