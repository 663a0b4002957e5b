// Where a gateway, and who may reach declared destinations only, must not send anything. Asked by whoever
// chooses a cluster.
#pragma once

#include "userspace-proxy/exchange/context.h"

namespace weft::proxy {

// The client dialled the gateway: what goes on to where it was dialled comes back, over and over.
inline bool leads_back(const Snapshot& snapshot, const CaptureOrigin& origin, uint32_t cluster) {
  return origin.is_gateway() && snapshot.clusters[cluster].load_balancer == LoadBalancer::kPassthrough;
}

// The cluster is at the address that was dialled, which is nobody's: a name that the client says does not
// make it one.
inline bool leads_out(const Snapshot& snapshot, CaptureOrigin& origin, const SocketAddress& dialled,
                      uint32_t cluster) {
  const Cluster& to = snapshot.clusters[cluster];
  return to.load_balancer == LoadBalancer::kPassthrough && !to.anywhere &&
         is_undeclared(origin, snapshot, dialled);
}

}  // namespace weft::proxy
