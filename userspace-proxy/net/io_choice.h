// Which backend the process uses. io_uring is refused in many places (old kernels, the sysctl
// kernel.io_uring_disabled, seccomp profiles of container runtimes), so its features are tried for real,
// once, at start. Used by Proxy and by tests; main thread.
#pragma once

#include "absl/status/statusor.h"
#include "userspace-proxy/net/io_kind.h"

namespace weft::proxy {

enum class IoChoice : uint8_t { kAuto, kUring, kEpoll };

// Accepts, receives and sends a few bytes over io_uring: OK when it works here, else what is refused.
absl::Status try_uring();

// kAuto: io_uring where it works, else epoll, with a log line that says why. kUring: the status of
// try_uring() when it does not work.
absl::StatusOr<IoKind> choose_io(IoChoice choice);

}  // namespace weft::proxy
