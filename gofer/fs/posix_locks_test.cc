#include "gofer/fs/posix_locks.h"

#include <fcntl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::CountOpenFds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// "R0-9 W10-" for a lock to read the first ten bytes and one to write all others.
std::string ToString(const LockRanges& ranges) {
  std::string text;
  for (const LockRange& range : ranges) {
    absl::StrAppend(&text, text.empty() ? "" : " ", range.type == F_RDLCK ? "R" : "W", range.start,
                    "-");
    if (range.end != uint64_t{INT64_MAX}) absl::StrAppend(&text, range.end);
  }
  return text;
}

std::string After(LockRanges ranges, const LockRange& range) {
  ApplyLock(ranges, range);
  return ToString(ranges);
}

TEST(ApplyLockTest, TheNewestSettingOfAByteCounts) {
  const LockRanges two = {{F_RDLCK, 10, 19}, {F_WRLCK, 30, 39}};
  EXPECT_EQ(After({}, {F_WRLCK, 0, INT64_MAX}), "W0-");
  EXPECT_EQ(After({}, {F_UNLCK, 0, INT64_MAX}), "");
  EXPECT_EQ(After(two, {F_UNLCK, 0, INT64_MAX}), "");
  EXPECT_EQ(After(two, {F_RDLCK, 15, 25}), "R10-25 W30-39") << "grows";
  EXPECT_EQ(After(two, {F_RDLCK, 20, 29}), "R10-29 W30-39") << "a neighbour";
  EXPECT_EQ(After(two, {F_RDLCK, 5, 9}), "R5-19 W30-39") << "a neighbour";
  EXPECT_EQ(After(two, {F_RDLCK, 21, 28}), "R10-19 R21-28 W30-39") << "apart";
  EXPECT_EQ(After(two, {F_WRLCK, 15, 32}), "R10-14 W15-39") << "over both";
  EXPECT_EQ(After(two, {F_WRLCK, 12, 13}), "R10-11 W12-13 R14-19 W30-39") << "inside";
  EXPECT_EQ(After(two, {F_UNLCK, 35, 35}), "R10-19 W30-34 W36-39") << "a hole";
  EXPECT_EQ(After(two, {F_RDLCK, 0, INT64_MAX}), "R0-");
  EXPECT_EQ(After({{F_RDLCK, 0, 9}, {F_RDLCK, 20, 29}}, {F_RDLCK, 10, 19}), "R0-29") << "joins";
}

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

TEST_F(PosixLocksTest, WhatIsHeldCanBeAskedFor) {
  Dentry& file = *file_.dentry;
  EXPECT_THAT(locks_.All(), IsEmpty());
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_WRLCK, 0, 99})), 0);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_UNLCK, 40, 49})), 0);
  EXPECT_EQ(ErrorOf(others_.Set(file, 8, {F_WRLCK, 45, 49})), 0);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_RDLCK, 45, 45})), EAGAIN) << "is not remembered";
  const std::vector<PosixLocks::OfOwner> all = locks_.All();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(all[0].owner, 7u);
  EXPECT_EQ(all[0].dentry, file_.dentry);
  EXPECT_EQ(ToString(all[0].ranges), "W0-39 W50-99");
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_UNLCK, 0, INT64_MAX})), 0);
  EXPECT_THAT(locks_.All(), IsEmpty());
}

TEST_F(PosixLocksTest, LocksAreLetGoAndTakenAgain) {
  Dentry& file = *file_.dentry;
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_WRLCK, 0, 9})), 0);
  EXPECT_EQ(ErrorOf(locks_.Set(file, 7, {F_WRLCK, 20, 29})), 0);
  locks_.LetGo();
  EXPECT_THAT(locks_.All(), SizeIs(1));
  EXPECT_EQ(ErrorOf(others_.Set(file, 1, {F_WRLCK, 0, 99})), 0);
  EXPECT_EQ(ErrorOf(others_.Set(file, 1, {F_UNLCK, 10, 99})), 0);
  const std::vector<PosixLocks::OfOwner> lost = locks_.TakeAgain();
  ASSERT_THAT(lost, SizeIs(1));
  EXPECT_EQ(lost[0].owner, 7u);
  EXPECT_EQ(ToString(lost[0].ranges), "W0-9");
  EXPECT_EQ(ToString(locks_.All().at(0).ranges), "W20-29");
  EXPECT_EQ(ErrorOf(others_.Set(file, 1, {F_WRLCK, 29, 29})), EAGAIN);
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
