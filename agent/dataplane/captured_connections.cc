// A sock_diag dump per family, filtered by mark. See captured_connections.h.
#include "agent/dataplane/captured_connections.h"

#include <linux/bpf.h>

#include "agent/dataplane/tcp_dump.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

// Those in which the client still sends, or waits for, segments that need the capture route.
constexpr uint32_t kLiveStates = tcp_state_bit(BPF_TCP_ESTABLISHED) | tcp_state_bit(BPF_TCP_SYN_SENT) |
                                 tcp_state_bit(BPF_TCP_FIN_WAIT1) | tcp_state_bit(BPF_TCP_FIN_WAIT2) |
                                 tcp_state_bit(BPF_TCP_CLOSE_WAIT) | tcp_state_bit(BPF_TCP_LAST_ACK) |
                                 tcp_state_bit(BPF_TCP_CLOSING);

}  // namespace

absl::StatusOr<uint64_t> count_captured_connections() {
  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::open(NETLINK_SOCK_DIAG));
  uint64_t count = 0;
  RETURN_IF_ERROR(for_each_tcp_socket(socket, {.states = kLiveStates, .storage_maps = {}},
                                      [&count](const TcpSocketRow& row) {
                                        if ((row.mark() & WEFT_MARK_MASK) == WEFT_MARK_CAPTURE) ++count;
                                      }));
  return count;
}

}  // namespace weft::agent
