// SharedClusters of shared_clusters.h.
#include "userspace-proxy/upstream/shared_clusters.h"

namespace weft::proxy {
namespace {

template <typename Map>
auto& find_or_make(Map& map, const typename Map::key_type& key) {
  auto& found = map[key];
  if (found == nullptr) found = std::make_shared<typename Map::mapped_type::element_type>();
  return found;
}

}  // namespace

std::shared_ptr<SourceCounts> SharedCluster::counts(uint64_t netns_cookie) {
  absl::MutexLock lock(&mutex_);
  return find_or_make(counts_, netns_cookie);
}

void SharedCluster::prune() {
  detector_.prune();
  absl::MutexLock lock(&mutex_);
  absl::erase_if(counts_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

std::shared_ptr<SharedCluster> SharedClusters::find(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  return find_or_make(clusters_, name);
}

void SharedClusters::prune(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  const auto found = clusters_.find(name);
  if (found == clusters_.end()) return;
  found->second->prune();
  if (found->second.use_count() > 1) return;
  const OutlierDetector& detector = found->second->detector();
  gone_.ejections += detector.ejections();
  gone_.withheld_ejections += detector.withheld();
  clusters_.erase(found);
}

SharedClusters::Sums SharedClusters::sums() const {
  absl::MutexLock lock(&mutex_);
  Sums out = gone_;
  for (const auto& [name, cluster] : clusters_) {
    out.ejected += cluster->detector().ejected();
    out.ejections += cluster->detector().ejections();
    out.withheld_ejections += cluster->detector().withheld();
  }
  return out;
}

}  // namespace weft::proxy
