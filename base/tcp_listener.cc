// See tcp_listener.h.
#include "base/tcp_listener.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/status_macros.h"
#include "base/strings.h"

namespace weft {

absl::StatusOr<TcpListener> listen_on(const SocketAddress& address) {
  sockaddr_storage storage{};
  socklen_t length = address.to_sockaddr(&storage);
  auto* const raw = reinterpret_cast<sockaddr*>(&storage);
  TcpListener out{
      .socket = UniqueFd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
      .address = address};
  if (!out.socket.valid()) return errno_status("socket", errno);
  const int one = 1;
  ::setsockopt(out.socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (::bind(out.socket.get(), raw, length) != 0 || ::listen(out.socket.get(), 64) != 0)
    return annotate(
        str_cat("listen on ", address.to_string(), " (next: ss -ltnp, or choose another address)"),
        errno_status("bind", errno));
  length = sizeof(storage);
  ::getsockname(out.socket.get(), raw, &length);
  out.address = SocketAddress::from_sockaddr(raw).value_or(address);
  return out;
}

bool is_no_room(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace weft
