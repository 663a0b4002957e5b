// Public keys as identity providers publish them: a JSON Web Key Set (RFC 7517, 7518 §6). Immutable, any
// thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/x509.h"

namespace weft {

// Of RFC 7518 §3.1, those that prove who signed. There is no "none", and nothing with a shared secret.
enum class JwsAlgorithm : uint8_t { kRs256, kRs384, kRs512, kPs256, kPs384, kPs512, kEs256, kEs384, kEs512 };

// As a header names it; nullopt for everything else.
std::optional<JwsAlgorithm> parse_jws_algorithm(std::string_view name);

struct Jwk {
  enum class Kind : uint8_t { kRsa, kP256, kP384, kP521 };
  Kind kind = Kind::kRsa;
  std::string id;                         // "kid"; empty: none
  std::optional<JwsAlgorithm> algorithm;  // "alg": for this one only
  KeyPtr key;
};

// The kind of key, and the only one, that the algorithm is for.
Jwk::Kind key_kind(JwsAlgorithm algorithm);

class JwkSet {
 public:
  static constexpr size_t kMaxBytes = 256 * 1024;
  static constexpr size_t kMaxKeys = 64;

  // Keys of kinds that no algorithm here uses, and those that are not for signatures, are left out.
  // InvalidArgument: no set, a key that is none (RSA below 2048 bits or above 8192, a point that is not on
  // its curve), a private key or a shared secret, more than kMaxKeys, or none that can be used. Errors name
  // the key by its place.
  static absl::StatusOr<JwkSet> parse(std::string_view json);

  const std::vector<Jwk>& keys() const { return keys_; }

 private:
  std::vector<Jwk> keys_;
};

// base64url without padding (RFC 7515 §2); nullopt for other characters, an impossible length, or bits behind
// the last byte.
std::optional<std::string> read_base64url(std::string_view text);

}  // namespace weft
