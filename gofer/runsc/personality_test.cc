// The personality as a process: started as runsc starts its gofer, with its command lines,
// descriptors and namespaces, and a LISAFS client in the sandbox's place.

#include "gofer/runsc/personality.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

namespace gofer::runsc {
namespace {

using testing::GoferProcess;
using testing::Pipe;
using testing::SocketPair;

constexpr char kV22[] =
    "--root=/r --network=none --ignore-cgroups=true --debug-log-fd=3 gofer --bundle BUNDLE "
    "--spec-fd=4 --mounts-fd=5 "
    "--io-fds=6 --io-fds=7";
constexpr char kV24[] =
    "--platform=ptrace --network=none --debug-log-fd=3 gofer --bundle BUNDLE "
    "--gofer-mount-confs=lisafs:none,lisafs:none --spec-fd=4 --mounts-fd=5 --io-fds=6 --io-fds=7";
constexpr char kV26[] =
    "--network=none --debug-log-fd=3 gofer --bundle BUNDLE "
    "--gofer-mount-confs=lisafs:none,lisafs:none --spec-fd=4 "
    "--mounts-fd=5 --rpc-fd=8 --io-fds=6,7 --sync-chroot-fd=9 cid";

class PersonalityTest : public ::testing::Test {
 protected:
  PersonalityTest() {
    bundle_.Mkdir("rootfs");
    bundle_.Write("rootfs/hello", "hello from the root");
    host_.Write("file", "data");
    SetMountOptions("\"rbind\"");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  void SetMountOptions(absl::string_view options, absl::string_view more = "") {
    bundle_.Write(
        "config.json",
        absl::StrCat(
            R"({"process":{"cwd":"/"},"root":{"path":"rootfs"},"mounts":[)"
            R"({"destination":"/proc","type":"proc"},{"destination":"/data","type":"bind","source":")",
            host_.path(), R"(","options":[)", options, "]}]", more, "}"));
  }

  // Starts it and takes the place of runsc and the sandbox.
  void Start(absl::string_view command_line, std::map<int, int> more_fds = {}) {
    std::vector<std::string> arguments = absl::StrSplit(command_line, ' ', absl::SkipEmpty());
    std::replace(arguments.begin(), arguments.end(), std::string("BUNDLE"), bundle_.path());
    const UniqueFd log(
        open(host_.At("log").c_str(), O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600));
    const UniqueFd spec(open(bundle_.At("config.json").c_str(), O_RDONLY | O_CLOEXEC));
    // As a process before us may have left it.
    PCHECK(lseek(spec.get(), 0, SEEK_END) > 0);
    Pipe mounts = testing::MakePipe();
    SocketPair root = testing::StreamPair();
    SocketPair data = testing::StreamPair();
    mounts_ = std::move(mounts.read);
    root_socket_ = std::move(root.ours);
    data_socket_ = std::move(data.ours);
    testing::GoferStart start = {.name = "runsc-gofer",
                                 .arguments = arguments,
                                 .fds = {{3, log.get()},
                                         {4, spec.get()},
                                         {5, mounts.write.get()},
                                         {6, root.theirs.get()},
                                         {7, data.theirs.get()},
                                         {40, spec.get()}},  // leaked by somebody
                                 .namespaces = true,
                                 .user_namespace = user_namespace_,
                                 .environment = {}};
    start.fds.insert(more_fds.begin(), more_fds.end());
    gofer_ = std::make_unique<GoferProcess>(start);
  }

  void Connect() {
    root_ = std::make_unique<lisafs::Client>(std::move(root_socket_));
    data_ = std::make_unique<lisafs::Client>(std::move(data_socket_));
  }
  void HangUp() {
    root_.reset();
    data_.reset();
  }

  std::string ResolvedMounts() {
    return absl::StrCat(
        R"([{"destination":"/proc","type":"proc"},{"destination":"/data","type":"bind","source":")",
        host_.path(), R"(","options":["rbind"]}])");
  }
  std::string Log() { return host_.Read("log"); }

  // The content of a file in the root of a connection.
  static std::string ReadFile(lisafs::Client& client, absl::string_view name) {
    const auto mount = client.Mount();
    if (!mount.ok()) return mount.error().ToString();
    lisafs::Inode inode;
    const auto walked = client.Walk(mount->root.control_fd, {name}, std::span(&inode, 1));
    if (!walked.ok() || walked->count != 1) return "(no such file)";
    const auto opened = client.OpenAt(inode.control_fd, O_RDONLY);
    if (!opened.ok()) return opened.error().ToString();
    std::string text(100, '\0');
    const auto size = client.PRead(opened->fd, std::as_writable_bytes(std::span(text)), 0);
    if (!size.ok()) return size.error().ToString();
    return text.substr(0, *size);
  }

  const testing::TempTree bundle_;
  const testing::TempTree host_;
  bool user_namespace_ = false;
  UniqueFd mounts_, root_socket_, data_socket_;
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<lisafs::Client> root_, data_;
};

