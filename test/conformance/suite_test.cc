// The 14 cases that gVisor's own test suite runs against any server, over the socket and over a
// channel, each on a fresh directory of one read-write connection. Files are made with mode 0777
// for the caller's own ids and opened O_RDWR. After each case the client has closed everything, and
// the server must hold nothing more. Source: spec/lisafs.md s.11.1.

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
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
using gofer::testing::Via;

constexpr uint32_t kReadWrite = 2;
constexpr uint32_t kRemoveDir = 0x200;

Owner Self() { return {.uid = getuid(), .gid = getgid()}; }

class Suite : public OverEachWay {
 protected:
  Suite() : server_(tree_, SocketsAllowed()), session_(server_, GetParam()) {}

  void TearDown() override {
    Must(session_->Close(held_));
    Must(session_->Close({session_.root()}));
    // Objects go when the client closes them, not only when the connection ends: but for the cache
    // of names, only the root is left.
    server_.filesystem().dentries().Purge();
    EXPECT_EQ(server_.filesystem().dentries().size(), 1u);
    EXPECT_EQ(server_.filesystem().open_fds(), 1u);
  }

  static ServerOptions SocketsAllowed() {
    ServerOptions options;
    options.host_uds = HostUds::kAll;
    return options;
  }

  // A new file, open for reading and writing, and donated.
  CreateResult Create(FdId dir, absl::string_view name) {
    CreateResult file = Must(session_->OpenCreateAt(dir, name, 0777, Self(), kReadWrite));
    EXPECT_TRUE(file.host_fd.valid());
    Hold({file.child.control_fd, file.fd});
    return file;
  }
  OpenResult Open(FdId file, uint32_t flags) {
    OpenResult open = Must(session_->OpenAt(file, flags));
    EXPECT_TRUE(open.host_fd.valid());
    Hold({open.fd});
    return open;
  }
  Inode Mkdir(FdId dir, absl::string_view name) {
    const Inode made = Must(session_->MkdirAt(dir, name, 0777, Self()));
    EXPECT_TRUE(S_ISDIR(made.stat.mode));
    Hold({made.control_fd});
    return made;
  }
  void Hold(std::initializer_list<FdId> fds) { held_.insert(held_.end(), fds); }
  FdId root() { return session_.root(); }
  Calls& calls() { return session_.calls(); }

  TempTree tree_;
  TestServer server_;
  Session session_;
  std::vector<FdId> held_;
};
INSTANTIATE_OVER_EACH_WAY(Suite);

TEST_P(Suite, Stat) { EXPECT_TRUE(S_ISDIR(Must(calls().FStat(root())).mode)); }

TEST_P(Suite, RegularFileIO) {
  const CreateResult file = Create(root(), "file");
  std::string data(2 << 20, '\0');
  std::mt19937 random(1);
  for (char& byte : data) byte = static_cast<char>(random());
  // More than one message holds, as a sentry cuts it.
  for (size_t done = 0; done < data.size();) {
    done += session_.Write(file.fd, absl::string_view(data).substr(done, kMaxWriteBytes), done);
  }
  const auto read_from = [&](size_t offset) {
    std::string text;
    while (offset + text.size() < data.size()) {
      text += session_.Read(file.fd,
                            std::min<size_t>(data.size() - offset - text.size(), kMaxReadBytes),
                            offset + text.size());
    }
    return text;
  };
  EXPECT_TRUE(read_from(0) == data);
  EXPECT_TRUE(read_from(50) == data.substr(50));
  std::string donated(data.size(), '\0');
  ASSERT_EQ(pread(file.host_fd.get(), donated.data(), donated.size(), 0),
            static_cast<ssize_t>(data.size()));
  EXPECT_TRUE(donated == data);
  EXPECT_EQ(ErrorOf(calls().FSync({file.fd})), 0);
}

TEST_P(Suite, RegularFileOpen) {
  const CreateResult file = Create(root(), "file");
  const OpenResult reader = Open(file.child.control_fd, 0);
  const std::byte data[1] = {};
  EXPECT_EQ(ErrorOf(calls().PWrite(reader.fd, data, 0)), EBADF);
}

