// One snapshot as one worker uses it, with the worker's own balancing state attached by index. Exchanges hold
// a GenerationRef for as long as they run: a plain count, because only one thread ever touches it.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/upstream/connection_terms.h"
#include "userspace-proxy/upstream/endpoint_set.h"

namespace weft::proxy {

// What outlives a snapshot: found again by cluster name and endpoint address.
struct ClusterState {
  std::vector<uint64_t> cursors;  // of round robin, by group
  RetryBudget budget;
  absl::flat_hash_map<SocketAddress, std::shared_ptr<EndpointState>> endpoints;
  std::shared_ptr<SharedCluster> shared;  // null until its policy counts something
  // By source; those of settings that are no more end with their last user, and until then wait in `leaving`.
  absl::flat_hash_map<uint64_t, std::shared_ptr<ConnectionTerms>> terms;
  std::vector<std::shared_ptr<ConnectionTerms>> leaving;
  // Those used since the last swap, and since the one before: what comes back needs no new table.
  std::vector<std::shared_ptr<const HashTable>> tables, older_tables;
};

struct ClusterView {
  std::shared_ptr<ClusterState> state;  // null until the cluster is used
  std::vector<std::shared_ptr<EndpointState>> endpoints;
  std::vector<EndpointSet> sets;  // by place, as clients come
};

class Generation {
 public:
  explicit Generation(SnapshotPtr snapshot)
      : snapshot_(std::move(snapshot)), views_(snapshot_->clusters.size()) {}
  const Snapshot& snapshot() const { return *snapshot_; }
  ClusterView& view(uint32_t cluster) { return views_[cluster]; }

 private:
  friend class GenerationRef;
  SnapshotPtr snapshot_;
  std::vector<ClusterView> views_;
  uint32_t users_ = 0;
};

class GenerationRef {
 public:
  GenerationRef() = default;
  explicit GenerationRef(std::unique_ptr<Generation> generation) : generation_(generation.release()) {
    hold();
  }
  GenerationRef(const GenerationRef& other) : generation_(other.generation_) { hold(); }
  GenerationRef& operator=(GenerationRef other) {
    std::swap(generation_, other.generation_);
    return *this;
  }
  ~GenerationRef() {
    if (generation_ != nullptr && --generation_->users_ == 0) delete generation_;
  }

  explicit operator bool() const { return generation_ != nullptr; }
  Generation& operator*() const { return *generation_; }
  Generation* operator->() const { return generation_; }

 private:
  void hold() {
    if (generation_ != nullptr) ++generation_->users_;
  }
  Generation* generation_ = nullptr;
};

}  // namespace weft::proxy
