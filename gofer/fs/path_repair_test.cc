// Files are moved and removed behind the Filesystem's back, and their Dentries follow.

#include "gofer/fs/path_repair.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gofer/fs/filesystem_fixture.h"
#include "test/support/forked.h"

namespace gofer::fs {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class PathRepairTest : public FilesystemTest {
 protected:
  PathRepairTest() {
    tree_.Mkdir("dir");
    tree_.Mkdir("dir/sub");
    tree_.Write("dir/file", "file");
    tree_.Write("dir/sub/deep", "deep");
    tree_.Write("top", "top");
  }

  RefPtr<Dentry> At(absl::string_view path) { return Walk(path).dentry; }
  // As READDIRPLUS finds it: never opened.
  RefPtr<Dentry> Unopened(absl::string_view dir, absl::string_view name) {
    ErrnoOr<Entry> entry = fs_->LookupUnopened(*At(dir), N(name));
    CHECK(entry.ok());
    CHECK(!entry->dentry->inode().TryPin().has_value());
    return std::move(entry->dentry);
  }
  PathRepair Repair() { return RepairPaths(*fs_); }
  std::string PathOf(const RefPtr<Dentry>& dentry) { return fs_->PathOf(*dentry); }
};

TEST_F(PathRepairTest, NamesThatHoldStayAsTheyAre) {
  const RefPtr<Dentry> deep = At("dir/sub/deep");
  const RefPtr<Dentry> top = At("top");
  At("dir/file");  // cached, but in nobody's use
  const PathRepair result = Repair();
  EXPECT_EQ(result.checked, 4u);
  EXPECT_EQ(result.repaired + result.deleted + result.not_found, 0u);
  EXPECT_EQ(PathOf(deep), "/dir/sub/deep");
  EXPECT_TRUE(ConfirmPaths(*fs_).ok());
}

TEST_F(PathRepairTest, AFileThatWasMovedIsFoundByItsDescriptor) {
  const RefPtr<Dentry> file = At("dir/file");
  tree_.Rename("dir/file", "dir/sub/elsewhere");
  const absl::Status before = ConfirmPaths(*fs_);
  EXPECT_EQ(before.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(before.message(), HasSubstr("/dir/file: its name leads nowhere"));
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/dir/sub/elsewhere");
  EXPECT_TRUE(ConfirmPaths(*fs_).ok());
  // And it is what a client finds there.
  EXPECT_EQ(At("dir/sub/elsewhere"), file);
}

TEST_F(PathRepairTest, WhatALookupHasForgottenIsRepairedToo) {
  const RefPtr<Dentry> file = At("dir/file");
  tree_.Rename("dir/file", "moved");
  tree_.Write("dir/file", "another");
  const RefPtr<Dentry> another = At("dir/file");  // takes the name
  ASSERT_NE(another, file);
  EXPECT_THAT(ConfirmPaths(*fs_).message(), HasSubstr("/dir/file: its name leads to another file"));
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/moved");
  EXPECT_EQ(PathOf(another), "/dir/file");
}

TEST_F(PathRepairTest, FilesThatChangedPlacesDoSoHere) {
  const RefPtr<Dentry> file = At("dir/file");
  const RefPtr<Dentry> top = At("top");
  tree_.Rename("top", "tmp");
  tree_.Rename("dir/file", "top");
  tree_.Rename("tmp", "dir/file");
  EXPECT_EQ(Repair().repaired, 2u);
  EXPECT_EQ(PathOf(file), "/top");
  EXPECT_EQ(PathOf(top), "/dir/file");
  EXPECT_EQ(At("top"), file);
  EXPECT_EQ(At("dir/file"), top);
}

TEST_F(PathRepairTest, WhatIsInADirectoryMovesWithIt) {
  const RefPtr<Dentry> deep = At("dir/sub/deep");
  tree_.Rename("dir/sub", "sub2");
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(deep), "/sub2/deep");
}

TEST_F(PathRepairTest, ADirectoryThatMovedBelowItsFormerChild) {
  const RefPtr<Dentry> deep = At("dir/sub/deep");
  const RefPtr<Dentry> dir = At("dir");
  tree_.Rename("dir/sub", "sub");
  tree_.Rename("dir", "sub/dir");
  EXPECT_EQ(Repair().not_found, 0u);
  EXPECT_EQ(PathOf(dir), "/sub/dir");
  EXPECT_EQ(PathOf(deep), "/sub/deep");
  EXPECT_TRUE(ConfirmPaths(*fs_).ok());
}

TEST_F(PathRepairTest, ARemovedFileIsMarkedDeleted) {
  const RefPtr<Dentry> file = At("dir/file");
  const RefPtr<Dentry> sub = At("dir/sub");
  tree_.Unlink("dir/file");
  tree_.Unlink("dir/sub/deep");
  tree_.Rmdir("dir/sub");
  const PathRepair result = Repair();
  EXPECT_EQ(result.deleted, 2u);
  EXPECT_EQ(result.not_found, 0u);
  EXPECT_TRUE(file->deleted());
  EXPECT_TRUE(sub->deleted());
  EXPECT_TRUE(fs_->Stat(*file).ok());  // its clients have it still
}

TEST_F(PathRepairTest, ANameMayEndAsTheKernelMarksDeletedFiles) {
  const RefPtr<Dentry> file = At("dir/file");
  tree_.Rename("dir/file", "dir/file (deleted)");
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/dir/file (deleted)");
  EXPECT_FALSE(file->deleted());
}

TEST_F(PathRepairTest, ADeletedFileIsNotTheOneThatIsNamedSo) {
  const RefPtr<Dentry> file = At("dir/file");
  tree_.Unlink("dir/file");
  tree_.Write("dir/file (deleted)", "a decoy");
  EXPECT_EQ(Repair().deleted, 1u);
  EXPECT_TRUE(file->deleted());
}

TEST_F(PathRepairTest, NamesAreBytes) {
  const RefPtr<Dentry> file = At("dir/file");
  const std::string odd = "a\nb\\\xff\x01 ";
  tree_.Rename("dir/file", odd);
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), absl::StrCat("/", odd));
}

