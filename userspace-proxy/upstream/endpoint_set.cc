// EndpointSet of endpoint_set.h, in the order of fill() at the end.
#include "userspace-proxy/upstream/endpoint_set.h"

#include <algorithm>
#include <cmath>

namespace weft::proxy {
namespace {

// Envoy's over-provisioning: a level whose healthy endpoints are 1/1.4 of all still takes everything.
constexpr uint64_t kOverprovisioning = 140;
constexpr uint32_t kHundred = 100;
// Weights of endpoints that warm up are counted in such parts.
constexpr uint32_t kWarmParts = 1000;
// So often, in their warm-up, weights are made anew.
constexpr uint64_t kWarmSteps = 100;

struct Level {
  uint32_t rank = 0;
  uint32_t weight = kHundred;  // of distribute
  std::vector<uint32_t> all, usable;
};

class Filler {
 public:
  Filler(EndpointSet& set, const Snapshot& snapshot, const Cluster& cluster, uint32_t source,
         std::span<const std::shared_ptr<EndpointState>> states)
      : set_(set), snapshot_(snapshot), cluster_(cluster), states_(states) {
    if (cluster.policy != nullptr && cluster.policy->by_place() && source < snapshot.sources.size())
      source_ = &snapshot.sources[source];
  }

  void run(MonotonicNs now, HashTables& tables) {
    sort_into_levels();
    set_.groups.clear();
    set_.shares = 0;
    set_.stale_at = 0;
    spread_ ? share_by_weight() : share_by_level();
    for (EndpointGroup& group : set_.groups) weigh(group, now);
    if (hashes()) build_tables(tables);
  }

 private:
  const LocalityBalancing& near() const { return cluster_.policy->balancing.locality; }
  const Locality& here() const { return snapshot_.localities[source_->locality]; }
  const Locality* place(uint32_t endpoint) const {
    const uint32_t index = cluster_.endpoints[endpoint].locality;
    return index == kNone ? nullptr : &snapshot_.localities[index];
  }
  bool hashes() const {
    return cluster_.load_balancer == LoadBalancer::kRingHash ||
           cluster_.load_balancer == LoadBalancer::kMaglev;
  }

  bool usable(uint32_t endpoint) const {
    const EndpointHealth* health = states_[endpoint]->health.get();
    return panic_ || health == nullptr || !health->ejected.load(std::memory_order_relaxed);
  }

  // Too few are left: an ejection would only move the load to them.
  bool panics() {
    if (cluster_.policy == nullptr || !cluster_.policy->outlier) return false;
    uint64_t all = 0, good = 0;
    for (uint32_t i = 0; i < cluster_.endpoints.size(); ++i) {
      if (cluster_.endpoints[i].weight == 0) continue;
      ++all;
      good += usable(i) ? 1 : 0;
    }
    return kHundred * good < all * cluster_.policy->outlier->min_health_percent;
  }

  // "region/zone/subzone", its first parts, or "*" at the end of those.
  static bool covers(std::string_view pattern, const Locality& place) {
    for (const std::string* part : {&place.region, &place.zone, &place.subzone}) {
      if (pattern.empty() || pattern == "*") return true;
      const size_t slash = std::min(pattern.find('/'), pattern.size());
      if (pattern.substr(0, slash) != *part) return false;
      pattern.remove_prefix(std::min(slash + 1, pattern.size()));
    }
    return pattern.empty();
  }

  const LocalityBalancing::Distribute* distribution() const {
    if (source_ == nullptr || source_->locality == kNone) return nullptr;
    for (const auto& row : near().distribute) {
      if (covers(row.from, here())) return &row;
    }
    return nullptr;
  }

  // The nearer, the smaller; Istio's order.
  uint32_t rank_by_locality(uint32_t endpoint) const {
    enum : uint32_t { kSubzone, kZone, kRegion, kTarget, kOther };
    const Locality* there = place(endpoint);
    const auto& failover = near().failover;
    const auto ours = std::find_if(failover.begin(), failover.end(),
                                   [&](const auto& f) { return f.first == here().region; });
    if (there == nullptr) return kOther;
    if (there->region != here().region)
      return ours == failover.end() || there->region == ours->second ? kTarget : kOther;
    if (there->zone != here().zone) return kRegion;
    return there->subzone == here().subzone ? kSubzone : kZone;
  }

  std::string_view label_here(std::string_view label) const {
    for (const auto& [key, value] : source_->labels) {
      if (key == label) return value;
    }
    return source_->locality == kNone ? std::string_view() : place_label(label, here(), source_->node);
  }

  // One for each label from the first that does not hold.
  uint32_t rank_by_labels(uint32_t endpoint) const {
    const std::vector<std::string>& labels = near().priority_labels;
    const std::vector<std::string>& values = cluster_.endpoints[endpoint].priority_values;
    size_t held = 0;
    for (; held < labels.size() && held < values.size(); ++held) {
      const std::string_view label = labels[held];
      const size_t equals = label.find('=');
      const std::string_view wanted =
          equals == std::string_view::npos ? label_here(label) : label.substr(equals + 1);
      if (wanted != values[held]) break;
    }
    return static_cast<uint32_t>(labels.size() - held);
  }

  // kNone: it gets nothing.
  uint32_t rank_of(uint32_t endpoint, const LocalityBalancing::Distribute* distribute) const {
    if (distribute != nullptr) {
      for (uint32_t i = 0; i < distribute->to.size(); ++i) {
        const Locality* there = place(endpoint);
        if (there != nullptr && covers(distribute->to[i].first, *there)) return i;
      }
      return kNone;
    }
    if (source_ == nullptr) return 0;
    if (!near().priority_labels.empty()) return rank_by_labels(endpoint);
    return source_->locality == kNone || !near().distribute.empty() ? 0 : rank_by_locality(endpoint);
  }

