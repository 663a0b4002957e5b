// A sock_diag dump per family, filtered by mark. See captured_connections.h.
#include "agent/dataplane/captured_connections.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "agent/dataplane/rtnetlink.h"
#include "base/status_macros.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

constexpr uint32_t state_bit(int state) { return 1u << static_cast<unsigned>(state); }

// Those in which the client still sends, or waits for, segments that need the capture route.
constexpr uint32_t kLiveStates = state_bit(TCP_ESTABLISHED) | state_bit(TCP_SYN_SENT) |
                                 state_bit(TCP_FIN_WAIT1) | state_bit(TCP_FIN_WAIT2) |
                                 state_bit(TCP_CLOSE_WAIT) | state_bit(TCP_LAST_ACK) | state_bit(TCP_CLOSING);

}  // namespace

absl::StatusOr<uint64_t> count_captured_connections() {
  ASSIGN_OR_RETURN(RouteSocket socket, RouteSocket::open(NETLINK_SOCK_DIAG));
  uint64_t count = 0;
  for (const uint8_t family : {uint8_t{AF_INET}, uint8_t{AF_INET6}}) {
    inet_diag_req_v2 fixed{};
    fixed.sdiag_family = family;
    fixed.sdiag_protocol = IPPROTO_TCP;
    fixed.idiag_states = kLiveStates;
    RETURN_IF_ERROR(
        socket.dump(NetlinkRequest(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, fixed), [&](const nlmsghdr* message) {
          const uint32_t mark = NetlinkAttributes(message, sizeof(inet_diag_msg)).get_u32(INET_DIAG_MARK, 0);
          if ((mark & WEFT_MARK_MASK) == WEFT_MARK_CAPTURE) ++count;
        }));
  }
  return count;
}

}  // namespace weft::agent
