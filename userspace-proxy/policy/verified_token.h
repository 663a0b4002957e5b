// What a good token of a request says. Immutable, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::proxy {

// The name by which VerifiedToken knows a claim: its path from the outermost object inwards.
std::string claim_key(const std::vector<std::string>& path);

struct VerifiedToken {
  std::string text;                  // as it was sent
  std::string_view encoded_payload;  // of `text`
  std::string principal;             // "ISSUER/SUBJECT"; empty without a subject
  // Texts, and lists of texts, by claim_key(). Of "scope" and "permission", and what the rule names
  // beside them, each word is one.
  std::map<std::string, std::vector<std::string>, std::less<>> claims;
  size_t claim_bytes = 0;  // memory of `claims`, about
  // For the application: the headers of its rule, in the rule's order. Names are views of the rule.
  std::vector<std::pair<std::string_view, std::string>> headers;
  // Seconds since 1970, both inclusive of the skew that is allowed.
  int64_t good_from = 0;
  int64_t good_until = std::numeric_limits<int64_t>::max();

  bool good_at(int64_t seconds) const { return good_from <= seconds && seconds < good_until; }
};

using VerifiedTokenPtr = std::shared_ptr<const VerifiedToken>;

}  // namespace weft::proxy
