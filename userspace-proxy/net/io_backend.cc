// Opens the backend that was chosen.
#include "userspace-proxy/net/io_backend.h"

#include "userspace-proxy/net/epoll_backend.h"
#include "userspace-proxy/net/uring_backend.h"

namespace weft::proxy {

absl::StatusOr<std::unique_ptr<IoBackend>> IoBackend::open(IoKind kind, IntrusiveList<Operation>& completed,
                                                           BufferPool& buffers) {
  if (kind == IoKind::kUring) return UringBackend::open(completed, buffers);
  return EpollBackend::open(completed);
}

}  // namespace weft::proxy
