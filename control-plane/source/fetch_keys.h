// Fetches the keys of an issuer of tokens. Blocks for at most kFetchSeconds: on a thread of the resolver,
// never on a path of data.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::control_plane {

inline constexpr long kFetchSeconds = 5;

// The JSON Web Key Set at an http or https URL, or the one that the issuer's document names where `source`
// (resource/key_source.h) says so, as the one entry. An error names the URL, and says what to do next.
// Redirects are not followed, and servers of https must prove themselves by the system's certificates.
absl::StatusOr<std::vector<std::string>> fetch_keys(const std::string& source);

}  // namespace weft::control_plane
