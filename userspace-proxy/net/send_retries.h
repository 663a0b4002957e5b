// Sends that the kernel put off without telling when they will succeed: the pod at the other end of a
// shortcut has not read what it got (bpf/shortcut.bpf.c). They are tried again after a millisecond,
// and less often as long as none succeeds. Used by both backends. Worker thread only.
#pragma once

#include <algorithm>
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
  ~RetriedSend() = default;
};

class SendRetries {
 public:
  void later(RetriedSend& send) {
    if (waiting_.empty()) {
      const MonotonicNs now = clock_.now();
      // What was put off before has gone through long since.
      if (now > due_ + interval_ms_ * kNsPerMs) interval_ms_ = 1;
      due_ = now + interval_ms_ * kNsPerMs;
    }
    waiting_.push_back(send);
  }
  // How long a wait may last at the most; -1 and below: without limit.
  int limit(int max_wait_ms) const {
    if (waiting_.empty()) return max_wait_ms;
    const int until = static_cast<int>(interval_ms_);
    return max_wait_ms < 0 ? until : std::min(max_wait_ms, until);
  }
  // Tries all of them again when it is time.
  void run() {
    if (waiting_.empty() || clock_.now() < due_) return;
    IntrusiveList<RetriedSend, RetryTag> now;
    now.splice(waiting_);
    interval_ms_ = std::min(interval_ms_ * 2, kMostMs);
    while (RetriedSend* send = now.pop_front()) send->retry();
  }

 private:
  static constexpr uint64_t kMostMs = 32;

  const SystemClock clock_;
  IntrusiveList<RetriedSend, RetryTag> waiting_;
  uint64_t interval_ms_ = 1;
  MonotonicNs due_ = 0;
};

}  // namespace weft::proxy
