// How soon after their start the pods of this node were captured, counted once for each sandbox. Plain
// numbers: the reconciler counts, metrics and checks read.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>

#include "base/clock.h"
#include "bpf/abi/histogram.h"

namespace weft::agent {

struct PodStarts {
  // By the CNI plugin, before the first container.
  uint64_t held = 0;
  // Found by their cgroup; from the start of the first process to the capture, in bounds of
  // bpf/abi/histogram.h, not cumulative.
  std::array<uint64_t, WEFT_HISTOGRAM_BUCKETS> window{};
  MonotonicNs window_sum = 0;
  MonotonicNs window_longest = 0;
  // Ran before this agent did, or before they were to be in the mesh: no window of a start.
  uint64_t running = 0;

  uint64_t found() const { return std::accumulate(window.begin(), window.end(), uint64_t{0}); }
};

}  // namespace weft::agent
