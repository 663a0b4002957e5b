// Order of a turn of event_loop.h: wait, clock, what happened, posted functions, timers, deferred operations,
// retired objects.
#include "userspace-proxy/net/event_loop.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace weft::proxy {
namespace {

// An idle loop still turns, so that the heartbeat (one a second) can tell idle from stuck.
constexpr int kIdleTurnMs = 400;

}  // namespace

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::open(IoKind kind, const Clock* clock) {
  std::unique_ptr<EventLoop> loop(new EventLoop(clock));
  ASSIGN_OR_RETURN(loop->backend_, IoBackend::open(kind, loop->soon_, loop->buffers_));
  return loop;
}

EventLoop::EventLoop(const Clock* clock)
    : clock_(clock == nullptr ? static_cast<const Clock&>(system_clock_) : *clock),
      now_(clock_.now()),
      timers_(now_) {
  retired_.reserve(64);
}

EventLoop::~EventLoop() = default;

void EventLoop::run() {
  while (!stopping_.load(std::memory_order_acquire)) turn(kIdleTurnMs);
}

void EventLoop::stop() {
  stopping_.store(true, std::memory_order_release);
  post([] {});
}

int EventLoop::wait_limit(int max_wait_ms) {
  if (!soon_.empty() || !later_.empty()) return 0;
  const std::optional<uint64_t> timer = timers_.wait_ms(now_);
  if (!timer) return max_wait_ms;
  const int limit = static_cast<int>(std::min<uint64_t>(*timer, 60'000));
  return max_wait_ms < 0 ? limit : std::min(limit, max_wait_ms);
}

void EventLoop::turn(int max_wait_ms) {
  const int limit = wait_limit(max_wait_ms);
  soon_.splice(later_);
  backend_->wait(limit, in_flight_);
  now_ = clock_.now();
  turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  backend_->dispatch();
  if (wake_sent_.load(std::memory_order_acquire)) run_posted();
  timers_.advance(now_);
  run_deferred();
  // By index: a destructor may retire more.
  for (size_t i = 0; i < retired_.size(); ++i) retired_[i].reset();
  retired_.clear();
  if (observer_ != nullptr) observer_->turn_ended();
}

void EventLoop::run_deferred() {
  for (int i = 0; i < kMaxSoonPerTurn; ++i) {
    Operation* operation = soon_.pop_front();
    if (operation == nullptr) return;
    operation->run();
  }
}

void EventLoop::post(std::function<void()> function) {
  {
    absl::MutexLock lock(&mutex_);
    posted_.push_back(std::move(function));
  }
  if (wake_sent_.exchange(true, std::memory_order_acq_rel)) return;
  backend_->wake();
}

void EventLoop::run_posted() {
  wake_sent_.store(false, std::memory_order_release);
  std::vector<std::function<void()>> functions;
  {
    absl::MutexLock lock(&mutex_);
    functions.swap(posted_);
  }
  for (const auto& function : functions) function();
}

}  // namespace weft::proxy
