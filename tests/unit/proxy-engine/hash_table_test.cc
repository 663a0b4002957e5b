// Consistent hashing: the hash itself, both tables, and what a change of the members moves.
#include "userspace-proxy/upstream/hash_table.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "userspace-proxy/upstream/xx_hash.h"

namespace weft::proxy {
namespace {

constexpr auto kAny = [](uint32_t) { return true; };

std::vector<HashMember> members(std::vector<uint32_t> weights) {
  std::vector<HashMember> out;
  for (size_t i = 0; i < weights.size(); ++i) out.push_back({str_cat("10.0.0.", i + 1, ":80"), weights[i]});
  return out;
}

std::vector<int> shares(const HashTable& table, size_t count, int keys = 100'000) {
  std::vector<int> out(count);
  for (int i = 0; i < keys; ++i) ++out[table.find(XxHash64::of(str_cat("user-", i)), kAny)];
  return out;
}

// From the reference implementation, seed 0.
TEST(XxHashTest, IsTheOneOfTheSpecification) {
  EXPECT_EQ(XxHash64::of(""), 0xef46db3751d8e999u);
  EXPECT_EQ(XxHash64::of("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(XxHash64::of("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(XxHash64::of("Nobody inspects the spammish repetition"), 0xfbcea83c8a378bf1u);
}

TEST(HashTableTest, EveryMemberOfARingGetsItsShare) {
  const auto ring = HashTable::ring(members({1, 1, 2}), 4096);
  EXPECT_GE(ring->size(), 4096u);
  const std::vector<int> seen = shares(*ring, 3);
  EXPECT_NEAR(seen[0], 25'000, 4'000);
  EXPECT_NEAR(seen[2], 50'000, 4'000);
}

TEST(HashTableTest, MaglevSharesItsSlotsExactly) {
  const auto table = HashTable::maglev(members({1, 2}), 65'537);
  EXPECT_EQ(table->size(), 65'537u);
  const std::vector<int> seen = shares(*table, 2);
  EXPECT_NEAR(seen[0], 33'333, 500);
  EXPECT_NEAR(seen[1], 66'667, 500);
}

TEST(HashTableTest, AMemberThatLeavesMovesOnlyItsOwnKeys) {
  std::vector<HashMember> all = members({1, 1, 1, 1, 1});
  std::vector<HashMember> fewer(all.begin(), all.end() - 1);
  for (const bool ring : {true, false}) {
    const auto before = ring ? HashTable::ring(all, 1024) : HashTable::maglev(all, 65'537);
    const auto after = ring ? HashTable::ring(fewer, 1024) : HashTable::maglev(fewer, 65'537);
    int moved = 0;
    for (int i = 0; i < 10'000; ++i) {
      const uint64_t hash = XxHash64::of(str_cat(i));
      const uint32_t old = before->find(hash, kAny);
      moved += old != 4 && after->find(hash, kAny) != old ? 1 : 0;
    }
    // The ring is exact while the members' points are as many; Maglev moves a few more for its evenness.
    EXPECT_LE(moved, ring ? 0 : 1'000) << ring;
  }
}

TEST(HashTableTest, GoesOnToTheNextThatIsUsable) {
  const auto ring = HashTable::ring(members({1, 1, 1}), 1024);
  const uint64_t hash = XxHash64::of("somebody");
  const uint32_t first = ring->find(hash, kAny);
  const uint32_t second = ring->find(hash, [&](uint32_t m) { return m != first; });
  EXPECT_NE(second, first);
  EXPECT_EQ(ring->find(hash, [](uint32_t) { return false; }), HashTable::kNobody);
}

TEST(HashTableTest, NoRingIsLargerThanAWorkerCanBuildBetweenTwoRequests) {
  for (const auto& weights : {std::vector<uint32_t>{1, 1'000'000}, std::vector<uint32_t>{3, 3, 3}}) {
    const auto ring = HashTable::ring(members(weights), kMaxHashTableSize);
    EXPECT_LE(ring->size(), kMaxHashTableSize + 1);
    EXPECT_GE(ring->size(), kMaxHashTableSize - 1);
  }
}

TEST(HashTableTest, ALookUpThatFindsNobodyEndsSoon) {
  const auto table = HashTable::maglev(members({1, 100'000}), 65'537);
  size_t looked = 0;
  const auto only_the_light = [&](uint32_t member) {
    ++looked;
    return member == 0;
  };
  for (uint64_t key = 0; key < 10; ++key) {
    looked = 0;
    table->find(XxHash64::of(str_cat(key)), only_the_light);
    EXPECT_LE(looked, 1024u);
  }
}

TEST(HashTableTest, AProcessHasOneTableForTheSameMembers) {
  HashTables tables;
  const auto one = tables.find(members({1, 2}), true, 1024);
  EXPECT_EQ(tables.find(members({1, 2}), true, 1024), one);
  EXPECT_NE(tables.find(members({2, 1}), true, 1024), one);
  EXPECT_NE(tables.find(members({1, 2}), false, 1021), one);
}

TEST(HashTableTest, IsTakenAgainOnlyForTheSameMembersAndSize) {
  const auto ring = HashTable::ring(members({1, 2}), 1024);
  EXPECT_TRUE(ring->is_of(members({1, 2}), true, 1024));
  EXPECT_FALSE(ring->is_of(members({1, 1}), true, 1024));
  EXPECT_FALSE(ring->is_of(members({1, 2}), true, 2048));
  EXPECT_FALSE(ring->is_of(members({1, 2}), false, 1024));
}

}  // namespace
}  // namespace weft::proxy
