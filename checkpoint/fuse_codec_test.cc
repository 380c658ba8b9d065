#include "checkpoint/fuse_codec.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two guests: one that has said INIT, knows three files, has two open and locks on one; one that has
// not.
std::vector<FuseClientState> MakeClients() {
  fuse::SessionState state;
  state.connected = true;
  state.readonly = true;
  state.minor = 38;
  state.flags = 0x1'0000'0001;
  state.can_resend = true;
  state.next_node_sequence = 8;
  state.next_file_sequence = 0xffffffff;
  state.nodes = {{.id = 0x1'0000'0010, .row = 70, .lookups = 1},
                 {.id = 0x1'0000'0011, .row = 3, .lookups = uint64_t{1} << 40},
                 {.id = 0xffff'fffe'0000'0000, .row = 0, .lookups = 2}};
  state.files = {
      {.id = 0x1'0000'0000, .node = 0x1'0000'0010, .row = 5, .flock = fuse::LockKind::kExclusive},
      {.id = 0x2'0000'0001, .node = 1, .row = 0, .flock = fuse::LockKind::kNone}};
  state.locks = {{.row = 70, .owner = UINT64_MAX, .exclusive = true, .start = 0, .end = INT64_MAX},
                 {.row = 3, .owner = 0, .exclusive = false, .start = 9, .end = 9}};
  return {{.way = "vhost-user", .session = state}, {.way = "fuse", .session = {}}};
}

Image MakeImage() {
  Image image;
  Encode(MakeClients(), image);
  return image;
}

TEST(FuseCodecTest, WhatIsEncodedIsDecoded) {
  std::string bytes;
  ASSERT_TRUE(MakeImage().SerializeToString(&bytes));
  Image image;
  ASSERT_TRUE(image.ParseFromString(bytes));
  const absl::StatusOr<std::vector<FuseClientState>> decoded = DecodeFuse(image);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const std::vector<FuseClientState> clients = MakeClients();
  EXPECT_THAT(*decoded, ElementsAre(clients[0], clients[1]));
}

// Of the 100 bytes that a name may take with all that belongs to it, see codec_test.
TEST(FuseCodecTest, ANodeTakesFewBytes) {
  std::vector<FuseClientState> clients = MakeClients();
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

struct Damage {
  const char* what;
  const char* message;  // a part of the error
  std::function<void(FuseSession&)> apply;
};

class FuseDamageTest : public ::testing::TestWithParam<Damage> {};

TEST_P(FuseDamageTest, IsRefused) {
  Image image = MakeImage();
  GetParam().apply(*image.mutable_fuse(0));
  const absl::StatusOr<std::vector<FuseClientState>> decoded = DecodeFuse(image);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(decoded.status().message(), HasSubstr(GetParam().message));
}

const Damage kDamages[] = {
    {"long_way", "a name of 4097 bytes", [](FuseSession& m) { m.set_way(std::string(4097, 'x')); }},
    {"not_connected", "has not said INIT", [](FuseSession& m) { m.set_connected(false); }},
    {"short_rows", "column node_row has 2 rows",
     [](FuseSession& m) { m.mutable_node_row()->RemoveLast(); }},
    {"long_lookups", "column node_lookups has 4 rows",
     [](FuseSession& m) { m.add_node_lookups(1); }},
    {"short_nodes", "column file_node has 1 rows",
     [](FuseSession& m) { m.mutable_file_node()->RemoveLast(); }},
    {"long_file_rows", "column file_row has 3 rows", [](FuseSession& m) { m.add_file_row(1); }},
    {"short_flocks", "column file_flock has 1 rows",
     [](FuseSession& m) { m.mutable_file_flock()->RemoveLast(); }},
    {"node_twice", "at a distance of 0", [](FuseSession& m) { m.set_node_distance(1, 0); }},
    {"node_zero", "id 0 is followed", [](FuseSession& m) { m.set_node_distance(0, 0); }},
    {"node_wraps", "is followed by one at a distance of",
     [](FuseSession& m) { m.set_node_distance(2, UINT64_MAX); }},
    {"file_twice", "at a distance of 0", [](FuseSession& m) { m.set_file_distance(1, 0); }},
    {"row_below", "is name 18446744073709551615", [](FuseSession& m) { m.set_node_row(0, -1); }},
    {"row_beyond", "is name 2000000, the limit is",
     [](FuseSession& m) { m.set_node_row(0, 2'000'000); }},
    {"row_extreme", "the limit is", [](FuseSession& m) { m.set_node_row(0, INT64_MIN); }},
    {"no_lookups", "has no lookups", [](FuseSession& m) { m.set_node_lookups(1, 0); }},
    {"flock", "a lock of kind 3", [](FuseSession& m) { m.set_file_flock(0, 3); }},
    {"lock_backwards", "is of bytes 10 to 9",
     [](FuseSession& m) { m.mutable_locks(1)->set_start(10); }},
    {"lock_beyond", "to 9223372036854775808",
     [](FuseSession& m) { m.mutable_locks(0)->set_end(uint64_t{1} << 63); }},
};

INSTANTIATE_TEST_SUITE_P(All, FuseDamageTest, ::testing::ValuesIn(kDamages),
                         [](const auto& info) { return std::string(info.param.what); });

TEST(FuseCodecTest, TooManySessionsAreRefused) {
  Image image;
  for (int i = 0; i < 1025; ++i) image.add_fuse();
  EXPECT_EQ(DecodeFuse(image).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace gofer::checkpoint
