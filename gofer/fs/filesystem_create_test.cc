// What a file made for a client looks like, held against what the host makes of the same call by
// the same user in a directory alike.

#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::CountOpenFds;
using ::gofer::testing::InChild;

constexpr char kDefaultAcl[] = "system.posix_acl_default";
constexpr char kAccessAcl[] = "system.posix_acl_access";

// linux/posix_acl_xattr.h
struct AclEntry {
  uint16_t tag;
  uint16_t access;
  uint32_t id;
};
constexpr uint16_t kUserObject = 1, kUser = 2, kGroupObject = 4, kMask = 16, kOther = 32;
constexpr uint32_t kNobody = 0xffffffff;

std::string Acl(const std::vector<AclEntry>& entries) {
  const uint32_t version = 2;
  std::string bytes(reinterpret_cast<const char*>(&version), sizeof(version));
  for (const AclEntry& entry : entries) {
    bytes.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  }
  return bytes;
}

// What a directory is that files are made in.
struct Parent {
  const char* name;
  uint32_t mode;
  uint32_t gid;
  std::string default_acl;
};

std::vector<Parent> Parents() {
  return {
      {"plain", 0777, 0, ""},
      {"setgid", 02777, 3000, ""},
      {"minimal_acl", 0777, 0,
       Acl({{kUserObject, 7, kNobody}, {kGroupObject, 5, kNobody}, {kOther, 0, kNobody}})},
      {"acl", 0777, 0,
       Acl({{kUserObject, 7, kNobody},
            {kUser, 6, 1234},
            {kGroupObject, 5, kNobody},
            {kMask, 6, kNobody},
            {kOther, 4, kNobody}})},
      {"setgid_acl", 02777, 3000,
       Acl({{kUserObject, 7, kNobody},
            {kUser, 7, 1234},
            {kGroupObject, 7, kNobody},
            {kMask, 7, kNobody},
            {kOther, 5, kNobody}})},
  };
}

struct User {
  uint32_t uid;
  uint32_t gid;
  uint32_t group;  // supplementary
};

class CreateTest : public FilesystemTest {
 protected:
  void MakeParent(const std::string& name, const Parent& parent) {
    tree_.Mkdir(name);
    const std::string path = tree_.At(name);
    ASSERT_EQ(chown(path.c_str(), 0, parent.gid), 0);
    ASSERT_EQ(chmod(path.c_str(), parent.mode), 0);
    if (!parent.default_acl.empty()) {
      ASSERT_EQ(setxattr(path.c_str(), kDefaultAcl, parent.default_acl.data(),
                         parent.default_acl.size(), 0),
                0);
    }
  }

  std::string Describe(const std::string& name) {
    const struct stat stat = tree_.Stat(name);
    std::string text = absl::StrFormat("%o %d:%d rdev %d", stat.st_mode, stat.st_uid, stat.st_gid,
                                       static_cast<int>(stat.st_rdev));
    for (const char* const acl : {kAccessAcl, kDefaultAcl}) {
      char value[256];
      const ssize_t size = lgetxattr(tree_.At(name).c_str(), acl, value, sizeof(value));
      if (size > 0)
        absl::StrAppend(&text, " ", acl, " ", absl::BytesToHexString({value, size_t(size)}));
    }
    return text;
  }

  // The same by the host's own calls, as that user.
  void MakeLocally(const std::string& dir, const User& user, uint32_t umask_bits, uint32_t mode) {
    const auto end = InChild([&] {
      const gid_t group = user.group;
      if (setgroups(user.group == kKeepId ? 0 : 1, &group) != 0 ||
          setresgid(user.gid, user.gid, user.gid) != 0 ||
          setresuid(user.uid, user.uid, user.uid) != 0) {
        _exit(2);
      }
      umask(umask_bits);
      const std::string at = tree_.At(dir);
      const int fd = open((at + "/file").c_str(), O_CREAT | O_EXCL | O_RDWR, mode);
      if (fd < 0 || mkdir((at + "/dir").c_str(), mode) != 0 ||
          mknod((at + "/fifo").c_str(), S_IFIFO | mode, 0) != 0 ||
          symlink("target", (at + "/symlink").c_str()) != 0) {
        _exit(3);
      }
    });
    ASSERT_EQ(end.status, 0);
  }

  void MakeByUs(Dentry& dir, const Creation& creation) {
    ErrnoOr<OpenEntry> file = fs_->CreateFile(dir, N("file"), O_RDWR, creation);
    ASSERT_TRUE(file.ok()) << file.error().ToString();
    EXPECT_EQ(file->entry.attr.stx_ino, fs_->Stat(*file->handle)->stx_ino);
    EXPECT_EQ(ErrorOf(fs_->CreateFile(dir, N("file"), O_RDWR, creation)), EEXIST);
    EXPECT_EQ(ErrorOf(fs_->MakeDir(dir, N("dir"), creation)), 0);
    EXPECT_EQ(ErrorOf(fs_->MakeNode(dir, N("fifo"), S_IFIFO, 0, creation)), 0);
    EXPECT_EQ(
        ErrorOf(fs_->MakeSymlink(dir, N("symlink"), *SymlinkTarget::Parse("target"), creation)), 0);
  }
};

