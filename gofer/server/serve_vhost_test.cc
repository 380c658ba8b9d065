// `gofer serve` for virtual machines, as a process with all its confinement: how a monitor reaches
// it, and every way in which it ends.

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::server {
namespace {

using fuse::NodeId;
using testing::GoferProcess;
using testing::GoferStart;
using testing::Must;
using vhost::driver::Frontend;
using vhost::driver::FuseClient;
using vhost::driver::Machine;
using vhost::driver::MachineOptions;
using vhost::driver::Vmm;
using vhost::user::MessageId;
using Ack = Frontend::Ack;

class ServeVhostTest : public ::testing::Test {
 protected:
  ServeVhostTest() {
    tree_.Mkdir("served");
    tree_.Write("served/file", "content");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  // One that serves.
  std::unique_ptr<GoferProcess> Start(std::vector<std::string> flags, std::map<int, int> fds = {}) {
    testing::Pipe ready = testing::MakePipe();
    fds[9] = ready.write.get();
    std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", tree_.At("served")),
                                          "--ready_fd=9"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    auto gofer = std::make_unique<GoferProcess>(
        GoferStart{.arguments = std::move(arguments), .fds = std::move(fds)});
    ready.write.Reset();
    CHECK_EQ(testing::ReadPipe(ready.read), "\n") << gofer->Stderr();
    return gofer;
  }
  std::string Socket() const { return tree_.At("s"); }
  std::string SocketFlag() const { return absl::StrCat("--vhost_user_socket=", Socket()); }

  static std::unique_ptr<Machine> Boot(UniqueFd socket, const MachineOptions& options = {}) {
    std::unique_ptr<Machine> machine = Must(Machine::Attach(std::move(socket), options));
    Must(machine->Start());
    return machine;
  }
  std::unique_ptr<Machine> Boot(const MachineOptions& options = {}) {
    return Boot(Must(Frontend::Connect(Socket())), options);
  }
  static std::string ReadFile(FuseClient& client) {
    const auto entry = Must(client.Lookup(NodeId::kRoot, "file"));
    const auto file = Must(client.Open(entry.nodeid, O_RDONLY));
    return Must(client.Read(entry.nodeid, file.fh, 0, 100));
  }
  // A request that the device holds: a lock that the client itself has already.
  static vhost::driver::Slot* WaitForALock(FuseClient& client) {
    const auto entry = Must(client.Lookup(NodeId::kRoot, "file"));
    fuse::LkIn in = {};
    in.lk.end = INT64_MAX;
    in.lk.type = F_WRLCK;
    in.fh = Must(client.Open(entry.nodeid, O_RDWR)).fh;
    in.owner = 1;
    Must(client.Setlk(entry.nodeid, in, /*wait=*/false));
    in.fh = Must(client.Open(entry.nodeid, O_RDWR)).fh;
    in.owner = 2;
    vhost::driver::Slot* const slot = client.Acquire();
    slot->Arguments().Write(in);
    client.Submit(*slot, fuse::Opcode::kSetlkw, entry.nodeid, {});
    // It has been taken, and others are served meanwhile.
    vhost::driver::Slot* const other = client.Acquire();
    other->Arguments().WriteBytes(absl::string_view("file\0", 5));
    client.Submit(*other, fuse::Opcode::kLookup, NodeId::kRoot, {.result = sizeof(fuse::EntryOut)});
    CHECK_EQ(Must(client.Next()), other);
    CHECK_EQ(other->error(), 0);
    client.Release(*other);
    return slot;
  }

  // The exit status of one that has nothing to wait for any more. With a host file system that hangs
  // it gives that 1.5 s.
  static int EndSoon(GoferProcess& gofer) {
    const testing::Stopwatch watch;
    const int status = gofer.Wait();
    EXPECT_LT(watch.Elapsed(), absl::Seconds(2.5));
    return status;
  }
  // Whether what the kernel says of all threads comes to be that.
  static bool Becomes(const GoferProcess& gofer, absl::string_view name, absl::string_view value) {
    return testing::Eventually([&] { return gofer.Status(name) == value; });
  }

  const testing::TempTree tree_;
};

TEST_F(ServeVhostTest, OneMonitorBySocketAndNoOther) {
  const auto gofer = Start({SocketFlag()});
  struct stat st;
  ASSERT_EQ(stat(Socket().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  EXPECT_EQ(ReadFile(client), "content");
  EXPECT_FALSE(Frontend::Connect(Socket(), absl::ZeroDuration()).ok());
  EXPECT_TRUE(gofer->Running());
  machine.reset();
  EXPECT_EQ(EndSoon(*gofer), 0) << gofer->Stderr();
  // What it leaves behind is taken away by the next one.
  const auto next = Start({SocketFlag()});
  Boot().reset();
  EXPECT_EQ(EndSoon(*next), 0) << next->Stderr();
}

TEST_F(ServeVhostTest, NobodyElsesSocketIsTakenAway) {
  const auto gofer = Start({SocketFlag()});
  GoferProcess second(
      {.arguments = {"serve", absl::StrCat("--root=", tree_.At("served")), SocketFlag()}});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_TRUE(absl::StrContains(second.Stderr(), "EADDRINUSE")) << second.Stderr();
}

// Trap 21.
TEST_F(ServeVhostTest, ByDescriptorConnectedOrListening) {
  {
    testing::SocketPair pair = testing::StreamPair();
    const auto gofer = Start({"--vhost_user_fd=5"}, {{5, pair.theirs.get()}});
    pair.theirs.Reset();
    std::unique_ptr<Machine> machine = Boot(std::move(pair.ours));
    FuseClient client(machine.get());
    Must(client.Init());
    EXPECT_EQ(ReadFile(client), "content");
    machine.reset();
    EXPECT_EQ(EndSoon(*gofer), 0) << gofer->Stderr();
  }
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  Socket().copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  const auto gofer = Start({"--vhost_user_fd=5"}, {{5, listener.get()}});
  listener.Reset();
  std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  EXPECT_EQ(ReadFile(client), "content");
  machine.reset();
  EXPECT_EQ(EndSoon(*gofer), 0) << gofer->Stderr();
}

TEST_F(ServeVhostTest, DescriptorsThatAreNoSockets) {
  const UniqueFd file(open("/dev/null", O_RDWR | O_CLOEXEC));
  GoferProcess gofer(
      {.arguments = {"serve", absl::StrCat("--root=", tree_.At("served")), "--vhost_user_fd=5"},
       .fds = {{5, file.get()}}});
  EXPECT_EQ(gofer.Wait(), 2);
  EXPECT_TRUE(absl::StrContains(gofer.Stderr(), "--vhost_user_fd=5: ENOTSOCK")) << gofer.Stderr();
}

TEST_F(ServeVhostTest, AskedToEndBeforeAnybodyCame) {
  const auto gofer = Start({SocketFlag()});
  gofer->Signal(SIGTERM);
  EXPECT_EQ(EndSoon(*gofer), 0) << gofer->Stderr();
}

TEST_F(ServeVhostTest, AskedToEndWithARequestThatWaits) {
  const auto gofer = Start({SocketFlag(), "--posix_locks"});
  const std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get(), {.depth = 2});
  Must(client.Init());
  WaitForALock(client);
  gofer->Signal(SIGTERM);
  EXPECT_EQ(EndSoon(*gofer), 0) << gofer->Stderr();
}

TEST_F(ServeVhostTest, AMonitorThatMakesNoSense) {
  const auto gofer = Start({SocketFlag()});
  Frontend frontend(Must(Frontend::Connect(Socket())));
  const std::byte bytes[64] = {};
  Must(frontend.SendBytes(bytes));
  EXPECT_EQ(EndSoon(*gofer), 1);
  EXPECT_TRUE(absl::StrContains(gofer->Stderr(), "connection given up")) << gofer->Stderr();
}

TEST_F(ServeVhostTest, MemoryThatIsCutUnderIt) {
  const auto gofer = Start({SocketFlag()});
  const std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  ASSERT_EQ(ftruncate(machine->ram().file().get(), 0), 0);
  // Not the queue's own kick, which would have our side touch the ring.
  const uint64_t one = 1;
  ASSERT_EQ(write(machine->queue(1).kick_fd().get(), &one, sizeof(one)), 8);
  EXPECT_EQ(EndSoon(*gofer), 1) << gofer->Stderr();
  EXPECT_TRUE(absl::StrContains(gofer->Stderr(), "cut short")) << gofer->Stderr();
}

// A request that hangs in the host's file system keeps neither the monitor nor the process.
TEST_F(ServeVhostTest, AHungFileSystem) {
  tree_.Mkdir("slow");
  tree_.Mkdir("served/slow");
  GoferProcess slow({.arguments = {"serve", absl::StrCat("--root=", tree_.At("slow")),
                                   absl::StrCat("--fuse_mountpoint=", tree_.At("served/slow")),
                                   "--cache=never"}});
  struct stat st;
  struct stat below;
  ASSERT_EQ(stat(tree_.At("served").c_str(), &st), 0);
  ASSERT_TRUE(testing::Eventually([&] {
    return stat(tree_.At("served/slow").c_str(), &below) == 0 && below.st_dev != st.st_dev;
  })) << slow.Stderr();
  {
    const auto gofer = Start({SocketFlag()});
    std::unique_ptr<Machine> machine = Boot({.request_queues = 2});
    FuseClient client(machine.get());
    FuseClient other(machine.get(), {.queue = 2});
    Must(client.Init());
    const auto entry = Must(client.Lookup(NodeId::kRoot, "slow"));
    slow.Signal(SIGSTOP);
    // A request that one of its threads has taken already would hold even a killed client.
    ASSERT_TRUE(Becomes(slow, "State", "T (stopped)"));
    vhost::driver::Slot* const slot = client.Acquire();
    slot->Arguments().WriteBytes(absl::string_view("name\0", 5));
    client.Submit(*slot, fuse::Opcode::kLookup, entry.nodeid, {.result = sizeof(fuse::EntryOut)});
    // Other queues are served, and FORGET is.
    Must(other.Lookup(NodeId::kRoot, "file"));
    Must(other.ForgetAll());
    machine.reset();
    EXPECT_EQ(EndSoon(*gofer), 0) << gofer->Stderr();
  }
  slow.Signal(SIGCONT);
  slow.Signal(SIGTERM);
  EXPECT_EQ(slow.Wait(), 0) << slow.Stderr();
}

// cloud-hypervisor's way back after a crash: the request that was never answered is served by the
// next process, and the guest does not hang on it.
TEST_F(ServeVhostTest, KilledAndComeBackTo) {
  auto gofer = Start({SocketFlag(), "--posix_locks"});
  std::unique_ptr<Machine> machine =
      Must(Machine::Attach(Must(Frontend::Connect(Socket())), {.vmm = Vmm::kCloudHypervisor}));
  const vhost::user::InflightArea ask = {
      .size = 0, .offset = 0, .num_queues = 2, .queue_size = 128, .padding = 0};
  Must(machine->frontend().Send(MessageId::kGetInflightFd, std::as_bytes(std::span(&ask, 1))));
  Frontend::Reply region = Must(machine->frontend().Receive(MessageId::kGetInflightFd));
  ASSERT_EQ(region.fds.size(), 1u);
  const BorrowedFd region_file = region.fds[0];
  const auto give_region = [&](Frontend& frontend) {
    Must(frontend.Tell(MessageId::kSetInflightFd, region.payload, std::span(&region_file, 1),
                       Ack::kWanted));
  };
  give_region(machine->frontend());
  Must(machine->Start());
  // It looks for its replies itself: the socket that it knows is about to close.
  FuseClient client(machine.get(), {.depth = 2, .spin = absl::Seconds(60)});
  Must(client.Init());
  vhost::driver::Slot* const slot = WaitForALock(client);
  gofer->Signal(SIGKILL);
  EXPECT_EQ(gofer->Wait(), -SIGKILL);

  gofer = Start({SocketFlag(), "--posix_locks"});
  Frontend frontend(Must(Frontend::Connect(Socket())));
  Must(frontend.Tell(MessageId::kSetProtocolFeatures, machine->protocol_features()));
  Must(frontend.Tell(MessageId::kSetFeatures, machine->features(), Ack::kWanted));
  Must(frontend.SetMemoryTable(machine->ram(), Ack::kWanted));
  give_region(frontend);
  for (uint32_t i = 0; i < machine->num_queues(); ++i) {
    vhost::driver::DriverQueue& queue = machine->queue(i);
    const auto address = [&](const vhost::driver::RamBlock& block) {
      return machine->ram().UserAddress(block.guest_address);
    };
    const vhost::user::VringAddr addr = {.index = i,
                                         .flags = 0,
                                         .desc = address(queue.descriptors()),
                                         .used = address(queue.used()),
                                         .avail = address(queue.available()),
                                         .log = 0};
    using vhost::user::VringState;
    Must(frontend.Tell(MessageId::kSetVringNum, VringState{i, queue.size()}, Ack::kWanted));
    Must(frontend.Tell(MessageId::kSetVringAddr, addr, Ack::kWanted));
    // The driver's own index, as if all before it had been answered.
    Must(frontend.Tell(MessageId::kSetVringBase, VringState{i, queue.next_available()},
                       Ack::kWanted));
    Must(frontend.SetVringFd(MessageId::kSetVringCall, i, queue.call_fd(), Ack::kWanted));
    Must(frontend.SetVringFd(MessageId::kSetVringKick, i, queue.kick_fd(), Ack::kWanted));
    Must(frontend.Tell(MessageId::kSetVringEnable, VringState{i, 1}, Ack::kWanted));
  }
  EXPECT_EQ(Must(client.Next()), slot);
  EXPECT_NE(slot->error(), 0);
  client.Release(*slot);
  // The guest mounts anew.
  Must(client.Init());
  EXPECT_EQ(ReadFile(client), "content");
}

TEST_F(ServeVhostTest, WhatItCostsToWait) {
  const auto gofer = Start({SocketFlag()});
  // The main thread, the one that waits for a monitor, and no more of ours.
#ifdef __SANITIZE_THREAD__
  constexpr absl::string_view kThreads = "3";
#else
  constexpr absl::string_view kThreads = "2";
#endif
  EXPECT_TRUE(Becomes(*gofer, "Threads", kThreads)) << gofer->Status("Threads");
}

TEST_F(ServeVhostTest, ConfinedAsAlways) {
  const auto gofer = Start({SocketFlag()});
  const std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  EXPECT_EQ(gofer->Status("Seccomp"), "2");
  EXPECT_EQ(gofer->Status("NoNewPrivs"), "1");
  EXPECT_EQ(gofer->Status("CapPrm"), gofer->Status("CapBnd"));
}

}  // namespace
}  // namespace gofer::server
