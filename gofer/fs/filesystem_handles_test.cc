// Files held by file handles.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::CountOpenFds;

class HandlesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto created = Filesystem::Create(tree_.OpenPath(), *sys::OpenProcSelfFd(),
                                      {.max_fds = 24, .file_handles = FileHandles::kMandatory});
    if (!created.ok()) GTEST_SKIP() << created.status();
    fs_ = *std::move(created);
    base_ = CountOpenFds();
  }

  Entry Find(absl::string_view name) {
    ErrnoOr<Entry> found = fs_->LookupUnopened(fs_->root(), N(name));
    CHECK(found.ok()) << name << ": " << found.error().ToString();
    return *std::move(found);
  }

  testing::TempTree tree_;
  std::unique_ptr<Filesystem> fs_;
  size_t base_ = 0;
};

TEST_F(HandlesTest, LookupsTakeNoDescriptorAndFilesAreFoundUnderAnyName) {
  tree_.Mkdir("d");
  tree_.Write("f", "text");
  tree_.Symlink("l", "f");
  tree_.Fifo("p");
  std::vector<Entry> held;
  for (const char* const name : {"d", "f", "l", "p"}) {
    held.push_back(Find(name));
    EXPECT_TRUE(held.back().dentry->inode().has_handle()) << name;
  }
  EXPECT_EQ(CountOpenFds(), base_);
  for (const char* const name : {"d", "f", "l", "p"}) {
    tree_.Rename(name, absl::StrCat("moved-", name));
  }
  for (const Entry& entry : held) {
    const ErrnoOr<sys::Attr> attr = fs_->Stat(*entry.dentry);
    ASSERT_TRUE(attr.ok()) << attr.error().ToString();
    EXPECT_EQ(attr->stx_ino, entry.attr.stx_ino);
  }
  EXPECT_TRUE(fs_->OpenWith(*held[1].dentry, O_RDWR).ok());
  EXPECT_EQ(ErrorOf(fs_->LookupUnopened(*held[0].dentry, N("none"))), ENOENT);
  char target[8];
  EXPECT_EQ(*fs_->ReadLink(*held[2].dentry, target), "f");
}

TEST_F(HandlesTest, AReusedNumberIsAnotherFileEvenWithinOneTick) {
  // Somebody else on this file system may be quicker to get it.
  for (int i = 0; i < 5000; ++i) {
    tree_.Write("f", "old");
    const Entry old_file = Find("f");
    tree_.Unlink("f");
    tree_.Write("f", "new");
    const Entry new_file = Find("f");
    if (new_file.attr.stx_ino != old_file.attr.stx_ino) continue;
    EXPECT_NE(&new_file.dentry->inode(), &old_file.dentry->inode());
    EXPECT_EQ(ErrorOf(fs_->Stat(*old_file.dentry)), ESTALE);
    EXPECT_EQ(fs_->Stat(*new_file.dentry)->stx_size, 3u);
    // The older one takes nothing of the younger one with it.
    { const Entry dropped = old_file; }
    fs_->dentries().Purge();
    EXPECT_EQ(Find("f").dentry, new_file.dentry);
    return;
  }
  GTEST_SKIP() << "this file system does not give a number twice";
}

TEST_F(HandlesTest, HardLinksShareTheInode) {
  tree_.Write("a", "x");
  tree_.Link("a", "b");
  const Entry a = Find("a");
  EXPECT_EQ(&a.dentry->inode(), &Find("b").dentry->inode());
  EXPECT_EQ(&a.dentry->inode(), &fs_->Lookup(fs_->root(), N("b"))->dentry->inode());
}

TEST_F(HandlesTest, ARemovedFileThatIsNotOpenIsGoneAndHoldsNothing) {
  tree_.Write("f", "text");
  const Entry file = Find("f");
  ASSERT_TRUE(fs_->SetTimes(*file.dentry, std::vector<struct timespec>(2).data()).ok());
  EXPECT_EQ(CountOpenFds(), base_ + 1);
  ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(*file.dentry, O_RDONLY);
  ASSERT_TRUE(handle.ok());
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("f"), 0)), 0);
  EXPECT_EQ(CountOpenFds(), base_ + 1) << "only the open file's own";
  EXPECT_EQ(fs_->Stat(**handle)->stx_nlink, 0u);
  EXPECT_EQ(fs_->Stat(*file.dentry)->stx_nlink, 0u) << "as long as it is open";

  tree_.Write("g", "");
  const Entry other = Find("g");
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("g"), 0)), 0);
  EXPECT_EQ(ErrorOf(fs_->Stat(*other.dentry)), ESTALE);
}

TEST_F(HandlesTest, CreatedFilesHaveHandlesToo) {
  const ErrnoOr<OpenEntry> made = fs_->CreateFile(fs_->root(), N("f"), O_RDWR, {.mode = 0600});
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_TRUE(made->entry.dentry->inode().has_handle());
  EXPECT_EQ(Find("f").dentry, made->entry.dentry);
  const ErrnoOr<Entry> dir = fs_->MakeDir(fs_->root(), N("d"), {.mode = 0700});
  ASSERT_TRUE(dir.ok());
  EXPECT_TRUE(dir->dentry->inode().has_handle());
}

TEST_F(HandlesTest, ManyFilesFewDescriptors) {
  std::vector<Entry> held;
  for (int i = 0; i < 300; ++i) {
    const std::string name = absl::StrCat("f", i);
    tree_.Write(name, name);
    held.push_back(Find(name));
  }
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(fs_->Stat(*held[i].dentry)->stx_size, absl::StrCat("f", i).size());
    ASSERT_LE(fs_->open_fds(), 24u);
  }
}

TEST(FileHandles, WhereThereAreNoneTheModeDecides) {
  // /proc has no file handles.
  const auto open_proc = [] { return UniqueFd(open("/proc/self/task", O_PATH | O_CLOEXEC)); };
  EXPECT_FALSE(Filesystem::Create(open_proc(), *sys::OpenProcSelfFd(),
                                  {.file_handles = FileHandles::kMandatory})
                   .ok());
  auto preferred = Filesystem::Create(open_proc(), *sys::OpenProcSelfFd(),
                                      {.file_handles = FileHandles::kPrefer});
  ASSERT_TRUE(preferred.ok()) << preferred.status();
  const ErrnoOr<Entry> entry =
      (*preferred)->LookupUnopened((*preferred)->root(), N(absl::StrCat(getpid())));
  ASSERT_TRUE(entry.ok());
  EXPECT_FALSE(entry->dentry->inode().has_handle());
}

}  // namespace
}  // namespace gofer::fs
