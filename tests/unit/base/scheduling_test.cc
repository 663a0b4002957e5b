// What a thread asks of the scheduler, as the kernel tells it back.
#include "base/scheduling.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

namespace weft {
namespace {

// Bytes 24 to 32 of struct sched_attr.
uint64_t slice_of_this_thread() {
  std::array<char, 56> attributes{};
  EXPECT_EQ(::syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0), 0);
  uint64_t slice = 0;
  std::memcpy(&slice, attributes.data() + 24, sizeof(slice));
  return slice;
}

TEST(SchedulingTest, ASliceIsOfOneThreadAndLeavesTheRestOfItsSchedulingAlone) {
  const uint64_t before = slice_of_this_thread();
  std::thread([] {
    EXPECT_EQ(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 5), 0);
    ASSERT_TRUE(work_in_slices(std::chrono::microseconds(200)));
    EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
    EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())), 5);
    // Older kernels say 0, and have one length for all.
    if (slice_of_this_thread() != 0) EXPECT_EQ(slice_of_this_thread(), 200'000u);
  }).join();
  EXPECT_EQ(slice_of_this_thread(), before);
}

}  // namespace
}  // namespace weft
