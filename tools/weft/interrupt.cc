// See interrupt.h.
#include "tools/weft/interrupt.h"

#include <time.h>

namespace weft::cli {

Interrupt::Interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  thread_ = std::thread([this] { run(); });
}

Interrupt::~Interrupt() {
  ending_ = true;
  thread_.join();
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Interrupt::run() {
  // How fast the end is noticed; a signal is at once.
  constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 50'000'000};
  while (!ending_) {
    if (::sigtimedwait(&signals_, nullptr, &kLook) < 0) continue;
    const std::lock_guard lock(mutex_);
    asked_ = true;
    if (call_ != nullptr) call_->TryCancel();
    came_.notify_all();
  }
}

void Interrupt::watch(grpc::ClientContext* call) {
  const std::lock_guard lock(mutex_);
  call_ = call;
  if (call_ != nullptr && asked_) call_->TryCancel();
}

void Interrupt::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  came_.wait_for(lock, time, [this] { return asked_.load(); });
}

}  // namespace weft::cli
