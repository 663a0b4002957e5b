// See gateway_tls.h.
#include "control-plane/compile/gateway_tls.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "base/x509.h"
#include "control-plane/compile/gateway_identity.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/resource/certificate_paths.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/gateway_api.h"

namespace weft::control_plane {
namespace {

namespace tls = envoy::extensions::transport_sockets::tls::v3;
using mesh::v1::TlsServer;
using SecretRef = TlsTermination::SecretRef;

const Secret* find_secret(const Objects& objects, const std::string& ns, const std::string& name) {
  const auto found = objects.find(ObjectKey{"Secret", ns, name});
  return found == objects.end() ? nullptr : &std::get<Secret>(*found->second);
}

// Of level 2, which OpenSSL has proxies hold to: RSA of 2048 bits, SHA-224.
constexpr int kSecurityBits = 112;

// OpenSSL gives no connection such a certificate.
bool is_too_weak(X509* certificate) {
  if (EVP_PKEY_get_security_bits(X509_get0_pubkey(certificate)) < kSecurityBits) return true;
  if ((X509_get_extension_flags(certificate) & EXFLAG_SS) != 0) return false;
  int bits = -1;
  if (X509_get_signature_info(certificate, nullptr, nullptr, &bits, nullptr) != 1) bits = -1;
  return bits < kSecurityBits;
}

class Termination {
 public:
  Termination(const Gateway& gateway, const Gateway::Listener& listener, const Objects& objects,
              std::vector<Finding>* findings)
      : gateway_(gateway), listener_(listener), objects_(objects), findings_(findings) {}

  void fill(TlsServer* out) {
    const TlsTermination& wanted = *listener_.tls;
    if (wanted.mesh) return fill_identity(out);
    for (const SecretRef& ref : wanted.certificates) {
      const Secret* secret = usable(ref, out);
      if (secret == nullptr) continue;
      if (secret->certificate.empty())
        refuse(ref, str_cat(name_of(ref), " has no certificate with its key"), "give tls.crt and tls.key",
               out);
      check_chain(ref, *secret, out);
      out->add_certificates(str_cat(ref.ns, "/", ref.name));
    }
    if (wanted.mutual) fill_roots(wanted, out);
  }

 private:
  static std::string name_of(const SecretRef& ref) { return secret_text(ref.ns, ref.name); }

  void fill_identity(TlsServer* out) {
    out->set_identity(gateway_identity(gateway_));
    if (!out->identity().empty()) return;
    refuse({gateway_.meta.ns, gateway_.meta.name, listener_.line, str_cat(listener_.field, ".tls.mode")},
           "the Gateway's name is too long for an identity of the mesh", "give it a shorter name", out);
  }

  // What no proxy could use: said here, not at each handshake.
  void check_chain(const SecretRef& ref, const Secret& secret, TlsServer* out) {
    const auto chain = read_certificates(secret.certificate);
    if (!chain.ok()) return;  // it has none, which was reported
    if (std::any_of(chain->begin(), chain->end(),
                    [](const X509Ptr& each) { return is_too_weak(each.get()); }))
      refuse(ref,
             str_cat("a key or signature in the certificate of ", name_of(ref), " is too weak for OpenSSL"),
             "give RSA keys of 2048 bits or ECDSA keys, signed with SHA-256", out);
    if (!kinds_.insert(EVP_PKEY_get_base_id(X509_get0_pubkey(chain->front().get()))).second)
      refuse(ref,
             str_cat("the key of ", name_of(ref), " is of the same kind as another one's of this listener"),
             "give one certificate for each kind of key", out);
  }

  // Of its own, or of the certificate's Secret, or of the one beside it that has "-cacert" at its end, as
  // Istio has it.
  void fill_roots(const TlsTermination& wanted, TlsServer* out) {
    if (wanted.certificates.empty()) return;
    SecretRef ref = wanted.ca ? *wanted.ca : wanted.certificates.front();
    if (!wanted.ca) {
      const Secret* own = find_secret(objects_, ref.ns, ref.name);
      const std::string beside = str_cat(ref.name, "-cacert");
      if (own != nullptr && own->ca.empty() && find_secret(objects_, ref.ns, beside) != nullptr)
        ref.name = beside;
    }
    const Secret* secret = usable(ref, out);
    if (secret == nullptr) return;
    if (secret->ca.empty())
      refuse(ref, str_cat(name_of(ref), " has no authority for the certificates of clients"),
             "give ca.crt, or another Secret in caCertCredentialName", out);
    out->set_client_roots(str_cat(ref.ns, "/", ref.name));
  }

  // Null: it was reported.
  const Secret* usable(const SecretRef& ref, TlsServer* out) {
    if (ref.ns != gateway_.meta.ns &&
        !is_granted({gateway_.meta.kind, gateway_.meta.ns, "", "Secret", ref.ns, ref.name}, objects_)) {
      refuse(ref,
             str_cat("no ReferenceGrant of namespace ", ref.ns, " lets Gateways of ", gateway_.meta.ns,
                     " refer to ", name_of(ref)),
             str_cat("add a ReferenceGrant in ", ref.ns), out);
      return nullptr;
    }
    const Secret* secret = find_secret(objects_, ref.ns, ref.name);
    if (secret != nullptr) return secret;
    if (CertificatePaths::of(ref.name))
      refuse(ref, str_cat(name_of(ref), " are not read"), kFilesRemedy, out, kNotAttached);
    else
      refuse(ref, str_cat(name_of(ref), " is unknown, or was refused"), kSecretRemedy, out);
    return nullptr;
  }

