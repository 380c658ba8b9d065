// Files that are open and deleted: a very large one that is nearly empty, very many, and
// more than may be kept. They are saved in the room that their data takes, or the save names them.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "gmock/gmock.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/checkpoint/life.h"
#include "test/support/forked.h"
#include "test/support/memory_disk.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using checkpoint::Loaded;
using lisafs::FdId;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kTebibyte = uint64_t{1} << 40;

class CkptDeletedTest : public ::testing::Test {
 protected:
  void Write(absl::string_view name, absl::string_view data, uint64_t offset) const {
    const UniqueFd file(open(tree_.At(name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    PCHECK(pwrite(file.get(), data.data(), data.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(data.size()));
  }
  // Opens a file and removes its name.
  static FdId OpenDeleted(Life& life, absl::string_view name) {
    const FdId control = life.Walk(life.root(), name);
    const FdId file = Must(life->OpenAt(control, O_RDWR)).fd;
    Must(life->Close({control}));
    Must(life->UnlinkAt(life.root(), name, 0));
    return file;
  }

  TempTree tree_;
  const lisafs::ServerOptions options_ = {.donate_fds = false};
};

TEST_F(CkptDeletedTest, ATebibyteWithLittleInItTakesLittle) {
  Write("large", "begin", 0);
  Write("large", "middle", kTebibyte / 2);
  Write("large", "end", kTebibyte - 3);
  Life before(tree_.OpenPath(), options_);
  before.Start();
  const FdId file = OpenDeleted(before, "large");
  const Stopwatch watch;
  const absl::StatusOr<Loaded> saved =
      SaveInMemory(before, {.leave_running = true, .max_deleted_bytes = 64 << 10});
  ASSERT_TRUE(saved.ok()) << saved.status();
  ASSERT_THAT(saved->files.deleted_files, SizeIs(1));
  EXPECT_LE(saved->files.deleted_files[0].extents.size(), 3u);
  Life after(tree_.OpenPath(), options_);
  const absl::Status restored = after.Restore(saved->files, saved->lisafs);
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_LT(watch.Elapsed(), absl::Seconds(2));
  EXPECT_EQ(Must(after->FStat(file)).size, kTebibyte);
  EXPECT_LT(Must(after->FStat(file)).blocks, 1000u) << "the holes have been filled";
  EXPECT_EQ(after.Read(file, 6), std::string("begin\0", 6));
  EXPECT_EQ(after.Read(file, 6, kTebibyte / 2), "middle");
  EXPECT_EQ(after.Read(file, 10, kTebibyte - 3), "end");
  EXPECT_THAT(tree_.Snapshot(), IsEmpty());
}

TEST_F(CkptDeletedTest, MoreDataThanMayBeKeptIsRefusedByName) {
  Write("kept", std::string(40'000, 'k'), 0);
  Write("too much", std::string(40'000, 't'), kTebibyte / 4);
  Life life(tree_.OpenPath(), options_);
  life.Start();
  const FdId kept = OpenDeleted(life, "kept");
  const FdId file = OpenDeleted(life, "too much");
  const absl::Status refused =
      SaveInMemory(life, {.leave_running = true, .max_deleted_bytes = 64 << 10}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("1 files cannot be saved: /too much: is deleted"));
  EXPECT_THAT(refused.message(), HasSubstr("65536 bytes of --max_deleted_bytes"));
  EXPECT_EQ(life.Read(file, 1, kTebibyte / 4), "t");
  EXPECT_EQ(life.Read(kept, 1), "k");
  EXPECT_TRUE(SaveInMemory(life).ok()) << "the default allows as much";
}

TEST_F(CkptDeletedTest, TenThousandAreSavedAndComeBack) {
  constexpr int kFiles = 10'000;
  if (!IsPrivileged()) GTEST_SKIP() << "needs to mount";
  // In memory: a disk takes its time for each name, which says nothing of us.
  const MemoryDisk disk(tree_);
  // The others are kept by an id of the file itself: each costs a descriptor, an open one two.
  constexpr int kOpen = 2'000;
  struct rlimit limit;
  PCHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_max < kFiles + kOpen + 1000) {
    GTEST_SKIP() << "only " << limit.rlim_max << " descriptors";
  }
  limit.rlim_cur = limit.rlim_max;
  PCHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  std::vector<FdId> files;
  absl::StatusOr<Loaded> saved = absl::UnknownError("not yet");
  {
    Life before(tree_.OpenPath(), options_);
    before.Start();
    for (int i = 0; i < kFiles; ++i) {
      const std::string name = absl::StrCat("file", i);
      tree_.Write(name, absl::StrCat("content ", i));
      if (i < kOpen) {
        files.push_back(OpenDeleted(before, name));
      } else {
        files.push_back(before.Walk(before.root(), name));
        Must(before->UnlinkAt(before.root(), name, 0));
      }
    }
    const absl::Status refused =
        SaveInMemory(before, {.leave_running = true, .max_deleted_bytes = 1000}).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_LT(refused.message().size(), 50'000u) << "names more than anybody reads";
    saved = SaveInMemory(before);
    ASSERT_TRUE(saved.ok()) << saved.status();
  }
  EXPECT_THAT(saved->files.deleted_files, SizeIs(kFiles));
  Life after(tree_.OpenPath(), options_);
  const absl::Status restored = after.Restore(saved->files, saved->lisafs);
  ASSERT_TRUE(restored.ok()) << restored;
  for (int i = 0; i < kFiles; i += 97) {
    FdId file = files[static_cast<size_t>(i)];
    if (i >= kOpen) file = Must(after->OpenAt(file, O_RDONLY)).fd;
    EXPECT_EQ(after.Read(file, 100), absl::StrCat("content ", i));
  }
  EXPECT_THAT(tree_.Snapshot(), IsEmpty()) << "what had no name has one";
}

}  // namespace
}  // namespace gofer::testing
