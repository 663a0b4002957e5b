// "did you mean": the nearest of a list of known words, for errors about unknown fields, flags and names.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weft {

// The candidate with the smallest edit distance to `word`, case ignored; nullopt when none is close
// (distance > 2 and > a third of the word).
std::optional<std::string> nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace weft
