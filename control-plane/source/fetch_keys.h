// Fetches the keys of an issuer of tokens. Blocks for at most kFetchSeconds: on a thread of the resolver,
// never on a path of data.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace weft::control_plane {

inline constexpr long kFetchSeconds = 5;

// The JSON Web Key Set at an http or https URL, as the one entry; nullopt when there is none that could be
// used, which is logged. Redirects are not followed, and servers of https must prove themselves by the
// system's certificates.
std::optional<std::vector<std::string>> fetch_keys(const std::string& url);

}  // namespace weft::control_plane
