#include "vhost/virtqueue/inflight_region.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <initializer_list>
#include <vector>

#include "gofer/sys/memory_map.h"
#include "gtest/gtest.h"

namespace gofer::vhost {
namespace {

using Heads = std::vector<uint16_t>;

constexpr uint16_t kSize = 8;

struct Region {
  explicit Region(uint16_t queues = 2, uint16_t size = kSize) {
    layout.num_queues = queues;
    layout.queue_size = size;
    auto made = InflightRegion::Create(layout);
    EXPECT_TRUE(made.ok()) << made.status();
    file = *std::move(made);
  }
  // What the next process sees.
  InflightQueue Map(uint32_t queue = 0) {
    auto map = InflightRegion::Map(layout, file, BorrowedFd());
    EXPECT_TRUE(map.ok()) << map.status();
    regions.push_back(*map);
    return (*map)->Queue(queue);
  }
  template <typename T>
  void Poke(uint64_t offset, T value) {
    EXPECT_EQ(pwrite(file.get(), &value, sizeof(value), static_cast<off_t>(offset)),
              static_cast<ssize_t>(sizeof(value)));
  }
  template <typename T>
  T Peek(uint64_t offset) {
    T value{};
    EXPECT_EQ(pread(file.get(), &value, sizeof(value), static_cast<off_t>(offset)),
              static_cast<ssize_t>(sizeof(value)));
    return value;
  }

