// What every decoder does with every golden vector is checked in //test/golden; here are the
// shapes.

#include "lisafs/wire/requests.h"

#include <array>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lisafs {
namespace {

using gofer::ByteWriter;

class Encoded {
 public:
  template <typename Encode>
  explicit Encoded(Encode&& encode) : buffer_(1 << 18) {
    ByteWriter writer(buffer_);
    encode(writer);
    ok_ = writer.ok();
    buffer_.resize(writer.size());
  }
  bool ok() const { return ok_; }
  Payload bytes() const { return buffer_; }
  void Append(std::byte byte) { buffer_.push_back(byte); }
  std::byte& operator[](size_t index) { return buffer_[index]; }

 private:
  std::vector<std::byte> buffer_;
  bool ok_;
};

const absl::string_view kPath[] = {"usr", "", "bin"};

TEST(WalkReq, RoundTripsAndRefusesEveryStrictPrefix) {
  const Encoded wire([](ByteWriter& writer) { EncodeWalkReq(FdId{7}, kPath, writer); });
  const auto request = DecodeWalkReq("Walk", wire.bytes());
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->dir_fd, FdId{7});
  std::vector<std::string> names;
  for (const absl::string_view name : request->path) names.emplace_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"usr", "", "bin"}));
  for (size_t size = 0; size < wire.bytes().size(); ++size) {
    EXPECT_FALSE(DecodeWalkReq("Walk", wire.bytes().first(size)).ok())
        << "prefix of " << size << " bytes";
  }
}

TEST(WalkReq, TailIsIgnored) {
  Encoded wire([](ByteWriter& writer) { EncodeWalkReq(FdId{7}, kPath, writer); });
  wire.Append(std::byte{1});
  EXPECT_TRUE(DecodeWalkReq("Walk", wire.bytes()).ok());
}

TEST(StringArray, CountBeyondTheBytesIsRefusedBeforeTheyAreRead) {
  Encoded wire([](ByteWriter& writer) { EncodeWalkReq(FdId{7}, kPath, writer); });
  wire[8] = std::byte{255};
  wire[9] = std::byte{255};
  EXPECT_FALSE(DecodeWalkReq("Walk", wire.bytes()).ok());
}

TEST(StringArray, MostAndLongest) {
  const std::vector<absl::string_view> many(65535, "n");
  const Encoded wire([&](ByteWriter& writer) { WriteStrings(many, writer); });
  gofer::ByteReader reader("test", wire.bytes());
  EXPECT_EQ(StringArray::Read(reader).size(), 65535u);
  EXPECT_TRUE(reader.ok());
  const std::string longest(65535, 'x');
  const Encoded string([&](ByteWriter& writer) { WriteString(longest, writer); });
  gofer::ByteReader string_reader("test", string.bytes());
  EXPECT_EQ(ReadString(string_reader), longest);
}

TEST(WriteString, WhatTheWireCannotSayFails) {
  EXPECT_FALSE(
      Encoded([](ByteWriter& writer) { WriteString(std::string(65536, 'x'), writer); }).ok());
  EXPECT_FALSE(Encoded([](ByteWriter& writer) {
                 WriteStrings(std::vector<absl::string_view>(65536, ""), writer);
               }).ok());
  EXPECT_FALSE(Encoded([](ByteWriter& writer) {
                 WriteFdIds(std::vector<FdId>(65536, FdId{1}), writer);
               }).ok());
}

TEST(FdIdArray, ReadsInPlace) {
  const std::array<FdId, 3> ids = {FdId{3}, FdId{0}, FdId{UINT64_MAX}};
  const Encoded wire([&](ByteWriter& writer) { WriteFdIds(ids, writer); });
  const auto decoded = DecodeFdIdArray("Close", wire.bytes());
  ASSERT_TRUE(decoded.ok());
  ASSERT_EQ(decoded->size(), 3u);
  for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ((*decoded)[i], ids[i]);
}

TEST(RenameAt2Req, FlagsComeAfterTheStrings) {
  const Encoded wire([](ByteWriter& writer) {
    EncodeRenameAt2Req({.rename = {.fixed = {.old_dir = FdId{1}, .new_dir = FdId{2}},
                                   .first = "a",
                                   .second = "bb"},
                        .flags = 2},
                       writer);
  });
  EXPECT_EQ(wire.bytes().back(), std::byte{0});
  EXPECT_EQ(wire.bytes()[wire.bytes().size() - 4], std::byte{2});
  const auto request = DecodeRenameAt2Req(wire.bytes());
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->rename.second, "bb");
  EXPECT_EQ(request->flags, 2u);
  EXPECT_FALSE(DecodeRenameAt2Req(wire.bytes().first(wire.bytes().size() - 1)).ok());
}

}  // namespace
}  // namespace lisafs
