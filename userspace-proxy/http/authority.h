// Host and :authority values: what may name a host, checked once where a head is made. Pure functions on
// strings, whatever the HTTP version. Any thread.
#pragma once

#include <string_view>

namespace weft::proxy {

// uri-host [":" port] of RFC 9110 §7.2 for a scheme that has hosts, so never empty (RFC 9110 §4.2.1): a
// registered name, an IPv4 address or an IPv6 address in brackets, and a port of 0-65535 or none after ":".
// Stricter than the grammar where readers differ: no percent escapes, no ",", at most 255 bytes of name.
bool valid_authority(std::string_view authority);

// The same authority of an http URI, both valid: the case of letters does not count, nor does ":80" (RFC 9110
// §4.2.3).
bool same_authority(std::string_view a, std::string_view b);

}  // namespace weft::proxy
