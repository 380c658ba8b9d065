// `gofer serve` as a process: its flags, its ways in, its end, and what confines it.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

using testing::GoferProcess;
using testing::GoferStart;
using testing::SocketPair;

class ServeTest : public ::testing::Test {
 protected:
  ServeTest() {
    tree_.Mkdir("sub");
    tree_.Write("file", "content");
    tree_.Write("sub/below", "below");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  std::unique_ptr<GoferProcess> Run(std::vector<std::string> arguments, std::map<int, int> fds = {},
                                    std::vector<std::string> environment = {}) {
    return std::make_unique<GoferProcess>(GoferStart{.name = "gofer",
                                                     .arguments = std::move(arguments),
                                                     .fds = std::move(fds),
                                                     .environment = std::move(environment)});
  }
  std::string Root() const { return absl::StrCat("--root=", tree_.path()); }

  // Status and stderr of one that ends by itself.
  std::string Outcome(std::vector<std::string> arguments, std::map<int, int> fds = {}) {
    const auto gofer = Run(std::move(arguments), std::move(fds));
    const int status = gofer->Wait();
    return absl::StrCat(status, " ", gofer->Stdout(), gofer->Stderr());
  }

  UniqueFd ConnectTo(const std::string& path) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0)
      return UniqueFd();
    return socket;
  }

  static bool CanRead(lisafs::Client& client, absl::string_view name) {
    const auto mount = client.Mount();
    if (!mount.ok()) return false;
    lisafs::Inode inode;
    const auto walked = client.Walk(mount->root.control_fd, {name}, std::span(&inode, 1));
    return walked.ok() && walked->count == 1 && client.OpenAt(inode.control_fd, O_RDONLY).ok();
  }
  static Errno MkdirError(lisafs::Client& client) {
    const auto mount = client.Mount();
    if (!mount.ok()) return mount.error();
    const auto made = client.MkdirAt(mount->root.control_fd, "new", 0755, {});
    return made.ok() ? Errno(EEXIST) : made.error();
  }

  const testing::TempTree tree_;
};

TEST_F(ServeTest, ServesUntilAllHandedDownClientsAreGone) {
  SocketPair all = testing::StreamPair(), below = testing::StreamPair();
  testing::Pipe ready = testing::MakePipe();
  const auto gofer = Run({"serve", Root(), "--lisafs_fd=7,8:/sub:ro", "--ready-fd=9"},
                         {{7, all.theirs.get()}, {8, below.theirs.get()}, {9, ready.write.get()}});
  ready.write.Reset();
  EXPECT_EQ(testing::ReadPipe(ready.read), "\n") << "one newline, then closed";
  auto first = std::make_unique<lisafs::Client>(std::move(all.ours));
  auto second = std::make_unique<lisafs::Client>(std::move(below.ours));
  EXPECT_TRUE(CanRead(*first, "file"));
  EXPECT_TRUE(CanRead(*second, "below"));
  EXPECT_EQ(MkdirError(*second), Errno(EROFS)) << "read-only by its own suffix";
  EXPECT_EQ(MkdirError(*first), Errno(EEXIST));
  first.reset();
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_TRUE(gofer->Running());
  EXPECT_TRUE(CanRead(*second, "below"));
  second.reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_EQ(gofer->Stdout(), "");
}

TEST_F(ServeTest, ListensAndServesOneMountPerConnection) {
  const testing::TempTree run;
  const std::string socket = run.At("gofer.sock");
  testing::Pipe ready = testing::MakePipe();
  auto gofer = Run({"serve", Root(), absl::StrCat("--lisafs_socket=", socket), "--ready_fd=9"},
                   {{9, ready.write.get()}});
  ready.write.Reset();
  ASSERT_EQ(testing::ReadPipe(ready.read), "\n") << gofer->Stderr();
  EXPECT_EQ(run.Stat("gofer.sock").st_mode, S_IFSOCK | 0600u);
  for (int i = 0; i < 3; ++i) {
    lisafs::Client client(ConnectTo(socket));
    EXPECT_TRUE(CanRead(client, "file"));
  }
  {
    lisafs::Client one(ConnectTo(socket)), other(ConnectTo(socket));
    EXPECT_TRUE(CanRead(one, "file"));
    EXPECT_TRUE(CanRead(other, "file"));
  }
  EXPECT_TRUE(gofer->Running()) << "it goes on without clients";
  EXPECT_EQ(Outcome({"serve", Root(), absl::StrCat("--lisafs_socket=", socket)}),
            absl::StrCat("1 gofer: socket ", socket, ": EADDRINUSE (Address already in use)\n"));
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();

  ready = testing::MakePipe();
  gofer =
      Run({"serve", Root(), "--lisafs_socket", absl::StrCat(socket, ":/sub:ro"), "--ready_fd=9"},
          {{9, ready.write.get()}});
  ready.write.Reset();
  ASSERT_EQ(testing::ReadPipe(ready.read), "\n")
      << "the socket file that the first one left is replaced";
  lisafs::Client client(ConnectTo(socket));
  EXPECT_TRUE(CanRead(client, "below"));
  EXPECT_EQ(MkdirError(client), Errno(EROFS));
}

