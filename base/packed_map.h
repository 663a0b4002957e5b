// A hash map whose entries stand in one array without gaps, found by a table of their four-byte numbers. For
// maps of hundreds of thousands of entries that stay: a table of the entries themselves is up to twice as
// large as what it holds. An insertion or removal moves entries, so no pointer outlives it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"

namespace weft {

template <typename Key, typename Value>
class PackedMap {
 public:
  using Entry = std::pair<Key, Value>;

  PackedMap() : places_(0, Hash{&entries_}, Same{&entries_}) {}
  PackedMap(const PackedMap&) = delete;
  PackedMap& operator=(const PackedMap&) = delete;

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  bool contains(const Key& key) const { return places_.contains(key); }
  // nullptr when there is none; valid until the next change.
  const Value* find(const Key& key) const {
    const auto place = places_.find(key);
    return place != places_.end() ? &entries_[*place].second : nullptr;
  }
  void put(const Key& key, Value value) {
    const auto place = places_.find(key);
    if (place != places_.end()) {
      entries_[*place].second = std::move(value);
      return;
    }
    entries_.emplace_back(key, std::move(value));
    places_.insert(static_cast<uint32_t>(entries_.size() - 1));
  }
  // False when there was none.
  bool erase(const Key& key) {
    const auto found = places_.find(key);
    if (found == places_.end()) return false;
    const uint32_t place = *found;
    places_.erase(found);
    const auto last = static_cast<uint32_t>(entries_.size() - 1);
    if (place != last) {
      // The last one takes the place: out of the table under its old number, in under its new one.
      places_.erase(last);
      entries_[place] = std::move(entries_[last]);
      places_.insert(place);
    }
    entries_.pop_back();
    return true;
  }

  // In no order.
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

 private:
  using Entries = std::vector<Entry>;
  struct Hash {
    using is_transparent = void;
    const Entries* entries;
    size_t operator()(const Key& key) const { return absl::Hash<Key>()(key); }
    size_t operator()(uint32_t place) const { return (*this)((*entries)[place].first); }
  };
  struct Same {
    using is_transparent = void;
    const Entries* entries;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t place, const Key& key) const { return (*entries)[place].first == key; }
    bool operator()(const Key& key, uint32_t place) const { return (*this)(place, key); }
  };

  Entries entries_;
  absl::flat_hash_set<uint32_t, Hash, Same> places_;
};

}  // namespace weft
