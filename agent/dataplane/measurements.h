// Reads m_flow and m_stats and sums them over CPUs. Any thread: it holds descriptors only.
#pragma once

#include <cstdint>
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
  absl::StatusOr<std::vector<FlowRow>> flows() const;
  std::vector<uint64_t> stats() const;
  // Never the overflow rows.
  void forget(uint32_t id) const;
  size_t flow_count() const;

 private:
  bpf::Map<weft_flow_key, weft_flow> flows_;
  int stats_fd_;
};

}  // namespace weft::agent
