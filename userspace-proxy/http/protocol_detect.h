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

// For a port that is declared to speak HTTP: only what cannot be an HTTP/1 request line (RFC 9112 §3: a
// token, then a space) nor the preface of HTTP/2 passes through, so an unusual method is still routed. That
// leaves binary protocols such as TLS. A malformed request is HTTP and gets its 400.
Detected detect_declared_http(std::string_view first_bytes);

}  // namespace weft::proxy
