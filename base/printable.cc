// See printable.h.
#include "base/printable.h"

#include <algorithm>
#include <cstdint>

namespace weft {
namespace {

bool is_control(uint32_t character) { return character < 0x20 || (character >= 0x7f && character < 0xa0); }

// One character of UTF-8 (RFC 3629).
struct Character {
  size_t bytes = 0;  // 0: none begins here
  uint32_t value = 0;
};

Character first_of(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text.front());
  if (lead < 0x80) return {1, lead};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  uint32_t value = lead & (0x7fU >> bytes);
  for (const char c : text.substr(1, bytes - 1)) {
    if ((static_cast<uint8_t>(c) & 0xc0) != 0x80) return {};
    value = value << 6 | (static_cast<uint8_t>(c) & 0x3fU);
  }
  const bool longer_than_needed = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  if (longer_than_needed || surrogate || value > 0x10ffff) return {};
  return {bytes, value};
}

}  // namespace

std::string printable(std::string_view text, size_t limit) {
  std::string out;
  while (!text.empty()) {
    const Character next = first_of(text);
    const size_t bytes = std::max<size_t>(next.bytes, 1);
    const bool control = next.bytes > 0 && is_control(next.value);
    const std::string_view shown = next.bytes == 0 ? "?" : control ? " " : text.substr(0, bytes);
    if (out.size() + shown.size() > limit) break;
    out.append(shown);
    text.remove_prefix(bytes);
  }
  return out;
}

}  // namespace weft