TEST_F(ServeTest, PathsMayBeRelative) {
  const testing::TempTree run;
  const auto relative = [](const std::string& path) {
    return std::filesystem::relative(path).string();
  };
  testing::Pipe ready = testing::MakePipe();
  const auto gofer =
      Run({"serve", absl::StrCat("--root=", relative(tree_.path())),
           absl::StrCat("--pid_file=", relative(run.At("pid"))),
           absl::StrCat("--lisafs_socket=", relative(run.At("a.sock"))),
           absl::StrCat("--lisafs_socket=", relative(run.At("b.sock"))), "--ready_fd=9"},
          {{9, ready.write.get()}});
  ready.write.Reset();
  ASSERT_EQ(testing::ReadPipe(ready.read), "\n") << gofer->Stderr();
  EXPECT_TRUE(run.Exists("pid"));
  for (const char* const socket : {"a.sock", "b.sock"}) {
    lisafs::Client client(ConnectTo(run.At(socket)));
    EXPECT_TRUE(CanRead(client, "file")) << socket;
  }
}

TEST_F(ServeTest, AForeignFileIsNotReplacedByASocket) {
  const testing::TempTree run;
  run.Write("file", "mine");
  EXPECT_EQ(
      Outcome({"serve", Root(), absl::StrCat("--lisafs_socket=", run.At("file"))}),
      absl::StrCat("1 gofer: socket ", run.At("file"), ": EADDRINUSE (Address already in use)\n"));
  EXPECT_EQ(run.Read("file"), "mine");
}

TEST_F(ServeTest, EndsBySignalWithinASecondAndFinishesRequestsInFlight) {
  SocketPair sockets = testing::StreamPair();
  const auto gofer = Run({"serve", Root(), "--lisafs_fd=7"}, {{7, sockets.theirs.get()}});
  sockets.theirs.Reset();
  lisafs::Client client(std::move(sockets.ours));
  ASSERT_TRUE(CanRead(client, "file"));
  ASSERT_TRUE(client.OpenChannel().ok());
  const testing::Stopwatch watch;
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
}

