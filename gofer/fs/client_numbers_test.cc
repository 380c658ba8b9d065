#include "gofer/fs/client_numbers.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "gtest/gtest.h"

namespace gofer::fs {
namespace {

using Kept = ClientNumbers::Kept;
using Pairs = std::vector<std::pair<FileNumber, FileNumber>>;

constexpr FileNumber On(uint32_t device, uint64_t ino) {
  return {.dev_major = 8, .dev_minor = device, .ino = ino};
}

TEST(ClientNumbers, WithoutAnythingKeptTheyAreTheHosts) {
  const ClientNumbers numbers({});
  EXPECT_TRUE(numbers.is_identity());
  EXPECT_EQ(numbers.Of(On(1, 2)), On(1, 2));
}

TEST(ClientNumbers, WhatTheHostCallsAsBeforeCostsNothing) {
  const std::vector<Kept> kept = {{On(1, 2), On(1, 2)}, {On(1, 3), On(1, 3)}};
  EXPECT_TRUE(ClientNumbers(kept).is_identity());
}

TEST(ClientNumbers, ADeviceThatHasAnotherNumberIsRenamedAsAWhole) {
  const std::vector<Kept> kept = {{On(17, 2), On(1, 2)}, {On(17, 3), On(1, 3)}};
  const ClientNumbers numbers(kept);
  EXPECT_EQ(numbers.Of(On(17, 3)), On(1, 3));
  EXPECT_EQ(numbers.Of(On(17, 4)), On(1, 4)) << "never met before";
  EXPECT_EQ(numbers.Of(On(1, 4)), On(17, 4)) << "a device that has the old number now";
}

TEST(ClientNumbers, AFileThatHasTheNumberOfAnotherGetsAFreeOne) {
  // What was 10 is 20 now, what was 20 is 30.
  const std::vector<Kept> kept = {{On(1, 20), On(1, 10)}, {On(1, 30), On(1, 20)}};
  const ClientNumbers numbers(kept);
  EXPECT_EQ(numbers.Of(On(1, 20)), On(1, 10));
  EXPECT_EQ(numbers.Of(On(1, 30)), On(1, 20));
  EXPECT_EQ(numbers.Of(On(1, 10)), On(1, 30)) << "the host's 30 is known as 20";
  EXPECT_EQ(numbers.Of(On(1, 40)), On(1, 40));
}

TEST(ClientNumbers, AnImageThatGivesANumberTwiceKeepsItOnce) {
  const std::vector<Kept> kept = {{On(1, 5), On(1, 5)},
                                  {On(1, 6), On(1, 5)},
                                  {On(1, 6), On(1, 9)},
                                  {On(1, 7), On(1, 0)},
                                  {On(1, 5), On(1, 8)}};
  const ClientNumbers numbers(kept);
  EXPECT_EQ(numbers.Of(On(1, 5)), On(1, 5));
  EXPECT_NE(numbers.Of(On(1, 6)), On(1, 5));
  EXPECT_EQ(numbers.Of(On(1, 7)), On(1, 7));
}

TEST(ClientNumbers, ASwapIsOneFileInThePlaceOfAnother) {
  const std::vector<Kept> kept = {{On(1, 20), On(1, 10)}};
  const ClientNumbers numbers = ClientNumbers(kept).WithSwapped(Pairs{{On(1, 20), On(1, 50)}});
  EXPECT_EQ(numbers.Of(On(1, 50)), On(1, 10));
  EXPECT_EQ(numbers.Of(On(1, 20)), On(1, 50));
  EXPECT_TRUE(
      numbers.WithSwapped(Pairs{{On(1, 20), On(1, 50)}, {On(1, 10), On(1, 20)}}).is_identity());
}

// Whatever is kept, no two files have one number, and what can be kept is.
TEST(ClientNumbers, NoTwoFilesHaveOneNumber) {
  std::mt19937 random(20261121);
  for (int round = 0; round < 200; ++round) {
    std::vector<FileNumber> all;
    for (uint32_t device = 1; device <= 3; ++device) {
      for (uint64_t ino = 1; ino <= 40; ++ino) all.push_back(On(device, ino));
    }
    std::vector<FileNumber> clients = all;
    std::shuffle(all.begin(), all.end(), random);
    std::shuffle(clients.begin(), clients.end(), random);
    std::vector<Kept> kept;
    const size_t count = random() % all.size();
    for (size_t i = 0; i < count; ++i) kept.push_back({all[i], clients[i]});
    const ClientNumbers numbers(kept);
    for (const Kept& file : kept) ASSERT_EQ(numbers.Of(file.host), file.client);
    absl::flat_hash_set<FileNumber> seen;
    for (const FileNumber& file : all) ASSERT_TRUE(seen.insert(numbers.Of(file)).second);
  }
}

}  // namespace
}  // namespace gofer::fs
