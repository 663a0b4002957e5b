// Gives memory that is free back to the kernel: glibc keeps pages between what is in use until it is told. A
// walk through the whole heap, so at most one in a while, and never with a lock that others wait for. Any
// thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/time/time.h"

namespace weft::control_plane {

class MemoryReturn {
 public:
  static constexpr absl::Duration kEvery = absl::Minutes(1);

  // `walk`: gives it back; empty: malloc_trim().
  explicit MemoryReturn(std::function<void()> walk = {});

  // Much has become free.
  void note() { noted_ = true; }
  // Walks when there is something to give back and the last walk is long enough ago. True: it did. May take
  // milliseconds.
  bool run(absl::Time now);

 private:
  const std::function<void()> walk_;
  std::atomic<bool> noted_ = false;
  // Unix nanoseconds of the last walk.
  std::atomic<int64_t> last_ = 0;
};

}  // namespace weft::control_plane
