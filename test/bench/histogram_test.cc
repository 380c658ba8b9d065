#include "test/bench/histogram.h"

#include "gtest/gtest.h"

namespace gofer::bench {
namespace {

TEST(Histogram, PercentilesAreWithinABucketOfTheTruth) {
  Histogram histogram;
  for (uint64_t ns = 1; ns <= 100000; ++ns) histogram.Add(ns);
  EXPECT_EQ(histogram.count(), 100000u);
  for (const double share : {0.01, 0.5, 0.99, 1.0}) {
    const double exact = share * 100000;
    EXPECT_GE(histogram.Percentile(share), exact) << share;
    EXPECT_LE(histogram.Percentile(share), exact * 1.017) << share;
  }
}

TEST(Histogram, SmallValuesAreExactAndHugeOnesAreKept) {
  Histogram histogram;
  histogram.Add(7);
  EXPECT_EQ(histogram.Percentile(0.5), 7);
  Histogram slow;
  slow.Add(uint64_t{1} << 60);
  histogram.Add(slow);
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_GT(histogram.Percentile(0.99), 6e11);
}

TEST(Statistics, MedianAndGeometricMean) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(Median({}), 0);
  EXPECT_NEAR(GeometricMean({1, 4, 16}), 4, 1e-9);
}

}  // namespace
}  // namespace gofer::bench
