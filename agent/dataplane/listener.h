// The capture listeners of one namespace: one SO_REUSEPORT group on WEFT_PORT_OUTBOUND. Made in the namespace
// of the calling thread; the proxy accepts on them, the agent only holds them so that the accept queue
// outlives a proxy.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"

namespace weft::agent {

absl::StatusOr<std::vector<UniqueFd>> open_capture_listeners(uint32_t count);
// The same for tunnels of other nodes, on WEFT_PORT_HBONE.
absl::StatusOr<std::vector<UniqueFd>> open_tunnel_listeners(uint32_t count);
// Whether it is one of the latter.
bool takes_tunnels(const UniqueFd& listener);

}  // namespace weft::agent
