// The authority grammar of authority.h.
#include "userspace-proxy/http/authority.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "userspace-proxy/http/message.h"

namespace weft::proxy {
namespace {

// RFC 1035 §2.3.4.
constexpr size_t kMaxNameBytes = 255;

// unreserved and sub-delims of RFC 3986 §3.2.2 but ",": a list of hosts to some readers.
bool is_name_char(char c) {
  const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return alnum || std::string_view("-._~!$&'()*+;=").find(c) != std::string_view::npos;
}

// What follows the host: nothing, or ":" and digits.
bool valid_port(std::string_view rest) {
  if (rest.empty() || rest == ":") return true;
  return rest.front() == ':' && rest.size() <= 6 && parse_integer<uint16_t>(rest.substr(1)).has_value();
}

std::string_view without_default_port(std::string_view authority) {
  constexpr std::string_view kPort = ":80";
  return authority.ends_with(kPort) ? authority.substr(0, authority.size() - kPort.size()) : authority;
}

bool valid_ipv6(std::string_view address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.size() >= text.size() || address.find('\0') != std::string_view::npos) return false;
  std::copy(address.begin(), address.end(), text.begin());
  in6_addr parsed{};
  return inet_pton(AF_INET6, text.data(), &parsed) == 1;
}

}  // namespace

bool valid_authority(std::string_view authority) {
  if (authority.empty()) return false;
  if (authority.front() == '[') {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return false;
    return valid_ipv6(authority.substr(1, end - 1)) && valid_port(authority.substr(end + 1));
  }
  const size_t colon = authority.find(':');
  const std::string_view name = authority.substr(0, colon);
  if (name.empty() || name.size() > kMaxNameBytes || !std::all_of(name.begin(), name.end(), is_name_char))
    return false;
  return colon == std::string_view::npos || valid_port(authority.substr(colon));
}

bool same_authority(std::string_view a, std::string_view b) {
  return equals_ignore_case(without_default_port(a), without_default_port(b));
}

}  // namespace weft::proxy
