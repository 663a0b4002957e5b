// recv(2), sendmsg(2), connect(2), getsockopt(2) and accept4(2) for system_calls.h.
#include "userspace-proxy/net/system_calls.h"

#include <sys/socket.h>

#include <cerrno>

#include "bpf/abi/shortcut.h"

namespace weft::proxy {

ssize_t receive(int fd, std::span<char> into) {
  ssize_t count = 0;
  do {
    count = ::recv(fd, into.data(), into.size(), 0);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

ssize_t transmit(int fd, std::span<const iovec> pieces) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  ssize_t count = 0;
  do {
    count = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? -errno : count;
}

int begin_connect(int fd, const SocketAddress& address) {
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(&storage);
  int result = 0;
  do {
    result = ::connect(fd, reinterpret_cast<sockaddr*>(&storage), length);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : -errno;
}

int take_error(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  return -error;
}

// The kernel's half says so in the mark, before the connection is established.
bool takes_shortcut(int fd) {
  uint32_t mark = 0;
  socklen_t length = sizeof(mark);
  return getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &length) == 0 && (mark & WEFT_MARK_SHORTCUT) != 0;
}

int accept_from(int listener, SocketAddress* peer) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  const int fd =
      accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return -errno;
  *peer = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)).value_or(SocketAddress{});
  return fd;
}

}  // namespace weft::proxy
