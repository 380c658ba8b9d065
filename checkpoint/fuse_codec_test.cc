#include "checkpoint/fuse_codec.h"

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/damages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Image MakeImage() {
  Image image;
  Encode(SampleGuests(), image);
  return image;
}

TEST(FuseCodecTest, WhatIsEncodedIsDecoded) {
  std::string bytes;
  ASSERT_TRUE(MakeImage().SerializeToString(&bytes));
  Image image;
  ASSERT_TRUE(image.ParseFromString(bytes));
  const absl::StatusOr<std::vector<FuseClientState>> decoded = DecodeFuse(image);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const std::vector<FuseClientState> clients = SampleGuests();
  EXPECT_THAT(*decoded, ElementsAre(clients[0], clients[1]));
}

// Of the 100 bytes that a name may take with all that belongs to it, see codec_test.
TEST(FuseCodecTest, ANodeTakesFewBytes) {
  std::vector<FuseClientState> clients = SampleGuests();
  clients.resize(1);
  clients[0].session.nodes.clear();
  Image before;
  Encode(clients, before);
  constexpr uint32_t kNodes = 100'000;
  for (uint32_t i = 0; i < kNodes; ++i) {
    clients[0].session.nodes.push_back(
        {.id = 0x1'0000'0000 + uint64_t{i} * 3, .row = i + 1 + (i % 7), .lookups = 1 + i % 3});
  }
  Image image;
  Encode(clients, image);
  EXPECT_LE((image.ByteSizeLong() - before.ByteSizeLong()) / kNodes, 6u);
}

class FuseDamageTest : public ::testing::TestWithParam<Damage<FuseSession>> {};

TEST_P(FuseDamageTest, IsRefused) {
  Image image = MakeImage();
  GetParam().apply(*image.mutable_fuse(0));
  const absl::StatusOr<std::vector<FuseClientState>> decoded = DecodeFuse(image);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(decoded.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, FuseDamageTest,
                         ::testing::ValuesIn(FuseDamages().begin(), FuseDamages().end()),
                         [](const auto& info) { return std::string(info.param.what); });

TEST(FuseCodecTest, TooManySessionsAreRefused) {
  Image image;
  for (int i = 0; i < 1025; ++i) image.add_fuse();
  EXPECT_EQ(DecodeFuse(image).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace gofer::checkpoint
