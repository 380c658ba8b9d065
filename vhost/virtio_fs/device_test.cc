#include "vhost/virtio_fs/device.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "gofer/base/errno.h"
#include "gtest/gtest.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_server.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::virtio_fs {
namespace {

using fuse::NodeId;
using testing::Must;
using vhost::driver::FuseClient;
using vhost::driver::Machine;
using vhost::driver::Vmm;

// The monitors differ in what they send, and in what order.
class DeviceTest : public ::testing::TestWithParam<Vmm> {
 protected:
  std::unique_ptr<Machine> Boot(uint32_t request_queues = 1) {
    std::unique_ptr<Machine> machine = Must(
        Machine::Attach(server_.Connect(), {.vmm = GetParam(), .request_queues = request_queues}));
    Must(machine->Start());
    return machine;
  }

  testing::TempTree tree_;
  testing::VhostServer server_{tree_, ""};
};

INSTANTIATE_TEST_SUITE_P(Monitors, DeviceTest,
                         ::testing::Values(Vmm::kQemu7, Vmm::kQemu10, Vmm::kCloudHypervisor),
                         [](const auto& info) {
                           return std::string(info.param == Vmm::kQemu7    ? "Qemu7"
                                              : info.param == Vmm::kQemu10 ? "Qemu10"
                                                                           : "CloudHypervisor");
                         });

TEST_P(DeviceTest, ServesAMount) {
  tree_.Write("hello", "world");
  const std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  const auto entry = Must(client.Lookup(NodeId::kRoot, "hello"));
  const auto file = Must(client.Open(entry.nodeid, O_RDWR));
  EXPECT_EQ(Must(client.Read(entry.nodeid, file.fh, 0, 100)), "world");
  EXPECT_EQ(Must(client.Write(entry.nodeid, file.fh, 5, "!")), 1u);
  Must(client.Fsync(entry.nodeid, file.fh, false));
  Must(client.Release(entry.nodeid, file.fh));
  EXPECT_EQ(tree_.Read("hello"), "world!");
  Must(client.ForgetAll());
  Must(client.Destroy());
}

TEST_P(DeviceTest, StopAndContinue) {
  const std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  for (int i = 0; i < 20; ++i) {
    Must(client.Mkdir(NodeId::kRoot, absl::StrCat("d", i), 0755));
    Must(machine->Stop());
    Must(machine->Start());
  }
  Must(client.Getattr(NodeId::kRoot));
  Must(client.ForgetAll());
}

TEST_P(DeviceTest, RebootThreeTimes) {
  const std::unique_ptr<Machine> machine = Boot();
  for (int i = 0; i < 3; ++i) {
    FuseClient client(machine.get());
    Must(client.Init());
    Must(client.Mkdir(NodeId::kRoot, absl::StrCat("d", i), 0755));
    Must(machine->Reboot());
  }
  FuseClient client(machine.get());
  Must(client.Init());
  Must(client.Lookup(NodeId::kRoot, "d2"));
}

// Trap 1: nobody kicks after a pause.
TEST_P(DeviceTest, WhatWasAddedDuringAPauseIsServedAfterIt) {
  const std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  for (int i = 0; i < 20; ++i) {
    Must(machine->Pause());
    vhost::driver::Slot* const slot = client.Acquire();
    slot->Arguments().Write(fuse::GetattrIn{});
    client.Submit(*slot, fuse::Opcode::kGetattr, NodeId::kRoot, {.result = sizeof(fuse::AttrOut)});
    Must(machine->Resume());
    EXPECT_EQ(Must(client.Next()), slot);
    client.Release(*slot);
  }
}

TEST_P(DeviceTest, ManyQueuesAtOnce) {
  constexpr uint32_t kQueues = 4;
  for (uint32_t i = 0; i < kQueues; ++i) tree_.Write(absl::StrCat("f", i), "content");
  const std::unique_ptr<Machine> machine = Boot(kQueues);
  FuseClient first(machine.get());
  Must(first.Init());
  std::vector<std::unique_ptr<FuseClient>> clients;
  for (uint32_t i = 0; i < kQueues; ++i) {
    clients.push_back(std::make_unique<FuseClient>(
        machine.get(), vhost::driver::FuseClientOptions{.queue = i + 1}));
  }
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kQueues; ++i) {
    threads.emplace_back([&clients, i] {
      for (int round = 0; round < 200; ++round) {
        const auto entry = Must(clients[i]->Lookup(NodeId::kRoot, absl::StrCat("f", i)));
        const auto file = Must(clients[i]->Open(entry.nodeid, O_RDONLY));
        EXPECT_EQ(Must(clients[i]->Read(entry.nodeid, file.fh, 0, 100)), "content");
        Must(clients[i]->Release(entry.nodeid, file.fh));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Workers help with long listings; two at a time here, of pieces small and large, and now and then
// the queues are taken from under them.
TEST_P(DeviceTest, LongListings) {
  constexpr int kFiles = 3000;
  tree_.Mkdir("d");
  for (int i = 0; i < kFiles; ++i) tree_.Write(absl::StrCat("d/f", i), "");
  const std::unique_ptr<Machine> machine = Boot(2);
  FuseClient first(machine.get());
  Must(first.Init());
  FuseClient second(machine.get(), {.queue = 2});
  const auto list = [&](FuseClient& client, size_t piece) {
    const NodeId d = Must(client.Lookup(NodeId::kRoot, "d")).nodeid;
    for (int round = 0; round < 5; ++round) {
      const auto dir = Must(client.Opendir(d));
      std::map<std::string, uint64_t> listed;
      uint64_t offset = 0;
      while (Must(client.Readdirplus(d, dir.fh, offset, piece,
                                     [&](const vhost::driver::DirentView& entry) {
                                       offset = entry.fixed.off;
                                       if (entry.fixed.type == DT_DIR) return;
                                       EXPECT_EQ(entry.entry.attr.ino, entry.fixed.ino);
                                       EXPECT_EQ(entry.entry.attr.mode, uint32_t{S_IFREG | 0644});
                                       listed.emplace(entry.name, entry.fixed.ino);
                                     })) > 0) {
      }
      Must(client.Releasedir(d, dir.fh));
      ASSERT_EQ(listed.size(), size_t{kFiles});
      for (int i = 0; i < kFiles; i += 100) {
        const std::string name = absl::StrCat("f", i);
        EXPECT_EQ(listed[name], tree_.Stat("d/" + name).st_ino);
      }
    }
  };
  std::thread other([&] { list(second, 4096); });
  list(first, 128 * 1024);
  other.join();

  const NodeId d = Must(first.Lookup(NodeId::kRoot, "d")).nodeid;
  for (int i = 0; i < 10; ++i) {
    const auto dir = Must(first.Opendir(d));
    Must(first.Readdirplus(d, dir.fh, 0, 4096, [](const vhost::driver::DirentView&) {}));
    Must(machine->Stop());
    Must(machine->Start());
    Must(first.Releasedir(d, dir.fh));
  }
  Must(first.ForgetAll());
}

TEST_P(DeviceTest, TheMonitorGoes) {
  std::unique_ptr<Machine> machine = Boot();
  FuseClient client(machine.get());
  Must(client.Init());
  machine.reset();
  EXPECT_TRUE(server_.WaitForConnections(0));
}

}  // namespace
}  // namespace gofer::virtio_fs
