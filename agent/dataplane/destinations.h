// m_dest as a difference writer: the agent hands over the full desired set, only changes reach the kernel.
// Dataplane thread only, but for count().
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "agent/dataplane/dataplane.h"
#include "bpf/abi/constants.h"
#include "bpf/user/map.h"

namespace weft::agent {

class Destinations {
 public:
  // Starts from what the map holds, so that rows of a former agent are corrected by the first apply.
  explicit Destinations(int fd);

  absl::Status apply(const std::vector<DestinationEntry>& entries);
  size_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  bpf::Map<weft_dest_key, weft_dest> rows_;
  std::map<SocketAddress, uint32_t> known_;
  std::atomic<size_t> count_ = 0;
};

}  // namespace weft::agent
