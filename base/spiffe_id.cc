// SpiffeId of spiffe_id.h.
#include "base/spiffe_id.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace weft {
namespace {

constexpr std::string_view kScheme = "spiffe://";
// A SPIFFE id has at most 2048 bytes, of which a trust domain has 255; a DNS name is no longer than that.
constexpr size_t kMaxSegment = 255;

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool segment_char(char c) {
  return lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
}

bool domain_char(char c) { return lower_or_digit(c) || c == '.' || c == '-' || c == '_'; }

bool good_segment(std::string_view text) {
  return !text.empty() && text.size() <= kMaxSegment && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), segment_char);
}

}  // namespace

std::optional<SpiffeId> SpiffeId::parse(std::string_view uri) {
  if (!uri.starts_with(kScheme)) return std::nullopt;
  uri.remove_prefix(kScheme.size());
  std::array<std::string_view, 5> part;
  for (size_t i = 0; i < part.size(); ++i) {
    const size_t slash = uri.find('/');
    // The last part ends with the text, the others do not.
    if ((slash == std::string_view::npos) != (i + 1 == part.size())) return std::nullopt;
    part[i] = uri.substr(0, slash);
    if (slash != std::string_view::npos) uri.remove_prefix(slash + 1);
  }
  if (part[1] != "ns" || part[3] != "sa" || !good_segment(part[2]) || !good_segment(part[4]))
    return std::nullopt;
  if (part[0].empty() || part[0].size() > kMaxSegment ||
      !std::all_of(part[0].begin(), part[0].end(), domain_char))
    return std::nullopt;
  return SpiffeId{std::string(part[0]), std::string(part[2]), std::string(part[4])};
}

std::string SpiffeId::to_string() const {
  return str_cat(kScheme, trust_domain, "/ns/", ns, "/sa/", account);
}

}  // namespace weft
