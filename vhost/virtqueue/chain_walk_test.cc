// Every way in which a chain of descriptors can be wrong, and the odd ones that are right.
// Source: spec/vhost-user-fs.md s.11, rows 3 to 13, 28 and 32.

#include "vhost/virtqueue/chain_walk.h"

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "vhost/virtqueue/test_ring.h"

namespace gofer::vhost {
namespace {

using Fault = DescriptorChain::Fault;

constexpr uint64_t kBuffers = TestGuest::kFar;
constexpr uint64_t kHole = TestGuest::kFar + TestGuest::kRegionSize;
constexpr uint64_t kTable = TestGuest::kFar + 0x80000;

Descriptor In(uint64_t address, uint32_t size) { return {address, size, 0, 0}; }
Descriptor Out(uint64_t address, uint32_t size) { return {address, size, kDescriptorWrite, 0}; }
Descriptor Indirect(uint64_t address, uint32_t size) {
  return {address, size, kDescriptorIndirect, 0};
}
Descriptor Jump(Descriptor descriptor, uint16_t next) {
  descriptor.flags |= kDescriptorNext;
  descriptor.next = next;
  return descriptor;
}

class ChainWalkTest : public testing::Test {
 protected:
  void Make(uint32_t ring_size,
            const std::vector<uint64_t>& regions = {TestGuest::kLow, TestGuest::kNext,
                                                    TestGuest::kFar, TestGuest::kHuge}) {
    ring_ = std::make_unique<TestRing>(guest_, ring_size);
    memory_ = guest_.Memory(regions);
    auto located = SplitRing::Locate(*memory_, ring_size, ring_->config().addresses);
    ASSERT_TRUE(located.ok()) << located.status();
    located_ = *located;
  }
  // Walks a chain that begins at the first descriptor.
  const DescriptorChain& Walk(uint16_t head = 0) {
    ChainWalk(located_, *memory_, hint_).Walk(head, chain_);
    CheckPieces();
    return chain_;
  }
  const DescriptorChain& Walk(const std::vector<Descriptor>& descriptors) {
    return Walk(ring_->Chain(0, descriptors));
  }
  // The same descriptors in an indirect table at `table`.
  const DescriptorChain& WalkIndirect(const std::vector<Descriptor>& descriptors,
                                      uint64_t table = kTable) {
    for (size_t i = 0; i < descriptors.size(); ++i) {
      Descriptor descriptor = descriptors[i];
      if (i + 1 < descriptors.size()) descriptor = Jump(descriptor, static_cast<uint16_t>(i + 1));
      PutTable(table, i, descriptor);
    }
    return Walk({Indirect(table, static_cast<uint32_t>(sizeof(Descriptor) * descriptors.size()))});
  }
  void PutTable(uint64_t table, size_t index, const Descriptor& descriptor) {
    // Byte by byte: the table may lie across a border.
    const auto* const bytes = reinterpret_cast<const std::byte*>(&descriptor);
    for (size_t i = 0; i < sizeof(descriptor); ++i) {
      *guest_.At(table + sizeof(descriptor) * index + i) = bytes[i];
    }
  }

  // The guest's address and size of each piece, readable ones first, "|" before the writable ones.
  std::string Pieces() const {
    std::string text;
    auto list = [&](std::span<const iovec> pieces) {
      for (const iovec& piece : pieces) {
        uint64_t rest = 0;
        const auto address =
            memory_->GuestAddressOf(static_cast<const std::byte*>(piece.iov_base), rest);
        char line[64];
        snprintf(line, sizeof(line), "%lx+%zx ", static_cast<unsigned long>(address.value_or(0)),
                 piece.iov_len);
        text += line;
      }
    };
    list(chain_.in());
    text += "|";
    list(chain_.out());
    return text;
  }
  // Whatever the guest says, pieces are in its memory and the sums are right.
  void CheckPieces() const {
    uint64_t sums[2] = {0, 0};
    for (int out = 0; out < 2; ++out) {
      for (const iovec& piece : out == 0 ? chain_.in() : chain_.out()) {
        const auto* at = static_cast<const std::byte*>(piece.iov_base);
        uint64_t size = piece.iov_len;
        EXPECT_GT(size, 0u);
        sums[out] += size;
        while (size > 0) {
          uint64_t rest = 0;
          ASSERT_TRUE(memory_->GuestAddressOf(at, rest).has_value());
          at += std::min(size, rest);
          size -= std::min(size, rest);
        }
      }
    }
    EXPECT_EQ(sums[0], chain_.in_bytes());
    EXPECT_EQ(sums[1], chain_.out_bytes());
  }

