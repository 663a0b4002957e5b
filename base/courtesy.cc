// See courtesy.h. Two numbers that only grow, and futex(2) to wait for them: nothing here is locked, so that
// the thread that answers can be interrupted anywhere.
#include "base/courtesy.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <thread>

namespace weft {
namespace {

using Clock = std::chrono::steady_clock;

// Shorter ones cost more for being woken than they give; a request waits for one at the most.
constexpr std::chrono::microseconds kPiece{50};

struct State {
  Clock::time_point piece_end;
  std::chrono::nanoseconds patience{0};
};
thread_local State* current = nullptr;
thread_local State state_of_thread;

// nullptr: without limit. Returns for any reason.
void wait_for_change(std::atomic<uint32_t>& word, uint32_t seen, const timespec* limit) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, seen, limit, nullptr, 0);
}

void wake_all(std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

class IdleThread {
 public:
  // Lives as long as the process.
  static IdleThread& get() {
    static IdleThread* const only = new IdleThread();
    return *only;
  }

  // Until a processor had nothing better to do, or the time is over.
  void ask(std::chrono::nanoseconds limit) {
    const uint32_t mine = asked_.fetch_add(1) + 1;
    wake_all(asked_);
    const Clock::time_point end = Clock::now() + limit;
    while (true) {
      const uint32_t answered = answered_.load();
      if (static_cast<int32_t>(answered - mine) >= 0) return;
      const int64_t left = std::chrono::nanoseconds(end - Clock::now()).count();
      if (left <= 0) return;
      const timespec rest{.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
      wait_for_change(answered_, answered, &rest);
    }
  }

 private:
  IdleThread() {
    std::thread thread([this] { run(); });
    const sched_param none{};
    // From here: the process may confine its system calls before the thread gets to it. Always allowed; where
    // it is not, the wait is a yield.
    ::pthread_setschedparam(thread.native_handle(), SCHED_IDLE, &none);
    thread.detach();
  }

  void run() {
    while (true) {
      const uint32_t asked = asked_.load();
      if (answered_.exchange(asked) != asked)
        wake_all(answered_);
      else
        wait_for_change(asked_, asked, nullptr);
    }
  }

  std::atomic<uint32_t> asked_{0};
  std::atomic<uint32_t> answered_{0};
};

}  // namespace

Courtesy::Courtesy(std::chrono::nanoseconds patience) : outer_(current == nullptr) {
  prepare();
  if (!outer_) return;
  state_of_thread = {.piece_end = Clock::now() + kPiece, .patience = patience};
  current = &state_of_thread;
}

Courtesy::~Courtesy() {
  if (outer_) current = nullptr;
}

void Courtesy::prepare() { IdleThread::get(); }

void give_way() {
  if (current == nullptr || current->patience.count() <= 0) return;
  const Clock::time_point now = Clock::now();
  if (now < current->piece_end) return;
  IdleThread::get().ask(current->patience);
  const Clock::time_point end = Clock::now();
  current->patience -= end - now;
  current->piece_end = end + kPiece;
}

}  // namespace weft
