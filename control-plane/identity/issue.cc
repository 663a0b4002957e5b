// See issue.h.
#include "control-plane/identity/issue.h"

#include <openssl/bn.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/address.h"
#include "base/status_macros.h"

namespace weft::control_plane {
namespace {

// RFC 5280 §4.1.2.2 allows 20 octets; 16 of them random never meet twice.
bool set_random_serial(X509* certificate) {
  std::array<unsigned char, 16> bytes;
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return false;
  bytes[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(bytes.data(), bytes.size(), nullptr);
  const bool set =
      number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

bool set_times(X509* certificate, const Validity& validity) {
  return ASN1_TIME_set(X509_getm_notBefore(certificate), absl::ToTimeT(validity.from)) != nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(certificate), absl::ToTimeT(validity.to)) != nullptr;
}

bool add(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

// Attributes of the subject, by NID.
using Subject = std::vector<std::pair<int, std::string>>;

// Lengths are not held against X.520's upper bounds: a node's name may be longer than a common name's 64.
bool set_subject(X509* certificate, const Subject& subject) {
  X509_NAME* const name = X509_get_subject_name(certificate);
  return std::all_of(subject.begin(), subject.end(), [name](const auto& row) {
    const auto* text = reinterpret_cast<const unsigned char*>(row.second.data());
    return X509_NAME_add_entry_by_NID(name, row.first, V_ASN1_UTF8STRING, text,
                                      static_cast<int>(row.second.size()), -1, 0) == 1;
  });
}

// `names`: in the text form of extensions, "URI:spiffe://a/b"; empty: none, the subject is the name.
absl::StatusOr<X509Ptr> issue(const Issuer& issuer, EVP_PKEY* key, const std::string& names,
                              const Subject& subject, const char* usage, const Validity& validity) {
  X509* const by = issuer.certificate.get();
  const Validity within{validity.from, std::min(validity.to, not_after(by))};
  X509Ptr leaf(X509_new());
  const bool made =
      X509_set_version(leaf.get(), X509_VERSION_3) == 1 && set_random_serial(leaf.get()) &&
      set_times(leaf.get(), within) && X509_set_issuer_name(leaf.get(), X509_get_subject_name(by)) == 1 &&
      X509_set_pubkey(leaf.get(), key) == 1 &&
      add(leaf.get(), by, NID_basic_constraints, "critical,CA:FALSE") &&
      add(leaf.get(), by, NID_key_usage, "critical,digitalSignature") &&
      add(leaf.get(), by, NID_ext_key_usage, usage) &&
      add(leaf.get(), by, NID_authority_key_identifier, "keyid") && set_subject(leaf.get(), subject) &&
      (names.empty() || add(leaf.get(), by, NID_subject_alt_name, str_cat("critical,", names).c_str())) &&
      X509_sign(leaf.get(), issuer.key.get(), EVP_sha256()) > 0;
  if (!made) return openssl_status("make a certificate");
  return leaf;
}

bool is_dns_name(const std::string& name) {
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.';
  });
}

}  // namespace

absl::StatusOr<X509Ptr> issue_root(std::string_view name, EVP_PKEY* key, const Validity& validity) {
  X509Ptr root(X509_new());
  X509_NAME* subject = X509_get_subject_name(root.get());
  const auto* text = reinterpret_cast<const unsigned char*>(name.data());
  const bool made = X509_set_version(root.get(), X509_VERSION_3) == 1 && set_random_serial(root.get()) &&
                    set_times(root.get(), validity) &&
                    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, text,
                                               static_cast<int>(name.size()), -1, 0) == 1 &&
                    X509_set_issuer_name(root.get(), subject) == 1 && X509_set_pubkey(root.get(), key) == 1 &&
                    add(root.get(), root.get(), NID_basic_constraints, "critical,CA:TRUE") &&
                    add(root.get(), root.get(), NID_key_usage, "critical,keyCertSign,cRLSign") &&
                    add(root.get(), root.get(), NID_subject_key_identifier, "hash") &&
                    X509_sign(root.get(), key, EVP_sha256()) > 0;
  if (!made) return openssl_status("make a root certificate");
  return root;
}

absl::StatusOr<X509Ptr> issue_leaf(const Issuer& issuer, EVP_PKEY* key, const SpiffeId& id,
                                   const Validity& validity) {
  // The id has no character that the text form of extensions gives a meaning to; see SpiffeId.
  return issue(issuer, key, str_cat("URI:", id.to_string()), {}, "serverAuth,clientAuth", validity);
}

absl::StatusOr<X509Ptr> issue_server(const Issuer& issuer, EVP_PKEY* key,
                                     const std::vector<std::string>& names, const Validity& validity) {
  std::string text;
  for (const std::string& name : names) {
    const bool address = IpAddress::parse(name).has_value();
    if (!address && !is_dns_name(name))
      return absl::InvalidArgumentError(str_cat("'", name, "' is neither a DNS name nor an IP address"));
    str_append(&text, text.empty() ? "" : ",", address ? "IP:" : "DNS:", name);
  }
  if (text.empty()) return absl::InvalidArgumentError("a server's certificate needs a name");
  return issue(issuer, key, text, {}, "serverAuth", validity);
}

absl::StatusOr<X509Ptr> issue_node(const Issuer& issuer, EVP_PKEY* key, const std::string& node,
                                   const Validity& validity) {
  return issue(issuer, key, "",
               {{NID_organizationName, "system:nodes"}, {NID_commonName, str_cat("system:node:", node)}},
               "clientAuth", validity);
}

}  // namespace weft::control_plane
