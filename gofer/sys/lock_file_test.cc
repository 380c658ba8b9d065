#include "gofer/sys/lock_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

class OpenLockedTest : public ::testing::Test {
 protected:
  ErrnoOr<UniqueFd> Open(absl::string_view name) {
    return OpenLocked(dir_, *Name::Parse(name), 0600);
  }

  const testing::TempTree tree_;
  const UniqueFd dir_ = tree_.OpenPath();
};

TEST_F(OpenLockedTest, OneAtATimeAndAgainAfterwards) {
  ErrnoOr<UniqueFd> first = Open("pid");
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(tree_.Stat("pid").st_mode, S_IFREG | 0600u);
  EXPECT_EQ(Open("pid").error(), Errno(EWOULDBLOCK));
  const UniqueFd copy(dup(first->get()));
  first->Reset();
  EXPECT_EQ(Open("pid").error(), Errno(EWOULDBLOCK)) << "a copy holds it as well";
}

TEST_F(OpenLockedTest, WhatWasThereIsKept) {
  tree_.Write("pid", "content", 0644);
  ASSERT_TRUE(Open("pid").ok());
  EXPECT_EQ(tree_.Read("pid"), "content");
  EXPECT_EQ(tree_.Stat("pid").st_mode, S_IFREG | 0644u);
}

TEST_F(OpenLockedTest, NothingThatIsNotOurPlainFile) {
  tree_.Write("file", "");
  tree_.Symlink("link", "file");
  tree_.Link("file", "other");
  tree_.Mkdir("dir");
  tree_.Fifo("fifo");
  EXPECT_EQ(Open("link").error(), Errno(ELOOP));
  EXPECT_EQ(Open("file").error(), Errno(EPERM)) << "it has another name somewhere";
  EXPECT_EQ(Open("dir").error(), Errno(EISDIR));
  EXPECT_EQ(Open("fifo").error(), Errno(ENXIO)) << "and it does not wait for a reader";
  if (geteuid() != 0) return;
  tree_.Write("foreign", "");
  ASSERT_EQ(chown(tree_.At("foreign").c_str(), 65534, 65534), 0);
  EXPECT_EQ(Open("foreign").error(), Errno(EPERM));
}

// Each holder removes the name before it lets go: no two ever hold the file of the name together.
TEST_F(OpenLockedTest, ANameThatIsRemovedMeanwhile) {
  std::atomic<int> holders = 0;
  const auto run = [&] {
    for (int rounds = 0; rounds < 1000;) {
      const ErrnoOr<UniqueFd> held = Open("pid");
      if (!held.ok()) {
        std::this_thread::yield();
        continue;
      }
      EXPECT_EQ(holders.fetch_add(1), 0);
      ++rounds;
      holders.fetch_sub(1);
      unlink(tree_.At("pid").c_str());
    }
  };
  std::thread other(run);
  run();
  other.join();
}

}  // namespace
}  // namespace gofer::sys
