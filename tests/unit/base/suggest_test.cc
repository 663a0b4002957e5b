// "did you mean": base/suggest.h.
#include "base/suggest.h"

#include <gtest/gtest.h>

#include <array>

namespace weft {
namespace {

constexpr std::array<std::string_view, 4> kWords = {"subsets", "host", "trafficPolicy", "exportTo"};

TEST(SuggestTest, FindsTheNearestWordIgnoringCase) {
  EXPECT_EQ(nearest("subset", kWords), "subsets");
  EXPECT_EQ(nearest("SUBSETS", kWords), "subsets");
  EXPECT_EQ(nearest("trafficPolcy", kWords), "trafficPolicy");
  EXPECT_EQ(nearest("exportsTo", kWords), "exportTo");
}

TEST(SuggestTest, SaysNothingWhenNoWordIsClose) {
  EXPECT_EQ(nearest("connectionPool", kWords), std::nullopt);
  EXPECT_EQ(nearest("subsets", {}), std::nullopt);
}

TEST(SuggestTest, LongGarbageIsNotCompared) {
  EXPECT_EQ(nearest(std::string(100'000, 'a'), kWords), std::nullopt);
}

}  // namespace
}  // namespace weft
