// Who is given a file after a restore: the one who had it, or nobody. Files
// that look the same, have the same number, swapped their names, lie on another mount or below
// another root, or change places while the restore runs.

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "gmock/gmock.h"
#include "gofer/fs/tree_restore.h"
#include "gtest/gtest.h"
#include "test/checkpoint/life.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using fs::Verdict;
using lisafs::FdId;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr struct timespec kLongAgo = {.tv_sec = 1'500'000'000, .tv_nsec = 123'456'789};

class CkptIdentityTest : public ::testing::Test {
 protected:
  // Two files that differ in nothing but in what is in them.
  CkptIdentityTest() {
    WriteOld("mine", "mine!");
    WriteOld("other", "other");
  }

  void WriteOld(absl::string_view name, absl::string_view content) const {
    tree_.Write(name, content);
    SetOld(tree_, name);
  }
  static void SetOld(const TempTree& tree, absl::string_view name) {
    const struct timespec times[2] = {kLongAgo, kLongAgo};
    PCHECK(utimensat(AT_FDCWD, tree.At(name).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
  }

  // A client that has `name` open; and the end of its gofer.
  void SaveWith(absl::string_view name) {
    Life life(tree_.OpenPath(), {.donate_fds = false});
    life.Start();
    control_ = life.Walk(life.root(), name);
    file_ = Must(life->OpenAt(control_, O_RDONLY)).fd;
    absl::StatusOr<checkpoint::Loaded> saved = SaveInMemory(life);
    ASSERT_TRUE(saved.ok()) << saved.status();
    image_ = *std::move(saved);
  }
  std::unique_ptr<Life> Restore(const TempTree& tree, const fs::RestoreOptions& options = {}) {
    auto life = std::make_unique<Life>(tree.OpenPath(), lisafs::ServerOptions{.donate_fds = false});
    const absl::Status restored = life->Restore(image_.files, image_.lisafs, options);
    CHECK(restored.ok()) << restored;
    return life;
  }
  // The one finding, and that the client is told; whatever may be followed or not be looked at.
  void ExpectStale(Verdict verdict) {
    for (const bool follows : {false, true}) {
      const std::unique_ptr<Life> life = Restore(tree_, {.follow_moved = follows});
      ASSERT_THAT(life->report().findings, SizeIs(1));
      EXPECT_EQ(life->report().findings[0].verdict, verdict);
      EXPECT_EQ(ErrorOf((*life)->FStat(control_)), ESTALE);
      std::byte byte;
      EXPECT_EQ(ErrorOf((*life)->PRead(file_, std::span(&byte, 1), 0)), ESTALE);
    }
  }

  TempTree tree_;
  checkpoint::Loaded image_;
  FdId control_{};
  FdId file_{};
};

TEST_F(CkptIdentityTest, OneThatLooksTheSameIsAnother) {
  SaveWith("mine");
  tree_.Unlink("mine");
  tree_.Rename("other", "mine");
  ExpectStale(Verdict::kReplaced);
}

TEST_F(CkptIdentityTest, OneWithTheSameNumberIsAnother) {
  SaveWith("mine");
  const uint64_t number = tree_.Stat("mine").st_ino;
  tree_.Unlink("mine");
  bool is_reused = false;
  for (int i = 0; i < 200 && !is_reused; ++i) {
    if (tree_.Exists("mine")) tree_.Unlink("mine");
    WriteOld("mine", "other");
    is_reused = tree_.Stat("mine").st_ino == number;
  }
  // Where the host would not give it again, the image says that it did.
  for (fs::InodeState& inode : image_.files.inodes) {
    if (!is_reused && inode.ino == number) inode.ino = tree_.Stat("mine").st_ino;
  }
  ExpectStale(Verdict::kReplaced);
}

TEST_F(CkptIdentityTest, NamesThatWereSwappedLeadNobodyToTheOther) {
  SaveWith("mine");
  ASSERT_EQ(renameat2(AT_FDCWD, tree_.At("mine").c_str(), AT_FDCWD, tree_.At("other").c_str(),
                      RENAME_EXCHANGE),
            0);
  const std::unique_ptr<Life> strict = Restore(tree_);
  ASSERT_THAT(strict->report().findings, SizeIs(1));
  EXPECT_EQ(strict->report().findings[0].verdict, Verdict::kMoved);
  EXPECT_EQ(ErrorOf((*strict)->FStat(control_)), ESTALE);
  const std::unique_ptr<Life> follows = Restore(tree_, {.follow_moved = true});
  EXPECT_EQ(follows->Read(file_, 10), "mine!");
}

// Two names of one file: it does not matter which of them is left, and a swap with itself is none.
TEST_F(CkptIdentityTest, ALinkOfTheSameFileIsTheFile) {
  tree_.Link("mine", "link");
  SetOld(tree_, "mine");
  SaveWith("link");
  ASSERT_EQ(renameat2(AT_FDCWD, tree_.At("mine").c_str(), AT_FDCWD, tree_.At("link").c_str(),
                      RENAME_EXCHANGE),
            0);
  const std::unique_ptr<Life> life = Restore(tree_);
  EXPECT_THAT(life->report().findings, IsEmpty());
  EXPECT_EQ(life->Read(file_, 10), "mine!");
}

TEST_F(CkptIdentityTest, BelowAnotherRootThatIsSaidAndContentIsWhatCounts) {
  SaveWith("mine");
  const TempTree copy;
  copy.Write("mine", "mine!");
  SetOld(copy, "mine");
  const std::unique_ptr<Life> life = Restore(copy);
  EXPECT_TRUE(life->report().relocated);
  EXPECT_EQ(life->Read(file_, 10), "mine!");
  copy.Write("mine", "mine!");  // at another time
  const std::unique_ptr<Life> later = Restore(copy);
  ASSERT_THAT(later->report().findings, SizeIs(1));
  EXPECT_EQ(later->report().findings[0].verdict, Verdict::kChanged);
  EXPECT_EQ(ErrorOf((*later)->FStat(control_)), ESTALE);
}

TEST_F(CkptIdentityTest, AMountOnTheNameIsAnotherFile) {
  if (!IsPrivileged()) GTEST_SKIP() << "needs to mount";
  SaveWith("mine");
  const ChildEnd end = InMountNamespace([&] {
    PCHECK(mount(tree_.At("other").c_str(), tree_.At("mine").c_str(), nullptr, MS_BIND, nullptr) ==
           0);
    ExpectStale(Verdict::kReplaced);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(CkptIdentityTest, ExchangedDuringAThousandRestores) {
  SaveWith("mine");
  std::atomic<bool> done{false};
  std::atomic<uint64_t> exchanges{0};
  std::thread host([&] {
    const std::string mine = tree_.At("mine");
    const std::string other = tree_.At("other");
    while (!done) {
      PCHECK(renameat2(AT_FDCWD, mine.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0);
      ++exchanges;
    }
  });
  int served = 0, stale = 0;
  // And on, where the host has got no processor for a while.
  const absl::Time deadline = absl::Now() + kPatience;
  const auto goes_on = [&](int restores) {
    if (restores < 1000) return true;
    return (served <= 10 || stale <= 10 || exchanges <= 1000) && absl::Now() < deadline;
  };
  for (int i = 0; goes_on(i); ++i) {
    const std::unique_ptr<Life> life = Restore(tree_, {.follow_moved = i % 2 == 0});
    std::string text(10, '\0');
    const auto size = (*life)->PRead(file_, std::as_writable_bytes(std::span(text)), 0);
    if (size.ok()) {
      text.resize(*size);
      EXPECT_EQ(text, "mine!") << "another file is served";
      ++served;
    } else {
      EXPECT_EQ(size.error(), ESTALE);
      EXPECT_FALSE(life->report().findings.empty());
      ++stale;
    }
    if (HasFailure()) break;
  }
  done = true;
  host.join();
  EXPECT_GT(served, 10);
  EXPECT_GT(stale, 10);
  EXPECT_GT(exchanges, 1000u);
}

}  // namespace
}  // namespace gofer::testing
