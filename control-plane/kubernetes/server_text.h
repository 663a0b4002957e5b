// Words of a server as they may stand in logs, reports and on a terminal. Pure.
#pragma once

#include <string>
#include <string_view>

namespace weft::control_plane {

inline constexpr size_t kMaxServerText = 512;

// The first line of `text`, printable (base/printable.h), at most `limit` bytes of it.
std::string server_text(std::string_view text, size_t limit = kMaxServerText);

}  // namespace weft::control_plane
