// See claim_name.h.
#include "base/claim_name.h"

#include "absl/strings/match.h"
#include "base/strings.h"

namespace weft {
namespace {

constexpr std::string_view kAuth = "@request.auth.";
constexpr std::string_view kClaims = "@request.auth.claims";
constexpr size_t kMaxName = 1024;

// "a.b"; false: a part is empty.
bool read_dotted(std::string_view text, std::vector<std::string>* out) {
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (part.empty() || part.find_first_of("[]") != std::string_view::npos) return false;
    out->emplace_back(part);
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// "[a][b]"; false: a part is empty, or something stands beside the brackets.
bool read_brackets(std::string_view text, std::vector<std::string>* out) {
  while (!text.empty()) {
    const size_t close = text.find(']');
    if (text.front() != '[' || close == std::string_view::npos || close == 1) return false;
    const std::string_view part = text.substr(1, close - 1);
    if (part.find('[') != std::string_view::npos) return false;
    out->emplace_back(part);
    text.remove_prefix(close + 1);
  }
  return !out->empty();
}

}  // namespace

bool names_claim(std::string_view header_name) {
  return absl::StartsWithIgnoreCase(to_absl(header_name), to_absl(kAuth));
}

std::optional<std::vector<std::string>> claim_path(std::string_view header_name) {
  if (header_name.size() > kMaxName || !header_name.starts_with(kClaims)) return std::nullopt;
  const std::string_view rest = header_name.substr(kClaims.size());
  std::vector<std::string> out;
  const bool dotted = rest.starts_with('.');
  if (!(dotted ? read_dotted(rest.substr(1), &out) : read_brackets(rest, &out))) return std::nullopt;
  return out;
}

}  // namespace weft
