// Rings that make no sense: loops, indices, indirect tables, lengths, order, no room for a reply.
// The request ends, or the ring does; no byte is written but where the guest gave room, and the
// guest's other ring is served. Attacks.
//
// Source: spec/security.md s.10 virtqueue_test; spec/vhost-user-fs.md s.11, by its rows.

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_guest.h"
#include "test/support/eventually.h"
#include "test/support/mapped_again.h"
#include "vhost/driver/driver_queue.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/memory/memory_region.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost {
namespace {

using driver::DriverQueue;
using driver::Finished;
using driver::FuseClient;
using driver::MachineOptions;
using driver::RamBlock;
using fuse::InHeader;
using fuse::NodeId;
using fuse::Opcode;
using fuse::OutHeader;

constexpr uint16_t kNext = kDescriptorNext;
constexpr uint16_t kWrite = kDescriptorWrite;
constexpr uint16_t kIndirect = kDescriptorIndirect;
constexpr uint16_t kRing = 128;
constexpr uint32_t kRequest = sizeof(InHeader) + sizeof(fuse::GetattrIn);
constexpr uint32_t kReply = sizeof(OutHeader) + sizeof(fuse::AttrOut);

// A request ring that the test writes by hand, and what lies in the guest's memory for it.
class RawRing {
 public:
  explicit RawRing(driver::Machine& machine)
      : ram(machine.ram()),
        queue(machine.queue(1)),
        request(ram.Allocate(kRequest, 64)),
        reply(ram.Allocate(kReply, 64)),
        table(ram.Allocate(sizeof(Descriptor) * 4096, 64)) {
    SetHonest();
  }

  void WriteRequest(const InHeader& header) {
    const fuse::GetattrIn in = {};
    std::memcpy(request.host, &header, sizeof(header));
    std::memcpy(request.host + sizeof(header), &in, sizeof(in));
  }
  void Set(uint16_t index, uint64_t address, uint32_t size, uint16_t flags, uint16_t next = 0) {
    queue.SetDescriptor(index, {address, size, flags, next});
  }
  void SetInTable(size_t index, uint64_t address, uint32_t size, uint16_t flags,
                  uint16_t next = 0) {
    const Descriptor descriptor = {address, size, flags, next};
    std::memcpy(table.host + index * sizeof(Descriptor), &descriptor, sizeof(descriptor));
  }
  // An honest request in the first two descriptors.
  void SetHonest() {
    WriteRequest({.len = kRequest,
                  .opcode = Opcode::kGetattr,
                  .unique = 77,
                  .nodeid = NodeId::kRoot,
                  .uid = 0,
                  .gid = 0,
                  .pid = 0,
                  .total_extlen = 0,
                  .padding = 0});
    Set(0, request.guest_address, kRequest, kNext, 1);
    Set(1, reply.guest_address, kReply, kWrite);
  }
  void SetTable(uint32_t size) { Set(0, table.guest_address, size, kIndirect); }

  void Send(uint16_t head = 0) {
    std::memset(reply.host, 0xee, reply.size);
    queue.AddHead(head, head);
    queue.Publish();
  }
  // What comes back; nothing if the ring breaks instead.
  std::optional<Finished> Finish() {
    const absl::Time deadline = absl::Now() + testing::kPatience;
    while (absl::Now() < deadline) {
      if (queue.Wait(absl::Milliseconds(1)).ok()) return Must(queue.Take());
      if (Broken()) return std::nullopt;
    }
    ADD_FAILURE() << "neither answered nor given up";
    return std::nullopt;
  }
  bool Broken() const {
    pollfd error = {.fd = queue.error_fd().get(), .events = POLLIN, .revents = 0};
    return poll(&error, 1, 0) == 1;
  }
  OutHeader Answer() const {
    OutHeader header;
    std::memcpy(&header, answer.host, sizeof(header));
    return header;
  }

