// A signed token in its compact form (RFC 7515 §3.1): read, and proved by a key of a set. What the header of
// a token asks for never decides more than which of the keys that are known is tried: no key, address or
// certificate in it is looked at. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/jwk_set.h"

namespace weft {

struct Jws {
  static constexpr size_t kMaxBytes = 16 * 1024;

  JwsAlgorithm algorithm = JwsAlgorithm::kRs256;
  std::string key_id;  // empty: none
  // Views of the token.
  std::string_view signed_text;
  std::string_view encoded_payload;
  std::string payload;
  std::string signature;
};

// The token outlives what is returned. InvalidArgument, without a byte of it: no three parts of base64url, a
// header that is no JSON object, an algorithm that is none of JwsAlgorithm, or an extension ("crit", "b64",
// "zip").
absl::StatusOr<Jws> read_jws(std::string_view token);

enum class JwsProof : uint8_t {
  kProved,
  kNoKey,     // no key of the set has its id and is for its algorithm
  kNotProved  // those that are did not make its signature
};
JwsProof prove(const Jws& token, const JwkSet& keys);

}  // namespace weft
