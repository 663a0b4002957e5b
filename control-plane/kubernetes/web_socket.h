// WebSocket (RFC 6455) as a client speaks it: the handshake's key, and frames. Pure; pod_exec.h moves the
// bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft::control_plane {

enum class FrameKind : uint8_t { kContinued = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// Of a request's Sec-WebSocket-Key: 16 random bytes in base64.
std::string web_socket_key();
// What the server must answer in Sec-WebSocket-Accept.
std::string web_socket_accept(std::string_view key);

// A whole message in one frame, masked with `mask`, as clients must.
void append_frame(FrameKind kind, std::string_view payload, uint32_t mask, std::string& out);

// The server's messages out of its bytes; fragments are put together.
class FrameReader {
 public:
  // A message at the most.
  static constexpr size_t kMaxMessage = 16u << 20;
  struct Message {
    FrameKind kind = FrameKind::kBinary;
    std::string payload;
  };

  void feed(std::string_view bytes) { input_.append(bytes); }
  // nullopt: more bytes are needed. InvalidArgument: they are no frames, nothing more can be read.
  absl::StatusOr<std::optional<Message>> next();

 private:
  std::string input_;
  size_t used_ = 0;  // of it
  std::optional<Message> begun_;
};

}  // namespace weft::control_plane
