// Wakes one sleeping thread without a lock: the producer pays a system call only when the consumer is really asleep. The
// consumer calls prepare(), checks for work again, then wait() (Dekker's order, hence the sequentially consistent operations).
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "base/fd.h"

namespace weft::proxy {

class Wakeup {
 public:
  Wakeup() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // Any thread, after its work is visible.
  void notify() {
    if (!sleeping_.load() || !sleeping_.exchange(false)) return;
    const uint64_t one = 1;
    // A full counter is readable already.
    [[maybe_unused]] const ssize_t ignored = ::write(fd_.get(), &one, sizeof(one));
  }

  // Consumer only.
  void prepare() { sleeping_.store(true); }
  void cancel() { sleeping_.store(false); }
  // Returns after a notify() since prepare(), or after `timeout_ms` (-1: never).
  void wait(int timeout_ms) {
    pollfd event{fd_.get(), POLLIN, 0};
    ::poll(&event, 1, timeout_ms);
    sleeping_.store(false);
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t ignored = ::read(fd_.get(), &count, sizeof(count));
  }

 private:
  UniqueFd fd_;
  std::atomic<bool> sleeping_{false};
};

}  // namespace weft::proxy
