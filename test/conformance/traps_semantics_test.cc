// The traps of spec/lisafs.md s.12 that lie in the semantics, one test each under its number there,
// over the socket and over a channel.

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/wire/structs.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::UniqueFd;
using gofer::testing::CountOpenFds;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::OverEachWay;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

constexpr Owner kNobody = {.uid = kNoId, .gid = kNoId};

ServerOptions Permissive() {
  ServerOptions options;
  options.host_uds = HostUds::kAll;
  options.host_fifo_open = true;
  return options;
}

class SemanticsTraps : public OverEachWay {
 protected:
  SemanticsTraps() : server_(tree_, Permissive()), session_(server_, GetParam()) {}
  Calls& calls() { return session_.calls(); }
  FdId root() { return session_.root(); }
  SetStatReq Set(FdId fd, uint32_t mask) {
    return {
        .fd = fd, .mask = mask, .mode = 0, .uid = 0, .gid = 0, .size = 0, .atime = {}, .mtime = {}};
  }

  TempTree tree_;
  TestServer server_;
  Session session_;
};
INSTANTIATE_OVER_EACH_WAY(SemanticsTraps);

TEST_P(SemanticsTraps, T24_SetStatFailsInsideASuccess) {
  const Inode dir = session_.Mkdir("d");
  const SetStatResp set = Must(calls().SetStat(Set(dir.control_fd, STATX_SIZE)));
  EXPECT_EQ(set.failure_mask, static_cast<uint32_t>(STATX_SIZE));
  EXPECT_EQ(set.failure_errno, static_cast<uint32_t>(EISDIR));
}

TEST_P(SemanticsTraps, T25_MissingIsAStatusAndAnErrorLeavesNoIds) {
  session_.Mkdir("d");
  session_.Create("d/f", "");
  Inode inodes[3];
  EXPECT_EQ(Must(calls().Walk(root(), {"d", "missing"}, inodes)).status,
            WalkStatus::kComponentDoesNotExist);
  Statx stats[3];
  EXPECT_EQ(Must(calls().WalkStat(root(), {"d", "missing"}, stats)), 1u);
  session_.Walk("d/f");
  const size_t before = CountOpenFds();
  const FdId last = session_.Walk("d").control_fd;
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(ErrorOf(calls().Walk(root(), {"d", "f", "x"}, inodes)), ENOTDIR);
  // What those walks made, had they kept it, would have the numbers after this.
  for (uint64_t id = static_cast<uint64_t>(last) + 1; id < static_cast<uint64_t>(last) + 300;
       ++id) {
    EXPECT_EQ(ErrorOf(calls().FStat(FdId{id})), EBADF);
  }
  EXPECT_EQ(CountOpenFds(), before);
}

TEST_P(SemanticsTraps, T26_SymlinkThatIsLastIsSuccess) {
  session_.Mkdir("d");
  tree_.Symlink("l", "d");
  Inode inodes[2];
  const WalkResult last = Must(calls().Walk(root(), {"l"}, inodes));
  EXPECT_EQ(last.status, WalkStatus::kSuccess);
  EXPECT_EQ(last.count, 1u);
  const WalkResult more = Must(calls().Walk(root(), {"l", "x"}, inodes));
  EXPECT_EQ(more.status, WalkStatus::kComponentSymlink);
  EXPECT_EQ(more.count, 1u);
  EXPECT_EQ(ErrorOf(calls().Walk(inodes[0].control_fd, {"x"}, inodes)), ENOTDIR);
}

TEST_P(SemanticsTraps, T27_NamesAreCheckedOneByOneInWalkAndAllBeforeInWalkStat) {
  Inode inodes[2];
  EXPECT_EQ(Must(calls().Walk(root(), {"missing", ".."}, inodes)).status,
            WalkStatus::kComponentDoesNotExist);
  Statx stats[2];
  EXPECT_EQ(ErrorOf(calls().WalkStat(root(), {"missing", ".."}, stats)), EINVAL);
}

TEST_P(SemanticsTraps, T28_FirstNameOfWalkStatMayBeEmpty) {
  Statx stats[2];
  EXPECT_EQ(Must(calls().WalkStat(root(), {""}, stats)), 1u);
  EXPECT_EQ(ErrorOf(calls().WalkStat(root(), {"", ""}, stats)), EINVAL);
  Inode inode;
  EXPECT_EQ(ErrorOf(calls().Walk(root(), {""}, std::span(&inode, 1))), EINVAL);
}

