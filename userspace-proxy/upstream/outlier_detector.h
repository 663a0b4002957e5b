// OutlierDetector: which endpoints of one cluster rest because they failed, decided from what all workers see
// of their answers. Counting is lock-free; an ejection or a return takes the lock. Time is asked of the
// callers: an endpoint returns at the first look after its time, to the millisecond and without a timer.
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/address.h"
#include "base/clock.h"
#include "userspace-proxy/config/cluster_policy.h"

namespace weft::proxy {

// What became of one try at an endpoint.
struct TryResult {
  enum class Kind : uint8_t { kStatus, kConnected, kConnectFailed, kTimeout, kReset };
  Kind kind = Kind::kStatus;
  uint16_t status = 0;  // of kStatus
};

struct EndpointHealth {
  std::atomic<uint32_t> failures{0}, gateway_failures{0}, local_failures{0};  // in a row
  std::atomic<bool> ejected{false};
  // Of the detector, under its lock.
  MonotonicNs return_at = 0;
  MonotonicNs returned_at = 0;
  uint32_t multiplier = 0;
};

class OutlierDetector {
 public:
  // An ejection lasts at most so long, or base_ejection_ms where that is more.
  static constexpr uint64_t kMaxEjectionMs = 300'000;

  std::shared_ptr<EndpointHealth> health(const SocketAddress& endpoint) ABSL_LOCKS_EXCLUDED(mutex_);

  // `hosts`: endpoints of the cluster, ejected ones included. Milliseconds for which this ejected the
  // endpoint; 0: it did not.
  uint64_t report(EndpointHealth& health, const OutlierSettings& settings, TryResult result, uint32_t hosts,
                  MonotonicNs now);
  // Changes whenever an endpoint was ejected or returned; lets return whose time is over.
  uint64_t version(MonotonicNs now) {
    if (now >= next_return_.load(std::memory_order_relaxed)) return_due(now);
    return version_.load(std::memory_order_acquire);
  }
  // Forgets endpoints that nobody asks about any more.
  void prune() ABSL_LOCKS_EXCLUDED(mutex_);

  uint32_t ejected() const { return ejected_count_.load(std::memory_order_relaxed); }
  uint64_t ejections() const { return ejections_.load(std::memory_order_relaxed); }
  // Not ejected because so many were already.
  uint64_t withheld() const { return withheld_.load(std::memory_order_relaxed); }

 private:
  static constexpr MonotonicNs kNever = std::numeric_limits<MonotonicNs>::max();

  bool fails(EndpointHealth& health, const OutlierSettings& settings, TryResult result);
  bool fails_by_status(EndpointHealth& health, const OutlierSettings& settings, uint16_t status);
  uint64_t eject(EndpointHealth& health, const OutlierSettings& settings, uint32_t hosts, MonotonicNs now)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void return_due(MonotonicNs now) ABSL_LOCKS_EXCLUDED(mutex_);

  std::atomic<uint64_t> version_{1};
  std::atomic<MonotonicNs> next_return_{kNever};
  std::atomic<uint32_t> ejected_count_{0};
  std::atomic<uint64_t> ejections_{0}, withheld_{0};
  absl::Mutex mutex_;
  absl::flat_hash_map<SocketAddress, std::shared_ptr<EndpointHealth>> endpoints_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace weft::proxy
