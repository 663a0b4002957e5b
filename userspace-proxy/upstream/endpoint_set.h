// EndpointSet: the endpoints of one cluster that a client at one place may get now, in groups by nearness,
// each with its share of the requests: made of weights, warm-up, ejections and the locality rules. Made anew
// when one of those changes; a pick only reads it. Pure but for the begin of an endpoint's warm-up. Worker
// thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/upstream/hash_table.h"
#include "userspace-proxy/upstream/outlier_detector.h"

namespace weft::proxy {

struct EndpointState {
  uint32_t active = 0;                     // exchanges and connections using it now
  int64_t smooth_weight = 0;               // weighted round robin
  MonotonicNs born = 0;                    // when it was first looked at; 0: not yet
  std::shared_ptr<EndpointHealth> health;  // null: failures do not count
};

struct EndpointGroup {
  uint32_t share = 0;                 // of EndpointSet::shares
  std::vector<uint32_t> members;      // indices of endpoints, none of weight 0
  std::vector<uint32_t> weights;      // theirs, as they count now
  std::vector<uint64_t> weight_sums;  // inclusive prefix sums
  bool equal_weights = true;
  // Of the hashing balancers, over all endpoints of the level: one that rests moves its own keys only.
  std::vector<uint32_t> table_members;
  std::shared_ptr<const HashTable> table;
};

struct EndpointSet {
  uint32_t place = kNone;    // see place_of()
  uint64_t version = 0;      // of the detector
  MonotonicNs stale_at = 0;  // endpoints warm up: their weights grow; 0: never
  uint32_t shares = 0;
  std::vector<EndpointGroup> groups;  // none without a share; the nearest first
};

// What clients have in common that get the same set: kNone for all, else the index of their locality, or,
// where labels decide, of the source.
uint32_t place_of(const Cluster& cluster, const Snapshot& snapshot, uint32_t source);

// `states` are of the cluster's endpoints. `tables`: those of the process.
void fill(EndpointSet& set, const Snapshot& snapshot, const Cluster& cluster, uint32_t source,
          std::span<const std::shared_ptr<EndpointState>> states, MonotonicNs now, HashTables& tables);

}  // namespace weft::proxy