  InflightLayout layout;
  UniqueFd file;
  std::vector<RefPtr<const InflightRegion>> regions;
};

Heads HeadsOf(InflightQueue& queue, uint16_t used_index, uint32_t ring_size = kSize) {
  auto recovered = queue.Open(ring_size, used_index);
  EXPECT_TRUE(recovered.ok()) << recovered.status();
  return recovered.ok() ? recovered->heads : Heads{9999};
}

TEST(InflightRegion, IsLaidOutAsTheProtocolSays) {
  Region region(3, 8);
  EXPECT_EQ(region.layout.size, 3u * 192) << "16 bytes and 8 times 16, in steps of 64";
  EXPECT_EQ(region.layout.offset, 0u);
  InflightQueue queue = region.Map(1);
  auto opened = queue.Open(8, 5);
  ASSERT_TRUE(opened.ok());
  EXPECT_TRUE(opened->fresh);
  EXPECT_EQ(region.Peek<uint64_t>(192), 0u) << "features";
  EXPECT_EQ(region.Peek<uint16_t>(192 + 8), 1u) << "version";
  EXPECT_EQ(region.Peek<uint16_t>(192 + 10), 8u) << "desc_num";
  EXPECT_EQ(region.Peek<uint16_t>(192 + 14), 5u) << "used_idx";
  queue.Take(3);
  queue.Take(6);
  EXPECT_EQ(region.Peek<uint8_t>(192 + 16 + 3 * 16), 1u) << "inflight";
  EXPECT_EQ(region.Peek<uint64_t>(192 + 16 + 3 * 16 + 8), 1u) << "counter";
  EXPECT_EQ(region.Peek<uint64_t>(192 + 16 + 6 * 16 + 8), 2u);
  queue.Link(6);
  queue.Link(3);
  EXPECT_EQ(region.Peek<uint16_t>(192 + 12), 3u) << "last_batch_head";
  EXPECT_EQ(region.Peek<uint16_t>(192 + 16 + 3 * 16 + 6), 6u) << "next";
  queue.Clear(6);
  queue.Settle(7);
  EXPECT_EQ(region.Peek<uint8_t>(192 + 16 + 6 * 16), 0u);
  EXPECT_EQ(region.Peek<uint16_t>(192 + 14), 7u);
  EXPECT_EQ(region.Peek<uint16_t>(8), 0u) << "the first queue's part is untouched";
}

TEST(InflightRegion, GivesTheUnansweredInTheOrderOfTheirTaking) {
  Region region;
  InflightQueue queue = region.Map();
  EXPECT_EQ(HeadsOf(queue, 0), Heads());
  for (const uint16_t head : std::initializer_list<uint16_t>{5, 0, 7, 2}) queue.Take(head);
  queue.Link(0);
  queue.Clear(0);
  queue.Settle(1);
  InflightQueue next = region.Map();
  EXPECT_EQ(HeadsOf(next, 1), (Heads{5, 7, 2}));
  // The order goes on from there.
  next.Take(0);
  InflightQueue third = region.Map();
  EXPECT_EQ(HeadsOf(third, 1), (Heads{5, 7, 2, 0}));
}

// A batch is published in steps; the process may end between any two of them. Whatever the ring's
// own index says was answered is never served again, and nothing else is forgotten.
TEST(InflightRegion, ACrashBetweenAnyTwoSteps) {
  for (const uint16_t start : std::initializer_list<uint16_t>{uint16_t{0}, uint16_t{65534}}) {
    for (size_t crash = 0;; ++crash) {
      Region region;
      uint16_t ring_used = start;
      InflightQueue queue = region.Map();
      ASSERT_EQ(HeadsOf(queue, ring_used), Heads());
      const uint16_t after_two = static_cast<uint16_t>(start + 2);
      const uint16_t after_three = static_cast<uint16_t>(start + 3);
      const std::vector<std::function<void()>> steps = {
          [&] { queue.Take(1); },           [&] { queue.Take(4); },
          [&] { queue.Take(2); },           [&] { queue.Link(4); },
          [&] { queue.Link(1); },           [&] { ring_used = after_two; },
          [&] { queue.Clear(4); },          [&] { queue.Clear(1); },
          [&] { queue.Settle(after_two); }, [&] { queue.Take(4); },
          [&] { queue.Link(2); },           [&] { ring_used = after_three; },
          [&] { queue.Clear(2); },          [&] { queue.Settle(after_three); },
      };
      if (crash > steps.size()) break;
      for (size_t i = 0; i < crash; ++i) steps[i]();
      const std::vector<Heads> expected = {
          {},  {1}, {1, 4}, {1, 4, 2}, {1, 4, 2}, {1, 4, 2}, {2}, {2},
          {2}, {2}, {2, 4}, {2, 4},    {4},       {4},       {4},
      };
      InflightQueue next = region.Map();
      EXPECT_EQ(HeadsOf(next, ring_used), expected[crash]) << "after step " << crash;
      // Recovering is no work of one time: the next process may crash too.
      InflightQueue again = region.Map();
      EXPECT_EQ(HeadsOf(again, ring_used), expected[crash]) << "after step " << crash;
    }
  }
}

TEST(InflightRegion, WhatTheFrontEndMadeUpIsBounded) {
  Region region;
  InflightQueue queue = region.Map();
  EXPECT_EQ(HeadsOf(queue, 0), Heads());
  for (uint16_t head = 0; head < kSize; ++head) queue.Take(head);
  // A list that is a circle, begins outside, or leads outside; any used index.
  for (const uint16_t first : std::initializer_list<uint16_t>{0, 7, 8, 65535}) {
    for (const uint16_t next : std::initializer_list<uint16_t>{0, 7, 8, 65535}) {
      for (const uint16_t used : std::initializer_list<uint16_t>{0, 1, 9, 65535}) {
        region.Poke<uint16_t>(12, first);
        for (uint64_t i = 0; i < kSize; ++i) {
          region.Poke<uint16_t>(16 + 16 * i + 6, next);
          region.Poke<uint8_t>(16 + 16 * i, 0xff);
          region.Poke<uint64_t>(16 + 16 * i + 8, UINT64_MAX);
        }
        region.Poke<uint16_t>(14, 0);
        InflightQueue other = region.Map();
        for (const uint16_t head : HeadsOf(other, used)) EXPECT_LT(head, kSize);
      }
    }
  }
}

TEST(InflightRegion, RefusesWhatDoesNotFit) {
  Region region;
  InflightQueue queue = region.Map();
  EXPECT_FALSE(queue.Open(kSize * 2, 0).ok()) << "a larger ring";
  EXPECT_TRUE(queue.Open(kSize / 2, 0).ok()) << "a smaller one";
  region.Poke<uint16_t>(8, 2);
  EXPECT_FALSE(queue.Open(kSize, 0).ok()) << "of another version";
  region.Poke<uint16_t>(8, 1);
  region.Poke<uint16_t>(10, 16);
  EXPECT_FALSE(queue.Open(kSize, 0).ok()) << "for another ring size";
  EXPECT_FALSE(region.Map(2).valid()) << "there are two";

  auto refused = [&](auto change) {
    InflightLayout layout = region.layout;
    change(layout);
    return !InflightRegion::Map(layout, region.file, BorrowedFd()).ok();
  };
  EXPECT_TRUE(refused([](InflightLayout& l) { l.num_queues = 0; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.num_queues = 3; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.num_queues = 257; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.queue_size = 0; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.queue_size = 16; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.queue_size = 65535; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.size = 0; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.offset = 4; }));
  EXPECT_TRUE(refused([](InflightLayout& l) { l.offset = 64; })) << "beyond the file";
  EXPECT_TRUE(refused([](InflightLayout& l) { l.offset = UINT64_MAX - 7; }));
  InflightLayout none;
  EXPECT_FALSE(InflightRegion::Create(none).ok());
}

TEST(InflightRegion, StaysThereWhenTheFrontEndCutsIt) {
  // Not one that we made: those are sealed.
  const UniqueFd file(memfd_create("theirs", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  auto region = InflightRegion::Map({.size = 4096, .offset = 0, .num_queues = 1, .queue_size = 8},
                                    file, BorrowedFd());
  ASSERT_TRUE(region.ok()) << region.status();
  InflightQueue queue = (*region)->Queue(0);
  ASSERT_EQ(ftruncate(file.get(), 0), 0);
  EXPECT_EQ(HeadsOf(queue, 0), Heads());
  queue.Take(1);
  queue.Link(1);
  queue.Clear(1);
  queue.Settle(1);
}

}  // namespace
}  // namespace gofer::vhost
