// Words of somebody else as they may stand in logs, reports and on a terminal. Pure.
#pragma once

#include <string>
#include <string_view>

namespace weft {

// `text` with blanks for control characters (C0, DEL and C1: line ends and the escapes of a terminal among
// them), and "?" for what is no UTF-8: protobuf's strings take nothing else. At most `limit` bytes of it and
// no half character.
std::string printable(std::string_view text, size_t limit = std::string_view::npos);

}  // namespace weft