TEST_P(Suite, SetStat) {
  const CreateResult file = Create(root(), "file");
  const int64_t now = time(nullptr);
  const SetStatReq request = {.fd = file.child.control_fd,
                              .mask = 0x27a,
                              .mode = 0760,
                              .uid = Self().uid,
                              .gid = Self().gid,
                              .size = 50,
                              .atime = {.sec = now + 1, .nsec = 123456789},
                              .mtime = {.sec = now, .nsec = 987654321}};
  const SetStatResp set = Must(calls().SetStat(request));
  EXPECT_EQ(set.failure_mask, 0u);
  const Statx stat = Must(calls().FStat(file.child.control_fd));
  EXPECT_EQ(stat.mode & 07777, 0760);
  EXPECT_EQ(stat.uid, Self().uid);
  EXPECT_EQ(stat.gid, Self().gid);
  EXPECT_EQ(stat.size, 50u);
  EXPECT_EQ(stat.atime.sec, now + 1);
  EXPECT_EQ(stat.atime.nsec, 123456789u);
  EXPECT_EQ(stat.mtime.sec, now);
  EXPECT_EQ(stat.mtime.nsec, 987654321u);
}

TEST_P(Suite, Allocate) {
  const CreateResult file = Create(root(), "file");
  Must(calls().FAllocate(file.fd, 0, 0, 40));
  EXPECT_EQ(Must(calls().FStat(file.fd)).size, 40u);
  Must(calls().FAllocate(file.fd, 0, 20, 100));
  EXPECT_EQ(Must(calls().FStat(file.fd)).size, 120u);
}

TEST_P(Suite, StatFS) { EXPECT_GT(Must(calls().FStatFS(root())).block_size, 0); }

TEST_P(Suite, Unlink) {
  Create(root(), "file");
  Must(calls().UnlinkAt(root(), "file", 0));
  Inode inode;
  const WalkResult walk = Must(calls().Walk(root(), {"file"}, std::span(&inode, 1)));
  EXPECT_EQ(walk.count, 0u);
  EXPECT_EQ(walk.status, WalkStatus::kComponentDoesNotExist);
}

TEST_P(Suite, Symlink) {
  const Inode link = Must(calls().SymlinkAt(root(), "link", "/tmp/some/path", Self()));
  Hold({link.control_fd});
  EXPECT_TRUE(S_ISLNK(link.stat.mode));
  EXPECT_EQ(Must(calls().ReadLinkAt(link.control_fd)), "/tmp/some/path");
}

TEST_P(Suite, HardLink) {
  const CreateResult file = Create(root(), "file");
  const Inode link = Must(calls().LinkAt(root(), file.child.control_fd, "link"));
  Hold({link.control_fd});
  EXPECT_EQ(link.stat.ino, file.child.stat.ino);
  EXPECT_EQ(link.stat.dev_minor, file.child.stat.dev_minor);
  EXPECT_EQ(link.stat.dev_major, file.child.stat.dev_major);
}

void ExpectSameFile(const Statx& got, const Statx& want) {
  EXPECT_EQ(got.mode, want.mode);
  EXPECT_EQ(got.ino, want.ino);
  EXPECT_EQ(got.nlink, want.nlink);
  EXPECT_EQ(got.uid, want.uid);
  EXPECT_EQ(got.gid, want.gid);
  EXPECT_EQ(got.size, want.size);
  EXPECT_EQ(got.blocks, want.blocks);
  for (const auto time : {&Statx::atime, &Statx::mtime, &Statx::ctime}) {
    EXPECT_EQ((got.*time).sec, (want.*time).sec);
    EXPECT_EQ((got.*time).nsec, (want.*time).nsec);
  }
}