TEST_F(ServeTest, ReadonlyHoldsForTheKernelToo) {
  SocketPair sockets = testing::StreamPair();
  const auto gofer =
      Run({"serve", Root(), "--readonly", "--lisafs_fd=7"}, {{7, sockets.theirs.get()}});
  lisafs::Client client(std::move(sockets.ours));
  EXPECT_EQ(MkdirError(client), Errno(EROFS));
  const int root = open(absl::StrCat("/proc/", gofer->pid(), "/root").c_str(),
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(root, 0);
  EXPECT_EQ(mkdirat(root, "new", 0755), -1);
  EXPECT_EQ(errno, EROFS);
  close(root);
}

TEST_F(ServeTest, WhatIsInForceByDefault) {
  SocketPair sockets = testing::StreamPair();
  const UniqueFd leaked(open("/etc", O_RDONLY | O_CLOEXEC));
  const auto gofer =
      Run({"serve", Root(), "--lisafs_fd=7"}, {{7, sockets.theirs.get()}, {30, leaked.get()}});
  lisafs::Client client(std::move(sockets.ours));
  ASSERT_TRUE(CanRead(client, "file"));
  EXPECT_EQ(gofer->Status("CapEff"), "000000000000001b") << "CHOWN, DAC_OVERRIDE, FOWNER, FSETID";
  EXPECT_EQ(gofer->Status("CapBnd"), "000000000000001b");
  EXPECT_EQ(gofer->Status("NoNewPrivs"), "1");
#ifndef GOFER_SANITIZER
  EXPECT_EQ(gofer->Status("Seccomp"), "2");
#endif
  for (const int fd : gofer->OpenFds()) EXPECT_NE(fd, 30) << "what was leaked to it is closed";
  const std::string proc = absl::StrCat("/proc/", gofer->pid());
  struct stat root, served;
  ASSERT_EQ(stat(absl::StrCat(proc, "/root").c_str(), &root), 0);
  ASSERT_EQ(stat(tree_.path().c_str(), &served), 0);
  EXPECT_EQ(root.st_ino, served.st_ino) << "the served tree is all that there is";
  for (const char* const name : {"mnt", "ipc", "net", "uts"}) {
    char ours[64] = {}, theirs[64] = {};
    ASSERT_GT(readlink(absl::StrCat("/proc/self/ns/", name).c_str(), ours, sizeof(ours) - 1), 0);
    ASSERT_GT(readlink(absl::StrCat(proc, "/ns/", name).c_str(), theirs, sizeof(theirs) - 1), 0);
    EXPECT_STRNE(ours, theirs) << name;
  }
}

TEST_F(ServeTest, LooserSandboxesStillLimitCallsAndCapabilities) {
  for (const char* const mode : {"--sandbox=chroot", "--sandbox=none"}) {
    SocketPair sockets = testing::StreamPair();
    const auto gofer = Run({"serve", Root(), "--lisafs_fd=7", mode}, {{7, sockets.theirs.get()}});
    lisafs::Client client(std::move(sockets.ours));
    EXPECT_TRUE(CanRead(client, "file")) << mode << gofer->Stderr();
    EXPECT_EQ(gofer->Status("CapEff"), "000000000000001b") << mode;
    EXPECT_EQ(gofer->Status("NoNewPrivs"), "1") << mode;
    if (absl::string_view(mode) == "--sandbox=none") {
      EXPECT_NE(gofer->Stderr().find("--sandbox=none: the process sees all"), std::string::npos);
    }
  }
}

TEST_F(ServeTest, TellsTheServiceManagerToo) {
  const testing::TempTree run;
  const UniqueFd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  run.At("notify").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(manager.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0);
  SocketPair sockets = testing::StreamPair();
  const auto gofer =
      Run({"serve", Root(), "--lisafs_fd=7", absl::StrCat("--pid_file=", run.At("pid"))},
          {{7, sockets.theirs.get()}}, {absl::StrCat("NOTIFY_SOCKET=", run.At("notify"))});
  char text[32] = {};
  struct pollfd readable = {.fd = manager.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&readable, 1, 60'000), 1) << gofer->Stderr();
  EXPECT_EQ(recv(manager.get(), text, sizeof(text), 0), 7);
  EXPECT_STREQ(text, "READY=1");
  EXPECT_EQ(run.Read("pid"), absl::StrCat(gofer->pid(), "\n"));
}

TEST_F(ServeTest, JsonLogIsOneObjectALine) {
  SocketPair sockets = testing::StreamPair();
  const auto gofer =
      Run({"serve", Root(), "--lisafs_fd=7", "--log_format=json"}, {{7, sockets.theirs.get()}});
  sockets.theirs.Reset();
  sockets.ours.Reset();
  EXPECT_EQ(gofer->Wait(), 0);
  const std::string log = gofer->Stderr();
  EXPECT_FALSE(log.empty());
  for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    EXPECT_EQ(line.substr(0, 9), "{\"time\":\"") << line;
    EXPECT_EQ(line.substr(line.size() - 2), "\"}") << line;
  }
}

TEST_F(ServeTest, DescriptorLimit) {
  SocketPair sockets = testing::StreamPair();
  const auto gofer =
      Run({"serve", Root(), "--lisafs_fd=7", "--rlimit_nofile=2000"}, {{7, sockets.theirs.get()}});
  lisafs::Client client(std::move(sockets.ours));
  ASSERT_TRUE(CanRead(client, "file"));
  std::string limits(4096, '\0');
  const UniqueFd file(
      open(absl::StrCat("/proc/", gofer->pid(), "/limits").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_GT(read(file.get(), limits.data(), limits.size()), 0);
  EXPECT_NE(limits.find("Max open files            2000                 2000"), std::string::npos)
      << limits;
}

TEST_F(ServeTest, WrongUseIsOneLineAndStatusTwo) {
  SocketPair sockets = testing::StreamPair();
  const std::map<int, int> fd7 = {{7, sockets.theirs.get()}};
  EXPECT_EQ(Outcome({"serve"}), "2 gofer: --root is missing: the directory to serve\n");
  EXPECT_EQ(Outcome({"serve", Root()}),
            "2 gofer: no way in: give --lisafs_fd, --lisafs_socket, --vhost_user_socket, "
            "--vhost_user_fd, --fuse_mountpoint or --fuse_fd\n");
  EXPECT_EQ(Outcome({"serve", "--colour=blue"}),
            "2 gofer: unknown flag --colour; see gofer --help\n");
  EXPECT_EQ(Outcome({"serve", "directory"}),
            "2 gofer: argument \"directory\" is no flag; see gofer --help\n");
  EXPECT_EQ(Outcome({"serve", "--root"}), "2 gofer: --root needs a value\n");
  EXPECT_EQ(Outcome({"serve", "--readonly=maybe"}), "2 gofer: --readonly=maybe: is not a bool\n");
  EXPECT_EQ(Outcome({"serve", "--v=1"}), "2 gofer: unknown flag --v; see gofer --help\n")
      << "a library's flag";
  EXPECT_EQ(Outcome({"serve", Root(), "--lisafs_fd=7", "--max_connections=1025"}, fd7),
            "2 gofer: --max_connections=1025: is not from 1 to 1024 (a checkpoint can hold no "
            "more); give one of these, or 0 for the default\n");
  for (const auto& [flag, range] :
       {std::pair("--max_nodes=2000001", "1 to 2000000"), std::pair("--max_channels=5", "1 to 4"),
        std::pair("--max_queues=1", "2 to 256"), std::pair("--max_queues=257", "2 to 256"),
        std::pair("--max_ring_entries=32769", "1 to 32768"),
        std::pair("--max_memory_regions=510", "1 to 509"),
        std::pair("--max_requests=8193", "1 to 8192"),
        std::pair("--max_mount_threads=65", "1 to 64"),
        std::pair("--max_control_clients=65", "1 to 64"),
        std::pair("--control_request_seconds=3601", "1 to 3600"),
        std::pair("--log_records_per_second=1000001", "1 to 1000000"),
        std::pair("--max_memory_bytes=4095", "4096 to 1099511627776"),
        std::pair("--max_memory_bytes=1099511627777", "4096 to 1099511627776")}) {
    const std::string outcome = Outcome({"serve", Root(), "--lisafs_fd=7", flag}, fd7);
    EXPECT_TRUE(
        absl::StartsWith(outcome, absl::StrCat("2 gofer: ", flag, ": is not from ", range, " (")))
        << outcome;
  }
  EXPECT_EQ(Outcome({"serve", Root(), "--lisafs_fd=7", "--sandbox=soft"}, fd7),
            "2 gofer: --sandbox=soft: is not one of namespace, chroot, none\n");
  EXPECT_EQ(Outcome({"serve", Root(), "--lisafs_fd=77"}),
            "2 gofer: --lisafs_fd=77: EBADF (Bad file descriptor); hand down one end of a "
            "connected unix stream "
            "socket under this number\n");
  EXPECT_EQ(Outcome({"serve", Root(), "--lisafs_fd=7", "--ready_fd=77"}, fd7),
            "2 gofer: --ready_fd=77: is not an open descriptor\n");
  EXPECT_EQ(Outcome({"serve", Root(), "--lisafs_fd=7", "--cache=warm"}, fd7),
            "2 gofer: --cache=warm: is not one of never, metadata, auto, always\n");
  EXPECT_EQ(Outcome({"serve", Root(), "--lisafs_fd=7", "--translate-uid=map,0,1,1",
                     "--translate-uid=map,0,5,1"},
                    fd7),
            "2 gofer: --translate-uid: rule \"map,0,5,1\": overlaps an earlier rule for ids of "
            "the guest\n");
  EXPECT_EQ(Outcome({"restart"}), "2 gofer: unknown command \"restart\"; see gofer --help\n");
  EXPECT_EQ(Outcome({}).substr(0, 15), "2 usage: gofer ");
}

TEST_F(ServeTest, WhatGoesWrongAtTheStart) {
  SocketPair sockets = testing::StreamPair();
  const std::map<int, int> fd7 = {{7, sockets.theirs.get()}};
  tree_.Symlink("link", "sub");
  EXPECT_EQ(Outcome({"serve", "--root=/none", "--lisafs_fd=7"}, fd7),
            "1 gofer: --root=/none: ENOENT (No such file or directory)\n");
  EXPECT_EQ(Outcome({"serve", absl::StrCat("--root=", tree_.At("file")), "--lisafs_fd=7"}, fd7),
            absl::StrCat("2 gofer: --root=", tree_.At("file"), ": is not a directory\n"));
  EXPECT_EQ(Outcome({"serve", absl::StrCat("--root=", tree_.At("link")), "--lisafs_fd=7"}, fd7),
            absl::StrCat("2 gofer: --root=", tree_.At("link"),
                         ": is a symbolic link; give the directory it leads to\n"));
}

TEST_F(ServeTest, AboutItself) {
  EXPECT_EQ(Outcome({"--version"}).substr(0, 8), "0 gofer ");
  const std::string help = Outcome({"serve", "--help"});
  EXPECT_EQ(help.substr(0, 15), "0 usage: gofer ");
  for (const char* const flag :
       {"--root=", "--lisafs_fd=", "--sandbox=namespace", "--ready_fd=-1"}) {
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
  }
  EXPECT_EQ(Outcome({"capabilities", "--json"}).substr(0, 14), "0 {\"version\":\"");
  EXPECT_NE(Outcome({"capabilities"}).find("ways_in: lisafs_fd, lisafs_socket, "),
            std::string::npos);
}

}  // namespace
}  // namespace gofer::server
