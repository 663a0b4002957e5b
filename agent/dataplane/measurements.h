// Reads m_flow and m_stats and sums them over CPUs. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/dataplane/dataplane.h"
#include "bpf/abi/constants.h"
#include "bpf/user/map.h"

namespace weft::agent {

class Measurements {
 public:
  Measurements(int flow_fd, int stats_fd) : flows_(flow_fd, "m_flow"), stats_fd_(stats_fd) {}

  // The rows that catch what does not fit; before any program runs.
  absl::Status make_overflow_rows() const;
  // Without the rows of forgotten ids, which it removes.
  absl::StatusOr<std::vector<FlowRow>> flows() const;
  std::vector<uint64_t> stats() const;
  // Never the overflow rows, nor those of unknown peers.
  void forget(uint32_t id);
  // The ids are in use (again).
  void remember(const std::vector<uint32_t>& ids);
  size_t flow_count() const;

 private:
  bool is_forgotten(const weft_flow_key& key) const;

  bpf::Map<weft_flow_key, weft_flow> flows_;
  int stats_fd_;
  // A connection that outlives its id makes the row again when it reports.
  mutable std::mutex mutex_;
  std::set<uint32_t> forgotten_;
};

}  // namespace weft::agent
