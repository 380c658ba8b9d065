#include "gofer/server/pid_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

TEST(WritePidFile, NumberModeAndLock) {
  const testing::TempTree tree;
  tree.Write("long.pid", "1234567890\nand more", 0600);
  for (const char* const name : {"new.pid", "long.pid"}) {
    const absl::StatusOr<UniqueFd> held = WritePidFile(tree.At(name));
    ASSERT_TRUE(held.ok()) << held.status();
    EXPECT_EQ(tree.Read(name), absl::StrCat(getpid(), "\n"));
    EXPECT_EQ(tree.Stat(name).st_mode, S_IFREG | 0600u);
    EXPECT_EQ(
        WritePidFile(tree.At(name)).status().message(),
        absl::StrCat("pid file ", tree.At(name), ": another process holds it and serves already"));
  }
  EXPECT_TRUE(WritePidFile(tree.At("new.pid")).ok()) << "nobody holds it any more";
}

TEST(WritePidFile, WhatIsNotOurs) {
  const testing::TempTree tree;
  tree.Write("file", "mine");
  tree.Link("file", "other");
  EXPECT_EQ(WritePidFile(tree.At("file")).status().message(),
            absl::StrCat("pid file ", tree.At("file"),
                         ": is there and not a plain file of ours; remove it"));
  EXPECT_EQ(tree.Read("file"), "mine");
  EXPECT_EQ(WritePidFile(tree.At("none/pid")).status().message(),
            absl::StrCat("pid file ", tree.At("none/pid"), ": ENOENT (No such file or directory)"));
}

}  // namespace
}  // namespace gofer::server
