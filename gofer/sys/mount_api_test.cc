#include "gofer/sys/mount_api.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "gofer/base/errno.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

class MountApi : public ::testing::Test {
 protected:
  MountApi() {
    tree_.Mkdir("from");
    tree_.Write("from/file", "x");
    tree_.Mkdir("to");
    tree_.Symlink("link", "to");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make mount namespaces";
  }
  // In a mount namespace; what the body EXPECTs counts.
  void Inside(absl::FunctionRef<void()> body) {
    const testing::ChildEnd end = testing::InMountNamespace(body);
    EXPECT_EQ(end.status, 0) << end.stderr_text << " signal " << end.signal;
  }
  UniqueFd MustClone(const std::string& path) {
    ErrnoOr<UniqueFd> tree = CloneTree(path.c_str(), Recursive::kNo);
    EXPECT_TRUE(tree.ok()) << (tree.ok() ? "" : tree.error().ToString());
    return tree.ok() ? *std::move(tree) : UniqueFd();
  }

  const testing::TempTree tree_;
};

TEST_F(MountApi, ATreeIsPutOntoADirectory) {
  Inside([&] {
    const UniqueFd tree = MustClone(tree_.At("from"));
    EXPECT_FALSE(tree_.Exists("to/file"));
    ASSERT_TRUE(AttachTree(tree, tree_.OpenPath("to")).ok());
    EXPECT_TRUE(tree_.Exists("to/file"));
    EXPECT_EQ(faccessat(tree.get(), "file", F_OK, 0), 0)
        << "the descriptor stays one of the attached root";
  });
  EXPECT_FALSE(tree_.Exists("to/file")) << "in that namespace only";
}

TEST_F(MountApi, NoTreeIsPutOntoASymlink) {
  Inside([&] {
    const UniqueFd tree = MustClone(tree_.At("from"));
    const UniqueFd link(open(tree_.At("link").c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    EXPECT_FALSE(AttachTree(tree, link).ok());
    EXPECT_FALSE(tree_.Exists("to/file"));
  });
}

TEST_F(MountApi, ACloneHasNoWayOut) {
  Inside([&] {
    ErrnoOr<UniqueFd> tree = CloneTree(tree_.OpenPath("from"), Recursive::kNo);
    ASSERT_TRUE(tree.ok());
    EXPECT_NE(faccessat(tree->get(), "../to", F_OK, 0), 0);
    EXPECT_EQ(faccessat(tree->get(), "../file", F_OK, 0), 0);
    EXPECT_EQ(CloneTree("/no/such/file", Recursive::kNo).error(), Errno(ENOENT));
  });
}

TEST_F(MountApi, RestrictionsAddUp) {
  Inside([&] {
    const UniqueFd tree = MustClone(tree_.At("from"));
    ASSERT_TRUE(RestrictMount(tree, MOUNT_ATTR_NOSUID, Recursive::kNo).ok());
    ASSERT_TRUE(RestrictMount(tree, MOUNT_ATTR_RDONLY, Recursive::kNo).ok());
    ASSERT_TRUE(SetAtime(tree, MOUNT_ATTR_NOATIME).ok());
    ASSERT_TRUE(AttachTree(tree, tree_.OpenPath("to")).ok());
    struct statvfs fs;
    ASSERT_EQ(statvfs(tree_.At("to").c_str(), &fs), 0);
    EXPECT_EQ(fs.f_flag & (ST_NOSUID | ST_RDONLY | ST_NOATIME),
              unsigned{ST_NOSUID | ST_RDONLY | ST_NOATIME});
    EXPECT_EQ(open(tree_.At("to/new").c_str(), O_CREAT | O_WRONLY, 0600), -1);
    EXPECT_EQ(errno, EROFS);
    const int direct = open(tree_.At("from/new").c_str(), O_CREAT | O_WRONLY, 0600);
    EXPECT_GE(direct, 0) << "the original is as it was";
    close(direct);
  });
}

TEST_F(MountApi, PropagationOfATree) {
  Inside([&] {
    const UniqueFd tree = MustClone(tree_.At("from"));
    EXPECT_TRUE(SetPropagation(tree, MS_PRIVATE, Recursive::kYes).ok());
    EXPECT_TRUE(SetPropagation(tree, MS_SLAVE, Recursive::kNo).ok());
    EXPECT_EQ(SetPropagation(tree, MS_PRIVATE | MS_SLAVE, Recursive::kNo).error(), Errno(EINVAL));
    EXPECT_TRUE(SetPropagationOfAll(MS_SLAVE).ok());
  });
}

TEST_F(MountApi, ATmpfsIsEmptyAndWritable) {
  Inside([&] {
    ErrnoOr<UniqueFd> tmpfs = NewTmpfs();
    ASSERT_TRUE(tmpfs.ok()) << tmpfs.error().ToString();
    ASSERT_TRUE(AttachTree(*tmpfs, tree_.OpenPath("from")).ok());
    EXPECT_FALSE(tree_.Exists("from/file"));
    EXPECT_EQ(tree_.Stat("from").st_mode & 07777, 0755u);
    tree_.Write("from/new", "y");
  });
  EXPECT_FALSE(tree_.Exists("from/new"));
}

TEST_F(MountApi, PivotingLeavesNothingElse) {
  Inside([&] {
    const UniqueFd tree = MustClone(tree_.At("from"));
    ASSERT_TRUE(AttachTree(tree, tree_.OpenPath("from")).ok());
    ErrnoOr<UniqueFd> descriptors = OpenProcSelfFdAlone();
    ASSERT_TRUE(descriptors.ok());
    ASSERT_TRUE(PivotInto(tree).ok());
    EXPECT_EQ(access("/file", F_OK), 0);
    EXPECT_NE(access(tree_.path().c_str(), F_OK), 0);
    EXPECT_NE(access("/../../proc", F_OK), 0);
    // Descriptors can be reopened although there is no /proc.
    const std::string number = std::to_string(tree.get());
    const int again = openat(descriptors->get(), number.c_str(), O_RDONLY | O_DIRECTORY);
    EXPECT_GE(again, 0);
    EXPECT_NE(faccessat(descriptors->get(), "../status", F_OK, 0), 0);
  });
}

TEST_F(MountApi, ChrootChangesTheRootOnly) {
  Inside([&] {
    ASSERT_TRUE(ChrootInto(tree_.OpenPath("from")).ok());
    EXPECT_EQ(access("/file", F_OK), 0);
    char cwd[8];
    EXPECT_STREQ(getcwd(cwd, sizeof(cwd)), "/");
  });
}

TEST_F(MountApi, Namespaces) {
  Inside([&] {
    EXPECT_TRUE(Unshare(CLONE_NEWUTS).ok());
    EXPECT_EQ(Unshare(-1).error(), Errno(EINVAL));
  });
}

}  // namespace
}  // namespace gofer::sys
