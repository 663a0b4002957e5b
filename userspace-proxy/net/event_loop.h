// One worker's event loop: readiness from epoll (edge-triggered), timers, posted functions, deferred completions. Callers see
// operations with results (Socket, Acceptor), never epoll, so that another backend can take its place. One clock reading per
// turn. Everything but post() and stop() is for the loop's thread only.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "base/fd.h"
#include "userspace-proxy/net/operation.h"
#include "userspace-proxy/net/timer_wheel.h"

namespace weft::proxy {

// Something with a descriptor: told what became ready. Never destroys itself in on_events.
class EventSource {
 public:
  virtual ~EventSource() = default;
  virtual void on_events(uint32_t events) = 0;
};

// An object that ends inside its own callback is handed to the loop, which frees it when nothing of it is running.
class Retirable {
 public:
  virtual ~Retirable() = default;
};

class EventLoop {
 public:
  class TurnObserver {
   public:
    virtual ~TurnObserver() = default;
    virtual void turn_ended() = 0;
  };

  static absl::StatusOr<std::unique_ptr<EventLoop>> open();
  ~EventLoop();

  // Turns until stop().
  void run();
  // One turn, waiting at most `max_wait_ms` (-1: until something happens).
  void turn(int max_wait_ms);
  void stop();  // any thread

  MonotonicNs now() const { return now_; }
  void arm(Timer& timer, uint64_t delay_ms) { timers_.arm(timer, now_, delay_ms); }
  // Any thread: runs at the top of a later turn.
  void post(std::function<void()> function);
  // Runs the operation later in this turn, or in the next turn when this one did enough.
  void soon(Operation& operation) { soon_.push_back(operation); }
  // Runs the operation in the next turn: how long work lets others go first.
  void next_turn(Operation& operation) { later_.push_back(operation); }
  void retire(std::unique_ptr<Retirable> object) { retired_.push_back(std::move(object)); }

  // Told at the end of every turn; at most one.
  void observe(TurnObserver* observer) { observer_ = observer; }

  // False when the kernel refuses (errno is set).
  bool watch(int fd, EventSource& source, uint32_t events);
  // Before the descriptor is closed: drops events already taken from the kernel.
  void forget(int fd, EventSource& source);

  uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kMaxEvents = 256;
  static constexpr int kMaxSoonPerTurn = 4096;

  EventLoop(UniqueFd epoll, UniqueFd wake);
  int wait_limit(int max_wait_ms);
  void run_posted();
  void run_deferred();

  UniqueFd epoll_;
  UniqueFd wake_;
  SystemClock clock_;
  MonotonicNs now_;
  TimerWheel timers_;
  IntrusiveList<Operation> soon_;
  IntrusiveList<Operation> later_;
  std::vector<std::unique_ptr<Retirable>> retired_;
  std::array<epoll_event, kMaxEvents> events_{};
  TurnObserver* observer_ = nullptr;
  int event_count_ = 0;
  int event_next_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> wake_sent_{false};
  std::atomic<uint64_t> turns_{0};
  absl::Mutex mutex_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::proxy
