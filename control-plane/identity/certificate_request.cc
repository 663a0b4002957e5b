// See certificate_request.h: one check after the other, each with its own refusal.
#include "control-plane/identity/certificate_request.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/status_macros.h"

namespace weft::control_plane {
namespace {

constexpr size_t kMaxBytes = 16 * 1024;
constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE REQUEST-----\n";
constexpr std::string_view kEnd = "-----END CERTIFICATE REQUEST-----";

using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * list) {
                                        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
                                      })>;

absl::Status refuse(std::string_view why) {
  ERR_clear_error();
  return absl::InvalidArgumentError(str_cat("certificate request: ", why));
}

absl::StatusOr<X509RequestPtr> read_pem(std::string_view pem) {
  if (pem.size() > kMaxBytes) return refuse("longer than 16 KiB");
  while (pem.ends_with('\n') || pem.ends_with('\r')) pem.remove_suffix(1);
  const size_t end = pem.find(kEnd);
  if (!pem.starts_with(kBegin) || end == std::string_view::npos || end + kEnd.size() != pem.size())
    return refuse("not one CERTIFICATE REQUEST block of PEM");
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  if (request == nullptr) return refuse("the block does not decode");
  return request;
}

absl::Status check_signature(X509_REQ* request, EVP_PKEY* key) {
  if (X509_REQ_get_version(request) != X509_REQ_VERSION_1) return refuse("not of version 1");
  if (!is_p256(key)) return refuse("the key is no ECDSA P-256 key");
  if (X509_REQ_get_signature_nid(request) != NID_ecdsa_with_SHA256)
    return refuse("the signature is not ECDSA with SHA-256");
  if (X509_REQ_verify(request, key) != 1) return refuse("the signature is not made by its key");
  if (X509_NAME_entry_count(X509_REQ_get_subject_name(request)) != 0)
    return refuse("it asks for a subject; the identity belongs into subjectAltName");
  return absl::OkStatus();
}

absl::StatusOr<SpiffeId> wanted_id(X509_REQ* request) {
  if (X509_REQ_get_attr_count(request) != 1)
    return refuse("more or less than the one attribute extensionRequest");
  const ExtensionsPtr extensions(X509_REQ_get_extensions(request));
  if (extensions == nullptr || sk_X509_EXTENSION_num(extensions.get()) != 1)
    return refuse("more or less than the one extension subjectAltName");
  X509_EXTENSION* extension = sk_X509_EXTENSION_value(extensions.get(), 0);
  if (OBJ_obj2nid(X509_EXTENSION_get_object(extension)) != NID_subject_alt_name)
    return refuse("the extension is not subjectAltName");
  const NamesPtr names(static_cast<GENERAL_NAMES*>(X509V3_EXT_d2i(extension)));
  if (names == nullptr) return refuse("subjectAltName does not decode");
  SpiffeId id;
  switch (read_san(names.get(), false, &id)) {
    case SanReading::kOk:
      return id;
    case SanReading::kNone:
      return refuse("subjectAltName has no SPIFFE id (spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT)");
    case SanReading::kBad:
      return refuse("a URI of subjectAltName has bytes that no URI has");
    case SanReading::kOther:
      break;
  }
  return refuse("subjectAltName has more than one name");
}

}  // namespace

absl::StatusOr<CertificateRequest> parse_request(std::string_view pem) {
  ASSIGN_OR_RETURN(const X509RequestPtr request, read_pem(pem));
  CertificateRequest out;
  out.key = KeyPtr(X509_REQ_get_pubkey(request.get()));
  RETURN_IF_ERROR(check_signature(request.get(), out.key.get()));
  ASSIGN_OR_RETURN(out.id, wanted_id(request.get()));
  return out;
}

absl::StatusOr<KeyPtr> parse_nameless_request(std::string_view pem) {
  ASSIGN_OR_RETURN(const X509RequestPtr request, read_pem(pem));
  KeyPtr key(X509_REQ_get_pubkey(request.get()));
  RETURN_IF_ERROR(check_signature(request.get(), key.get()));
  if (X509_REQ_get_attr_count(request.get()) != 0) return refuse("it asks for a name or an extension");
  return key;
}

}  // namespace weft::control_plane
