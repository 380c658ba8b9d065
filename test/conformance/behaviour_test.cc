// What a server does beyond the recorded conversations. Rows 7 to 25 of spec/lisafs.md s.11.3.

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/wire/structs.h"
#include "test/support/session.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::CountOpenFds;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::OverEachWay;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;
using gofer::testing::Via;

constexpr Owner kRoot = {.uid = 0, .gid = 0};

ServerOptions Permissive() {
  ServerOptions options;
  options.host_uds = HostUds::kAll;
  options.host_fifo_open = true;
  return options;
}

class Behaviour : public OverEachWay {
 protected:
  Behaviour() : server_(tree_, Permissive()), session_(server_, GetParam()) {}
  Calls& calls() { return session_.calls(); }
  FdId root() { return session_.root(); }

  TempTree tree_;
  TestServer server_;
  Session session_;
};
INSTANTIATE_OVER_EACH_WAY(Behaviour);

TEST_P(Behaviour, LongestPayloadWorksAndOneMoreIsEio) {
  const FdId file = session_.Open(session_.Create("f", "").control_fd, 2);
  std::string payload(kMaxMessageSize, 'x');
  const PWriteReqFixed head = {.offset = 0, .fd = file, .num_bytes = kMaxWriteBytes};
  std::memcpy(payload.data(), &head, sizeof(head));
  EXPECT_EQ(Must(calls().Raw(MessageId::kPWrite, payload)).id, MessageId::kPWrite);
  EXPECT_EQ(tree_.Stat("f").st_size, kMaxWriteBytes);
  payload.push_back('x');
  EXPECT_EQ(Must(calls().Raw(MessageId::kPWrite, payload)).error(), EIO);
  EXPECT_EQ(ErrorOf(calls().FStat(root())), 0) << "still in step";
}

TEST_P(Behaviour, LongestReadWorksAndOneMoreIsEnobufs) {
  tree_.Write("big", std::string(3 << 20, 'x'));
  const FdId file = session_.Open(session_.Walk("big").control_fd, 0);
  EXPECT_EQ(session_.Read(file, kMaxReadBytes).size(), kMaxReadBytes);
  for (const uint32_t count : {kMaxReadBytes + 1, 0xfffffff7u, 0xfffffff8u, UINT32_MAX}) {
    const PReadReq request = {.offset = 0, .fd = file, .count = count, .pad = 0};
    EXPECT_EQ(Must(calls().Raw(MessageId::kPRead, std::as_bytes(std::span(&request, 1)))).error(),
              ENOBUFS)
        << count;
  }
}

TEST_P(Behaviour, HundredWalksAreHundredIdsAndCloseGivesAllBack) {
  session_.Mkdir("d");
  session_.Create("d/f", "");
  session_.Walk("d/f");  // whatever is cached is cached from here on
  const size_t before = CountOpenFds();
  std::set<FdId> ids;
  for (int i = 0; i < 100; ++i) ids.insert(session_.Walk("d/f").control_fd);
  EXPECT_EQ(ids.size(), 100u);
  const std::vector<FdId> all(ids.begin(), ids.end());
  Must(calls().Close(all));
  for (const FdId id : all) EXPECT_EQ(ErrorOf(calls().FStat(id)), EBADF);
  EXPECT_EQ(CountOpenFds(), before);
}

TEST_P(Behaviour, WhatIsBelowARenamedDirectoryMeansTheNewPlace) {
  const Inode dir = session_.Mkdir("old");
  session_.Mkdir("old/sub");
  const Inode sub = session_.Walk("old/sub");
  const Inode file = session_.Create("old/sub/f", "text");
  Must(calls().RenameAt(root(), "old", root(), "new"));
  EXPECT_EQ(session_.Read(session_.Open(file.control_fd, 0), 4), "text");
  Must(calls().LinkAt(sub.control_fd, file.control_fd, "link"));
  const BindResult bound =
      Must(calls().BindAt(sub.control_fd, "sock", SOCK_STREAM, S_IFSOCK | 0755, kRoot));
  Must(calls().MkdirAt(dir.control_fd, "made", 0755, kRoot));
  EXPECT_TRUE(tree_.Exists("new/sub/link"));
  EXPECT_TRUE(tree_.Exists("new/sub/sock"));
  EXPECT_TRUE(tree_.Exists("new/made"));
  EXPECT_FALSE(tree_.Exists("old"));
}

