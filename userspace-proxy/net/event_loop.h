// One worker's event loop: a backend that moves bytes (epoll or io_uring), timers, posted functions, deferred
// completions. Callers see operations with results (Socket, Acceptor), never the backend. One clock reading
// per turn. Everything but post(), stop() and turns() is for the thread that opened it only; it may be
// destroyed on another one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "userspace-proxy/net/io_backend.h"
#include "userspace-proxy/net/timer_wheel.h"
#include "userspace-proxy/net/wait_policy.h"

namespace weft::proxy {

// An object that ends inside its own callback is handed to the loop, which frees it when nothing of it is
// running.
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

  // `clock`, read once a turn, outlives the loop; null: CLOCK_MONOTONIC. Waits are real in any case: a loop
  // with a clock of its own is for turning by hand.
  static absl::StatusOr<std::unique_ptr<EventLoop>> open(IoKind kind = IoKind::kEpoll,
                                                         const Clock* clock = nullptr);
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
  // What sockets were given to send in this turn leaves now, not with the next wait: before work that takes
  // long.
  void send_out() { backend_->send_out(); }
  void retire(std::unique_ptr<Retirable> object) { retired_.push_back(std::move(object)); }

  // For the next waits: how many exchanges are under way (see wait_policy.h).
  void set_in_flight(uint64_t exchanges) { in_flight_ = exchanges; }

  // Told at the end of every turn; at most one.
  void observe(TurnObserver* observer) { observer_ = observer; }

  // The chunks that sockets of this loop receive into.
  BufferPool& buffers() { return buffers_; }
  IoBackend& io() { return *backend_; }

  uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kMaxSoonPerTurn = 4096;

  explicit EventLoop(const Clock* clock);
  int wait_limit(int max_wait_ms);
  void run_posted();
  void run_deferred();

  const SystemClock system_clock_;
  const Clock& clock_;
  MonotonicNs now_;
  TimerWheel timers_;
  IntrusiveList<Operation> soon_;
  IntrusiveList<Operation> later_;
  BufferPool buffers_;
  std::unique_ptr<IoBackend> backend_;  // set by open() and from then on
  std::vector<std::unique_ptr<Retirable>> retired_;
  TurnObserver* observer_ = nullptr;
  uint64_t in_flight_ = kUnknownInFlight;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> wake_sent_{false};
  std::atomic<uint64_t> turns_{0};
  absl::Mutex mutex_;
  std::vector<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::proxy
