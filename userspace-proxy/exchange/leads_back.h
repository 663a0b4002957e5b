// Where a gateway must not send anything. Asked by whoever chooses a cluster.
#pragma once

#include "userspace-proxy/exchange/context.h"

namespace weft::proxy {

// The client dialled the gateway: what goes on to where it was dialled comes back, over and over.
inline bool leads_back(const Snapshot& snapshot, const CaptureOrigin& origin, uint32_t cluster) {
  return origin.is_gateway() && snapshot.clusters[cluster].load_balancer == LoadBalancer::kPassthrough;
}

}  // namespace weft::proxy