TEST_P(Behaviour, OverlappingConnectionsShareDeletions) {
  session_.Mkdir("a");
  session_.Mkdir("a/b");
  Session inner(server_, GetParam(), {.mount_path = "/a", .readonly = false});
  const Inode theirs = Must(inner.TryWalk("b"));
  Must(calls().UnlinkAt(session_.Walk("a").control_fd, "b", AT_REMOVEDIR));
  tree_.Mkdir("a/b");  // another one of the same name changes nothing for the deleted one
  Inode inode;
  const WalkResult walk = Must(inner->Walk(theirs.control_fd, {"x"}, std::span(&inode, 1)));
  EXPECT_EQ(walk.status, WalkStatus::kComponentDoesNotExist);
  EXPECT_EQ(ErrorOf(inner->MkdirAt(theirs.control_fd, "x", 0755, kRoot)), EINVAL);
  EXPECT_EQ(ErrorOf(inner->FStat(theirs.control_fd)), 0);
  EXPECT_EQ(ErrorOf(inner.TryWalk("b")), 0) << "the new one is found";
}

TEST_P(Behaviour, SameDirectoryReadonlyAndNot) {
  Session reader(server_, GetParam(), {.mount_path = "/", .readonly = true});
  const Inode file = session_.Create("f", "text");
  EXPECT_EQ(ErrorOf(reader->UnlinkAt(reader.root(), "f", 0)), EROFS);
  EXPECT_EQ(ErrorOf(reader->OpenAt(Must(reader.TryWalk("f")).control_fd, 0)), 0);
  EXPECT_EQ(ErrorOf(calls().OpenAt(file.control_fd, 2)), 0);
}

TEST_P(Behaviour, OpenFileOutlivesItsControlId) {
  const Inode file = session_.Create("f", "text");
  const FdId open = session_.Open(file.control_fd, 2);
  Must(calls().Close({file.control_fd}));
  EXPECT_EQ(session_.Read(open, 4), "text");
  EXPECT_EQ(session_.Write(open, "more", 4), 4u);
  EXPECT_EQ(Must(calls().FStat(open)).size, 8u);
  EXPECT_EQ(ErrorOf(calls().FStat(file.control_fd)), EBADF);
}

TEST_P(Behaviour, CloseWhileReadingIsHarmless) {
  tree_.Write("big", std::string(1 << 20, 'x'));
  const Inode file = session_.Walk("big");
  for (int round = 0; round < 50; ++round) {
    const FdId open = session_.Open(file.control_fd, 0);
    std::thread reader([&] {
      std::vector<std::byte> buffer(1 << 20);
      const auto size = calls().PRead(open, buffer, 0);
      if (size.ok()) {
        EXPECT_EQ(*size, buffer.size());
      } else {
        EXPECT_EQ(ErrorOf(size), EBADF);
      }
    });
    Must(session_.client().over_socket().Close({open}));
    reader.join();
  }
}

TEST_P(Behaviour, FifoWithoutAWriterOpensAtOnce) {
  tree_.Fifo("pipe");
  session_.Mkdir("d");
  const Inode pipe = session_.Walk("pipe");
  EXPECT_EQ(ErrorOf(calls().OpenAt(pipe.control_fd, 1)), ENXIO) << "nobody reads";
  const gofer::testing::Stopwatch watch;
  const OpenResult reader = Must(calls().OpenAt(pipe.control_fd, 0));
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  ASSERT_TRUE(reader.host_fd.valid());
  EXPECT_TRUE((fcntl(reader.host_fd.get(), F_GETFL) & O_NONBLOCK) != 0);
  Must(calls().RenameAt(root(), "d", root(), "e"));
  const OpenResult writer = Must(calls().OpenAt(pipe.control_fd, 1));
  ASSERT_EQ(write(writer.host_fd.get(), "hi", 2), 2);
  char text[2];
  EXPECT_EQ(read(reader.host_fd.get(), text, 2), 2);
}