TEST_P(SemanticsTraps, T29_SymlinksAreNeverFollowed) {
  const TempTree outside;
  outside.Mkdir("d");
  tree_.Symlink("l", outside.path());
  const auto before = outside.StrictSnapshot();
  Inode link;
  Must(calls().Walk(root(), {"l"}, std::span(&link, 1)));
  EXPECT_EQ(ErrorOf(calls().MkdirAt(link.control_fd, "x", 0755, kNobody)), ENOTDIR);
  EXPECT_EQ(ErrorOf(calls().UnlinkAt(link.control_fd, "d", AT_REMOVEDIR)), ENOTDIR);
  EXPECT_EQ(ErrorOf(calls().OpenAt(link.control_fd, 0)), EINVAL);
  SetStatReq set = Set(link.control_fd, STATX_UID | STATX_MTIME);
  set.uid = kNoId;
  Must(calls().SetStat(set));
  EXPECT_EQ(outside.StrictSnapshot(), before);
}

TEST_P(SemanticsTraps, T30_DeletedIsOfTheNodeNotOfTheLinkCount) {
  const Inode file = session_.Create("a", "");
  Must(calls().LinkAt(root(), file.control_fd, "b"));
  Must(calls().UnlinkAt(root(), "a", 0));
  EXPECT_EQ(Must(calls().FStat(file.control_fd)).nlink, 1u);
  EXPECT_EQ(ErrorOf(calls().LinkAt(root(), file.control_fd, "c")), EINVAL)
      << "by its place, it is gone";
  Session other(server_, GetParam());
  EXPECT_EQ(ErrorOf(other.TryWalk("b")), 0);
}

TEST_P(SemanticsTraps, T31_IdsBelowARenamedDirectoryMeanTheNewPlace) {
  session_.Mkdir("a");
  const Inode sub = session_.Mkdir("a/sub");
  Must(calls().RenameAt(root(), "a", root(), "b"));
  Must(calls().MkdirAt(sub.control_fd, "made", 0755, kNobody));
  EXPECT_TRUE(tree_.Exists("b/sub/made"));
}

TEST_P(SemanticsTraps, T32_RenameOntoItselfIsSuccessWithoutLooking) {
  EXPECT_EQ(ErrorOf(calls().RenameAt(root(), "missing", root(), "missing")), 0);
  EXPECT_EQ(ErrorOf(calls().RenameAt2(root(), "missing", root(), "missing", 1)), 0);
  const Inode again = session_.Mkdir("d");
  const FdId other_id = session_.Walk("d").control_fd;
  EXPECT_EQ(ErrorOf(calls().RenameAt(again.control_fd, "x", other_id, "x")), 0)
      << "one directory, two ids";
}

TEST_P(SemanticsTraps, T33_SpecialFilesAreRefusedWithEperm) {
  for (const uint32_t type : {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK}) {
    EXPECT_EQ(
        ErrorOf(calls().MknodAt(root(), "n", static_cast<uint16_t>(type | 0644), kNobody, 1, 1)),
        EPERM);
  }
  EXPECT_EQ(ErrorOf(calls().MknodAt(root(), "whiteout", S_IFCHR | 0644, kNobody, 0, 0)), 0);
  EXPECT_EQ(tree_.Stat("whiteout").st_rdev, 0u);
  TestServer strict(tree_);
  Session session(strict, GetParam());
  EXPECT_EQ(ErrorOf(session->BindAt(session.root(), "s", SOCK_STREAM, S_IFSOCK | 0755, kNobody)),
            EPERM);
}

TEST_P(SemanticsTraps, T34_SecurityCapabilityIsEnodataOrEopnotsupp) {
  session_.Create("f", "");
  ASSERT_EQ(chmod(tree_.At("f").c_str(), 0), 0) << "also of what may not be read";
  for (const char* const name : {"f"}) {
    const int error =
        ErrorOf(calls().FGetXattr(session_.Walk(name).control_fd, "security.capability", 24));
    EXPECT_TRUE(error == ENODATA || error == EOPNOTSUPP) << error;
  }
}

TEST_P(SemanticsTraps, T35_FifoOpensAtOnceAndIsNotHeldOpen) {
  tree_.Fifo("pipe");
  const Inode pipe = session_.Walk("pipe");
  EXPECT_EQ(ErrorOf(calls().OpenAt(pipe.control_fd, 1)), ENXIO);
  OpenResult reader = Must(calls().OpenAt(pipe.control_fd, 0));
  Must(calls().Close({reader.fd}));
  reader.host_fd.Reset();
  EXPECT_EQ(ErrorOf(calls().OpenAt(pipe.control_fd, 1)), ENXIO) << "the reader has gone";
}

