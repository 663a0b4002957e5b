// m_dest as a difference writer: only changes reach the kernel. Dataplane thread
// only, but for count() and owner().
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "agent/dataplane/dataplane.h"
#include "base/packed_map.h"
#include "bpf/abi/constants.h"
#include "bpf/user/batch.h"
#include "bpf/user/map.h"

namespace weft::agent {

class Destinations {
 public:
  // Starts from what the map holds, so that rows of a former agent are corrected by the first apply.
  explicit Destinations(int fd);

  // `full`: rows that are not named go.
  absl::Status apply(const std::vector<DestinationEntry>& entries, const std::vector<SocketAddress>& gone,
                     bool full);
  // The rows of m_dest against what was written.
  DriftRow drift(const std::vector<DestinationEntry>& wanted) const;
  // Of the port's row, else of the workload's that owns the address (as flow_peer_id of bpf/lib/flow.h does);
  // 0 without a row.
  uint32_t owner(const SocketAddress& address) const;
  size_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  void remove(const SocketAddress& address);
  void remove_unnamed(const std::vector<DestinationEntry>& entries);

  bpf::Map<weft_dest_key, weft_dest> rows_;
  bpf::Batch<weft_dest_key, weft_dest> batch_;
  PackedMap<SocketAddress, uint32_t> known_;
  std::atomic<size_t> count_ = 0;
};

}  // namespace weft::agent
