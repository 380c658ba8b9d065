// Which error a request gets when several are due: the order of checks inside handlers, ids of the
// wrong kind, deleted nodes and policies, message by message. Source: spec/lisafs.md s.4 and s.5.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/wire/structs.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::OverEachWay;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;
using std::string_literals::operator""s;

constexpr Owner kRoot = {.uid = 0, .gid = 0};
constexpr FdId kUnknown{4711};

ServerOptions Permissive() {
  ServerOptions options;
  options.host_uds = HostUds::kAll;
  options.host_fifo_open = true;
  return options;
}

SetStatReq Mode(FdId fd, uint32_t mask, uint32_t mode) {
  return {.fd = fd,
          .mask = mask,
          .mode = mode,
          .uid = 0,
          .gid = 0,
          .size = 0,
          .atime = {},
          .mtime = {}};
}

// A server with one thing of every kind.
class Checks : public OverEachWay {
 protected:
  Checks() : server_(tree_, Permissive()), session_(server_, GetParam()) {
    dir_ = session_.Mkdir("dir").control_fd;
    file_ = session_.Create("file", "text").control_fd;
    link_ = Must(calls().SymlinkAt(root(), "link", "file", kRoot)).control_fd;
    const BindResult bound =
        Must(calls().BindAt(root(), "sock", SOCK_STREAM, S_IFSOCK | 0755, kRoot));
    socket_ = bound.child.control_fd;
    bound_ = bound.fd;
    open_ = session_.Open(file_, 2);
    open_dir_ = session_.Open(dir_, 0);
    deleted_dir_ = session_.Mkdir("deleted-dir").control_fd;
    open_deleted_dir_ = session_.Open(deleted_dir_, 0);
    Must(calls().UnlinkAt(root(), "deleted-dir", AT_REMOVEDIR));
    deleted_file_ = session_.Create("deleted-file", "gone").control_fd;
    open_deleted_file_ = session_.Open(deleted_file_, 2);
    Must(calls().UnlinkAt(root(), "deleted-file", 0));
  }

  Calls& calls() { return session_.calls(); }
  FdId root() { return session_.root(); }

  TempTree tree_;
  TestServer server_;
  Session session_;
  FdId dir_, file_, link_, socket_, bound_, open_, open_dir_;
  FdId deleted_dir_, open_deleted_dir_, deleted_file_, open_deleted_file_;
};
INSTANTIATE_OVER_EACH_WAY(Checks);

// ---- messages that take a directory and a name

struct NamedCall {
  const char* message;
  std::function<int(Calls&, FdId dir, absl::string_view name)> error;
};

std::vector<NamedCall> NamedCalls(FdId file, FdId root) {
  return {
      {"OpenCreateAt",
       [](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.OpenCreateAt(d, n, 0644, kRoot, 2));
       }},
      {"MkdirAt",
       [](Calls& c, FdId d, absl::string_view n) { return ErrorOf(c.MkdirAt(d, n, 0755, kRoot)); }},
      {"MknodAt",
       [](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.MknodAt(d, n, S_IFREG | 0644, kRoot, 0, 0));
       }},
      {"SymlinkAt",
       [](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.SymlinkAt(d, n, "target", kRoot));
       }},
      {"LinkAt",
       [file](Calls& c, FdId d, absl::string_view n) { return ErrorOf(c.LinkAt(d, file, n)); }},
      {"UnlinkAt",
       [](Calls& c, FdId d, absl::string_view n) { return ErrorOf(c.UnlinkAt(d, n, 0)); }},
      {"BindAt",
       [](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.BindAt(d, n, SOCK_STREAM, S_IFSOCK | 0755, kRoot));
       }},
      {"RenameAt old",
       [root](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.RenameAt(d, n, root, "new"));
       }},
      {"RenameAt new",
       [root](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.RenameAt(root, "file", d, n));
       }},
      {"RenameAt2 old",
       [root](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.RenameAt2(d, n, root, "new", 1));
       }},
      {"RenameAt2 new",
       [root](Calls& c, FdId d, absl::string_view n) {
         return ErrorOf(c.RenameAt2(root, "file", d, n, 1));
       }},
  };
}

