// What a test does with an ErrnoOr: the number of its error, or its value, and the end of the test
// if there is none.

#ifndef TEST_SUPPORT_RESULTS_H_
#define TEST_SUPPORT_RESULTS_H_

#include <utility>

#include "glog/logging.h"
#include "gofer/base/errno.h"

namespace gofer::testing {

// 0 for a value. ErrnoOr::error() of a value is no answer that a test may look at.
template <typename T>
int ErrorOf(const ErrnoOr<T>& result) {
  return result.ok() ? 0 : result.error().value();
}

// The value, or the end of the test with the line that wanted it.
template <typename T>
T Must(ErrnoOr<T> result, int line = __builtin_LINE()) {
  CHECK(result.ok()) << "line " << line << ": " << result.error().ToString();
  return *std::move(result);
}
inline void Must(const ErrnoOr<void>& result, int line = __builtin_LINE()) {
  CHECK(result.ok()) << "line " << line << ": " << result.error().ToString();
}

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_RESULTS_H_
