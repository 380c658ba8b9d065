#include "checkpoint/codec.h"

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "checkpoint/damages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::checkpoint {
namespace {

using ::testing::HasSubstr;

TEST(CodecTest, WhatIsEncodedIsDecoded) {
  const fs::FilesystemState state = SampleFiles();
  std::string bytes;
  ASSERT_TRUE(Encode(state).SerializeToString(&bytes));
  Filesystem message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  const absl::StatusOr<fs::FilesystemState> decoded = Decode(message);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->inodes, state.inodes);
  EXPECT_EQ(decoded->dentries, state.dentries);
  EXPECT_EQ(decoded->handles, state.handles);
  EXPECT_EQ(decoded->deleted_files, state.deleted_files);
}

TEST(CodecTest, AFileTakesFewBytes) {
  fs::FilesystemState state = SampleFiles();
  const size_t before = Encode(state).ByteSizeLong();
  constexpr uint32_t kFiles = 10'000;
  for (uint32_t i = 0; i < kFiles; ++i) {
    state.inodes.push_back(SampleInode(S_IFREG, 1'000'000 + i));
    state.inodes.back().handle.resize(12);
    state.inodes.back().size = 100'000 + i;
    state.inodes.back().mtime = {.sec = 1'700'000'000 + i * 7, .nsec = 123'456'789 + i};
    state.inodes.back().ctime = state.inodes.back().mtime;
    state.inodes.back().birth = state.inodes.back().mtime;
    state.dentries.push_back({.parent = 1,
                              .inode = static_cast<uint32_t>(state.inodes.size() - 1),
                              .name = absl::StrCat("some_file_", i, ".txt"),
                              .deleted = false});
  }
  EXPECT_LE((Encode(state).ByteSizeLong() - before) / kFiles, 100u);
}

class DamageTest : public ::testing::TestWithParam<Damage<Filesystem>> {};

TEST_P(DamageTest, IsRefused) {
  Filesystem message = Encode(SampleFiles());
  GetParam().apply(message);
  const absl::StatusOr<fs::FilesystemState> decoded = Decode(message);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(decoded.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, DamageTest,
                         ::testing::ValuesIn(FilesystemDamages().begin(),
                                             FilesystemDamages().end()),
                         [](const auto& info) { return std::string(info.param.what); });

}  // namespace
}  // namespace gofer::checkpoint
