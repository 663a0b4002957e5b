// See shortcut_plug.h.
#include "bpf/user/shortcut_plug.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/status_macros.h"

namespace weft::bpf {
absl::StatusOr<ConnectedPair> connected_pair() {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ConnectedPair out;
  out.first.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!listener.valid() || !out.first.valid() || bind(listener.get(), generic, length) != 0 ||
      listen(listener.get(), 1) != 0 || getsockname(listener.get(), generic, &length) != 0 ||
      connect(out.first.get(), generic, length) != 0)
    return errno_status("connect two sockets on loopback", errno);
  out.second.reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!out.second.valid()) return errno_status("connect two sockets on loopback", errno);
  return out;
}

absl::Status put_socket(int socket_map, uint64_t key, const UniqueFd& socket) {
  const uint64_t fd = static_cast<uint64_t>(socket.get());
  if (bpf_map_update_elem(socket_map, &key, &fd, BPF_ANY) != 0)
    return errno_status("put a socket into a map of sockets", errno);
  return absl::OkStatus();
}

absl::StatusOr<ShortcutPlug> ShortcutPlug::put(int socket_map) {
  ASSIGN_OR_RETURN(ConnectedPair pair, connected_pair());
  const int on = 1;
  if (setsockopt(pair.first.get(), IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) != 0)
    return errno_status("make a socket that takes nothing (TCP_REPAIR)", errno);
  RETURN_IF_ERROR(put_socket(socket_map, 0, pair.first));
  ShortcutPlug out;
  out.plug_ = std::move(pair.first);
  out.peer_ = std::move(pair.second);
  return out;
}

}  // namespace weft::bpf
