// A line that peers can cause as often as they like, told at most once in a while with how often it was due.
// Bound to whoever guards it.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace weft {

class LogRate {
 public:
  explicit LogRate(absl::Duration pause = absl::Seconds(1)) : pause_(pause) {}

  // It is due once more. How often it was since it was told last, this time included; 0: not to be told now.
  uint64_t count(absl::Time now) {
    ++untold_;
    if (now < next_) return 0;
    next_ = now + pause_;
    const uint64_t out = untold_;
    untold_ = 0;
    return out;
  }

 private:
  const absl::Duration pause_;
  absl::Time next_ = absl::InfinitePast();
  uint64_t untold_ = 0;
};

}  // namespace weft
