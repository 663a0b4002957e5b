// Tokens and key sets as an issuer, or an attacker, makes them by hand, of any shape. Knows nothing of the
// code under test but its pointers.
#pragma once

#include <string>
#include <string_view>

#include "base/x509.h"

namespace weft::test {

std::string base64url(std::string_view bytes);

// "RS256" to "ES512"; the key fits it.
std::string signature_of(const std::string& algorithm, EVP_PKEY* key, std::string_view text);
// Whatever the header says, signed as `algorithm` says.
std::string sign_token(const std::string& algorithm, EVP_PKEY* key, const std::string& header,
                       const std::string& payload);
// With the header {"alg":…,"kid":…}; no kid when it is empty.
std::string make_token(const std::string& algorithm, EVP_PKEY* key, const std::string& payload,
                       std::string_view kid);

KeyPtr ec_key(const char* curve);  // "P-256", "P-384", "P-521"
KeyPtr rsa_key_of(unsigned bits);
// The public key as a JWK; `more`: further members, with a comma before each.
std::string jwk(EVP_PKEY* key, const std::string& more = "");
std::string jwk_set(const std::string& keys);

}  // namespace weft::test
