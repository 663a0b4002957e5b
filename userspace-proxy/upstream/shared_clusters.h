// SharedClusters: what the workers of a process know together of clusters whose policy limits or ejects, by
// name: one detector of failing endpoints each, and one set of counts for each source; and their hash tables.
// Found once by a worker and then used by pointer. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "userspace-proxy/upstream/hash_table.h"
#include "userspace-proxy/upstream/outlier_detector.h"
#include "userspace-proxy/upstream/retry_budget.h"

namespace weft::proxy {

// Takes a place below a limit and gives it back; a limit of 0 is none. Two that come at once at the last
// place may both be refused, never both served.
class PlaceCount {
 public:
  bool take(uint32_t limit) {
    if (count_.fetch_add(1, std::memory_order_relaxed) < limit || limit == 0) return true;
    give();
    return false;
  }
  void give() { count_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t get() const { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> count_{0};
};

// Of one source at one cluster, as a sidecar of its own would count.
struct SourceCounts {
  PlaceCount connections, pending, requests;
  RetryBudget budget;
};

class SharedCluster {
 public:
  OutlierDetector& detector() { return detector_; }
  std::shared_ptr<SourceCounts> counts(uint64_t netns_cookie) ABSL_LOCKS_EXCLUDED(mutex_);
  void prune() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  OutlierDetector detector_;
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, std::shared_ptr<SourceCounts>> counts_ ABSL_GUARDED_BY(mutex_);
};

class SharedClusters {
 public:
  struct Sums {
    uint64_t ejected = 0;    // now
    uint64_t ejections = 0;  // since the start, as the rest
    uint64_t withheld_ejections = 0;
  };

  std::shared_ptr<SharedCluster> find(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of this cluster a worker uses something no more: forgets what none does, itself included.
  void prune(const std::string& name) ABSL_LOCKS_EXCLUDED(mutex_);
  Sums sums() const ABSL_LOCKS_EXCLUDED(mutex_);
  HashTables& tables() { return tables_; }

 private:
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<SharedCluster>> clusters_ ABSL_GUARDED_BY(mutex_);
  Sums gone_ ABSL_GUARDED_BY(mutex_);  // of clusters that are forgotten
  HashTables tables_;
};

}  // namespace weft::proxy
