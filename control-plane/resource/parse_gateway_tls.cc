// See parse_gateway_tls.h.
#include "control-plane/resource/parse_gateway_tls.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "control-plane/resource/certificate_paths.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::TlsServer;

// Of tls: what the proxy does not do, and what to do instead.
constexpr std::array<std::pair<Names, Names>, 4> kNotServed = {{
    {"tlsCertificates", "use serverCertificate and privateKey, or Secrets in credentialNames"},
    {"verifyCertificateSpki", "use subjectAltNames, or an authority of its own"},
    {"verifyCertificateHash", "use subjectAltNames, or an authority of its own"},
    {"insecureSkipVerify", "remove it: clients are asked for certificates that lead to the authority"},
}};
// Of TLS 1.2: with forward secrecy and AEAD.
constexpr std::array<Names, 6> kCiphers = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
                                           "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
                                           "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"};
// Of ISTIO_MUTUAL: whose place the mesh has.
constexpr std::array<Names, 8> kCredentials = {"credentialName", "credentialNames", "serverCertificate",
                                               "privateKey",     "caCertificates",  "caCertCredentialName",
                                               "caCrl",          "tlsCertificates"};
constexpr std::array<Names, 4> kRefRead = {"group", "kind", "name", "namespace"};
constexpr size_t kMaxCertificates = 8;

// A version that is none was reported.
TlsServer::Version parse_version(const FieldReader& server, const FieldReader& tls, Names field, bool low,
                                 TlsTermination& out) {
  const std::string text = tls.text(field).value_or("TLS_AUTO");
  if (text == "TLS_AUTO") return TlsServer::TLS_AUTO;
  if (text == "TLSV1_2") return TlsServer::TLS_1_2;
  if (text == "TLSV1_3") return TlsServer::TLS_1_3;
  if (text != "TLSV1_0" && text != "TLSV1_1") {
    tls.error_at(field, kValueRejected, str_cat("\"", text.substr(0, 32), "\" is no version"),
                 "use TLS_AUTO, TLSV1_2 or TLSV1_3");
    return TlsServer::TLS_AUTO;
  }
  if (!low) {
    refuse_handshakes(server, str_cat("tls.", field, " ", text, ": TLS below 1.2 is not spoken"),
                      "use TLSV1_2 or TLSV1_3", out);
    return TlsServer::TLS_1_2;
  }
  tls.child(field)->warning(kWithoutEffect, "TLS below 1.2 is not spoken: clients need 1.2",
                            "use TLSV1_2 or TLSV1_3");
  return TlsServer::TLS_1_2;
}

void parse_ciphers(const FieldReader& tls, TlsTermination& out) {
  for (const FieldReader& item : tls.items("cipherSuites")) {
    const auto text = item.as_text();
    if (!text) continue;
    if (std::find(kCiphers.begin(), kCiphers.end(), *text) != kCiphers.end()) {
      out.cipher_suites.push_back(*text);
      continue;
    }
    item.error(
        kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no cipher suite that is spoken here"),
        "use ECDHE-ECDSA- or ECDHE-RSA- with AES128-GCM-SHA256, AES256-GCM-SHA384 or CHACHA20-POLY1305");
  }
}

// Istio reads them in the gateway's own namespace.
TlsTermination::SecretRef secret_ref(const FieldReader& field, std::string name, const std::string& ns) {
  return {ns, std::move(name), field.line(), field.path()};
}

void parse_credentials(const FieldReader& tls, const std::string& ns, TlsTermination& out) {
  if (const auto one = tls.text("credentialName"); one && !one->empty())
    out.certificates.push_back(secret_ref(*tls.child("credentialName"), *one, ns));
  for (const FieldReader& item : tls.items("credentialNames")) {
    if (auto text = item.as_text()) out.certificates.push_back(secret_ref(item, std::move(*text), ns));
  }
  if (const auto ca = tls.text("caCertCredentialName"); ca && !ca->empty())
    out.ca = secret_ref(*tls.child("caCertCredentialName"), *ca, ns);
  if (const auto files = parse_certificate_paths(tls, "serverCertificate")) {
    TlsTermination::SecretRef ref{ns, files->secret_name(), tls.line(), tls.path()};
    if (!files->certificate.empty() && !out.certificates.empty())
      tls.error_at("serverCertificate", kValueRejected,
                   "serverCertificate and credentialName exclude each other", "give one of them");
    for (const auto& [field, path] :
         {std::pair(Names("caCertificates"), &files->ca), {"caCrl", &files->crl}}) {
      if (out.ca && !path->empty())
        tls.error_at("caCertCredentialName", kValueRejected,
                     str_cat(field, " and caCertCredentialName exclude each other"),
                     "give files, or a Secret that has ca.crt and ca.crl");
    }
    if (files->certificate.empty())
      out.ca = std::move(ref);
    else
      out.certificates.push_back(std::move(ref));
  }
  if (out.certificates.empty())
    tls.error_at("credentialName", kFieldMissing, "a server that ends TLS needs a certificate",
                 "give the name of a Secret in the gateway's namespace, or serverCertificate and privateKey");
  if (tls.has("credentialName") && tls.has("credentialNames"))
    tls.error_at("credentialNames", kValueRejected, "credentialName and credentialNames exclude each other",
                 "give one of them");
  if (out.certificates.size() > kMaxCertificates)
    tls.error_at("credentialNames", kOverLimit, str_cat("more than ", kMaxCertificates, " certificates"),
                 "give one for each kind of key");
}

