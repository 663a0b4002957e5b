// Two HTTP/2 sessions that talk to each other in memory, or one and a hand that writes frames. For the tests
// of Http2Session.
#pragma once

#include <nghttp2/nghttp2.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "userspace-proxy/http/http2_head.h"
#include "userspace-proxy/http/http2_session.h"

namespace weft::proxy {

// Keeps what its stream was told.
class RecordingStream final : public Http2Stream {
 public:
  void head_received(FieldBlock& block, bool last) override {
    heads.emplace_back();
    std::swap(heads.back(), block);
    ended = ended || last;
  }
  void trailers_received(FieldBlock& block) override {
    for (size_t i = 0; i < block.size(); ++i)
      trailers += std::string(block[i].name) + "=" + std::string(block[i].value) + ";";
    ended = true;
  }
  void data_received(std::string_view bytes) override { body += bytes; }
  void end_received() override { ended = true; }
  void payload_taken() override { ++taken; }
  void stream_closed(Http2StreamEnd end) override { closed.push_back(end); }

  std::string field(size_t head, std::string_view name) const { return std::string(heads[head].find(name)); }

  std::deque<FieldBlock> heads;
  std::string body, trailers;
  bool ended = false;
  int taken = 0;
  size_t credited = 0;  // of the body
  std::vector<Http2StreamEnd> closed;
};

class Peer : public Http2Session::Owner {
 public:
  explicit Peer(Http2Session::Role role, const Http2Limits& its_limits = Http2Limits())
      : limits(its_limits), session(std::make_unique<Http2Session>(role, limits, *this)) {}

  Http2Stream* new_stream(size_t) override {
    if (refusing) return nullptr;
    return &streams.emplace_back();
  }
  void settings_received() override { ++settings; }
  void goaway_received() override { ++goaways; }
  void ping_acknowledged() override { ++pongs; }

  // What it has to say now; payload included.
  std::string said() {
    std::string bytes;
    Http2Output out(copy_up_to);
    do {
      out.clear();
      session->output(now, &out);
      for (const iovec& piece : out.pieces())
        bytes.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    } while (!out.empty());
    return bytes;
  }
  Http2Fault hears(std::string_view bytes) { return session->receive(now, bytes); }
  RecordingStream& stream(size_t index) { return streams[index]; }

  const Http2Limits limits;
  MonotonicNs now = kNsPerSecond;
  size_t copy_up_to = 0;
  bool refusing = false;
  int settings = 0, goaways = 0, pongs = 0;
  std::deque<RecordingStream> streams;
  std::unique_ptr<Http2Session> session;
};

// Until neither has anything to say.
inline void talk(Peer& a, Peer& b) {
  for (int i = 0; i < 1000; ++i) {
    const std::string from_a = a.said();
    b.hears(from_a);
    const std::string from_b = b.said();
    a.hears(from_b);
    if (from_a.empty() && from_b.empty()) return;
  }
}

inline Http2Fields request_fields(std::string_view method = "GET", std::string_view path = "/") {
  Http2Fields fields;
  fields.add(":method", method);
  fields.add(":scheme", "http");
  fields.add(":authority", "shop");
  fields.add(":path", path);
  return fields;
}

inline Http2Fields response_fields(std::string_view status = "200") {
  Http2Fields fields;
  fields.add(":status", status);
  return fields;
}

inline iovec piece(std::string_view text) { return iovec{const_cast<char*>(text.data()), text.size()}; }

// A frame as any peer may write it (RFC 9113 §4.1).
inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string bytes;
  for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(payload.size() >> shift));
  bytes.push_back(static_cast<char>(type));
  bytes.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(stream >> shift));
  return bytes.append(payload);
}

inline std::string u32(uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

// Literal fields without indexing and without Huffman coding (RFC 7541 §6.2.2).
inline std::string literal(std::string_view name, std::string_view value) {
  std::string bytes(1, '\0');
  for (const std::string_view text : {name, value}) {
    // Lengths below 127 only, or two bytes of the integer code.
    if (text.size() < 127) {
      bytes.push_back(static_cast<char>(text.size()));
    } else {
      bytes.push_back(0x7f);
      size_t rest = text.size() - 127;
      for (; rest >= 128; rest /= 128) bytes.push_back(static_cast<char>(rest % 128 + 128));
      bytes.push_back(static_cast<char>(rest));
    }
    bytes.append(text);
  }
  return bytes;
}

inline std::string request_block(std::string_view method = "GET", std::string_view path = "/") {
  return literal(":method", method) + literal(":scheme", "http") + literal(":authority", "shop") +
         literal(":path", path);
}

inline std::string preface() { return NGHTTP2_CLIENT_MAGIC + frame(NGHTTP2_SETTINGS, 0, 0); }

inline constexpr uint8_t kEnd = NGHTTP2_FLAG_END_STREAM;
inline constexpr uint8_t kEndHeaders = NGHTTP2_FLAG_END_HEADERS;

// Codes of the GOAWAY and RST_STREAM frames in a stretch of frames.
struct Endings {
  std::vector<uint32_t> goaways, resets;
  std::string goaway_text;
};

inline Endings endings_in(std::string_view bytes) {
  Endings endings;
  const auto number = [&](size_t at, size_t count) {
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
    return value;
  };
  while (bytes.size() >= 9) {
    const size_t length = number(0, 3);
    const auto type = static_cast<uint8_t>(bytes[3]);
    if (type == NGHTTP2_RST_STREAM) endings.resets.push_back(number(9, 4));
    if (type == NGHTTP2_GOAWAY) {
      endings.goaways.push_back(number(13, 4));
      endings.goaway_text = bytes.substr(17, length - 8);
    }
    bytes.remove_prefix(9 + length);
  }
  return endings;
}

}  // namespace weft::proxy
