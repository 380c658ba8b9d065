#include "lisafs/wire/responses.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lisafs {
namespace {

using gofer::ByteWriter;

template <typename Encode>
std::vector<std::byte> Encoded(Encode&& encode) {
  std::vector<std::byte> buffer(1 << 18);
  ByteWriter writer(buffer);
  encode(writer);
  EXPECT_TRUE(writer.ok());
  buffer.resize(writer.size());
  return buffer;
}

// Every strict prefix must be refused, by a client as by a server.
template <typename Decode>
void ExpectPrefixesRefused(const std::vector<std::byte>& wire, Decode&& decode) {
  for (size_t size = 0; size < wire.size(); ++size) {
    EXPECT_FALSE(decode(Payload(wire).first(size)).ok()) << "prefix of " << size << " bytes";
  }
}

TEST(MountResp, RoundTrips) {
  const auto wire = Encoded([](ByteWriter& writer) {
    EncodeMountResp({.root = {.control_fd = FdId{1}, .stat = {}},
                     .max_message_size = kMaxMessageSize,
                     .supported = {MessageId::kMount, MessageId::kRenameAt2}},
                    writer);
  });
  const auto mount = DecodeMountResp(wire);
  ASSERT_TRUE(mount.ok());
  EXPECT_EQ(mount->max_message_size, kMaxMessageSize);
  EXPECT_EQ(mount->supported.back(), MessageId::kRenameAt2);
  ExpectPrefixesRefused(wire, DecodeMountResp);
}

TEST(WalkResp, StatusIsOneByteBeforeAnUnalignedCount) {
  const auto wire = Encoded([](ByteWriter& writer) {
    EncodeWalkResp(
        {.status = WalkStatus::kComponentSymlink, .inodes = {{.control_fd = FdId{2}, .stat = {}}}},
        writer);
  });
  EXPECT_EQ(wire.size(), 3 + sizeof(Inode));
  const auto walk = DecodeWalkResp(wire);
  ASSERT_TRUE(walk.ok());
  EXPECT_EQ(walk->status, WalkStatus::kComponentSymlink);
  EXPECT_EQ(walk->inodes.at(0).control_fd, FdId{2});
  ExpectPrefixesRefused(wire, DecodeWalkResp);
}

TEST(Getdents64Resp, EntriesStandUnaligned) {
  const auto wire = Encoded([](ByteWriter& writer) {
    EncodeGetdents64Resp(
        {{.ino = 12, .dev_minor = 53, .dev_major = 0, .off = 1, .type = 8, .name = "f"},
         {.ino = 13, .dev_minor = 2, .dev_major = 259, .off = 2, .type = 4, .name = "dir"}},
        writer);
  });
  EXPECT_EQ(wire.size(), 2 + 27 + 1 + 27 + 3u);
  const auto dirents = DecodeGetdents64Resp(wire);
  ASSERT_TRUE(dirents.ok());
  EXPECT_EQ(dirents->at(1).name, "dir");
  EXPECT_EQ(dirents->at(1).dev_major, 259u);
  ExpectPrefixesRefused(wire, DecodeGetdents64Resp);
}

TEST(PReadResp, CountMustBeThere) {
  auto wire = Encoded([](ByteWriter& writer) {
    writer.Write(PReadRespFixed{.num_bytes = 3});
    writer.WriteBytes("abc");
  });
  EXPECT_EQ(*DecodePReadResp(wire), "abc");
  ExpectPrefixesRefused(wire, DecodePReadResp);
  wire[7] = std::byte{255};  // a count near 2^64
  EXPECT_FALSE(DecodePReadResp(wire).ok());
}

TEST(StringArrayResp, RoundTrips) {
  const absl::string_view names[] = {"user.a", "user.bb"};
  const auto wire = Encoded([&](ByteWriter& writer) { WriteStrings(names, writer); });
  EXPECT_EQ(*DecodeStringArrayResp(wire), (std::vector<std::string>{"user.a", "user.bb"}));
  ExpectPrefixesRefused(wire, DecodeStringArrayResp);
}

TEST(WalkStatResp, RoundTrips) {
  const auto wire =
      Encoded([](ByteWriter& writer) { EncodeWalkStatResp(std::vector<Statx>(3), writer); });
  EXPECT_EQ(DecodeWalkStatResp(wire)->size(), 3u);
  ExpectPrefixesRefused(wire, DecodeWalkStatResp);
}

}  // namespace
}  // namespace lisafs