TEST_P(Checks, BadNameComesBeforeEverythingAboutTheDirectory) {
  for (const NamedCall& call : NamedCalls(file_, root())) {
    SCOPED_TRACE(call.message);
    for (const std::string& name : {""s, "."s, ".."s, "a/b"s, "/abs"s, "a/"s, "a\0b"s}) {
      SCOPED_TRACE(testing::PrintToString(name));
      for (const FdId dir : {root(), kUnknown, FdId{0}, open_, bound_, file_, deleted_dir_}) {
        EXPECT_EQ(call.error(calls(), dir, name), EINVAL);
      }
    }
  }
  EXPECT_TRUE(tree_.Exists("file"));
}

TEST_P(Checks, DirectoryIdIsLookedUpBeforeItsType) {
  for (const NamedCall& call : NamedCalls(file_, root())) {
    SCOPED_TRACE(call.message);
    EXPECT_EQ(call.error(calls(), kUnknown, "name"), EBADF);
    EXPECT_EQ(call.error(calls(), FdId{0}, "name"), EBADF);
    EXPECT_EQ(call.error(calls(), FdId{UINT64_MAX}, "name"), EBADF);
    EXPECT_EQ(call.error(calls(), open_, "name"), EINVAL);
    EXPECT_EQ(call.error(calls(), open_dir_, "name"), EINVAL);
    EXPECT_EQ(call.error(calls(), bound_, "name"), EINVAL);
    EXPECT_EQ(call.error(calls(), file_, "name"), ENOTDIR);
    EXPECT_EQ(call.error(calls(), link_, "name"), ENOTDIR);
    EXPECT_EQ(call.error(calls(), socket_, "name"), ENOTDIR);
    EXPECT_EQ(call.error(calls(), deleted_file_, "name"), ENOTDIR);
    EXPECT_EQ(call.error(calls(), deleted_dir_, "name"), EINVAL);
  }
}

TEST_P(Checks, NameTooLongIsJudgedLast) {
  // The reference leaves it to the host, after everything that it knows by itself.
  for (const std::string& name : {std::string(256, 'n'), std::string(65535, 'n')}) {
    for (const NamedCall& call : NamedCalls(file_, root())) {
      SCOPED_TRACE(call.message);
      EXPECT_EQ(call.error(calls(), root(), name), ENAMETOOLONG);
      EXPECT_EQ(call.error(calls(), kUnknown, name), EBADF);
      EXPECT_EQ(call.error(calls(), open_, name), EINVAL);
      EXPECT_EQ(call.error(calls(), file_, name), ENOTDIR);
      EXPECT_EQ(call.error(calls(), deleted_dir_, name), EINVAL);
    }
  }
}

TEST_P(Checks, ReadOnlyComesBeforeEverything) {
  Session reader(server_, GetParam(), {.mount_path = "/", .readonly = true});
  for (const NamedCall& call : NamedCalls(file_, root())) {
    SCOPED_TRACE(call.message);
    EXPECT_EQ(call.error(reader.calls(), kUnknown, "a/b"), EROFS);
  }
  EXPECT_EQ(ErrorOf(reader->SetStat(Mode(kUnknown, 0x1, 0))), EROFS);
  EXPECT_EQ(ErrorOf(reader->PWrite(kUnknown, {}, 0)), EROFS);
  EXPECT_EQ(ErrorOf(reader->FAllocate(kUnknown, 0, 0, 1)), EROFS);
  EXPECT_EQ(ErrorOf(reader->FSetXattr(kUnknown, "", "", 0)), EROFS);
  EXPECT_EQ(ErrorOf(reader->FRemoveXattr(kUnknown, "")), EROFS);
  // OpenAt decodes first, and judges by its flags before its id.
  EXPECT_EQ(Must(reader->Raw(MessageId::kOpenAt, "short")).error(), EIO);
  EXPECT_EQ(ErrorOf(reader->OpenAt(kUnknown, O_WRONLY)), EROFS);
  EXPECT_EQ(ErrorOf(reader->OpenAt(kUnknown, O_TRUNC)), EROFS);
  EXPECT_EQ(ErrorOf(reader->OpenAt(kUnknown, 3)), EROFS);
  EXPECT_EQ(ErrorOf(reader->OpenAt(kUnknown, O_RDONLY)), EBADF);
  // What reads is allowed.
  const FdId open = reader.Open(reader.Walk("file").control_fd, 0);
  EXPECT_EQ(ErrorOf(reader->FSync({open})), 0);
  EXPECT_EQ(reader.Read(open, 4), "text");
  EXPECT_EQ(ErrorOf(reader->Connect(reader.Walk("sock").control_fd, SOCK_STREAM)), ECONNREFUSED);
}

