// How `weft` prints: aligned tables of at most 120 columns, JSON, and YAML made from the same JSON. Pure;
// used by the commands.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace weft::cli {

using Json = nlohmann::ordered_json;

inline constexpr size_t kTableWidth = 120;

struct Table {
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};

// Two spaces between columns; what exceeds the width is cut from the last column and ends with "...". Cells
// are made printable (base/printable.h): what agents say is not for the terminal to act by.
std::string render_table(const Table& table);
// Each line of `text` printable, but for the colours of paint().
std::string printable_lines(std::string_view text);
std::string render_yaml(const Json& value);
// "812", "1.2K", "34M".
std::string bytes_text(uint64_t bytes);

enum class Colour { kNone, kGreen, kYellow, kRed };
std::string paint(const std::string& text, Colour colour, bool enabled);

}  // namespace weft::cli