TEST_F(CreateTest, FilesComeOutAsTheHostMakesThem) {
  int number = 0;
  for (const Parent& parent : Parents()) {
    for (const User& user : {User{1000, 1000, kKeepId}, User{1000, 1000, 3000},
                             User{1000, 3000, kKeepId}, User{0, 0, kKeepId}}) {
      for (const uint32_t umask_bits : {0u, 027u}) {
        for (const uint32_t mode : {0666u, 02771u, 06755u, 02660u}) {
          for (const bool switched : {false, true}) {
            SCOPED_TRACE(absl::StrFormat("%s, user %d:%d+%d, umask %o, mode %o, switched %d",
                                         parent.name, user.uid, user.gid,
                                         static_cast<int>(user.group), umask_bits, mode, switched));
            const std::string ours = absl::StrCat("ours", number);
            const std::string theirs = absl::StrCat("theirs", number);
            ++number;
            MakeParent(ours, parent);
            MakeParent(theirs, parent);
            MakeLocally(theirs, user, umask_bits, mode);
            MakeByUs(*Walk(ours).dentry, {.mode = mode,
                                          .umask = umask_bits,
                                          .owner = {.uid = user.uid, .gid = user.gid},
                                          .group = user.group,
                                          .switch_credentials = switched});
            for (const char* const name : {"/file", "/dir", "/fifo", "/symlink"}) {
              EXPECT_EQ(Describe(ours + name), Describe(theirs + name)) << name;
            }
            if (HasFailure()) return;
          }
        }
      }
    }
  }
  EXPECT_EQ(geteuid(), 0u);
  EXPECT_EQ(getegid(), 0u);
  EXPECT_EQ(getgroups(0, nullptr), 0);
}

// A root of the client that is somebody else here keeps what it is told by attributes at once.
TEST_F(CreateTest, AttributesAreThoseOfTheFinishedFile) {
  ErrnoOr<OpenEntry> file =
      fs_->CreateFile(fs_->root(), N("f"), O_WRONLY,
                      {.mode = 04751, .umask = 0, .owner = {.uid = 1000, .gid = 1001}});
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->entry.attr.stx_mode, S_IFREG | 04751);
  EXPECT_EQ(file->entry.attr.stx_uid, 1000u);
  EXPECT_EQ(file->entry.attr.stx_gid, 1001u);
  EXPECT_FALSE(file->handle->readable());
}

TEST_F(CreateTest, AUserWhoMayNotWriteToTheDirectoryMayNotWhenSwitched) {
  tree_.Mkdir("closed", 0755);
  tree_.Mkdir("group", 0775);
  ASSERT_EQ(chown(tree_.At("group").c_str(), 0, 3000), 0);
  const Entry closed = Walk("closed");
  const Entry group = Walk("group");
  Creation creation = {
      .mode = 0644, .owner = {.uid = 1000, .gid = 1000}, .switch_credentials = true};
  EXPECT_EQ(ErrorOf(fs_->CreateFile(*closed.dentry, N("f"), O_RDWR, creation)), EACCES);
  EXPECT_EQ(ErrorOf(fs_->CreateFile(*group.dentry, N("f"), O_RDWR, creation)), EACCES);
  creation.group = 3000;
  EXPECT_EQ(ErrorOf(fs_->CreateFile(*group.dentry, N("f"), O_RDWR, creation)), 0);
  creation.group = kKeepId;
  creation.trust_permissions = true;
  EXPECT_EQ(ErrorOf(fs_->CreateFile(*group.dentry, N("g"), O_RDWR, creation)), 0);
  EXPECT_EQ(tree_.Stat("group/g").st_uid, 1000u);
  // What was lent to the thread is gone again.
  EXPECT_EQ(geteuid(), 0u);
  EXPECT_EQ(getgroups(0, nullptr), 0);
  EXPECT_EQ(ErrorOf(fs_->ChangeOwner(*Walk("group/g").dentry, {.uid = 7, .gid = 7})), 0);
}

