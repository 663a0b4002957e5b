// The epoll backend of event_loop.h. Order of a turn: wait, clock, posted functions, events, timers, deferred operations,
// retired objects.
#include "userspace-proxy/net/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/status_macros.h"

namespace weft::proxy {

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::open() {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return errno_status("epoll_create1", errno);
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return errno_status("eventfd", errno);
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.ptr = nullptr}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) return errno_status("epoll_ctl", errno);
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

EventLoop::EventLoop(UniqueFd epoll, UniqueFd wake)
    : epoll_(std::move(epoll)), wake_(std::move(wake)), now_(clock_.now()), timers_(now_) {
  retired_.reserve(64);
}

EventLoop::~EventLoop() = default;

void EventLoop::run() {
  while (!stopping_.load(std::memory_order_acquire)) turn(-1);
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
  const int count = epoll_wait(epoll_.get(), events_.data(), static_cast<int>(kMaxEvents), wait_limit(max_wait_ms));
  now_ = clock_.now();
  turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  event_count_ = std::max(count, 0);
  soon_.splice(later_);
  if (wake_sent_.load(std::memory_order_acquire)) run_posted();
  for (event_next_ = 0; event_next_ < event_count_;) {
    const epoll_event event = events_[event_next_++];
    // A null source is the wake-up descriptor (edge-triggered: no need to read it) or one that was forgotten.
    if (event.data.ptr != nullptr) static_cast<EventSource*>(event.data.ptr)->on_events(event.events);
  }
  event_count_ = event_next_ = 0;
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
  const uint64_t one = 1;
  // Cannot fail but by overflow, which still leaves the descriptor readable.
  [[maybe_unused]] const ssize_t ignored = write(wake_.get(), &one, sizeof(one));
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

bool EventLoop::watch(int fd, EventSource& source, uint32_t events) {
  epoll_event event{.events = events | EPOLLET, .data = {.ptr = &source}};
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void EventLoop::forget(int fd, EventSource& source) {
  for (int i = event_next_; i < event_count_; ++i) {
    if (events_[i].data.ptr == &source) events_[i].data.ptr = nullptr;
  }
  // Closing alone is not enough: a descriptor duplicated elsewhere keeps the registration (epoll(7)).
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

}  // namespace weft::proxy
