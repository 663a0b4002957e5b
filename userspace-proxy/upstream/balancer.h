// Which cluster of a route, which endpoint of a cluster. One per worker; its state is kept across snapshots
// by cluster name and endpoint address. No allocation after a cluster's first use in a generation, but when
// an endpoint was ejected, returned or warms up.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/upstream/generation.h"
#include "userspace-proxy/upstream/random.h"

namespace weft::proxy {

// Who a pick is for.
struct PickFor {
  std::optional<uint64_t> hash;  // of what keeps the request on its endpoint
  uint32_t source = kNone;
  MonotonicNs now = 0;
};

class Balancer {
 public:
  // `shared`: what the process' workers know together; null: this worker alone.
  explicit Balancer(uint64_t seed, std::shared_ptr<SharedClusters> shared = nullptr)
      : random_(seed), shared_(shared != nullptr ? std::move(shared) : std::make_shared<SharedClusters>()) {}

  // By weight; nullptr when the route has no cluster. The picked one may be unknown (kNone).
  const WeightedCluster* pick_cluster(const Route& route) {
    return pick_cluster(route.clusters, route.total_weight);
  }
  const WeightedCluster* pick_cluster(std::span<const WeightedCluster> clusters, uint32_t total_weight);
  // By the cluster's policy, never one of `avoid`; kNone when there is none left. Weight 0 is never picked,
  // nor is what rests.
  uint32_t pick_endpoint(Generation& generation, uint32_t cluster, std::span<const uint32_t> avoid,
                         const PickFor& who = {});
  // Valid while the generation is held and the endpoint was picked from it.
  EndpointState& state(Generation& generation, uint32_t cluster, uint32_t endpoint);
  // What an endpoint did with a try, for clusters whose failing endpoints rest.
  void report(Generation& generation, uint32_t cluster, uint32_t endpoint, TryResult result, MonotonicNs now);
  // Null: the cluster's policy limits nothing.
  ConnectionTermsPtr terms(Generation& generation, uint32_t cluster, uint64_t netns_cookie);
  // As valid. Of the cluster, or of the source where that is counted by itself.
  RetryBudget& budget(Generation& generation, uint32_t cluster, const ConnectionTerms* terms);
  // Forgets clusters and endpoints that neither `now` has nor a generation uses, and ends terms that are not
  // of `now`. After the swap to it, before the pool's prune().
  void prune(const Snapshot& now);

  // For what else is drawn by chance.
  Random& random() { return random_; }

  size_t remembered_clusters() const { return clusters_.size(); }

 private:
  ClusterView& resolve(Generation& generation, uint32_t cluster) {
    ClusterView& view = generation.view(cluster);
    if (view.state == nullptr) [[unlikely]]
      make_view(generation, cluster, view);
    return view;
  }
  void make_view(Generation& generation, uint32_t cluster, ClusterView& view);
  // Of requests that began before the last swap: what clusters remember is not theirs to change.
  bool is_old(const Generation& generation) const { return generation.snapshot().generation < newest_; }
  // For requests of an old generation.
  ConnectionTermsPtr over_terms(ClusterState& state,
                                const std::shared_ptr<const ConnectionSettings>& settings,
                                const std::shared_ptr<SourceCounts>& counts);
  EndpointSet& set_for(Generation& generation, uint32_t cluster, ClusterView& view, const PickFor& who);
  // Each an index into the group's members.
  uint32_t pick_random(const EndpointGroup& group);
  uint32_t pick_round_robin(const EndpointGroup& group, size_t index, ClusterView& view);
  uint32_t pick_least_request(const EndpointGroup& group, const ClusterView& view);
  // An endpoint of the group.
  uint32_t pick_in(const Cluster& cluster, ClusterView& view, const EndpointSet& set, size_t index,
                   std::span<const uint32_t> avoid, const PickFor& who);
  size_t pick_group(const EndpointSet& set, const PickFor& who);

  Random random_;
  std::shared_ptr<SharedClusters> shared_;
  uint64_t last_terms_ = 0;
  uint64_t newest_ = 0;  // generation that was swapped to last
  absl::flat_hash_map<std::string, std::shared_ptr<ClusterState>> clusters_;
};

}  // namespace weft::proxy
