// See server_text.h.
#include "control-plane/kubernetes/server_text.h"

#include <algorithm>

#include "base/printable.h"

namespace weft::control_plane {

std::string server_text(std::string_view text, size_t limit) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return printable(text.substr(0, text.find_first_of("\r\n")), limit);
}

}  // namespace weft::control_plane
