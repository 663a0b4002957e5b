// Secret of Kubernetes: the certificates and keys of it. What a Secret of another kind holds is not looked
// at. No finding quotes a value, and nothing of a Secret that is refused is kept.
#include <openssl/err.h>
#include <openssl/x509.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "base/x509.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Text = std::string_view;

constexpr Text kTlsType = "kubernetes.io/tls";

// What each part is called: in a Secret of kubernetes.io/tls, and in one that is Opaque. The first that is
// there counts.
constexpr std::array<Text, 2> kCertificateNames = {"tls.crt", "cert"};
constexpr std::array<Text, 2> kKeyNames = {"tls.key", "key"};
constexpr std::array<Text, 2> kCaNames = {"ca.crt", "cacert"};
constexpr std::array<Text, 2> kCrlNames = {"ca.crl", "crl"};

// Empty: it is not there, or was reported. Plain text in stringData beats data, as in Kubernetes.
std::string value_of(const FieldReader& root, Text name) {
  for (const Text map : {Text("stringData"), Text("data")}) {
    const auto values = root.child(map);
    if (!values || values->node().kind != YamlNode::Kind::kMap) continue;
    const YamlNode* value = values->node().find(name);
    if (value == nullptr || value->kind != YamlNode::Kind::kScalar) continue;
    if (map == "stringData") return value->scalar;
    std::string out;
    if (absl::Base64Unescape(value->scalar, &out)) return out;
    values->error_at(name, kValueRejected, "the value is no base64", "encode it, or write it in stringData");
    return "";
  }
  return "";
}

std::string first_of(const FieldReader& root, const std::array<Text, 2>& names) {
  for (const Text name : names) {
    std::string value = value_of(root, name);
    if (!value.empty()) return value;
  }
  return "";
}

// `what` names the entry, never its value.
SecretFault fault(Text what, const absl::Status& status, Text remedy) {
  return {str_cat(what, ": ", std::string(status.message())), std::string(remedy)};
}

std::optional<SecretFault> fault_of_pair(const Secret& secret) {
  const auto chain = read_certificates(secret.certificate);
  if (!chain.ok())
    return fault("the certificate", chain.status(), "give PEM, the leaf first, then what issued it");
  const auto key = read_private_key(secret.key);
  if (!key.ok()) return fault("the key", key.status(), "give a private key in PEM, without a password");
  if (X509_check_private_key(chain->front().get(), key->get()) == 1) return std::nullopt;
  ERR_clear_error();
  return SecretFault{"the key is not that of the certificate",
                     "give both of one pair; the leaf comes first in the certificate's chain"};
}

}  // namespace

std::vector<SecretFault> faults_of(const Secret& secret) {
  std::vector<SecretFault> out;
  if (!secret.certificate.empty() || !secret.key.empty()) {
    if (auto pair = fault_of_pair(secret)) out.push_back(std::move(*pair));
  }
  if (const auto roots = read_certificates(secret.ca); !secret.ca.empty() && !roots.ok())
    out.push_back(fault("the authority", roots.status(), "give certificates in PEM"));
  if (const auto lists = read_crls(secret.crl); !lists.ok())
    out.push_back(fault("the revocation list", lists.status(), "give lists in PEM (\"BEGIN X509 CRL\")"));
  return out;
}

Secret parse_secret(const FieldReader& root, ObjectMeta meta) {
  Secret out{.meta = std::move(meta), .certificate = {}, .key = {}, .ca = {}, .crl = {}};
  const std::string type = root.text("type").value_or("Opaque");
  if (type != "Opaque" && type != kTlsType) return out;
  for (const Text map : {Text("stringData"), Text("data")}) {
    const auto values = root.child(map);
    if (values && values->node().kind != YamlNode::Kind::kMap)
      values->error(kWrongType, "expected a map of strings", "write \"key: value\" lines below it");
  }
  out.certificate = first_of(root, kCertificateNames);
  out.key = first_of(root, kKeyNames);
  out.ca = first_of(root, kCaNames);
  out.crl = first_of(root, kCrlNames);
  // Opaque ones hold anything: a "key" alone is somebody's password.
  const bool pair = !out.certificate.empty() && !out.key.empty();
  if (!pair && type == kTlsType)
    root.error_at("data", kFieldMissing, "a Secret of kubernetes.io/tls needs tls.crt and tls.key",
                  "give both");
  if (!pair) out.certificate = out.key = "";
  for (const SecretFault& fault : faults_of(out))
    root.error_at("data", kValueRejected, fault.message, fault.remedy);
  return out;
}

}  // namespace weft::control_plane
