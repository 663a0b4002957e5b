// Fuzz target of the HTTP/1 codec: heads, bodies, serialiser. Besides crashes it looks for ambiguity: how
// bytes arrive must not change what they mean, what we forward must read back as the same message and be
// written the same way again, and whatever we accept, the strict reader of the framing tests reads alike.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/unit/proxy-engine/framing_reader.h"
#include "userspace-proxy/http/body_decoder.h"
#include "userspace-proxy/http/http1_head.h"
#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/path.h"
#include "userspace-proxy/http/protocol_detect.h"

namespace weft::proxy {
namespace {

constexpr size_t kMaxHead = 8192;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Read {
  ParseResult result = ParseResult::kNeedMore;
  size_t consumed = 0;
};

Read read_head(std::string_view bytes, size_t step, HeadText* text, size_t limit = kMaxHead) {
  Read read;
  while (read.consumed < bytes.size() && read.result == ParseResult::kNeedMore) {
    size_t consumed = 0;
    read.result = text->feed(bytes.substr(read.consumed, step), limit, &consumed);
    read.consumed += consumed;
    if (consumed == 0) break;
  }
  return read;
}

// Reads `out` again; it is one whole head.
void read_back(std::string_view out, HeadText* text) {
  const Read read = read_head(out, out.size(), text, 4 * kMaxHead);
  require(read.result == ParseResult::kComplete && read.consumed == out.size());
}

std::string written(const RequestHead& head) {
  std::string out;
  write_request_head(head, RequestForm{.fallback_host = "fallback", .upgrade = wants_upgrade(head)}, &out);
  return out;
}

std::string written(const ResponseHead& head) {
  std::string out;
  const bool chunked = head.body == BodyKind::kChunked || head.body == BodyKind::kUntilClose;
  write_response_head(head, ResponseForm{.chunked = chunked}, &out);
  return out;
}

// The strict reader, given the head and a body of the kind that we found, sees one whole request.
void check_reading(std::string_view text, const RequestHead& head) {
  std::string stream(text);
  if (head.content_length > kMaxHead) return;
  if (head.body == BodyKind::kLength) stream.append(head.content_length, 'x');
  if (head.body == BodyKind::kChunked) stream.append("1\r\nx\r\n0\r\n\r\n");
  const FramedStream read = read_framed(stream);
  require(read.end == FramedStream::End::kClean && read.requests.size() == 1);
  require(read.consumed == stream.size());
  const FramedRequest& request = read.requests.front();
  require(request.method == head.method && request.target == head.target);
  require(request.last != head.keep_alive);
  require(request.body.size() == (head.body == BodyKind::kChunked ? 1 : head.content_length));
}

void check_request(std::string_view text) {
  RequestHead head;
  if (parse_request(text, &head) != ParseResult::kComplete) return;
  check_reading(text, head);
  std::string target;
  if (!normalise_target(PathNormalisation::kDecodeAndMergeSlashes, &target, &head)) return;
  const std::string out = written(head);
  HeadText again_text;
  read_back(out, &again_text);
  RequestHead again;
  const ParseResult result = parse_request(again_text.text(), &again);
  // Ours may be one field more than a head may have: Host, or what hop-by-hop fields became.
  if (result == ParseResult::kTooLarge) return require(head.headers.size() + 3 > kMaxHeaders);
  require(result == ParseResult::kComplete);
  require(again.method == head.method && again.target == head.target);
  require(again.path == head.path && again.query == head.query);
  require(head.authority.empty() || equals_ignore_case(again.authority, head.authority));
  require(again.body == head.body && again.content_length == head.content_length);
  require(wants_upgrade(again) == wants_upgrade(head));
  require(written(again) == out);
}

void check_response(std::string_view text, bool to_head) {
  ResponseHead head;
  if (parse_response(text, to_head, &head) != ParseResult::kComplete) return;
  const std::string out = written(head);
  HeadText again_text;
  read_back(out, &again_text);
  ResponseHead again;
  const ParseResult result = parse_response(again_text.text(), to_head, &again);
  if (result == ParseResult::kTooLarge) return require(head.headers.size() + 3 > kMaxHeaders);
  require(result == ParseResult::kComplete);
  // A response without a reason phrase gets the usual one.
  require(again.status == head.status && (head.reason.empty() || again.reason == head.reason));
  require(again.body == (head.body == BodyKind::kUntilClose ? BodyKind::kChunked : head.body));
  require(again.content_length == head.content_length || head.status == 204);
  require(written(again) == out);
}

struct Decoded {
  BodyDecoder::State state = BodyDecoder::State::kMore;
  std::string payload, trailers;
  size_t consumed = 0;
};

Decoded decode(std::string_view bytes, size_t step) {
  BodyDecoder decoder;
  decoder.start(BodyKind::kChunked, 0);
  Decoded out;
  while (out.consumed < bytes.size() && decoder.state() == BodyDecoder::State::kMore) {
    const BodyDecoder::Step taken = decoder.next(bytes.substr(out.consumed, step));
    out.payload.append(taken.data);
    out.consumed += taken.consumed;
  }
  out.state = decoder.state();
  out.trailers = decoder.trailers();
  return out;
}

// As the pump writes a body: one chunk, the last chunk, the trailers.
std::string encode(const Decoded& body) {
  std::string out;
  if (!body.payload.empty()) {
    char size[20];
    out.assign(size, std::to_chars(size, size + sizeof(size), body.payload.size(), 16).ptr);
    out.append("\r\n").append(body.payload).append("\r\n");
  }
  return out.append("0\r\n").append(body.trailers).append("\r\n");
}

void check_chunked(std::string_view bytes) {
  const Decoded at_once = decode(bytes, bytes.size() + 1), by_byte = decode(bytes, 1);
  require(at_once.state == by_byte.state);
  require(at_once.payload == by_byte.payload && at_once.trailers == by_byte.trailers);
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  if (at_once.state != BodyDecoder::State::kDone) {
    require(read_framed(head + std::string(bytes)).requests.empty() ||
            at_once.state == BodyDecoder::State::kBad);
    return;
  }
  require(at_once.consumed == by_byte.consumed);
  const FramedStream read = read_framed(head + std::string(bytes.substr(0, at_once.consumed)));
  require(read.end == FramedStream::End::kClean && read.requests.size() == 1);
  require(read.requests.front().body == at_once.payload);
  const std::string out = encode(at_once);
  const Decoded again = decode(out, out.size());
  require(again.state == BodyDecoder::State::kDone && again.consumed == out.size());
  require(again.payload == at_once.payload && again.trailers == at_once.trailers);
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::proxy;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  detect_protocol(bytes);
  detect_declared_http(bytes);
  HeadText whole, torn;
  const Read read = read_head(bytes, bytes.size() + 1, &whole);
  const Read read_torn = read_head(bytes, 1, &torn);
  require(read.result == read_torn.result || read.result == ParseResult::kTooLarge);
  const bool complete = read.result == ParseResult::kComplete;
  if (complete) {
    require(read.consumed == read_torn.consumed && whole.text() == torn.text());
    check_request(whole.text());
    check_response(whole.text(), false);
    check_response(whole.text(), true);
  }
  check_chunked(bytes.substr(complete ? read.consumed : 0));
  return 0;
}
