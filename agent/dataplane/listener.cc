// Opening capture listeners. Called by enrolment inside the pod's namespace; never accepts.
#include "agent/dataplane/listener.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <optional>

#include "base/address.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75  // <linux/in6.h>
#endif

namespace weft::agent {
namespace {

// Connections that wait while a proxy restarts. The kernel cuts it to net.core.somaxconn of the namespace.
constexpr int kBacklog = 4096;

struct SocketOption {
  int level;
  int name;
  int value;
  const char* text;
};

absl::Status set_options(int socket, int family) {
  const SocketOption options[] = {
      {SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"},
      {SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"},
      // Accepted sockets inherit the mark: their replies are not captured and not measured a second time.
      {SOL_SOCKET, SO_MARK, static_cast<int>(WEFT_MARK_PROXY), "SO_MARK"},
      {IPPROTO_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT"},
  };
  for (const SocketOption& option : options) {
    if (setsockopt(socket, option.level, option.name, &option.value, sizeof(option.value)) != 0) {
      return errno_status(str_cat("set ", option.text, " on the capture listener"), errno);
    }
  }
  if (family != AF_INET6) return absl::OkStatus();
  const int on = 1;
  const int off = 0;
  if (setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0 ||
      setsockopt(socket, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on)) != 0) {
    return errno_status("make the capture listener dual-stack", errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> open_listener(int family, uint16_t port) {
  UniqueFd socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!socket.valid()) return errno_status("make the capture listener", errno);
  RETURN_IF_ERROR(set_options(socket.get(), family));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  const auto* address =
      family == AF_INET6 ? reinterpret_cast<const sockaddr*>(&v6) : reinterpret_cast<const sockaddr*>(&v4);
  const socklen_t length = family == AF_INET6 ? sizeof(v6) : sizeof(v4);
  if (bind(socket.get(), address, length) != 0) {
    if (errno == EADDRINUSE) {
      return absl::FailedPreconditionError(
          str_cat("port ", port,
                  " is taken in the namespace: find who has it with `ss -ltnp`, stop it, enroll again"));
    }
    return errno_status(str_cat("bind port ", port), errno);
  }
  if (listen(socket.get(), kBacklog) != 0) return errno_status("listen", errno);
  return socket;
}

void warn_short_backlog() {
  int limit = kBacklog;
  std::ifstream("/proc/sys/net/core/somaxconn") >> limit;
  if (limit < kBacklog) log::warn("short_accept_queue", {{"somaxconn", limit}, {"wanted", kBacklog}});
}

absl::StatusOr<std::vector<UniqueFd>> open_group(uint32_t count, uint16_t port) {
  std::vector<UniqueFd> listeners;
  int family = AF_INET6;
  for (uint32_t i = 0; i < count; ++i) {
    absl::StatusOr<UniqueFd> listener = open_listener(family, port);
    // A kernel or namespace without IPv6: only the first may decide, a group has one family.
    if (!listener.ok() && i == 0 && !absl::IsFailedPrecondition(listener.status())) {
      family = AF_INET;
      listener = open_listener(family, port);
    }
    if (!listener.ok()) return listener.status();
    listeners.push_back(*std::move(listener));
  }
  return listeners;
}

}  // namespace

absl::StatusOr<std::vector<UniqueFd>> open_capture_listeners(uint32_t count) {
  auto listeners = open_group(count, WEFT_PORT_OUTBOUND);
  if (listeners.ok()) warn_short_backlog();
  return listeners;
}

absl::StatusOr<std::vector<UniqueFd>> open_inbound_listeners(const InboundListeners& group, uint32_t count) {
  return open_group(count, group.port);
}

bool is_of(const InboundListeners& group, const UniqueFd& listener) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &length) != 0) return false;
  const auto address = SocketAddress::from_sockaddr(reinterpret_cast<sockaddr*>(&storage));
  return address && address->port == group.port;
}

}  // namespace weft::agent
