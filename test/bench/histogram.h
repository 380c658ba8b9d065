// Durations counted in buckets of about 1.6 % width, and the few statistics the benchmark prints.
//
// Threads: one; Add of another histogram joins what threads have counted. Units: nanoseconds.

#ifndef TEST_BENCH_HISTOGRAM_H_
#define TEST_BENCH_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gofer::bench {

class Histogram {
 public:
  void Add(uint64_t ns) {
    ++buckets_[Bucket(ns)];
    ++count_;
  }
  void Add(const Histogram& other) {
    for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
  }
  uint64_t count() const { return count_; }

  // The duration that this share of the operations did not exceed.
  double Percentile(double share) const {
    const auto wanted = static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_)));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted && seen > 0) return UpperEnd(i);
    }
    return 0;
  }

 private:
  // Below 64 a bucket is one nanosecond; above, each power of two has 64 of them.
  static constexpr int kStepBits = 6;
  static size_t Bucket(uint64_t ns) {
    if (ns < (1 << kStepBits)) return ns;
    const int shift = std::bit_width(ns) - kStepBits - 1;
    const size_t bucket = (static_cast<size_t>(shift + 1) << kStepBits) + (ns >> shift) - (1 << kStepBits);
    return std::min(bucket, kBuckets - 1);
  }
  static double UpperEnd(size_t bucket) {
    if (bucket < (1 << kStepBits)) return static_cast<double>(bucket);
    const size_t shift = (bucket >> kStepBits) - 1;
    const size_t step = (bucket & ((1 << kStepBits) - 1)) + (1 << kStepBits);
    return static_cast<double>(((step + 1) << shift) - 1);
  }

  static constexpr size_t kBuckets = 35 << kStepBits;  // past ten minutes
  std::array<uint32_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
};

// 0 for none.
inline double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

inline double GeometricMean(const std::vector<double>& values) {
  double logs = 0;
  for (const double value : values) logs += std::log(value);
  return values.empty() ? 0 : std::exp(logs / static_cast<double>(values.size()));
}

}  // namespace gofer::bench

#endif  // TEST_BENCH_HISTOGRAM_H_