TEST_P(Behaviour, FifoHeldByItsIdKeepsItsMeaning) {
  tree_.Fifo("pipe");
  const Inode pipe = session_.Walk("pipe");
  const gofer::UniqueFd host(open(tree_.At("pipe").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  EXPECT_FALSE(host.valid()) << "the server must not be a reader of a pipe that it only walked to";
  EXPECT_EQ(ErrorOf(calls().FStat(pipe.control_fd)), 0);
}

TEST_P(Behaviour, OpenIsOfTheFileThatWasWalkedTo) {
  const Inode file = session_.Create("f", "right");
  tree_.Write("other", "wrong");
  tree_.Unlink("f");
  tree_.Symlink("f", "other");
  EXPECT_EQ(session_.Read(session_.Open(file.control_fd, 0), 5), "right");
}

TEST_P(Behaviour, DirectoryReplacedByASymlinkIsNotFollowed) {
  const TempTree outside;
  outside.Write("secret", "secret");
  tree_.Mkdir("d");
  tree_.Write("d/secret", "own");
  session_.Walk("d/secret");
  tree_.Rename("d", "moved");
  tree_.Symlink("d", outside.path());
  Inode inodes[2];
  const auto walk = calls().Walk(root(), {"d", "secret"}, inodes);
  if (walk.ok()) {
    EXPECT_EQ(walk->status, WalkStatus::kComponentSymlink);
    EXPECT_EQ(walk->count, 1u);
    EXPECT_TRUE(S_ISLNK(inodes[0].stat.mode));
  } else {
    EXPECT_EQ(ErrorOf(walk), ENOTDIR);
  }
  Statx stats[2];
  EXPECT_EQ(Must(calls().WalkStat(root(), {"d", "secret"}, stats)), 1u);
}

TEST_P(Behaviour, CreatedModesAreExact) {
  // The server's umask is 0, whoever launched it (gofer/server sees to that).
  const auto mode_of = [this](const char* name) { return tree_.Stat(name).st_mode & 07777; };
  Must(calls().OpenCreateAt(root(), "f", 0777, kRoot, 2));
  Must(calls().MkdirAt(root(), "d", 01777, kRoot));
  Must(calls().MknodAt(root(), "n", S_IFREG | 0666, kRoot, 0, 0));
  Must(calls().BindAt(root(), "s", SOCK_DGRAM, S_IFSOCK | 0722, kRoot));
  EXPECT_EQ(mode_of("f"), 0777u);
  EXPECT_EQ(mode_of("d"), 01777u);
  EXPECT_EQ(mode_of("n"), 0666u);
  EXPECT_EQ(mode_of("s"), 0722u);
}

TEST_P(Behaviour, ClientKilledInTheMiddleOfAWriteHarmsNobody) {
  gofer::UniqueFd socket = server_.ConnectSocket();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Half a frame, and then it would wait for room; only plain calls here, the parent has threads.
    const SocketHeader header = {.payload_len = 2 << 20, .message = MessageId::kPWrite, .pad = 0};
    static char buffer[4096];
    send(socket.get(), &header, sizeof(header), MSG_NOSIGNAL);
    for (int i = 0; i < 200; ++i) send(socket.get(), buffer, sizeof(buffer), MSG_NOSIGNAL);
    for (;;) pause();
  }
  socket.Reset();
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(ErrorOf(calls().FStat(root())), 0);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(server_.WaitForConnections(1));
  EXPECT_EQ(ErrorOf(calls().FStat(root())), 0);
}

TEST_P(Behaviour, LongestArraysOfIds) {
  const FdId file = session_.Open(session_.Create("f", "").control_fd, 2);
  std::vector<FdId> ids(65535, FdId{12345678});
  Must(calls().Close(ids));
  EXPECT_EQ(ErrorOf(calls().FSync(ids)), EBADF);
  ids.assign(ids.size(), file);
  ids.resize(2000);  // as many real ones as a disk syncs in reasonable time
  EXPECT_EQ(ErrorOf(calls().FSync(ids)), 0);
  ids.resize(65535, file);
  Must(calls().Close(ids));
  EXPECT_EQ(ErrorOf(calls().FStat(file)), EBADF);
}

TEST(HugeDirectory, IsListedOnceEach) {
  constexpr size_t kEntries = 100'000;
  const TempTree tree;
  for (size_t i = 0; i < kEntries; ++i) {
    ASSERT_EQ(mknod(tree.At(absl::StrCat(i)).c_str(), S_IFREG | 0644, 0), 0);
  }
  TestServer server(tree);
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server, via);
    const FdId open = session.Open(session.root(), 0);
    std::set<std::string> names;
    size_t listed = 0;
    for (const Dirent& dirent : session.List(open)) {
      names.insert(dirent.name);
      ++listed;
    }
    EXPECT_EQ(listed, kEntries);
    EXPECT_EQ(names.size(), kEntries);
    // Whatever the count, a reply stays below the largest message and the longest array.
    EXPECT_GT(Must(session->Getdents64(open, INT32_MIN)).size(), 10'000u);
    EXPECT_GT(Must(session->Getdents64(open, INT32_MAX)).size(), 10'000u);
  }
}

TEST_P(Behaviour, EntriesThatVanishAreLeftOut) {
  tree_.Mkdir("d");
  for (int i = 0; i < 500; ++i) tree_.Write(absl::StrCat("d/stable-", i), "");
  const FdId open = session_.Open(session_.Walk("d").control_fd, 0);
  std::atomic<bool> done{false};
  std::thread churn([&] {
    while (!done) {
      for (int i = 0; i < 50; ++i) tree_.Write(absl::StrCat("d/churn-", i), "");
      for (int i = 0; i < 50; ++i) tree_.Unlink(absl::StrCat("d/churn-", i));
    }
  });
  for (int round = 0; round < 10; ++round) {
    std::set<std::string> stable;
    for (const Dirent& dirent : session_.List(open, 4096)) {
      if (dirent.name.rfind("stable-", 0) != 0) continue;
      EXPECT_TRUE(stable.insert(dirent.name).second) << dirent.name << " twice";
    }
    EXPECT_EQ(stable.size(), 500u);
  }
  done = true;
  churn.join();
}

TEST_P(Behaviour, NoOwnerInACreationIsTheServersOwn) {
  const Owner none = {.uid = kNoId, .gid = kNoId};
  const Inode dir = Must(calls().MkdirAt(root(), "d", 0755, none));
  const Inode node = Must(calls().MknodAt(root(), "n", S_IFREG | 0644, none, 0, 0));
  const Inode link = Must(calls().SymlinkAt(root(), "l", "x", none));
  const CreateResult file = Must(calls().OpenCreateAt(root(), "f", 0644, none, 0));
  for (const Inode& inode : {dir, node, link, file.child}) {
    EXPECT_EQ(inode.stat.uid, getuid());
    EXPECT_EQ(inode.stat.gid, getgid());
  }
}

TEST_P(Behaviour, NamesOfAnyBytes) {
  const std::string names[] = {
      std::string(255, 'n'), "new\nline", "\xff\xfe\x80", " ", "...", "\x01"};
  for (const std::string& name : names) {
    const CreateResult file = Must(calls().OpenCreateAt(root(), name, 0644, kRoot, 2));
    EXPECT_TRUE(tree_.Exists(name));
    Inode inode;
    EXPECT_EQ(Must(calls().Walk(root(), {name}, std::span(&inode, 1))).count, 1u);
    EXPECT_EQ(inode.stat.ino, file.child.stat.ino);
  }
  std::set<std::string> listed;
  for (const Dirent& dirent : session_.List(session_.Open(root(), 0))) listed.insert(dirent.name);
  EXPECT_EQ(listed, std::set<std::string>(std::begin(names), std::end(names)));
  EXPECT_EQ(ErrorOf(calls().MkdirAt(root(), std::string(256, 'n'), 0755, kRoot)), ENAMETOOLONG);
}

TEST_P(Behaviour, SizesAndOffsetsBeyond32Bits) {
  const Inode file = session_.Create("f", "");
  const FdId open = session_.Open(file.control_fd, 2);
  constexpr uint64_t kFar = uint64_t{1} << 40;
  const SetStatReq truncate = {.fd = file.control_fd,
                               .mask = 0x200,
                               .mode = 0,
                               .uid = 0,
                               .gid = 0,
                               .size = kFar,
                               .atime = {},
                               .mtime = {}};
  EXPECT_EQ(Must(calls().SetStat(truncate)).failure_mask, 0u);
  EXPECT_EQ(Must(calls().FStat(file.control_fd)).size, kFar);
  EXPECT_EQ(session_.Write(open, "far", (uint64_t{1} << 33) + 5), 3u);
  EXPECT_EQ(session_.Read(open, 3, (uint64_t{1} << 33) + 5), "far");
  EXPECT_EQ(session_.Read(open, 10, kFar - 4), std::string(4, '\0'));
  const std::byte byte[1] = {};
  EXPECT_EQ(ErrorOf(calls().PWrite(open, byte, uint64_t{1} << 63)), EINVAL)
      << "negative when signed";
  EXPECT_EQ(ErrorOf(calls().PWrite(open, byte, UINT64_MAX)), EINVAL);
}

}  // namespace
}  // namespace lisafs
