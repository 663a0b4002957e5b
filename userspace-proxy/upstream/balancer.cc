// Balancer: weighted random over clusters; round robin, random, two-choices least request and consistent
// hashing over endpoints.
#include "userspace-proxy/upstream/balancer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/log.h"

namespace weft::proxy {
namespace {

const std::shared_ptr<const ConnectionSettings>& settings_of(const Cluster& cluster) {
  static const auto kUnlimited = std::make_shared<const ConnectionSettings>();
  return cluster.policy->connections != nullptr ? cluster.policy->connections : kUnlimited;
}

bool watches(const Cluster& cluster) { return cluster.policy != nullptr && cluster.policy->outlier; }

bool any_usable(const EndpointGroup& group, std::span<const uint32_t> avoid) {
  return std::any_of(group.members.begin(), group.members.end(), [avoid](uint32_t member) {
    return std::find(avoid.begin(), avoid.end(), member) == avoid.end();
  });
}

// `cluster`: as it is now; null: it is no more. True: something is used no more that workers share.
bool prune_terms(ClusterState& state, const Cluster* cluster) {
  const bool counts = cluster != nullptr && cluster->policy != nullptr && cluster->policy->counts_sources();
  bool left = std::erase_if(state.leaving, [](const auto& terms) { return terms.use_count() == 1; }) > 0;
  absl::erase_if(state.terms, [&](const auto& entry) {
    ConnectionTerms& terms = *entry.second;
    terms.over = !counts || *terms.settings != *settings_of(*cluster);
    const bool used = entry.second.use_count() > 1;
    if (terms.over && used) state.leaving.push_back(entry.second);
    left |= !used;
    return terms.over || !used;
  });
  return left;
}

bool prune_endpoints(ClusterState& state, const Cluster* cluster) {
  const size_t before = state.endpoints.size();
  bool left = false;
  if (cluster != nullptr && !watches(*cluster)) {
    for (const auto& [address, endpoint] : state.endpoints)
      left |= std::exchange(endpoint->health, nullptr) != nullptr;
  }
  size_t known = 0;
  if (cluster != nullptr) {
    for (const Endpoint& endpoint : cluster->endpoints) known += state.endpoints.count(endpoint.address);
  }
  // Nearly always: all are still there.
  if (known == before) return left;
  absl::flat_hash_set<SocketAddress> here;
  if (cluster != nullptr) {
    for (const Endpoint& endpoint : cluster->endpoints) here.insert(endpoint.address);
  }
  absl::erase_if(state.endpoints, [&](const auto& entry) {
    return entry.second.use_count() == 1 && !here.contains(entry.first);
  });
  return left || state.endpoints.size() < before;
}

}  // namespace

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

void Balancer::make_view(Generation& generation, uint32_t index, ClusterView& view) {
  const Cluster& cluster = generation.snapshot().clusters[index];
  std::shared_ptr<ClusterState>& state = clusters_[cluster.name];
  if (state == nullptr) state = std::make_shared<ClusterState>();
  view.state = state;
  const bool counts = watches(cluster) || (cluster.policy != nullptr && cluster.policy->counts_sources());
  if (counts && state->shared == nullptr) state->shared = shared_->find(cluster.name);
  for (const Endpoint& endpoint : cluster.endpoints) {
    std::shared_ptr<EndpointState>& entry = state->endpoints[endpoint.address];
    if (entry == nullptr) entry = std::make_shared<EndpointState>();
    if (watches(cluster) && entry->health == nullptr && !is_old(generation))
      entry->health = state->shared->detector().health(endpoint.address);
    view.endpoints.push_back(entry);
  }
}

EndpointState& Balancer::state(Generation& generation, uint32_t cluster, uint32_t endpoint) {
  return *resolve(generation, cluster).endpoints[endpoint];
}

EndpointSet& Balancer::set_for(Generation& generation, uint32_t index, ClusterView& view,
                               const PickFor& who) {
  const Snapshot& snapshot = generation.snapshot();
  const Cluster& cluster = snapshot.clusters[index];
  // Nothing rests, warms up or depends on the place.
  if (cluster.policy == nullptr && !view.sets.empty()) return view.sets.front();
  const uint32_t place = place_of(cluster, snapshot, who.source);
  auto set = std::find_if(view.sets.begin(), view.sets.end(),
                          [place](const EndpointSet& known) { return known.place == place; });
  const uint64_t version = watches(cluster) ? view.state->shared->detector().version(who.now) : 0;
  if (set == view.sets.end()) {
    set = view.sets.insert(view.sets.end(), EndpointSet{.place = place});
  } else if (set->version == version && (set->stale_at == 0 || who.now < set->stale_at)) {
    return *set;
  }
  set->version = version;
  fill(*set, snapshot, cluster, who.source, view.endpoints, who.now, shared_->tables());
  ClusterState& state = *view.state;
  if (state.cursors.size() < set->groups.size()) state.cursors.resize(set->groups.size());
  for (const EndpointGroup& group : set->groups) {
    const bool known = std::find(state.tables.begin(), state.tables.end(), group.table) != state.tables.end();
    if (group.table != nullptr && !known) state.tables.push_back(group.table);
  }
  return *set;
}

uint32_t Balancer::pick_random(const EndpointGroup& group) {
  const auto count = static_cast<uint32_t>(group.members.size());
  if (group.equal_weights) return random_.below(count);
  const uint64_t point = random_.next() % group.weight_sums.back();
  const auto found = std::upper_bound(group.weight_sums.begin(), group.weight_sums.end(), point);
  return static_cast<uint32_t>(found - group.weight_sums.begin());
}

// With unequal weights the smooth scheme: everyone earns its weight each round, the richest is picked and
// pays the total, so picks of a heavy endpoint are spread and not in a row.
uint32_t Balancer::pick_round_robin(const EndpointGroup& group, size_t index, ClusterView& view) {
  if (group.equal_weights) return static_cast<uint32_t>(view.state->cursors[index]++ % group.members.size());
  uint32_t best = 0;
  for (uint32_t i = 0; i < group.members.size(); ++i) {
    int64_t& wealth = view.endpoints[group.members[i]]->smooth_weight;
    wealth += group.weights[i];
    if (wealth > view.endpoints[group.members[best]]->smooth_weight) best = i;
  }
  view.endpoints[group.members[best]]->smooth_weight -= static_cast<int64_t>(group.weight_sums.back());
  return best;
}

uint32_t Balancer::pick_least_request(const EndpointGroup& group, const ClusterView& view) {
  const uint32_t first = pick_random(group);
  const auto count = static_cast<uint32_t>(group.members.size());
  if (count < 2) return first;
  uint32_t second = pick_random(group);
  if (second == first) second = (first + 1) % count;
  // Load per weight, compared without division; the smaller load wins, a tie stays with the weighted draw.
  const uint64_t load_first = uint64_t{view.endpoints[group.members[first]]->active} * group.weights[second];
  const uint64_t load_second = uint64_t{view.endpoints[group.members[second]]->active} * group.weights[first];
  return load_second < load_first ? second : first;
}

uint32_t Balancer::pick_in(const Cluster& cluster, ClusterView& view, const EndpointSet& set, size_t index,
                           std::span<const uint32_t> avoid, const PickFor& who) {
  const EndpointGroup& group = set.groups[index];
  const auto count = static_cast<uint32_t>(group.members.size());
  const auto usable = [&](uint32_t member) {
    return std::find(avoid.begin(), avoid.end(), group.members[member]) == avoid.end();
  };
  uint32_t picked = 0;
  switch (cluster.load_balancer) {
    case LoadBalancer::kRoundRobin:
      picked = pick_round_robin(group, index, view);
      break;
    case LoadBalancer::kRingHash:
    case LoadBalancer::kMaglev:
      if (who.hash) {
        // Nobody is left: no walk through the table says more.
        if (avoid.size() >= count && !any_usable(group, avoid)) return kNone;
        const uint32_t found = group.table->find(*who.hash, [&](uint32_t member) {
          const uint32_t endpoint = group.table_members[member];
          return std::binary_search(group.members.begin(), group.members.end(), endpoint) &&
                 std::find(avoid.begin(), avoid.end(), endpoint) == avoid.end();
        });
        if (found != HashTable::kNobody) return group.table_members[found];
        picked = static_cast<uint32_t>(*who.hash % count);
        break;
      }
      [[fallthrough]];
    case LoadBalancer::kPassthrough:
    case LoadBalancer::kRandom:
      picked = pick_random(group);
      break;
    case LoadBalancer::kLeastRequest:
      picked = pick_least_request(group, view);
      break;
  }
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t candidate = (picked + i) % count;
    if (usable(candidate)) return group.members[candidate];
  }
  return kNone;
}

