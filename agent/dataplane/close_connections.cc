// See close_connections.h. Two dumps (listeners, then connections), then one request for each that goes.
#include "agent/dataplane/close_connections.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <vector>

#include "agent/dataplane/rtnetlink.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

constexpr uint32_t state_bit(int state) { return 1u << static_cast<unsigned>(state); }
constexpr uint32_t kOpen = state_bit(TCP_ESTABLISHED) | state_bit(TCP_SYN_RECV) | state_bit(TCP_FIN_WAIT1) |
                           state_bit(TCP_FIN_WAIT2) | state_bit(TCP_CLOSE_WAIT);

SocketAddress endpoint(uint8_t family, const __be32* words, __be16 port) {
  const std::string_view bytes(reinterpret_cast<const char*>(words), family == AF_INET ? 4 : 16);
  return {IpAddress::from_packed(bytes).value_or(IpAddress{}), ntohs(port)};
}

// What sockops wrote into the socket's storage when it was accepted or dialled; nullopt when it has none.
std::optional<weft_flow_key> recorded(const NetlinkAttributes& attributes) {
  const std::span<const uint8_t> storages = attributes.get(INET_DIAG_SK_BPF_STORAGES);
  const auto* outer = reinterpret_cast<const rtattr*>(storages.data());
  auto left = static_cast<int>(storages.size());
  if (storages.empty() || !RTA_OK(outer, left)) return std::nullopt;
  const auto* inner = static_cast<const rtattr*>(RTA_DATA(outer));
  auto inside = static_cast<int>(RTA_PAYLOAD(outer));
  for (; RTA_OK(inner, inside); inner = RTA_NEXT(inner, inside)) {
    if ((inner->rta_type & NLA_TYPE_MASK) != SK_DIAG_BPF_STORAGE_MAP_VALUE) continue;
    weft_flow_key key{};
    if (RTA_PAYLOAD(inner) < sizeof(key)) return std::nullopt;
    std::memcpy(&key, RTA_DATA(inner), sizeof(key));
    return key;
  }
  return std::nullopt;
}

NetlinkRequest dump_request(uint8_t family, uint32_t states, int storage_fd) {
  inet_diag_req_v2 fixed{};
  fixed.sdiag_family = family;
  fixed.sdiag_protocol = IPPROTO_TCP;
  fixed.idiag_states = states;
  NetlinkRequest request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, fixed);
  if (storage_fd < 0) return request;
  struct {
    rtattr header;
    int32_t fd;
  } nested{{sizeof(nested), SK_DIAG_BPF_STORAGE_REQ_MAP_FD}, storage_fd};
  request.add(INET_DIAG_REQ_SK_BPF_STORAGES,
              std::span<const uint8_t>(reinterpret_cast<const uint8_t*>(&nested), sizeof(nested)));
  return request;
}

absl::StatusOr<std::set<uint16_t>> listened_ports(RouteSocket& socket) {
  std::set<uint16_t> ports;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    RETURN_IF_ERROR(
        socket.dump(dump_request(family, state_bit(TCP_LISTEN), -1), [&ports](const nlmsghdr* message) {
          ports.insert(ntohs(static_cast<const inet_diag_msg*>(NLMSG_DATA(message))->id.idiag_sport));
        }));
  }
  return ports;
}

struct Doomed {
  uint8_t family;
  inet_diag_sockid id;
};

}  // namespace

absl::StatusOr<uint64_t> close_inbound_connections(
    int storage_fd, const std::function<bool(const InboundConnection&)>& forbidden) {
  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::open(NETLINK_SOCK_DIAG));
  ASSIGN_OR_RETURN(const std::set<uint16_t> listened, listened_ports(socket));
  std::vector<Doomed> doomed;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    RETURN_IF_ERROR(socket.dump(dump_request(family, kOpen, storage_fd), [&](const nlmsghdr* message) {
      const auto& row = *static_cast<const inet_diag_msg*>(NLMSG_DATA(message));
      InboundConnection connection{.local = endpoint(family, row.id.idiag_src, row.id.idiag_sport),
                                   .remote = endpoint(family, row.id.idiag_dst, row.id.idiag_dport)};
      const auto key = recorded(NetlinkAttributes(message, sizeof(inet_diag_msg)));
      const bool inbound =
          key ? key->direction == WEFT_DIRECTION_INBOUND : listened.contains(connection.local.port);
      if (!inbound || connection.remote.ip == connection.local.ip || connection.remote.ip.is_loopback())
        return;
      if (key) connection.source_workload = key->source;
      if (forbidden(connection)) doomed.push_back({family, row.id});
    }));
  }
  uint64_t closed = 0;
  for (const Doomed& one : doomed) {
    inet_diag_req_v2 fixed{};
    fixed.sdiag_family = one.family;
    fixed.sdiag_protocol = IPPROTO_TCP;
    fixed.idiag_states = ~0u;
    fixed.id = one.id;
    ASSIGN_OR_RETURN(const int error, socket.request(NetlinkRequest(SOCK_DESTROY, NLM_F_ACK, fixed)));
    // ENOENT: it closed by itself meanwhile.
    if (error != 0 && error != ENOENT) return errno_status("close a forbidden connection", error);
    if (error == 0) ++closed;
  }
  return closed;
}

}  // namespace weft::agent
