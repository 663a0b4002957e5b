// Which addresses can be endpoints of a service. Pure.
#pragma once

#include <algorithm>

#include "base/address.h"

namespace weft::control_plane {

// Not loopback, unspecified or link-local: those are another machine, or none, for every client.
inline bool is_endpoint_address(const IpAddress& ip) {
  const auto& b = ip.bytes;
  const bool link_local = ip.is_v4() ? b[12] == 169 && b[13] == 254 : b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
  const auto begin = ip.is_v4() ? b.begin() + 12 : b.begin();
  const bool unspecified = std::all_of(begin, b.end(), [](uint8_t byte) { return byte == 0; });
  return !ip.is_loopback() && !link_local && !unspecified;
}

}  // namespace weft::control_plane
