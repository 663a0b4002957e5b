// Fuzz target of the HTTP/1 codec: heads, bodies, serialiser. Besides crashes it looks for ambiguity: how bytes arrive must not
// change what they mean, and what we forward must read back with the same framing.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "userspace-proxy/http/body_decoder.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/protocol_detect.h"

namespace weft::proxy {
namespace {

struct Read {
  ParseResult result = ParseResult::kNeedMore;
  size_t consumed = 0;
};

Read read_head(std::string_view bytes, size_t step, HeadText* text) {
  Read read;
  while (read.consumed < bytes.size() && read.result == ParseResult::kNeedMore) {
    size_t consumed = 0;
    read.result = text->feed(bytes.substr(read.consumed, step), 8192, &consumed);
    read.consumed += consumed;
    if (consumed == 0) break;
  }
  return read;
}

void require(bool condition) {
  if (!condition) std::abort();
}

void check_request(std::string_view text) {
  RequestHead head;
  if (parse_request(text, &head) != ParseResult::kComplete) return;
  std::string out;
  write_request_head(head, RequestForm{.fallback_host = "fallback", .upgrade = wants_upgrade(head)}, &out);
  HeadText again_text;
  const Read again_read = read_head(out, out.size(), &again_text);
  require(again_read.result == ParseResult::kComplete && again_read.consumed == out.size());
  RequestHead again;
  require(parse_request(again_text.text(), &again) == ParseResult::kComplete);
  require(again.method == head.method && again.target == head.target);
  require(again.body == head.body && again.content_length == head.content_length);
}

void check_response(std::string_view text) {
  ResponseHead head;
  if (parse_response(text, false, &head) != ParseResult::kComplete) return;
  std::string out;
  write_response_head(head, ResponseForm{.chunked = head.body == BodyKind::kChunked}, &out);
  HeadText again_text;
  require(read_head(out, out.size(), &again_text).result == ParseResult::kComplete);
  ResponseHead again;
  require(parse_response(again_text.text(), false, &again) == ParseResult::kComplete);
  require(again.status == head.status && again.body == head.body && again.content_length == head.content_length);
}

std::string decode(std::string_view bytes, size_t step, BodyDecoder* decoder) {
  decoder->start(BodyKind::kChunked, 0);
  std::string payload;
  size_t at = 0;
  while (at < bytes.size() && decoder->state() == BodyDecoder::State::kMore) {
    const BodyDecoder::Step taken = decoder->next(bytes.substr(at, step));
    payload.append(taken.data);
    at += taken.consumed;
  }
  return payload;
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::proxy;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  detect_protocol(bytes);
  HeadText whole, torn;
  const Read read = read_head(bytes, bytes.size() + 1, &whole);
  const Read read_torn = read_head(bytes, 1, &torn);
  require(read.result == read_torn.result || read.result == ParseResult::kTooLarge);
  if (read.result == ParseResult::kComplete) {
    require(read.consumed == read_torn.consumed && whole.text() == torn.text());
    check_request(whole.text());
    check_response(whole.text());
  }
  const std::string_view body = bytes.substr(read.result == ParseResult::kComplete ? read.consumed : 0);
  BodyDecoder at_once, by_byte;
  const std::string payload = decode(body, body.size() + 1, &at_once);
  const std::string payload_by_byte = decode(body, 1, &by_byte);
  require(at_once.state() == by_byte.state());
  require(payload == payload_by_byte && at_once.trailers() == by_byte.trailers());
  return 0;
}
