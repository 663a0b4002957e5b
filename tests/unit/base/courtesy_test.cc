// Who gives way: to whom it waits, for how long at most, and that it costs nobody a lock.
#include "base/courtesy.h"

#include <gtest/gtest.h>
#include <sched.h>

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

// Uses up its CPU while it lives.
class Busy {
 public:
  Busy()
      : thread_([this] {
          while (!stop_.load(std::memory_order_relaxed)) turns_.fetch_add(1, std::memory_order_relaxed);
        }) {}
  ~Busy() {
    stop_ = true;
    thread_.join();
  }
  uint64_t turns() const { return turns_.load(); }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> turns_{0};
  std::thread thread_;
};

void work_for(std::chrono::microseconds time) {
  const Clock::time_point until = Clock::now() + time;
  while (Clock::now() < until) {
  }
}

// So many pieces of work, each longer than those that nobody gives way within.
void work_in_pieces(int pieces) {
  for (int i = 0; i < pieces; ++i) {
    work_for(std::chrono::microseconds(250));
    give_way();
  }
}

milliseconds time_of(const std::function<void()>& work) {
  const Clock::time_point begin = Clock::now();
  work();
  return std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
}

TEST(CourtesyTest, WhoAnswersIsOfTheLowestClass) {
  Courtesy::prepare();
  // It sets its class itself, before it answers.
  {
    const Courtesy courtesy(std::chrono::seconds(30));
    work_in_pieces(1);
  }
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
    const uint64_t begin = busy.turns();
    work_in_pieces(20);
    const uint64_t beside_hasty = busy.turns() - begin;
    {
      const Courtesy courtesy(std::chrono::seconds(10));
      work_in_pieces(20);
    }
    EXPECT_GT(busy.turns() - begin - beside_hasty, 2 * beside_hasty);
  }).join();
}

TEST(CourtesyTest, PatienceEnds) {
  std::thread([] {
    stay_on_one_cpu();
    const Busy busy;
    // 400 waits would be seconds.
    const milliseconds took = time_of([] {
      const Courtesy courtesy(milliseconds(20));
      const Courtesy inner(std::chrono::hours(1));
      work_in_pieces(400);
    });
    const milliseconds hasty = time_of([] { work_in_pieces(400); });
    EXPECT_LT(took, 3 * hasty + milliseconds(200)) << "the outer one decides, and has little";
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
