// What the configuration asks of the kernel half, and how far agent and kernel are from it, for `weft diff`.
// Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace weft::agent {

// Of one scope so many differences are named; all are counted.
inline constexpr size_t kMostDriftItems = 100;

struct DriftItem {
  std::string object;  // "10.96.0.10:80/tcp", "shop/web", "mesh_connect4 at /sys/fs/cgroup"
  uint32_t id = 0;     // of the service or workload that it belongs to; 0: it has none
  std::string difference;
};

// Three counts of one kind of entry: asked for, written as the agent believes, and there.
struct DriftRow {
  std::string scope;
  uint64_t desired = 0;
  uint64_t agent = 0;
  uint64_t kernel = 0;
  uint64_t drift = 0;            // entries that are missing, too many or different
  std::vector<DriftItem> items;  // the first of them

  void note(std::string object, uint32_t id, std::string difference) {
    ++drift;
    if (items.size() < kMostDriftItems) items.push_back({std::move(object), id, std::move(difference)});
  }
};

}  // namespace weft::agent
