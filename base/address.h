// IpAddress and SocketAddress: 16-byte addresses with IPv4 held as ::ffff:a.b.c.d, so v4, v6 and v4-mapped
// compare equal where the kernel treats them as equal. The BPF maps use the same form (bpf/abi).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

struct IpAddress {
  std::array<uint8_t, 16> bytes{};

  bool is_v4() const;
  bool is_loopback() const;
  // "10.0.0.1" or "fd00::1"; never the mapped spelling.
  std::string to_string() const;
  // The 4 or 16 wire bytes, as istio.workload.Workload.addresses carries them.
  std::string packed() const;

  static std::optional<IpAddress> parse(std::string_view text);
  // 4 or 16 bytes; anything else is nullopt.
  static std::optional<IpAddress> from_packed(std::string_view bytes);

  auto operator<=>(const IpAddress&) const = default;
};

struct SocketAddress {
  IpAddress ip;
  uint16_t port = 0;  // host byte order

  // "10.0.0.1:80" or "[fd00::1]:80".
  std::string to_string() const;
  // Fills a sockaddr_in for IPv4, a sockaddr_in6 otherwise, and returns its length.
  socklen_t to_sockaddr(sockaddr_storage* out) const;

  static std::optional<SocketAddress> parse(std::string_view text);
  static std::optional<SocketAddress> from_sockaddr(const sockaddr* address);

  auto operator<=>(const SocketAddress&) const = default;

  template <typename H>
  friend H AbslHashValue(H h, const SocketAddress& a) {
    return H::combine(std::move(h), a.ip.bytes, a.port);
  }
};

}  // namespace weft