// As Istio: it is one or the other.
void refuse_credentials(const FieldReader& tls) {
  for (const Names field : kCredentials) {
    if (tls.has(field))
      tls.error_at(field, kValueRejected,
                   "ISTIO_MUTUAL shows the gateway's own identity and trusts the authority of the mesh",
                   "remove it, or use mode MUTUAL");
  }
}

// Nullopt: it was reported.
std::optional<TlsTermination::SecretRef> parse_certificate_ref(const FieldReader& item,
                                                               const std::string& ns) {
  if (!item.expect_map({.read = kRefRead, .known = {}})) return std::nullopt;
  const std::string kind = item.text("kind").value_or("Secret");
  const std::string group = item.text("group").value_or("");
  if (kind != "Secret" || (!group.empty() && group != "core")) {
    item.error(kNotSupportedYet,
               str_cat("kind ", kind.substr(0, 64), " of group \"", group.substr(0, 64),
                       "\" is not supported for certificates"),
               "refer to a Secret");
    return std::nullopt;
  }
  return TlsTermination::SecretRef{item.text("namespace").value_or(ns),
                                   item.required_text("name", "the Secret's name"), item.line(), item.path()};
}

}  // namespace

void refuse_handshakes(const FieldReader& listener, std::string what, std::string remedy,
                       TlsTermination& out) {
  listener.warning(kNotAttached, str_cat(what, ": handshakes with this listener are refused"),
                   str_cat(remedy, "; the others of this Gateway are served"));
  if (out.problem.empty()) out.problem = str_cat(what, "; next: ", remedy);
}

void parse_server_termination(const FieldReader& server, const FieldReader& tls, const std::string& mode,
                              const std::string& ns, TlsTermination& out) {
  out.mesh = mode == "ISTIO_MUTUAL";
  if (out.mesh) refuse_credentials(tls);
  for (const auto& [field, remedy] : kNotServed) {
    if (tls.has(field)) return refuse_handshakes(server, str_cat("tls.", field), std::string(remedy), out);
  }
  out.mutual = mode != "SIMPLE";
  out.optional = mode == "OPTIONAL_MUTUAL";
  if (!out.mesh) parse_credentials(tls, ns, out);
  parse_ciphers(tls, out);
  for (const Names field : {Names("caCertificates"), Names("caCrl")}) {
    if (tls.has(field) && !out.mutual)
      return refuse_handshakes(server,
                               str_cat("tls.", field, " without mode MUTUAL: clients show no certificate"),
                               "use mode MUTUAL, or remove it", out);
  }
  if (tls.has("caCrl") && !tls.has("caCertificates"))
    return refuse_handshakes(
        server, "tls.caCrl without caCertificates",
        "give caCertificates, or put the list into the Secret of the authority as ca.crl", out);
  out.client_names = tls.texts("subjectAltNames");
  if (!out.client_names.empty() && !out.mutual)
    return refuse_handshakes(server, "tls.subjectAltNames without mode MUTUAL: clients have no names",
                             "use mode MUTUAL, or remove it", out);
  out.min_version = parse_version(server, tls, "minProtocolVersion", true, out);
  out.max_version = parse_version(server, tls, "maxProtocolVersion", false, out);
  if (out.min_version == TlsServer::TLS_1_3 && out.max_version == TlsServer::TLS_1_2 && out.problem.empty())
    tls.error_at("maxProtocolVersion", kValueRejected, "it is below minProtocolVersion",
                 "correct one of them");
}

void parse_listener_termination(const FieldReader& listener, const std::string& ns, TlsTermination& out) {
  const auto tls = listener.child("tls");
  if (!tls || !tls->has("certificateRefs")) {
    listener.error_at("tls", kFieldMissing, "a listener that ends TLS needs tls.certificateRefs",
                      "refer to a Secret of kubernetes.io/tls");
    return;
  }
  if (tls->has("frontendValidation"))
    return refuse_handshakes(listener, "tls.frontendValidation",
                             "use a Gateway of Istio's API with mode MUTUAL", out);
  if (const auto options = tls->child("options"))
    options->warning(kWithoutEffect, "there are no options here: TLS 1.2 and 1.3 are spoken",
                     "remove it, or know it");
  for (const FieldReader& item : tls->items("certificateRefs")) {
    if (auto ref = parse_certificate_ref(item, ns)) out.certificates.push_back(std::move(*ref));
  }
  if (out.certificates.size() > kMaxCertificates)
    tls->error_at("certificateRefs", kOverLimit, str_cat("more than ", kMaxCertificates, " certificates"),
                  "give one for each kind of key");
}

}  // namespace weft::control_plane