  driver::GuestRam& ram;
  DriverQueue& queue;
  const RamBlock request;
  const RamBlock reply;
  const RamBlock table;
  // Where the reply's header is expected, if not there.
  RamBlock answer = reply;
};

enum class End {
  kServed,   // as if nothing were odd
  kRefused,  // given back, with an error if there was room for one
  kBroken,   // the ring is given up
};

struct ChainCase {
  const char* name;
  End end;
  std::function<void(RawRing&)> lay;
};

class VirtqueueTest : public HostileGuestTest {
 protected:
  // A copy of all that the guest has.
  std::vector<std::byte> Memory() {
    std::vector<std::byte> copy;
    for (const RegionLayout& region : machine().ram().regions()) {
      const RamBlock block = machine().ram().At(region.guest_address, region.size);
      copy.insert(copy.end(), block.host, block.host + block.size);
    }
    return copy;
  }
  // Two copies differ nowhere but in `allowed`.
  void ExpectSameBut(const std::vector<std::byte>& before, const std::vector<std::byte>& after,
                     const std::vector<RamBlock>& allowed) {
    ASSERT_EQ(before.size(), after.size());
    uint64_t at = 0;
    for (const RegionLayout& region : machine().ram().regions()) {
      for (uint64_t i = 0; i < region.size; ++i, ++at) {
        if (before[at] == after[at]) continue;
        const uint64_t address = region.guest_address + i;
        bool expected = false;
        for (const RamBlock& block : allowed) {
          expected |= address >= block.guest_address && address - block.guest_address < block.size;
        }
        ASSERT_TRUE(expected) << "guest address " << address << " was written to";
      }
    }
  }
  void ExpectNeighbourServed() {
    FuseClient neighbour(&machine(), {.queue = 2, .data_bytes = 0});
    EXPECT_EQ(ErrorOf(neighbour.Getattr(NodeId::kRoot)), 0);
  }
  void RunCase(const ChainCase& test) {
    SCOPED_TRACE(test.name);
    Boot(options_);
    RawRing ring(machine());
    machine().queue(1).Kick();  // whatever is left of the mount has been seen
    test.lay(ring);
    const std::vector<std::byte> before = Memory();
    ring.Send();
    const std::optional<Finished> finished = ring.Finish();
    ExpectSameBut(before, Memory(),
                  {ring.reply, ring.answer, ring.queue.used(), ring.queue.available()});
    switch (test.end) {
      case End::kServed:
        ASSERT_TRUE(finished);
        EXPECT_EQ(finished->written, kReply);
        EXPECT_EQ(ring.Answer().error, 0);
        EXPECT_EQ(ring.Answer().unique, 77u);
        break;
      case End::kRefused:
        ASSERT_TRUE(finished);
        if (finished->written != 0) {
          EXPECT_EQ(finished->written, sizeof(OutHeader));
          EXPECT_EQ(ring.Answer().error, -EINVAL);
        }
        break;
      case End::kBroken:
        EXPECT_FALSE(finished);
        break;
    }
    if (test.end != End::kBroken) {
      // The ring is as good as before.
      EXPECT_FALSE(ring.Broken());
      ring.SetHonest();
      ring.answer = ring.reply;
      ring.Send();
      const std::optional<Finished> honest = ring.Finish();
      ASSERT_TRUE(honest);
      EXPECT_EQ(honest->written, kReply);
      EXPECT_EQ(ring.Answer().error, 0);
    }
    ExpectNeighbourServed();
    ExpectOthersServed();
    // And after a reboot of the guest nothing is left of it.
    Must(machine().Reboot());
    FuseClient again(&machine(), {.data_bytes = 0});
    Must(again.Init());
    EXPECT_EQ(ErrorOf(again.Getattr(NodeId::kRoot)), 0);
  }