// A request that is kept on its endpoint is kept in its group too.
size_t Balancer::pick_group(const EndpointSet& set, const PickFor& who) {
  if (set.groups.size() == 1) return 0;
  uint32_t point =
      who.hash ? static_cast<uint32_t>((*who.hash >> 32) % set.shares) : random_.below(set.shares);
  size_t index = 0;
  for (; index + 1 < set.groups.size() && point >= set.groups[index].share; ++index)
    point -= set.groups[index].share;
  return index;
}

uint32_t Balancer::pick_endpoint(Generation& generation, uint32_t index, std::span<const uint32_t> avoid,
                                 const PickFor& who) {
  const Cluster& cluster = generation.snapshot().clusters[index];
  if (cluster.endpoints.empty()) return kNone;
  ClusterView& view = resolve(generation, index);
  const EndpointSet& set = set_for(generation, index, view, who);
  if (set.groups.empty()) return kNone;
  const size_t first = pick_group(set, who);
  for (size_t i = 0; i < set.groups.size(); ++i) {
    const uint32_t picked = pick_in(cluster, view, set, (first + i) % set.groups.size(), avoid, who);
    if (picked != kNone) return picked;
  }
  return kNone;
}

void Balancer::report(Generation& generation, uint32_t index, uint32_t endpoint, TryResult result,
                      MonotonicNs now) {
  const Cluster& cluster = generation.snapshot().clusters[index];
  if (!watches(cluster) || endpoint == kNone) return;
  ClusterView& view = resolve(generation, index);
  // A newer snapshot may count no failures any more.
  if (view.endpoints[endpoint]->health == nullptr) return;
  EndpointHealth& health = *view.endpoints[endpoint]->health;
  const auto hosts = static_cast<uint32_t>(cluster.endpoints.size());
  OutlierDetector& detector = view.state->shared->detector();
  const uint64_t rest_ms = detector.report(health, *cluster.policy->outlier, result, hosts, now);
  if (rest_ms == 0) return;
  log::warn("endpoint_ejected", {{"cluster", cluster.name},
                                 {"endpoint", cluster.endpoints[endpoint].address.to_string()},
                                 {"for_ms", rest_ms},
                                 {"ejected", detector.ejected()},
                                 {"next", "see why it fails; outlierDetection says when it rests"}});
}