  void refuse(const SecretRef& ref, std::string message, std::string remedy, TlsServer* out,
              const char* code = kTlsNotEnded) {
    if (!out->problem().empty()) return;
    out->set_problem(str_cat(message, "; next: ", remedy));
    warn_about(gateway_.meta, code, ref.line, ref.field,
               str_cat(message, ": handshakes with this listener are refused"), std::move(remedy), findings_);
  }

  const Gateway& gateway_;
  const Gateway::Listener& listener_;
  const Objects& objects_;
  std::vector<Finding>* findings_;
  std::set<int> kinds_;  // of keys, as OpenSSL numbers them
};

tls::Secret to_wire(const std::string& name, const Secret& secret) {
  tls::Secret out;
  out.set_name(name);
  if (!secret.certificate.empty()) {
    out.mutable_tls_certificate()->mutable_certificate_chain()->set_inline_bytes(secret.certificate);
    out.mutable_tls_certificate()->mutable_private_key()->set_inline_bytes(secret.key);
  }
  if (!secret.ca.empty()) out.mutable_validation_context()->mutable_trusted_ca()->set_inline_bytes(secret.ca);
  if (!secret.crl.empty()) out.mutable_validation_context()->mutable_crl()->set_inline_bytes(secret.crl);
  return out;
}

}  // namespace

std::vector<std::string> sorted_hosts(const Gateway::Listener& listener) {
  std::set<std::string> out;
  for (const auto& host : listener.hosts) out.insert(host.name);
  return {out.begin(), out.end()};
}

std::string tls_server_name(const Gateway& gateway, const Gateway::Listener& listener) {
  std::string out = str_cat(ObjectKey{gateway.meta.kind, gateway.meta.ns, gateway.meta.name}.to_string(), ":",
                            listener.port);
  for (const std::string& host : sorted_hosts(listener)) str_append(&out, " ", host);
  return out;
}

TlsServer refusing_server(const Gateway& gateway, const Gateway::Listener& listener, std::string problem) {
  TlsServer out;
  out.set_name(str_cat(tls_server_name(gateway, listener), " (refused)"));
  for (const auto& host : listener.hosts) out.add_hosts(host.name);
  out.set_mode(TlsServer::MUTUAL);
  out.set_problem(std::move(problem));
  return out;
}

TlsServer tls_server(const Gateway& gateway, const Gateway::Listener& listener, const Objects& objects,
                     std::vector<Finding>* findings) {
  TlsServer out;
  out.set_name(tls_server_name(gateway, listener));
  for (const auto& host : listener.hosts) out.add_hosts(host.name);
  // Who came in before what is refused now was asked for is not admitted any more.
  if (listener.tls && !listener.tls->problem.empty()) {
    out.set_mode(TlsServer::MUTUAL);
    out.set_problem(listener.tls->problem);
    return out;
  }
  out.set_mode(!listener.tls          ? TlsServer::PASSTHROUGH
               : listener.tls->mutual ? TlsServer::MUTUAL
                                      : TlsServer::SIMPLE);
  if (!listener.tls) return out;
  const TlsTermination& wanted = *listener.tls;
  out.set_opaque(wanted.opaque);
  out.set_client_certificate_optional(wanted.optional);
  out.set_min_version(wanted.min_version);
  out.set_max_version(wanted.max_version);
  out.mutable_client_names()->Assign(wanted.client_names.begin(), wanted.client_names.end());
  out.mutable_cipher_suites()->Assign(wanted.cipher_suites.begin(), wanted.cipher_suites.end());
  Termination(gateway, listener, objects, findings).fill(&out);
  return out;
}

std::vector<std::pair<std::string, tls::Secret>> secrets_of(const std::vector<TlsServer>& servers,
                                                            const Objects& objects) {
  std::set<std::string> names;
  for (const TlsServer& server : servers) {
    if (!server.problem().empty()) continue;
    names.insert(server.certificates().begin(), server.certificates().end());
    if (!server.client_roots().empty()) names.insert(server.client_roots());
  }
  for_each<DestinationRule>(objects, [&names](const DestinationRule& rule) {
    for (const DestinationRule::TlsUse& use : rule.tls) {
      if (rule.hidden || use.tls.credential_name().empty()) continue;
      names.insert(str_cat(rule.meta.ns, "/", use.tls.credential_name()));
      names.insert(str_cat(rule.meta.ns, "/", use.tls.credential_name(), "-cacert"));
    }
  });
  std::vector<std::pair<std::string, tls::Secret>> out;
  for (const std::string& name : names) {
    const size_t slash = name.find('/');
    const Secret* secret = find_secret(objects, name.substr(0, slash), name.substr(slash + 1));
    if (secret != nullptr) out.emplace_back(name, to_wire(name, *secret));
  }
  return out;
}

}  // namespace weft::control_plane