  const MachineOptions options_ = Small();
};

// ---- chains: rows 3 to 12 and 14 to 17

const ChainCase kChains[] = {
    {"honest", End::kServed, [](RawRing&) {}},
    {"row 3: next is beyond the table", End::kRefused,
     [](RawRing& ring) { ring.Set(0, ring.request.guest_address, kRequest, kNext, kRing); }},
    {"row 3: next is the highest number", End::kRefused,
     [](RawRing& ring) { ring.Set(1, ring.reply.guest_address, kReply, kNext | kWrite, 65535); }},
    {"row 4: a descriptor that is its own next", End::kRefused,
     [](RawRing& ring) { ring.Set(0, ring.request.guest_address, kRequest, kNext, 0); }},
    {"row 4: two that follow each other", End::kRefused,
     [](RawRing& ring) {
       ring.Set(0, ring.request.guest_address, 40, kNext, 1);
       ring.Set(1, ring.request.guest_address + 40, 16, kNext, 0);
     }},
    {"row 4: a loop of those that are written", End::kRefused,
     [](RawRing& ring) {
       ring.Set(0, ring.request.guest_address, kRequest, kNext, 1);
       ring.Set(1, ring.reply.guest_address, 8, kNext | kWrite, 2);
       ring.Set(2, ring.reply.guest_address + 8, 8, kNext | kWrite, 1);
     }},
    {"row 5: an indirect table of no bytes", End::kRefused,
     [](RawRing& ring) { ring.SetTable(0); }},
    {"row 5: an indirect table of 15 bytes", End::kRefused,
     [](RawRing& ring) { ring.SetTable(15); }},
    {"row 5: an indirect table of 17 bytes", End::kRefused,
     [](RawRing& ring) { ring.SetTable(17); }},
    {"row 5: an indirect table with more entries than any chain may have", End::kRefused,
     [](RawRing& ring) {
       for (size_t i = 0; i < 4096; ++i) {
         ring.SetInTable(i, ring.request.guest_address, 1, kNext, static_cast<uint16_t>(i + 1));
       }
       ring.SetTable(4096 * sizeof(Descriptor));
     }},
    {"row 5: an indirect table of almost 4 GiB", End::kRefused,
     [](RawRing& ring) { ring.SetTable(0xfffffff0); }},
    {"row 6: an indirect descriptor in an indirect table", End::kRefused,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.request.guest_address, kRequest, kNext, 1);
       ring.SetInTable(1, ring.table.guest_address, 32, kIndirect);
       ring.SetTable(32);
     }},
    {"row 6: an indirect table that holds itself", End::kRefused,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.table.guest_address, 16, kIndirect);
       ring.SetTable(16);
     }},
    {"row 6: an indirect descriptor with a next", End::kRefused,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.request.guest_address, kRequest, 0);
       ring.Set(0, ring.table.guest_address, 16, kIndirect | kNext, 1);
       ring.Set(1, ring.reply.guest_address, kReply, kWrite);
     }},
    {"row 4: a loop in an indirect table", End::kRefused,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.request.guest_address, 40, kNext, 1);
       ring.SetInTable(1, ring.request.guest_address, 16, kNext, 0);
       ring.SetTable(32);
     }},
    {"row 3: next is beyond the indirect table", End::kRefused,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.request.guest_address, kRequest, kNext, 2);
       ring.SetTable(32);
     }},
    {"row 7: an indirect table in a hole", End::kRefused,
     [](RawRing& ring) { ring.Set(0, uint64_t{2} << 30, 32, kIndirect); }},
    {"row 7: an indirect table that runs into a hole", End::kRefused,
     [](RawRing& ring) { ring.Set(0, (8 << 20) - 16, 32, kIndirect); }},
    {"row 8: an indirect table that wraps around", End::kRefused,
     [](RawRing& ring) { ring.Set(0, UINT64_MAX - 15, 32, kIndirect); }},
    {"an indirect table at an odd address", End::kServed,
     [](RawRing& ring) {
       const Descriptor entries[] = {{ring.request.guest_address, kRequest, kNext, 1},
                                     {ring.reply.guest_address, kReply, kWrite, 0}};
       std::memcpy(ring.table.host + 1, entries, sizeof(entries));
       ring.Set(0, ring.table.guest_address + 1, sizeof(entries), kIndirect);
     }},
    {"an indirect table at the end of a chain", End::kServed,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.reply.guest_address, kReply, kWrite);
       ring.Set(0, ring.request.guest_address, kRequest, kNext, 1);
       ring.Set(1, ring.table.guest_address, 16, kIndirect);
     }},
    {"an indirect table that is marked as written", End::kServed,
     [](RawRing& ring) {
       ring.SetInTable(0, ring.request.guest_address, kRequest, kNext, 1);
       ring.SetInTable(1, ring.reply.guest_address, kReply, kWrite);
       ring.Set(0, ring.table.guest_address, 32, kIndirect | kWrite);
     }},
    {"row 8: a buffer that wraps around", End::kRefused,
     [](RawRing& ring) { ring.Set(0, UINT64_MAX - 7, 64, 0); }},
    {"row 8: a buffer to the very last byte", End::kRefused,
     [](RawRing& ring) { ring.Set(0, UINT64_MAX - 63, 64, 0); }},
    {"row 9: a request in a hole", End::kRefused,
     [](RawRing& ring) { ring.Set(0, uint64_t{2} << 30, kRequest, kNext, 1); }},
    {"row 9: a reply in a hole", End::kRefused,
     [](RawRing& ring) { ring.Set(1, uint64_t{2} << 30, kReply, kWrite); }},
    {"row 9: a reply that runs into a hole", End::kRefused,
     [](RawRing& ring) {
       ring.answer = ring.ram.At((8 << 20) - sizeof(OutHeader), sizeof(OutHeader));
       ring.Set(1, ring.answer.guest_address, kReply, kWrite);
     }},
    {"row 9: a reply below the second region", End::kRefused,
     [](RawRing& ring) { ring.Set(1, (uint64_t{4} << 30) - 8, kReply, kWrite); }},
    {"row 10: readable after writable", End::kRefused,
     [](RawRing& ring) {
       ring.Set(0, ring.reply.guest_address, kReply, kWrite | kNext, 1);
       ring.Set(1, ring.request.guest_address, kRequest, 0);
     }},
    {"row 10: readable, writable, readable", End::kRefused,
     [](RawRing& ring) {
       ring.Set(0, ring.request.guest_address, 40, kNext, 1);
       ring.Set(1, ring.reply.guest_address, kReply, kWrite | kNext, 2);
       ring.Set(2, ring.request.guest_address + 40, 16, 0);
     }},
    {"row 11: 8 GiB by the same 8 MiB", End::kRefused,
     [](RawRing& ring) {
       for (size_t i = 0; i < 1024; ++i) {
         ring.SetInTable(i, 0, 8 << 20, i + 1 < 1024 ? kNext : 0, static_cast<uint16_t>(i + 1));
       }
       ring.SetTable(1024 * sizeof(Descriptor));
     }},
    {"row 12: empty descriptors between", End::kServed,
     [](RawRing& ring) {
       ring.Set(0, ring.request.guest_address, 0, kNext, 1);
       ring.Set(1, ring.request.guest_address, kRequest, kNext, 2);
       ring.Set(2, ring.reply.guest_address, 0, kWrite | kNext, 3);
       ring.Set(3, ring.reply.guest_address, kReply, kWrite);
     }},
    {"row 12: an empty descriptor that points nowhere", End::kServed,
     [](RawRing& ring) {
       ring.Set(0, UINT64_MAX, 0, kNext, 1);
       ring.Set(1, ring.request.guest_address, kRequest, kNext, 2);
       ring.Set(2, ring.reply.guest_address, kReply, kWrite);
     }},
    {"nothing but an empty descriptor", End::kRefused,
     [](RawRing& ring) { ring.Set(0, ring.request.guest_address, 0, 0); }},
    {"a piece for every byte", End::kServed,
     [](RawRing& ring) {
       for (uint32_t i = 0; i < kRequest + kReply; ++i) {
         const bool writes = i >= kRequest;
         ring.SetInTable(
             i, writes ? ring.reply.guest_address + i - kRequest : ring.request.guest_address + i,
             1,
             static_cast<uint16_t>((writes ? kWrite : 0) | (i + 1 < kRequest + kReply ? kNext : 0)),
             static_cast<uint16_t>(i + 1));
       }
       ring.SetTable((kRequest + kReply) * sizeof(Descriptor));
     }},
    {"flags that mean nothing", End::kServed,
     [](RawRing& ring) {
       ring.Set(0, ring.request.guest_address, kRequest, kNext | 0xfff8, 1);
       ring.Set(1, ring.reply.guest_address, kReply, kWrite | 0xfff8);
     }},
    {"row 14: no header", End::kRefused,
     [](RawRing& ring) { ring.Set(0, ring.request.guest_address, 39, kNext, 1); }},
    {"row 14: nothing to read at all", End::kRefused,
     [](RawRing& ring) { ring.Set(0, ring.reply.guest_address, kReply, kWrite); }},
    {"row 15: a length of nothing", End::kRefused,
     [](RawRing& ring) {
       InHeader header = {};
       header.opcode = Opcode::kGetattr;
       header.nodeid = NodeId::kRoot;
       ring.WriteRequest(header);
     }},
    {"row 15: a length beyond what is there", End::kRefused,
     [](RawRing& ring) {
       InHeader header = {};
       header.len = kRequest + 1;
       header.opcode = Opcode::kGetattr;
       header.nodeid = NodeId::kRoot;
       ring.WriteRequest(header);
     }},
    {"row 17: no room for any reply", End::kRefused,
     [](RawRing& ring) { ring.Set(0, ring.request.guest_address, kRequest, 0); }},
    {"row 17: room for 15 bytes", End::kRefused,
     [](RawRing& ring) { ring.Set(1, ring.reply.guest_address, 15, kWrite); }},
};