TEST_P(SemanticsTraps, T36_ListingRewindsEndsAndHasNoDots) {
  for (int i = 0; i < 5; ++i) session_.Create(absl::StrCat("file", i), "");
  const FdId open = session_.Open(root(), 0);
  EXPECT_EQ(Must(calls().Getdents64(open, 40)).size(), 1u);
  for (const int32_t count : {0, 1, 23, -1})
    EXPECT_EQ(Must(calls().Getdents64(open, count)).size(), 0u) << count;
  EXPECT_EQ(Must(calls().Getdents64(open, -65536)).size(), 5u);
  EXPECT_EQ(Must(calls().Getdents64(open, 65536)).size(), 0u);
  EXPECT_EQ(Must(calls().Getdents64(open, INT32_MIN)).size(), 5u);
  for (const Dirent& dirent : session_.List(open)) {
    EXPECT_NE(dirent.name, ".");
    EXPECT_NE(dirent.name, "..");
  }
  const OpenResult again = Must(calls().OpenAt(root(), 0));
  EXPECT_FALSE(again.host_fd.valid()) << "whoever has the descriptor has its position";
  EXPECT_EQ(Must(calls().Getdents64(again.fd, 65536)).size(), 5u)
      << "each open has its own position";
}

TEST_P(SemanticsTraps, T37_ReopenIsByDescriptor) {
  const Inode file = session_.Create("f", "right");
  tree_.Rename("f", "moved");
  tree_.Write("f", "wrong");
  EXPECT_EQ(session_.Read(session_.Open(file.control_fd, 0), 5), "right");
}

TEST_P(SemanticsTraps, T38_ManyIdsMayBeHeldForLong) {
  session_.Create("f", "");
  std::vector<FdId> ids;
  for (int i = 0; i < 5000; ++i) ids.push_back(session_.Walk("f").control_fd);
  EXPECT_EQ(ErrorOf(calls().FStat(ids.front())), 0);
  Must(calls().Close(ids));
}

TEST_P(SemanticsTraps, T39_OpenIdsAndSocketsOutliveTheControlId) {
  const Inode file = session_.Create("f", "text");
  const FdId open = session_.Open(file.control_fd, 0);
  const BindResult bound = Must(calls().BindAt(root(), "s", SOCK_STREAM, S_IFSOCK | 0755, kNobody));
  Must(calls().Close({file.control_fd, bound.child.control_fd}));
  EXPECT_EQ(session_.Read(open, 4), "text");
  EXPECT_EQ(ErrorOf(calls().Listen(bound.fd, 1)), 0);
}

TEST_P(SemanticsTraps, T40_SyncGoesOnAndReturnsTheFirstError) {
  const Inode file = session_.Create("f", "");
  const FdId open = session_.Open(file.control_fd, 2);
  EXPECT_EQ(ErrorOf(calls().FSync({open, FdId{999}, file.control_fd, open})), EBADF);
  EXPECT_EQ(ErrorOf(calls().FSync({open, file.control_fd, FdId{999}})), EINVAL);
}

TEST_P(SemanticsTraps, T41_WriteOfMoreThanAnnouncedIsIgnoredAndOfLessIsEio) {
  const FdId open = session_.Open(session_.Create("f", "").control_fd, 2);
  std::string payload(sizeof(PWriteReqFixed), '\0');
  const PWriteReqFixed head = {.offset = 0, .fd = open, .num_bytes = 3};
  std::memcpy(payload.data(), &head, sizeof(head));
  EXPECT_EQ(Must(calls().Raw(MessageId::kPWrite, payload + "ab")).error(), EIO);
  EXPECT_EQ(tree_.Read("f"), "");
  EXPECT_EQ(Must(calls().Raw(MessageId::kPWrite, payload + "abcdef")).error(), 0);
  EXPECT_EQ(tree_.Read("f"), "abc");
}

TEST_P(SemanticsTraps, T42_ReadOnlyIsCheckedBeforeDecodingButForOpenAt) {
  Session reader(server_, GetParam(), {.mount_path = "/", .readonly = true});
  EXPECT_EQ(Must(reader->Raw(MessageId::kMkdirAt, "")).error(), EROFS);
  EXPECT_EQ(Must(reader->Raw(MessageId::kBindAt, "")).error(), EROFS);
  EXPECT_EQ(Must(reader->Raw(MessageId::kOpenAt, "")).error(), EIO);
}

TEST_P(SemanticsTraps, T43_OwnersAreSetExplicitly) {
  tree_.Mkdir("g");
  ASSERT_EQ(chmod(tree_.At("g").c_str(), 02777), 0);
  const FdId dir = session_.Walk("g").control_fd;
  const Owner owner = {.uid = getuid(), .gid = getgid()};
  const Inode made = Must(calls().MkdirAt(dir, "d", 0777, owner));
  EXPECT_EQ(made.stat.mode & 07777, 02777) << "the set-group-id bit is inherited, the umask is 0";
  EXPECT_EQ(made.stat.uid, owner.uid);
  EXPECT_EQ(made.stat.gid, owner.gid);
}