TEST_P(Suite, Walk) {
  constexpr size_t kDepth = 10;
  std::vector<std::string> names;
  FdId dir = root();
  for (size_t i = 0; i < kDepth; ++i) {
    names.push_back(absl::StrCat("dir", i));
    dir = Mkdir(dir, names.back()).control_fd;
  }
  std::vector<absl::string_view> path(names.begin(), names.end());
  for (const absl::string_view missing : {"a", "b", "c"}) path.push_back(missing);
  std::vector<Inode> inodes(path.size());
  const WalkResult walk = Must(calls().Walk(root(), path, inodes));
  ASSERT_EQ(walk.count, kDepth);
  EXPECT_EQ(walk.status, WalkStatus::kComponentDoesNotExist);
  for (size_t i = 0; i < kDepth; ++i) Hold({inodes[i].control_fd});

  path.insert(path.begin(), "");
  std::vector<Statx> stats(path.size());
  ASSERT_EQ(Must(calls().WalkStat(root(), path, stats)), kDepth + 1);
  ExpectSameFile(stats[0], Must(calls().FStat(root())));
  for (size_t i = 0; i < kDepth; ++i) ExpectSameFile(stats[i + 1], inodes[i].stat);
}

TEST_P(Suite, Rename) {
  Create(root(), "file");
  const Inode dir = Mkdir(root(), "dir");
  Must(calls().RenameAt(root(), "file", dir.control_fd, "moved"));
  Statx stats[2];
  EXPECT_EQ(Must(calls().WalkStat(root(), {"dir", "moved"}, stats)), 2u);
}

void ExpectOwned(const Statx& stat, uint32_t type) {
  EXPECT_EQ(stat.mode & S_IFMT, type);
  EXPECT_EQ(stat.mode & 07777, 0777);
  EXPECT_EQ(stat.uid, Self().uid);
  EXPECT_EQ(stat.gid, Self().gid);
}

TEST_P(Suite, Mknod) {
  const Inode node = Must(calls().MknodAt(root(), "node", S_IFREG | 0777, Self(), 0, 0));
  Hold({node.control_fd});
  ExpectOwned(node.stat, S_IFREG);
  ExpectOwned(Must(calls().FStat(node.control_fd)), S_IFREG);
}

TEST_P(Suite, Uds) {
  const BindResult bound =
      Must(calls().BindAt(root(), "sock", SOCK_STREAM, S_IFSOCK | 0777, Self()));
  ExpectOwned(bound.child.stat, S_IFSOCK);
  ExpectOwned(Must(calls().FStat(bound.child.control_fd)), S_IFSOCK);
  Must(calls().Close({bound.fd}));
  Must(calls().Close({bound.child.control_fd}));
}

TEST_P(Suite, Getdents) {
  const Inode dir = Mkdir(root(), "dir");
  std::map<std::string, Inode> nodes;
  for (int i = 0; i < 10; ++i) {
    const std::string name = absl::StrCat("file-", i);
    nodes[name] = Must(calls().MknodAt(dir.control_fd, name, S_IFREG | 0777, Self(), 0, 0));
    Hold({nodes[name].control_fd});
  }
  const FdId open = session_.Open(dir.control_fd, 0);
  Hold({open});
  std::map<std::string, Dirent> seen;
  bool ended = false;
  for (int round = 0; round < 12 && !ended; ++round) {
    const std::vector<Dirent> dirents = Must(calls().Getdents64(open, 40));
    ended = dirents.empty();
    for (const Dirent& dirent : dirents) {
      EXPECT_TRUE(seen.emplace(dirent.name, dirent).second) << dirent.name << " twice";
    }
  }
  EXPECT_TRUE(ended);
  ASSERT_EQ(seen.size(), nodes.size());
  for (const auto& [name, node] : nodes) {
    SCOPED_TRACE(name);
    ASSERT_EQ(seen.count(name), 1u);
    EXPECT_EQ(seen[name].type, DT_REG);
    EXPECT_EQ(seen[name].ino, node.stat.ino);
    EXPECT_EQ(seen[name].dev_minor, node.stat.dev_minor);
    EXPECT_EQ(seen[name].dev_major, node.stat.dev_major);
    Must(calls().UnlinkAt(dir.control_fd, name, 0));
  }
  Must(calls().UnlinkAt(root(), "dir", kRemoveDir));
}

}  // namespace
}  // namespace lisafs
