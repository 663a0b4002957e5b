// Where a body ends: counts a fixed length, takes chunked coding apart (RFC 9112 §7.1, strictly), or goes on until the
// connection closes. Sans I/O; hands out views of its input. Used by the pump, once per body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "userspace-proxy/http/message.h"

namespace weft::proxy {

class BodyDecoder {
 public:
  enum class State : uint8_t { kMore, kDone, kBad };
  struct Step {
    size_t consumed = 0;
    std::string_view data;  // payload, a view of the input; may be empty
  };

  void start(BodyKind kind, uint64_t length);
  State state() const { return state_; }
  // Takes a prefix of `in` that holds at most one run of payload.
  Step next(std::string_view in);
  // The connection's input ended: kDone where that ends the body, kBad otherwise.
  State end_of_stream();
  // Trailer lines fit to forward, each with CRLF; complete when the state is kDone.
  std::string_view trailers() const { return trailers_; }

 private:
  enum class Phase : uint8_t { kSize, kExtension, kSizeEnd, kData, kDataCr, kDataLf, kTrailer };
  static constexpr size_t kMaxTrailerBytes = 8 * 1024;
  static constexpr uint32_t kMaxExtensionBytes = 4 * 1024;

  Step take_payload(std::string_view in);
  void chunk_byte(char c);
  void size_byte(char c);
  void trailer_byte(char c);
  void end_trailer_line();
  void bad() { state_ = State::kBad; }

  State state_ = State::kDone;
  BodyKind kind_ = BodyKind::kNone;
  Phase phase_ = Phase::kSize;
  uint64_t left_ = 0;             // payload bytes of the body or of this chunk
  uint32_t size_digits_ = 0;
  uint32_t extension_bytes_ = 0;  // over the whole body
  size_t trailer_line_ = 0;       // where the current line starts in trailers_
  size_t trailer_bytes_ = 0;
  std::string trailers_;
};

}  // namespace weft::proxy
