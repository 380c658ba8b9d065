#include "vhost/memory/dirty_log.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace gofer::vhost {
namespace {

constexpr uint64_t kPage = DirtyLog::kPageSize;

class DirtyLogTest : public testing::Test {
 protected:
  void Make(uint64_t size, uint64_t offset = 0) {
    file_ = UniqueFd(memfd_create("log", MFD_CLOEXEC));
    ASSERT_EQ(ftruncate(file_.get(), static_cast<off_t>(offset + size)), 0);
    auto log = DirtyLog::Map(file_, offset, size, BorrowedFd());
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
    size_ = size;
    offset_ = offset;
  }
  std::set<uint64_t> Marked() {
    std::vector<uint8_t> bits(size_);
    EXPECT_EQ(pread(file_.get(), bits.data(), size_, static_cast<off_t>(offset_)),
              static_cast<ssize_t>(size_));
    std::set<uint64_t> pages;
    for (uint64_t page = 0; page < size_ * 8; ++page) {
      if ((bits[page / 8] >> (page % 8) & 1) != 0) pages.insert(page);
    }
    return pages;
  }

  UniqueFd file_;
  uint64_t size_ = 0;
  uint64_t offset_ = 0;
  RefPtr<const DirtyLog> log_;
};

TEST_F(DirtyLogTest, MarksThePagesOfARangeAndNoOther) {
  for (uint64_t first = 0; first < 20; ++first) {
    for (uint64_t count = 1; count < 30; ++count) {
      Make(64);
      log_->Mark(first * kPage + 4095, (count - 1) * kPage + 1);
      std::set<uint64_t> expected;
      for (uint64_t page = first; page < first + count; ++page) expected.insert(page);
      ASSERT_EQ(Marked(), expected) << first << " " << count;
    }
  }
}

TEST_F(DirtyLogTest, EdgesOfPages) {
  Make(8);
  log_->Mark(5 * kPage, 0);
  EXPECT_EQ(Marked(), std::set<uint64_t>());
  log_->Mark(5 * kPage, kPage);
  EXPECT_EQ(Marked(), (std::set<uint64_t>{5}));
  log_->Mark(7 * kPage - 1, 2);
  EXPECT_EQ(Marked(), (std::set<uint64_t>{5, 6, 7}));
}

TEST_F(DirtyLogTest, WhatIsBeyondIsDropped) {
  Make(2);
  log_->Mark(16 * kPage, 1);
  log_->Mark(UINT64_MAX, 1);
  log_->Mark(UINT64_MAX - 5, UINT64_MAX);
  EXPECT_EQ(Marked(), std::set<uint64_t>());
  log_->Mark(14 * kPage, 100 * kPage);
  EXPECT_EQ(Marked(), (std::set<uint64_t>{14, 15}));
  log_->Mark(13 * kPage, UINT64_MAX);
  EXPECT_EQ(Marked(), (std::set<uint64_t>{13, 14, 15}));
}

TEST_F(DirtyLogTest, StartsAtItsOffset) {
  Make(16, /*offset=*/4096 + 24);
  log_->Mark(9 * kPage, 1);
  EXPECT_EQ(Marked(), (std::set<uint64_t>{9}));
}

TEST_F(DirtyLogTest, NoBitIsLostBetweenThreadsAndAFrontEndThatTakesThem) {
  Make(64);
  void* const at = mmap(nullptr, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  auto* const words = static_cast<std::atomic<uint64_t>*>(at);
  std::atomic<uint32_t> values[512] = {};
  std::atomic<bool> done{false};
  // Pages are counters here: who takes a bit copies the page; at the end all copies are current.
  std::vector<uint32_t> copies(512);
  std::thread front_end([&] {
    auto collect = [&] {
      for (uint64_t word = 0; word < 8; ++word) {
        const uint64_t bits = words[word].exchange(0);
        for (uint64_t bit = 0; bit < 64; ++bit) {
          if ((bits >> bit & 1) != 0) copies[word * 64 + bit] = values[word * 64 + bit].load();
        }
      }
    };
    while (!done) collect();
    collect();
  });
  std::vector<std::thread> writers;
  for (uint32_t t = 0; t < 2; ++t) {
    writers.emplace_back([&, t] {
      for (uint32_t i = 0; i < 100'000; ++i) {
        const uint64_t page = (i * 7 + t * 64) % 512;
        values[page].fetch_add(1, std::memory_order_relaxed);
        log_->Mark(page * kPage, 1);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  front_end.join();
  for (size_t page = 0; page < 512; ++page) EXPECT_EQ(copies[page], values[page]) << page;
  munmap(at, 64);
}

}  // namespace
}  // namespace gofer::vhost
