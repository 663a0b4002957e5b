// JoinTokens of join_tokens.h.
#include "control-plane/identity/join_tokens.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/strings.h"

namespace weft::control_plane {

// Looked up by digest: how long a comparison takes tells nothing about a token.
JoinTokens::Digest JoinTokens::digest_of(std::string_view token) {
  Digest out{};
  EVP_Digest(token.data(), token.size(), out.data(), nullptr, EVP_sha256(), nullptr);
  return out;
}

absl::StatusOr<std::string> JoinTokens::make(std::string_view node, absl::Time expires) {
  std::array<unsigned char, 32> secret;
  if (RAND_bytes(secret.data(), secret.size()) != 1) return absl::InternalError("no random bytes");
  std::string token =
      absl::WebSafeBase64Escape({reinterpret_cast<const char*>(secret.data()), secret.size()});
  const absl::MutexLock lock(&mutex_);
  entries_[digest_of(token)] = Entry{std::string(node), expires};
  return token;
}

absl::StatusOr<std::string> JoinTokens::redeem(std::string_view token, absl::Time now) {
  const Digest digest = digest_of(token);
  const absl::MutexLock lock(&mutex_);
  for (auto at = entries_.begin(); at != entries_.end();)
    at = at->second.expires <= now ? entries_.erase(at) : std::next(at);
  const auto found = entries_.find(digest);
  if (found == entries_.end())
    return absl::PermissionDeniedError("the join token is unknown, expired or was used before");
  std::string node = std::move(found->second.node);
  entries_.erase(found);
  return node;
}

}  // namespace weft::control_plane
