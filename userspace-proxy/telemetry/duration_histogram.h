// Duration histogram with the bounds of bpf/abi/histogram.h, written by one worker, read by anyone. Relaxed load and store, not
// fetch_add: there is only one writer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "bpf/abi/histogram.h"

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

// Single writer.
class Counter {
 public:
  void add(uint64_t by) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

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