TEST_F(VirtqueueTest, OddChainsEndAlone) {
  for (const ChainCase& test : kChains) {
    RunCase(test);
    if (HasFatalFailure()) return;
  }
}

// ---- indices: rows 1 and 2

const ChainCase kIndices[] = {
    {"row 2: a head beyond the table", End::kBroken,
     [](RawRing& ring) { ring.queue.AddHead(kRing, 0); }},
    {"row 2: the highest head", End::kBroken, [](RawRing& ring) { ring.queue.AddHead(65535, 0); }},
    {"row 1: an index one past the ring", End::kBroken,
     [](RawRing& ring) {
       ring.queue.PublishIndex(static_cast<uint16_t>(ring.queue.next_available() + kRing + 1));
     }},
    {"row 1: an index half way around", End::kBroken,
     [](RawRing& ring) {
       ring.queue.PublishIndex(static_cast<uint16_t>(ring.queue.next_available() + 32768));
     }},
    {"row 1: an index that goes back", End::kBroken,
     [](RawRing& ring) {
       ring.queue.PublishIndex(static_cast<uint16_t>(ring.queue.next_available() - 2));
     }},
};

TEST_F(VirtqueueTest, OddIndicesEndTheRing) {
  for (const ChainCase& test : kIndices) {
    RunCase(test);
    if (HasFatalFailure()) return;
  }
}

