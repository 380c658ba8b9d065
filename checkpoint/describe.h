// Shows what is in an image, to a person and to a program.
//
// Threads: safe.

#ifndef CHECKPOINT_DESCRIBE_H_
#define CHECKPOINT_DESCRIBE_H_

#include <cstdint>
#include <string>

#include "checkpoint/load.h"

namespace gofer::checkpoint {

struct DescribeOptions {
  // Every name with its identity and open state, not only the totals.
  bool tree = false;
  uint64_t image_bytes = 0;
};

std::string DescribeAsText(const Loaded& image, const DescribeOptions& options);
// One object with a newline; "tree" is an array of the names, the root first.
std::string DescribeAsJson(const Loaded& image, const DescribeOptions& options);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_DESCRIBE_H_
