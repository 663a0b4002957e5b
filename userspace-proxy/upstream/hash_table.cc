// HashTable of hash_table.h.
#include "userspace-proxy/upstream/hash_table.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/strings.h"
#include "userspace-proxy/upstream/xx_hash.h"

namespace weft::proxy {
namespace {

uint64_t weight_of(const std::vector<HashMember>& members) {
  uint64_t sum = 0;
  for (const HashMember& member : members) sum += member.weight;
  return sum;
}

}  // namespace

std::unique_ptr<const HashTable> HashTable::ring(std::vector<HashMember> members, uint32_t size) {
  std::unique_ptr<HashTable> out(new HashTable(std::move(members), true, size));
  const double sum = static_cast<double>(weight_of(out->members_));
  double least = sum;
  for (const HashMember& member : out->members_) least = std::min<double>(least, member.weight);
  if (least <= 0) return out;
  // The lightest member has a power of two of them: when others come or go, it mostly keeps its points.
  const auto points_of_least =
      static_cast<double>(std::bit_ceil(static_cast<uint64_t>(std::ceil(least / sum * size))));
  const double scale = std::min<double>(points_of_least * sum / least, kMaxPoints);
  std::vector<std::pair<uint64_t, uint32_t>> points;
  double wanted = 0;
  for (uint32_t m = 0; m < out->members_.size(); ++m) {
    wanted += scale * out->members_[m].weight / sum;
    for (uint32_t i = 0; static_cast<double>(points.size()) < wanted; ++i)
      points.emplace_back(XxHash64::of(str_cat(out->members_[m].key, "_", i)), m);
  }
  std::sort(points.begin(), points.end());
  for (const auto& [point, member] : points) {
    out->points_.push_back(point);
    out->slots_.push_back(member);
  }
  return out;
}

std::unique_ptr<const HashTable> HashTable::maglev(std::vector<HashMember> members, uint32_t size) {
  std::unique_ptr<HashTable> out(new HashTable(std::move(members), false, size));
  struct Walk {
    uint64_t offset, skip, next = 0;
    double turn = 0;  // when it may take its next slot
  };
  std::vector<Walk> walks;
  double heaviest = 0;
  for (const HashMember& member : out->members_) {
    const uint64_t hash = XxHash64::of(member.key);
    walks.push_back(
        Walk{.offset = hash % size, .skip = XxHash64::of(str_cat(member.key, "~")) % (size - 1) + 1});
    heaviest = std::max<double>(heaviest, member.weight);
  }
  if (heaviest == 0) return out;
  out->slots_.assign(size, kNobody);
  uint32_t filled = 0;
  for (double round = 1; filled < size; ++round) {
    for (uint32_t m = 0; m < walks.size() && filled < size; ++m) {
      Walk& walk = walks[m];
      const double weight = out->members_[m].weight / heaviest;
      // The heaviest takes a slot in every round, a member of half its weight in every second.
      if (weight == 0 || round * weight < walk.turn + 1) continue;
      walk.turn += 1;
      uint64_t slot = 0;
      do {
        slot = (walk.offset + walk.skip * walk.next++) % size;
      } while (out->slots_[slot] != kNobody);
      out->slots_[slot] = m;
      ++filled;
    }
  }
  return out;
}

size_t HashTable::slot_of(uint64_t hash) const {
  if (!ring_) return slots_.empty() ? 0 : hash % slots_.size();
  const auto at = std::lower_bound(points_.begin(), points_.end(), hash);
  return at == points_.end() ? 0 : static_cast<size_t>(at - points_.begin());
}

}  // namespace weft::proxy