// ---- messages that take one id

struct IdCall {
  const char* message;
  std::function<int(Calls&, FdId)> error;
};

std::vector<IdCall> ControlCalls(FdId dir) {
  return {
      {"SetStat", [](Calls& c, FdId f) { return ErrorOf(c.SetStat(Mode(f, 0x2, 0600))); }},
      {"FStatFS", [](Calls& c, FdId f) { return ErrorOf(c.FStatFS(f)); }},
      {"Walk", [](Calls& c, FdId f) { return ErrorOf(c.Walk(f, {}, {})); }},
      {"WalkStat", [](Calls& c, FdId f) { return ErrorOf(c.WalkStat(f, {}, {})); }},
      {"OpenAt", [](Calls& c, FdId f) { return ErrorOf(c.OpenAt(f, 0)); }},
      {"LinkAt target", [dir](Calls& c, FdId f) { return ErrorOf(c.LinkAt(dir, f, "linked")); }},
      {"ReadLinkAt", [](Calls& c, FdId f) { return ErrorOf(c.ReadLinkAt(f)); }},
      {"Connect", [](Calls& c, FdId f) { return ErrorOf(c.Connect(f, SOCK_STREAM)); }},
      {"ConnectWithCreds",
       [](Calls& c, FdId f) { return ErrorOf(c.ConnectWithCreds(f, SOCK_STREAM, kRoot)); }},
      {"FGetXattr", [](Calls& c, FdId f) { return ErrorOf(c.FGetXattr(f, "user.k", 64)); }},
      {"FSetXattr", [](Calls& c, FdId f) { return ErrorOf(c.FSetXattr(f, "user.k", "v", 0)); }},
      {"FListXattr", [](Calls& c, FdId f) { return ErrorOf(c.FListXattr(f, 64)); }},
      {"FRemoveXattr", [](Calls& c, FdId f) { return ErrorOf(c.FRemoveXattr(f, "user.k")); }},
  };
}

std::vector<IdCall> OpenCalls() {
  static std::byte buffer[1];
  return {
      {"FSync", [](Calls& c, FdId f) { return ErrorOf(c.FSync({f})); }},
      {"PRead", [](Calls& c, FdId f) { return ErrorOf(c.PRead(f, buffer, 0)); }},
      {"PWrite", [](Calls& c, FdId f) { return ErrorOf(c.PWrite(f, buffer, 0)); }},
      {"FAllocate", [](Calls& c, FdId f) { return ErrorOf(c.FAllocate(f, 0, 0, 1)); }},
      {"Getdents64", [](Calls& c, FdId f) { return ErrorOf(c.Getdents64(f, 4096)); }},
  };
}

std::vector<IdCall> BoundCalls() {
  return {
      {"Listen", [](Calls& c, FdId f) { return ErrorOf(c.Listen(f, 1)); }},
      {"Accept", [](Calls& c, FdId f) { return ErrorOf(c.Accept(f)); }},
  };
}

TEST_P(Checks, IdsOfTheWrongKind) {
  const auto expect = [this](const std::vector<IdCall>& wanted, std::initializer_list<FdId> wrong) {
    for (const IdCall& call : wanted) {
      SCOPED_TRACE(call.message);
      for (const FdId id : {FdId{0}, kUnknown, FdId{UINT64_MAX}})
        EXPECT_EQ(call.error(calls(), id), EBADF);
      for (const FdId id : wrong)
        EXPECT_EQ(call.error(calls(), id), EINVAL) << static_cast<uint64_t>(id);
    }
  };
  expect(ControlCalls(dir_), {open_, open_dir_, bound_});
  expect(OpenCalls(), {file_, dir_, bound_});
  expect(BoundCalls(), {file_, open_, socket_});
  EXPECT_EQ(ErrorOf(calls().FStat(kUnknown)), EBADF);
  EXPECT_EQ(ErrorOf(calls().FStat(bound_)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().FStat(open_)), 0);
}