ConnectionTermsPtr Balancer::terms(Generation& generation, uint32_t index, uint64_t netns_cookie) {
  const Cluster& cluster = generation.snapshot().clusters[index];
  if (cluster.policy == nullptr || !cluster.policy->counts_sources()) return nullptr;
  ClusterState& state = *resolve(generation, index).state;
  const auto& settings = settings_of(cluster);
  const auto known = state.terms.find(netns_cookie);
  const bool is_known = known != state.terms.end();
  if (is_known && (known->second->settings == settings || *known->second->settings == *settings))
    return known->second;
  const std::shared_ptr<SourceCounts> counts =
      is_known ? known->second->counts : state.shared->counts(netns_cookie);
  if (is_old(generation)) return over_terms(state, settings, counts);
  auto fresh = std::make_shared<ConnectionTerms>();
  fresh->id = ++last_terms_;
  fresh->settings = settings;
  fresh->counts = counts;
  if (is_known) {
    known->second->over = true;
    state.leaving.push_back(known->second);
  }
  state.terms[netns_cookie] = fresh;
  return fresh;
}

// Waits with the others that are over, so that the swap after its last user forgets what was counted.
ConnectionTermsPtr Balancer::over_terms(ClusterState& state,
                                        const std::shared_ptr<const ConnectionSettings>& settings,
                                        const std::shared_ptr<SourceCounts>& counts) {
  for (const auto& terms : state.leaving) {
    if (terms->counts == counts && *terms->settings == *settings) return terms;
  }
  auto out = std::make_shared<ConnectionTerms>();
  out->id = ++last_terms_;
  out->settings = settings;
  out->counts = counts;
  out->over = true;
  state.leaving.push_back(out);
  return out;
}

RetryBudget& Balancer::budget(Generation& generation, uint32_t index, const ConnectionTerms* terms) {
  const Cluster& cluster = generation.snapshot().clusters[index];
  if (terms != nullptr && cluster.policy->own_retries) return terms->counts->budget;
  return resolve(generation, index).state->budget;
}

void Balancer::prune(const Snapshot& now) {
  newest_ = now.generation;
  std::vector<std::string> left;
  absl::erase_if(clusters_, [&](auto& named) {
    ClusterState& state = *named.second;
    const uint32_t index = now.find_cluster(named.first);
    const Cluster* cluster = index == kNone ? nullptr : &now.clusters[index];
    bool less = prune_terms(state, cluster);
    const bool gone = cluster == nullptr && named.second.use_count() == 1 && state.leaving.empty();
    if (!gone) {
      less |= prune_endpoints(state, cluster);
      state.older_tables = std::exchange(state.tables, {});
    }
    if (state.shared != nullptr && (gone || less)) left.push_back(named.first);
    return gone;
  });
  // All workers do this at about the same time: they share a lock, so only for what there is to forget.
  for (const std::string& name : left) shared_->prune(name);
}

}  // namespace weft::proxy
