// PathIndex of path_index.h.
#include "userspace-proxy/route/path_index.h"

#include <algorithm>
#include <bit>
#include <set>

namespace weft::proxy {
namespace {

constexpr size_t kFilterBitsPerText = 8;

uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

void PathIndex::add(const StringMatcher* uri) {
  using Kind = StringMatcher::Kind;
  const auto entry = static_cast<uint32_t>(texts_.size());
  Text& text = texts_.emplace_back();
  const bool prefix = uri != nullptr && (uri->kind == Kind::kPrefix || uri->kind == Kind::kSegments);
  const bool exact = uri != nullptr && uri->kind == Kind::kExact;
  if ((!prefix && !exact) || uri->ignore_case) return others_.push_back(entry);
  text.begin = static_cast<uint32_t>(letters_.size());
  text.length = static_cast<uint32_t>(uri->text.size());
  text.exact = exact;
  letters_ += uri->text;
}

// From the last entry to the first, so that of those with one text the first stands in front.
void PathIndex::finish() {
  const size_t count = std::max<size_t>(texts_.size() - others_.size(), 1);
  // More slots than texts: slot_of() ends at one that is empty.
  slots_.resize(std::bit_ceil(count + count / 2 + 1));
  filter_.resize(std::bit_ceil(std::max<size_t>(count * kFilterBitsPerText / 64, 1)));
  std::set<uint32_t> lengths;
  auto other = others_.rbegin();
  for (auto entry = static_cast<uint32_t>(texts_.size()); entry-- > 0;) {
    if (other != others_.rend() && *other == entry) {
      ++other;
      continue;
    }
    const Text& text = texts_[entry];
    if (text.exact) longest_exact_ = std::max<size_t>(longest_exact_, text.length);
    if (!text.exact) lengths.insert(text.length);
    insert(entry);
  }
  prefix_lengths_.assign(lengths.begin(), lengths.end());
  letters_.shrink_to_fit();
  texts_.shrink_to_fit();
}

void PathIndex::insert(uint32_t entry) {
  Text& text = texts_[entry];
  const uint64_t hash = finished(extend(kHashBegin, text_of(text)), text.exact);
  const uint64_t bit = filter_bit(hash);
  filter_[bit / 64] |= uint64_t{1} << (bit % 64);
  Slot& slot = slots_[slot_of(hash, text_of(text), text.exact)];
  text.next = slot.entry;
  slot = Slot{.tag = tag_of(hash), .entry = entry};
}

size_t PathIndex::slot_of(uint64_t hash, std::string_view text, bool exact) const {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  for (; slots_[at].entry != kNoEntry; at = (at + 1) & mask) {
    if (slots_[at].tag != tag_of(hash)) continue;
    const Text& held = texts_[slots_[at].entry];
    if (held.exact == exact && text_of(held) == text) break;
  }
  return at;
}

}  // namespace weft::proxy
