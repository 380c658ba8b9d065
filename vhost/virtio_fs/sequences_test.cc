// What monitors do to a device that is in use: migrate it, swap its log, change its memory, come
// back after a crash. The sequences are those of spec/vhost-user-fs.md s.8.

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_server.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::virtio_fs {
namespace {

using fuse::NodeId;
using testing::ErrorOf;
using testing::Must;
using testing::TempTree;
using testing::VhostServer;
using vhost::driver::Frontend;
using vhost::driver::FuseClient;
using vhost::driver::Machine;
using vhost::driver::Vmm;
using vhost::user::MessageId;
using Ack = Frontend::Ack;

// A machine whose guest runs.
std::unique_ptr<Machine> Boot(testing::VhostServer& server,
                              const vhost::driver::MachineOptions& options = {}) {
  std::unique_ptr<Machine> machine = Must(Machine::Attach(server.Connect(), options));
  Must(machine->Start());
  return machine;
}

template <WireStruct T>
std::span<const std::byte> Payload(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// The log's memory, as a monitor has it.
class Log {
 public:
  explicit Log(uint64_t last_address)
      : size_((last_address / 32768 + 4096) & ~uint64_t{4095}),
        file_(memfd_create("log", MFD_CLOEXEC)) {
    PCHECK(ftruncate(file_.get(), static_cast<off_t>(size_)) == 0);
    bits_ = static_cast<std::atomic<uint8_t>*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
    PCHECK(bits_ != MAP_FAILED);
  }
  ~Log() { munmap(static_cast<void*>(bits_), size_); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void GiveTo(Frontend& frontend) const {
    const BorrowedFd file = file_;
    const vhost::user::LogArea area = {.size = size_, .offset = 0};
    EXPECT_EQ(
        Must(frontend.Ask<uint64_t>(MessageId::kSetLogBase, Payload(area), std::span(&file, 1))),
        0u);
  }
  // The pages that are marked, and no mark any more.
  std::vector<uint64_t> Take() {
    std::vector<uint64_t> pages;
    for (uint64_t i = 0; i < size_; ++i) {
      const uint8_t bits = bits_[i].exchange(0);
      for (uint64_t bit = 0; bit < 8; ++bit) {
        if ((bits >> bit & 1) != 0) pages.push_back(8 * i + bit);
      }
    }
    return pages;
  }

 private:
  const uint64_t size_;
  const UniqueFd file_;
  std::atomic<uint8_t>* bits_;
};

// All of the guest's memory as it is now, by page.
std::vector<std::string> Snapshot(Machine& machine) {
  std::vector<std::string> pages;
  for (const vhost::RegionLayout& region : machine.ram().regions()) {
    const vhost::driver::RamBlock block = machine.ram().At(region.guest_address, region.size);
    for (uint64_t at = 0; at < region.size; at += 4096) {
      pages.emplace_back(reinterpret_cast<const char*>(block.host) + at, 4096);
    }
  }
  return pages;
}

std::vector<uint64_t> PageNumbers(Machine& machine) {
  std::vector<uint64_t> numbers;
  for (const vhost::RegionLayout& region : machine.ram().regions()) {
    for (uint64_t at = 0; at < region.size; at += 4096)
      numbers.push_back((region.guest_address + at) / 4096);
  }
  return numbers;
}

uint64_t LastAddress(Machine& machine) {
  uint64_t last = 0;
  for (const vhost::RegionLayout& region : machine.ram().regions())
    last = std::max(last, region.guest_address + region.size - 1);
  return last;
}

vhost::user::VringAddr AddressOf(Machine& machine, uint32_t index, uint32_t flags) {
  vhost::driver::DriverQueue& queue = machine.queue(index);
  return {.index = index,
          .flags = flags,
          .desc = machine.ram().UserAddress(queue.descriptors().guest_address),
          .used = machine.ram().UserAddress(queue.used().guest_address),
          .avail = machine.ram().UserAddress(queue.available().guest_address),
          .log = queue.used().guest_address};
}

// QEMU 10, source of a migration while the guest runs: every page that the device writes is marked,
// those of the rings too.
TEST(Migration, EveryPageThatTheDeviceWritesIsLogged) {
  TempTree tree;
  VhostServer server(tree, "");
  tree.Write("data", std::string(300'000, 'd'));
  const std::unique_ptr<Machine> machine =
      Boot(server, {.vmm = Vmm::kQemu10, .ram_bytes = 16 << 20});
  Frontend& frontend = machine->frontend();
  FuseClient client(machine.get());
  Must(client.Init());
  const auto entry = Must(client.Lookup(NodeId::kRoot, "data"));
  const auto file = Must(client.Open(entry.nodeid, O_RDONLY));

  Log log(LastAddress(*machine));
  log.GiveTo(frontend);
  const uint64_t features = machine->features();
  Must(
      frontend.Tell(MessageId::kSetFeatures, features | vhost::user::kFeatureLogAll, Ack::kWanted));
  for (uint32_t i = 0; i < machine->num_queues(); ++i) {
    Must(frontend.Tell(MessageId::kSetVringAddr, AddressOf(*machine, i, vhost::user::kVringAddrLog),
                       Ack::kWanted));
  }
  const std::vector<uint64_t> numbers = PageNumbers(*machine);
  for (int round = 0; round < 5; ++round) {
    // The guest's own writes are in both snapshots or in pages that only it writes: what differs
    // and holds a reply's bytes must have been marked. So it writes first.
    (void)log.Take();
    const std::vector<std::string> before = Snapshot(*machine);
    EXPECT_EQ(Must(client.Read(entry.nodeid, file.fh, 0, 300'000)).size(), 300'000u);
    Must(client.Getattr(entry.nodeid));
    const std::vector<std::string> after = Snapshot(*machine);
    const std::vector<uint64_t> marked = log.Take();
    size_t data_pages = 0;
    for (size_t i = 0; i < numbers.size(); ++i) {
      const bool is_marked = std::binary_search(marked.begin(), marked.end(), numbers[i]);
      const bool holds_data = after[i] == std::string(4096, 'd');
      if (before[i] != after[i] && holds_data) {
        EXPECT_TRUE(is_marked) << "page " << numbers[i];
      }
      data_pages += holds_data;
    }
    EXPECT_GE(data_pages, 73u);
    // The used ring.
    const uint64_t used = machine->queue(1).used().guest_address / 4096;
    EXPECT_TRUE(std::binary_search(marked.begin(), marked.end(), used));
    // A small answer in a large buffer makes no page dirty that it does not touch.
    EXPECT_LE(marked.size(), 90u);
  }

  // Cancelled: nothing is marked any more, and the guest goes on.
  Must(frontend.Tell(MessageId::kSetFeatures, features, Ack::kWanted));
  for (uint32_t i = 0; i < machine->num_queues(); ++i) {
    Must(frontend.Tell(MessageId::kSetVringAddr, AddressOf(*machine, i, 0), Ack::kWanted));
  }
  (void)log.Take();
  Must(client.Getattr(entry.nodeid));
  EXPECT_TRUE(log.Take().empty());
}

// cloud-hypervisor takes a fresh log for each round: after the answer the old one stays as it is.
TEST(Migration, AFreshLogEachRoundUnderLoad) {
  TempTree tree;
  VhostServer server(tree, "");
  const std::unique_ptr<Machine> machine =
      Boot(server, {.vmm = Vmm::kCloudHypervisor, .ram_bytes = 16 << 20});
  Frontend& frontend = machine->frontend();
  FuseClient client(machine.get());
  Must(client.Init());
  Must(frontend.Tell(MessageId::kSetFeatures, machine->features() | vhost::user::kFeatureLogAll,
                     Ack::kWanted));
  std::atomic<bool> stop{false};
  std::thread guest([&] {
    while (!stop) Must(client.Getattr(NodeId::kRoot));
  });
  std::vector<std::unique_ptr<Log>> logs;
  for (int round = 0; round < 50; ++round) {
    logs.push_back(std::make_unique<Log>(LastAddress(*machine)));
    logs.back()->GiveTo(frontend);
    if (round == 0) continue;
    Log& old = *logs[logs.size() - 2];
    (void)old.Take();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(old.Take().empty());
  }
  stop = true;
  guest.join();
  // The last one is in use, whenever the guest had its last turn.
  Must(client.Getattr(NodeId::kRoot));
  EXPECT_FALSE(logs.back()->Take().empty());
}

// QEMU adds and removes memory while the guest runs.
TEST(Memory, HotAddAndHotRemoveUnderLoad) {
  TempTree tree;
  VhostServer server(tree, "");
  const std::unique_ptr<Machine> machine = Boot(server, {.vmm = Vmm::kQemu10});
  Frontend& frontend = machine->frontend();
  FuseClient client(machine.get());
  Must(client.Init());
  std::atomic<bool> stop{false};
  std::thread guest([&] {
    while (!stop) Must(client.Getattr(NodeId::kRoot));
  });
  const UniqueFd file(memfd_create("dimm", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 1 << 20), 0);
  const uint64_t above = LastAddress(*machine) + 1 + (uint64_t{1} << 32);
  for (int round = 0; round < 200; ++round) {
    const vhost::RegionLayout dimm = {.guest_address = above,
                                      .size = 1 << 20,
                                      .user_address = uint64_t{1} << 50,
                                      .file_offset = 0};
    Must(frontend.AddRegion(dimm, file, Ack::kWanted));
    Must(frontend.RemoveRegion(dimm, Ack::kWanted));
  }
  stop = true;
  guest.join();
}

// cloud-hypervisor sends the whole table again after a pause.
TEST(Memory, TheSameTableAgainUnderLoad) {
  TempTree tree;
  VhostServer server(tree, "");
  const std::unique_ptr<Machine> machine = Boot(server, {.vmm = Vmm::kCloudHypervisor});
  FuseClient client(machine.get());
  Must(client.Init());
  std::atomic<bool> stop{false};
  std::thread guest([&] {
    while (!stop) Must(client.Getattr(NodeId::kRoot));
  });
  for (int round = 0; round < 200; ++round) {
    Must(machine->frontend().SetMemoryTable(machine->ram(), Ack::kWanted));
  }
  stop = true;
  guest.join();
}

fuse::LkIn WriteLock(fuse::HandleId fh, uint64_t owner) {
  fuse::LkIn in = {};
  in.fh = fh;
  in.owner = owner;
  in.lk.end = INT64_MAX;
  in.lk.type = F_WRLCK;
  in.lk.pid = 1;
  return in;
}

// Trap 27: a request that waits for a lock does not keep the guest from being stopped, nor memory
// from being taken away, nor the monitor from leaving.
class BlockedTest : public ::testing::TestWithParam<std::string> {
 protected:
  TempTree tree_;
  VhostServer server_{tree_, "", {.posix_locks = true}};
};

INSTANTIATE_TEST_SUITE_P(What, BlockedTest,
                         ::testing::Values("stop", "reset", "table", "disconnect"),
                         [](const auto& info) { return info.param; });

TEST_P(BlockedTest, EndsWhatWaits) {
  tree_.Write("f", "");
  std::unique_ptr<Machine> machine =
      Boot(server_, {.vmm = GetParam() == "table" ? Vmm::kCloudHypervisor : Vmm::kQemu10});
  FuseClient client(machine.get(), {.depth = 2});
  Must(client.Init());
  const auto entry = Must(client.Lookup(NodeId::kRoot, "f"));
  const auto first = Must(client.Open(entry.nodeid, O_RDWR));
  const auto second = Must(client.Open(entry.nodeid, O_RDWR));
  Must(client.Setlk(entry.nodeid, WriteLock(first.fh, 1), /*wait=*/false));

  vhost::driver::Slot* const slot = client.Acquire();
  slot->Arguments().Write(WriteLock(second.fh, 2));
  client.Submit(*slot, fuse::Opcode::kSetlkw, entry.nodeid, {});
  // The device has it, and still serves.
  vhost::driver::Slot* const other = client.Acquire();
  other->Arguments().Write(fuse::GetattrIn{});
  client.Submit(*other, fuse::Opcode::kGetattr, NodeId::kRoot, {.result = sizeof(fuse::AttrOut)});
  ASSERT_EQ(Must(client.Next()), other);
  client.Release(*other);

  if (GetParam() == "stop") {
    Must(machine->Stop());
  } else if (GetParam() == "reset") {
    Must(machine->frontend().Tell(MessageId::kResetDevice, {}, {}, Ack::kWanted));
  } else if (GetParam() == "table") {
    Must(machine->frontend().SetMemoryTable(machine->ram(), Ack::kWanted));
  } else {
    machine.reset();
    EXPECT_TRUE(server_.WaitForConnections(0));
    return;
  }
  EXPECT_EQ(Must(client.Next()), slot);
  EXPECT_NE(slot->error(), 0);
  client.Release(*slot);
}

// A guest can have more requests wait than the device holds: the rest stay in the ring, in order,
// and are served as room comes free.
class ExhaustedTest : public ::testing::Test {
 protected:
  static constexpr size_t kMaxRequests = 8;
  static constexpr size_t kWaiting = 20;
  // The other queue may keep half of the requests to itself; one more is answered.
  static constexpr size_t kTaken = kMaxRequests / 2 - 1;

  ExhaustedTest() {
    tree_.Write("f", "");
    host_ = UniqueFd(open(tree_.At("f").c_str(), O_RDWR | O_CLOEXEC));
    machine_ = Boot(server_, {});
    client_ = std::make_unique<FuseClient>(
        machine_.get(),
        vhost::driver::FuseClientOptions{.depth = kWaiting + 1, .data_bytes = 4096});
    Must(client_->Init());
    const auto entry = Must(client_->Lookup(NodeId::kRoot, "f"));
    const auto file = Must(client_->Open(entry.nodeid, O_RDWR));
    HostLock(F_WRLCK);
    const auto wait_for_lock = [&](size_t owner) {
      vhost::driver::Slot* const slot = client_->Acquire();
      fuse::LkIn in = WriteLock(file.fh, owner);
      in.lk.type = F_RDLCK;
      slot->Arguments().Write(in);
      client_->Submit(*slot, fuse::Opcode::kSetlkw, entry.nodeid, {});
    };
    const auto ask_for_root = [&] {
      vhost::driver::Slot* const slot = client_->Acquire();
      slot->Arguments().Write(fuse::GetattrIn{});
      client_->Submit(*slot, fuse::Opcode::kGetattr, NodeId::kRoot,
                      {.result = sizeof(fuse::AttrOut)});
      return slot;
    };
    for (size_t owner = 1; owner <= kTaken; ++owner) wait_for_lock(owner);
    // The device has them when it has answered one that came after them.
    vhost::driver::Slot* const after_them = ask_for_root();
    EXPECT_EQ(Must(client_->Next()), after_them);
    client_->Release(*after_them);
    for (size_t owner = kTaken + 1; owner <= kWaiting; ++owner) wait_for_lock(owner);
    ask_for_root();
    // Answered at once if it had been taken.
    EXPECT_EQ(ErrorOf(machine_->queue(1).Wait(absl::Milliseconds(50))), ETIMEDOUT);
  }
  void HostLock(short type) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    EXPECT_EQ(fcntl(host_.get(), F_OFD_SETLK, &lock), 0);
  }
  // All of them, and how many have failed.
  size_t AwaitAll() {
    size_t failed = 0;
    for (size_t i = 0; i <= kWaiting; ++i) {
      vhost::driver::Slot* const slot = Must(client_->Next());
      if (slot->error() != 0) ++failed;
      client_->Release(*slot);
    }
    return failed;
  }

  TempTree tree_;
  VhostServer server_{tree_, "", {.posix_locks = true}, {.max_requests = kMaxRequests}};
  UniqueFd host_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> client_;
};

TEST_F(ExhaustedTest, TheRestIsServedLater) {
  HostLock(F_UNLCK);
  EXPECT_EQ(AwaitAll(), 0u);
}

TEST_F(ExhaustedTest, StopsAndGoesOn) {
  Must(machine_->Stop());
  HostLock(F_UNLCK);
  Must(machine_->Start());
  // Those that the device had were ended by the stop.
  const size_t failed = AwaitAll();
  EXPECT_GE(failed, kTaken);
  EXPECT_LE(failed, kMaxRequests);
}

TEST_F(ExhaustedTest, TheMonitorGoes) {
  machine_.reset();
  EXPECT_TRUE(server_.WaitForConnections(0));
}

// Trap 13: every head comes back, and a queue of two entries is enough for a mount.
TEST(Rings, OfEverySizeWithAndWithoutFeatures) {
  TempTree tree;
  VhostServer server(tree, "");
  tree.Write("f", "content");
  for (const uint16_t size : {uint16_t{4}, uint16_t{16}, uint16_t{128}, uint16_t{1024}}) {
    for (const bool indirect : {false, true}) {
      for (const bool event_idx : {false, true}) {
        SCOPED_TRACE(absl::StrCat(size, " entries, indirect ", indirect, ", events ", event_idx));
        const std::unique_ptr<Machine> machine =
            Boot(server, {.queue = {.size = size, .indirect = indirect, .event_idx = event_idx}});
        FuseClient client(machine.get(), {.data_bytes = 4096});
        Must(client.Init());
        for (int i = 0; i < 50; ++i) {
          const auto entry = Must(client.Lookup(NodeId::kRoot, "f"));
          Must(client.Forget(entry.nodeid, 1));
        }
        Must(client.Destroy());
      }
    }
  }
}

}  // namespace
}  // namespace gofer::virtio_fs
