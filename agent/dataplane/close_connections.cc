// See close_connections.h. Two dumps (listeners, then connections), then one request for each that goes.
#include "agent/dataplane/close_connections.h"

#include <linux/bpf.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>

#include <cerrno>
#include <set>
#include <vector>

#include "agent/dataplane/rtnetlink.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

constexpr uint32_t kOpen = tcp_state_bit(BPF_TCP_ESTABLISHED) | tcp_state_bit(BPF_TCP_SYN_RECV) |
                           tcp_state_bit(BPF_TCP_FIN_WAIT1) | tcp_state_bit(BPF_TCP_FIN_WAIT2) |
                           tcp_state_bit(BPF_TCP_CLOSE_WAIT);

struct Doomed {
  uint8_t family;
  inet_diag_sockid id;
};

}  // namespace

absl::StatusOr<uint64_t> close_inbound_connections(
    const SocketRecords& records, const std::function<bool(const InboundConnection&)>& forbidden) {
  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::open(NETLINK_SOCK_DIAG));
  ASSIGN_OR_RETURN(const std::set<uint16_t> listened, listened_tcp_ports(socket));
  std::vector<Doomed> doomed;
  const TcpDumpRequest request{.states = kOpen, .storage_maps = records.maps()};
  RETURN_IF_ERROR(for_each_tcp_socket(socket, request, [&](const TcpSocketRow& row) {
    InboundConnection connection{.local = row.local(), .remote = row.remote()};
    const std::optional<SocketRecord> record = records.read(row);
    const bool inbound =
        record ? record->key.direction == WEFT_DIRECTION_INBOUND : listened.contains(connection.local.port);
    if (!inbound || connection.remote.ip == connection.local.ip || connection.remote.ip.is_loopback()) return;
    // What the proxy accepted: what the pod dialled, which is not inbound, or what comes in, of which it ends
    // itself what its policies forbid.
    if ((row.mark() & WEFT_MARK_MASK) == WEFT_MARK_PROXY) return;
    if (record) connection.source_workload = record->key.source;
    if (forbidden(connection)) doomed.push_back({row.family(), row.id()});
  }));
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