TEST_P(SemanticsTraps, T44_SocketFilesHaveTheirModeAndCanBeChanged) {
  const BindResult bound = Must(calls().BindAt(root(), "s", SOCK_STREAM, S_IFSOCK | 0751, kNobody));
  EXPECT_EQ(tree_.Stat("s").st_mode, static_cast<mode_t>(S_IFSOCK | 0751));
  EXPECT_EQ(bound.child.stat.ino, tree_.Stat("s").st_ino) << "the file's, not the socket's";
  SetStatReq set = Set(bound.child.control_fd, STATX_MODE);
  set.mode = 0600;
  EXPECT_EQ(Must(calls().SetStat(set)).failure_mask, 0u);
  EXPECT_EQ(tree_.Stat("s").st_mode & 07777, 0600u);
}

TEST_P(SemanticsTraps, T45_TimesOfWhatCannotBeWritten) {
  tree_.Write("ro", "", 0444);
  tree_.Symlink("l", "nowhere");
  tree_.Fifo("pipe");
  tree_.Mkdir("d");
  for (const char* const name : {"ro", "l", "pipe", "d"}) {
    SetStatReq set = Set(session_.Walk(name).control_fd, STATX_ATIME | STATX_MTIME);
    set.atime = {.sec = 11, .nsec = 12};
    set.mtime = {.sec = 13, .nsec = 14};
    EXPECT_EQ(Must(calls().SetStat(set)).failure_mask, 0u) << name;
    const struct stat stat = tree_.Stat(name);
    EXPECT_EQ(stat.st_mtim.tv_sec, 13) << name;
    EXPECT_EQ(stat.st_mtim.tv_nsec, 14) << name;
  }
}

TEST_P(SemanticsTraps, T46_InodeNumbersAgreeEverywhere) {
  const uint64_t ino = session_.Create("f", "").stat.ino;
  EXPECT_EQ(session_.Walk("f").stat.ino, ino);
  Statx stat;
  Must(calls().WalkStat(root(), {"f"}, std::span(&stat, 1)));
  EXPECT_EQ(stat.ino, ino);
  EXPECT_EQ(session_.List(session_.Open(root(), 0)).at(0).ino, ino);
  Must(calls().RenameAt(root(), "f", root(), "g"));
  EXPECT_EQ(session_.Walk("g").stat.ino, ino);
  EXPECT_EQ(tree_.Stat("g").st_ino, ino);
}

TEST_P(SemanticsTraps, T47_AcceptGivesNoAddressAndDoesNotWait) {
  const BindResult bound = Must(calls().BindAt(root(), "s", SOCK_STREAM, S_IFSOCK | 0755, kNobody));
  EXPECT_EQ(ErrorOf(calls().Accept(bound.fd)), EINVAL) << "before Listen";
  Must(calls().Listen(bound.fd, 1));
  EXPECT_EQ(ErrorOf(calls().Accept(bound.fd)), EAGAIN);
  const UniqueFd peer = Must(calls().Connect(bound.child.control_fd, SOCK_STREAM));
  const StatReq request = {.fd = bound.fd};
  const RawReply accepted =
      Must(calls().Raw(MessageId::kAccept, std::as_bytes(std::span(&request, 1))));
  EXPECT_EQ(accepted.payload, std::string("\0\0", 2));
  ASSERT_EQ(accepted.fds.size(), 1u);
  ASSERT_EQ(write(accepted.fds[0].get(), "hi", 2), 2);
  char text[2];
  EXPECT_EQ(read(peer.get(), text, 2), 2);
}

TEST_P(SemanticsTraps, T48_FlushIsNotAdvertised) {
  const MountResult mount = Must(calls().Mount());
  EXPECT_EQ(std::count(mount.supported.begin(), mount.supported.end(), MessageId::kFlush), 0);
  EXPECT_EQ(ErrorOf(calls().Flush(root())), EOPNOTSUPP);
}

TEST_P(SemanticsTraps, T49_ListOfMessagesIsNeverEmpty) {
  for (const Personality personality : {Personality::kV22, Personality::kV24, Personality::kV26}) {
    ServerOptions options;
    options.personality = personality;
    TestServer server(tree_, options);
    const MountResult mount = Must(server.Connect()->Mount());
    EXPECT_EQ(mount.supported.size(), personality == Personality::kV26 ? 32u : 28u);
    EXPECT_EQ(mount.max_message_size, kMaxMessageSize);
  }
}

TEST_P(SemanticsTraps, T50_MountMayComeTwiceAndLate) {
  const std::unique_ptr<Client> client = server_.Connect();
  EXPECT_EQ(ErrorOf(client->FStat(FdId{1})), EBADF);
  EXPECT_EQ(ErrorOf(client->OpenChannel()), 0);
  EXPECT_EQ(Must(client->Mount()).root.control_fd, FdId{1});
  EXPECT_EQ(Must(client->Mount()).root.control_fd, FdId{2});
  EXPECT_EQ(ErrorOf(client->FStat(FdId{1})), 0);
}

}  // namespace
}  // namespace lisafs