TEST_P(Checks, ClosedIdsAreUnknown) {
  Must(calls().Close({file_, open_, bound_}));
  for (const IdCall& call : ControlCalls(dir_))
    EXPECT_EQ(call.error(calls(), file_), EBADF) << call.message;
  for (const IdCall& call : OpenCalls())
    EXPECT_EQ(call.error(calls(), open_), EBADF) << call.message;
  for (const IdCall& call : BoundCalls())
    EXPECT_EQ(call.error(calls(), bound_), EBADF) << call.message;
}

TEST_P(Checks, IdsOfAnotherConnectionAreUnknown) {
  Session other(server_, GetParam());
  for (const IdCall& call : ControlCalls(dir_))
    EXPECT_EQ(call.error(other.calls(), deleted_file_), EBADF);
  for (const IdCall& call : OpenCalls()) EXPECT_EQ(call.error(other.calls(), open_), EBADF);
  for (const IdCall& call : BoundCalls()) EXPECT_EQ(call.error(other.calls(), bound_), EBADF);
}

TEST_P(Checks, TypesThatDoNotFit) {
  std::byte buffer[1];
  EXPECT_EQ(ErrorOf(calls().Walk(file_, {}, {})), ENOTDIR) << "even without names";
  EXPECT_EQ(ErrorOf(calls().Walk(link_, {}, {})), ENOTDIR);
  Statx stat;
  EXPECT_EQ(Must(calls().WalkStat(file_, {}, {})), 0u);
  EXPECT_EQ(Must(calls().WalkStat(link_, {""}, std::span(&stat, 1))), 1u);
  Statx stats[2];
  EXPECT_EQ(ErrorOf(calls().WalkStat(file_, {"x"}, stats)), ENOTDIR);
  EXPECT_EQ(ErrorOf(calls().WalkStat(file_, {"", "x"}, stats)), ENOTDIR);
  EXPECT_EQ(ErrorOf(calls().OpenAt(link_, 0)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().OpenAt(dir_, 1)), EISDIR);
  EXPECT_EQ(ErrorOf(calls().OpenAt(dir_, O_TRUNC)), EISDIR);
  EXPECT_EQ(ErrorOf(calls().OpenAt(socket_, 0)), ENXIO);
  EXPECT_EQ(ErrorOf(calls().ReadLinkAt(file_)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().LinkAt(dir_, dir_, "linked")), EPERM);
  EXPECT_EQ(ErrorOf(calls().Connect(file_, SOCK_STREAM)), ENOTSOCK);
  EXPECT_EQ(ErrorOf(calls().Connect(socket_, SOCK_RAW)), ENXIO);
  EXPECT_EQ(ErrorOf(calls().Connect(socket_, SOCK_DGRAM)), EPROTOTYPE);
  EXPECT_EQ(ErrorOf(calls().PRead(open_dir_, buffer, 0)), EISDIR);
  EXPECT_EQ(ErrorOf(calls().PWrite(open_dir_, buffer, 0)), EBADF);
  EXPECT_EQ(ErrorOf(calls().FAllocate(open_dir_, 0, 0, 1)), EBADF);
  EXPECT_EQ(ErrorOf(calls().FAllocate(open_, 0, 0, 0)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().Getdents64(open_, 100)), ENOTDIR);
  EXPECT_EQ(ErrorOf(calls().FSync({open_dir_})), 0);
}

TEST_P(Checks, AccessModesAreHeld) {
  std::byte buffer[1];
  const FdId reader = session_.Open(file_, 0);
  const FdId writer = session_.Open(file_, 1);
  const FdId neither = session_.Open(file_, 3);
  EXPECT_EQ(ErrorOf(calls().PWrite(reader, buffer, 0)), EBADF);
  EXPECT_EQ(ErrorOf(calls().FAllocate(reader, 0, 0, 1)), EBADF);
  EXPECT_EQ(ErrorOf(calls().PRead(writer, buffer, 0)), EBADF);
  EXPECT_EQ(ErrorOf(calls().PRead(neither, buffer, 0)), EBADF);
  EXPECT_EQ(ErrorOf(calls().PWrite(neither, buffer, 0)), EBADF);
}

