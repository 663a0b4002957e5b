// make_signing_request() of signing_request.h.
#include "userspace-proxy/tls/signing_request.h"

#include <openssl/pem.h>

#include "base/strings.h"

namespace weft::proxy {
namespace {

using ExtensionsPtr = std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * list) {
                                        sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
                                      })>;

}  // namespace

absl::StatusOr<std::string> make_signing_request(EVP_PKEY* key, const SpiffeId& id) {
  const X509RequestPtr request(X509_REQ_new());
  const ExtensionsPtr extensions(sk_X509_EXTENSION_new_null());
  // The id has no character that the text form of extensions gives a meaning to; see SpiffeId.
  X509_EXTENSION* name = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name,
                                             str_cat("critical,URI:", id.to_string()).c_str());
  if (name == nullptr || sk_X509_EXTENSION_push(extensions.get(), name) == 0)
    return openssl_status("subjectAltName of a signing request");
  if (X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key) != 1 ||
      X509_REQ_add_extensions(request.get(), extensions.get()) != 1 ||
      X509_REQ_sign(request.get(), key, EVP_sha256()) <= 0)
    return openssl_status("signing request");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) return openssl_status("signing request");
  char* text = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(length));
}

}  // namespace weft::proxy
