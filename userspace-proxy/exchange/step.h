// Step: the one leaf an exchange's coroutine waits on besides its pumps. A call that takes an Operation is
// begun with operation(), its answer given to begin(), and then the step awaited:
//   step_.begin(stream.read_request(step_.operation()));
//   co_await step_;
#pragma once

#include <coroutine>

#include "userspace-proxy/exchange/task.h"

namespace weft::proxy {

class Step {
 public:
  Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  Operation& operation() { return operation_; }
  void begin(bool over) { state_ = over ? State::kOver : State::kWaiting; }
  // The one who awaits goes on at once; nothing is told any more.
  void abort() {
    if (state_ != State::kWaiting) return;
    operation_.cancel();
    state_ = State::kAborted;
    waiter_.wake();
  }
  void cancel() { operation_.cancel(); }
  bool waiting() const { return state_ == State::kWaiting; }
  bool aborted() const { return state_ == State::kAborted; }

  bool await_ready() const { return state_ != State::kWaiting; }
  void await_suspend(std::coroutine_handle<> handle) { waiter_.set(handle); }
  void await_resume() const {}

 private:
  enum class State : uint8_t { kWaiting, kOver, kAborted };
  void on_done(int) {
    state_ = State::kOver;
    waiter_.wake();
  }

  State state_ = State::kOver;
  Waiter waiter_;
  Operation operation_{this, method<&Step::on_done>};
};

}  // namespace weft::proxy
