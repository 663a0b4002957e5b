// setns round trips of netns.h (setns(2), network_namespaces(7)).
#include "userspace-proxy/net/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::proxy {

absl::StatusOr<HomeNetns> HomeNetns::open() {
  UniqueFd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno_status("open /proc/thread-self/ns/net", errno);
  return HomeNetns(std::move(fd));
}

UniqueFd HomeNetns::tcp_socket(int netns, int family) const {
  constexpr int kType = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  if (netns < 0) return UniqueFd(::socket(family, kType, 0));
  if (setns(netns, CLONE_NEWNET) != 0) return UniqueFd();
  UniqueFd fd(::socket(family, kType, 0));
  const int error = errno;
  if (setns(fd_.get(), CLONE_NEWNET) != 0) {
    log::error("cannot_return_to_own_netns", {{"error", std::strerror(errno)}, {"next", "restart weft-proxy"}});
    std::abort();
  }
  if (fd.valid()) {
    // Without CAP_NET_ADMIN this is refused, and capture recognises us by process id alone.
    const uint32_t mark = WEFT_MARK_PROXY;
    setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
  }
  errno = error;
  return fd;
}

}  // namespace weft::proxy
