// HTTP/1 heads from bytes: HeadText collects one head and refuses bad line structure, parse_request and
// parse_response turn it into views of it, by the strict grammar and the framing rules of RFC 9112. No I/O.
// Called by the exchange; a smuggled message must die here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

inline constexpr size_t kMaxHeaders = 128;

enum class ParseResult : uint8_t { kNeedMore, kComplete, kBad, kTooLarge, kNotImplemented };

// The bytes of one head, from start line to empty line. Every line ends in CRLF; bare CR, bare LF, NUL,
// other controls but the tab, and folded lines are refused here, because parsers disagree about them.
class HeadText {
 public:
  // Takes bytes until the head is complete; `*consumed` of them are used and what follows is body or the next
  // message.
  ParseResult feed(std::string_view in, size_t max_bytes, size_t* consumed);
  void clear();

  std::string_view text() const { return text_; }
  bool started() const { return !text_.empty(); }
  // Gives memory of an unusually large head back.
  void shrink(size_t limit);

 private:
  bool take_whole(std::string_view in, size_t max_bytes, size_t* consumed);
  ParseResult end_line();

  std::string text_;
  size_t line_start_ = 0;
  size_t lines_ = 0;
  size_t blank_lines_ = 0;
};

// kComplete, kBad, kTooLarge or kNotImplemented. The views in `head` point into `text`, which is a
// HeadText's.
ParseResult parse_request(std::string_view text, RequestHead* head);

// What the request decides about its response: HEAD has no body (RFC 9110 §9.3.2).
ParseResult parse_response(std::string_view text, bool request_was_head, ResponseHead* head);

// True when the comma-separated list holds the token, case ignored.
bool has_token(std::string_view list, std::string_view token);

// "Upgrade: x" together with "Connection: upgrade", for a protocol we tunnel; h2c is none (it would escape
// our parsing).
bool wants_upgrade(const RequestHead& head);

}  // namespace weft::proxy