  TestGuest guest_;
  std::unique_ptr<TestRing> ring_;
  RefPtr<const GuestMemory> memory_;
  SplitRing located_;
  GuestMemory::Hint hint_;
  DescriptorChain chain_;
};

TEST_F(ChainWalkTest, ReadableThenWritable) {
  Make(16);
  EXPECT_EQ(Walk({In(kBuffers, 40), In(kBuffers + 0x1000, 8), Out(kBuffers + 0x2000, 16),
                  Out(kBuffers + 0x3000, 0x1000)})
                .fault(),
            Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+28 801000+8 |802000+10 803000+1000 ");
  EXPECT_EQ(chain_.in_bytes(), 48u);
  EXPECT_EQ(chain_.out_bytes(), 16u + 4096);
  EXPECT_EQ(chain_.head(), 0);

  EXPECT_EQ(Walk({In(kBuffers, 48)}).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+30 |");
  EXPECT_EQ(Walk({Out(kBuffers, 48)}).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "|800000+30 ");
}

TEST_F(ChainWalkTest, TheSameInAnIndirectTable) {
  Make(16);
  EXPECT_EQ(WalkIndirect({In(kBuffers, 40), Out(kBuffers + 0x2000, 16)}).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+28 |802000+10 ");
  // After descriptors of the ring itself; and whatever its own WRITE flag says.
  PutTable(kTable, 0, Out(kBuffers + 0x1000, 5));
  Descriptor table = Indirect(kTable, 16);
  table.flags |= kDescriptorWrite;
  EXPECT_EQ(Walk({In(kBuffers, 40), table}).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+28 |801000+5 ");
}

TEST_F(ChainWalkTest, DescriptorsNeedNotBeInOrder) {
  Make(16);
  ring_->Set(9, Jump(In(kBuffers, 1), 3));
  ring_->Set(3, Jump(In(kBuffers + 0x10, 2), 15));
  ring_->Set(15, Out(kBuffers + 0x20, 3));
  EXPECT_EQ(Walk(9).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+1 800010+2 |800020+3 ");
  EXPECT_EQ(chain_.head(), 9);
}

TEST_F(ChainWalkTest, NeighboursAreOnePieceWithinADirection) {
  Make(16);
  EXPECT_EQ(Walk({In(kBuffers, 40), In(kBuffers + 40, 60), Out(kBuffers + 100, 10),
                  Out(kBuffers + 110, 20), Out(kBuffers + 131, 1)})
                .fault(),
            Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+64 |800064+1e 800083+1 ");
}

TEST_F(ChainWalkTest, NextOutOfTheTable) {
  Make(16);
  for (const uint16_t next : std::initializer_list<uint16_t>{16, 17, 32768, 65535}) {
    ring_->Set(0, Jump(In(kBuffers, 8), next));
    EXPECT_EQ(Walk().fault(), Fault::kNextOutOfTable) << next;
    EXPECT_EQ(Pieces(), "800000+8 |");
    PutTable(kTable, 0, Jump(In(kBuffers, 8), next));
    PutTable(kTable, 1, In(kBuffers, 8));
    EXPECT_EQ(Walk({Indirect(kTable, 32)}).fault(), Fault::kNextOutOfTable) << next;
  }
  PutTable(kTable, 0, Jump(In(kBuffers, 8), 2));
  EXPECT_EQ(Walk({Indirect(kTable, 32)}).fault(), Fault::kNextOutOfTable) << "in the ring, though";
}

TEST_F(ChainWalkTest, Loops) {
  Make(16);
  ring_->Set(0, Jump(Out(kBuffers, 8), 0));
  EXPECT_EQ(Walk().fault(), Fault::kLoop);
  ring_->Set(0, Jump(In(kBuffers, 8), 1));
  ring_->Set(1, Jump(In(kBuffers + 0x100, 8), 0));
  EXPECT_EQ(Walk().fault(), Fault::kLoop);
  EXPECT_EQ(chain_.in().size(), 16u);
  ring_->Set(0, Jump(In(kBuffers, 0), 0));
  EXPECT_EQ(Walk().fault(), Fault::kLoop) << "without any buffer";

  PutTable(kTable, 0, Jump(In(kBuffers, 8), 1));
  PutTable(kTable, 1, Jump(In(kBuffers, 0), 0));
  EXPECT_EQ(Walk({Indirect(kTable, 32)}).fault(), Fault::kLoop);
  PutTable(kTable, 0, Jump(In(kBuffers, 8), 0));
  EXPECT_EQ(Walk({Indirect(kTable, 16)}).fault(), Fault::kLoop);
}

TEST_F(ChainWalkTest, AChainMayBeAsLongAsTheTable) {
  for (const uint32_t size : {1u, 2u, 256u}) {
    Make(size);
    std::vector<Descriptor> all;
    for (uint32_t i = 0; i < size; ++i) all.push_back(In(kBuffers + i * 0x10, 8));
    EXPECT_EQ(Walk(all).fault(), Fault::kNone);
    EXPECT_EQ(chain_.in().size(), size);
  }
}

TEST_F(ChainWalkTest, SizesOfIndirectTables) {
  Make(16);
  for (const uint32_t size : {0u, 1u, 8u, 15u, 17u, 31u, 16 * 1025u, 0xfffffff0u, 0xffffffffu}) {
    EXPECT_EQ(Walk({Indirect(kTable, size)}).fault(), Fault::kIndirectSize) << size;
    EXPECT_TRUE(chain_.in().empty() && chain_.out().empty());
  }
  std::vector<Descriptor> most(1024, In(kBuffers, 1));
  EXPECT_EQ(WalkIndirect(most).fault(), Fault::kNone);
  EXPECT_EQ(chain_.in_bytes(), 1024u);

  Make(4096);
  most.clear();
  for (uint32_t i = 0; i < 4096; ++i) most.push_back(In(kBuffers + i, 1));
  EXPECT_EQ(WalkIndirect(most).fault(), Fault::kNone);
  EXPECT_EQ(chain_.in_bytes(), 4096u);
  most.push_back(In(kBuffers + 4096, 1));
  EXPECT_EQ(WalkIndirect(most).fault(), Fault::kIndirectSize);

  // Pieces that are apart cost memory, and are bounded whatever the ring's size is.
  most.assign(DescriptorChain::kMaxPieces, In(kBuffers, 1));
  EXPECT_EQ(WalkIndirect(most).fault(), Fault::kNone);
  EXPECT_EQ(chain_.in_bytes(), DescriptorChain::kMaxPieces);
  most.push_back(In(kBuffers, 1));
  EXPECT_EQ(WalkIndirect(most).fault(), Fault::kTooManyPieces);
}

TEST_F(ChainWalkTest, IndirectTablesInWrongPlaces) {
  Make(16);
  PutTable(kTable, 0, Indirect(kTable, 16));
  EXPECT_EQ(Walk({Indirect(kTable, 16)}).fault(), Fault::kIndirectInIndirect);
  PutTable(kTable, 0, In(kBuffers, 8));
  ring_->Set(0, Jump(Indirect(kTable, 16), 1));
  ring_->Set(1, Out(kBuffers, 16));
  EXPECT_EQ(Walk().fault(), Fault::kIndirectWithNext);

  for (const uint64_t at : {uint64_t{0}, kHole, kHole - 16, kHole - 1, UINT64_MAX, UINT64_MAX - 31,
                            TestGuest::kLow - 16}) {
    EXPECT_EQ(Walk({Indirect(at, 32)}).fault(), Fault::kIndirectNotMapped) << at;
    EXPECT_TRUE(chain_.in().empty() && chain_.out().empty());
  }
  PutTable(kHole - 32, 0, Jump(In(kBuffers, 8), 1));
  PutTable(kHole - 32, 1, Out(kBuffers, 8));
  EXPECT_EQ(Walk({Indirect(kHole - 32, 32)}).fault(), Fault::kNone) << "up to the very end";
}

TEST_F(ChainWalkTest, IndirectTablesAcrossABorderAndUnaligned) {
  Make(16);
  for (uint64_t before = 0; before <= 48; ++before) {
    const uint64_t table = TestGuest::kNext - before;
    EXPECT_EQ(
        WalkIndirect({In(kBuffers, 40), In(kBuffers + 0x100, 2), Out(kBuffers + 0x2000, 16)}, table)
            .fault(),
        Fault::kNone)
        << before;
    EXPECT_EQ(Pieces(), "800000+28 800100+2 |802000+10 ") << before;
  }
}

TEST_F(ChainWalkTest, BuffersThatWrap) {
  Make(16);
  EXPECT_EQ(Walk({In(UINT64_MAX, 2)}).fault(), Fault::kAddressOverflow);
  EXPECT_EQ(Walk({In(UINT64_MAX - 0xfffffffd, 0xffffffff)}).fault(), Fault::kAddressOverflow);
  EXPECT_EQ(Walk({In(UINT64_MAX, 1)}).fault(), Fault::kNotMapped);
  EXPECT_EQ(Walk({In(UINT64_MAX - 0xfffffffe, 0xffffffff)}).fault(), Fault::kNotMapped);
}

TEST_F(ChainWalkTest, BuffersAcrossBorders) {
  Make(16);
  EXPECT_EQ(Walk({In(TestGuest::kNext - 10, 30), Out(TestGuest::kNext - 1, 2)}).fault(),
            Fault::kNone);
  EXPECT_EQ(Pieces(), "1ffff6+a 200000+14 |1fffff+1 200000+1 ");
  EXPECT_EQ(Walk({Out(TestGuest::kLow, 2 * TestGuest::kRegionSize)}).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "|100000+100000 200000+100000 ");
  EXPECT_EQ(Walk({Out(TestGuest::kLow, 2 * TestGuest::kRegionSize + 1)}).fault(),
            Fault::kNotMapped);
}

TEST_F(ChainWalkTest, BuffersOutsideOfMemoryLeaveWhatComesBefore) {
  Make(16);
  // The header is there, the data is not; then the answer can still be given.
  EXPECT_EQ(
      Walk({In(kBuffers, 40), In(kHole, 8), In(kBuffers + 0x100, 8), Out(kBuffers + 0x200, 16)})
          .fault(),
      Fault::kNotMapped);
  EXPECT_EQ(Pieces(), "800000+28 |800200+10 ");
  // No room for the answer: nothing behind may be taken for it.
  EXPECT_EQ(Walk({In(kBuffers, 40), Out(kHole, 16), Out(kBuffers + 0x200, 16)}).fault(),
            Fault::kNotMapped);
  EXPECT_EQ(Pieces(), "800000+28 |");
  // The beginning of a buffer is.
  EXPECT_EQ(Walk({In(kBuffers, 40), Out(kHole - 16, 32), Out(kBuffers, 8)}).fault(),
            Fault::kNotMapped);
  EXPECT_EQ(Pieces(), "800000+28 |8ffff0+10 ");
  // And the order counts though the buffer is not there.
  EXPECT_EQ(Walk({Out(kHole, 16), In(kBuffers, 8)}).fault(), Fault::kNotMapped);
  EXPECT_EQ(Pieces(), "|");
}

TEST_F(ChainWalkTest, ReadableAfterWritable) {
  Make(16);
  EXPECT_EQ(Walk({In(kBuffers, 40), Out(kBuffers + 0x100, 16), In(kBuffers, 8)}).fault(),
            Fault::kReadableAfterWritable);
  EXPECT_EQ(Pieces(), "800000+28 |800100+10 ");
  EXPECT_EQ(WalkIndirect({Out(kBuffers, 16), In(kBuffers, 8)}).fault(),
            Fault::kReadableAfterWritable);
  PutTable(kTable, 0, In(kBuffers, 8));
  EXPECT_EQ(Walk({Out(kBuffers, 16), Indirect(kTable, 16)}).fault(), Fault::kReadableAfterWritable);
}

TEST_F(ChainWalkTest, FourGibibytesInOneDirection) {
  Make(16);
  constexpr uint32_t kQuarter = TestGuest::kHugeSize;
  const std::vector<Descriptor> most = {
      In(TestGuest::kHuge, kQuarter), In(TestGuest::kHuge, kQuarter),
      In(TestGuest::kHuge, kQuarter), In(TestGuest::kHuge, kQuarter - 1)};
  EXPECT_EQ(Walk(most).fault(), Fault::kNone);
  EXPECT_EQ(chain_.in_bytes(), UINT32_MAX);
  std::vector<Descriptor> more = most;
  more.push_back(In(kBuffers, 1));
  EXPECT_EQ(Walk(more).fault(), Fault::kTooLong);
  more.back() = Out(kBuffers, 1);
  EXPECT_EQ(Walk(more).fault(), Fault::kNone) << "each direction by itself";
  EXPECT_EQ(Walk({Out(TestGuest::kHuge, kQuarter), Out(TestGuest::kHuge, kQuarter),
                  Out(TestGuest::kHuge, kQuarter), Out(TestGuest::kHuge, kQuarter)})
                .fault(),
            Fault::kTooLong);
}

TEST_F(ChainWalkTest, EmptyBuffersAreSkipped) {
  Make(16);
  EXPECT_EQ(Walk({In(kHole, 0), In(kBuffers, 40), Out(UINT64_MAX, 0), In(kBuffers + 0x100, 8),
                  Out(0, 0), Out(kBuffers, 16)})
                .fault(),
            Fault::kNone);
  EXPECT_EQ(Pieces(), "800000+28 800100+8 |800000+10 ");
  EXPECT_EQ(Walk({In(0, 0)}).fault(), Fault::kNone);
  EXPECT_EQ(Pieces(), "|");
}

TEST_F(ChainWalkTest, MorePiecesThanTheSlotHasRoomFor) {
  Make(2048);
  for (const uint32_t count :
       {39u, 40u, 41u, 319u, 320u, 321u, 1023u, 1024u, 1025u, 1281u, 2048u}) {
    std::vector<Descriptor> all;
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t at = kBuffers + 0x100 * i;
      all.push_back(i < count / 2 ? In(at, 8) : Out(at, 8));
    }
    EXPECT_EQ(Walk(all).fault(), Fault::kNone);
    ASSERT_EQ(chain_.in().size() + chain_.out().size(), count);
    for (uint32_t i = 0; i < count; ++i) {
      const iovec& piece = i < count / 2 ? chain_.in()[i] : chain_.out()[i - count / 2];
      ASSERT_EQ(piece.iov_base, memory_->Piece(kBuffers + 0x100 * i, 8, hint_).data()) << i;
    }
  }
  EXPECT_EQ(Walk({In(kBuffers, 8)}).fault(), Fault::kNone) << "a small one again";
  EXPECT_EQ(Pieces(), "800000+8 |");
}

TEST_F(ChainWalkTest, TooManyPieces) {
  // A ring of 1024 and an indirect table of 1024, each buffer across a border.
  Make(1024);
  std::vector<Descriptor> table(1024, In(TestGuest::kNext - 1, 2));
  for (size_t i = 0; i < table.size(); ++i) {
    PutTable(kTable, i,
             i + 1 < table.size() ? Jump(table[i], static_cast<uint16_t>(i + 1)) : table[i]);
  }
  std::vector<Descriptor> all(1023, In(TestGuest::kNext - 1, 2));
  all.push_back(Indirect(kTable, 16 * 1024));
  EXPECT_EQ(Walk(all).fault(), Fault::kTooManyPieces);
  EXPECT_EQ(chain_.in().size(), 2048u);
}

TEST_F(ChainWalkTest, WhatIsChangedAfterwardsChangesNothing) {
  Make(16);
  Walk({In(kBuffers, 40), Out(kBuffers + 0x100, 16)});
  const std::string before = Pieces();
  ring_->Chain(0, std::vector<Descriptor>{Out(kHole, 1), In(0, 77)});
  EXPECT_EQ(Pieces(), before);
  EXPECT_EQ(chain_.in_bytes(), 40u);
}

TEST_F(ChainWalkTest, BuffersOnTopOfTheRingItself) {
  Make(16);
  EXPECT_EQ(Walk({In(TestGuest::kLow, 256), Out(TestGuest::kLow, 256)}).fault(), Fault::kNone);
  // The table is its own first buffer.
  EXPECT_EQ(Walk({Indirect(TestGuest::kLow, 16)}).fault(), Fault::kIndirectInIndirect);
}

TEST_F(ChainWalkTest, EveryFaultHasAName) {
  for (uint8_t i = 0; i <= static_cast<uint8_t>(Fault::kTooManyPieces); ++i) {
    EXPECT_NE(DescriptorChain::Name(static_cast<Fault>(i)), "unknown") << int{i};
  }
}

}  // namespace
}  // namespace gofer::vhost
