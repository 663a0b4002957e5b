// See route_traffic.h.
#include "tools/bench/route_traffic.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <utility>

#include "base/strings.h"
#include "tools/bench/loopback.h"

namespace weft::bench {
namespace {

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "weft-bench-route: %s\n", what);
  std::exit(1);
}

// True: the calling thread has it, or had it taken away.
bool prefer(bool first) {
  const sched_param parameters{.sched_priority = first ? 1 : 0};
  return sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &parameters) == 0;
}

std::set<std::string> tasks() {
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    out.insert(entry.path().filename());
  return out;
}

void watch(int epoll, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

void run_where_weft_runs() { run_on(0, 0); }

FixedUpstream::FixedUpstream(const char* at, size_t body_bytes)
    : answer_(str_cat("HTTP/1.1 200 OK\r\ncontent-length: ", body_bytes, "\r\n\r\n",
                      std::string(body_bytes, 'x'))),
      listener_(listen_at(at, &address_)),
      stop_(::eventfd(0, EFD_CLOEXEC)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  watch(epoll_.get(), listener_.get());
  watch(epoll_.get(), stop_.get());
  thread_ = std::thread([this] { run(); });
}

FixedUpstream::~FixedUpstream() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void FixedUpstream::run() {
  run_on(last_cpu(), last_cpu());
  prefer(true);
  std::array<epoll_event, 64> events;
  while (true) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd == stop_.get()) return;
      if (fd == listener_.get()) {
        accept_one();
      } else if (!answer(fd)) {
        std::erase_if(connections_, [fd](const UniqueFd& open) { return open.get() == fd; });
      }
    }
  }
}

void FixedUpstream::accept_one() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) return;
  watch(epoll_.get(), fd.get());
  connections_.push_back(std::move(fd));
}

// A head comes whole: the proxy writes each with one call, and it is far smaller than a segment.
bool FixedUpstream::answer(int fd) const {
  std::array<char, 16 * 1024> buffer;
  const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
  if (got <= 0) return false;
  const std::string_view text(buffer.data(), static_cast<size_t>(got));
  for (size_t at = text.find("\r\n\r\n"); at != std::string_view::npos; at = text.find("\r\n\r\n", at + 4)) {
    if (::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL) < 0) return false;
  }
  return true;
}

RouteTraffic::RouteTraffic() {
  proxy::CaptureListener listener{.netns_cookie = 1, .workload_uid = "Kubernetes//Pod/default/client"};
  listener.listener = listen_at("127.0.0.1:0", &dialled_);
  proxy::Worker::Options options;
  options.sink = &sink_;
  run_where_weft_runs();
  const std::set<std::string> before = tasks();
  auto worker = proxy::Worker::start(options);
  if (!worker.ok()) fail("the worker does not start");
  for (const std::string& task : tasks()) {
    if (!before.contains(task)) worker_task_ = task;
  }
  worker_ = *std::move(worker);
  worker_->add_listener(std::move(listener));
  LoadOptions load;
  load.target = dialled_;
  load.request = "GET /item-7 HTTP/1.1\r\nhost: shop-0.default.svc.cluster.local\r\n\r\n";
  load.connections = 16;
  load.interval = 0;
  load.answered = [this](MonotonicNs due, MonotonicNs end) { answers_.push_back({due, end}); };
  load_ = Load::create(std::move(load)).value();
}

void RouteTraffic::wait_for(uint64_t generation) const {
  while (worker_->snapshot_generation() < generation) std::this_thread::yield();
}

bool RouteTraffic::has_priority() {
  bool out = false;
  std::thread([&out] { out = prefer(true); }).join();
  return out;
}

// The second number of schedstat: nanoseconds.
double RouteTraffic::waited_ms() const {
  std::ifstream file(str_cat("/proc/self/task/", worker_task_, "/schedstat"));
  uint64_t ran = 0, waited = 0;
  file >> ran >> waited;
  return static_cast<double>(waited) / 1e6;
}

double RouteTraffic::p99_us(double seconds, double rate) {
  run_on(last_cpu(), last_cpu());
  prefer(true);
  load_->set_pace(seconds, rate);
  answers_.clear();
  answers_.reserve(static_cast<size_t>(seconds * rate) + 1);
  const absl::Status status = load_->run(nullptr);
  prefer(false);
  run_where_weft_runs();
  const Counters& totals = load_->totals();
  if (!status.ok() || totals.failed() > 0 || totals.requests == 0)
    fail("a request failed while routes changed");
  return static_cast<double>(totals.latency.quantile(0.99));
}

}  // namespace weft::bench
