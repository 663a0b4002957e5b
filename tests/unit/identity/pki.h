// A public key infrastructure for tests, as an attacker or an operator would make one by hand: authorities,
// leaves and signing requests of any shape, also wrong ones. Knows nothing of the code under test but its
// pointers.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/x509.h"

namespace weft::test {

// {GEN_URI or GEN_DNS, text}; the text may have any bytes.
using Names = std::vector<std::pair<int, std::string>>;

KeyPtr p256_key();
KeyPtr p384_key();
KeyPtr rsa_key();
KeyPtr key_of(const char* kind);  // "ED25519", "ED448"
std::string key_pem(EVP_PKEY* key);

struct RequestShape {
  Names names;
  std::string subject;                            // a common name; empty: none
  std::vector<std::pair<int, const char*>> more;  // other extensions, by NID
  EVP_PKEY* signed_by = nullptr;                  // null: by the key itself
  const EVP_MD* digest = EVP_sha256();
};
std::string request_pem(EVP_PKEY* key, const RequestShape& shape);

struct Authority {
  X509Ptr certificate;
  KeyPtr key;
  const EVP_MD* digest = EVP_sha256();  // of what it signs from now on, where its key leaves a choice
};
// Self-signed, or issued by `by`. Null key: a new P-256 one.
Authority make_authority(const char* name, const Authority* by = nullptr, KeyPtr key = nullptr);

struct LeafShape {
  Names names;
  long from_seconds = -60;  // from now
  long to_seconds = 3600;
  const char* usage = "serverAuth,clientAuth";
  EVP_PKEY* key = nullptr;  // null: a new P-256 one
};
struct Leaf {
  X509Ptr certificate;
  KeyPtr key;
};
Leaf make_leaf(const Authority& authority, const LeafShape& shape);
// Revokes these.
std::string crl_pem(const Authority& authority, const std::vector<X509*>& revoked);

}  // namespace weft::test
