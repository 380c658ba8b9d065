#include "gofer/base/exit_status.h"

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace gofer {
namespace {

TEST(ExitStatusTest, TheCodeDecidesUnlessTheErrorSays) {
  EXPECT_EQ(ExitStatusOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitStatusOf(absl::InvalidArgumentError("a flag")), kExitUsage);
  EXPECT_EQ(ExitStatusOf(absl::InternalError("a disk")), kExitFailure);
  const absl::Status differs = WithExitStatus(absl::AbortedError("a file"), kExitMismatch);
  EXPECT_EQ(ExitStatusOf(differs), kExitMismatch);
  EXPECT_EQ(differs.message(), "a file");
}

TEST(ExitStatusTest, AnErrorNeverEndsInSuccess) {
  EXPECT_EQ(ExitStatusOf(WithExitStatus(absl::AbortedError("x"), 0)), kExitFailure);
}

}  // namespace
}  // namespace gofer