TEST_F(PersonalityTest, V22FromStartToEnd) {
  Start(kV22);
  EXPECT_EQ(testing::ReadPipe(mounts_), ResolvedMounts()) << "ends: the sandbox waits for that";
  Connect();
  EXPECT_EQ(ReadFile(*root_, "hello"), "hello from the root");
  EXPECT_EQ(ReadFile(*data_, "file"), "data");
  const auto mount = root_->Mount();
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(mount->supported.size(), 28u);
  EXPECT_FALSE(mount->host_fd.valid());

  data_.reset();
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_TRUE(gofer_->Running()) << "an application may unmount what it likes";
  EXPECT_EQ(ReadFile(*root_, "hello"), "hello from the root");
  root_.reset();
  EXPECT_EQ(gofer_->Wait(), 0) << Log();
  EXPECT_EQ(gofer_->Stdout(), "");
  EXPECT_EQ(gofer_->Stderr(), "") << "stderr is the debug log";
  EXPECT_NE(Log().find("serving /data on descriptor 7"), std::string::npos) << Log();
}

TEST_F(PersonalityTest, V24DonatesMountPointsWithDirectfs) {
  Start(kV24);
  EXPECT_EQ(testing::ReadPipe(mounts_), ResolvedMounts());
  Connect();
  const auto mount = data_->Mount();
  ASSERT_TRUE(mount.ok()) << mount.error().ToString() << Log();
  EXPECT_EQ(mount->supported.size(), 28u);
  ASSERT_TRUE(mount->host_fd.valid());
  EXPECT_EQ(faccessat(mount->host_fd.get(), "file", F_OK, 0), 0);
  HangUp();
  EXPECT_EQ(gofer_->Wait(), 0) << Log();

  Start(absl::StrCat("--directfs=false ", kV24));
  Connect();
  const auto plain = data_->Mount();
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->host_fd.valid());
}

TEST_F(PersonalityTest, V26WaitsForRunscAndSpeaksTheNewestProtocol) {
  SocketPair sync = testing::StreamPair();
  SocketPair rpc = testing::StreamPair();
  Start(kV26, {{8, rpc.theirs.get()}, {9, sync.theirs.get()}});
  rpc.theirs.Reset();
  EXPECT_EQ(testing::ReadPipe(mounts_, absl::Milliseconds(100)), "(nothing yet)")
      << "runsc is not ready";
  sync.ours.Reset();
  EXPECT_EQ(testing::ReadPipe(mounts_), ResolvedMounts());
  Connect();
  const auto mount = root_->Mount();
  ASSERT_TRUE(mount.ok()) << Log();
  EXPECT_EQ(mount->supported.size(), 32u);
  EXPECT_TRUE(mount->host_fd.valid());
  EXPECT_EQ(testing::ReadPipe(rpc.ours), "") << "closed, and never used";
  HangUp();
  EXPECT_EQ(gofer_->Wait(), 0) << Log();
}

TEST_F(PersonalityTest, AByteOnASyncDescriptorIsFatal) {
  SocketPair sync = testing::StreamPair();
  SocketPair rpc = testing::StreamPair();
  Start(kV26, {{8, rpc.theirs.get()}, {9, sync.theirs.get()}});
  ASSERT_EQ(write(sync.ours.get(), "x", 1), 1);
  EXPECT_EQ(gofer_->Wait(), 128);
}