// ---- what a request may do with the ring's own memory

// Row 32: a reply is written over the ring that it came through.
TEST_F(VirtqueueTest, RepliesOverTheRingItself) {
  for (const auto area : {&DriverQueue::descriptors, &DriverQueue::available, &DriverQueue::used}) {
    Boot(options_);
    RawRing ring(machine());
    ring.Set(1, (ring.queue.*area)().guest_address, kReply, kWrite);
    ring.Send();
    // Whether the ring survives is the guest's own business.
    (void)ring.queue.Wait(absl::Milliseconds(20));
    ExpectNeighbourServed();
    ExpectOthersServed();
  }
}

// Row 27: request and reply in the same bytes.
TEST_F(VirtqueueTest, ReplyOverItsOwnRequest) {
  Boot(options_);
  RawRing ring(machine());
  std::memcpy(ring.reply.host, ring.request.host, kRequest);
  ring.Set(0, ring.reply.guest_address, kRequest, kNext, 1);
  ring.Set(1, ring.reply.guest_address, kReply, kWrite);
  ring.queue.AddHead(0, 0);
  ring.queue.Publish();
  const std::optional<Finished> finished = ring.Finish();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->written, kReply);
  EXPECT_EQ(ring.Answer().error, 0);
  EXPECT_EQ(ring.Answer().unique, 77u);
}

