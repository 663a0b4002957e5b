// See refusing_peers.h.
#include "userspace-proxy/upstream/refusing_peers.h"

#include <algorithm>

namespace weft::proxy {

MonotonicNs RefusingPeers::refused(const IpAddress& peer, uint64_t beginning_ms, MonotonicNs now) {
  const SocketAddress key{peer, 0};
  const auto known = peers_.find(key);
  if (known != peers_.end() && now - known->second.heard_of < kRememberedMs * kNsPerMs) {
    known->second.heard_of = now;
    return known->second.patient_until;
  }
  if (known == peers_.end()) forget_oldest();
  const MonotonicNs until = now + beginning_ms * kNsPerMs;
  peers_[key] = {.patient_until = until, .heard_of = now};
  return until;
}

void RefusingPeers::broke_off(const IpAddress& peer, MonotonicNs now) {
  const SocketAddress key{peer, 0};
  if (!peers_.contains(key)) forget_oldest();
  peers_[key] = {.patient_until = now, .heard_of = now};
}

// A walk, for a node with a thousand dead peers and one more.
void RefusingPeers::forget_oldest() {
  if (peers_.size() < kMostPeers) return;
  peers_.erase(std::min_element(peers_.begin(), peers_.end(), [](const auto& a, const auto& b) {
    return a.second.heard_of < b.second.heard_of;
  }));
}

}  // namespace weft::proxy
