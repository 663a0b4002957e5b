// The composition root of weft-proxy: builds telemetry, workers, configuration, handover and reporter in that
// order, runs until it is told to stop, and takes them down in reverse. Used by main only; decides nothing
// about traffic.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "userspace-proxy/config/config_client.h"
#include "userspace-proxy/config/identity_client.h"
#include "userspace-proxy/handover/handover_client.h"
#include "userspace-proxy/handover/heartbeat.h"
#include "userspace-proxy/net/io_choice.h"
#include "userspace-proxy/reporter.h"
#include "userspace-proxy/telemetry/access_log.h"
#include "userspace-proxy/telemetry/worker_telemetry.h"
#include "userspace-proxy/wanted_identities.h"
#include "userspace-proxy/worker.h"

namespace weft::proxy {

inline constexpr char kVersion[] = "0.1.0";

class Proxy {
 public:
  struct Options {
    std::string run_dir = "/run/weft";
    uint32_t workers = 1;
    IoChoice io = IoChoice::kAuto;
    std::string access_log = "-";  // file, "-" or "off"
    std::chrono::seconds drain_timeout{30};
    // Of Worker::Options, of which there they say more; 0: the default.
    uint64_t max_connections = 0;
    uint64_t max_buffered_bytes = 0;
    uint64_t pod_max_connections = 0;
    uint64_t pod_max_exchanges = 0;
    uint64_t pod_max_buffered_bytes = 0;
    uint64_t pod_max_waiting = 0;
    PathNormalisation path_normalisation = PathNormalisation::kBase;
  };

  // SIGTERM, SIGINT and SIGHUP must be blocked already, so that no thread of ours takes them.
  static absl::StatusOr<std::unique_ptr<Proxy>> start(Options options);
  ~Proxy();

  // Until SIGTERM, SIGINT or the agent asks for a drain and the drain is over. SIGHUP reopens the access log;
  // a second SIGTERM or SIGINT ends at once.
  absl::Status run();

 private:
  explicit Proxy(Options options);
  absl::Status start_workers();
  absl::Status start_clients();
  absl::Status wait_for_stop();
  absl::Status drain();
  // The next signal that waits; 0: none.
  int take_signal();

  const Options options_;
  IoKind io_ = IoKind::kEpoll;
  UniqueFd signals_;                                 // signalfd
  UniqueFd drain_requested_, drained_, configured_;  // eventfds
  Wakeup observed_;
  std::atomic<bool> draining_{false};

  // Destroyed bottom up: first the clients, then workers, then what workers write to.
  std::unique_ptr<AccessLog> access_log_;
  std::vector<std::unique_ptr<WorkerTelemetry>> telemetry_;
  const std::shared_ptr<SharedClusters> clusters_ = std::make_shared<SharedClusters>();
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<IdentityClient> identity_;
  std::unique_ptr<WantedIdentities> wanted_identities_;
  std::unique_ptr<ConfigClient> config_;
  std::unique_ptr<Heartbeat> heartbeat_;
  std::unique_ptr<HandoverClient> handover_;
  std::unique_ptr<Reporter> reporter_;
};

}  // namespace weft::proxy
