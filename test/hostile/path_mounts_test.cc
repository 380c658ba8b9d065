// The view of a gofer is frozen when it starts, and is of the right directory: mounts that come
// later do not show, and a path that somebody exchanges during the start leads to the right root or
// to no start. Attacks. The descriptors' directory and a second chroot are
// in //test/escape.
//
// Source: spec/security.md s.1 steps 5 and 7, s.10.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mount.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

// A fifth of the nightly number.
constexpr int kStarts = 100;

class PathMountsTest : public ::testing::Test {
 protected:
  PathMountsTest() {
    tree_.Mkdir("served");
    tree_.Mkdir("served/sub");
    tree_.Write("served/file", "");
    tree_.Write("served/sub/below", "");
    tree_.Mkdir("secret");
    tree_.Write("secret/key", "");
  }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  struct Served {
    std::unique_ptr<GoferProcess> gofer;
    std::unique_ptr<lisafs::Client> client;
    lisafs::Inode root;
    bool mounted = false;
  };
  Served Serve() {
    SocketPair sockets = StreamPair();
    Served served;
    served.gofer = std::make_unique<GoferProcess>(GoferStart{
        .name = "gofer",
        .arguments = {"serve", absl::StrCat("--root=", tree_.At("served")), "--lisafs_fd=7"},
        .fds = {{7, sockets.theirs.get()}}});
    sockets.theirs.Reset();
    served.client = std::make_unique<lisafs::Client>(std::move(sockets.ours));
    const auto mount = served.client->Mount();
    served.mounted = mount.ok();
    if (mount.ok()) served.root = mount->root;
    return served;
  }
  static bool Finds(Served& served, std::initializer_list<absl::string_view> path) {
    lisafs::Inode inodes[4];
    const auto walked = served.client->Walk(served.root.control_fd,
                                            lisafs::Names(path.begin(), path.size()), inodes);
    return walked.ok() && walked->count == path.size();
  }

  const TempTree tree_;
};

TEST_F(PathMountsTest, WhatIsMountedLaterDoesNotShow) {
  const ChildEnd end = InMountNamespace([&] {
    Served served = Serve();
    ASSERT_TRUE(served.mounted) << served.gofer->Stderr();
    ASSERT_EQ(mount(tree_.At("secret").c_str(), tree_.At("served/sub").c_str(), nullptr, MS_BIND,
                    nullptr),
              0);
    ASSERT_TRUE(tree_.Exists("served/sub/key")) << "for the host it is there";
    EXPECT_FALSE(Finds(served, {"sub", "key"}));
    EXPECT_TRUE(Finds(served, {"sub", "below"}));
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(PathMountsTest, APathThatIsExchangedDuringTheStart) {
  tree_.Symlink("link", "secret");
  std::atomic<bool> stop = false;
  std::thread exchanger([&] {
    const std::string served = tree_.At("served"), link = tree_.At("link");
    while (!stop.load()) {
      PCHECK(renameat2(AT_FDCWD, served.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE) == 0);
    }
  });
  int started = 0, refused = 0;
  // And on until the exchange has hit: either side may get no processor for a while.
  const absl::Time deadline = absl::Now() + kPatience;
  for (int i = 0; i < kStarts || (refused == 0 && absl::Now() < deadline); ++i) {
    Served served = Serve();
    if (!served.mounted) {
      EXPECT_GT(served.gofer->Wait(), 0) << served.gofer->Stderr();
      ++refused;
      continue;
    }
    ++started;
    EXPECT_TRUE(Finds(served, {"file"}));
    EXPECT_FALSE(Finds(served, {"key"}));
  }
  stop = true;
  exchanger.join();
  EXPECT_GE(started + refused, kStarts);
  EXPECT_GT(refused, 0) << "the exchange never hit: nothing was tried";
}

// Two directories in turn: whichever it was at first, or none.
TEST_F(PathMountsTest, ADirectoryThatIsReplacedDuringTheStart) {
  std::atomic<bool> stop = false;
  std::thread exchanger([&] {
    const std::string served = tree_.At("served"), secret = tree_.At("secret");
    while (!stop.load()) {
      PCHECK(renameat2(AT_FDCWD, served.c_str(), AT_FDCWD, secret.c_str(), RENAME_EXCHANGE) == 0);
    }
  });
  for (int i = 0; i < kStarts; ++i) {
    Served served = Serve();
    if (!served.mounted) continue;
    EXPECT_NE(Finds(served, {"file"}), Finds(served, {"key"})) << "one of the two, whole";
  }
  stop = true;
  exchanger.join();
}

}  // namespace
}  // namespace gofer::testing
