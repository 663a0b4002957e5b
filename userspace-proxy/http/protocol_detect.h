// Which protocol a client speaks, from its first bytes. Called by the session for ports whose protocol nobody
// declared.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::proxy {

enum class Detected : uint8_t { kNeedMore, kHttp1, kHttp2, kOther };

// HTTP/1 is a known method and a space; HTTP/2 is its preface, for clients with prior knowledge (RFC 9113
// §3.3-3.4).
Detected detect_protocol(std::string_view first_bytes);

// For a port that is declared to speak HTTP: only binary protocols such as TLS pass through unparsed, told by
// their first byte. The preface is HTTP/2 (RFC 9113 §3.4); everything else is HTTP/1, however malformed, and
// gets its 400: a lenient server might make a request of what we would let pass as no HTTP.
Detected detect_declared_http(std::string_view first_bytes);

}  // namespace weft::proxy
