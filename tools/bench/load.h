// The load loop: a fixed number of client connections on one epoll, closed loop or paced. main.cc runs one;
// it knows nothing of meshes or namespaces (start it inside one). Paced latency counts from the moment a
// request was due, so a stall of the server is not hidden by the client waiting with it (coordinated
// omission).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/fd.h"
#include "tools/bench/counters.h"

namespace weft::bench {

struct LoadOptions {
  SocketAddress target;
  std::string request;         // complete bytes of one request
  std::string version_header;  // lower case; empty: none
  bool version_from_body = false;
  bool new_connections = false;  // one per request
  bool mapped_v4 = false;        // dial IPv4 from an IPv6 socket (::ffff:a.b.c.d)
  uint32_t connections = 1;
  double rate = 0;        // per second in all; 0: as fast as answers come
  uint64_t requests = 0;  // stop after this many; 0: no limit
  double duration = 0;    // seconds; 0: no limit
  double timeout = 10;    // seconds per request
  double interval = 1;    // seconds between live reports; 0: none
  // Called for every answer: when its request was due, and when it was there.
  std::function<void(MonotonicNs due, MonotonicNs end)> answered = nullptr;
};

class LoadConnection;

class Load {
 public:
  using Report = std::function<void(const Counters& interval, double at_seconds, double span_seconds)>;

  static absl::StatusOr<std::unique_ptr<Load>> create(LoadOptions options);
  ~Load();

  // Returns when the limits are reached or after stop(); live intervals go to `report`. May be called again:
  // it counts from zero and goes on with the connections that are open.
  absl::Status run(const Report& report);
  // For the next run(); see LoadOptions.
  void set_pace(double duration, double rate) {
    options_.duration = duration;
    options_.rate = rate;
  }
  // Async-signal-safe: outstanding requests are dropped, not counted.
  void stop() { stopped_ = true; }

  const Counters& totals() const { return totals_; }
  double elapsed_seconds() const;

 private:
  friend class LoadConnection;

  Load(LoadOptions options, UniqueFd epoll);
  bool finished() const;
  void start_due_requests();
  void check_timeouts();
  void report_if_due(const Report& report, bool last);
  MonotonicNs next_wake() const;
  bool may_start() const;
  MonotonicNs due_time(uint64_t index) const;
  absl::Status poll_once(MonotonicNs until);
  // Called by a connection when its request ended; the connection is idle again.
  void on_response(LoadConnection& connection, MonotonicNs due);
  void on_failure(LoadConnection& connection, Failure failure);
  void on_connected() { ++interval_.connections; }
  void on_retry() { ++interval_.retries; }

  LoadOptions options_;
  UniqueFd epoll_;
  SystemClock clock_;
  MonotonicNs start_ = 0;
  MonotonicNs now_ = 0;
  MonotonicNs interval_start_ = 0;
  MonotonicNs timeouts_checked_ = 0;
  uint64_t started_ = 0;
  uint64_t ended_ = 0;
  volatile bool stopped_ = false;
  Counters interval_;
  Counters totals_;
  std::vector<std::unique_ptr<LoadConnection>> connections_;
  // The one that waits longest comes first, so that a slow pace still uses all of them.
  std::deque<LoadConnection*> idle_;
};

}  // namespace weft::bench
