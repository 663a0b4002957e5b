// Rows of the flow table are sums: over CPUs, and over ids that share one set of labels. Pure; used by the
// dataplane and the exporter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bpf/abi/flow.h"

namespace weft::agent {

inline void add_flow(weft_flow* total, const weft_flow& part) {
  uint64_t sum[WEFT_FLOW_WORDS];
  uint64_t more[WEFT_FLOW_WORDS];
  static_assert(sizeof(sum) == sizeof(weft_flow));
  std::memcpy(sum, total, sizeof(sum));
  std::memcpy(more, &part, sizeof(more));
  for (size_t i = 0; i < WEFT_FLOW_WORDS; ++i) sum[i] += more[i];
  std::memcpy(total, sum, sizeof(sum));
}

// Connects that failed, for whatever cause.
inline uint64_t failed_connects(const weft_flow& row) {
  uint64_t sum = 0;
  for (const uint64_t count : row.failed) sum += count;
  return sum;
}

}  // namespace weft::agent