TEST_F(PathRepairTest, AnotherLinkIsFoundWhenTheNameIsGone) {
  const RefPtr<Dentry> file = At("dir/file");
  tree_.Link("dir/file", "dir/sub/link");
  tree_.Unlink("dir/file");
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/dir/sub/link");
}

TEST_F(PathRepairTest, EachLinkKeepsANameOfItsOwn) {
  tree_.Link("dir/file", "first");
  const RefPtr<Dentry> file = At("dir/file");
  const RefPtr<Dentry> first = At("first");
  ASSERT_EQ(&file->inode(), &first->inode());
  tree_.Rename("dir/file", "dir/sub/second");
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/dir/sub/second");
  EXPECT_EQ(PathOf(first), "/first");
  // With one name left they share it.
  tree_.Unlink("dir/sub/second");
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/first");
  EXPECT_EQ(PathOf(first), "/first");
  EXPECT_TRUE(ConfirmPaths(*fs_).ok());
}

TEST_F(PathRepairTest, WhatHasNoDescriptorIsSearchedFor) {
  const RefPtr<Dentry> file = Unopened("dir", "file");
  const RefPtr<Dentry> sub = Unopened("dir", "sub");
  tree_.Mkdir("far");
  tree_.Mkdir("far/away");
  tree_.Rename("dir/file", "far/away/file2");
  tree_.Rename("dir/sub", "far/sub2");
  const PathRepair result = Repair();
  EXPECT_EQ(result.repaired, 2u);
  EXPECT_EQ(result.not_found, 0u);
  EXPECT_EQ(PathOf(file), "/far/away/file2");
  EXPECT_EQ(PathOf(sub), "/far/sub2");
}

