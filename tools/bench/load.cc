// See load.h.
#include "tools/bench/load.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/status_macros.h"
#include "tools/bench/load_connection.h"

namespace weft::bench {
namespace {

// How exact timeouts are: looking at every connection costs, and there may be thousands.
constexpr MonotonicNs kTimeoutStep = kNsPerSecond / 20;

MonotonicNs to_ns(double seconds) {
  return static_cast<MonotonicNs>(seconds * static_cast<double>(kNsPerSecond));
}

double to_seconds(MonotonicNs ns) { return static_cast<double>(ns) / static_cast<double>(kNsPerSecond); }

// The first line of the body without spaces at its end: "v1\n" is version "v1".
std::string version_of(std::string_view body) {
  body = body.substr(0, body.find('\n'));
  while (!body.empty() && (body.back() == '\r' || body.back() == ' ')) body.remove_suffix(1);
  return std::string(body);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Load>> Load::create(LoadOptions options) {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return errno_status("create epoll", errno);
  std::unique_ptr<Load> load(new Load(std::move(options), std::move(epoll)));
  for (uint32_t i = 0; i < load->options_.connections; ++i) {
    load->connections_.push_back(std::make_unique<LoadConnection>(*load));
    load->idle_.push_back(load->connections_.back().get());
  }
  return load;
}

Load::Load(LoadOptions options, UniqueFd epoll) : options_(std::move(options)), epoll_(std::move(epoll)) {}

Load::~Load() = default;

double Load::elapsed_seconds() const { return to_seconds(clock_.now() - start_); }

absl::Status Load::run(const Report& report) {
  start_ = interval_start_ = timeouts_checked_ = now_ = clock_.now();
  started_ = ended_ = 0;
  interval_ = totals_ = Counters();
  while (!finished()) {
    start_due_requests();
    RETURN_IF_ERROR(poll_once(next_wake()));
    now_ = clock_.now();
    check_timeouts();
    report_if_due(report, false);
  }
  now_ = clock_.now();
  report_if_due(report, true);
  return absl::OkStatus();
}

bool Load::may_start() const {
  if (stopped_) return false;
  if (options_.requests != 0 && started_ >= options_.requests) return false;
  return options_.duration == 0 || now_ < start_ + to_ns(options_.duration);
}

// After the limit the requests under way are still awaited: none is lost from the count.
bool Load::finished() const { return stopped_ || (!may_start() && ended_ == started_); }

MonotonicNs Load::due_time(uint64_t index) const {
  if (options_.rate <= 0) return now_;
  return start_ + to_ns(static_cast<double>(index) / options_.rate);
}

void Load::start_due_requests() {
  // A dial that fails at once leaves its connection idle again; it gets its next turn after the poll, not
  // here.
  for (size_t left = idle_.size(); left > 0 && may_start(); --left) {
    const MonotonicNs due = due_time(started_);
    if (due > now_) return;
    LoadConnection& connection = *idle_.front();
    idle_.pop_front();
    ++started_;
    connection.start(due, now_ + to_ns(options_.timeout));
  }
}

MonotonicNs Load::next_wake() const {
  MonotonicNs wake = now_ + kNsPerSecond;
  if (options_.interval > 0) wake = std::min(wake, interval_start_ + to_ns(options_.interval));
  if (idle_.size() < connections_.size()) wake = std::min(wake, timeouts_checked_ + kTimeoutStep);
  if (!idle_.empty() && may_start()) wake = std::min(wake, due_time(started_));
  return wake;
}

absl::Status Load::poll_once(MonotonicNs until) {
  std::array<epoll_event, 256> events;
  const MonotonicNs wait = until > now_ ? until - now_ : 0;
  const timespec timeout{.tv_sec = static_cast<time_t>(wait / kNsPerSecond),
                         .tv_nsec = static_cast<long>(wait % kNsPerSecond)};
  const int n =
      ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  if (n < 0 && errno != EINTR) return errno_status("wait for connections", errno);
  now_ = clock_.now();
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    static_cast<LoadConnection*>(event.data.ptr)->on_ready(event.events);
  }
  return absl::OkStatus();
}

void Load::check_timeouts() {
  if (now_ < timeouts_checked_ + kTimeoutStep) return;
  timeouts_checked_ = now_;
  for (auto& connection : connections_) {
    if (!connection->idle() && connection->deadline() <= now_) connection->on_timeout();
  }
}

void Load::report_if_due(const Report& report, bool last) {
  const MonotonicNs span = now_ - interval_start_;
  const bool due = options_.interval > 0 && span >= to_ns(options_.interval);
  if (!due && !last) return;
  if (options_.interval > 0 && report && interval_.requests + interval_.failed() > 0) {
    report(interval_, to_seconds(now_ - start_), to_seconds(span));
  }
  totals_.requests += interval_.requests;
  totals_.connections += interval_.connections;
  totals_.retries += interval_.retries;
  totals_.body_bytes += interval_.body_bytes;
  for (const auto& [version, n] : interval_.versions) totals_.versions[version] += n;
  for (const auto& [status, n] : interval_.statuses) totals_.statuses[status] += n;
  for (size_t i = 0; i < kFailureCount; ++i) totals_.failures[i] += interval_.failures[i];
  totals_.latency.merge(interval_.latency);
  interval_ = Counters();
  interval_start_ = now_;
}

void Load::on_response(LoadConnection& connection, MonotonicNs due) {
  const ResponseReader& reader = connection.reader();
  idle_.push_back(&connection);
  ++ended_;
  ++interval_.requests;
  ++interval_.statuses[reader.status()];
  interval_.body_bytes += reader.body_bytes();
  const MonotonicNs end = clock_.now();
  interval_.latency.add(end > due ? (end - due) / 1000 : 0);
  if (options_.answered) options_.answered(due, end);
  if (reader.status() >= 400) {
    ++interval_.failures[static_cast<size_t>(Failure::kStatus)];
    return;
  }
  if (!options_.version_header.empty()) {
    ++interval_.versions[reader.header_value()];
  } else if (options_.version_from_body) {
    ++interval_.versions[version_of(reader.body_start())];
  }
}

void Load::on_failure(LoadConnection& connection, Failure failure) {
  idle_.push_back(&connection);
  ++ended_;
  ++interval_.failures[static_cast<size_t>(failure)];
}

}  // namespace weft::bench
