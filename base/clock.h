// Monotonic time for the data path: one reading per loop turn, a fake one in tests.
#pragma once

#include <time.h>

#include <cstdint>

namespace weft {

// Nanoseconds of CLOCK_MONOTONIC.
using MonotonicNs = uint64_t;

inline constexpr MonotonicNs kNsPerMs = 1'000'000;
inline constexpr MonotonicNs kNsPerSecond = 1'000'000'000;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicNs now() const = 0;
};

class SystemClock final : public Clock {
 public:
  MonotonicNs now() const override {
    timespec ts{};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return static_cast<MonotonicNs>(ts.tv_sec) * kNsPerSecond + static_cast<MonotonicNs>(ts.tv_nsec);
  }
};

class FakeClock final : public Clock {
 public:
  explicit FakeClock(MonotonicNs start = kNsPerSecond) : now_(start) {}
  MonotonicNs now() const override { return now_; }
  void advance(MonotonicNs by) { now_ += by; }

 private:
  MonotonicNs now_;
};

}  // namespace weft
