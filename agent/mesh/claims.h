// Who owns a key that several may claim: the claim of the lowest rank, then of the lowest id, whatever order
// they came in. Keeps losers, so that the next one takes over when the owner goes. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"

namespace weft::agent {

struct Claim {
  uint8_t rank = 0;
  uint32_t claimant = 0;
  auto operator<=>(const Claim&) const = default;
};

template <typename Key>
class Claims {
 public:
  using KeySet = absl::flat_hash_set<Key>;

  // Replaces all claims of `claimant`; adds every key that it claimed before or claims now to `touched`.
  void set(uint32_t claimant, const std::vector<std::pair<Key, uint8_t>>& claims, KeySet* touched) {
    const auto before = by_claimant_.find(claimant);
    if (before != by_claimant_.end()) {
      for (const Key& key : before->second) withdraw(key, claimant, touched);
      by_claimant_.erase(before);
    }
    if (claims.empty()) return;
    std::vector<Key>& keys = by_claimant_[claimant];
    keys.reserve(claims.size());
    for (const auto& [key, rank] : claims) {
      auto& claimants = by_key_[key];
      const Claim claim{rank, claimant};
      const auto place = std::lower_bound(claimants.begin(), claimants.end(), claim);
      if (place != claimants.end() && *place == claim) continue;
      claimants.insert(place, claim);
      keys.push_back(key);
      touched->insert(key);
    }
  }

  std::optional<Claim> owner(const Key& key) const {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return std::nullopt;
    return found->second.front();
  }
  size_t size() const { return by_key_.size(); }
  template <typename F>
  void for_each(F visit) const {
    for (const auto& [key, claimants] : by_key_) visit(key, claimants.front());
  }

 private:
  void withdraw(const Key& key, uint32_t claimant, KeySet* touched) {
    touched->insert(key);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return;
    auto& claimants = found->second;
    claimants.erase(std::remove_if(claimants.begin(), claimants.end(),
                                   [claimant](const Claim& c) { return c.claimant == claimant; }),
                    claimants.end());
    if (claimants.empty()) by_key_.erase(found);
  }

  absl::flat_hash_map<Key, absl::InlinedVector<Claim, 1>> by_key_;
  absl::flat_hash_map<uint32_t, std::vector<Key>> by_claimant_;
};

}  // namespace weft::agent