TEST_F(PathRepairTest, ASearchReadsDirectoriesOfAnySize) {
  const RefPtr<Dentry> file = Unopened("dir", "file");
  tree_.Mkdir("large");
  for (int i = 0; i < 3000; ++i) tree_.Write(absl::StrCat("large/", i), "");
  tree_.Mkdir("large/below");
  tree_.Rename("dir/file", "large/below/file");
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/large/below/file");
}

TEST_F(PathRepairTest, ADirectoryThatMayNotBeReadHidesWhatIsInIt) {
  if (getuid() != 0) GTEST_SKIP() << "needs to become another user";
  tree_.Mkdir("closed");
  tree_.Mkdir("open");
  for (const char* const name : {"", "dir", "dir/file", "dir/sub", "closed", "open"}) {
    ASSERT_EQ(chown(tree_.At(name).c_str(), 65534, 65534), 0);
  }
  const testing::ChildEnd end = testing::InChild([&] {
    // Who has changed users may not look at itself in /proc without the second call.
    if (setresuid(65534, 65534, 65534) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0) _exit(2);
    auto fs = Filesystem::Create(tree_.OpenPath(), *sys::OpenProcSelfFd(), FilesystemOptions());
    if (!fs.ok()) _exit(3);
    fs_ = *std::move(fs);
    const RefPtr<Dentry> hidden = Unopened("dir", "file");
    const RefPtr<Dentry> found = Unopened("dir", "sub");
    tree_.Rename("dir/file", "closed/file");
    tree_.Rename("dir/sub", "open/sub");
    if (chmod(tree_.At("closed").c_str(), 0) != 0) _exit(4);
    const PathRepair result = Repair();
    if (result.repaired != 1 || result.not_found != 1) _exit(5);
    _exit(PathOf(found) == "/open/sub" ? 0 : 6);
  });
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.status, 0);
}

TEST_F(PathRepairTest, WhatLeftTheTreeIsNotFoundAndKeepsServing) {
  const testing::TempTree outside;
  const RefPtr<Dentry> file = At("dir/file");
  ASSERT_EQ(rename(tree_.At("dir/file").c_str(), outside.At("file").c_str()), 0);
  const PathRepair result = Repair();
  EXPECT_EQ(result.not_found, 1u);
  EXPECT_EQ(result.repaired + result.deleted, 0u);
  EXPECT_FALSE(file->deleted());
  EXPECT_TRUE(fs_->Stat(*file).ok());
}

TEST_F(PathRepairTest, WhatLeftTheTreeByOneNameIsFoundByAnother) {
  const testing::TempTree outside;
  const RefPtr<Dentry> file = At("dir/file");
  tree_.Link("dir/file", "other");
  ASSERT_EQ(rename(tree_.At("dir/file").c_str(), outside.At("file").c_str()), 0);
  EXPECT_EQ(Repair().repaired, 1u);
  EXPECT_EQ(PathOf(file), "/other");
}

// A sibling whose name begins like the root's is not in the tree.
TEST(PathRepairRootTest, TheRootEndsAtItsOwnName) {
  const testing::TempTree tree;
  tree.Mkdir("share");
  tree.Mkdir("share2");
  tree.Write("share/file", "");
  auto fs = Filesystem::Create(tree.OpenPath("share"), *sys::OpenProcSelfFd(), FilesystemOptions());
  ASSERT_TRUE(fs.ok());
  const RefPtr<Dentry> file = (*fs)->Lookup((*fs)->root(), N("file"))->dentry;
  tree.Rename("share/file", "share2/file");
  EXPECT_EQ(RepairPaths(**fs).not_found, 1u);
  EXPECT_EQ((*fs)->PathOf(*file), "/file");
}

