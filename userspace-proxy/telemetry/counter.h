// Numbers with one writer, a worker, and any readers: relaxed load and store, not fetch_add.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::proxy {

// Only grows.
class Counter {
 public:
  void add(uint64_t by) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// What there is now.
class Gauge {
 public:
  void add(uint64_t by) { set(get() + by); }
  void subtract(uint64_t by) { set(get() - by); }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  void set(uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  std::atomic<uint64_t> value_{0};
};

}  // namespace weft::proxy
