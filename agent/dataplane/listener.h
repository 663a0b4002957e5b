// The listeners of one namespace, an SO_REUSEPORT group for each purpose: what it dials
// (WEFT_PORT_OUTBOUND), and what comes in, in tunnels or in plain, for the proxy to judge. Made in the
// namespace of the calling thread; the proxy accepts on them, the agent only holds them so that the accept
// queue outlives a proxy.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/policy.h"

namespace weft::agent {

absl::StatusOr<std::vector<UniqueFd>> open_capture_listeners(uint32_t count);

// A group for what comes in.
struct InboundListeners {
  uint16_t port;   // WEFT_PORT_*
  uint32_t which;  // of m_inbound_listener
};
inline constexpr InboundListeners kTunnelListeners{WEFT_PORT_HBONE, WEFT_INBOUND_HBONE};
inline constexpr InboundListeners kPlaintextListeners{WEFT_PORT_INBOUND, WEFT_INBOUND_PLAINTEXT};
absl::StatusOr<std::vector<UniqueFd>> open_inbound_listeners(const InboundListeners& group, uint32_t count);
// Whether it is one of the group.
bool is_of(const InboundListeners& group, const UniqueFd& listener);

}  // namespace weft::agent
