// Clients that take all they can get: each limit is reached, answers as documented, and holds
// nobody else up; when they have gone, everything is given back. Attacks,
//
//
// A guest that opens and looks up all it can is in guest_process_test.
//
// Source: spec/security.md s.5; SECURITY.md, "Limits".

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "test/hostile/hostile_process.h"
#include "test/support/eventually.h"
#include "test/support/gofer_process.h"
#include "test/support/latency.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/vhost_daemon.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::testing {
namespace {

using lisafs::Inode;

class LimitsTest : public HostileProcessTest {};

TEST_F(LimitsTest, OpenFiles) {
  Start({"--rlimit_nofile=2048", "--donate_fds=never"});
  const int64_t limit = StatusNumber("file_descriptors_limit");
  EXPECT_EQ(limit, 1024);
  const std::unique_ptr<Client> hostile = Connect();
  const ErrnoOr<Inode> file = Walk(*hostile, "file");
  ASSERT_TRUE(file.ok());
  int opened = 0;
  auto open = hostile->client.OpenAt(file->control_fd, O_RDONLY);
  for (; open.ok() && opened < 3000; ++opened) {
    open = hostile->client.OpenAt(file->control_fd, O_RDONLY);
    if (opened % 100 == 0) ExpectHonestServed();
  }
  ASSERT_FALSE(open.ok());
  EXPECT_EQ(open.error(), Errno(ENFILE));
  EXPECT_LE(opened, limit);
  EXPECT_GE(opened, limit * 9 / 10);
  EXPECT_LE(StatusNumber("file_descriptors"), limit);
  EXPECT_EQ(Limit("file_descriptors").limit, limit);
  EXPECT_GE(Limit("file_descriptors").used, limit * 9 / 10);
  EXPECT_LT(gofer_->OpenFds().size(), 2048u) << "some are left for sockets and windows";
  EXPECT_NE(Connect(), nullptr) << "a new client still gets in";
}

TEST_F(LimitsTest, KnownFiles) {
  Start({"--max_nodes=500"});
  for (int i = 0; i < 600; ++i) tree_.Write(absl::StrCat("f", i), "");
  const std::unique_ptr<Client> hostile = Connect();
  int known = 0;
  ErrnoOr<Inode> walked = Walk(*hostile, "f0");
  while (walked.ok() && known < 600) {
    walked = Walk(*hostile, absl::StrCat("f", ++known));
    if (known % 100 == 0) ExpectHonestServed();
  }
  ASSERT_FALSE(walked.ok());
  EXPECT_EQ(walked.error(), Errno(ENFILE));
  EXPECT_LE(known, 500);
  EXPECT_GE(known, 450);
  EXPECT_EQ(Limit("names").limit, 500);
  EXPECT_GE(Limit("names").used, 450);
  EXPECT_EQ(Limit("files").limit, 500);
  EXPECT_GE(Limit("files").used, 450);
  const auto made = hostile->client.OpenCreateAt(hostile->root.control_fd, "new", 0600, {}, O_RDWR);
  EXPECT_EQ(made.error(), Errno(ENFILE));
  EXPECT_FALSE(tree_.Exists("new")) << "a refused request leaves nothing behind";
}

TEST_F(LimitsTest, Channels) {
  Start({});
  const std::unique_ptr<Client> hostile = Connect();
  for (size_t i = 0; i < lisafs::kMaxChannels; ++i) {
    ASSERT_TRUE(hostile->client.OpenChannel().ok()) << i;
  }
  const auto one_more = hostile->client.OpenChannel();
  ASSERT_FALSE(one_more.ok());
  EXPECT_EQ(one_more.error(), Errno(ENOMEM));
  EXPECT_TRUE(hostile->client.FStat(hostile->root.control_fd).ok()) << "it goes on as before";
  EXPECT_EQ(Limit("channels_of_a_connection").limit, int64_t{lisafs::kMaxChannels});
  EXPECT_EQ(Limit("channels_of_a_connection").used, int64_t{lisafs::kMaxChannels});
}

TEST_F(LimitsTest, ChannelsByFlag) {
  Start({"--max_channels=1"});
  const std::unique_ptr<Client> hostile = Connect();
  ASSERT_TRUE(hostile->client.OpenChannel().ok());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ErrorOf(hostile->client.OpenChannel()), ENOMEM);
  EXPECT_EQ(Limit("channels_of_a_connection").limit, 1);
  EXPECT_EQ(Limit("channels_of_a_connection").used, 1);
  const std::unique_ptr<Client> another = Connect();
  EXPECT_TRUE(another->client.OpenChannel().ok()) << "each connection has its own";
  ExpectHonestServed();
}

