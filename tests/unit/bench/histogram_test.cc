// The latency histogram of the load generator: tools/bench/histogram.h.
#include "tools/bench/histogram.h"

#include <gtest/gtest.h>

namespace weft::bench {
namespace {

TEST(HistogramTest, QuantilesOfAUniformRunAreWithinTwoPercent) {
  Histogram histogram;
  for (uint64_t us = 1; us <= 100'000; ++us) histogram.add(us);
  EXPECT_EQ(histogram.count(), 100'000u);
  EXPECT_NEAR(static_cast<double>(histogram.quantile(0.5)), 50'000, 1000);
  EXPECT_NEAR(static_cast<double>(histogram.quantile(0.99)), 99'000, 1980);
}

TEST(HistogramTest, QuantileNeverExceedsTheLargestValue) {
  Histogram histogram;
  histogram.add(1'000'003);
  EXPECT_EQ(histogram.quantile(0.99), 1'000'003u);
  EXPECT_EQ(histogram.max(), 1'000'003u);
}

TEST(HistogramTest, SmallValuesAreExactAndNothingIsZero) {
  Histogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), 0u);
  histogram.add(7);
  histogram.add(9);
  EXPECT_EQ(histogram.quantile(0.5), 7u);
}

TEST(HistogramTest, ValuesBeyondTheRangeAreCountedInTheLastBucket) {
  Histogram histogram;
  histogram.add(UINT64_MAX);
  EXPECT_EQ(histogram.count(), 1u);
  EXPECT_GT(histogram.quantile(1.0), uint64_t{1} << 40);
}

TEST(HistogramTest, MergeAddsCounts) {
  Histogram a, b;
  a.add(10);
  b.add(1000);
  a.merge(b);
  EXPECT_EQ(a.count(), 2u);
  EXPECT_EQ(a.max(), 1000u);
}

}  // namespace
}  // namespace weft::bench