// Row 17: without room for the answer nothing may be done, since nobody would hear of it.
TEST_F(VirtqueueTest, NothingHappensThatCannotBeAnswered) {
  Boot(options_);
  RawRing ring(machine());
  const RamBlock mkdir = machine().ram().Allocate(256, 64);
  const std::string name("made\0", 5);
  const InHeader header = {
      .len = static_cast<uint32_t>(sizeof(InHeader) + sizeof(fuse::MkdirIn) + name.size()),
      .opcode = Opcode::kMkdir,
      .unique = 5,
      .nodeid = NodeId::kRoot,
      .uid = 0,
      .gid = 0,
      .pid = 0,
      .total_extlen = 0,
      .padding = 0};
  const fuse::MkdirIn in = {.mode = 0755, .umask = 0};
  std::memcpy(mkdir.host, &header, sizeof(header));
  std::memcpy(mkdir.host + sizeof(header), &in, sizeof(in));
  std::memcpy(mkdir.host + sizeof(header) + sizeof(in), name.data(), name.size());
  for (const uint32_t room : {0, 1, 15}) {
    ring.Set(0, mkdir.guest_address, header.len, room > 0 ? kNext : 0, 1);
    ring.Set(1, ring.reply.guest_address, room, kWrite);
    ring.Send();
    const std::optional<Finished> finished = ring.Finish();
    ASSERT_TRUE(finished);
    EXPECT_EQ(finished->written, 0u);
    EXPECT_FALSE(tree_.Exists("served/made")) << "with room for " << room << " bytes";
  }
}

// Row 13: more buffers than one system call takes.
TEST_F(VirtqueueTest, MoreBuffersThanASystemCallTakes) {
  constexpr uint32_t kBytes = 1900;
  std::string content;
  for (uint32_t i = 0; i < kBytes; ++i) content.push_back(static_cast<char>('a' + i % 26));
  tree_.Write("served/f", content);
  MachineOptions options = options_;
  options.queue.size = 2048;
  options.queue.max_pieces = 2048;
  Boot(options);
  const auto file = Must(client().Lookup(NodeId::kRoot, "f"));
  const auto open = Must(client().Open(file.nodeid, O_RDONLY));
  RawRing ring(machine());
  const RamBlock read = machine().ram().Allocate(256, 64);
  const RamBlock data = machine().ram().Allocate(2 * kBytes, 64);
  const InHeader header = {.len = static_cast<uint32_t>(sizeof(InHeader) + sizeof(fuse::ReadIn)),
                           .opcode = Opcode::kRead,
                           .unique = 6,
                           .nodeid = file.nodeid,
                           .uid = 0,
                           .gid = 0,
                           .pid = 0,
                           .total_extlen = 0,
                           .padding = 0};
  fuse::ReadIn in = {};
  in.fh = open.fh;
  in.size = kBytes;
  std::memcpy(read.host, &header, sizeof(header));
  std::memcpy(read.host + sizeof(header), &in, sizeof(in));
  ring.SetInTable(0, read.guest_address, header.len, kNext, 1);
  ring.SetInTable(1, ring.reply.guest_address, sizeof(OutHeader), kWrite | kNext, 2);
  for (uint32_t i = 0; i < kBytes; ++i) {  // every other byte: no two are neighbours
    ring.SetInTable(2 + i, data.guest_address + 2 * i, 1,
                    static_cast<uint16_t>(kWrite | (i + 1 < kBytes ? kNext : 0)),
                    static_cast<uint16_t>(3 + i));
  }
  ring.SetTable((2 + kBytes) * sizeof(Descriptor));
  ring.Send();
  const std::optional<Finished> finished = ring.Finish();
  ASSERT_TRUE(finished);
  ASSERT_EQ(finished->written, sizeof(OutHeader) + kBytes);
  for (uint32_t i = 0; i < kBytes; ++i) {
    ASSERT_EQ(static_cast<char>(data.host[2 * i]), content[i]) << i;
    ASSERT_EQ(data.host[2 * i + 1], std::byte{0}) << i;
  }
}