  void sort_into_levels() {
    panic_ = panics();
    const LocalityBalancing::Distribute* distribute = distribution();
    spread_ = distribute != nullptr;
    for (uint32_t i = 0; i < cluster_.endpoints.size(); ++i) {
      if (cluster_.endpoints[i].weight == 0) continue;
      const uint32_t rank = rank_of(i, distribute);
      if (rank == kNone) continue;
      auto at = std::find_if(levels_.begin(), levels_.end(), [&](const Level& l) { return l.rank == rank; });
      if (at == levels_.end()) {
        at = levels_.insert(levels_.end(), Level{.rank = rank});
        if (spread_) at->weight = distribute->to[rank].second;
      }
      at->all.push_back(i);
      if (usable(i)) at->usable.push_back(i);
    }
    std::sort(levels_.begin(), levels_.end(), [](const Level& a, const Level& b) { return a.rank < b.rank; });
  }

  static uint32_t health_of(const Level& level) {
    if (level.usable.empty()) return 0;
    const uint64_t health = kOverprovisioning * level.usable.size() / level.all.size();
    // One that is left of very many still gets something.
    return static_cast<uint32_t>(std::clamp<uint64_t>(health, 1, kHundred));
  }

  // In order, each as much as its health allows; when all together are not enough, in proportion.
  void share_by_level() {
    uint32_t total = 0;
    for (const Level& level : levels_) total += health_of(level);
    total = std::min(total, kHundred);
    uint32_t left = kHundred;
    for (Level& level : levels_) {
      if (total == 0) return;
      const uint32_t share = std::min(left, health_of(level) * kHundred / total);
      left -= share;
      add(level, share);
    }
    // What the division has lost is the nearest's.
    if (set_.groups.empty()) return;
    set_.groups.front().share += left;
    set_.shares += left;
  }

  void share_by_weight() {
    for (Level& level : levels_) add(level, level.weight * health_of(level));
  }

  void add(Level& level, uint32_t share) {
    if (share == 0 || level.usable.empty()) return;
    set_.shares += share;
    set_.groups.push_back(EndpointGroup{.share = share, .members = std::move(level.usable)});
    if (hashes()) set_.groups.back().table_members = std::move(level.all);
  }

  double warmth(EndpointState& state, const Warmup& warmup, MonotonicNs now) {
    if (state.born == 0) state.born = now;
    const MonotonicNs window = warmup.duration_ms * kNsPerMs;
    const MonotonicNs age = now - state.born;
    if (age >= window) return 1;
    const MonotonicNs next = now + std::max<MonotonicNs>(window / kWarmSteps, kNsPerMs);
    set_.stale_at = set_.stale_at == 0 ? next : std::min(set_.stale_at, next);
    const double part = static_cast<double>(age) / static_cast<double>(window);
    return std::max(warmup.minimum, std::pow(part, 1 / warmup.aggression));
  }

  void weigh(EndpointGroup& group, MonotonicNs now) {
    const bool warms = cluster_.policy != nullptr && cluster_.policy->balancing.warmup.has_value() &&
                       (cluster_.load_balancer == LoadBalancer::kRoundRobin ||
                        cluster_.load_balancer == LoadBalancer::kLeastRequest);
    uint64_t sum = 0;
    for (const uint32_t member : group.members) {
      uint32_t weight = cluster_.endpoints[member].weight;
      if (warms) {
        const double warm = warmth(*states_[member], *cluster_.policy->balancing.warmup, now);
        constexpr uint32_t kMost = 0xffffffff / kWarmParts;
        weight = static_cast<uint32_t>(std::max(1.0, std::min(weight, kMost) * warm * kWarmParts));
      }
      group.weights.push_back(weight);
      group.weight_sums.push_back(sum += weight);
      group.equal_weights = group.equal_weights && weight == group.weights.front();
    }
  }

  void build_tables(HashTables& tables) {
    const bool ring = cluster_.load_balancer == LoadBalancer::kRingHash;
    const uint32_t size = cluster_.policy == nullptr ? 1024 : cluster_.policy->balancing.table_size;
    for (EndpointGroup& group : set_.groups) {
      std::vector<HashMember> members;
      for (const uint32_t member : group.table_members) {
        const Endpoint& endpoint = cluster_.endpoints[member];
        members.push_back(HashMember{endpoint.address.to_string(), endpoint.weight});
      }
      group.table = tables.find(std::move(members), ring, size);
    }
  }

  EndpointSet& set_;
  const Snapshot& snapshot_;
  const Cluster& cluster_;
  std::span<const std::shared_ptr<EndpointState>> states_;
  const Source* source_ = nullptr;  // null: nearness plays no part
  bool panic_ = false;
  bool spread_ = false;  // by distribute
  std::vector<Level> levels_;
};

}  // namespace

uint32_t place_of(const Cluster& cluster, const Snapshot& snapshot, uint32_t source) {
  if (cluster.policy == nullptr || !cluster.policy->by_place() || source >= snapshot.sources.size())
    return kNone;
  return cluster.policy->balancing.locality.priority_labels.empty() ? snapshot.sources[source].locality
                                                                    : source;
}

void fill(EndpointSet& set, const Snapshot& snapshot, const Cluster& cluster, uint32_t source,
          std::span<const std::shared_ptr<EndpointState>> states, MonotonicNs now, HashTables& tables) {
  Filler(set, snapshot, cluster, source, states).run(now, tables);
}

}  // namespace weft::proxy
