#include "gofer/runsc/mount_resolver.h"

#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::runsc {
namespace {

class MountResolver : public ::testing::Test {
 protected:
  MountResolver() {
    tree_.Mkdir("dir");
    tree_.Mkdir("dir/sub");
    tree_.Write("file", "x");
  }

  // The path in the root, with "?" if it does not exist; or the errno's name.
  std::string Resolve(absl::string_view path) {
    const absl::StatusOr<Place> place = ResolveInRoot(root_, path);
    if (!place.ok()) return std::string(Errno(ErrnoFrom(place.status())).ToString().substr(0, 7));
    return absl::StrCat(place->Path(), place->Exists() ? "" : "?");
  }

  const testing::TempTree tree_;
  const UniqueFd root_ = tree_.OpenPath();
};

TEST_F(MountResolver, PlainPaths) {
  EXPECT_EQ(Resolve("/"), "/");
  EXPECT_EQ(Resolve("/dir/sub"), "/dir/sub");
  EXPECT_EQ(Resolve("dir//sub/."), "/dir/sub");
  EXPECT_EQ(Resolve("/file"), "/file");
}

TEST_F(MountResolver, WhatDoesNotExistIsTakenAsWritten) {
  EXPECT_EQ(Resolve("/none"), "/none?");
  EXPECT_EQ(Resolve("/dir/none/deeper"), "/dir/none/deeper?");
  EXPECT_EQ(Resolve("/none/../dir"), "/dir");
}

TEST_F(MountResolver, DotDotDoesNotLeadOut) {
  EXPECT_EQ(Resolve("/../../dir"), "/dir");
  tree_.Symlink("dir/out", "../../../../etc");
  EXPECT_EQ(Resolve("/dir/out/passwd"), "/etc/passwd?")
      << "the container's /etc, which does not exist";
}

TEST_F(MountResolver, SymlinksAreFollowedInsideTheRoot) {
  tree_.Symlink("absolute", "/dir");
  tree_.Symlink("relative", "dir/sub");
  tree_.Symlink("dir/up", "../file");
  tree_.Symlink("twice", "absolute/sub");
  tree_.Symlink("dangling", "/none/here");
  EXPECT_EQ(Resolve("/absolute/sub"), "/dir/sub");
  EXPECT_EQ(Resolve("/relative"), "/dir/sub");
  EXPECT_EQ(Resolve("/dir/up"), "/file");
  EXPECT_EQ(Resolve("/absolute/up"), "/file");
  EXPECT_EQ(Resolve("/twice"), "/dir/sub");
  EXPECT_EQ(Resolve("/dangling/more"), "/none/here/more?");
}

TEST_F(MountResolver, DotDotAfterASymlinkIsOfText) {
  // Go cleans a path before it walks it, so this is the link's own directory, not that of its
  // target.
  tree_.Symlink("link", "dir/sub");
  EXPECT_EQ(Resolve("/link/.."), "/");
}

TEST_F(MountResolver, LoopsEnd) {
  tree_.Symlink("a", "b");
  tree_.Symlink("b", "a");
  tree_.Symlink("self", "self/x");
  EXPECT_EQ(Resolve("/a"), "ELOOP (");
  EXPECT_EQ(Resolve("/self"), "ELOOP (");
}

TEST_F(MountResolver, ManySymlinksAreFollowed) {
  // The kernel would stop at 40.
  tree_.Symlink("l0", "dir");
  for (int i = 1; i < 200; ++i) tree_.Symlink(absl::StrCat("l", i), absl::StrCat("l", i - 1));
  EXPECT_EQ(Resolve("/l199"), "/dir");
}

TEST_F(MountResolver, AFileInTheWay) {
  EXPECT_EQ(Resolve("/file/x"), "ENOTDIR");
  EXPECT_EQ(Resolve(absl::StrCat("/", std::string(256, 'n'))), "ENAMETO");
}

TEST_F(MountResolver, MakesDirectories) {
  auto place = ResolveInRoot(root_, "/dir/new/deeper");
  ASSERT_TRUE(place.ok());
  umask(022);
  ASSERT_TRUE(place->MakeDirectory(0777).ok());
  EXPECT_TRUE(place->Exists());
  EXPECT_EQ(tree_.Stat("dir/new/deeper").st_mode, S_IFDIR | 0755u);
  EXPECT_TRUE(place->MakeDirectory(0777).ok()) << "which are there already";

  auto file = ResolveInRoot(root_, "/file");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(ErrnoFrom(file->MakeDirectory(0777)), Errno(ENOTDIR));
}

TEST_F(MountResolver, MakesFiles) {
  auto place = ResolveInRoot(root_, "/new/dir/file");
  ASSERT_TRUE(place.ok());
  umask(022);
  ASSERT_TRUE(place->MakeFile(0777).ok());
  EXPECT_EQ(tree_.Stat("new/dir/file").st_mode, S_IFREG | 0755u);
  EXPECT_TRUE(place->MakeFile(0777).ok());

  auto directory = ResolveInRoot(root_, "/dir");
  ASSERT_TRUE(directory.ok());
  EXPECT_EQ(ErrnoFrom(directory->MakeFile(0777)), Errno(EISDIR));
  auto root = ResolveInRoot(root_, "/");
  ASSERT_TRUE(root.ok());
  EXPECT_TRUE(root->IsRoot());
  EXPECT_EQ(ErrnoFrom(root->MakeFile(0777)), Errno(EISDIR));
}

TEST_F(MountResolver, ASymlinkThatAppearsMeanwhileIsNotFollowed) {
  auto place = ResolveInRoot(root_, "/new/deeper");
  ASSERT_TRUE(place.ok());
  const testing::TempTree outside;
  tree_.Symlink("new", outside.path());
  EXPECT_FALSE(place->MakeDirectory(0777).ok());
  EXPECT_FALSE(outside.Exists("deeper"));
}

}  // namespace
}  // namespace gofer::runsc
