// Messages with file descriptors over a SOCK_SEQPACKET Unix socket (SCM_RIGHTS, unix(7)). One packet = one
// message.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft {

// Largest payload of one packet in bytes, and most descriptors in one packet.
inline constexpr size_t kMaxPacketBytes = 64 * 1024;
inline constexpr size_t kMaxPacketFds = 64;

struct FdMessage {
  std::string payload;
  std::vector<UniqueFd> fds;
};

// Sends one packet; blocks unless the socket is non-blocking. The descriptors are duplicated by the kernel
// and stay the caller's. kUnavailable when the peer is gone or a non-blocking socket is full.
absl::Status send_with_fds(int socket, std::string_view payload, std::span<const int> fds);

// Receives one packet; every received descriptor is close-on-exec. kOutOfRange at end of stream, kUnavailable
// when a non-blocking socket has nothing, kDataLoss when the packet or its descriptors did not fit.
absl::StatusOr<FdMessage> receive_with_fds(int socket);

}  // namespace weft
