// Parsing and membership; see ip_range.h.
#include "base/ip_range.h"

#include <algorithm>

#include "base/strings.h"

namespace weft {
namespace {

constexpr uint32_t kMappedBits = 96;

uint32_t longest(const IpAddress& ip) { return ip.is_v4() ? 32 : 128; }

bool same_bits(const IpAddress& a, const IpAddress& b, uint32_t count) {
  const size_t whole = count / 8;
  if (!std::equal(a.bytes.begin(), a.bytes.begin() + whole, b.bytes.begin())) return false;
  const uint32_t rest = count % 8;
  return rest == 0 || (a.bytes[whole] ^ b.bytes[whole]) >> (8 - rest) == 0;
}

}  // namespace

bool IpRange::contains(const IpAddress& address) const {
  if (address.is_v4() != ip.is_v4()) return false;
  return same_bits(address, ip, length + (ip.is_v4() ? kMappedBits : 0));
}

std::optional<IpRange> IpRange::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view address = text.substr(0, slash);
  const auto ip = IpAddress::parse(address);
  if (!ip || (ip->is_v4() && address.find(':') != std::string_view::npos)) return std::nullopt;
  if (slash == std::string_view::npos) return IpRange{*ip, longest(*ip)};
  const std::string_view digits = text.substr(slash + 1);
  const auto length = parse_integer<uint32_t>(digits);
  if (!length || *length > longest(*ip) || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
  return IpRange{*ip, *length};
}

std::optional<IpRange> IpRange::from_packed(std::string_view bytes, uint32_t length) {
  const auto ip = IpAddress::from_packed(bytes);
  if (!ip || length > bytes.size() * 8) return std::nullopt;
  if (bytes.size() == 4 || !ip->is_v4()) return IpRange{*ip, length};
  if (length < kMappedBits) return std::nullopt;
  return IpRange{*ip, length - kMappedBits};
}

}  // namespace weft
