// LogLinear: buckets for counting values of any size, each a fixed share wide; Percentile: what can
// be said of counted values.
//
//   using Scale = LogLinear<6, 0, 40>;    // 64 buckets for each power of two, up to 2^40
//   ++counts[Scale::Bucket(ns)];
//
// Values below 2^kStepBits units lie in buckets of one unit each; above, each power of two has
// 2^kStepBits of them. To count is a shift and two additions, and never a search.
//
// Threads: pure functions. Units: the caller's; a unit is 2^kUnitBits of them.

#ifndef GOFER_BASE_LOG_LINEAR_H_
#define GOFER_BASE_LOG_LINEAR_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gofer {

// So many values were above `above` and at most `upto`.
struct CountedRange {
  uint64_t above = 0;
  uint64_t upto = 0;
  uint64_t count = 0;
};

// The value that this share of the counted ones did not exceed, as if those of a range lay evenly
// in it. 0 for none. `ranges` ascend.
double Percentile(std::span<const CountedRange> ranges, double share);

template <int kStepBits, int kUnitBits, int kTopBits>
struct LogLinear {
  static constexpr size_t kSteps = size_t{1} << kStepBits;
  // The last one has also all that is 2^kTopBits and more.
  static constexpr size_t kBuckets = static_cast<size_t>(kTopBits - kUnitBits - kStepBits + 1)
                                     << kStepBits;

  static constexpr size_t Bucket(uint64_t value) {
    const uint64_t units = value >> kUnitBits;
    if (units < kSteps) return static_cast<size_t>(units);
    const int shift = static_cast<int>(std::bit_width(units)) - kStepBits - 1;
    const size_t bucket = static_cast<size_t>(shift) * kSteps + static_cast<size_t>(units >> shift);
    return std::min(bucket, kBuckets - 1);
  }
  // The largest value in it, but for the last one.
  static constexpr uint64_t UpperEnd(size_t bucket) {
    const size_t shift = bucket < kSteps ? 0 : bucket / kSteps - 1;
    const uint64_t units = bucket - shift * kSteps + 1;
    return (units << (shift + size_t{kUnitBits})) - 1;
  }

  // The buckets that are not empty.
  template <typename Count>
  static std::vector<CountedRange> Ranges(std::span<const Count> counts) {
    std::vector<CountedRange> ranges;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0) continue;
      ranges.push_back({.above = i == 0 ? 0 : UpperEnd(i - 1),
                        .upto = UpperEnd(i),
                        .count = static_cast<uint64_t>(counts[i])});
    }
    return ranges;
  }
};

}  // namespace gofer

#endif  // GOFER_BASE_LOG_LINEAR_H_
