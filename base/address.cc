// Parsing and printing; see address.h.
#include "base/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace weft {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

bool IpAddress::is_v4() const { return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin()); }

bool IpAddress::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  return std::all_of(bytes.begin(), bytes.end() - 1, [](uint8_t b) { return b == 0; }) && bytes[15] == 1;
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (is_v4()) {
    inet_ntop(AF_INET, bytes.data() + 12, text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, bytes.data(), text, sizeof(text));
  }
  return text;
}

std::string IpAddress::packed() const {
  const auto* begin = reinterpret_cast<const char*>(bytes.data());
  return is_v4() ? std::string(begin + 12, 4) : std::string(begin, 16);
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string z(text);
  IpAddress ip;
  in_addr v4{};
  if (inet_pton(AF_INET, z.c_str(), &v4) == 1) {
    return from_packed(std::string_view(reinterpret_cast<const char*>(&v4), 4));
  }
  if (inet_pton(AF_INET6, z.c_str(), ip.bytes.data()) == 1) return ip;
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::from_packed(std::string_view packed) {
  IpAddress ip;
  if (packed.size() == 4) {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), ip.bytes.begin());
    std::memcpy(ip.bytes.data() + 12, packed.data(), 4);
    return ip;
  }
  if (packed.size() != 16) return std::nullopt;
  std::memcpy(ip.bytes.data(), packed.data(), 16);
  return ip;
}

std::string SocketAddress::to_string() const {
  if (ip.is_v4()) return str_cat(ip.to_string(), ":", port);
  return str_cat("[", ip.to_string(), "]:", port);
}

socklen_t SocketAddress::to_sockaddr(sockaddr_storage* out) const {
  std::memset(out, 0, sizeof(*out));
  if (ip.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    std::memcpy(&v4->sin_addr, ip.bytes.data() + 12, 4);
    return sizeof(sockaddr_in);
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  std::memcpy(&v6->sin6_addr, ip.bytes.data(), 16);
  return sizeof(sockaddr_in6);
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const auto port = parse_integer<uint16_t>(text.substr(colon + 1));
  if (!port) return std::nullopt;
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto ip = IpAddress::parse(host);
  if (!ip || (!bracketed && host.find(':') != std::string_view::npos)) return std::nullopt;
  return SocketAddress{*ip, *port};
}

std::optional<SocketAddress> SocketAddress::from_sockaddr(const sockaddr* address) {
  SocketAddress out;
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    out.ip = *IpAddress::from_packed(std::string_view(reinterpret_cast<const char*>(&v4->sin_addr), 4));
    out.port = ntohs(v4->sin_port);
    return out;
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
  std::memcpy(out.ip.bytes.data(), &v6->sin6_addr, 16);
  out.port = ntohs(v6->sin6_port);
  return out;
}

}  // namespace weft
