// How long to wait before the next attempt: twice as long each time, up to a bound, and never at the same
// moment as others who failed with us.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace weft::control_plane {

class Backoff {
 public:
  using Milliseconds = std::chrono::milliseconds;
  Backoff(Milliseconds first, Milliseconds longest) : first_(first), longest_(longest), delay_(first) {}

  // Between half and one and a half times the current delay, which doubles.
  Milliseconds next(std::minstd_rand& random) {
    const Milliseconds delay = std::exchange(delay_, std::min(delay_ * 2, longest_));
    std::uniform_int_distribution<int64_t> jitter(delay.count() / 2, delay.count() + delay.count() / 2);
    return Milliseconds(jitter(random));
  }
  void reset() { delay_ = first_; }

 private:
  const Milliseconds first_, longest_;
  Milliseconds delay_;
};

}  // namespace weft::control_plane
