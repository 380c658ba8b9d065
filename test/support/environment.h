// What a person sets in the environment of a test: how long, which seed.

#ifndef TEST_SUPPORT_ENVIRONMENT_H_
#define TEST_SUPPORT_ENVIRONMENT_H_

#include <cstdint>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "glog/logging.h"

namespace gofer::testing {

// The number in the variable `name`, or `otherwise` where there is none. Anything else ends the
// test.
inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = otherwise;
  CHECK(text == nullptr || absl::SimpleAtoi(text, &value)) << name << "=" << text;
  return value;
}

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_ENVIRONMENT_H_
