// Certificates and keys of OpenSSL as values that own themselves, and the few readings of them that both who
// issues and who checks need: PEM in and out, and the names of subjectAltName. No file, no socket, no
// decision about trust. Keys are never printed.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/spiffe_id.h"

namespace weft {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using X509CrlPtr = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using X509RequestPtr = std::unique_ptr<X509_REQ, FreeWith<X509_REQ_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free_all>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;

// "<what>: <what OpenSSL says>"; empties this thread's queue of errors.
absl::Status openssl_status(std::string_view what);

// Another reference to the same object.
X509Ptr share(X509* certificate);
KeyPtr share(EVP_PKEY* key);

// Every CERTIFICATE block of the text, in order; at least one, and nothing but white space and comments
// between them.
absl::StatusOr<std::vector<X509Ptr>> read_certificates(std::string_view pem);
// The first private key of the text, without a password. Errors name no byte of it.
absl::StatusOr<KeyPtr> read_private_key(std::string_view pem);
// Every X509 CRL block. An empty text has none; any other text without one is an error, for whoever took it
// for a list would lift every revocation.
absl::StatusOr<std::vector<X509CrlPtr>> read_crls(std::string_view pem);
std::string to_pem(X509* certificate);

// A new P-256 key.
absl::StatusOr<KeyPtr> make_key();
bool is_p256(EVP_PKEY* key);

// Whether TLS of the mesh can verify such a chain, the leaf first and the root last: its keys are of RSA,
// ECDSA or Ed25519 and long enough, its signatures over SHA-2 (userspace-proxy/tls/tls_algorithms.h). Else
// OUT_OF_RANGE, with whose key or signature it is and what is wrong with it.
absl::Status check_algorithms(const STACK_OF(X509) * chain);

absl::Time not_before(X509* certificate);
absl::Time not_after(X509* certificate);
// Upper-case hexadecimal digits.
std::string serial_number(X509* certificate);

enum class SanReading : uint8_t {
  kOk,     // one SPIFFE id; with DNS or other names beside it where `others_allowed`
  kNone,   // no SPIFFE id among the names, or no names
  kBad,    // a URI with bytes that no URI has, NUL among them
  kOther,  // more than the one SPIFFE id
};
// The SPIFFE id among the names. `others_allowed`: a peer may have other names, and the first SPIFFE id
// counts; a request may not.
SanReading read_san(const GENERAL_NAMES* names, bool others_allowed, SpiffeId* out);
// The same of a certificate, whose extension must exist once.
SanReading read_san(X509* certificate, SpiffeId* out);

}  // namespace weft
