// IpRange: the addresses that share a prefix, as manifests and policies name them. A range belongs to one
// family: 0.0.0.0/0 holds no IPv6 address and ::/0 no IPv4 address.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/address.h"

namespace weft {

struct IpRange {
  // As written: the bits behind the prefix may be set and do not count.
  IpAddress ip;
  // Bits of the prefix within the family: 0 to 32, or 0 to 128.
  uint32_t length = 0;

  bool contains(const IpAddress& address) const;

  // "10.0.0.0/8", "fd00::/8", or one address, which is a range of itself. nullopt for anything else; also for
  // IPv4 in IPv6 spelling, whose length could be meant either way.
  static std::optional<IpRange> parse(std::string_view text);
  // 4 or 16 bytes and a length of that many bits, as istio.security.Address carries them; nullopt when the
  // length is longer than the address. A range of mapped IPv4 addresses becomes one of IPv4 addresses.
  static std::optional<IpRange> from_packed(std::string_view bytes, uint32_t length);

  auto operator<=>(const IpRange&) const = default;
};

}  // namespace weft
