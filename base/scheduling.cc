// See scheduling.h. The C library has no wrapper for sched_setattr(2).
#include "base/scheduling.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace weft {
namespace {

// struct sched_attr of linux/sched/types.h, in its first size.
struct SchedulingAttributes {
  uint32_t size = sizeof(SchedulingAttributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime_ns = 0;  // of the ordinary policies: the slice
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};
static_assert(sizeof(SchedulingAttributes) == 48, "SCHED_ATTR_SIZE_VER0");

}  // namespace

bool work_in_slices(std::chrono::nanoseconds slice) {
  SchedulingAttributes attributes;
  // Policy and niceness stay.
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return false;
  attributes.size = sizeof(attributes);
  attributes.runtime_ns = static_cast<uint64_t>(slice.count());
  return ::syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
}

}  // namespace weft
