// Which protocol a client speaks, from its first bytes. Called by the session for ports whose protocol nobody declared.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::proxy {

enum class Detected : uint8_t { kNeedMore, kHttp1, kOther };

// HTTP/1 is a known method and a space. HTTP/2 with prior knowledge ("PRI * HTTP/2") is kOther: passed through unparsed.
Detected detect_protocol(std::string_view first_bytes);

}  // namespace weft::proxy
