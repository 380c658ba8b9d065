#include "gofer/base/log_linear.h"

#include <cmath>

namespace gofer {

double Percentile(std::span<const CountedRange> ranges, double share) {
  uint64_t all = 0;
  for (const CountedRange& range : ranges) all += range.count;
  if (all == 0) return 0;
  const double wanted = std::max(1.0, std::ceil(share * static_cast<double>(all)));
  uint64_t below = 0;
  for (const CountedRange& range : ranges) {
    if (static_cast<double>(below + range.count) >= wanted) {
      const double part = (wanted - static_cast<double>(below)) / static_cast<double>(range.count);
      return static_cast<double>(range.above) +
             part * static_cast<double>(range.upto - range.above);
    }
    below += range.count;
  }
  return static_cast<double>(ranges.back().upto);
}

}  // namespace gofer
