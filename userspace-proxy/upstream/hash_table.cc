// HashTable of hash_table.h.
#include "userspace-proxy/upstream/hash_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <compare>
#include <functional>
#include <queue>

#include "base/strings.h"
#include "userspace-proxy/upstream/xx_hash.h"

namespace weft::proxy {
namespace {

uint64_t weight_of(const std::vector<HashMember>& members) {
  uint64_t sum = 0;
  for (const HashMember& member : members) sum += member.weight;
  return sum;
}

double heaviest_of(const std::vector<HashMember>& members) {
  double heaviest = 0;
  for (const HashMember& member : members) heaviest = std::max<double>(heaviest, member.weight);
  return heaviest;
}

// A member's way through Maglev's table: its permutation of the slots, and in which rounds it takes one. The
// heaviest does in every round, a member of half its weight in every second.
struct Walk {
  uint64_t offset, skip;
  double weight;  // of the heaviest's
  uint64_t steps = 0;
  double taken = 0;

  uint64_t next_slot(uint32_t size) { return (offset + skip * steps++) % size; }
  uint64_t next_round(uint64_t last) {
    taken += 1;
    return std::max(last + 1, static_cast<uint64_t>(std::ceil(taken / weight)));
  }
};

// Only those whose turn it is are looked at, however many members are light.
struct Turn {
  uint64_t round;
  uint32_t member;
  auto operator<=>(const Turn&) const = default;
};

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
  const double scale = std::min<double>(points_of_least * sum / least, kMaxHashTableSize);
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
  const double heaviest = heaviest_of(out->members_);
  if (heaviest == 0) return out;
  std::vector<Walk> walks;
  std::priority_queue<Turn, std::vector<Turn>, std::greater<>> turns;
  for (const HashMember& member : out->members_) {
    const auto index = static_cast<uint32_t>(walks.size());
    walks.push_back(Walk{.offset = XxHash64::of(member.key) % size,
                         .skip = XxHash64::of(str_cat(member.key, "~")) % (size - 1) + 1,
                         .weight = member.weight / heaviest});
    if (member.weight > 0) turns.push(Turn{walks.back().next_round(0), index});
  }
  out->slots_.assign(size, kNobody);
  for (uint32_t filled = 0; filled < size; ++filled) {
    const Turn turn = turns.top();
    turns.pop();
    Walk& walk = walks[turn.member];
    uint64_t slot = walk.next_slot(size);
    while (out->slots_[slot] != kNobody) slot = walk.next_slot(size);
    out->slots_[slot] = turn.member;
    turns.push(Turn{walk.next_round(turn.round), turn.member});
  }
  return out;
}

std::shared_ptr<const HashTable> HashTables::known(const std::vector<HashMember>& members, bool ring,
                                                   uint32_t size) {
  for (const std::weak_ptr<const HashTable>& each : tables_) {
    std::shared_ptr<const HashTable> table = each.lock();
    if (table != nullptr && table->is_of(members, ring, size)) return table;
  }
  return nullptr;
}

// Built outside of the lock: others wait for no table but their own.
std::shared_ptr<const HashTable> HashTables::find(std::vector<HashMember> members, bool ring, uint32_t size) {
  {
    absl::MutexLock lock(&mutex_);
    if (auto table = known(members, ring, size)) return table;
  }
  std::shared_ptr<const HashTable> fresh =
      ring ? HashTable::ring(members, size) : HashTable::maglev(members, size);
  absl::MutexLock lock(&mutex_);
  if (auto table = known(members, ring, size)) return table;
  std::erase_if(tables_, [](const auto& each) { return each.expired(); });
  tables_.push_back(fresh);
  return fresh;
}

size_t HashTable::slot_of(uint64_t hash) const {
  if (!ring_) return slots_.empty() ? 0 : hash % slots_.size();
  const auto at = std::lower_bound(points_.begin(), points_.end(), hash);
  return at == points_.end() ? 0 : static_cast<size_t>(at - points_.begin());
}

}  // namespace weft::proxy
