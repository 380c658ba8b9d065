// Each request many times, when it works and when it fails: descriptors, nodes and ids return to
// what they were. Attacks.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::CountOpenFds;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

constexpr int kTimes = 300;

class LisafsLeak : public HostileTest {
 protected:
  LisafsLeak() : client_(std::make_unique<Session>(server_, Via::kChannel)), session_(*client_) {
    dir_ = session_.Mkdir("dir").control_fd;
    file_ = session_.Create("file", "text").control_fd;
    open_ = session_.Open(file_, 2);
    link_ = Must(session_->SymlinkAt(session_.root(), "link", "x", kNobody)).control_fd;
  }

  void TearDown() override {
    client_.reset();
    HostileTest::TearDown();
  }

  // Runs it often; after each first round nothing may grow.
  void Repeat(const char* what, const std::function<void()>& request) {
    SCOPED_TRACE(what);
    for (int i = 0; i < 3; ++i) request();
    server_.filesystem().dentries().Purge();
    const size_t fds = CountOpenFds();
    const size_t dentries = server_.filesystem().dentries().size();
    const size_t inodes = server_.filesystem().inodes().size();
    for (int i = 0; i < kTimes; ++i) request();
    server_.filesystem().dentries().Purge();
    EXPECT_EQ(CountOpenFds(), fds);
    EXPECT_EQ(server_.filesystem().dentries().size(), dentries);
    EXPECT_EQ(server_.filesystem().inodes().size(), inodes);
  }

  std::unique_ptr<Session> client_;
  Session& session_;
  FdId dir_, file_, open_, link_;
};

TEST_F(LisafsLeak, WhatWorks) {
  const FdId root = session_.root();
  Calls& calls = session_.calls();
  Repeat("Mount", [&] { Must(calls.Close({Must(calls.Mount()).root.control_fd})); });
  Repeat("Walk", [&] { Must(calls.Close({session_.Walk("file").control_fd})); });
  Repeat("OpenAt", [&] { Must(calls.Close({session_.Open(file_, 2)})); });
  Repeat("OpenAt of a directory", [&] { Must(calls.Close({session_.Open(dir_, 0)})); });
  Repeat("OpenCreateAt", [&] {
    const CreateResult made = Must(calls.OpenCreateAt(dir_, "new", 0644, kNobody, 2));
    Must(calls.UnlinkAt(dir_, "new", 0));
    Must(calls.Close({made.fd, made.child.control_fd}));
  });
  Repeat("MkdirAt", [&] {
    Must(calls.Close({Must(calls.MkdirAt(dir_, "new", 0755, kNobody)).control_fd}));
    Must(calls.UnlinkAt(dir_, "new", AT_REMOVEDIR));
  });
  Repeat("LinkAt", [&] {
    Must(calls.Close({Must(calls.LinkAt(dir_, file_, "new")).control_fd}));
    Must(calls.UnlinkAt(dir_, "new", 0));
  });
  Repeat("RenameAt", [&] {
    Must(calls.RenameAt(root, "file", dir_, "moved"));
    Must(calls.RenameAt(dir_, "moved", root, "file"));
  });
  Repeat("BindAt", [&] {
    const BindResult bound =
        Must(calls.BindAt(dir_, "sock", SOCK_STREAM, S_IFSOCK | 0755, kNobody));
    Must(calls.Listen(bound.fd, 1));
    const gofer::UniqueFd peer = Must(calls.Connect(bound.child.control_fd, SOCK_STREAM));
    const gofer::UniqueFd accepted = Must(calls.Accept(bound.fd));
    Must(calls.UnlinkAt(dir_, "sock", 0));
    Must(calls.Close({bound.fd, bound.child.control_fd}));
  });
  Repeat("SetStat", [&] {
    Must(calls.SetStat({.fd = file_,
                        .mask = STATX_SIZE,
                        .mode = 0,
                        .uid = 0,
                        .gid = 0,
                        .size = 4,
                        .atime = {},
                        .mtime = {}}));
  });
  Repeat("Getdents64", [&] {
    const FdId open = session_.Open(root, 0);
    session_.List(open);
    Must(calls.Close({open}));
  });
}

TEST_F(LisafsLeak, WhatFails) {
  const FdId root = session_.root();
  Calls& calls = session_.calls();
  Inode inodes[3];
  Repeat("Walk through a file", [&] {
    EXPECT_EQ(ErrorOf(calls.Walk(root, {"dir", "..", "x"}, inodes)), EINVAL);
  });
  Repeat("Walk below a file", [&] {
    EXPECT_EQ(ErrorOf(calls.Walk(root, {"file", "x"}, inodes)), ENOTDIR);
  });
  Repeat("OpenAt of a symlink", [&] { EXPECT_EQ(ErrorOf(calls.OpenAt(link_, 0)), EINVAL); });
  Repeat("OpenCreateAt of what exists",
         [&] { EXPECT_EQ(ErrorOf(calls.OpenCreateAt(root, "file", 0644, kNobody, 2)), EEXIST); });
  Repeat("MkdirAt of what exists",
         [&] { EXPECT_EQ(ErrorOf(calls.MkdirAt(root, "dir", 0755, kNobody)), EEXIST); });
  Repeat("SymlinkAt of what exists",
         [&] { EXPECT_EQ(ErrorOf(calls.SymlinkAt(root, "link", "y", kNobody)), EEXIST); });
  Repeat("LinkAt of what exists",
         [&] { EXPECT_EQ(ErrorOf(calls.LinkAt(root, file_, "link")), EEXIST); });
  Repeat("BindAt of what exists", [&] {
    EXPECT_EQ(ErrorOf(calls.BindAt(root, "file", SOCK_STREAM, S_IFSOCK | 0755, kNobody)),
              EADDRINUSE);
  });
  Repeat("BindAt of a kind there is not",
         [&] { EXPECT_EQ(ErrorOf(calls.BindAt(dir_, "s", 7, S_IFSOCK | 0755, kNobody)), ENXIO); });
  Repeat("Connect to what is none",
         [&] { EXPECT_EQ(ErrorOf(calls.Connect(file_, SOCK_STREAM)), ENOTSOCK); });
  Repeat("RenameAt into itself",
         [&] { EXPECT_EQ(ErrorOf(calls.RenameAt(root, "dir", dir_, "x")), EINVAL); });
  Repeat("payload too short", [&] {
    for (uint16_t id = 3; id < kNumMessageIds; ++id)
      EXPECT_NE(Must(calls.Raw(MessageId{id}, "x")).error(), 0);
  });
  Repeat("Channel too many", [&] {
    while (calls.RequestChannel().ok()) {
    }
  });
}

TEST_F(LisafsLeak, ConnectionsThatComeAndGo) {
  for (int i = 0; i < 200; ++i) {
    Session session(server_, i % 2 == 0 ? Via::kSocket : Via::kChannel);
    session.Open(session.Walk("file").control_fd, 0);  // left for the server to drop
  }
}

}  // namespace
}  // namespace lisafs
