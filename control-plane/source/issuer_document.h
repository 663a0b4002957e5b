// What an issuer of tokens says of itself (OpenID Connect Discovery 1.0 §3, RFC 8414 §3.2): of that alone
// where its keys are. Bytes of somebody else, read once and strictly. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft::control_plane {

// The document's jwks_uri. InvalidArgument, with what to do next: it is no JSON object, is another issuer's
// (§4.3: the names are the same letter by letter), or names no URL of http or https; one of https does not
// hand its keys on to what is not encrypted.
absl::StatusOr<std::string> jwks_uri_of(std::string_view document, std::string_view issuer);

}  // namespace weft::control_plane
