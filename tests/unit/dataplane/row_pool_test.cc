// Blocks of rows: never two owners, rest before reuse, whole again when all came back.
#include "agent/dataplane/row_pool.h"

#include <gtest/gtest.h>

#include <random>

namespace weft::agent {
namespace {

TEST(RowPoolTest, ReleasedBlockRestsBeforeItIsGivenOutAgain) {
  RowPool pool(4);
  const auto all = pool.allocate(4, 0);
  ASSERT_TRUE(all.has_value());
  pool.release(*all, 4, 0);
  EXPECT_FALSE(pool.allocate(1, RowPool::kRest - 1).has_value());
  EXPECT_TRUE(pool.allocate(4, RowPool::kRest).has_value());
}

TEST(RowPoolTest, ReservedBlockIsNotGivenOut) {
  RowPool pool(16);
  ASSERT_TRUE(pool.reserve(4, 3));
  EXPECT_FALSE(pool.reserve(4, 1));
  EXPECT_FALSE(pool.reserve(3, 2)) << "not where a block of two can be";
  std::vector<bool> taken(16);
  while (const auto row = pool.allocate(1, 0)) {
    EXPECT_FALSE(taken[*row]);
    taken[*row] = true;
  }
  for (uint32_t row = 0; row < 16; ++row) EXPECT_EQ(taken[row], row < 4 || row > 7) << row;
}

TEST(RowPoolTest, RandomUseNeverGivesARowTwiceAndEndsWhole) {
  RowPool pool(1024);
  std::mt19937 random(7);
  std::vector<int> owner(1024, 0);
  std::vector<std::pair<uint32_t, uint32_t>> held;
  MonotonicNs now = 0;
  for (int turn = 1; turn < 5000; ++turn) {
    now += RowPool::kRest;
    const uint32_t rows = 1 + random() % 50;
    if (const auto base = random() % 2 == 0 ? pool.allocate(rows, now) : std::nullopt) {
      for (uint32_t i = 0; i < rows; ++i) {
        ASSERT_EQ(owner[*base + i], 0);
        owner[*base + i] = turn;
      }
      held.emplace_back(*base, rows);
    } else if (!held.empty()) {
      const auto [start, count] = held.back();
      held.pop_back();
      for (uint32_t i = 0; i < count; ++i) owner[start + i] = 0;
      pool.release(start, count, now);
    }
  }
  for (const auto& [base, rows] : held) pool.release(base, rows, now);
  EXPECT_EQ(pool.allocate(1024, now + RowPool::kRest), 0u);
}

}  // namespace
}  // namespace weft::agent
