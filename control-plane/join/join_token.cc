// See join_token.h.
#include "control-plane/join/join_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "base/x509.h"

namespace weft::control_plane {
namespace {

constexpr size_t kIdDigits = 16;
constexpr size_t kSecretDigits = 64;
constexpr size_t kLongestNodeName = 253;

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string hex(const unsigned char* bytes, size_t size) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes), size));
}

}  // namespace

absl::StatusOr<JoinToken> make_join_token() {
  std::array<unsigned char, (kIdDigits + kSecretDigits) / 2> bytes;
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) return openssl_status("random bytes");
  constexpr size_t kId = kIdDigits / 2;
  JoinToken out{hex(bytes.data(), kId), hex(bytes.data() + kId, bytes.size() - kId)};
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return out;
}

std::string to_string(const JoinToken& token) {
  return str_cat(kJoinTokenPrefix, token.id, ".", token.secret);
}

absl::StatusOr<JoinToken> parse_join_token(std::string_view text) {
  const absl::string_view stripped = absl::StripAsciiWhitespace(to_absl(text));
  text = {stripped.data(), stripped.size()};
  const absl::Status refused = absl::InvalidArgumentError(
      "it is no join token; next: a file with what `weft join-token create` printed, and nothing else");
  if (text.size() != kJoinTokenPrefix.size() + kIdDigits + 1 + kSecretDigits) return refused;
  if (!text.starts_with(kJoinTokenPrefix)) return refused;
  text.remove_prefix(kJoinTokenPrefix.size());
  const std::string_view id = text.substr(0, kIdDigits), secret = text.substr(kIdDigits + 1);
  if (!is_hex(id, kIdDigits) || text[kIdDigits] != '.' || !is_hex(secret, kSecretDigits)) return refused;
  return JoinToken{std::string(id), std::string(secret)};
}

std::string digest_of(const JoinToken& token) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(token.secret.data(), token.secret.size(), out, &size, EVP_sha256(), nullptr);
  return hex(out, size);
}

bool has_digest(const JoinToken& token, std::string_view digest) {
  const std::string own = digest_of(token);
  return digest.size() == own.size() && CRYPTO_memcmp(own.data(), digest.data(), own.size()) == 0;
}

bool is_node_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (name.empty() || name.size() > kLongestNodeName) return false;
  for (size_t at = 0; at < name.size(); ++at) {
    if (plain(name[at])) continue;
    // Between two of the others, and a dot beside no dash.
    const bool inside = at > 0 && at + 1 < name.size();
    if (name[at] == '-' && inside && name[at - 1] != '.' && name[at + 1] != '.') continue;
    if (name[at] == '.' && inside && plain(name[at - 1]) && plain(name[at + 1])) continue;
    return false;
  }
  return true;
}

}  // namespace weft::control_plane
