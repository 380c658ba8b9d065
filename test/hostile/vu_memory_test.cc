// Memory that a front-end makes up, takes back, exchanges and cuts, also under requests in flight.
// A table that cannot be is refused and the one before stays; memory that is gone costs the device
// that it was given to, and no other. Attacks.
//
// Source: spec/security.md s.10 vu_memory_test; spec/vhost-user-fs.md s.6 and s.11, rows 9 and 34.

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_guest.h"
#include "test/support/eventually.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/driver/machine.h"
#include "vhost/memory/memory_region.h"
#include "vhost/user/message.h"

namespace gofer::vhost {
namespace {

using driver::Frontend;
using driver::Piece;
using fuse::NodeId;
using user::MessageId;
using Ack = Frontend::Ack;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kElsewhere = uint64_t{1} << 38;  // where no guest of these has memory

UniqueFd MemoryFile(uint64_t size) {
  UniqueFd file(memfd_create("more", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  PCHECK(ftruncate(file.get(), static_cast<off_t>(size)) == 0);
  return file;
}

class VuMemoryTest : public HostileGuestTest {
 protected:
  VuMemoryTest() { Boot(); }

  Frontend& frontend() { return machine().frontend(); }
  const driver::GuestRam& ram() { return machine().ram(); }

  // What the front-end says is taken, or not.
  static bool Taken(const ErrnoOr<void>& result) {
    EXPECT_TRUE(result.ok() || result.error() == EREMOTEIO) << result.error().ToString();
    return result.ok();
  }
  bool Add(const RegionLayout& region, BorrowedFd file) {
    return Taken(frontend().AddRegion(region, file, Ack::kWanted));
  }
  bool Remove(const RegionLayout& region) {
    return Taken(frontend().RemoveRegion(region, Ack::kWanted));
  }
  bool SetTable(uint32_t count, std::span<const RegionLayout> regions,
                std::span<const BorrowedFd> files) {
    std::vector<std::byte> payload(8 + regions.size_bytes());
    std::memcpy(payload.data(), &count, sizeof(count));
    if (!regions.empty()) std::memcpy(payload.data() + 8, regions.data(), regions.size_bytes());
    return Taken(frontend().Tell(MessageId::kSetMemTable, payload, files, Ack::kWanted));
  }
  // The table that the machine has.
  std::vector<RegionLayout> Regions() { return {ram().regions().begin(), ram().regions().end()}; }
  void ExpectServed() { EXPECT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0); }

  // The device ends the connection, and soon.
  void ExpectConnectionEnds() {
    EXPECT_TRUE(server_.WaitForConnections(1)) << "the device still trusts its memory";
    pollfd hang_up = {.fd = frontend().socket().get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&hang_up, 1, absl::ToInt64Milliseconds(testing::kPatience)), 1);
    char byte;
    // An end of file, or a reset where the device has left messages unread.
    EXPECT_LE(read(hang_up.fd, &byte, 1), 0);
  }

  // A GETATTR of the root on ring 2, whose buffers are at these addresses.
  void AskAt(uint64_t request, uint64_t reply) {
    const Piece in = {request, sizeof(fuse::InHeader) + sizeof(fuse::GetattrIn)};
    const Piece out = {reply, sizeof(fuse::OutHeader) + sizeof(fuse::AttrOut)};
    ASSERT_TRUE(machine().queue(2).Add(std::span(&in, 1), std::span(&out, 1), 1));
    machine().queue(2).Publish();
  }
  static void WriteGetattr(std::byte* at) {
    const fuse::InHeader header = {
        .len = sizeof(fuse::InHeader) + sizeof(fuse::GetattrIn),
        .opcode = fuse::Opcode::kGetattr,
        .unique = 99,
        .nodeid = NodeId::kRoot,
        .uid = 0,
        .gid = 0,
        .pid = 0,
        .total_extlen = 0,
        .padding = 0,
    };
    std::memcpy(at, &header, sizeof(header));
    std::memset(at + sizeof(header), 0, sizeof(fuse::GetattrIn));
  }
};

TEST_F(VuMemoryTest, ImpossibleRegionsAreRefusedOneByOne) {
  const UniqueFd file = MemoryFile(16 * kPage);
  const RegionLayout good = {.guest_address = kElsewhere,
                             .size = 4 * kPage,
                             .user_address = kElsewhere,
                             .file_offset = 4 * kPage};
  const RegionLayout there = Regions()[0];
  const std::vector<std::function<void(RegionLayout&)>> changes = {
      [](RegionLayout& r) { r.size = 0; },
      [](RegionLayout& r) { r.size = 13 * kPage; },
      [](RegionLayout& r) { r.size = uint64_t{1} << 50; },
      [](RegionLayout& r) { r.size = UINT64_MAX; },
      [](RegionLayout& r) { r.size = UINT64_MAX - kElsewhere; },
      [](RegionLayout& r) { r.guest_address = UINT64_MAX; },
      [](RegionLayout& r) { r.guest_address = UINT64_MAX - 4 * kPage + 1; },
      [](RegionLayout& r) { r.user_address = UINT64_MAX; },
      [](RegionLayout& r) { r.user_address = UINT64_MAX - 4 * kPage + 1; },
      [](RegionLayout& r) { r.file_offset = 13 * kPage; },
      [](RegionLayout& r) { r.file_offset = 16 * kPage; },
      [](RegionLayout& r) { r.file_offset = UINT64_MAX; },
      [](RegionLayout& r) { r.file_offset = UINT64_MAX - 4 * kPage + 1; },
      [](RegionLayout& r) { r.file_offset = uint64_t{1} << 63; },
      [&](RegionLayout& r) { r.guest_address = there.guest_address; },
      [&](RegionLayout& r) { r.guest_address = there.guest_address + there.size - kPage; },
      [&](RegionLayout& r) { r.guest_address = there.guest_address + there.size / 2; },
      [&](RegionLayout& r) { r.user_address = there.user_address; },
      [&](RegionLayout& r) { r.user_address = there.user_address - kPage; },
      [&](RegionLayout& r) { r.user_address = there.user_address + there.size - 1; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    RegionLayout bad = good;
    changes[i](bad);
    EXPECT_FALSE(Add(bad, file)) << i;
    std::vector<RegionLayout> table = Regions();
    std::vector<BorrowedFd> files(table.size(), ram().file());
    table.push_back(bad);
    files.push_back(file);
    EXPECT_FALSE(SetTable(static_cast<uint32_t>(table.size()), table, files)) << i;
    ExpectServed();
  }
  EXPECT_TRUE(Add(good, file)) << "nothing is left of them";
  EXPECT_TRUE(Remove(good));
}

TEST_F(VuMemoryTest, WhatIsNoMemoryIsRefused) {
  const RegionLayout region = {
      .guest_address = kElsewhere, .size = kPage, .user_address = kElsewhere, .file_offset = 0};
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd socket(ends[0]), other_socket(ends[1]);
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd pipe_end(ends[0]), other_end(ends[1]);
  const UniqueFd directory(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd path(open(tree_.At("beside/secret").c_str(), O_PATH | O_CLOEXEC));
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  const UniqueFd empty = MemoryFile(0);
  const UniqueFd sealed = MemoryFile(kPage);
  ASSERT_EQ(fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  tree_.Write("served/file", std::string(kPage, 'x'));
  const UniqueFd readonly(open(tree_.At("served/file").c_str(), O_RDONLY | O_CLOEXEC));
  const BorrowedFd odd[] = {socket, pipe_end, directory, path, event, empty, sealed, readonly};
  for (const BorrowedFd fd : odd) {
    EXPECT_FALSE(Add(region, fd));
    EXPECT_FALSE(SetTable(1, std::span(&region, 1), std::span(&fd, 1)));
    ExpectServed();
  }
}

TEST_F(VuMemoryTest, TablesAndDescriptorsThatDoNotAgree) {
  const UniqueFd file = MemoryFile(16 * kPage);
  std::vector<RegionLayout> nine;
  for (uint64_t i = 0; i < 9; ++i) {
    nine.push_back({.guest_address = kElsewhere + i * kPage,
                    .size = kPage,
                    .user_address = kElsewhere + i * kPage,
                    .file_offset = i * kPage});
  }
  const std::vector<BorrowedFd> files(9, file);
  const auto table = [&](uint32_t count, size_t regions, size_t fds) {
    return SetTable(count, std::span(nine).first(regions), std::span(files).first(fds));
  };
  EXPECT_FALSE(table(9, 9, 8)) << "more than a table has";
  EXPECT_FALSE(table(2, 2, 1));
  EXPECT_FALSE(table(1, 1, 2));
  EXPECT_FALSE(table(2, 1, 2));
  EXPECT_FALSE(table(1, 2, 1));
  EXPECT_FALSE(table(1, 1, 0));
  EXPECT_FALSE(table(UINT32_MAX, 1, 1));
  EXPECT_FALSE(table(0, 0, 0)) << "no memory, while rings are served";
  EXPECT_FALSE(
      Taken(frontend().Tell(MessageId::kAddMemReg, std::vector<std::byte>(40), {}, Ack::kWanted)));
  ExpectServed();
}

TEST_F(VuMemoryTest, ThereIsAnEndToRegions) {
  const UniqueFd file = MemoryFile(kPage);
  size_t added = 0;
  const auto region = [](uint64_t i) {
    return RegionLayout{.guest_address = kElsewhere + 2 * i * kPage,
                        .size = kPage,
                        .user_address = kElsewhere + 2 * i * kPage,
                        .file_offset = 0};
  };
  while (added < 1000 && Add(region(added), file)) ++added;
  EXPECT_EQ(added + ram().regions().size(),
            Must(frontend().Ask<uint64_t>(MessageId::kGetMaxMemSlots)));
  ExpectServed();
  for (size_t i = 0; i < added; ++i) EXPECT_TRUE(Remove(region(i)));
  ExpectServed();
}

TEST_F(VuMemoryTest, OnlyWhatIsThereIsRemoved) {
  const RegionLayout second = Regions()[1];
  for (int i = 0; i < 4; ++i) {
    RegionLayout other = second;
    if (i == 0) other.guest_address += kPage;
    if (i == 1) other.size -= kPage;
    if (i == 2) other.user_address += kPage;
    if (i == 3) other = {};
    EXPECT_FALSE(Remove(other)) << i;
  }
  EXPECT_TRUE(Remove(second));
  EXPECT_FALSE(Remove(second)) << "twice";
  EXPECT_TRUE(Add(second, ram().file()));
  ExpectServed();
}

// The second region comes and goes while both rings work, and requests on one of them lie in it.
TEST_F(VuMemoryTest, ARegionComesAndGoesUnderLoad) {
  const RegionLayout second = Regions()[1];
  std::byte* const request = ram().At(second.guest_address, kPage).host;
  WriteGetattr(request);
  std::atomic<bool> done{false};
  std::thread busy([&] {
    while (!done) ExpectServed();
  });
  int answered = 0;
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    AskAt(second.guest_address, second.guest_address + kPage);
    EXPECT_TRUE(Remove(second));
    // Whatever was taken before is answered, or was not taken before.
    EXPECT_TRUE(Add(second, ram().file()));
    ASSERT_EQ(ErrorOf(machine().queue(2).Wait(testing::kPatience)), 0) << i;
    const auto finished = Must(machine().queue(2).Take());
    ASSERT_TRUE(finished.has_value());
    ++(finished->written > 0 ? answered : refused);
  }
  EXPECT_EQ(answered + refused, 200);
  done = true;
  busy.join();
}

// Row 34: the ring's own region goes, as QEMU does it to add a larger one.
TEST_F(VuMemoryTest, TheRingsOwnRegionComesAndGoes) {
  const RegionLayout first = Regions()[0];
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(Remove(first));
    driver::Slot* const slot = client().Acquire();
    slot->Arguments().Write(fuse::GetattrIn{});
    client().Submit(*slot, fuse::Opcode::kGetattr, NodeId::kRoot,
                    {.result = sizeof(fuse::AttrOut)});
    ASSERT_TRUE(Add(first, ram().file()));
    ASSERT_EQ(Must(client().Next()), slot) << "nobody kicked for it since";
    client().Release(*slot);
  }
}

// The same table again and again, mapped anew each time, under requests on two rings.
TEST_F(VuMemoryTest, TheWholeTableIsReplacedUnderLoad) {
  std::atomic<bool> done{false};
  tree_.Write("served/data", std::string(1 << 20, 'd'));
  const auto entry = Must(client().Lookup(NodeId::kRoot, "data"));
  const auto open = Must(client().Open(entry.nodeid, O_RDONLY));
  std::atomic<int> reads{0};
  std::thread busy([&] {
    while (!done) {
      const std::string data = Must(client().Read(entry.nodeid, open.fh, 0, 1 << 20));
      ASSERT_EQ(data, std::string(1 << 20, 'd'));
      ++reads;
    }
  });
  const absl::Time enough = absl::Now() + absl::Seconds(2);
  const absl::Time deadline = absl::Now() + testing::kPatience;
  int tables = 0;
  const auto goes_on = [&] {
    const absl::Time now = absl::Now();
    return now < enough || ((tables <= 10 || reads <= 10) && now < deadline);
  };
  for (; goes_on(); ++tables) {
    ASSERT_EQ(ErrorOf(frontend().SetMemoryTable(ram(), Ack::kWanted)), 0);
  }
  done = true;
  busy.join();
  EXPECT_GT(tables, 10);
  EXPECT_GT(reads, 10);
}

// A lock that waits for another guest may wait for ever; memory does not wait for it.
TEST_F(VuMemoryTest, AddedMemoryWakesNobodyWhoWaitsForALock) {
  const UniqueFd file = MemoryFile(kPage);
  tree_.Write("served/locked", "");
  const UniqueFd held(open(tree_.At("served/locked").c_str(), O_RDWR | O_CLOEXEC));
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(held.get(), F_OFD_SETLK, &whole), 0);
  const auto entry = Must(client().Lookup(NodeId::kRoot, "locked"));
  const auto open = Must(client().Open(entry.nodeid, O_RDWR));
  driver::Slot* const slot = client().Acquire();
  slot->Arguments().Write(
      fuse::LkIn{.fh = open.fh,
                 .owner = 7,
                 .lk = {.start = 0, .end = INT64_MAX, .type = F_WRLCK, .pid = 0},
                 .lk_flags = 0,
                 .padding = 0});
  client().Submit(*slot, fuse::Opcode::kSetlkw, entry.nodeid, {});
  const RegionLayout region = {
      .guest_address = kElsewhere, .size = kPage, .user_address = kElsewhere, .file_offset = 0};
  EXPECT_TRUE(Add(region, file));
  EXPECT_TRUE(Remove(region));
  EXPECT_TRUE(Remove(Regions()[1]));
  EXPECT_TRUE(Add(Regions()[1], ram().file()));
  whole.l_type = F_UNLCK;
  ASSERT_EQ(fcntl(held.get(), F_OFD_SETLK, &whole), 0);
  ASSERT_EQ(Must(client().Next()), slot);
  EXPECT_EQ(slot->error(), 0) << "it got the lock";
  client().Release(*slot);
}

// ---- cut files. The guest's own pages, which this process touches too, are not among those cut.

TEST_F(VuMemoryTest, ACutFileUnderARequestEndsTheDevice) {
  const RegionLayout second = Regions()[1];
  ASSERT_EQ(ftruncate(ram().file().get(), static_cast<off_t>(second.file_offset)), 0);
  ExpectServed();
  AskAt(second.guest_address, second.guest_address + kPage);
  ExpectConnectionEnds();
}

TEST_F(VuMemoryTest, ACutFileUnderAReplyEndsTheDevice) {
  const RegionLayout second = Regions()[1];
  const driver::RamBlock request = machine().ram().Allocate(kPage, kPage);
  WriteGetattr(request.host);
  ASSERT_EQ(ftruncate(ram().file().get(), static_cast<off_t>(second.file_offset)), 0);
  AskAt(request.guest_address, second.guest_address);
  ExpectConnectionEnds();
}

// Data goes by system calls, which fail and break nothing.
TEST_F(VuMemoryTest, ACutFileUnderDataIsThatRequestsError) {
  tree_.Write("served/data", std::string(4 * kPage, 'd'));
  const auto entry = Must(client().Lookup(NodeId::kRoot, "data"));
  const auto open = Must(client().Open(entry.nodeid, O_RDWR));
  const driver::RamBlock header = machine().ram().Allocate(kPage, kPage);
  const driver::RamBlock reply = machine().ram().Allocate(kPage, kPage);
  const fuse::InHeader in = {.len = sizeof(fuse::InHeader) + sizeof(fuse::ReadIn),
                             .opcode = fuse::Opcode::kRead,
                             .unique = 5,
                             .nodeid = entry.nodeid,
                             .uid = 0,
                             .gid = 0,
                             .pid = 0,
                             .total_extlen = 0,
                             .padding = 0};
  fuse::ReadIn read = {};
  read.fh = open.fh;
  read.size = 4 * kPage;
  std::memcpy(header.host, &in, sizeof(in));
  std::memcpy(header.host + sizeof(in), &read, sizeof(read));
  const RegionLayout second = Regions()[1];
  ASSERT_EQ(ftruncate(ram().file().get(), static_cast<off_t>(second.file_offset)), 0);
  const Piece readable = {header.guest_address, in.len};
  const Piece writable[] = {{reply.guest_address, sizeof(fuse::OutHeader)},
                            {second.guest_address, 4 * kPage}};
  ASSERT_TRUE(machine().queue(2).Add(std::span(&readable, 1), writable, 1));
  machine().queue(2).Publish();
  ASSERT_EQ(ErrorOf(machine().queue(2).Wait(testing::kPatience)), 0);
  ASSERT_TRUE(Must(machine().queue(2).Take()).has_value());
  fuse::OutHeader out;
  std::memcpy(&out, reply.host, sizeof(out));
  EXPECT_EQ(out.error, -EIO);
  ExpectServed();
}

TEST_F(VuMemoryTest, ACutFileUnderTheRingEndsTheDevice) {
  // Ring 2 moves to the second region, which is cut then; its thread looks at it all the time.
  const RegionLayout second = Regions()[1];
  Must(frontend().Tell(MessageId::kSetVringEnable, user::VringState{.index = 2, .num = 0},
                       Ack::kWanted));
  Must(frontend().Ask<user::VringState>(
      MessageId::kGetVringBase,
      std::as_bytes(std::span<const user::VringState>({user::VringState{.index = 2, .num = 0}}))));
  const user::VringAddr addr = {.index = 2,
                                .flags = 0,
                                .desc = second.user_address,
                                .used = second.user_address + 0x8000,
                                .avail = second.user_address + 0x4000,
                                .log = 0};
  Must(frontend().Tell(MessageId::kSetVringBase, user::VringState{.index = 2, .num = 0},
                       Ack::kWanted));
  Must(frontend().Tell(MessageId::kSetVringAddr, addr, Ack::kWanted));
  Must(frontend().SetVringFd(MessageId::kSetVringKick, 2, machine().queue(2).kick_fd(),
                             Ack::kWanted));
  Must(frontend().Tell(MessageId::kSetVringEnable, user::VringState{.index = 2, .num = 1},
                       Ack::kWanted));
  ASSERT_EQ(ftruncate(ram().file().get(), static_cast<off_t>(second.file_offset)), 0);
  machine().queue(2).Kick();
  ExpectConnectionEnds();
}

// A file that is cut and grown again, at any moment, under requests that read and write in it.
TEST_F(VuMemoryTest, AFileThatIsCutAndGrownAllTheTime) {
  const RegionLayout second = Regions()[1];
  for (int round = 0; round < 20; ++round) {
    Boot();
    const auto whole = static_cast<off_t>(second.file_offset + second.size);
    for (int i = 0; i < 50; ++i) {
      AskAt(second.guest_address, second.guest_address + kPage);
      if (ftruncate(ram().file().get(), static_cast<off_t>(second.file_offset)) != 0) break;
      if (ftruncate(ram().file().get(), whole) != 0) break;
      if (!machine().queue(2).Wait(absl::Milliseconds(50)).ok()) break;
      (void)machine().queue(2).Take();
    }
  }
}

// What cannot be mapped, unmapped or cut may be said while nothing runs, too.
TEST_F(VuMemoryTest, TablesOfAStoppedMachine) {
  Must(machine().Stop());
  const UniqueFd file = MemoryFile(16 * kPage);
  const RegionLayout region = {
      .guest_address = kElsewhere, .size = kPage, .user_address = kElsewhere, .file_offset = 0};
  EXPECT_TRUE(Add(region, file));
  EXPECT_FALSE(Add(region, file));
  EXPECT_TRUE(Remove(region));
  EXPECT_FALSE(Remove(region));
  EXPECT_TRUE(SetTable(0, {}, {}));
  ASSERT_EQ(ErrorOf(frontend().SetMemoryTable(ram(), Ack::kWanted)), 0);
  Must(machine().Start());
  ExpectServed();
}

}  // namespace
}  // namespace gofer::vhost
