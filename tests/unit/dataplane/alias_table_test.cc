// The weighted choice of the kernel: exact shares, and rows that only ever name choices with a weight.
#include "agent/dataplane/alias_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

namespace weft::agent {
namespace {

// The exact probability of each value that the table yields.
std::map<uint32_t, double> shares(const std::vector<AliasRow>& rows) {
  std::map<uint32_t, double> out;
  for (const AliasRow& row : rows) {
    const double self = row.alias == row.self ? 1.0 : std::ldexp(row.threshold, -32);
    out[row.self] += self / static_cast<double>(rows.size());
    if (row.alias != row.self) out[row.alias] += (1 - self) / static_cast<double>(rows.size());
  }
  return out;
}

TEST(AliasTableTest, SharesAreTheWeights) {
  const std::vector<std::vector<uint32_t>> cases = {
      {1}, {95, 5}, {1, 1, 1}, {65535, 1}, {1, 2, 3, 4, 5, 6, 7}, {100, 0, 50}, {6553500, 1, 1}};
  for (const std::vector<uint32_t>& weights : cases) {
    std::vector<WeightedChoice> choices;
    double total = 0;
    for (uint32_t i = 0; i < weights.size(); ++i) {
      choices.push_back({.value = 10 + i, .weight = weights[i]});
      total += weights[i];
    }
    const std::map<uint32_t, double> got = shares(build_alias_table(choices));
    for (uint32_t i = 0; i < weights.size(); ++i) {
      const auto found = got.find(10 + i);
      const double share = found == got.end() ? 0 : found->second;
      EXPECT_NEAR(share, weights[i] / total, 1e-9) << "weight " << i << " of " << weights.size();
    }
  }
}

TEST(AliasTableTest, NothingToChooseGivesNoRow) {
  EXPECT_TRUE(build_alias_table({}).empty());
  EXPECT_TRUE(build_alias_table({{.value = 1, .weight = 0}}).empty());
}

}  // namespace
}  // namespace weft::agent
