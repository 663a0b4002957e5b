// Tables and YAML; see output.h. Called by the commands; writes to no stream itself.
#include "tools/weft/output.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>

#include "base/printable.h"

namespace weft::cli {
namespace {

constexpr std::string_view kGreenCode = "\033[32m", kYellowCode = "\033[33m", kRedCode = "\033[31m",
                           kPlainCode = "\033[0m";

// Columns, not bytes: continuation bytes of UTF-8 take no room.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cut(const std::string& text, size_t width) {
  if (width_of(text) <= width) return text;
  size_t columns = 0;
  size_t bytes = 0;
  const size_t room = width > 3 ? width - 3 : 0;
  while (bytes < text.size()) {
    if ((static_cast<unsigned char>(text[bytes]) & 0xc0) != 0x80 && columns++ == room) break;
    ++bytes;
  }
  return text.substr(0, bytes) + "...";
}

bool is_plain(const std::string& text) {
  if (text.empty() || text == "true" || text == "false" || text == "null" || text == "yes" || text == "no")
    return false;
  if (std::isalpha(static_cast<unsigned char>(text[0])) == 0 && text[0] != '/') return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
  });
}

std::string scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string text = value.get<std::string>();
  // A JSON string is a YAML double-quoted scalar.
  return is_plain(text) ? text : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void write_yaml(const Json& value, size_t indent, std::string* out) {
  const std::string pad(indent, ' ');
  if (value.is_array()) {
    for (const Json& item : value) {
      if (!item.is_structured() || item.empty()) {
        *out += pad + "- " + scalar(item) + "\n";
        continue;
      }
      std::string inner;
      write_yaml(item, indent + 2, &inner);
      inner[indent] = '-';
      *out += inner;
    }
    return;
  }
  for (const auto& [key, item] : value.items()) {
    *out += pad + scalar(Json(key)) + ":";
    if (item.is_structured() && !item.empty()) {
      *out += "\n";
      write_yaml(item, indent + 2, out);
    } else {
      *out += " " + scalar(item) + "\n";
    }
  }
}

}  // namespace

std::string printable_lines(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view codes[] = {"\n", kGreenCode, kYellowCode, kRedCode, kPlainCode};
    const auto code = std::find_if(std::begin(codes), std::end(codes),
                                   [text](std::string_view each) { return text.starts_with(each); });
    if (code != std::end(codes)) {
      out += *code;
      text.remove_prefix(code->size());
      continue;
    }
    // A character that begins no code is for printable() to judge.
    const size_t end = std::min(text.find_first_of("\n\033", 1), text.size());
    out += printable(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

std::string render_table(const Table& given) {
  Table table = given;
  for (auto& row : table.rows) {
    for (std::string& cell : row) cell = printable(cell);
  }
  std::vector<size_t> widths;
  for (const std::string& head : table.head) widths.push_back(width_of(head));
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], width_of(row[i]));
  }
  size_t used = 0;
  for (size_t i = 0; i + 1 < widths.size(); ++i) used += widths[i] + 2;
  const size_t last = used + 10 < kTableWidth ? kTableWidth - used : 10;
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const bool is_last = i + 1 == cells.size();
      text += is_last ? cut(cells[i], last) : cells[i] + std::string(widths[i] - width_of(cells[i]) + 2, ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + "\n";
  };
  line(table.head);
  for (const auto& row : table.rows) line(row);
  return out;
}

std::string render_yaml(const Json& value) {
  if (!value.is_structured() || value.empty()) return scalar(value) + "\n";
  std::string out;
  write_yaml(value, 0, &out);
  return out;
}

std::string paint(const std::string& text, Colour colour, bool enabled) {
  if (!enabled || colour == Colour::kNone) return text;
  const std::string_view code = colour == Colour::kGreen    ? kGreenCode
                                : colour == Colour::kYellow ? kYellowCode
                                                            : kRedCode;
  return std::string(code).append(text).append(kPlainCode);
}

std::string bytes_text(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"", "K", "M", "G", "T"};
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), unit != 0 && value < 9.95 ? "%.1f%s" : "%.0f%s", value, kUnits[unit]);
  return text;
}

}  // namespace weft::cli
