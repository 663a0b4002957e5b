// Fuzz target of Http2Session, server and client role. Besides crashes it looks for what may never be: memory
// beyond the limits, a request head that does not read back as one HTTP/1 request, a session that fails
// without GOAWAY. The first byte chooses the role, how the bytes are cut and how much
// of a head is decoded at a time.
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <string>

#include "userspace-proxy/http/http1_writer.h"
#include "userspace-proxy/http/http2_head.h"
#include "userspace-proxy/http/http2_session.h"

namespace weft::proxy {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

// What we would send to an HTTP/1 server reads back as the same single request.
void check_request(const RequestHead& head) {
  std::string out;
  write_request_head(head, RequestForm{.fallback_host = "fallback"}, &out);
  HeadText text;
  size_t consumed = 0;
  const ParseResult fed = text.feed(out, 1024 * 1024, &consumed);
  // A head of many fields may be refused, but never ends early.
  if (fed == ParseResult::kTooLarge) return;
  require(fed == ParseResult::kComplete && consumed == out.size());
  RequestHead again;
  if (parse_request(text.text(), &again) != ParseResult::kComplete) return;
  require(again.method == head.method && again.target == head.target);
  // "Content-Length: 0" before an empty last frame is no body to HTTP/1.
  const bool empty = head.body == BodyKind::kLength && head.content_length == 0;
  require(again.body == (empty ? BodyKind::kNone : head.body));
  require(again.content_length == head.content_length);
}

class Stream final : public Http2Stream {
 public:
  void head_received(FieldBlock& block, bool last) override {
    std::swap(block_, block);
    RequestHead request;
    if (make_request(block_, last, &request) == ParseResult::kComplete) check_request(request);
    ResponseHead response;
    make_response(block_, last, false, &response);
    PooledVector<Header> trailers;
    make_trailers(block_, &trailers);
  }
  void trailers_received(FieldBlock& block) override { std::swap(block_, block); }
  void data_received(std::string_view bytes) override { due += static_cast<uint32_t>(bytes.size()); }
  void end_received() override {}
  void payload_taken() override {}
  void stream_closed(Http2StreamEnd) override {}

  uint32_t due = 0;

 private:
  FieldBlock block_;
};

class Run final : public Http2Session::Owner {
 public:
  Run(Http2Session::Role role, uint32_t decoded_at_once)
      : limits_{.decoded_at_once = decoded_at_once}, session_(role, limits_, *this) {
    if (role == Http2Session::Role::kServer) {
      hear("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
      return;
    }
    Http2Fields fields;
    for (const auto& [name, value] : {std::pair(":method", "GET"), std::pair(":scheme", "http"),
                                      std::pair(":authority", "a"), std::pair(":path", "/")})
      fields.add(name, value);
    for (int i = 0; i < 4; ++i) session_.send_request(streams_.emplace_back(), fields, i % 2 == 0);
  }

  Http2Stream* new_stream(size_t) override { return &streams_.emplace_back(); }
  void settings_received() override {}
  void goaway_received() override {}
  void ping_acknowledged() override {}

  void hear(std::string_view bytes) {
    now_ += kNsPerMs;
    do {
      session_.receive(now_, bytes);
      bytes.remove_prefix(session_.taken());
    } while (session_.paused());
    require(bytes.empty());
    answer();
    speak();
    require(session_.memory_in_use() <=
            limits_.max_library_bytes + limits_.max_held_head_bytes + 2 * limits_.max_head_bytes + 64 * 1024);
    if (session_.fault() != Http2Fault::kNoFault) require(session_.done() && said_goaway_);
  }

 private:
  void answer() {
    for (Stream& stream : streams_) {
      if (!stream.attached()) continue;
      if (stream.due > 0) session_.accepted(stream, stream.due);
      stream.due = 0;
      if (session_.role() == Http2Session::Role::kClient || answered_ >= stream.id()) continue;
      answered_ = stream.id();
      Http2Fields fields;
      fields.add_status(200);
      session_.send_response(stream, fields, false);
      session_.offer(stream, std::span<const iovec>(&body_, 1), true, {});
    }
  }
  void speak() {
    Http2Output out(64);
    do {
      out.clear();
      session_.output(now_, &out);
      for (const iovec& piece : out.pieces()) {
        const std::string_view text(static_cast<const char*>(piece.iov_base), piece.iov_len);
        // Type of the first frame of a piece of frames is not enough: GOAWAY may follow others.
        for (size_t i = 0; i + 1 < text.size(); ++i) said_goaway_ = said_goaway_ || text[i] == '\x07';
      }
    } while (!out.empty());
  }

  const Http2Limits limits_;
  MonotonicNs now_ = kNsPerSecond;
  const iovec body_{const_cast<char*>("response body"), 13};
  int32_t answered_ = 0;
  bool said_goaway_ = false;
  std::deque<Stream> streams_;
  Http2Session session_;
};

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using weft::proxy::Http2Session;
  if (size == 0) return 0;
  weft::proxy::Run run((data[0] & 1) != 0 ? Http2Session::Role::kClient : Http2Session::Role::kServer,
                       (data[0] & 4) != 0 ? 100 : 0);
  const size_t step = (data[0] & 2) != 0 ? 7 : size;
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  while (!rest.empty()) {
    run.hear(rest.substr(0, step));
    rest.remove_prefix(std::min(step, rest.size()));
  }
  return 0;
}
