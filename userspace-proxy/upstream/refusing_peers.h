// RefusingPeers: which peers refuse tunnels, and until when each is waited for all the same: one that begins
// does not listen yet, one that is dead never will, and whoever dials it is to know at once. Bounded; costs
// nothing while nobody refuses. Worker thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "base/address.h"
#include "base/clock.h"

namespace weft::proxy {

class RefusingPeers {
 public:
  // A peer that is not heard of for so long is one that begins, when it refuses again.
  static constexpr uint64_t kRememberedMs = 60'000;
  static constexpr size_t kMostPeers = 1'024;

  // The peer refused. Until when it is waited for: for `beginning_ms` after its first refusal in a row, and
  // not at all when it served before.
  MonotonicNs refused(const IpAddress& peer, uint64_t beginning_ms, MonotonicNs now);
  // The peer took a connection.
  void accepted(const IpAddress& peer) {
    if (!peers_.empty()) peers_.erase(SocketAddress{peer, 0});
  }
  // It served, and broke off.
  void broke_off(const IpAddress& peer, MonotonicNs now);

  size_t size() const { return peers_.size(); }

 private:
  struct Peer {
    MonotonicNs patient_until = 0;
    MonotonicNs heard_of = 0;
  };
  // Makes room for one more.
  void forget_oldest();

  absl::flat_hash_map<SocketAddress, Peer> peers_;
};

}  // namespace weft::proxy
