#include "checkpoint/lisafs_codec.h"

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/damages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Image MakeImage() {
  Image image;
  Encode(SampleSandboxes(), image);
  return image;
}

TEST(LisafsCodecTest, WhatIsEncodedIsDecoded) {
  std::string bytes;
  ASSERT_TRUE(MakeImage().SerializeToString(&bytes));
  Image image;
  ASSERT_TRUE(image.ParseFromString(bytes));
  const absl::StatusOr<lisafs::ServerState> decoded = DecodeLisafs(image);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const lisafs::ServerState state = SampleSandboxes();
  EXPECT_THAT(decoded->connections, ElementsAre(state.connections[0], state.connections[1]));
}

class LisafsDamageTest : public ::testing::TestWithParam<Damage<LisafsConnection>> {};

TEST_P(LisafsDamageTest, IsRefused) {
  Image image = MakeImage();
  GetParam().apply(*image.mutable_lisafs(0));
  const absl::StatusOr<lisafs::ServerState> decoded = DecodeLisafs(image);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(decoded.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, LisafsDamageTest,
                         ::testing::ValuesIn(LisafsDamages().begin(), LisafsDamages().end()),
                         [](const auto& info) { return std::string(info.param.what); });

TEST(LisafsCodecTest, TooManyClientsAreRefused) {
  Image image;
  for (int i = 0; i < 1025; ++i) image.add_lisafs();
  EXPECT_EQ(DecodeLisafs(image).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace gofer::checkpoint