TEST_P(Checks, OtherOpenFlagsAreDropped) {
  const uint32_t dropped =
      O_CREAT | O_EXCL | O_APPEND | O_SYNC | O_DIRECTORY | O_NOFOLLOW | O_PATH | O_NONBLOCK;
  const FdId open = session_.Open(file_, 2 | dropped);
  session_.Write(open, "TE");
  EXPECT_EQ(tree_.Read("file"), "TExt") << "not appended";
  session_.Open(file_, 1 | O_TRUNC);
  EXPECT_EQ(tree_.Stat("file").st_size, 0);
}

TEST_P(Checks, DeletedFilesKeepWhatWorksByDescriptor) {
  EXPECT_EQ(Must(calls().FStat(deleted_file_)).nlink, 0u);
  EXPECT_EQ(Must(calls().SetStat(Mode(deleted_file_, 0x2, 0600))).failure_mask, 0u);
  EXPECT_EQ(Must(calls().FStat(deleted_file_)).mode & 07777, 0600);
  EXPECT_EQ(session_.Read(open_deleted_file_, 4), "gone");
  EXPECT_EQ(session_.Write(open_deleted_file_, "more"), 4u);
  EXPECT_EQ(ErrorOf(calls().FSync({open_deleted_file_, open_deleted_dir_})), 0);
  EXPECT_EQ(ErrorOf(calls().FAllocate(open_deleted_file_, 0, 0, 100)), 0);
  EXPECT_EQ(ErrorOf(calls().FStatFS(deleted_file_)), 0);
  EXPECT_EQ(ErrorOf(calls().FStatFS(deleted_dir_)), 0);
  Statx stats[2];
  EXPECT_EQ(Must(calls().WalkStat(deleted_file_, {""}, stats)), 1u);
  EXPECT_EQ(Must(calls().WalkStat(deleted_dir_, {"", "x"}, stats)), 1u);
  EXPECT_EQ(session_.Read(session_.Open(deleted_file_, 2), 4), "more")
      << "opened anew, for a checkpoint";
}

TEST_P(Checks, DeletedNodesRefuseWhatNeedsAName) {
  EXPECT_EQ(ErrorOf(calls().LinkAt(root(), deleted_file_, "again")), EINVAL);
  EXPECT_EQ(ErrorOf(calls().Getdents64(open_deleted_dir_, 4096)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().FGetXattr(deleted_file_, "user.k", 64)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().FSetXattr(deleted_file_, "user.k", "v", 0)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().FRemoveXattr(deleted_file_, "user.k")), EINVAL);
  Inode inode;
  EXPECT_EQ(Must(calls().Walk(deleted_dir_, {}, {})).status, WalkStatus::kSuccess);
  EXPECT_EQ(Must(calls().Walk(deleted_dir_, {"x"}, std::span(&inode, 1))).status,
            WalkStatus::kComponentDoesNotExist);
  Must(calls().UnlinkAt(root(), "sock", 0));
  EXPECT_EQ(ErrorOf(calls().Connect(socket_, SOCK_STREAM)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().ConnectWithCreds(socket_, SOCK_STREAM, kRoot)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().Listen(bound_, 1)), EINVAL);
  EXPECT_EQ(ErrorOf(calls().Accept(bound_)), EINVAL);
}

TEST_P(Checks, DeletedQuirksAreEmptySuccesses) {
  Must(calls().UnlinkAt(root(), "link", 0));
  EXPECT_EQ(Must(calls().ReadLinkAt(link_)), "");
  EXPECT_TRUE(Must(calls().FListXattr(deleted_file_, 64)).empty());
}

TEST_P(Checks, RemovedBehindTheServersBackIsNotDeleted) {
  tree_.Unlink("file");
  EXPECT_EQ(session_.Read(session_.Open(file_, 0), 4), "text");
  EXPECT_EQ(ErrorOf(calls().LinkAt(root(), file_, "again")), ENOENT);
}

