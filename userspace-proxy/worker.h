// One data-path thread: its event loop, timers, listeners, connections and upstream pools. Shares nothing
// mutable but the counts and tables of shared_clusters.h; the methods below are its only doors and may be
// called from any thread: each posts to the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/fd.h"
#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/exchange/admission.h"
#include "userspace-proxy/http/http2_fault_counts.h"
#include "userspace-proxy/net/io_kind.h"
#include "userspace-proxy/telemetry/exchange_record.h"
#include "userspace-proxy/telemetry/pod_use.h"
#include "userspace-proxy/tls/credentials.h"
#include "userspace-proxy/upstream/pool.h"
#include "userspace-proxy/upstream/shared_clusters.h"

namespace weft::proxy {

// One capture listener of one pod, as this worker serves it.
struct CaptureListener {
  uint64_t netns_cookie = 0;
  std::string workload_uid;
  UniqueFd netns;         // for dialling from inside the pod's namespace (setns)
  UniqueFd listener;      // non-blocking, listening; bound to the port of HBONE, it takes tunnels
  bool confined = false;  // the pod may reach declared destinations only
};

// Relaxed counters, single writer (the worker), any reader.
struct WorkerGauges {
  uint64_t downstream_connections = 0;
  uint64_t upstream_connections = 0;
  uint64_t upstream_idle = 0;
  uint64_t active_exchanges = 0;
  uint64_t loop_turns = 0;
  // Bytes of buffers in use.
  uint64_t buffered_bytes = 0;
  // Bytes of decoded heads that HTTP/2 streams hold.
  uint64_t held_head_bytes = 0;
  // 1 while new requests are refused.
  uint64_t overloaded = 0;
  // Since the start: requests refused, connections refused, quiet connections closed to make room.
  uint64_t shed_requests = 0;
  uint64_t refused_connections = 0;
  // See ShadowCounts.
  uint64_t shadow_allowed = 0, shadow_denied = 0, audited = 0;
  // See ExternalCounts.
  uint64_t provider_allowed = 0, provider_denied = 0, provider_failed = 0;
  uint64_t evicted_connections = 0;
  // Failed accepts, most for want of descriptors.
  uint64_t accept_failures = 0;
  // HTTP/2 connections that were ended for what the peer did, by Http2Fault: clients', endpoints'.
  Http2FaultCounts::Values http2_faults{}, http2_upstream_faults{};
};

class Worker {
 public:
  struct Options {
    uint32_t index = 0;
    // Workers of the process: they share its limit of open files.
    uint32_t count = 1;
    // Per-worker sink, used on the worker's thread; outlives the worker.
    ExchangeSink* sink = nullptr;
    // What the workers of the process know together of clusters; null: this one alone.
    std::shared_ptr<SharedClusters> clusters;
    IoKind io = IoKind::kEpoll;
    std::chrono::milliseconds sniff_timeout{50};
    std::chrono::milliseconds head_timeout{60'000};
    std::chrono::milliseconds downstream_idle{3'600'000};
    // An exchange in which no byte of a body moved for so long, or no response came, ends.
    std::chrono::milliseconds exchange_idle{300'000};
    std::chrono::milliseconds upstream_idle{60'000};
    // Per endpoint and source pod: idle connections kept so long, and how long those beyond that are;
    // connections at all (0: no limit), streams on one of them (HTTP/2), exchanges that may wait for one
    // where they are limited, and for how long.
    uint32_t max_idle_upstream = 256;
    std::chrono::milliseconds surplus_upstream_idle{UpstreamLimits().surplus_idle_ms};
    uint32_t max_upstream_connections = 0;
    uint32_t max_upstream_streams = 100;
    uint32_t max_waiting = 1024;
    std::chrono::milliseconds max_wait{10'000};
    uint32_t max_head_bytes = 64 * 1024;
    // A body of known length, or one that its receiver does not take, moves so many bytes in each
    // exchange_idle, or the exchange ends.
    uint64_t min_progress_bytes = 64 * 1024;
    // Of the process, shared by its workers; 0: what admission_limits.h derives from the limit of open files
    // and from memory.
    uint64_t max_connections = 0;
    uint64_t max_buffered_bytes = 0;
    uint64_t pod_max_connections = 0;
    uint64_t pod_max_exchanges = 0;
    uint64_t pod_max_buffered_bytes = 0;
    uint64_t pod_max_waiting = 0;
    // Of one pod on one worker, see AdmissionLimits.
    uint64_t pod_head_bytes = AdmissionLimits().pod_head_bytes;
    // Under overload, how old a connection is before it may be closed for being quiet: a new one still gets
    // the answer that tells it why.
    std::chrono::milliseconds overload_grace{1'000};
  };

  // Starts the thread.
  static absl::StatusOr<std::unique_ptr<Worker>> start(Options options);
  // Stops the loop at once and joins; drain first to be graceful.
  virtual ~Worker() = default;

  virtual void set_snapshot(SnapshotPtr snapshot) = 0;
  // What the pods prove themselves with from now on; connections that are open keep what they began with.
  virtual void set_credentials(CredentialSetPtr credentials) = 0;
  // A namespace may have several listeners here: there can be more listeners than workers.
  virtual void add_listener(CaptureListener listener) = 0;
  // Stops accepting there, and forgets what the pod was refused; connections of the namespace go on until
  // they end by themselves.
  virtual void remove_listener(uint64_t netns_cookie) = 0;
  // Stops accepting (the descriptors stay open elsewhere, so new connections wait for the next proxy),
  // answers with Connection: close, ends idle connections after a grace of a second, and calls `done` on the
  // worker's thread when none is left or after `deadline`.
  virtual void drain(std::chrono::milliseconds deadline, std::function<void()> done) = 0;

  virtual WorkerGauges gauges() const = 0;
  // Those that it has listeners of.
  virtual std::vector<std::shared_ptr<const PodUse>> pods() const = 0;
  // Generation of the snapshot in use.
  virtual uint64_t snapshot_generation() const = 0;
};

}  // namespace weft::proxy
