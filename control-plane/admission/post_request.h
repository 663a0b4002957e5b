// One POST over HTTP/1.1 (RFC 9112), as an API server sends reviews: a head and a body of a length that the
// head says. Strict: whatever could be read in two ways is refused. Reads bytes as they come and keeps no
// more than the limits. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weft::control_plane {

class PostRequest {
 public:
  static constexpr size_t kMaxHead = 16 * 1024;
  enum class State : unsigned char { kHead, kBody, kDone, kRefused };

  explicit PostRequest(size_t max_body) : max_body_(max_body) {}

  // The next bytes of the connection; after kDone and kRefused they are not read. What follows the body is
  // refused: nobody sends a second request before the first is answered.
  State feed(std::string_view bytes);
  State state() const { return state_; }

  // Of kRefused: the status to answer with, 400 to 505.
  int status() const { return status_; }
  // Of kDone. The path is without its query.
  const std::string& path() const { return path_; }
  const std::string& body() const { return body_; }

 private:
  State refuse(int status);
  // The head is whole: everything before the empty line.
  State read_head(std::string_view head);
  bool read_line(std::string_view line);
  bool read_field(std::string_view line);
  bool read_length(std::string_view value);

  const size_t max_body_;
  State state_ = State::kHead;
  int status_ = 0;
  bool has_length_ = false;
  bool has_host_ = false;
  size_t length_ = 0;
  std::string head_;
  std::string path_;
  std::string body_;
};

}  // namespace weft::control_plane
