// PathIndex: which matches of a long list can hold for a path, without asking all of them. Entries are
// numbers in the order in which they would be tried; what the index gives is a superset, each of which is
// then tried. Built with a snapshot, immutable, shared by nobody; look-ups allocate nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "userspace-proxy/route/matcher.h"

namespace weft::proxy {

class PathIndex {
 public:
  // Shorter lists are tried one by one.
  static constexpr size_t kMinEntries = 16;

  // In the order of `entry`, which grows. `uri` null: holds for every path.
  void add(uint32_t entry, const StringMatcher* uri);
  // After the last add().
  void finish();
  bool empty() const { return !finished_; }

  // Calls `try_entry(entry)` for entries that may hold, until each that comes before the first success was
  // tried; the first that succeeded, or `none`. Never twice for one entry.
  template <typename Try>
  uint32_t first(std::string_view path, uint32_t none, Try try_entry) const {
    uint32_t best = none;
    const auto scan = [&](const std::vector<uint32_t>& entries) {
      for (const uint32_t entry : entries) {
        if (entry >= best) return;
        if (!try_entry(entry)) continue;
        best = entry;
        return;
      }
    };
    const auto exact = exact_.find(absl::string_view(path.data(), path.size()));
    if (exact != exact_.end()) scan(exact->second);
    for (uint32_t node = last_below(path); node != kNoNode; node = prefixes_[node].parent) {
      if (path.starts_with(prefixes_[node].text)) scan(prefixes_[node].entries);
    }
    scan(others_);
    return best;
  }

 private:
  static constexpr uint32_t kNoNode = 0xffffffff;

  // Prefixes in the order of their text: those of a path are its predecessor there and that one's parents.
  struct Prefix {
    std::string text;
    std::vector<uint32_t> entries;
    uint32_t parent = kNoNode;  // the longest other one that is a prefix of this
  };
  uint32_t last_below(std::string_view path) const;

  absl::flat_hash_map<std::string, std::vector<uint32_t>> exact_;
  std::vector<Prefix> prefixes_;
  std::vector<uint32_t> others_;  // regular expressions, any path, case ignored
  bool finished_ = false;
};

}  // namespace weft::proxy