TEST_F(CreateTest, NodesOfEveryType) {
  const Creation creation = {.mode = 0640, .owner = {.uid = 5, .gid = 6}};
  const uint64_t null_device = makedev(1, 3);
  struct {
    const char* name;
    uint32_t type;
    uint64_t device;
  } const kNodes[] = {{"r", S_IFREG, 0},
                      {"p", S_IFIFO, 0},
                      {"s", S_IFSOCK, 0},
                      {"c", S_IFCHR, null_device},
                      {"b", S_IFBLK, makedev(7, 300)}};
  for (const auto& node : kNodes) {
    const ErrnoOr<Entry> made =
        fs_->MakeNode(fs_->root(), N(node.name), node.type, node.device, creation);
    ASSERT_TRUE(made.ok()) << node.name << ": " << made.error().ToString();
    const struct stat stat = tree_.Stat(node.name);
    EXPECT_EQ(stat.st_mode, node.type | 0640);
    EXPECT_EQ(stat.st_rdev, node.device);
    EXPECT_EQ(stat.st_uid, 5u);
    EXPECT_EQ(made->attr.stx_ino, stat.st_ino);
  }
  EXPECT_EQ(ErrorOf(fs_->MakeNode(fs_->root(), N("x"), S_IFDIR, 0, creation)), EINVAL);
  EXPECT_EQ(ErrorOf(fs_->MakeNode(fs_->root(), N("x"), S_IFLNK, 0, creation)), EINVAL);
}

TEST_F(CreateTest, UnnamedFilesGetANameByLink) {
  const size_t base = CountOpenFds();
  {
    ErrnoOr<OpenEntry> made =
        fs_->CreateUnnamed(fs_->root(), O_RDWR, {.mode = 0604, .owner = {.uid = 9, .gid = 8}});
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->entry.attr.stx_nlink, 0u);
    EXPECT_EQ(made->entry.attr.stx_uid, 9u);
    const struct iovec text = {const_cast<char*>("text"), 4};
    EXPECT_EQ(*fs_->WriteV(*made->handle, {&text, 1}, 0, false), 4u);
    const ErrnoOr<Entry> linked = fs_->MakeLink(fs_->root(), N("named"), *made->entry.dentry);
    ASSERT_TRUE(linked.ok()) << linked.error().ToString();
    EXPECT_EQ(&linked->dentry->inode(), &made->entry.dentry->inode());
    EXPECT_EQ(tree_.Read("named"), "text");
    EXPECT_EQ(tree_.Stat("named").st_mode, S_IFREG | 0604u);

    ErrnoOr<OpenEntry> secret = fs_->CreateUnnamed(fs_->root(), O_RDWR | O_EXCL, {.mode = 0600});
    ASSERT_TRUE(secret.ok());
    EXPECT_EQ(ErrorOf(fs_->MakeLink(fs_->root(), N("not"), *secret->entry.dentry)), ENOENT);
  }
  fs_->dentries().Purge();
  EXPECT_EQ(CountOpenFds(), base);
}

TEST_F(CreateTest, WhatCannotBeGivenAwayIsRemovedAgain) {
  const auto end = InChild([&] {
    // Owner of the tree, but not allowed to give files away.
    if (chown(tree_.path().c_str(), 1000, 1000) != 0 || setgroups(0, nullptr) != 0 ||
        setresgid(1000, 1000, 1000) != 0 || setresuid(1000, 1000, 1000) != 0) {
      _exit(2);
    }
    auto fs = Filesystem::Create(tree_.OpenPath(), *sys::OpenProcSelfFd(), {});
    CHECK(fs.ok());
    Creation creation = {.mode = 0644, .owner = {.uid = 7, .gid = 7}};
    EXPECT_EQ(ErrorOf((*fs)->CreateFile((*fs)->root(), N("f"), O_RDWR, creation)), EPERM);
    EXPECT_EQ(ErrorOf((*fs)->MakeDir((*fs)->root(), N("d"), creation)), EPERM);
    creation.switch_credentials = true;
    EXPECT_EQ(ErrorOf((*fs)->CreateFile((*fs)->root(), N("f"), O_RDWR, creation)), EPERM);
    creation.owner = {.uid = 0, .gid = 0};  // root of the client is whoever we are
    EXPECT_EQ(ErrorOf((*fs)->CreateFile((*fs)->root(), N("mine"), O_RDWR, creation)), 0);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_FALSE(tree_.Exists("f"));
  EXPECT_FALSE(tree_.Exists("d"));
  EXPECT_EQ(tree_.Stat("mine").st_uid, 1000u);
}

TEST_F(CreateTest, RenameMayLeaveAWhiteout) {
  tree_.Write("a", "a");
  Walk("a");
  ASSERT_EQ(
      ErrorOf(fs_->Rename(fs_->root(), N("a"), fs_->root(), N("b"), RENAME_WHITEOUT, Creation())),
      0);
  EXPECT_EQ(tree_.Stat("a").st_mode & S_IFMT, static_cast<uint32_t>(S_IFCHR));
  EXPECT_EQ(Walk("b").attr.stx_size, 1u);
  EXPECT_EQ(Walk("a").attr.stx_mode & S_IFMT, S_IFCHR);
}

}  // namespace
}  // namespace gofer::fs
