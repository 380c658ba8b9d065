#include "gofer/base/log_linear.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace gofer {
namespace {

using Fine = LogLinear<6, 0, 40>;
using Coarse = LogLinear<2, 6, 36>;

// Each value lies in its bucket, and the buckets follow one another without a gap.
template <typename Scale>
void ExpectOrdered() {
  for (size_t i = 0; i + 1 < Scale::kBuckets; ++i) {
    EXPECT_EQ(Scale::Bucket(Scale::UpperEnd(i)), i);
    EXPECT_EQ(Scale::Bucket(Scale::UpperEnd(i) + 1), i + 1);
  }
}

TEST(LogLinear, BucketsFollowOneAnother) {
  ExpectOrdered<Fine>();
  ExpectOrdered<Coarse>();
}

TEST(LogLinear, TheLastBucketEndsAtTheTopAndTakesAllBeyond) {
  EXPECT_EQ(Coarse::UpperEnd(Coarse::kBuckets - 1), (uint64_t{1} << 36) - 1);
  EXPECT_EQ(Coarse::Bucket(uint64_t{1} << 36), Coarse::kBuckets - 1);
  EXPECT_EQ(Coarse::Bucket(UINT64_MAX), Coarse::kBuckets - 1);
}

TEST(LogLinear, BelowTheStepsABucketIsAUnit) {
  EXPECT_EQ(Fine::Bucket(0), 0u);
  EXPECT_EQ(Fine::Bucket(63), 63u);
  EXPECT_EQ(Coarse::UpperEnd(0), 63u);
  EXPECT_EQ(Coarse::UpperEnd(3), 255u);
}

TEST(LogLinear, RangesAreTheBucketsThatAreNotEmpty) {
  std::vector<uint32_t> counts(Coarse::kBuckets);
  counts[0] = 2;
  counts[Coarse::Bucket(300)] = 3;
  const std::vector<CountedRange> ranges = Coarse::Ranges(std::span<const uint32_t>(counts));
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].above, 0u);
  EXPECT_EQ(ranges[0].upto, 63u);
  EXPECT_EQ(ranges[0].count, 2u);
  EXPECT_EQ(ranges[1].above, 255u);
  EXPECT_EQ(ranges[1].upto, 319u);
  EXPECT_EQ(ranges[1].count, 3u);
}

TEST(Percentile, OfNothingIsZero) { EXPECT_EQ(Percentile({}, 0.5), 0); }

TEST(Percentile, LiesEvenlyInItsRange) {
  const CountedRange ranges[] = {{.above = 0, .upto = 100, .count = 10},
                                 {.above = 200, .upto = 300, .count = 80},
                                 {.above = 1000, .upto = 2000, .count = 10}};
  EXPECT_DOUBLE_EQ(Percentile(ranges, 0.0), 10);
  EXPECT_DOUBLE_EQ(Percentile(ranges, 0.1), 100);
  EXPECT_DOUBLE_EQ(Percentile(ranges, 0.5), 250);
  EXPECT_DOUBLE_EQ(Percentile(ranges, 0.99), 1900);
  EXPECT_DOUBLE_EQ(Percentile(ranges, 1.0), 2000);
}

// Of every number up to a hundred thousand the percentiles are known.
TEST(Percentile, IsWithinABucketOfTheTruth) {
  std::vector<uint64_t> counts(Coarse::kBuckets);
  for (uint64_t value = 1; value <= 100'000; ++value) ++counts[Coarse::Bucket(value)];
  const std::vector<CountedRange> ranges = Coarse::Ranges(std::span<const uint64_t>(counts));
  for (const double share : {0.01, 0.5, 0.9, 0.99}) {
    EXPECT_NEAR(Percentile(ranges, share), share * 100'000, 0.25 * share * 100'000) << share;
  }
}

}  // namespace
}  // namespace gofer
