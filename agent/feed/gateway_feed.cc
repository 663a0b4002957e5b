// See gateway_feed.h. Called by the reconciler: when routes of gateways changed, and when a proxy introduces
// itself.
#include "agent/feed/gateway_feed.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace weft::agent {
namespace {

constexpr int kBacklog = 4096;

UniqueFd duplicate(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

// Listening at the address, non-blocking, one of a group; invalid with errno.
UniqueFd open_listener(const IpAddress& address, uint16_t port) {
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.valid()) return fd;
  const int on = 1, off = 0;
  bool good = ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0;
  // "::" is every address of both families.
  if (family == AF_INET6)
    good = good && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  std::memcpy(&v4.sin_addr, address.bytes.data() + 12, 4);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, address.bytes.data(), 16);
  const auto* to =
      family == AF_INET ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  const socklen_t length = family == AF_INET ? sizeof(v4) : sizeof(v6);
  good = good && ::bind(fd.get(), to, length) == 0 && ::listen(fd.get(), kBacklog) == 0;
  if (!good) fd.reset();
  return fd;
}

// The port that the socket listens at; 0: it is no such socket.
uint16_t port_of(const UniqueFd& fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  return address.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port) : 0;
}

void report(const absl::Status& status) {
  if (status.ok() || absl::IsUnavailable(status)) return;
  log::warn("proxy_refused_gateway", {{"error", status.message()}});
}

}  // namespace

bool GatewayFeed::open_port(uint16_t port) {
  std::vector<UniqueFd> sockets;
  for (uint32_t i = 0; i < options_.listeners; ++i) {
    UniqueFd fd = open_listener(*options_.address, port);
    if (!fd.valid()) {
      log::error("gateway_port_not_open", {{"port", port},
                                           {"error", std::strerror(errno)},
                                           {"next", "find who has it with `ss -ltnp`, or use another port"}});
      return false;
    }
    sockets.push_back(std::move(fd));
  }
  ports_[port] = std::move(sockets);
  log::info("gateway_port_open", {{"port", port}});
  return true;
}

void GatewayFeed::want(const std::set<uint16_t>& ports) {
  if (!options_.address) {
    if (!ports.empty() && !std::exchange(warned_, true))
      log::warn("gateways_not_served",
                {{"ports", ports.size()}, {"next", "start weft-agent with --gateway-address"}});
    return;
  }
  bool changed = false;
  for (auto it = ports_.begin(); it != ports_.end();) {
    const bool gone = !ports.contains(it->first);
    if (gone) log::info("gateway_port_closed", {{"port", it->first}});
    it = gone ? ports_.erase(it) : std::next(it);
    changed = changed || gone;
  }
  for (const uint16_t port : ports) {
    if (!ports_.contains(port)) changed = open_port(port) || changed;
  }
  if (!changed) return;
  if (std::optional<Announcement> now = announcement())
    feed_.add(*std::move(now), report);
  else
    feed_.remove(kGatewayCookie, report);
}

void GatewayFeed::take_held(std::vector<HeldNamespace>* held) {
  std::erase_if(*held, [this](HeldNamespace& ns) {
    if (ns.workload_uid != kGatewayUid) return false;
    std::map<uint16_t, std::vector<UniqueFd>> adopted;
    for (UniqueFd& fd : ns.fds->listeners) {
      const uint16_t port = port_of(fd);
      if (port != 0 && options_.address && !ports_.contains(port)) adopted[port].push_back(std::move(fd));
    }
    ports_.merge(adopted);
    return true;
  });
}

std::set<uint16_t> GatewayFeed::open() const {
  std::set<uint16_t> out;
  for (const auto& [port, sockets] : ports_) out.insert(port);
  return out;
}

std::optional<Announcement> GatewayFeed::announcement() const {
  if (ports_.empty()) return std::nullopt;
  auto fds = std::make_shared<NamespaceFds>();
  fds->netns.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  for (const auto& [port, sockets] : ports_) {
    for (const UniqueFd& socket : sockets) fds->listeners.push_back(duplicate(socket));
  }
  return Announcement{kGatewayCookie, kGatewayUid, std::move(fds)};
}

void GatewayFeed::snapshot(uint64_t connection, std::vector<Announcement> add, std::vector<uint64_t> keep) {
  if (std::optional<Announcement> now = announcement()) add.push_back(*std::move(now));
  feed_.snapshot(connection, std::move(add), std::move(keep));
}

void GatewayFeed::add(Announcement announcement, Done done) {
  feed_.add(std::move(announcement), std::move(done));
}

void GatewayFeed::remove(uint64_t netns_cookie, Done done) { feed_.remove(netns_cookie, std::move(done)); }

absl::Status GatewayFeed::wait_served(uint64_t netns_cookie, std::chrono::milliseconds timeout) {
  return feed_.wait_served(netns_cookie, timeout);
}

}  // namespace weft::agent
