// Who owns a key that several may claim: the claim of the lowest rank, then of the lowest id, whatever order
// they came in. Keeps losers, so that the next one takes over when the owner goes. Claims stand in one array
// and are chained by their numbers, because a mesh has hundreds of thousands of them. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"

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

  Claims() : by_key_(0, HashKey{&rows_}, SameKey{&rows_}), by_claimant_(0, HashId{&rows_}, SameId{&rows_}) {}
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  // Replaces all claims of `claimant`; adds every key that it claimed before or claims now to `touched`.
  void set(uint32_t claimant, const std::vector<std::pair<Key, uint8_t>>& claims, KeySet* touched) {
    withdraw(claimant, touched);
    for (const auto& [key, rank] : claims) {
      touched->insert(key);
      add(key, Claim{rank, claimant});
    }
  }

  // Room for so many claims more, because a table that grows row by row is hashed anew at every size.
  void expect(size_t claims, size_t claimants) {
    by_key_.reserve(by_key_.size() + claims);
    by_claimant_.reserve(by_claimant_.size() + claimants);
  }

  std::optional<Claim> owner(const Key& key) const {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return std::nullopt;
    return rows_[*found].claim();
  }
  size_t size() const { return by_key_.size(); }
  template <typename F>
  void for_each(F visit) const {
    for (const Index first : by_key_) visit(rows_[first].key, rows_[first].claim());
  }

 private:
  using Index = uint32_t;
  static constexpr Index kNone = UINT32_MAX;
  struct Row {
    Key key;
    uint8_t rank = 0;  // beside the key: a Claim's padding would cost four bytes
    uint32_t claimant = 0;
    Index next_of_key = kNone;  // the next best claim of the key
    Index next_of_claimant = kNone;
    Claim claim() const { return {rank, claimant}; }
  };
  using Rows = std::vector<Row>;

  struct HashKey {
    using is_transparent = void;
    const Rows* rows;
    size_t operator()(const Key& key) const { return absl::Hash<Key>()(key); }
    size_t operator()(Index index) const { return (*this)((*rows)[index].key); }
  };
  struct SameKey {
    using is_transparent = void;
    const Rows* rows;
    bool operator()(Index a, Index b) const { return a == b || (*rows)[a].key == (*rows)[b].key; }
    bool operator()(Index a, const Key& key) const { return (*rows)[a].key == key; }
    bool operator()(const Key& key, Index a) const { return (*rows)[a].key == key; }
  };
  // A claimant's number that is looked for, told apart from the index of a row.
  struct Id {
    uint32_t value;
  };
  struct HashId {
    using is_transparent = void;
    const Rows* rows;
    size_t operator()(Id id) const { return absl::Hash<uint32_t>()(id.value); }
    size_t operator()(Index index) const { return (*this)(Id{(*rows)[index].claimant}); }
  };
  struct SameId {
    using is_transparent = void;
    const Rows* rows;
    bool operator()(Index a, Index b) const { return (*rows)[a].claimant == (*rows)[b].claimant; }
    bool operator()(Index a, Id id) const { return (*rows)[a].claimant == id.value; }
    bool operator()(Id id, Index a) const { return (*this)(a, id); }
  };

  Index take_row() {
    if (free_ == kNone) {
      rows_.emplace_back();
      return static_cast<Index>(rows_.size() - 1);
    }
    return std::exchange(free_, rows_[free_].next_of_key);
  }

  // The tables hold the first row of each chain: when another becomes the first, it takes its place.
  void add(const Key& key, Claim claim) {
    const auto chain = by_key_.find(key);
    Index before = kNone;
    Index at = chain != by_key_.end() ? *chain : kNone;
    while (at != kNone && rows_[at].claim() < claim) before = std::exchange(at, rows_[at].next_of_key);
    if (at != kNone && rows_[at].claim() == claim) return;
    const Index row = take_row();
    rows_[row] = Row{.key = key,
                     .rank = claim.rank,
                     .claimant = claim.claimant,
                     .next_of_key = at,
                     .next_of_claimant = kNone};
    if (before != kNone) {
      rows_[before].next_of_key = row;
    } else {
      if (chain != by_key_.end()) by_key_.erase(chain);
      by_key_.insert(row);
    }
    const auto own = by_claimant_.find(Id{claim.claimant});
    if (own == by_claimant_.end()) {
      by_claimant_.insert(row);
    } else {
      // Behind the first, whose place in the table stays.
      rows_[row].next_of_claimant = std::exchange(rows_[*own].next_of_claimant, row);
    }
  }

  void withdraw(uint32_t claimant, KeySet* touched) {
    const auto own = by_claimant_.find(Id{claimant});
    if (own == by_claimant_.end()) return;
    Index row = *own;
    by_claimant_.erase(own);
    while (row != kNone) {
      touched->insert(rows_[row].key);
      unlink(row);
      const Index next = rows_[row].next_of_claimant;
      rows_[row].next_of_key = std::exchange(free_, row);
      row = next;
    }
  }

  void unlink(Index row) {
    const auto chain = by_key_.find(rows_[row].key);
    Index at = *chain;
    if (at == row) {
      by_key_.erase(chain);
      if (rows_[row].next_of_key != kNone) by_key_.insert(rows_[row].next_of_key);
      return;
    }
    while (rows_[at].next_of_key != row) at = rows_[at].next_of_key;
    rows_[at].next_of_key = rows_[row].next_of_key;
  }

  Rows rows_;
  Index free_ = kNone;  // chained by next_of_key
  absl::flat_hash_set<Index, HashKey, SameKey> by_key_;
  absl::flat_hash_set<Index, HashId, SameId> by_claimant_;
};

}  // namespace weft::agent