TEST_F(PersonalityTest, ReadOnlyConnections) {
  SetMountOptions(R"("rbind","ro")");
  Start(kV22);
  Connect();
  const auto data = data_->Mount();
  const auto root = root_->Mount();
  ASSERT_TRUE(data.ok() && root.ok());
  EXPECT_EQ(data_->MkdirAt(data->root.control_fd, "new", 0755, {}).error(), Errno(EROFS));
  EXPECT_TRUE(root_->MkdirAt(root->root.control_fd, "new", 0755, {}).ok());
  EXPECT_TRUE(bundle_.Exists("rootfs/new"));
  HangUp();
  EXPECT_EQ(gofer_->Wait(), 0);

  Start(absl::StrCat("--overlay2=all:memory ", kV22));
  Connect();
  const auto covered = root_->Mount();
  ASSERT_TRUE(covered.ok());
  EXPECT_EQ(root_->MkdirAt(covered->root.control_fd, "new2", 0755, {}).error(), Errno(EROFS));
}

TEST_F(PersonalityTest, WhatIsInForceWhileItServes) {
  Start(kV22);
  Connect();
  ASSERT_TRUE(root_->Mount().ok()) << Log();
  ASSERT_TRUE(root_->OpenChannel().ok()) << "so that there is a channel's thread too";
  EXPECT_EQ(gofer_->Status("CapEff"), "000000000000001b") << "CHOWN, DAC_OVERRIDE, FOWNER, FSETID";
  EXPECT_EQ(gofer_->Status("CapPrm"), "000000000000001b");
  EXPECT_EQ(gofer_->Status("CapBnd"), "000000000000001b");
  EXPECT_EQ(gofer_->Status("CapInh"), "0000000000000000");
  EXPECT_EQ(gofer_->Status("CapAmb"), "0000000000000000");
  EXPECT_EQ(gofer_->Status("NoNewPrivs"), "1");
#ifndef GOFER_SANITIZER
  EXPECT_EQ(gofer_->Status("Seccomp"), "2");
#endif
  EXPECT_EQ(gofer_->Status("Umask"), "0000");
  EXPECT_EQ(gofer_->Status("Groups"), "");
  EXPECT_NE(std::stoul(gofer_->Status("SigIgn"), nullptr, 16) & 1u << (SIGCHLD - 1), 0u)
      << "process 1 reaps";
  char link[256] = {};
  ASSERT_GT(readlink(absl::StrCat("/proc/", gofer_->pid(), "/cwd").c_str(), link, sizeof(link) - 1),
            0);
  EXPECT_STREQ(link, "/");
  const std::vector<int> fds = gofer_->OpenFds();
  EXPECT_EQ(std::count(fds.begin(), fds.end(), 40), 0) << "what somebody leaked is closed";
}

