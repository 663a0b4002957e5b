// See open_connections.h. Three questions to the kernel: own addresses, listeners, connections.
#include "agent/dataplane/open_connections.h"

#include <linux/bpf.h>

#include <algorithm>
#include <set>
#include <vector>

#include "agent/dataplane/addresses.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

using Path = OpenConnection::Path;

constexpr uint32_t kOpen = tcp_state_bit(BPF_TCP_ESTABLISHED) | tcp_state_bit(BPF_TCP_SYN_SENT) |
                           tcp_state_bit(BPF_TCP_SYN_RECV) | tcp_state_bit(BPF_TCP_FIN_WAIT1) |
                           tcp_state_bit(BPF_TCP_FIN_WAIT2) | tcp_state_bit(BPF_TCP_CLOSE_WAIT) |
                           tcp_state_bit(BPF_TCP_LAST_ACK) | tcp_state_bit(BPF_TCP_CLOSING);

struct Namespace {
  std::vector<IpAddress> addresses;
  std::set<uint16_t> listened;

  bool owns(const IpAddress& ip) const {
    return ip.is_loopback() || std::find(addresses.begin(), addresses.end(), ip) != addresses.end();
  }
};

// nullopt: one that is not listed.
std::optional<Path> path_of(const TcpSocketRow& row, const std::optional<SocketRecord>& record,
                            const Namespace& here) {
  const SocketAddress local = row.local();
  if (here.owns(row.remote().ip)) return std::nullopt;
  const uint32_t mark = row.mark() & WEFT_MARK_MASK;
  if (mark == WEFT_MARK_CAPTURE) return Path::kProxy;
  if (mark == WEFT_MARK_PROXY) {
    // Accepted by a capture listener: its local address is what the client dialled.
    if (!here.owns(local.ip)) return std::nullopt;
    return here.listened.contains(local.port) ? Path::kInspected : Path::kUpstream;
  }
  const bool accepted =
      record ? record->key.direction == WEFT_DIRECTION_INBOUND : here.listened.contains(local.port);
  if (accepted) return Path::kInbound;
  return record && record->dialled ? Path::kDirect : Path::kPass;
}

// SYN and FIN count one each in the kernel's numbers (tcp_snd_una_update, tcp_rcv_nxt_update); which of them
// are in already can be told from the state, but for a FIN that is not acknowledged yet.
void set_progress(const TcpProgress& progress, OpenConnection* out) {
  const uint64_t syn = out->inbound() ? 0 : 1;
  const uint64_t own_fin = out->state == BPF_TCP_FIN_WAIT2 ? 1 : 0;
  const bool peer_closed =
      out->state == BPF_TCP_CLOSE_WAIT || out->state == BPF_TCP_LAST_ACK || out->state == BPF_TCP_CLOSING;
  const auto without = [](uint64_t count, uint64_t extra) { return count > extra ? count - extra : 0; };
  out->sent_bytes = without(progress.bytes_acked, syn + own_fin);
  out->received_bytes = without(progress.bytes_received, peer_closed ? 1 : 0);
  out->rtt_us = progress.rtt_us;
  out->retransmits = progress.retransmits;
}

OpenConnection describe(const TcpSocketRow& row, Path path, const std::optional<SocketRecord>& record) {
  OpenConnection out{.path = path, .state = row.state(), .local = row.local(), .remote = row.remote()};
  out.dialled = out.inbound() ? out.local : out.remote;
  if (record) {
    out.source = record->key.source;
    out.destination = record->key.destination;
    out.started_ns = record->started_ns;
    if (path == Path::kDirect) out.dialled = *record->dialled;
  }
  if (const std::optional<TcpProgress> progress = row.progress()) set_progress(*progress, &out);
  return out;
}

}  // namespace

absl::Status for_each_open_connection(const SocketRecords& records,
                                      const std::function<void(const OpenConnection&)>& visit) {
  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::open(NETLINK_SOCK_DIAG));
  Namespace here;
  ASSIGN_OR_RETURN(here.addresses, local_addresses());
  ASSIGN_OR_RETURN(here.listened, listened_tcp_ports(socket));
  const TcpDumpRequest request{.states = kOpen, .storage_maps = records.maps(), .with_progress = true};
  return for_each_tcp_socket(socket, request, [&](const TcpSocketRow& row) {
    const std::optional<SocketRecord> record = records.read(row);
    const std::optional<Path> path = path_of(row, record, here);
    if (path) visit(describe(row, *path, record));
  });
}

}  // namespace weft::agent
