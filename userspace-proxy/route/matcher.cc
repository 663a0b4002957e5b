// Evaluates compiled matches (VirtualService semantics, reference: networking.istio.io HTTPMatchRequest).
// Called by match_route for every request; never allocates, never decodes percent escapes.
#include "userspace-proxy/route/matcher.h"

#include <re2/re2.h>

#include <algorithm>

#include "userspace-proxy/route/mismatch.h"

namespace weft::proxy {
namespace {

// Any text of the claim. Without a good token there is none, whatever headers the client sends.
bool claim_matches(const SourceView& source, const NamedMatcher& matcher) {
  if (source.token == nullptr) return false;
  const auto found = source.token->claims.find(matcher.claim);
  return found != source.token->claims.end() &&
         std::any_of(found->second.begin(), found->second.end(),
                     [&matcher](const std::string& text) { return matcher.value.matches(text); });
}

bool any_header_matches(const RequestHead& head, const SourceView& source, const NamedMatcher& matcher) {
  if (!matcher.claim.empty()) return claim_matches(source, matcher);
  for (const Header& header : head.headers) {
    if (equals_ignore_case(header.name, matcher.name) && matcher.value.matches(header.value)) return true;
  }
  return false;
}

// An absent header counts as the empty string; "present" holds only for headers that exist.
bool excluded_by(const RequestHead& head, const SourceView& source, const NamedMatcher& matcher) {
  if (!matcher.claim.empty()) return claim_matches(source, matcher);
  if (head.find(matcher.name).has_value()) return any_header_matches(head, source, matcher);
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

Mismatch source_mismatch(const SourceMatcher& matcher, const SourceView& source) {
  if (!matcher.source_ns.empty() && matcher.source_ns != source.ns)
    return {.part = Mismatch::Part::kSourceNamespace};
  for (uint32_t i = 0; i < matcher.source_labels.size(); ++i) {
    const Mismatch mismatch{.part = Mismatch::Part::kSourceLabel, .index = i};
    if (source.labels == nullptr) return mismatch;
    const auto found = std::find(source.labels->begin(), source.labels->end(), matcher.source_labels[i]);
    if (found == source.labels->end()) return mismatch;
  }
  return {};
}

}  // namespace

bool SourceMatcher::matches(const SourceView& source) const {
  return source_mismatch(*this, source).part == Mismatch::Part::kNothing;
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

Mismatch mismatch_of(const HttpMatcher& matcher, const RequestHead& head, const SourceView& source,
                     uint16_t dialled_port) {
  using Part = Mismatch::Part;
  if (matcher.port != 0 && matcher.port != dialled_port) return {.part = Part::kPort};
  if (const Mismatch mismatch = source_mismatch(matcher, source); mismatch.part != Part::kNothing)
    return mismatch;
  if (!matcher.method.matches(head.method)) return {.part = Part::kMethod};
  if (!matcher.uri.matches(head.path)) return {.part = Part::kUri};
  if (!matcher.authority.matches(head.authority)) return {.part = Part::kAuthority};
  if (!matcher.scheme.matches(head.scheme)) return {.part = Part::kScheme};
  for (uint32_t i = 0; i < matcher.headers.size(); ++i) {
    if (!any_header_matches(head, source, matcher.headers[i])) return {.part = Part::kHeader, .index = i};
  }
  for (uint32_t i = 0; i < matcher.without_headers.size(); ++i) {
    if (excluded_by(head, source, matcher.without_headers[i]))
      return {.part = Part::kWithoutHeader, .index = i};
  }
  for (uint32_t i = 0; i < matcher.query_params.size(); ++i) {
    if (!query_matches(head.query, matcher.query_params[i])) return {.part = Part::kQueryParam, .index = i};
  }
  return {};
}

bool HttpMatcher::matches(const RequestHead& head, const SourceView& source, uint16_t dialled_port) const {
  return mismatch_of(*this, head, source, dialled_port).part == Mismatch::Part::kNothing;
}

}  // namespace weft::proxy
