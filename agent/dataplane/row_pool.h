// Rows of a preallocated BPF array as blocks of a power of two (a buddy allocator), with a quarantine: a
// program that runs may still read a block that was just released, so it rests before it is given out again.
// One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"

namespace weft::agent {

class RowPool {
 public:
  // Longer than any program runs.
  static constexpr MonotonicNs kRest = kNsPerSecond;

  explicit RowPool(uint32_t rows);  // a power of two

  // First row of a block of at least `rows`; nullopt when no block of that size is free and rested.
  std::optional<uint32_t> allocate(uint32_t rows, MonotonicNs now);
  void release(uint32_t base, uint32_t rows, MonotonicNs now);
  // Takes a block that is in use already out of the free ones; false when it is not free.
  bool reserve(uint32_t base, uint32_t rows);

  uint32_t used() const { return used_; }  // rows, with those that rest

 private:
  static uint32_t order_of(uint32_t rows);
  void put_back(uint32_t base, uint32_t order);

  struct Resting {
    uint32_t base;
    uint32_t order;
    MonotonicNs until;
  };
  std::vector<std::set<uint32_t>> free_;  // by order
  std::deque<Resting> resting_;
  uint32_t used_ = 0;
};

}  // namespace weft::agent
