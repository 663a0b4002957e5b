// Which bytes after a head belong to it, as its fields say (RFC 9112 §6). Called by the HTTP/1 head parsers;
// the one place where Content-Length and Transfer-Encoding are read.
#pragma once

#include <cstdint>
#include <vector>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

struct Framing {
  enum class Kind : uint8_t {
    kNone,     // neither field
    kLength,   // one Content-Length
    kChunked,  // one Transfer-Encoding that is exactly "chunked"
    // "chunked" over another coding: delimited, but not for us to take off (501).
    kOtherCoding,
    kBad,  // both fields, one of them twice, or a value that could be read in two ways
  };
  Kind kind = Kind::kNone;
  uint64_t length = 0;  // of kLength, at most 2^62: positions stay free of overflow

  bool has_content() const { return kind != Kind::kNone && (kind != Kind::kLength || length > 0); }
};

// RFC 9112 §6.1-6.3, the strict reading. "Content_Length" and "Transfer_Encoding" are bad, too: gateways that
// hand fields on as variables (CGI, RFC 3875 §4.1.18) take them for the real ones.
Framing framing_of(const std::vector<Header>& headers);

}  // namespace weft::proxy