// Row 9, the other way round: a buffer across two regions that are neighbours is one buffer.
TEST_F(VirtqueueTest, BuffersAcrossNeighbouringRegions) {
  MachineOptions options = options_;
  options.memory = {{.guest_address = 0, .size = 4 << 20},
                    {.guest_address = 4 << 20, .size = 4 << 20},
                    {.guest_address = 64 << 20, .size = 4 << 20}};
  Boot(options);
  RawRing ring(machine());
  driver::GuestRam& ram = machine().ram();
  const uint64_t border = 4 << 20;
  std::memcpy(ram.At(border - 20, 20).host, ring.request.host, 20);
  std::memcpy(ram.At(border, 36).host, ring.request.host + 20, 36);
  ring.Set(0, border - 20, kRequest, kNext, 1);
  ring.Set(1, ring.reply.guest_address, kReply, kWrite);
  ring.Send();
  ASSERT_TRUE(ring.Finish());
  EXPECT_EQ(ring.Answer().error, 0);

  ring.SetHonest();
  ring.Set(1, border - 8, kReply, kWrite);
  ring.Send();
  const std::optional<Finished> finished = ring.Finish();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->written, kReply);
  uint32_t length;
  std::memcpy(&length, ram.At(border - 8, 4).host, sizeof(length));
  EXPECT_EQ(length, kReply);
  uint64_t unique;
  std::memcpy(&unique, ram.At(border, 8).host, sizeof(unique));
  EXPECT_EQ(unique, 77u);
}

// ---- while the guest changes everything

// Row 28: descriptors, requests and indices change all the time while they are read.
TEST_F(VirtqueueTest, EverythingChangesWhileItIsRead) {
  Boot(options_);
  tree_.Write("served/f", std::string(100000, 'x'));
  RawRing ring(machine());
  const RegionLayout& region = machine().ram().regions().front();
  const RamBlock whole = machine().ram().At(region.guest_address, region.size);
  const testing::MappedAgain mapped({whole.host, whole.size});
  std::atomic<bool> over = false;
  std::thread flipper([&] {
    uint32_t random = 1;
    while (!over.load(std::memory_order_relaxed)) {
      random = random * 1664525 + 1013904223;
      const RamBlock& area = (random >> 8) % 4 == 0   ? ring.request
                             : (random >> 8) % 4 == 1 ? ring.queue.descriptors()
                             : (random >> 8) % 4 == 2 ? ring.table
                                                      : ring.queue.available();
      const uint64_t most = std::min<uint64_t>(area.size, 512);
      const uint64_t at = area.guest_address - whole.guest_address + (random >> 12) % most;
      mapped.data()[at] ^= std::byte{static_cast<uint8_t>(1 << (random >> 29))};
    }
  });
  const absl::Time until = absl::Now() + absl::Seconds(1);
  for (uint16_t i = 0; absl::Now() < until; ++i) {
    if (i % 64 == 0) {  // the ring is broken by now: the guest boots anew
      if (!machine().Reboot().ok()) break;
    }
    ring.SetInTable(0, ring.request.guest_address, kRequest, kNext, 1);
    ring.SetInTable(1, ring.reply.guest_address, kReply, kWrite);
    ring.Set(0, ring.table.guest_address, 32, kIndirect);
    ring.Set(1, ring.request.guest_address, kRequest, kNext, 2);
    ring.Set(2, ring.reply.guest_address, kReply, kWrite);
    ring.queue.AddHead(i % 2, 0);
    ring.queue.Publish();
    ring.queue.Kick();
  }
  over = true;
  flipper.join();
  ExpectOthersServed();
}

// Row 31: kicks without requests cost the guest that sends them, and no other.
TEST_F(VirtqueueTest, KicksForNothing) {
  Boot(options_);
  std::atomic<bool> over = false;
  std::thread kicker([&] {
    while (!over) machine().queue(1).Kick();
  });
  for (int i = 0; i < 20; ++i) ExpectOthersServed();
  ExpectNeighbourServed();
  over = true;
  kicker.join();
}

}  // namespace
}  // namespace gofer::vhost
