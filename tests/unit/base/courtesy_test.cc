// Who gives way: to whom it waits, for how long at most, and that it costs nobody a lock.
#include "base/courtesy.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace weft {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// All threads of the process, who answers among them, and those that the caller starts.
void stay_on_one_cpu() {
  Courtesy::prepare();
  cpu_set_t set;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(set), &set), 0);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
      ASSERT_EQ(::sched_setaffinity(std::stoi(task.path().filename()), sizeof(set), &set), 0);
    return;
  }
}

std::chrono::nanoseconds cpu_time_of(pthread_t thread) {
  clockid_t clock{};
  timespec time{};
  EXPECT_EQ(::pthread_getcpuclockid(thread, &clock), 0);
  EXPECT_EQ(::clock_gettime(clock, &time), 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// Uses up its CPU while it lives.
class Busy {
 public:
  Busy()
      : thread_([this] {
          while (!stop_.load(std::memory_order_relaxed)) {
          }
        }) {}
  ~Busy() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// Of the processor's time, whatever else the machine does.
void work_for(std::chrono::microseconds time) {
  const std::chrono::nanoseconds begin = cpu_time_of(::pthread_self());
  while (cpu_time_of(::pthread_self()) - begin < time) {
  }
}

// So many pieces of work, each longer than those that nobody gives way within.
void work_in_pieces(int pieces) {
  for (int i = 0; i < pieces; ++i) {
    work_for(std::chrono::microseconds(250));
    give_way();
  }
}

// How often this thread has let go of the processor by itself.
long own_waits() {
  rusage usage{};
  EXPECT_EQ(::getrusage(RUSAGE_THREAD, &usage), 0);
  return usage.ru_nvcsw;
}

milliseconds time_of(const std::function<void()>& work) {
  const Clock::time_point begin = Clock::now();
  work();
  return std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
}

TEST(CourtesyTest, WhoAnswersIsOfTheLowestClass) {
  Courtesy::prepare();
  int idle = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task"))
    idle += ::sched_getscheduler(std::stoi(task.path().filename())) == SCHED_IDLE ? 1 : 0;
  EXPECT_EQ(idle, 1);
  EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER) << "who gives way stays what it was";
}

TEST(CourtesyTest, WhoeverIsBusyGoesFirst) {
  std::thread([] {
    stay_on_one_cpu();
    const Busy busy;
    // By itself: what the machine gives to others beside that is not counted, and no clock is read.
    const long before = own_waits();
    work_in_pieces(15);
    EXPECT_EQ(own_waits() - before, 0) << "without a Courtesy nobody waits";
    {
      const Courtesy courtesy(std::chrono::minutes(1));
      work_in_pieces(15);
    }
    EXPECT_GE(own_waits() - before, 10)
        << "who answers runs on this CPU too, and only when this thread does not";
  }).join();
}

TEST(CourtesyTest, PatienceEnds) {
  std::thread([] {
    stay_on_one_cpu();
    const Busy busy;
    const long before = own_waits();
    {
      const Courtesy courtesy(milliseconds(20));
      const Courtesy inner(std::chrono::hours(1));
      work_in_pieces(400);
    }
    EXPECT_LT(own_waits() - before, 200) << "the outer one decides, and has little";
  }).join();
}

TEST(CourtesyTest, NobodyIsForgotten) {
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  const milliseconds took = time_of([&] {
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&done] {
        const Courtesy courtesy(std::chrono::minutes(5));
        work_in_pieces(5);
        ++done;
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(done, 4);
  EXPECT_LT(took, std::chrono::minutes(4)) << "an answer that does not come is waited for to the end";
}

}  // namespace
}  // namespace weft
