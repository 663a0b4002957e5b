// HTTP/2 heads to the heads the exchange works with, by the rules of RFC 9113 §8.2-8.3: pseudo-fields become
// method, target and authority, cookie crumbs are joined, and what could be read otherwise by an HTTP/1 hop
// is refused. nghttp2 has checked most of it before; what would split or smuggle a message is checked again
// here, whatever the library's version. No I/O. Called by the stream when a head is complete.
#pragma once

#include <cstdint>
#include <string_view>

#include "userspace-proxy/http/field_block.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/message.h"

namespace weft::proxy {

// kComplete, kBad or kTooLarge. Views point into `block`, which gains joined text. A request that opens a
// tunnel has no body: CONNECT, or GET with a `protocol`.
// `end_stream`: the head came with END_STREAM, so there is no body. A body of unknown length is kChunked:
// that is how an HTTP/1 hop will frame it. Host is not among the head's fields when :authority was there.
ParseResult make_request(FieldBlock& block, bool end_stream, RequestHead* head);

// Also of an interim response, whose status says so. kComplete, kBad or kTooLarge.
ParseResult make_response(FieldBlock& block, bool end_stream, bool request_was_head, ResponseHead* head);

// Fields of a trailer section that may be forwarded (RFC 9110 §6.5.1), as views of the block. False when it
// is none: too large, or with fields that no HTTP/2 message may carry.
bool make_trailers(const FieldBlock& block, PooledVector<Header>* trailers);

// A field name as HTTP/2 carries it: token, no upper case (RFC 9113 §8.2.1).
bool is_http2_name(std::string_view name);
// No NUL, CR or LF, and no white space around.
bool is_http2_value(std::string_view value);

}  // namespace weft::proxy
