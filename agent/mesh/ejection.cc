// See ejection.h. Called by the reconciler.
#include "agent/mesh/ejection.h"

#include <algorithm>
#include <iterator>

namespace weft::agent {

uint32_t Ejection::fail(uint32_t service, const SocketAddress& backend, size_t backends, MonotonicNs now) {
  size_t resting = 0;
  for (const auto& [key, row] : rows_) {
    if (key.first == service && key.second != backend && row.percent == 0) ++resting;
  }
  if ((resting + 1) * 2 > backends) return 100;
  Row& row = rows_[{service, backend}];
  row.times = std::min(row.times + 1, kLongestRests);
  row.step = 0;
  row.percent = 0;
  row.at = now + row.times * kRest;
  return 0;
}

bool Ejection::is_far_worse(uint32_t latency_us, std::vector<uint32_t> siblings_us) {
  if (siblings_us.empty()) return false;
  const auto middle = siblings_us.begin() + static_cast<std::ptrdiff_t>(siblings_us.size() / 2);
  std::nth_element(siblings_us.begin(), middle, siblings_us.end());
  return latency_us > uint64_t{*middle} * kFarWorse;
}

std::vector<Ejection::Share> Ejection::advance(MonotonicNs now) {
  std::vector<Share> changed;
  for (auto it = rows_.begin(); it != rows_.end();) {
    Row& row = it->second;
    if (row.at > now) {
      ++it;
      continue;
    }
    // At full share it stays known for as long as it rested, so that a relapse rests longer.
    if (row.step >= std::size(kShares)) {
      it = rows_.erase(it);
      continue;
    }
    row.percent = kShares[row.step++];
    row.at = now + (row.percent == 100 ? row.times * kRest : kStep);
    changed.push_back({it->first.first, it->first.second, row.percent});
    ++it;
  }
  return changed;
}

MonotonicNs Ejection::next(MonotonicNs never) const {
  MonotonicNs at = never;
  for (const auto& [key, row] : rows_) at = std::min(at, row.at);
  return at;
}

void Ejection::forget(uint32_t service) {
  std::erase_if(rows_, [service](const auto& row) { return row.first.first == service; });
}

bool Ejection::is_resting(uint32_t service, const SocketAddress& backend) const {
  const auto row = rows_.find({service, backend});
  return row != rows_.end() && row->second.percent == 0;
}

size_t Ejection::resting() const {
  return static_cast<size_t>(
      std::count_if(rows_.begin(), rows_.end(), [](const auto& row) { return row.second.percent == 0; }));
}

}  // namespace weft::agent
