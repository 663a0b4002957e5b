// Joining and parsing text with std::string_view. Debian 12 builds Abseil with its own string_view type, so
// std views do not convert by themselves: to_absl and to_std are the two doors, str_cat replaces absl::StrCat
// in our code.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace weft {

inline absl::string_view to_absl(std::string_view s) { return absl::string_view(s.data(), s.size()); }
inline std::string_view to_std(absl::string_view s) { return std::string_view(s.data(), s.size()); }

namespace strings_internal {
template <typename T>
decltype(auto) piece(const T& v) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return to_absl(v);
  } else {
    return v;
  }
}
}  // namespace strings_internal

// Any mix of strings, views and numbers.
template <typename... T>
std::string str_cat(const T&... parts) {
  return absl::StrCat(strings_internal::piece(parts)...);
}

template <typename... T>
void str_append(std::string* out, const T&... parts) {
  absl::StrAppend(out, strings_internal::piece(parts)...);
}

// The whole text as a decimal integer without sign prefix '+' or spaces; nullopt when it is not one or does
// not fit.
template <typename Int>
std::optional<Int> parse_integer(std::string_view text, int base = 10) {
  Int value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace weft