// The kernel's number, and what all that clients may have comes to.
TEST_F(LimitsTest, Threads) {
  Start({"--max_connections=3", "--max_channels=2"});
  const std::unique_ptr<Client> first = Connect(), second = Connect();
  ASSERT_NE(second, nullptr);
  for (Client* const client : {first.get(), second.get()}) {
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(client->client.OpenChannel().ok());
  }
  EXPECT_EQ(Limit("process_threads").limit, 3 * (1 + 2) + 12);
  // The main one, clients, channels, and who asks; who has asked before may not be gone yet.
  EXPECT_TRUE(Eventually([&] { return Limit("process_threads").used == 1 + 3 + 4 + 1; }));
  ExpectHonestServed();
}

TEST_F(LimitsTest, Connections) {
  const struct rlimit enough = {.rlim_cur = 8192, .rlim_max = 8192};
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit wanted = {.rlim_cur = std::min(enough.rlim_cur, before.rlim_max),
                                .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &wanted), 0);
  Start({});
  std::vector<std::unique_ptr<Client>> clients;
  while (clients.size() <= 1100) {
    std::unique_ptr<Client> client = Connect();
    if (client == nullptr) break;
    clients.push_back(std::move(client));
    if (clients.size() % 200 == 0) ExpectHonestServed();
  }
  EXPECT_EQ(clients.size(), 1023u) << "with the honest one 1024";
  EXPECT_EQ(Limit("connections").limit, 1024);
  EXPECT_EQ(Limit("connections").used, 1024);
  ExpectHonestServed();
  clients.pop_back();
  EXPECT_TRUE(Eventually([&] {
    if (auto client = Connect(); client != nullptr) clients.push_back(std::move(client));
    return clients.size() == 1023;
  })) << "one that goes makes room for another";
}

TEST_F(LimitsTest, ConnectionsByFlag) {
  Start({"--max_connections=3"});
  const std::unique_ptr<Client> first = Connect(), second = Connect();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(Connect(), nullptr) << "with the honest one there are three";
  EXPECT_EQ(Limit("connections").limit, 3);
  EXPECT_EQ(Limit("connections").used, 3);
  ExpectHonestServed();
}

// What each thing that a client can have costs, so that all that there may be of them fits: a
// million names in 512 MiB, and a connection in its windows and the two buffers of its socket.
TEST_F(LimitsTest, Memory) {
  constexpr int kNames = 1000;
  constexpr int kClients = 5;
  tree_.Mkdir("names");
  for (int i = 0; i < kNames; ++i) tree_.Write(absl::StrCat("names/f", i), "");
  Start({"--donate_fds=never"});

  std::unique_ptr<Client> hostile = Connect();
  const ErrnoOr<Inode> dir = Walk(*hostile, "names");
  ASSERT_TRUE(dir.ok());
  const int64_t before_names = ResidentKiB();
  for (int i = 0; i < kNames; ++i) {
    Inode inode;
    const auto walked =
        hostile->client.Walk(dir->control_fd, {absl::StrCat("f", i)}, std::span(&inode, 1));
    ASSERT_TRUE(walked.ok() && walked->count == 1) << i;
  }
  const int64_t names_kib = ResidentKiB() - before_names;
  EXPECT_LT(names_kib * (1'000'000 / kNames), int64_t{512} << 10) << "KiB for a million names";
  hostile.reset();

  // All four windows of each connection and its socket's buffers, as full as they can be.
  const ErrnoOr<Inode> file = Walk(*honest_, "file");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(honest_->client.Close({file->control_fd}).ok());
  const int64_t before_clients = ResidentKiB();
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::byte> most(2'000'000);
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Connect());
    ASSERT_NE(clients.back(), nullptr);
    lisafs::Client& client = clients.back()->client;
    const ErrnoOr<Inode> own = Walk(*clients.back(), "file");
    ASSERT_TRUE(own.ok());
    const auto open = client.OpenAt(own->control_fd, O_RDWR);
    ASSERT_TRUE(open.ok());
    const auto fill = [&](const lisafs::Calls& calls) {
      EXPECT_TRUE(calls.PWrite(open->fd, most, 0).ok());
      EXPECT_TRUE(calls.PRead(open->fd, most, 0).ok());
    };
    fill(client.over_socket());
    for (size_t k = 0; k < lisafs::kMaxChannels; ++k) {
      const auto channel = client.OpenChannel();
      ASSERT_TRUE(channel.ok());
      fill(client.over_channel(*channel));
    }
  }
  const int64_t each_kib = (ResidentKiB() - before_clients) / kClients;
  EXPECT_LT(each_kib, int64_t{13} << 10) << "8 MiB of windows, 4 MiB of buffers, and threads";
  ExpectHonestServed();
  RecordProperty("bytes_per_name", static_cast<int>(names_kib * 1024 / kNames));
  RecordProperty("kib_per_connection", static_cast<int>(each_kib));
}

}  // namespace
}  // namespace gofer::testing

