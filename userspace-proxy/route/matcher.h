// Compiled HttpMatch: one request head and one source in, yes or no out. Pure; no allocation when matching.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace-proxy/http/message.h"
#include "userspace-proxy/policy/verified_token.h"

namespace re2 {
class RE2;
}

namespace weft::proxy {

struct StringMatcher {
  // kSegments: of paths; `text` has no slash at its end, and what follows it in a path is nothing or "/".
  enum class Kind : uint8_t { kAny, kExact, kPrefix, kRegex, kPresent, kSegments };
  Kind kind = Kind::kAny;
  bool ignore_case = false;
  std::string text;
  std::shared_ptr<const re2::RE2> regex;  // whole string (RE2::FullMatch)

  // kAny and kPresent match every value.
  bool matches(std::string_view value) const;
};

struct NamedMatcher {
  std::string name;  // lower case; in `headers` and `without_headers` also that of a claim
  StringMatcher value;
  std::string claim = {};  // claim_key() of that; empty: it is a header or parameter
};

struct SourceView {
  std::string_view ns;
  const std::vector<std::pair<std::string, std::string>>* labels = nullptr;
  // Of the request, proved; null: none. At gateways only.
  const VerifiedToken* token = nullptr;
};

// The client that a rule is for.
struct SourceMatcher {
  std::string source_ns;  // empty: any
  std::vector<std::pair<std::string, std::string>> source_labels;

  bool matches(const SourceView& source) const;
};

struct HttpMatcher : SourceMatcher {
  StringMatcher uri, method, authority, scheme;
  std::vector<NamedMatcher> headers, without_headers, query_params;
  uint16_t port = 0;       // of the dialled address; 0: any
  std::string route_name;  // of the route and of this match, "route.match"; empty: the match has no name

  bool matches(const RequestHead& head, const SourceView& source, uint16_t dialled_port) const;
};

}  // namespace weft::proxy
