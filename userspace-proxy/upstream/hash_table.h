// HashTable: which member of a group a hash stands for, as a ring of points (Karger et al.) or as Maglev's
// permutation table (Eisenbud et al., NSDI 2016, §3.4). The same members give the same table on every worker
// and node. Immutable once built; a look-up allocates nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "userspace-proxy/config/cluster_policy.h"

namespace weft::proxy {

struct HashMember {
  std::string key;  // its address
  uint32_t weight = 1;
  bool operator==(const HashMember&) const = default;
};

class HashTable {
 public:
  // At least `size` points, shared by weight; never more than kMaxHashTableSize.
  static std::unique_ptr<const HashTable> ring(std::vector<HashMember> members, uint32_t size);
  // `size` is a prime.
  static std::unique_ptr<const HashTable> maglev(std::vector<HashMember> members, uint32_t size);

  // Building it anew would give the same.
  bool is_of(const std::vector<HashMember>& members, bool ring, uint32_t size) const {
    return ring == ring_ && size == wanted_ && members_ == members;
  }
  size_t size() const { return slots_.size(); }

  // The member of `hash`, else the next one in the table that `usable` says yes to; kNobody when there is
  // none near.
  template <typename Usable>
  uint32_t find(uint64_t hash, const Usable& usable) const {
    const size_t first = slot_of(hash);
    const size_t steps = std::min(slots_.size(), kMaxSteps);
    for (size_t i = 0; i < steps; ++i) {
      const uint32_t member = slots_[(first + i) % slots_.size()];
      if (usable(member)) return member;
    }
    return kNobody;
  }

  static constexpr uint32_t kNobody = 0xffffffff;

 private:
  // Where nearly all of the table is of members that may not be used, a request is not worth a walk through
  // it.
  static constexpr size_t kMaxSteps = 1024;

  HashTable(std::vector<HashMember> members, bool ring, uint32_t size)
      : members_(std::move(members)), ring_(ring), wanted_(size) {}
  size_t slot_of(uint64_t hash) const;

  std::vector<HashMember> members_;
  bool ring_;
  uint32_t wanted_;
  std::vector<uint64_t> points_;  // of a ring, ascending
  std::vector<uint32_t> slots_;   // members
};

// The tables of a process: workers, subsets and levels with the same members share one. Thread-safe; two that
// come at once for a new table both build it, and one of them is kept.
class HashTables {
 public:
  std::shared_ptr<const HashTable> find(std::vector<HashMember> members, bool ring, uint32_t size)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  std::shared_ptr<const HashTable> known(const std::vector<HashMember>& members, bool ring, uint32_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::vector<std::weak_ptr<const HashTable>> tables_ ABSL_GUARDED_BY(mutex_);  // owned by who balances
};

}  // namespace weft::proxy