TEST_F(PersonalityTest, PolicyAllowsHostSockets) {
  SocketPair sync = testing::StreamPair();
  SocketPair rpc = testing::StreamPair();
  sync.ours.Reset();
  Start(absl::StrCat("--host-uds=all ", kV26), {{8, rpc.theirs.get()}, {9, sync.theirs.get()}});
  Connect();
  const auto mount = data_->Mount();
  ASSERT_TRUE(mount.ok()) << Log();
  EXPECT_EQ(gofer_->Status("CapEff"), "00000000000000db") << "and SETUID, SETGID";
  const auto bound = data_->BindAt(mount->root.control_fd, "socket", SOCK_STREAM, 0777, {});
  ASSERT_TRUE(bound.ok()) << bound.error().ToString() << Log();
  EXPECT_TRUE(S_ISSOCK(host_.Stat("socket").st_mode));
  ASSERT_TRUE(data_->Listen(bound->fd, 5).ok());
  const auto connected =
      data_->ConnectWithCreds(bound->child.control_fd, SOCK_STREAM, {.uid = 1234, .gid = 2345});
  ASSERT_TRUE(connected.ok()) << connected.error().ToString() << Log();
  const auto accepted = data_->Accept(bound->fd);
  ASSERT_TRUE(accepted.ok()) << accepted.error().ToString();
  struct ucred peer = {};
  socklen_t size = sizeof(peer);
  ASSERT_EQ(getsockopt(accepted->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
  EXPECT_EQ(peer.uid, 1234u);
  EXPECT_EQ(peer.gid, 2345u);
  EXPECT_TRUE(data_->Connect(bound->child.control_fd, SOCK_STREAM).ok());
  HangUp();
  EXPECT_EQ(gofer_->Wait(), 0) << Log();
}

// Every kind of call once under the filter, over the socket and over a channel: one that the filter
// does not know would end the process.
TEST_F(PersonalityTest, TheFilterAllowsAllThatServingNeeds) {
  SocketPair sync = testing::StreamPair();
  SocketPair rpc = testing::StreamPair();
  sync.ours.Reset();
  Start(kV26, {{8, rpc.theirs.get()}, {9, sync.theirs.get()}});
  Connect();
  const auto mount = data_->Mount();
  ASSERT_TRUE(mount.ok()) << Log();
  const auto channel = data_->OpenChannel();
  ASSERT_TRUE(channel.ok()) << Log();
  int round = 0;
  for (const lisafs::Calls& calls : {data_->over_socket(), data_->over_channel(*channel)}) {
    const std::string name = absl::StrCat("r", round++);
    const auto made = calls.MkdirAt(mount->root.control_fd, name, 0755, {.uid = 1, .gid = 2});
    ASSERT_TRUE(made.ok()) << Log();
    const lisafs::FdId dir = made->control_fd;
    const auto file = calls.OpenCreateAt(dir, "f", 0644, {.uid = 1, .gid = 2}, O_RDWR);
    ASSERT_TRUE(file.ok()) << Log();
    const std::string text(100'000, 'x');
    EXPECT_TRUE(calls.PWrite(file->fd, std::as_bytes(std::span(text)), 0).ok());
    std::string back(100'000, ' ');
    EXPECT_TRUE(calls.PRead(file->fd, std::as_writable_bytes(std::span(back)), 0).ok());
    EXPECT_EQ(back, text);
    EXPECT_TRUE(calls.FSync({file->fd}).ok());
    EXPECT_TRUE(calls.FAllocate(file->fd, 0, 0, 200'000).ok());
    const lisafs::SetStatReq change = {.fd = file->child.control_fd,
                                       .mask = 0x2 | 0x8 | 0x10 | 0x20 | 0x40 | 0x200,
                                       .mode = 0600,
                                       .uid = 3,
                                       .gid = 4,
                                       .size = 10,
                                       .atime = {.sec = 1, .nsec = 2},
                                       .mtime = {.sec = 3, .nsec = 4}};
    const auto changed = calls.SetStat(change);
    ASSERT_TRUE(changed.ok());
    EXPECT_EQ(changed->failure_mask, 0u);
    EXPECT_TRUE(calls.FStat(file->child.control_fd).ok());
    EXPECT_TRUE(calls.FStatFS(dir).ok());
    EXPECT_TRUE(calls.SymlinkAt(dir, "s", "f", {}).ok());
    lisafs::Inode link;
    ASSERT_TRUE(calls.Walk(dir, {"s"}, std::span(&link, 1)).ok());
    EXPECT_EQ(*calls.ReadLinkAt(link.control_fd), "f");
    EXPECT_TRUE(calls.LinkAt(dir, file->child.control_fd, "l").ok());
    EXPECT_TRUE(calls.MknodAt(dir, "n", S_IFREG | 0644, {}, 0, 0).ok());
    EXPECT_TRUE(calls.MknodAt(dir, "w", S_IFCHR, {}, 0, 0).ok()) << "a whiteout";
    lisafs::Statx stats[2];
    EXPECT_TRUE(calls.WalkStat(mount->root.control_fd, {name, "f"}, stats).ok());
    EXPECT_TRUE(calls.RenameAt(dir, "l", dir, "l1").ok());
    EXPECT_TRUE(calls.RenameAt2(dir, "l1", dir, "l2", RENAME_NOREPLACE).ok());
    EXPECT_TRUE(calls.FSetXattr(file->child.control_fd, "user.a", "b", 0).ok());
    EXPECT_EQ(*calls.FGetXattr(file->child.control_fd, "user.a", 10), "b");
    EXPECT_TRUE(calls.FListXattr(file->child.control_fd, 100).ok());
    EXPECT_TRUE(calls.FRemoveXattr(file->child.control_fd, "user.a").ok());
    const auto listing = calls.OpenAt(dir, O_RDONLY);
    ASSERT_TRUE(listing.ok());
    EXPECT_TRUE(calls.Getdents64(listing->fd, -4096).ok());
    EXPECT_TRUE(calls.Getdents64(listing->fd, -4096).ok()) << "and again from the start";
    EXPECT_TRUE(calls.UnlinkAt(dir, "l2", 0).ok());
    EXPECT_TRUE(calls.Close({file->fd, listing->fd}).ok());
  }
  HangUp();
  EXPECT_EQ(gofer_->Wait(), 0) << Log();
  const struct stat attr = host_.Stat("r0/f");
  EXPECT_EQ(attr.st_uid, 3u);
  EXPECT_EQ(attr.st_mode & 07777, 0600u);
  EXPECT_EQ(attr.st_size, 10);
}

TEST_F(PersonalityTest, EndsBySignalToo) {
  Start(kV22);
  Connect();
  ASSERT_TRUE(root_->Mount().ok());
  const testing::Stopwatch watch;
  gofer_->Signal(SIGTERM);  // as process 1 it would not notice without a handler of its own
  EXPECT_EQ(gofer_->Wait(), 0) << Log();
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
}

TEST_F(PersonalityTest, InAUserNamespaceItWaitsForItsIds) {
  user_namespace_ = true;
  SocketPair sync = testing::StreamPair();
  Start(absl::StrCat(kV22, " --sync-userns-fd=10"), {{10, sync.theirs.get()}});
  sync.theirs.Reset();
  EXPECT_EQ(testing::ReadPipe(mounts_, absl::Milliseconds(100)), "(nothing yet)");
  gofer_->MapIds();
  sync.ours.Reset();
  EXPECT_EQ(testing::ReadPipe(mounts_), ResolvedMounts());
  Connect();
  EXPECT_EQ(ReadFile(*data_, "file"), "data") << Log();
  EXPECT_EQ(gofer_->Status("CapEff"), "000000000000001b");
  EXPECT_EQ(gofer_->Status("Uid"), "0\t0\t0\t0");
  const auto mount = root_->Mount();
  ASSERT_TRUE(mount.ok());
  EXPECT_TRUE(root_->MkdirAt(mount->root.control_fd, "new", 0755, {.uid = 5, .gid = 6}).ok());
  EXPECT_EQ(bundle_.Stat("rootfs/new").st_uid, 5u);
  HangUp();
  EXPECT_EQ(gofer_->Wait(), 0) << Log();
}

TEST_F(PersonalityTest, WrongUse) {
  Start("gofer --bundle BUNDLE --spec-fd=4 --mounts-fd=5 --colour=blue --io-fds=6");
  EXPECT_EQ(gofer_->Wait(), 2);
  EXPECT_EQ(gofer_->Stderr(), "gofer: runsc-gofer: unknown flag --colour\n");
  EXPECT_EQ(gofer_->Stdout(), "");
}

TEST_F(PersonalityTest, FailuresGoWhereEnginesLook) {
  SetMountOptions("\"rbind\"", R"(,"linux":{"rootfsPropagation":"shared"})");
  Start("--log-fd=3 gofer --bundle BUNDLE --spec-fd=4 --mounts-fd=5 --io-fds=6 --io-fds=7");
  EXPECT_EQ(gofer_->Wait(), 128);
  EXPECT_NE(
      gofer_->Stderr().find("gofer: runsc-gofer: spec: linux.rootfsPropagation is \"shared\""),
      std::string::npos)
      << gofer_->Stderr();
  EXPECT_EQ(Log().rfind(R"({"msg":"spec: linux.rootfsPropagation is \"shared\", which)", 0), 0u)
      << Log();
  EXPECT_NE(Log().find(R"("level":"error","time":")"), std::string::npos) << Log();

  Start("gofer --bundle BUNDLE --spec-fd=44 --mounts-fd=5 --io-fds=6 --io-fds=7");
  EXPECT_EQ(gofer_->Wait(), 128);
  EXPECT_EQ(gofer_->Stderr(), "gofer: runsc-gofer: descriptor 44 is not open\n");
}

TEST_F(PersonalityTest, AListLongerThanAPipeIsWrittenInFull) {
  std::string mounts;
  for (int i = 0; i < 3000; ++i) {
    absl::StrAppend(&mounts, R"({"destination":"/tmp/some/rather/long/path/)", i,
                    R"(","type":"tmpfs"},)");
  }
  bundle_.Write(
      "config.json",
      absl::StrCat(R"({"process":{},"root":{"path":"rootfs"},"mounts":[)", mounts,
                   R"({"destination":"/data","type":"bind","source":")", host_.path(), R"("}]})"));
  Start(kV22);
  Connect();
  absl::SleepFor(absl::Milliseconds(50));  // the sandbox takes its time
  const std::string json = testing::ReadPipe(mounts_);
  EXPECT_GT(json.size(), 65536u);
  EXPECT_EQ(json.substr(json.size() - 2), "}]");
  EXPECT_EQ(ReadFile(*data_, "file"), "data");
}

}  // namespace
}  // namespace gofer::runsc
