// Durations counted in buckets of about 1.6 % width, and the few statistics the benchmark prints.
//
// Threads: one; Add of another histogram joins what threads have counted. Units: nanoseconds.

#ifndef TEST_BENCH_HISTOGRAM_H_
#define TEST_BENCH_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gofer/base/log_linear.h"

namespace gofer::bench {

class Histogram {
 public:
  void Add(uint64_t ns) {
    ++buckets_[Scale::Bucket(ns)];
    ++count_;
  }
  void Add(const Histogram& other) {
    for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
  }
  uint64_t count() const { return count_; }

  // The duration that this share of the operations did not exceed.
  double Percentile(double share) const {
    return gofer::Percentile(Scale::Ranges(std::span<const uint32_t>(buckets_)), share);
  }

 private:
  // Each power of two has 64 buckets, past ten minutes.
  using Scale = LogLinear<6, 0, 40>;

  std::array<uint32_t, Scale::kBuckets> buckets_{};
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
