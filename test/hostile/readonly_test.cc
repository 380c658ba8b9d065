// A read-only connection: every message that changes something is refused, whatever it carries, and
// the tree is the same afterwards to the nanosecond. Attack A-50.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>

#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class Readonly : public HostileTest {};

TEST_F(Readonly, EveryMutatingMessageIsErofs) {
  tree_.Mkdir("served/dir");
  tree_.Write("served/file", "text");
  const auto before = tree_.StrictSnapshot();
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via, {.mount_path = "/", .readonly = true});
    Calls& calls = session.calls();
    const FdId root = session.root();
    const FdId file = session.Walk("file").control_fd;
    const FdId open = session.Open(file, 0);
    const std::byte data[4] = {};
    for (uint32_t mask = 1; mask != 0; mask <<= 1) {
      EXPECT_EQ(ErrorOf(calls.SetStat({.fd = file,
                                       .mask = mask,
                                       .mode = 0,
                                       .uid = 0,
                                       .gid = 0,
                                       .size = 0,
                                       .atime = {},
                                       .mtime = {}})),
                EROFS);
    }
    EXPECT_EQ(ErrorOf(calls.OpenCreateAt(root, "new", 0644, kNobody, 2)), EROFS);
    EXPECT_EQ(ErrorOf(calls.PWrite(open, data, 0)), EROFS);
    EXPECT_EQ(ErrorOf(calls.MkdirAt(root, "new", 0755, kNobody)), EROFS);
    EXPECT_EQ(ErrorOf(calls.MknodAt(root, "new", S_IFREG | 0644, kNobody, 0, 0)), EROFS);
    EXPECT_EQ(ErrorOf(calls.SymlinkAt(root, "new", "x", kNobody)), EROFS);
    EXPECT_EQ(ErrorOf(calls.LinkAt(root, file, "new")), EROFS);
    EXPECT_EQ(ErrorOf(calls.FAllocate(open, 0, 0, 100)), EROFS);
    EXPECT_EQ(ErrorOf(calls.UnlinkAt(root, "file", 0)), EROFS);
    EXPECT_EQ(ErrorOf(calls.RenameAt(root, "file", root, "new")), EROFS);
    EXPECT_EQ(ErrorOf(calls.RenameAt2(root, "file", root, "new", 1)), EROFS);
    EXPECT_EQ(ErrorOf(calls.FSetXattr(file, "user.k", "v", 0)), EROFS);
    EXPECT_EQ(ErrorOf(calls.FRemoveXattr(file, "user.k")), EROFS);
    EXPECT_EQ(ErrorOf(calls.BindAt(root, "new", SOCK_STREAM, S_IFSOCK | 0755, kNobody)), EROFS);
    for (const uint32_t flags : {1u, 2u, 3u, 0x200u, 0x202u, 0xffffffffu}) {
      EXPECT_EQ(ErrorOf(calls.OpenAt(file, flags)), EROFS) << flags;
    }
  }
  EXPECT_EQ(tree_.StrictSnapshot(), before);
}

TEST_F(Readonly, OfEveryMessageWithAnyPayload) {
  tree_.Write("served/file", "text");
  const auto before = tree_.StrictSnapshot();
  Session session(server_, Via::kChannel, {.mount_path = "/", .readonly = true});
  for (uint16_t id = 3; id < kNumMessageIds; ++id) {
    // All ids 1 and short names: what would work if it were allowed.
    std::string payload(64, '\1');
    Must(session->Raw(MessageId{id}, payload));
    Must(session->Raw(MessageId{id}, ""));
    Must(session->Raw(MessageId{id},
                      std::string("\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0x", 25)));
  }
  EXPECT_EQ(tree_.StrictSnapshot(), before);
}

}  // namespace
}  // namespace lisafs
