// A join token: what an operator carries by hand to a machine that no API server vouches for, so that it can
// prove once which node it is. "weft-join.<16 hex digits>.<64 hex digits>": a name that is no secret, by
// which the token is found, and 32 random bytes that are one. Pure, but for the random bytes.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft::control_plane {

inline constexpr std::string_view kJoinTokenPrefix = "weft-join.";

struct JoinToken {
  std::string id;      // 16 lower-case hexadecimal digits
  std::string secret;  // 64 of them
};

absl::StatusOr<JoinToken> make_join_token();
std::string to_string(const JoinToken& token);
// White space around it is none of it. kInvalidArgument for anything else; the error has no byte of the text.
absl::StatusOr<JoinToken> parse_join_token(std::string_view text);

// SHA-256 of the secret, 64 hexadecimal digits: what is kept of a token.
std::string digest_of(const JoinToken& token);
// Whether the token has that digest; takes as long whether it has or not.
bool has_digest(const JoinToken& token, std::string_view digest);

// RFC 1123 subdomain, as Kubernetes names nodes: at most 253 lower-case letters, digits, '-' and '.'.
bool is_node_name(std::string_view name);

}  // namespace weft::control_plane
