// Balancer: weighted random over clusters; round robin, random and two-choices least request over endpoints.
#include "userspace-proxy/upstream/balancer.h"

#include <algorithm>

namespace weft::proxy {

const WeightedCluster* Balancer::pick_cluster(std::span<const WeightedCluster> clusters,
                                              uint32_t total_weight) {
  if (clusters.size() == 1) return &clusters.front();
  if (clusters.empty() || total_weight == 0) return nullptr;
  uint32_t point = random_.below(total_weight);
  for (const WeightedCluster& choice : clusters) {
    if (point < choice.weight) return &choice;
    point -= choice.weight;
  }
  return nullptr;
}

ClusterView& Balancer::resolve(Generation& generation, uint32_t index) {
  ClusterView& view = generation.view(index);
  if (view.state != nullptr) return view;
  const Cluster& cluster = generation.snapshot().clusters[index];
  std::shared_ptr<ClusterState>& state = clusters_[cluster.name];
  if (state == nullptr) state = std::make_shared<ClusterState>();
  view.state = state;
  uint64_t sum = 0;
  for (const Endpoint& endpoint : cluster.endpoints) {
    std::shared_ptr<EndpointState>& entry = state->endpoints[endpoint.address];
    if (entry == nullptr) entry = std::make_shared<EndpointState>();
    view.endpoints.push_back(entry);
    view.weight_sums.push_back(sum += endpoint.weight);
    view.equal_weights = view.equal_weights && endpoint.weight == cluster.endpoints.front().weight;
  }
  return view;
}

EndpointState& Balancer::state(Generation& generation, uint32_t cluster, uint32_t endpoint) {
  return *resolve(generation, cluster).endpoints[endpoint];
}

uint32_t Balancer::pick_random(const ClusterView& view) {
  const auto count = static_cast<uint32_t>(view.weight_sums.size());
  if (view.equal_weights) return random_.below(count);
  const uint64_t point = random_.next() % view.weight_sums.back();
  const auto found = std::upper_bound(view.weight_sums.begin(), view.weight_sums.end(), point);
  return static_cast<uint32_t>(found - view.weight_sums.begin());
}

// With unequal weights the smooth scheme: everyone earns its weight each round, the richest is picked and
// pays the total, so picks of a heavy endpoint are spread and not in a row.
uint32_t Balancer::pick_round_robin(const Cluster& cluster, ClusterView& view) {
  if (view.equal_weights) return static_cast<uint32_t>(view.state->cursor++ % cluster.endpoints.size());
  uint32_t best = kNone;
  for (uint32_t i = 0; i < cluster.endpoints.size(); ++i) {
    if (cluster.endpoints[i].weight == 0) continue;
    view.endpoints[i]->smooth_weight += cluster.endpoints[i].weight;
    if (best == kNone || view.endpoints[i]->smooth_weight > view.endpoints[best]->smooth_weight) best = i;
  }
  view.endpoints[best]->smooth_weight -= static_cast<int64_t>(view.weight_sums.back());
  return best;
}

uint32_t Balancer::pick_least_request(const Cluster& cluster, const ClusterView& view) {
  const uint32_t first = pick_random(view);
  if (cluster.endpoints.size() < 2) return first;
  uint32_t second = pick_random(view);
  if (second == first) second = (first + 1) % static_cast<uint32_t>(cluster.endpoints.size());
  if (cluster.endpoints[second].weight == 0) return first;
  // Load per weight, compared without division; the smaller load wins, a tie stays with the weighted draw.
  const uint64_t load_first = uint64_t{view.endpoints[first]->active} * cluster.endpoints[second].weight;
  const uint64_t load_second = uint64_t{view.endpoints[second]->active} * cluster.endpoints[first].weight;
  return load_second < load_first ? second : first;
}

uint32_t Balancer::pick_endpoint(Generation& generation, uint32_t index, std::span<const uint32_t> avoid) {
  const Cluster& cluster = generation.snapshot().clusters[index];
  if (cluster.endpoints.empty()) return kNone;
  ClusterView& view = resolve(generation, index);
  if (view.weight_sums.back() == 0) return kNone;
  uint32_t picked = kNone;
  switch (cluster.load_balancer) {
    case LoadBalancer::kRoundRobin:
      picked = pick_round_robin(cluster, view);
      break;
    case LoadBalancer::kRandom:
      picked = pick_random(view);
      break;
    case LoadBalancer::kLeastRequest:
      picked = pick_least_request(cluster, view);
      break;
  }
  const auto count = static_cast<uint32_t>(cluster.endpoints.size());
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t candidate = (picked + i) % count;
    if (cluster.endpoints[candidate].weight == 0) continue;
    if (std::find(avoid.begin(), avoid.end(), candidate) == avoid.end()) return candidate;
  }
  return kNone;
}

void Balancer::prune() {
  absl::erase_if(clusters_, [](auto& named) {
    if (named.second.use_count() == 1) return true;
    absl::erase_if(named.second->endpoints, [](const auto& entry) { return entry.second.use_count() == 1; });
    return false;
  });
}

}  // namespace weft::proxy
