// See memory_return.h.
#include "control-plane/discovery/memory_return.h"

#include <malloc.h>

#include <utility>

namespace weft::control_plane {

MemoryReturn::MemoryReturn(std::function<void()> walk)
    : walk_(walk ? std::move(walk) : [] { static_cast<void>(::malloc_trim(0)); }) {}

bool MemoryReturn::run(absl::Time now) {
  if (!noted_) return false;
  int64_t last = last_;
  const int64_t nanos = absl::ToUnixNanos(now);
  if (nanos - last < absl::ToInt64Nanoseconds(kEvery)) return false;
  // Of several threads one walks.
  if (!last_.compare_exchange_strong(last, nanos)) return false;
  noted_ = false;
  walk_();
  return true;
}

}  // namespace weft::control_plane
