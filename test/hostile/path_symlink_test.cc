// Links to the outside and into proc: as a component, as a target, as the parent of what was
// deleted, and put in the place of a directory at any moment by somebody else on the host. Never
// followed. Attacks.

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class PathSymlink : public HostileTest {};

TEST_F(PathSymlink, LinksAreNeverFollowed) {
  Session session(server_, Via::kChannel);
  Calls& calls = session.calls();
  const std::vector<std::string> targets = {tree_.At("beside"),
                                            "../beside",
                                            "../beside/secret",
                                            "/",
                                            "/proc/self/fd",
                                            "/proc/self/root",
                                            "..",
                                            "."};
  for (const std::string& target : targets) {
    SCOPED_TRACE(target);
    const Inode link = Must(calls.SymlinkAt(session.root(), "link", target, kNobody));
    Inode inodes[2];
    Statx stats[2];
    for (const absl::string_view below : {"secret", "dir", "served", "0", "new"}) {
      const WalkResult walk = Must(calls.Walk(session.root(), {"link", below}, inodes));
      EXPECT_EQ(walk.count, 1u);
      EXPECT_TRUE(S_ISLNK(inodes[0].stat.mode));
      EXPECT_EQ(Must(calls.WalkStat(session.root(), {"link", below}, stats)), 1u);
      EXPECT_EQ(ErrorOf(calls.Walk(link.control_fd, {below}, inodes)), ENOTDIR);
      EXPECT_EQ(ErrorOf(calls.OpenCreateAt(link.control_fd, below, 0644, kNobody, 2)), ENOTDIR);
      EXPECT_EQ(ErrorOf(calls.MkdirAt(link.control_fd, below, 0755, kNobody)), ENOTDIR);
      EXPECT_EQ(ErrorOf(calls.SymlinkAt(link.control_fd, below, "x", kNobody)), ENOTDIR);
      EXPECT_EQ(ErrorOf(calls.UnlinkAt(link.control_fd, below, 0)), ENOTDIR);
      EXPECT_EQ(ErrorOf(calls.RenameAt(link.control_fd, below, session.root(), "stolen")), ENOTDIR);
      EXPECT_EQ(ErrorOf(calls.RenameAt(session.root(), "link", link.control_fd, below)), ENOTDIR);
      EXPECT_EQ(
          ErrorOf(calls.BindAt(link.control_fd, below, SOCK_STREAM, S_IFSOCK | 0755, kNobody)),
          ENOTDIR);
    }
    EXPECT_EQ(ErrorOf(calls.OpenAt(link.control_fd, 0)), EINVAL);
    EXPECT_EQ(ErrorOf(calls.Connect(link.control_fd, SOCK_STREAM)), ENOTSOCK);
    // Attributes are the link's own.
    const SetStatResp set = Must(calls.SetStat({.fd = link.control_fd,
                                                .mask = STATX_MODE | STATX_SIZE | STATX_MTIME,
                                                .mode = 0,
                                                .uid = 0,
                                                .gid = 0,
                                                .size = 0,
                                                .atime = {},
                                                .mtime = {}}));
    EXPECT_EQ(set.failure_mask & (STATX_MODE | STATX_SIZE),
              static_cast<uint32_t>(STATX_MODE | STATX_SIZE));
    const Inode hard = Must(calls.LinkAt(session.root(), link.control_fd, "hard"));
    EXPECT_TRUE(S_ISLNK(hard.stat.mode));
    Must(calls.UnlinkAt(session.root(), "hard", 0));
    Must(calls.UnlinkAt(session.root(), "link", 0));
    ExpectBesideUntouched();
  }
}

TEST_F(PathSymlink, ParentOfADeletedNodeBecomesALink) {
  Session session(server_, Via::kChannel);
  session.Mkdir("dir");
  const Inode file = session.Create("dir/secret", "own");
  Must(session->UnlinkAt(session.Walk("dir").control_fd, "secret", 0));
  tree_.Rmdir("served/dir");
  tree_.Symlink("served/dir", tree_.At("beside"));
  SetStatReq set = {.fd = file.control_fd,
                    .mask = STATX_MODE | STATX_MTIME | STATX_SIZE,
                    .mode = 0777,
                    .uid = 0,
                    .gid = 0,
                    .size = 0,
                    .atime = {},
                    .mtime = {}};
  Must(session->SetStat(set));
  session->OpenAt(file.control_fd, 2 | O_TRUNC).ok();
  EXPECT_EQ(ErrorOf(session->LinkAt(session.root(), file.control_fd, "again")), EINVAL);
  ExpectBesideUntouched();
}

TEST_F(PathSymlink, SomebodyExchangesDirectoryAndLinkAllTheTime) {
  tree_.Mkdir("served/dir");
  tree_.Write("served/dir/secret", "own");
  tree_.Symlink("served/link", tree_.At("beside"));
  const uint64_t outside = tree_.Stat("beside/secret").st_ino;
  std::atomic<bool> done{false};
  std::thread exchanger([&] {
    const std::string dir = tree_.At("served/dir");
    const std::string link = tree_.At("served/link");
    while (!done) renameat2(AT_FDCWD, dir.c_str(), AT_FDCWD, link.c_str(), RENAME_EXCHANGE);
  });
  Session session(server_, Via::kChannel);
  Calls& calls = session.calls();
  for (int i = 0; i < 8000; ++i) {
    Inode inodes[2];
    const auto walk = calls.Walk(session.root(), {"dir", "secret"}, inodes);
    if (walk.ok()) {
      for (size_t k = 0; k < walk->count; ++k) {
        ASSERT_NE(inodes[k].stat.ino, outside);
        Must(calls.Close({inodes[k].control_fd}));
      }
    }
    Statx stats[2];
    const auto stat = calls.WalkStat(session.root(), {"dir", "secret"}, stats);
    if (stat.ok() && *stat == 2) {
      ASSERT_NE(stats[1].ino, outside);
    }
  }
  done = true;
  exchanger.join();
}

}  // namespace
}  // namespace lisafs
