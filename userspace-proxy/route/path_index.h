// PathIndex: which matches of a long list can hold for a path, without asking all of them. Entries are
// numbers in the order in which they would be tried; what the index gives is a superset, each of which is
// then tried. Built once with its RouteSet, immutable; look-ups allocate nothing.
//
// What a look-up in a long list costs is the memory that it touches, so it touches little: each length that a
// prefix has is looked for in a filter of a byte per text, which stays in the nearest cache, and only a text
// that is there is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "userspace-proxy/route/matcher.h"

namespace weft::proxy {

class PathIndex {
 public:
  // Shorter lists are tried one by one.
  static constexpr size_t kMinEntries = 16;

  // The entry numbered as many as were added before. `uri` null: holds for every path.
  void add(const StringMatcher* uri);
  // After the last add().
  void finish();

  // An entry with this is given only where it holds: it needs no further look.
  static bool decides(const StringMatcher& uri) {
    return !uri.ignore_case &&
           (uri.kind == StringMatcher::Kind::kExact || uri.kind == StringMatcher::Kind::kPrefix);
  }

  // After finish(). Calls `try_entry(entry)` for entries that may hold, until each that comes before the
  // first success was tried; the first that succeeded, or `none`, which is no entry. Never twice for one
  // entry.
  template <typename Try>
  uint32_t first(std::string_view path, uint32_t none, Try try_entry) const {
    uint32_t best = none;
    const auto scan = [&](uint32_t entry) {
      for (; entry < best; entry = texts_[entry].next) {
        if (try_entry(entry)) best = entry;
      }
    };
    uint64_t hash = kHashBegin;
    size_t hashed = 0;
    for (const uint32_t length : prefix_lengths_) {
      if (length > path.size()) break;
      hash = extend(hash, path.substr(hashed, length - hashed));
      hashed = length;
      scan(find(hash, path.substr(0, length), false));
    }
    if (path.size() <= longest_exact_) scan(find(extend(hash, path.substr(hashed)), path, true));
    for (const uint32_t entry : others_) {
      if (entry >= best) break;
      if (!try_entry(entry)) continue;
      best = entry;
      break;
    }
    return best;
  }

 private:
  static constexpr uint32_t kNoEntry = 0xffffffff;
  // FNV-1a, which has the hash of every prefix on its way to that of the whole.
  static constexpr uint64_t kHashBegin = 0xcbf29ce484222325, kHashPrime = 0x100000001b3;

  // Of an entry: its text in letters_, and the next entry with the same one.
  struct Text {
    uint32_t begin = 0, length = 0, next = kNoEntry;
    bool exact = false;
  };
  // The first entry of a text.
  struct Slot {
    uint32_t tag = 0;
    uint32_t entry = kNoEntry;
  };

  static uint64_t extend(uint64_t hash, std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * kHashPrime;
    return hash;
  }
  // A text may be there as a prefix and as a whole path.
  static uint64_t finished(uint64_t hash, bool exact) {
    constexpr uint64_t kExact = 0x9e3779b97f4a7c15, kMix = 0xbf58476d1ce4e5b9;
    hash = (hash ^ (exact ? kExact : 0)) * kMix;
    return hash ^ (hash >> 32);
  }
  std::string_view text_of(const Text& text) const {
    return std::string_view(letters_).substr(text.begin, text.length);
  }
  uint64_t filter_bit(uint64_t hash) const { return (hash >> 8) & (filter_.size() * 64 - 1); }
  // The first entry with that text, which has that hash; kNoEntry: none.
  uint32_t find(uint64_t text_hash, std::string_view text, bool exact) const {
    const uint64_t hash = finished(text_hash, exact);
    const uint64_t bit = filter_bit(hash);
    return (filter_[bit / 64] >> (bit % 64) & 1) == 0 ? kNoEntry : slots_[slot_of(hash, text, exact)].entry;
  }
  // Where it is, or where it would go.
  size_t slot_of(uint64_t hash, std::string_view text, bool exact) const;
  void insert(uint32_t entry);

  std::vector<uint32_t> prefix_lengths_;  // ascending
  size_t longest_exact_ = 0;
  std::vector<uint64_t> filter_;  // a bit for each text, by its hash; a power of two of them
  std::vector<Slot> slots_;       // a power of two, open addressing
  std::vector<Text> texts_;       // by entry
  std::string letters_;
  std::vector<uint32_t> others_;  // regular expressions, any path, case ignored
};

}  // namespace weft::proxy