TEST_P(Checks, SetStatReportsWhatFailedInItsReply) {
  EXPECT_EQ(ErrorOf(calls().SetStat(Mode(file_, 0x1, 0))), EPERM) << "a bit that cannot be set";
  EXPECT_EQ(ErrorOf(calls().SetStat(Mode(file_, 0x800, 0))), EPERM);
  const SetStatResp nothing = Must(calls().SetStat(Mode(file_, 0, 0)));
  EXPECT_EQ(nothing.failure_mask, 0u);
  EXPECT_EQ(nothing.failure_errno, 0u);

  const SetStatResp symlink = Must(calls().SetStat(Mode(link_, 0x2, 0600)));
  EXPECT_EQ(symlink.failure_mask, 0x2u);
  EXPECT_EQ(symlink.failure_errno, static_cast<uint32_t>(EOPNOTSUPP));

  // All are tried; the errno is the last failure's.
  SetStatReq both = Mode(dir_, 0x2 | 0x200 | 0x20 | 0x8, 0711);
  both.uid = 0;
  both.atime = {.sec = 1, .nsec = 1'000'000'000};
  const SetStatResp failed = Must(calls().SetStat(both));
  EXPECT_EQ(failed.failure_mask, 0x220u);
  EXPECT_EQ(failed.failure_errno, static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(tree_.Stat("dir").st_mode & 07777, 0711u);
}

TEST_P(Checks, SyncGoesOnAfterAnErrorAndReturnsTheFirst) {
  EXPECT_EQ(ErrorOf(calls().FSync({open_, kUnknown, file_})), EBADF);
  EXPECT_EQ(ErrorOf(calls().FSync({file_, kUnknown, open_})), EINVAL);
  EXPECT_EQ(ErrorOf(calls().FSync({})), 0);
}

TEST_P(Checks, UnknownMessages) {
  for (const uint16_t id : {0, 20, 34, 35, 99, 255, 256, 65535}) {
    EXPECT_EQ(Must(calls().Raw(MessageId{id}, "")).error(), EOPNOTSUPP) << id;
  }
}

class Policies : public OverEachWay {};
INSTANTIATE_OVER_EACH_WAY(Policies);

TEST_P(Policies, NothingIsAllowedByDefault) {
  const TempTree tree;
  tree.Fifo("pipe");
  TestServer binder(tree, Permissive());
  Session maker(binder, GetParam());
  const BindResult bound =
      Must(maker->BindAt(maker.root(), "sock", SOCK_STREAM, S_IFSOCK | 0755, kRoot));
  Must(maker->Listen(bound.fd, 1));

  TestServer server(tree);
  Session session(server, GetParam());
  EXPECT_EQ(ErrorOf(session->OpenAt(session.Walk("pipe").control_fd, 0)), EPERM);
  EXPECT_EQ(ErrorOf(session->OpenAt(session.Walk("sock").control_fd, 0)), EPERM);
  EXPECT_EQ(ErrorOf(session->Connect(session.Walk("sock").control_fd, SOCK_STREAM)), EPERM);
  EXPECT_EQ(ErrorOf(session->ConnectWithCreds(session.Walk("sock").control_fd, SOCK_STREAM, kRoot)),
            EPERM);
  EXPECT_EQ(ErrorOf(session->BindAt(session.root(), "s", SOCK_STREAM, S_IFSOCK | 0755, kRoot)),
            EPERM);
  EXPECT_FALSE(tree.Exists("s"));
  for (const uint16_t type : {S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR, 0}) {
    EXPECT_EQ(ErrorOf(session->MknodAt(session.root(), "pipe", static_cast<uint16_t>(type | 0644),
                                       kRoot, 3, 1)),
              EPERM)
        << "even where the name exists";
  }
}

TEST_P(Policies, OpenAndCreateAreSeparate) {
  const TempTree tree;
  ServerOptions open_only;
  open_only.host_uds = HostUds::kOpen;
  TestServer opening(tree, open_only);
  Session opener(opening, GetParam());
  EXPECT_EQ(ErrorOf(opener->BindAt(opener.root(), "s", SOCK_STREAM, S_IFSOCK | 0755, kRoot)),
            EPERM);

  ServerOptions create_only;
  create_only.host_uds = HostUds::kCreate;
  TestServer creating(tree, create_only);
  Session creator(creating, GetParam());
  const BindResult bound =
      Must(creator->BindAt(creator.root(), "s", SOCK_STREAM, S_IFSOCK | 0755, kRoot));
  Must(creator->Listen(bound.fd, 1));
  EXPECT_EQ(ErrorOf(creator->Connect(bound.child.control_fd, SOCK_STREAM)), EPERM);
  EXPECT_EQ(ErrorOf(opener->Connect(opener.Walk("s").control_fd, SOCK_STREAM)), 0);
}

}  // namespace
}  // namespace lisafs
