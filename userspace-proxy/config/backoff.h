// Delays between attempts to reach the agent: doubling with jitter, back to the minimum after a success. Not thread-safe.
// Used by every client of the run directory; it only computes, the caller waits on its own event.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace weft::proxy {

class Backoff {
 public:
  Backoff(std::chrono::milliseconds min, std::chrono::milliseconds max) : min_(min), max_(max), next_(min) {}

  // Between 75 % and 125 % of the step, so that clients do not return in step.
  std::chrono::milliseconds next() {
    const auto step = next_;
    next_ = std::min(max_, next_ * 2);
    const double jitter = std::uniform_real_distribution<double>(0.75, 1.25)(random_);
    return std::chrono::milliseconds(static_cast<int64_t>(static_cast<double>(step.count()) * jitter));
  }
  void reset() { next_ = min_; }

 private:
  std::chrono::milliseconds min_, max_, next_;
  std::minstd_rand random_{std::random_device()()};
};

}  // namespace weft::proxy
