#include "gofer/stats/request_stats.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gofer/base/errno.h"
#include "gofer/base/log_linear.h"
#include "gtest/gtest.h"

namespace gofer::stats {
namespace {

using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::IsEmpty;

constexpr size_t kOperations = 3;

std::string NameOf(size_t operation) { return absl::StrCat("op", operation); }

TEST(Counters, EachOperationHasItsOwn) {
  Counters counters(kOperations);
  counters.Add(0, 100, std::nullopt);
  counters.Add(0, 1000, Errno(ENOENT));
  counters.Add(2, 1'000'000, Errno(EACCES));
  counters.Add(2, 2'000'000, Errno(ENOENT));
  counters.Add(2, 2'000'000, Errno(ENOENT));

  const std::optional<Operation> first = counters.Read(0);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->requests, 2u);
  EXPECT_EQ(first->total_ns, 1100u);
  EXPECT_THAT(first->errors, ElementsAre(FieldsAre(ENOENT, 1)));
  ASSERT_EQ(first->latencies.size(), 2u);
  EXPECT_LT(first->latencies[0].above, 100u);
  EXPECT_GE(first->latencies[0].upto, 100u);

  EXPECT_FALSE(counters.Read(1).has_value());

  const std::optional<Operation> last = counters.Read(2);
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->requests, 3u);
  EXPECT_THAT(last->errors, ElementsAre(FieldsAre(ENOENT, 2), FieldsAre(EACCES, 1)));
  EXPECT_NEAR(Percentile(last->latencies, 0.99), 2e6, 0.25 * 2e6);
}

TEST(Counters, NumbersWithoutARow) {
  Counters counters(kOperations);
  counters.Add(1, 0, Errno(4711));
  const std::optional<Operation> read = counters.Read(1);
  ASSERT_TRUE(read.has_value()) << "it took less than there is a clock for, and counts";
  EXPECT_EQ(read->requests, 1u);
  EXPECT_THAT(read->errors, ElementsAre(FieldsAre(0, 1)));
}

TEST(Counters, TheSumHasAll) {
  Counters one(kOperations), sum(kOperations);
  one.Add(0, 70, Errno(EIO));
  one.Add(1, 700, std::nullopt);
  sum.Add(1, 7000, std::nullopt);
  sum.Add(one);
  sum.Add(one);
  EXPECT_EQ(sum.Read(0)->requests, 2u);
  EXPECT_THAT(sum.Read(0)->errors, ElementsAre(FieldsAre(EIO, 2)));
  EXPECT_EQ(sum.Read(1)->requests, 3u);
  EXPECT_EQ(sum.Read(1)->total_ns, 8400u);
}

TEST(RequestStats, WithoutRequestsThereIsNothing) {
  RequestStats stats(kOperations, &NameOf);
  const Recorder recorder(stats);
  EXPECT_THAT(stats.Read(), IsEmpty());
}

TEST(RequestStats, ThreadsThatHaveEndedStillCount) {
  RequestStats stats(kOperations, &NameOf);
  {
    Recorder recorder(stats);
    recorder.Record(1, recorder.Now(), Errno(ENOENT));
    ASSERT_EQ(stats.Read().size(), 1u);
  }
  Recorder recorder(stats);
  recorder.Record(1, recorder.Now(), std::nullopt);
  stats.Record(1, recorder.Now(), std::nullopt);
  const std::vector<Operation> read = stats.Read();
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].name, "op1");
  EXPECT_EQ(read[0].requests, 3u);
  EXPECT_THAT(read[0].errors, ElementsAre(FieldsAre(ENOENT, 1)));
}

// Threads that count, come and go while somebody reads: numbers only grow, and in the end all are
// there.
TEST(RequestStats, NothingIsLostBetweenThreads) {
  constexpr int kThreads = 4, kRecorders = 20, kRequests = 500;
  RequestStats stats(kOperations, &NameOf);
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < kRecorders; ++k) {
        Recorder recorder(stats);
        for (int n = 0; n < kRequests; ++n) recorder.Record(2, recorder.Now(), Errno(EAGAIN));
      }
      --running;
    });
  }
  uint64_t seen = 0;
  while (running > 0) {
    const std::vector<Operation> read = stats.Read();
    const uint64_t now = read.empty() ? 0 : read[0].requests;
    EXPECT_GE(now, seen);
    seen = now;
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<Operation> read = stats.Read();
  ASSERT_EQ(read.size(), 1u);
  EXPECT_EQ(read[0].requests, uint64_t{kThreads} * kRecorders * kRequests);
  EXPECT_THAT(read[0].errors, ElementsAre(FieldsAre(EAGAIN, read[0].requests)));
}

}  // namespace
}  // namespace gofer::stats
