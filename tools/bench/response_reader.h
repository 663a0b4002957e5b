// Incremental reader of HTTP/1.1 responses for the load generator: status, one wanted header, the start of
// the body, and where the response ends. It does no I/O and trusts nobody, but it is a client for tests: it
// never handles pipelining or upgrades.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::bench {

class ResponseReader {
 public:
  enum class State { kHead, kFixedBody, kChunkSize, kChunkData, kTrailer, kUntilClose, kDone, kBad };

  // `wanted_header` in lower case; empty: none.
  explicit ResponseReader(std::string wanted_header = {}) : wanted_header_(std::move(wanted_header)) {}

  // Eats bytes of one response; bytes after its end make it kBad.
  State feed(std::string_view bytes);
  // The peer closed: completes a response that lasts until close.
  State end_of_stream();
  void reset();

  State state() const { return state_; }
  bool started() const { return started_; }
  int status() const { return status_; }
  bool keep_alive() const { return keep_alive_; }
  uint64_t body_bytes() const { return body_bytes_; }
  const std::string& header_value() const { return header_value_; }
  // At most 256 bytes.
  const std::string& body_start() const { return body_start_; }

 private:
  std::string_view feed_head(std::string_view bytes);
  bool parse_head();
  bool parse_field(std::string_view line);
  std::string_view feed_fixed(std::string_view bytes, State next);
  std::string_view feed_line(std::string_view bytes, bool* complete);
  std::string_view feed_chunk_size(std::string_view bytes);
  std::string_view feed_trailer(std::string_view bytes);
  void take_body(std::string_view bytes);

  std::string wanted_header_;
  State state_ = State::kHead;
  bool started_ = false;
  std::string line_;  // the head so far, or the chunk line so far
  int status_ = 0;
  bool keep_alive_ = true;
  bool chunked_ = false;
  bool has_length_ = false;
  uint64_t remaining_ = 0;
  uint64_t body_bytes_ = 0;
  std::string header_value_;
  std::string body_start_;
};

}  // namespace weft::bench
