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

bool set_option(const UniqueFd& fd, int level, int option, int value) {
  return ::setsockopt(fd.get(), level, option, &value, sizeof(value)) == 0;
}

// A bound socket, non-blocking; invalid with errno. `shared`: one of a group that has the port together.
UniqueFd bind_socket(const SocketAddress& address, bool shared) {
  sockaddr_storage to{};
  const socklen_t length = address.to_sockaddr(&to);
  UniqueFd fd(::socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.valid()) return fd;
  bool good = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (shared) good = good && set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  // "::" is every address of both families.
  if (to.ss_family == AF_INET6) good = good && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  good = good && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&to), length) == 0;
  if (!good) fd.reset();
  return fd;
}

// Listening at the address, one of a group; invalid with errno.
UniqueFd open_listener(const SocketAddress& address) {
  UniqueFd fd = bind_socket(address, true);
  if (fd.valid() && ::listen(fd.get(), kBacklog) != 0) fd.reset();
  return fd;
}

bool is_at(const UniqueFd& fd, const SocketAddress& address) {
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) return false;
  return SocketAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&bound)) == address;
}

void report(const absl::Status& status) {
  if (status.ok() || absl::IsUnavailable(status)) return;
  log::warn("proxy_refused_gateway", {{"error", status.message()}});
}

}  // namespace

bool GatewayFeed::open_port(uint16_t port) {
  const SocketAddress address{*options_.address, port};
  // A group lets anybody of the same user in, without a word: first it is seen whether the port is free.
  UniqueFd alone = bind_socket(address, false);
  bool good = alone.valid();
  int error = errno;
  alone.reset();
  std::vector<UniqueFd> sockets;
  for (uint32_t i = 0; good && i < options_.listeners; ++i) {
    sockets.push_back(open_listener(address));
    good = sockets.back().valid();
    error = errno;
  }
  if (!good) {
    const auto [row, first] = failed_.insert_or_assign(port, std::strerror(error));
    if (first)
      log::error("gateway_port_not_open", {{"port", port},
                                           {"error", row->second},
                                           {"next", "find who has it with `ss -ltnp`, or use another port"}});
    return false;
  }
  failed_.erase(port);
  ports_[port] = std::move(sockets);
  log::info("gateway_port_open", {{"port", port}});
  return true;
}

std::vector<uint16_t> GatewayFeed::open_missing() {
  std::vector<uint16_t> out;
  for (const uint16_t port : wanted_) {
    if (!ports_.contains(port) && open_port(port)) out.push_back(port);
  }
  return out;
}

void GatewayFeed::want(const std::set<uint16_t>& ports) {
  if (!options_.address) {
    if (!ports.empty() && !std::exchange(warned_, true))
      log::warn("gateways_not_served",
                {{"ports", ports.size()}, {"next", "start weft-agent with --gateway-address"}});
    return;
  }
  wanted_ = ports;
  std::erase_if(failed_, [&ports](const auto& failed) { return !ports.contains(failed.first); });
  for (auto it = ports_.begin(); it != ports_.end();) {
    const uint16_t port = it->first;
    if (ports.contains(port)) {
      ++it;
      continue;
    }
    it = ports_.erase(it);
    log::info("gateway_port_closed", {{"port", port}});
    feed_.remove(gateway_cookie(port), report);
  }
  if (!proxy_came_) return;
  for (const uint16_t port : open_missing()) feed_.add(announcement(port), report);
}

void GatewayFeed::retry(MonotonicNs now) {
  if (now < next_retry()) return;
  retry_at_ = now + static_cast<uint64_t>(std::chrono::nanoseconds(options_.retry_after).count());
  for (const uint16_t port : open_missing()) feed_.add(announcement(port), report);
}

void GatewayFeed::take_held(std::vector<HeldNamespace>* held) {
  proxy_came_ = true;
  std::map<uint16_t, std::vector<UniqueFd>> adopted;
  std::erase_if(*held, [&](HeldNamespace& ns) {
    if (ns.workload_uid != kGatewayUid) return false;
    for (UniqueFd& fd : ns.fds->listeners) {
      for (const uint16_t port : wanted_) {
        if (!fd.valid() || ports_.contains(port) || !is_at(fd, {*options_.address, port})) continue;
        adopted[port].push_back(std::move(fd));
        failed_.erase(port);
      }
    }
    return true;
  });
  ports_.merge(adopted);
  // The snapshot that follows names them.
  open_missing();
}

std::set<uint16_t> GatewayFeed::open() const {
  std::set<uint16_t> out;
  for (const auto& [port, sockets] : ports_) out.insert(port);
  return out;
}

Announcement GatewayFeed::announcement(uint16_t port) const {
  auto fds = std::make_shared<NamespaceFds>();
  fds->netns.reset(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  for (const UniqueFd& socket : ports_.at(port)) fds->listeners.push_back(duplicate(socket));
  return Announcement{gateway_cookie(port), kGatewayUid, std::move(fds)};
}

void GatewayFeed::snapshot(uint64_t connection, std::vector<Announcement> add, std::vector<uint64_t> keep) {
  for (const auto& [port, sockets] : ports_) add.push_back(announcement(port));
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
