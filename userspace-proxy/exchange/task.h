// Task: the only coroutine type. Owns its frame; runs when start() is called; tells one Operation when it is
// over. Destroying a suspended Task cancels it: the awaiters in its frame take their operations back. Leaves
// are awaiters, never Tasks.
#pragma once

#include <coroutine>
#include <exception>
#include <utility>

#include "userspace-proxy/net/event_loop.h"
#include "userspace-proxy/net/frame_pool.h"

namespace weft::proxy {

class Task {
 public:
  struct promise_type {
    EventLoop* loop = nullptr;
    Operation* finished = nullptr;

    static void* operator new(size_t size) { return take_frame(size); }
    static void operator delete(void* block, size_t size) { give_frame(block, size); }

    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Tell {
        bool await_ready() noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> handle) noexcept {
          handle.promise().loop->soon(*handle.promise().finished);
        }
        void await_resume() noexcept {}
      };
      return Tell{};
    }
    void return_void() {}
    // Nothing of ours throws; out of memory ends the process.
    void unhandled_exception() { std::terminate(); }
  };

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // `finished` runs from the loop after the last statement.
  void start(EventLoop& loop, Operation& finished) {
    handle_.promise().loop = &loop;
    handle_.promise().finished = &finished;
    handle_.resume();
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

// What an awaiter object of the exchange shares: the coroutine that waits for it, if any.
class Waiter {
 public:
  void set(std::coroutine_handle<> handle) { handle_ = handle; }
  void wake() {
    if (handle_) std::exchange(handle_, nullptr).resume();
  }

 private:
  std::coroutine_handle<> handle_;
};

}  // namespace weft::proxy