namespace gofer::vhost {
namespace {

using driver::Frontend;
using driver::FuseClient;
using driver::Machine;
using testing::GoferBinary;
using testing::Must;
using testing::VhostDaemon;

// A ring that is always full, and a guest beside it that asks for little.
TEST(LimitsOfGuests, AFullRing) {
  constexpr size_t kDepth = 64;
  const testing::TempTree tree;
  tree.Write("f", "content");
  VhostDaemon daemon(
      absl::StrCat(GoferBinary(), " serve --root={dir} --vhost_user_socket={socket},{socket}2"),
      tree.path());
  const auto boot = [](UniqueFd socket) {
    std::unique_ptr<Machine> machine = Must(
        Machine::Attach(std::move(socket),
                        {.vmm = driver::Vmm::kQemu7, .request_queues = 1, .ram_bytes = 16 << 20}));
    Must(machine->Start());
    return machine;
  };
  std::unique_ptr<Machine> hostile_machine = boot(daemon.TakeSocket());
  std::unique_ptr<Machine> machine =
      boot(Must(Frontend::Connect(absl::StrCat(daemon.socket_path(), "2"))));
  auto honest = std::make_unique<FuseClient>(machine.get());
  Must(honest->Init());

  std::atomic<bool> done{false};
  std::atomic<uint64_t> answered{0};
  std::thread flood([&] {
    FuseClient client(hostile_machine.get(), {.depth = kDepth, .data_bytes = 4096});
    Must(client.Init());
    const auto submit = [&](driver::Slot& slot) {
      slot.Arguments().Write(fuse::GetattrIn{});
      client.Submit(slot, fuse::Opcode::kGetattr, fuse::NodeId::kRoot,
                    {.result = sizeof(fuse::AttrOut)});
    };
    for (size_t i = 0; i < kDepth; ++i) {
      if (driver::Slot* const slot = client.Acquire(); slot != nullptr) submit(*slot);
    }
    while (!done) {
      driver::Slot* const slot = Must(client.Next());
      ++answered;
      submit(*slot);
    }
    while (client.in_flight() > 0) client.Release(*Must(client.Next()));
  });
  EXPECT_TRUE(testing::Eventually([&] { return answered > kDepth; }))
      << "the ring itself is served too";
  testing::Echo echo;
  const absl::Duration best = testing::BestPercentile99(
      [&](int) { Must(honest->Getattr(fuse::NodeId::kRoot)); }, [&](int) { echo.Exchange(); });
  done = true;
  flood.join();
  EXPECT_LE(best, absl::Milliseconds(10));
  hostile_machine.reset();
  honest.reset();
  machine.reset();
  EXPECT_EQ(daemon.Wait(testing::kPatience), 0) << daemon.Stderr();
}

// What its monitor asks for beyond what flags allow is refused, and the guest goes on with what it
// has; another one is served meanwhile, and all is given back.
TEST(LimitsOfGuests, RingsAndMemoryByFlag) {
  using Ack = Frontend::Ack;
  using user::MessageId;
  constexpr uint64_t kPage = 4096;
  constexpr uint64_t kElsewhere = uint64_t{1} << 38;  // where this guest has no memory
  const testing::TempTree tree, run;
  const std::string control = absl::StrCat("--control_socket=", run.At("control"));
  VhostDaemon daemon(
      absl::StrCat(GoferBinary(), " serve --root={dir} --vhost_user_socket={socket},{socket}2 ",
                   "--max_queues=3 --max_ring_entries=256 --max_memory_regions=4 "
                   "--max_memory_bytes=33554432 ",
                   control),
      tree.path());
  const auto says = [&](absl::string_view metric, absl::string_view resource, uint64_t value) {
    testing::GoferProcess metrics({.arguments = {"metrics", control}});
    EXPECT_EQ(metrics.Wait(), 0) << metrics.Stderr();
    return absl::StrContains(metrics.Stdout(),
                             absl::StrCat("\n", metric, "{resource=\"", resource,
                                          "\",way=\"vhost-user\",index=\"1\"} ", value, "\n"));
  };
  const auto expect_used = [&](absl::string_view resource, uint64_t limit, uint64_t used) {
    EXPECT_TRUE(says("gofer_limit", resource, limit)) << resource;
    EXPECT_TRUE(says("gofer_limit_used", resource, used)) << resource;
  };
  const driver::MachineOptions options = {
      .vmm = driver::Vmm::kQemu10, .request_queues = 1, .ram_bytes = 16 << 20};
  std::unique_ptr<Machine> machine = Must(Machine::Attach(daemon.TakeSocket(), options));
  Must(machine->Start());
  std::unique_ptr<Machine> other_machine = Must(
      Machine::Attach(Must(Frontend::Connect(absl::StrCat(daemon.socket_path(), "2"))), options));
  Must(other_machine->Start());
  auto guest = std::make_unique<FuseClient>(machine.get());
  auto other = std::make_unique<FuseClient>(other_machine.get());
  Must(guest->Init());
  Must(other->Init());
  Frontend& monitor = machine->frontend();
  EXPECT_EQ(Must(monitor.Ask<uint64_t>(MessageId::kGetQueueNum)), 3u);
  EXPECT_EQ(Must(monitor.Ask<uint64_t>(MessageId::kGetMaxMemSlots)), 4u);

  const auto size_of_ring = [&](uint32_t index, uint32_t entries) {
    return testing::ErrorOf(monitor.Tell(
        MessageId::kSetVringNum, user::VringState{.index = index, .num = entries}, Ack::kWanted));
  };
  for (uint32_t index = 3; index < 300; ++index) EXPECT_EQ(size_of_ring(index, 128), EREMOTEIO);
  EXPECT_EQ(size_of_ring(2, 512), EREMOTEIO);
  EXPECT_EQ(size_of_ring(2, 256), 0);
  expect_used("queues", 3, 3);

  const UniqueFd file(memfd_create("more", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 32 << 20), 0);
  const auto add = [&](uint64_t address, uint64_t size) {
    return testing::ErrorOf(monitor.AddRegion(
        {.guest_address = address, .size = size, .user_address = address, .file_offset = 0}, file,
        Ack::kWanted));
  };
  EXPECT_EQ(add(kElsewhere, (16 << 20) + kPage), EREMOTEIO) << "too many bytes";
  EXPECT_EQ(add(kElsewhere, kPage), 0);
  EXPECT_EQ(add(kElsewhere + kPage, kPage), 0);
  for (uint64_t i = 2; i < 100; ++i) EXPECT_EQ(add(kElsewhere + i * kPage, kPage), EREMOTEIO);
  expect_used("memory_regions", 4, 4);
  expect_used("memory_bytes", 32 << 20, (16 << 20) + 2 * kPage);

  Must(guest->Getattr(fuse::NodeId::kRoot));
  const testing::Stopwatch watch;
  Must(other->Getattr(fuse::NodeId::kRoot));
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  guest.reset();
  machine.reset();
  for (const char* const resource : {"queues", "memory_regions", "memory_bytes"}) {
    EXPECT_TRUE(testing::Eventually([&] { return says("gofer_limit_used", resource, 0); }))
        << resource;
  }
  other.reset();
  other_machine.reset();
  EXPECT_EQ(daemon.Wait(testing::kPatience), 0) << daemon.Stderr();
}

}  // namespace
}  // namespace gofer::vhost
