#include "gofer/base/errno.h"

#include <memory>
#include <string>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gtest/gtest.h"

namespace gofer {
namespace {

ErrnoOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return Errno(EDOM);
  return std::make_unique<int>(value / 2);
}

ErrnoOr<int> Quarter(int value) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(value));
  ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}

ErrnoOr<void> Check(int value) {
  RETURN_IF_ERROR(Half(value));
  return {};
}

TEST(Errno, ZeroIsNoErrorNumber) { EXPECT_EQ(Errno(0), EIO); }

TEST(Errno, LastIsTheSystemCalls) {
  errno = ENOTEMPTY;
  EXPECT_EQ(Errno::Last(), ENOTEMPTY);
}

TEST(Errno, NamesItselfForLogs) {
  EXPECT_EQ(Errno(ENOENT).ToString(), "ENOENT (No such file or directory)");
  EXPECT_EQ(Errno(4000).ToString(), "errno 4000");
}

TEST(ErrnoOr, MacrosPassValuesAndNumbersOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(6).error(), EDOM);
  EXPECT_TRUE(Check(2).ok());
  EXPECT_EQ(Check(3).error(), EDOM);
}

TEST(ErrnoOr, MovesWhatItHolds) {
  ErrnoOr<std::unique_ptr<int>> from = std::make_unique<int>(7);
  ErrnoOr<std::unique_ptr<int>> to = Errno(EIO);
  to = std::move(from);
  ASSERT_TRUE(to.ok());
  EXPECT_EQ(**to, 7);
  to = Errno(ENOSPC);
  EXPECT_EQ(to.error(), ENOSPC);
}

TEST(ErrnoOr, FreesItsValueOnce) {
  auto counted = std::make_shared<int>(1);
  {
    ErrnoOr<std::shared_ptr<int>> holder = counted;
    ErrnoOr<std::shared_ptr<int>> moved = std::move(holder);
    EXPECT_EQ(counted.use_count(), 2);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(ToStatus, KeepsTheNumberThatStatusCodesFold) {
  for (const int number : {EPERM, EACCES, EROFS, EBADF, ENOTDIR, EISDIR, ENOTEMPTY}) {
    EXPECT_EQ(ErrnoFrom(ToStatus(Errno(number), "openat2(root)")), number);
  }
  EXPECT_EQ(ToStatus(Errno(ENOENT), "openat2(root)").message(),
            "openat2(root): ENOENT (No such file or directory)");
}

TEST(ErrnoFrom, IsEioWithoutANumber) {
  EXPECT_EQ(ErrnoFrom(absl::InvalidArgumentError("WalkReq: too short")), EIO);
}

}  // namespace
}  // namespace gofer
