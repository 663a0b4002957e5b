// The proxy's voice: the ProxyTelemetry.Report stream to the agent. Hello, a Beat each second while every
// worker's loop turns, Metrics when asked, exchanges while somebody watches. Owned by Proxy; has its own
// threads; reads workers, never waits for one.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "userspace-proxy/net/io_kind.h"
#include "userspace-proxy/telemetry/worker_telemetry.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

class Reporter {
 public:
  struct Options {
    std::string target;  // "unix:/run/weft/xds.sock"
    std::string version;
    std::string io{name_of(IoKind::kEpoll)};  // for `weft status` and the gauge weft_proxy_io_uring
    std::chrono::milliseconds beat_interval{1000};
    std::chrono::milliseconds backoff_min{10};
    std::chrono::milliseconds backoff_max{2000};
  };
  // Everything is borrowed and outlives the reporter. The functions are called on its threads.
  struct Sources {
    std::vector<Worker*> workers;
    std::vector<WorkerTelemetry*> telemetry;
    Wakeup* observed = nullptr;  // the one the WorkerTelemetry objects notify
    std::function<std::map<std::string, std::string>()> rejected;
    std::function<uint64_t()> access_log_dropped;
    std::function<SharedClusters::Sums()> clusters;
    std::function<bool()> draining;
    std::function<void()> drain;  // the agent asks for a graceful drain
  };

  static std::unique_ptr<Reporter> start(Options options, Sources sources);
  // Cancels the stream and joins.
  virtual ~Reporter() = default;
};

}  // namespace weft::proxy
