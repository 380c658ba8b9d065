// A save while clients do not stop to ask: it is made within two seconds, whatever comes in
// before waits, and no request is lost or half done. One that does not end makes the save fail at
// its deadline, and nothing else.

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "gmock/gmock.h"
#include "gofer/base/request_gate.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/checkpoint/life.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/memory_disk.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using checkpoint::Loaded;
using lisafs::FdId;

class CkptQuiesceTest : public ::testing::Test {
 protected:
  CkptQuiesceTest() : life_(OnMemoryDisk().OpenPath(), {.donate_fds = false}) { life_.Start(); }

  // What was written is brought to the disk first, which says nothing of us.
  const TempTree& OnMemoryDisk() {
    if (IsPrivileged()) disk_.emplace(tree_);
    return tree_;
  }

  TempTree tree_;
  std::optional<MemoryDisk> disk_;
  Life life_;
};

// Several channels of one client, each with a file that counts up.
TEST_F(CkptQuiesceTest, UnderAFloodItIsMadeWithinTwoSeconds) {
  constexpr int kChannels = 4;
  std::vector<FdId> files;
  for (int i = 0; i < kChannels; ++i) {
    const std::string name = absl::StrCat("counter", i);
    tree_.Write(name, "0");
    files.push_back(Must(life_->OpenAt(life_.Walk(life_.root(), name), O_RDWR)).fd);
  }
  std::atomic<bool> done{false};
  std::vector<std::atomic<uint64_t>> counted(kChannels);
  std::vector<std::thread> clients;
  for (size_t i = 0; i < kChannels; ++i) {
    clients.emplace_back([&, i, calls = life_->over_channel(Must(life_->OpenChannel()))]() mutable {
      while (!done) {
        const std::string text = absl::StrCat(counted[i] + 1);
        const auto written = calls.PWrite(files[i], std::as_bytes(std::span(text)), 0);
        ASSERT_EQ(ErrorOf(written), 0);
        ASSERT_EQ(*written, text.size()) << "half done";
        ASSERT_EQ(ErrorOf(calls.FStat(files[i])), 0);
        ++counted[i];
      }
    });
  }
  for (const std::atomic<uint64_t>& one : counted) {
    EXPECT_TRUE(Eventually([&] { return one > 0; })) << "no flood";
  }
  absl::Duration longest;
  for (int i = 0; i < 20; ++i) {
    const Stopwatch watch;
    const absl::StatusOr<Loaded> saved = SaveInMemory(life_);
    longest = std::max(longest, watch.Elapsed());
    ASSERT_TRUE(saved.ok()) << saved.status();
    // No request was in the middle of anything: every id is in the record, open.
    EXPECT_EQ(saved->files.handles.size(), size_t{kChannels});
    EXPECT_EQ(saved->lisafs.connections.at(0).fds.size(), 1u + 2 * kChannels);
  }
  done = true;
  for (std::thread& client : clients) client.join();
  EXPECT_LE(longest, absl::Seconds(2));
  for (size_t i = 0; i < kChannels; ++i) {
    EXPECT_EQ(tree_.Read(absl::StrCat("counter", i)), absl::StrCat(counted[i].load()));
  }
  std::cout << "20 saves under a flood, the longest took " << longest << "\n";
}

TEST_F(CkptQuiesceTest, ARequestThatDoesNotEndFailsTheSaveAtItsDeadline) {
  tree_.Write("file", "content");
  const FdId file = Must(life_->OpenAt(life_.Walk(life_.root(), "file"), O_RDWR)).fd;
  // What a worker is that waits for a host that does not answer.
  auto stuck = std::make_unique<RequestGate::Pass>(life_.filesystem().gate());
  for (const absl::Duration quiesce : {absl::Milliseconds(50), absl::Milliseconds(500)}) {
    const Stopwatch watch;
    const absl::Time begin = absl::Now();
    const absl::Status refused =
        SaveInMemory(life_, {.leave_running = true, .quiesce = quiesce}).status();
    const absl::Duration took = absl::Now() - begin;
    EXPECT_LT(watch.Elapsed(), quiesce + absl::Seconds(1));
    EXPECT_EQ(refused.code(), absl::StatusCode::kDeadlineExceeded) << refused;
    EXPECT_GE(took, quiesce);
    // The others are served on.
    EXPECT_EQ(life_.Read(file, 100), "content");
  }
  stuck.reset();
  EXPECT_TRUE(SaveInMemory(life_).ok());
}

// What arrives while the record is made waits, and is done when it is made.
TEST_F(CkptQuiesceTest, WhatComesInMeanwhileIsDoneAfterwards) {
  tree_.Write("file", "before");
  const FdId file = Must(life_->OpenAt(life_.Walk(life_.root(), "file"), O_RDWR)).fd;
  ASSERT_TRUE(life_.filesystem().gate().Close(absl::Now() + kPatience));
  std::atomic<bool> written{false};
  std::thread client([&] {
    EXPECT_EQ(life_.Write(file, "during"), 6u);
    written = true;
  });
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_FALSE(written);
  EXPECT_EQ(tree_.Read("file"), "before");
  life_.filesystem().gate().Open();
  client.join();
  EXPECT_EQ(tree_.Read("file"), "during");
}

}  // namespace
}  // namespace gofer::testing
