#include "gofer/fs/posix_locks.h"

#include <fcntl.h>

#include <cstdint>

#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::CountOpenFds;

class PosixLocksTest : public FilesystemTest {
 protected:
  void SetUp() override {
    tree_.Write("f", "text");
    file_ = Walk("f");
  }

  PosixLocks locks_{fs_.get()};
  PosixLocks others_{fs_.get()};  // of another session
  Entry file_;
};

TEST_F(PosixLocksTest, OwnersKeepEachOtherOut) {
  Dentry& file = *file_.dentry;
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_WRLCK, 10, 19})), 0);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 2, {F_RDLCK, 19, 30})), EAGAIN);
  EXPECT_EQ(ErrorOf(others_.Set(file, 1, {F_RDLCK, 19, 30})), EAGAIN) << "another session's owner";
  EXPECT_EQ(ErrorOf(locks_.Set(file, 2, {F_RDLCK, 20, INT64_MAX})), 0);
  ErrnoOr<LockRange> found = locks_.Test(file, 2, {F_RDLCK, 0, 100});
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->type, F_WRLCK);
  EXPECT_EQ(found->start, 10u);
  EXPECT_EQ(found->end, 19u);
  found = others_.Test(file, 9, {F_WRLCK, 100, 100});
  EXPECT_EQ(found->type, F_RDLCK);
  EXPECT_EQ(found->end, uint64_t{INT64_MAX});
  EXPECT_EQ(locks_.Test(file, 1, {F_WRLCK, 10, 19})->type, F_UNLCK) << "its own is not in the way";
  EXPECT_EQ(locks_.size(), 2u);
  EXPECT_EQ(others_.size(), 1u);
}

TEST_F(PosixLocksTest, AreReleasedByOwnerByRangeAndByTheSession) {
  Dentry& file = *file_.dentry;
  const size_t base = CountOpenFds();
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_WRLCK, 0, INT64_MAX})), 0);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_UNLCK, 0, 9})), 0);
  EXPECT_EQ(ErrorOf(others_.Set(file, 5, {F_WRLCK, 0, 9})), 0);
  EXPECT_EQ(ErrorOf(others_.Set(file, 5, {F_WRLCK, 0, 10})), EAGAIN);
  locks_.Release(file, 2);  // has none
  locks_.Release(file, 1);
  EXPECT_EQ(ErrorOf(others_.Set(file, 5, {F_WRLCK, 0, 10})), 0);
  others_.Clear();
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_WRLCK, 0, 10})), 0);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_UNLCK, 0, 10})), 0) << "of who has none";
  locks_.Clear();
  EXPECT_EQ(CountOpenFds(), base);
}

TEST_F(PosixLocksTest, HostilePlaces) {
  Dentry& file = *file_.dentry;
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_WRLCK, 10, 9})), EINVAL);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_WRLCK, 0, ~uint64_t{0}})), EINVAL);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {F_WRLCK, ~uint64_t{0}, ~uint64_t{0}})), EINVAL);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 1, {77, 0, 1})), EINVAL);
  tree_.Fifo("p");
  EXPECT_EQ(ErrorOf(locks_.Set(*Walk("p").dentry, 1, {F_WRLCK, 0, 1})), EBADF);
}

}  // namespace
}  // namespace gofer::fs
