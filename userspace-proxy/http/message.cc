// Look-ups in a message head. Called by the matcher, the codec and the exchange; never changes or copies a
// head.
#include "userspace-proxy/http/message.h"

#include <algorithm>

namespace weft::proxy {
namespace {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::optional<std::string_view> find_in(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (equals_ignore_case(header.name, name)) return header.value;
  }
  return std::nullopt;
}

}  // namespace

bool same_letters(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string_view> RequestHead::find(std::string_view name) const {
  return find_in(headers, name);
}

std::optional<std::string_view> ResponseHead::find(std::string_view name) const {
  return find_in(headers, name);
}

}  // namespace weft::proxy
