// `gofer serve --mounts`: what else of the host is served below the root.

#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

using lisafs::FdId;
using testing::GoferProcess;
using testing::GoferStart;
using ::testing::HasSubstr;
using testing::Must;
using testing::SocketPair;

class ServeMountsTest : public ::testing::Test {
 protected:
  ServeMountsTest() {
    root_.Mkdir("dir");
    root_.Write("dir/covered", "");
    root_.Write("file", "of the root");
    host_.Mkdir("volume");
    host_.Mkdir("volume/inner");
    host_.Write("volume/file", "of the volume");
    host_.Write("single", "of the host");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  std::vector<std::string> Arguments(const std::string& mounts) const {
    return {"serve", "--root=" + root_.path(), "--lisafs_fd=7", "--mounts=" + mounts};
  }
  void Serve(const std::string& mounts) {
    SocketPair sockets = testing::StreamPair();
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = Arguments(mounts), .fds = {{7, sockets.theirs.get()}}});
    sockets.theirs.Reset();
    client_ = std::make_unique<lisafs::Client>(std::move(sockets.ours));
    const auto mount = client_->Mount();
    ASSERT_TRUE(mount.ok()) << gofer_->Stderr();
    at_ = mount->root.control_fd;
  }
  // Of one that does not start: exit status and what it says.
  std::string Refusal(const std::string& mounts, std::vector<std::string> more = {}) {
    SocketPair sockets = testing::StreamPair();
    std::vector<std::string> arguments = Arguments(mounts);
    arguments.insert(arguments.end(), more.begin(), more.end());
    GoferProcess gofer({.arguments = std::move(arguments), .fds = {{7, sockets.theirs.get()}}});
    const int status = gofer.Wait();
    return absl::StrCat(status, " ", gofer.Stderr());
  }

  ErrnoOr<FdId> Walk(absl::string_view path) {
    const std::vector<absl::string_view> names = absl::StrSplit(path, '/');
    std::vector<lisafs::Inode> inodes(names.size());
    const auto walked = client_->Walk(at_, names, std::span(inodes));
    if (!walked.ok()) return walked.error();
    if (walked->count != names.size()) return Errno(ENOENT);
    return inodes.back().control_fd;
  }
  std::string Read(absl::string_view path) {
    std::string text(100, '\0');
    const FdId open = Must(client_->OpenAt(Must(Walk(path)), O_RDONLY)).fd;
    text.resize(Must(client_->PRead(open, std::as_writable_bytes(std::span(text)), 0)));
    return text;
  }
  Errno MkdirIn(absl::string_view path) {
    const auto made = client_->MkdirAt(Must(Walk(path)), "made", 0755, {});
    return made.ok() ? Errno(0) : made.error();
  }

  const testing::TempTree root_, host_;
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<lisafs::Client> client_;
  FdId at_ = {};
};

TEST_F(ServeMountsTest, DirectoriesAndFiles) {
  Serve(absl::StrCat(host_.At("volume"), ":/dir,", host_.At("single"), ":/file:ro"));
  EXPECT_EQ(Read("dir/file"), "of the volume");
  EXPECT_EQ(Walk("dir/covered").error(), Errno(ENOENT));
  EXPECT_EQ(Read("file"), "of the host");
  EXPECT_EQ(client_->OpenAt(Must(Walk("file")), O_RDWR).error(), Errno(EROFS));
  Must(client_->MkdirAt(Must(Walk("dir")), "made", 0755, {}));
  EXPECT_TRUE(host_.Exists("volume/made"));
  EXPECT_TRUE(root_.Exists("dir/covered")) << "on the host nothing is mounted";
}

TEST_F(ServeMountsTest, ReadOnlyOnes) {
  Serve(absl::StrCat(host_.At("volume"), ":/dir:ro"));
  EXPECT_EQ(Read("dir/file"), "of the volume");
  EXPECT_EQ(MkdirIn("dir"), Errno(EROFS));
  EXPECT_EQ(MkdirIn("dir/inner"), Errno(EROFS));
  EXPECT_FALSE(host_.Exists("volume/made"));
  Must(client_->MkdirAt(at_, "beside", 0755, {}));
  EXPECT_TRUE(root_.Exists("beside"));
}

TEST_F(ServeMountsTest, OneInsideAnEarlierOne) {
  host_.Mkdir("second");
  host_.Write("second/deep", "of the second");
  Serve(absl::StrCat(host_.At("volume"), ":/dir:ro,", host_.At("second"), ":/dir/inner"));
  EXPECT_EQ(Read("dir/inner/deep"), "of the second");
  EXPECT_EQ(MkdirIn("dir"), Errno(EROFS));
  Must(client_->MkdirAt(Must(Walk("dir/inner")), "made", 0755, {}));
  EXPECT_TRUE(host_.Exists("second/made"));
}

// The root itself, seen once more below it: what it was, without the mounts.
TEST_F(ServeMountsTest, TheRootBelowItself) {
  Serve(absl::StrCat(root_.path(), ":/dir"));
  EXPECT_EQ(Read("dir/file"), "of the root");
  EXPECT_TRUE(Walk("dir/dir/covered").ok());
}

TEST_F(ServeMountsTest, WhatIsRefused) {
  const std::string volume = host_.At("volume");
  EXPECT_EQ(Refusal(volume + ":/no/such"),
            absl::StrCat("1 gofer: --mounts=", volume, ":/no/such: there is no /no/such below the ",
                         "root; make it there, it will be covered\n"));
  EXPECT_EQ(Refusal(volume + ":/file"),
            absl::StrCat("2 gofer: --mounts=", volume, ":/file: ", volume,
                         " is a directory, /file is not a directory\n"));
  EXPECT_EQ(Refusal(host_.At("missing") + ":/dir:ro"),
            absl::StrCat("1 gofer: --mounts=", host_.At("missing"),
                         ":/dir:ro: ENOENT (No such file or directory)\n"));
  EXPECT_EQ(Refusal(volume),
            absl::StrCat("2 gofer: --mounts=", volume, ": needs a path below the root, ", volume,
                         ":PATH[:ro]\n"));
  EXPECT_THAT(Refusal(volume + ":dir"), HasSubstr("the path served does not begin with /"));
  EXPECT_EQ(Refusal(volume + ":/dir", {"--sandbox=none"}),
            "2 gofer: --mounts: needs a mount namespace, --sandbox=namespace, not "
            "--sandbox=none\n");
}

// A symbolic link in the served tree, whoever made it, leads a mount nowhere.
TEST_F(ServeMountsTest, PathsThatLeadOut) {
  root_.Symlink("link", host_.path());
  EXPECT_THAT(Refusal(host_.At("volume") + ":/link/volume"), HasSubstr("ELOOP"));
  root_.Symlink("last", "dir");
  EXPECT_THAT(Refusal(host_.At("volume") + ":/last"), HasSubstr("ELOOP"));
  EXPECT_THAT(Refusal(host_.At("volume") + ":/dir/../.."), HasSubstr("EINVAL"));
}

}  // namespace
}  // namespace gofer::server
