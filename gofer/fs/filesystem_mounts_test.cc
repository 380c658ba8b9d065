// A tree of several mounts: tmpfs, bind mounts and overlayfs, in a mount namespace of the test's
// own.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::ChildEnd;
using ::gofer::testing::CountOpenFds;
using ::gofer::testing::InMountNamespace;
using ::gofer::testing::IsPrivileged;

class MountsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (IsPrivileged()) return;
    const char* const wanted = getenv("GOFER_REQUIRE_REAL");
    ASSERT_TRUE(wanted == nullptr || absl::string_view(wanted) != "1") << "needs to mount";
    GTEST_SKIP() << "may not mount";
  }

  void Mount(const char* source, absl::string_view at, const char* type, unsigned long flags,
             const std::string& data = "") {
    PCHECK(mount(source, tree_.At(at).c_str(), type, flags, data.c_str()) == 0) << at;
  }
  static Entry Find(Filesystem& fs, Dentry& dir, absl::string_view name) {
    ErrnoOr<Entry> found = fs.LookupUnopened(dir, N(name));
    CHECK(found.ok()) << name << ": " << found.error().ToString();
    return *std::move(found);
  }

  testing::TempTree tree_;
};

TEST_F(MountsTest, RootsOfMountsAreTold) {
  for (const char* const name : {"tmpfs", "source", "bind", "plain"}) tree_.Mkdir(name);
  tree_.Write("source/f", "text");
  tree_.Write("file", "");
  tree_.Write("bound_file", "");
  const ChildEnd end = InMountNamespace([this] {
    Mount("tmpfs", "tmpfs", "tmpfs", 0);
    Mount(tree_.At("source").c_str(), "bind", nullptr, MS_BIND);
    Mount(tree_.At("file").c_str(), "bound_file", nullptr, MS_BIND);
    tree_.Write("tmpfs/f", "other");
    for (const FileHandles handles : {FileHandles::kNever, FileHandles::kPrefer}) {
      const auto fs = Serve(tree_, {.file_handles = handles});
      const Entry in_memory = Find(*fs, fs->root(), "tmpfs");
      const Entry bind = Find(*fs, fs->root(), "bind");
      EXPECT_TRUE(CrossesMount(fs->root(), in_memory.attr));
      EXPECT_TRUE(CrossesMount(fs->root(), bind.attr)) << "the same device";
      EXPECT_TRUE(CrossesMount(fs->root(), Find(*fs, fs->root(), "bound_file").attr));
      EXPECT_FALSE(CrossesMount(fs->root(), Find(*fs, fs->root(), "plain").attr));
      EXPECT_EQ(in_memory.dentry->inode().mount().kind(), MountKind::kMemory);
      // One file on two mounts is two, and each is opened on its own.
      const Entry there = Find(*fs, *Find(*fs, fs->root(), "source").dentry, "f");
      const Entry here = Find(*fs, *bind.dentry, "f");
      EXPECT_NE(&there.dentry->inode(), &here.dentry->inode());
      EXPECT_EQ(fs->Stat(*here.dentry)->stx_mnt_id, bind.attr.stx_mnt_id);
      EXPECT_EQ(fs->Stat(*Find(*fs, *in_memory.dentry, "f").dentry)->stx_size, 5u);
      EXPECT_TRUE(fs->OpenWith(*here.dentry, O_RDWR).ok());
      EXPECT_EQ(ErrorOf(fs->Rename(*in_memory.dentry, N("f"), fs->root(), N("g"), 0)), EXDEV);
    }
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(MountsTest, MountsAreLetGoWithTheirLastFile) {
  tree_.Mkdir("tmpfs");
  const ChildEnd end = InMountNamespace([this] {
    Mount("tmpfs", "tmpfs", "tmpfs", 0);
    tree_.Write("tmpfs/f", "");
    for (const FileHandles handles : {FileHandles::kNever, FileHandles::kPrefer}) {
      const auto fs = Serve(tree_, {.file_handles = handles});
      const size_t base = CountOpenFds();
      {
        const Entry mounted = Find(*fs, fs->root(), "tmpfs");
        EXPECT_TRUE(fs->Stat(*Find(*fs, *mounted.dentry, "f").dentry).ok());
      }
      fs->dentries().Purge();
      EXPECT_EQ(CountOpenFds(), base);
    }
    EXPECT_EQ(umount(tree_.At("tmpfs").c_str()), 0);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

// What is written for the first time is copied up, and has another birth time then.
TEST_F(MountsTest, AFileOfAnOverlayStaysTheSameWhenItIsCopiedUp) {
  for (const char* const name : {"lower", "upper", "work", "merged"}) tree_.Mkdir(name);
  for (int i = 0; i < 4; ++i) tree_.Write(absl::StrCat("lower/f", i), "text");
  tree_.Mkdir("lower/d");
  const ChildEnd end = InMountNamespace([this] {
    Mount("overlay", "merged", "overlay", 0,
          absl::StrCat("lowerdir=", tree_.At("lower"), ",upperdir=", tree_.At("upper"),
                       ",workdir=", tree_.At("work")));
    const auto fs = Serve(tree_);
    const Entry merged = Find(*fs, fs->root(), "merged");
    EXPECT_EQ(merged.dentry->inode().mount().kind(), MountKind::kStacked);
    const Entry dir = Find(*fs, *merged.dentry, "d");
    usleep(10'000);
    for (int i = 0; i < 4; ++i) {
      const std::string name = absl::StrCat("f", i);
      const Entry file = Find(*fs, *merged.dentry, name);
      switch (i) {
        case 0:
          EXPECT_TRUE(fs->OpenWith(*file.dentry, O_RDWR).ok());
          break;
        case 1:
          EXPECT_TRUE(fs->ChangeMode(*file.dentry, 0600).ok());
          break;
        case 2:
          EXPECT_TRUE(fs->Truncate(*file.dentry, 1).ok());
          break;
        case 3:
          EXPECT_TRUE(fs->MakeLink(*merged.dentry, N("link"), *file.dentry).ok());
          break;
      }
      EXPECT_EQ(Find(*fs, *merged.dentry, name).dentry, file.dentry) << name;
      EXPECT_TRUE(fs->Stat(*file.dentry).ok()) << name;
    }
    EXPECT_TRUE(fs->ChangeMode(*dir.dentry, 0700).ok());
    EXPECT_EQ(Find(*fs, *merged.dentry, "d").dentry, dir.dentry);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

}  // namespace
}  // namespace gofer::fs
