// Delays between attempts to reach a peer: doubling with jitter, back to the minimum after a success. Not
// thread-safe. Used by every client of a socket that may be away; it only computes, the caller waits on its
// own event.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace weft {

class Backoff {
 public:
  // `jitter`: the share of a step by which a delay may be shorter or longer, so that clients do not return in
  // step; 0 to 1.
  Backoff(std::chrono::milliseconds min, std::chrono::milliseconds max, double jitter = 0.25)
      : min_(min), max_(max), next_(min), jitter_(jitter) {}

  std::chrono::milliseconds next() {
    const auto step = next_;
    next_ = std::min(max_, next_ * 2);
    const double factor = std::uniform_real_distribution<double>(1 - jitter_, 1 + jitter_)(random_);
    return std::chrono::milliseconds(static_cast<int64_t>(static_cast<double>(step.count()) * factor));
  }
  void reset() { next_ = min_; }

 private:
  std::chrono::milliseconds min_, max_, next_;
  double jitter_;
  std::minstd_rand random_{std::random_device()()};
};

}  // namespace weft
