// Evaluates compiled matches (VirtualService semantics, reference: networking.istio.io HTTPMatchRequest).
// Called by match_route for every request; never allocates, never decodes percent escapes.
#include "userspace-proxy/route/matcher.h"

#include <re2/re2.h>

#include <algorithm>

namespace weft::proxy {
namespace {

bool any_header_matches(const RequestHead& head, const NamedMatcher& matcher) {
  for (const Header& header : head.headers) {
    if (equals_ignore_case(header.name, matcher.name) && matcher.value.matches(header.value)) return true;
  }
  return false;
}

// An absent header counts as the empty string; "present" holds only for headers that exist.
bool excluded_by(const RequestHead& head, const NamedMatcher& matcher) {
  if (head.find(matcher.name).has_value()) return any_header_matches(head, matcher);
  const StringMatcher::Kind kind = matcher.value.kind;
  if (kind == StringMatcher::Kind::kPresent || kind == StringMatcher::Kind::kAny) return false;
  return matcher.value.matches({});
}

// The first pair of that name decides; names are case-sensitive and a bare "a" has the value "".
bool query_matches(std::string_view query, const NamedMatcher& matcher) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == matcher.name && !pair.empty()) {
      return matcher.value.matches(equals < pair.size() ? pair.substr(equals + 1) : std::string_view());
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return false;
}

}  // namespace

bool SourceMatcher::matches(const SourceView& source) const {
  if (!source_ns.empty() && source_ns != source.ns) return false;
  for (const auto& wanted : source_labels) {
    if (source.labels == nullptr) return false;
    if (std::find(source.labels->begin(), source.labels->end(), wanted) == source.labels->end()) return false;
  }
  return true;
}

bool StringMatcher::matches(std::string_view value) const {
  switch (kind) {
    case Kind::kAny:
    case Kind::kPresent:
      return true;
    case Kind::kExact:
      return ignore_case ? equals_ignore_case(value, text) : value == text;
    case Kind::kPrefix:
      if (value.size() < text.size()) return false;
      value = value.substr(0, text.size());
      return ignore_case ? equals_ignore_case(value, text) : value == text;
    case Kind::kSegments:
      return value.starts_with(text) && (value.size() == text.size() || value[text.size()] == '/');
    case Kind::kRegex:
      return regex != nullptr && re2::RE2::FullMatch(re2::StringPiece(value.data(), value.size()), *regex);
  }
  return false;
}

bool HttpMatcher::matches(const RequestHead& head, const SourceView& source, uint16_t dialled_port) const {
  if (port != 0 && port != dialled_port) return false;
  if (!SourceMatcher::matches(source)) return false;
  if (!method.matches(head.method) || !uri.matches(head.path) || !authority.matches(head.authority) ||
      !scheme.matches(head.scheme))
    return false;
  for (const NamedMatcher& header : headers) {
    if (!any_header_matches(head, header)) return false;
  }
  for (const NamedMatcher& header : without_headers) {
    if (excluded_by(head, header)) return false;
  }
  for (const NamedMatcher& param : query_params) {
    if (!query_matches(head.query, param)) return false;
  }
  return true;
}

}  // namespace weft::proxy
