// Timers of one worker: a hierarchical hashed wheel, 4 levels of 64 slots, one tick = 1 ms, arming and cancelling O(1). The
// loop advances it once per turn; a Timer is embedded in its owner and leaves the wheel when destroyed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "userspace-proxy/net/operation.h"

namespace weft::proxy {

class Timer : public ListNode<> {
 public:
  // Calls (owner->*Method)().
  template <typename T, auto Method>
  Timer(T* owner, MethodTag<Method>)
      : owner_(owner), call_([](void* o) { (static_cast<T*>(o)->*Method)(); }) {}

  bool armed() const { return linked(); }
  void cancel() { unlink(); }

 private:
  friend class TimerWheel;
  void* owner_;
  void (*call_)(void*);
  uint64_t due_ms_ = 0;
};

class TimerWheel {
 public:
  explicit TimerWheel(MonotonicNs now) : current_ms_(now / kNsPerMs) {}

  // Fires at the first advance() that is at least `delay_ms` after `now`; re-arms an armed timer.
  void arm(Timer& timer, MonotonicNs now, uint64_t delay_ms);
  // Fires everything due. Callbacks may arm, cancel and destroy timers, their own included.
  void advance(MonotonicNs now);
  // Milliseconds until advance() may have something to do; nullopt when no timer is armed.
  std::optional<uint64_t> wait_ms(MonotonicNs now);

 private:
  static constexpr int kLevels = 4;
  static constexpr int kBits = 6;
  static constexpr uint64_t kSlots = 1 << kBits;

  void insert(Timer& timer);
  // The next tick at which a slot must be looked at; nullopt when the wheel is empty.
  std::optional<uint64_t> next_tick();
  std::optional<uint64_t> next_tick_of(int level);
  void run_tick(uint64_t tick);

  uint64_t current_ms_;
  std::array<uint64_t, kLevels> occupied_{};  // one bit per slot; may say yes for a slot whose timers were cancelled
  std::array<std::array<IntrusiveList<Timer>, kSlots>, kLevels> slots_;
};

}  // namespace weft::proxy
