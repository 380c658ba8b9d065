// The main() of every C++ test: logs to stderr, and stops at the first lock taken in an order that
// could deadlock. Abseil tracks lock order where NDEBUG is not set, as in the asan build; under
// tsan that is ThreadSanitizer's own work.

#include "absl/synchronization/mutex.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kAbort);
  return RUN_ALL_TESTS();
}
