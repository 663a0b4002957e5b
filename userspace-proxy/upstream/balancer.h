// Which cluster of a route, which endpoint of a cluster. One per worker; its state is kept across snapshots
// by cluster name and endpoint address. No allocation after a cluster's first use in a generation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/upstream/generation.h"
#include "userspace-proxy/upstream/random.h"

namespace weft::proxy {

class Balancer {
 public:
  explicit Balancer(uint64_t seed) : random_(seed) {}

  // By weight; nullptr when the route has no cluster. The picked one may be unknown (kNone).
  const WeightedCluster* pick_cluster(const Route& route) {
    return pick_cluster(route.clusters, route.total_weight);
  }
  const WeightedCluster* pick_cluster(std::span<const WeightedCluster> clusters, uint32_t total_weight);
  // By the cluster's policy, never one of `avoid`; kNone when there is none left. Weight 0 is never picked.
  uint32_t pick_endpoint(Generation& generation, uint32_t cluster, std::span<const uint32_t> avoid);
  // Valid while the generation is held and the endpoint was picked from it.
  EndpointState& state(Generation& generation, uint32_t cluster, uint32_t endpoint);
  // As valid.
  RetryBudget& budget(Generation& generation, uint32_t cluster) {
    return resolve(generation, cluster).state->budget;
  }
  // Forgets clusters and endpoints that no generation uses any more. After a snapshot swap.
  void prune();

  // For what else is drawn by chance.
  Random& random() { return random_; }

  size_t remembered_clusters() const { return clusters_.size(); }

 private:
  ClusterView& resolve(Generation& generation, uint32_t cluster);
  uint32_t pick_random(const ClusterView& view);
  uint32_t pick_round_robin(const Cluster& cluster, ClusterView& view);
  uint32_t pick_least_request(const Cluster& cluster, const ClusterView& view);

  Random random_;
  absl::flat_hash_map<std::string, std::shared_ptr<ClusterState>> clusters_;
};

}  // namespace weft::proxy
