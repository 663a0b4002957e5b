// Reason phrases of the registered status codes (RFC 9110 §15 and the registry of HTTP status codes). For
// responses of our own, and of servers that sent none: HTTP/2 has none, and some HTTP/1 clients count only
// responses that have one. Any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::proxy {

// Empty for a code that is not registered.
std::string_view reason_phrase(uint16_t status);

}  // namespace weft::proxy
