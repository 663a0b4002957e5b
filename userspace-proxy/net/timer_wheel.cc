// The wheel of timer_wheel.h. A timer sits at the level whose slot width is the largest not above its distance, and falls to
// lower levels as its slot comes up; level 0 slots hold timers of exactly one tick.
#include "userspace-proxy/net/timer_wheel.h"

#include <bit>

namespace weft::proxy {

void TimerWheel::arm(Timer& timer, MonotonicNs now, uint64_t delay_ms) {
  timer.unlink();
  // Rounded up, so that a timer never fires early.
  timer.due_ms_ = (now + kNsPerMs - 1) / kNsPerMs + delay_ms;
  if (timer.due_ms_ <= current_ms_) timer.due_ms_ = current_ms_ + 1;
  insert(timer);
}

void TimerWheel::insert(Timer& timer) {
  const uint64_t distance = timer.due_ms_ - current_ms_;
  int level = 0;
  while (level < kLevels - 1 && distance >= (uint64_t{1} << (kBits * (level + 1)))) ++level;
  const int shift = kBits * level;
  uint64_t tick = timer.due_ms_ >> shift;
  // Beyond the wheel (4.6 hours): parked in the farthest slot and inserted again when that comes up.
  const uint64_t farthest = (current_ms_ >> shift) + kSlots - 1;
  if (level == kLevels - 1 && tick > farthest) tick = farthest;
  const uint64_t slot = tick & (kSlots - 1);
  slots_[level][slot].push_back(timer);
  occupied_[level] |= uint64_t{1} << slot;
}

std::optional<uint64_t> TimerWheel::next_tick_of(int level) {
  const int shift = kBits * level;
  const uint64_t base = current_ms_ >> shift;
  while (occupied_[level] != 0) {
    // Bit k of `rotated` is the slot k + 1 places ahead.
    const uint64_t rotated = std::rotr(occupied_[level], static_cast<int>((base + 1) & (kSlots - 1)));
    const uint64_t ahead = static_cast<uint64_t>(std::countr_zero(rotated)) + 1;
    const uint64_t slot = (base + ahead) & (kSlots - 1);
    if (!slots_[level][slot].empty()) return (base + ahead) << shift;
    occupied_[level] &= ~(uint64_t{1} << slot);
  }
  return std::nullopt;
}

std::optional<uint64_t> TimerWheel::next_tick() {
  std::optional<uint64_t> first;
  for (int level = 0; level < kLevels; ++level) {
    const std::optional<uint64_t> tick = next_tick_of(level);
    if (tick && (!first || *tick < *first)) first = tick;
  }
  return first;
}

void TimerWheel::run_tick(uint64_t tick) {
  current_ms_ = tick;
  for (int level = kLevels - 1; level > 0; --level) {
    const int shift = kBits * level;
    if ((tick & ((uint64_t{1} << shift) - 1)) != 0) continue;
    IntrusiveList<Timer> falling;
    falling.splice(slots_[level][(tick >> shift) & (kSlots - 1)]);
    while (Timer* timer = falling.pop_front()) insert(*timer);
  }
  IntrusiveList<Timer> due;
  due.splice(slots_[0][tick & (kSlots - 1)]);
  while (Timer* timer = due.pop_front()) timer->call_(timer->owner_);
}

void TimerWheel::advance(MonotonicNs now) {
  const uint64_t now_ms = now / kNsPerMs;
  while (true) {
    const std::optional<uint64_t> tick = next_tick();
    if (!tick || *tick > now_ms) break;
    run_tick(*tick);
  }
  if (now_ms > current_ms_) current_ms_ = now_ms;
}

std::optional<uint64_t> TimerWheel::wait_ms(MonotonicNs now) {
  const std::optional<uint64_t> tick = next_tick();
  if (!tick) return std::nullopt;
  const uint64_t now_ms = now / kNsPerMs;
  return *tick > now_ms ? *tick - now_ms : 0;
}

}  // namespace weft::proxy
