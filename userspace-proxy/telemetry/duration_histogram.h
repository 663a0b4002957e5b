// Duration histogram with the bounds of bpf/abi/histogram.h, written by one worker, read by anyone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "bpf/abi/histogram.h"
#include "userspace-proxy/telemetry/counter.h"

namespace weft::proxy {

inline constexpr std::array kHistogramBoundsUs = {
#define X(bound) uint64_t{bound},
    WEFT_HISTOGRAM_BOUNDS_US(X)
#undef X
};
static_assert(kHistogramBoundsUs.size() + 1 == WEFT_HISTOGRAM_BUCKETS);

// A bound belongs to its bucket, as Prometheus' "le" does.
constexpr size_t histogram_bucket(uint64_t microseconds) {
  size_t bucket = 0;
  while (bucket < kHistogramBoundsUs.size() && microseconds > kHistogramBoundsUs[bucket]) ++bucket;
  return bucket;
}

struct DurationHistogram {
  std::array<Counter, WEFT_HISTOGRAM_BUCKETS> buckets;
  Counter sum_us;

  void add(MonotonicNs duration) {
    // Rounded up: 50.4 us must not count as "at most 50 us".
    buckets[histogram_bucket((duration + 999) / 1000)].add(1);
    sum_us.add(duration / 1000);
  }
};

}  // namespace weft::proxy