// As in a sandbox: the tree is all that there is, and /proc is only held open.
TEST(PathRepairRootTest, TheRootMayBeTheProcesssOwn) {
  const testing::TempTree tree;
  tree.Mkdir("dir");
  tree.Write("dir/file", "");
  const testing::ChildEnd end = testing::InChild([&] {
    UniqueFd root = tree.OpenPath();
    UniqueFd proc_fds = *sys::OpenProcSelfFd();
    if (chroot(tree.path().c_str()) != 0 || chdir("/") != 0) _exit(2);
    auto fs = Filesystem::Create(std::move(root), std::move(proc_fds), FilesystemOptions());
    if (!fs.ok()) _exit(3);
    const RefPtr<Dentry> dir = (*fs)->Lookup((*fs)->root(), N("dir"))->dentry;
    const RefPtr<Dentry> file = (*fs)->Lookup(*dir, N("file"))->dentry;
    if (rename("/dir/file", "/moved") != 0) _exit(4);
    if (RepairPaths(**fs).repaired != 1 || (*fs)->PathOf(*file) != "/moved") _exit(5);
    _exit(0);
  });
  EXPECT_EQ(end.signal, 0);
  EXPECT_EQ(end.status, 0);
}

TEST_F(PathRepairTest, ItReportsProgressAndCanBeCancelled) {
  std::vector<RefPtr<Dentry>> kept;
  for (int i = 0; i < 3000; ++i) {
    tree_.Write(absl::StrCat("n", i), "");
    kept.push_back(At(absl::StrCat("n", i)));
  }
  std::vector<uint64_t> seen;
  const PathRepair all = RepairPaths(*fs_, {.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_LE(done, total);
    seen.push_back(done);
  }});
  EXPECT_EQ(all.checked, 3000u);
  EXPECT_GE(seen.size(), 4u);
  EXPECT_EQ(seen.front(), 0u);
  EXPECT_EQ(seen.back(), 3000u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));

  std::atomic<bool> cancel{false};
  const PathWatch watch = {.cancel = &cancel, .progress = [&](uint64_t done, uint64_t) {
                             if (done > 0) cancel = true;
                           }};
  const PathRepair part = RepairPaths(*fs_, watch);
  EXPECT_TRUE(part.cancelled);
  EXPECT_LT(part.checked, 3000u);
  EXPECT_EQ(ConfirmPaths(*fs_, watch).code(), absl::StatusCode::kCancelled);
}

// Clients rename and remove while the host does, and repairs run: nobody loses a file that is
// there.
TEST_F(PathRepairTest, ItRunsWhileTheTreeIsInUse) {
  constexpr int kFiles = 40;
  constexpr int kRounds = 150;
  std::vector<RefPtr<Dentry>> kept;
  for (int i = 0; i < kFiles; ++i) {
    tree_.Write(absl::StrCat("dir/f", i), absl::StrCat(i));
    kept.push_back(At(absl::StrCat("dir/f", i)));
  }
  const RefPtr<Dentry> dir = At("dir");
  const RefPtr<Dentry> sub = At("dir/sub");
  std::atomic<bool> done{false};
  std::thread client([&] {
    for (int round = 0; round < kRounds; ++round) {
      for (int i = 0; i < kFiles; i += 2) {
        const Name name = N(absl::StrCat("f", i));
        Dentry& from = round % 2 == 0 ? *dir : *sub;
        Dentry& to = round % 2 == 0 ? *sub : *dir;
        EXPECT_TRUE(fs_->Rename(from, name, to, name, 0).ok());
      }
    }
    done = true;
  });
  std::thread host([&] {
    for (int round = 0; !done; ++round) {
      for (int i = 1; i < kFiles; i += 2) {
        const std::string here = absl::StrCat("dir/f", i);
        const std::string there = absl::StrCat("h", i);
        tree_.Rename(round % 2 == 0 ? here : there, round % 2 == 0 ? there : here);
      }
    }
  });
  while (!done) EXPECT_EQ(Repair().deleted, 0u);
  client.join();
  host.join();
  EXPECT_EQ(Repair().not_found, 0u);
  EXPECT_TRUE(ConfirmPaths(*fs_).ok());
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(tree_.Read(PathOf(kept[static_cast<size_t>(i)]).substr(1)), absl::StrCat(i));
  }
}

}  // namespace
}  // namespace gofer::fs
