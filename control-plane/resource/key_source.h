// Where the keys of an issuer of tokens are: at the URL of a JSON Web Key Set, or at the one that the
// issuer's own document names (OpenID Connect Discovery 1.0 §4, RFC 8414). One text for each, by which who
// fetches them knows them. Pure.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/strings.h"

namespace weft::control_plane {

// Printable, with a host and without a user name.
inline bool is_http_url(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  const std::string_view rest = text.starts_with("https://")  ? text.substr(8)
                                : text.starts_with("http://") ? text.substr(7)
                                                              : std::string_view();
  return plain && !rest.empty() && rest.front() != '/' && rest.find('@') == std::string_view::npos;
}

// No URL has a blank.
inline constexpr std::string_view kDiscover = "discover ";

inline std::string discovered_by(std::string_view issuer) { return str_cat(kDiscover, issuer); }

// Nullopt: the source is the URL of a key set.
inline std::optional<std::string_view> discovering_issuer(std::string_view source) {
  if (!source.starts_with(kDiscover)) return std::nullopt;
  return source.substr(kDiscover.size());
}

// Of the issuer's document; a slash at its end counts once (§4.1).
inline std::string discovery_url(std::string_view issuer) {
  if (issuer.ends_with('/')) issuer.remove_suffix(1);
  return str_cat(issuer, "/.well-known/openid-configuration");
}

}  // namespace weft::control_plane
