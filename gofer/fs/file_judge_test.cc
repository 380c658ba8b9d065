#include "gofer/fs/file_judge.h"

#include <sys/stat.h>

#include "gtest/gtest.h"

namespace gofer::fs {
namespace {

InodeState MakeState(uint32_t type, uint64_t ino, uint32_t device = 1) {
  InodeState state;
  state.type = type;
  state.dev_major = 8;
  state.dev_minor = device;
  state.ino = ino;
  state.birth = FileTime{.sec = 100, .nsec = static_cast<uint32_t>(ino)};
  state.size = 10;
  state.mtime = {.sec = 200, .nsec = 5};
  return state;
}
InodeState Root() { return MakeState(S_IFDIR, 2); }
InodeState File() { return MakeState(S_IFREG, 12); }

TEST(FileJudgeTest, AnUntouchedFileIsTheSame) {
  FileJudge judge(Root(), Root(), {});
  EXPECT_FALSE(judge.relocated());
  EXPECT_EQ(judge.Judge(File(), File()), Verdict::kSame);
}

TEST(FileJudgeTest, AChangeOfContentIsSeenWhereItIsAskedFor) {
  InodeState longer = File();
  longer.size = 11;
  InodeState touched = File();
  touched.mtime.nsec = 6;
  FileJudge strict(Root(), Root(), {});
  EXPECT_EQ(strict.Judge(File(), longer), Verdict::kChanged);
  EXPECT_EQ(strict.Judge(File(), touched), Verdict::kChanged);
  FileJudge sizes(Root(), Root(), {.sizes = true, .mtimes = false});
  EXPECT_EQ(sizes.Judge(File(), longer), Verdict::kChanged);
  EXPECT_EQ(sizes.Judge(File(), touched), Verdict::kSame);
  FileJudge neither(Root(), Root(), {.sizes = false, .mtimes = false});
  EXPECT_EQ(neither.Judge(File(), longer), Verdict::kSame);
}

TEST(FileJudgeTest, ADirectorysTimesAreNotItsIdentity) {
  InodeState touched = MakeState(S_IFDIR, 12);
  touched.mtime.sec = 1;
  FileJudge judge(Root(), Root(), {});
  EXPECT_EQ(judge.Judge(MakeState(S_IFDIR, 12), touched), Verdict::kSame);
}

TEST(FileJudgeTest, AReusedNumberIsAnotherFile) {
  InodeState reborn = File();
  reborn.birth->sec = 101;
  FileJudge judge(Root(), Root(), {.sizes = false, .mtimes = false});
  EXPECT_EQ(judge.Judge(File(), reborn), Verdict::kReplaced);
  // Where the host knows no birth time, the handle's generation tells.
  InodeState saved = File();
  saved.birth.reset();
  saved.handle = "generation 1";
  InodeState found = saved;
  found.handle = "generation 2";
  EXPECT_EQ(judge.Judge(saved, found), Verdict::kReplaced);
  found.handle.clear();  // nothing left to tell by
  EXPECT_EQ(judge.Judge(saved, found), Verdict::kSame);
}

TEST(FileJudgeTest, AnotherTypeIsAnotherFile) {
  FileJudge judge(Root(), Root(), {});
  EXPECT_EQ(judge.Judge(File(), MakeState(S_IFIFO, 12)), Verdict::kReplaced);
  FileJudge relocated(Root(), MakeState(S_IFDIR, 3), {});
  EXPECT_EQ(relocated.Judge(File(), MakeState(S_IFIFO, 12)), Verdict::kReplaced);
}

TEST(FileJudgeTest, ADeviceMayHaveAnotherNumberNow) {
  // The root's, and one that is mounted below.
  FileJudge judge(Root(), MakeState(S_IFDIR, 2, 7), {});
  EXPECT_FALSE(judge.relocated());
  EXPECT_EQ(judge.Judge(File(), MakeState(S_IFREG, 12, 7)), Verdict::kSame);
  EXPECT_EQ(judge.Judge(MakeState(S_IFDIR, 2, 3), MakeState(S_IFDIR, 2, 9)), Verdict::kSame);
  EXPECT_EQ(judge.Judge(MakeState(S_IFREG, 5, 3), MakeState(S_IFREG, 5, 9)), Verdict::kSame);
}

TEST(FileJudgeTest, AFileOnAnotherDeviceIsAnotherFile) {
  FileJudge judge(Root(), Root(), {.sizes = false, .mtimes = false});
  EXPECT_EQ(judge.Judge(File(), MakeState(S_IFREG, 12, 2)), Verdict::kReplaced);
}

TEST(FileJudgeTest, AMismatchTeachesNothingOfADevice) {
  FileJudge judge(Root(), Root(), {});
  EXPECT_EQ(judge.Judge(MakeState(S_IFREG, 5, 3), MakeState(S_IFREG, 6, 9)), Verdict::kReplaced);
  EXPECT_EQ(judge.Judge(MakeState(S_IFREG, 5, 3), MakeState(S_IFREG, 5, 4)), Verdict::kSame);
}

TEST(FileJudgeTest, ACopiedTreeIsJudgedByContent) {
  FileJudge judge(Root(), MakeState(S_IFDIR, 900), {});
  EXPECT_TRUE(judge.relocated());
  InodeState copy = MakeState(S_IFREG, 901, 4);
  EXPECT_EQ(judge.Judge(File(), copy), Verdict::kSame);
  copy.size = 9;
  EXPECT_EQ(judge.Judge(File(), copy), Verdict::kChanged);
  // Numbers that happen to match are of no meaning.
  EXPECT_FALSE(judge.SameFile(File(), File()));
}

}  // namespace
}  // namespace gofer::fs
