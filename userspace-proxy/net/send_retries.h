// Sends that the kernel put off without telling when they will succeed: the pod at the other end of a
// shortcut has not read what it got (bpf/shortcut.bpf.c). Each is tried again after a millisecond, and less
// often as long as it does not succeed, up to a second: a pod that never reads costs next to nothing, and
// nobody else waits for it. Used by both backends. Worker thread only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/clock.h"
#include "userspace-proxy/net/intrusive_list.h"

namespace weft::proxy {

struct RetryTag {};

// A socket that has such a send.
class RetriedSend : public ListNode<RetryTag> {
 public:
  // Not called any more after give_up().
  virtual void retry() = 0;
  void give_up() { ListNode<RetryTag>::unlink(); }

 protected:
  virtual ~RetriedSend() = default;
  // Something of it was sent: the next one that is put off is a new matter.
  void succeeded() { failures_ = 0; }

 private:
  friend class SendRetries;
  MonotonicNs due_ = 0;
  uint8_t failures_ = 0;  // in a row
};

class SendRetries {
 public:
  explicit SendRetries(const Clock& clock = system_clock()) : clock_(clock) {}

  void later(RetriedSend& send) {
    const size_t step = std::min<size_t>(send.failures_, kSteps - 1);
    send.failures_ = static_cast<uint8_t>(std::min<size_t>(step + 1, kSteps - 1));
    send.due_ = clock_.now() + (kNsPerMs << step);
    waiting_[step].push_back(send);
    any_ = true;
  }
  // How long a wait may last at the most; -1 and below: without limit.
  int limit(int max_wait_ms) {
    if (!any_) return max_wait_ms;
    const MonotonicNs due = first_due();
    if (due == kNever) return max_wait_ms;
    const MonotonicNs now = clock_.now();
    const int until = due <= now ? 0 : static_cast<int>((due - now + kNsPerMs - 1) / kNsPerMs);
    return max_wait_ms < 0 ? until : std::min(max_wait_ms, until);
  }
  // Tries those again whose time has come.
  void run() {
    if (!any_) return;
    const MonotonicNs now = clock_.now();
    IntrusiveList<RetriedSend, RetryTag> due;
    for (List& list : waiting_) {
      while (RetriedSend* send = list.front()) {
        if (send->due_ > now) break;
        due.push_back(*send);
      }
    }
    while (RetriedSend* send = due.pop_front()) send->retry();
    any_ = first_due() != kNever;
  }

 private:
  using List = IntrusiveList<RetriedSend, RetryTag>;
  static constexpr size_t kSteps = 11;  // 1 ms to 1024 ms
  static constexpr MonotonicNs kNever = ~MonotonicNs{0};

  static const Clock& system_clock() {
    static const SystemClock clock;
    return clock;
  }
  MonotonicNs first_due() {
    MonotonicNs due = kNever;
    for (List& list : waiting_) {
      if (const RetriedSend* send = list.front()) due = std::min(due, send->due_);
    }
    return due;
  }

  const Clock& clock_;
  // By how long they wait; in each those come first that are due first.
  std::array<List, kSteps> waiting_;
  bool any_ = false;  // something may wait
};

}  // namespace weft::proxy
