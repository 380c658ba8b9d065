#include "gofer/base/byte_reader.h"

#include <array>
#include <cstdint>
#include <vector>

#include "gofer/base/byte_writer.h"
#include "gtest/gtest.h"

namespace gofer {
namespace {

struct Pair {
  uint16_t low;
  uint16_t high;
};
static_assert(WireStruct<Pair>);
struct Padded {
  uint8_t byte;
  uint32_t word;
};
static_assert(!WireStruct<Padded>, "padding would carry our stack to the peer");

std::vector<std::byte> Bytes(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

TEST(ByteReader, ReadsLittleEndianInOrder) {
  const auto bytes = Bytes({1, 0, 2, 0, 'a', 'b', 7});
  ByteReader reader("test", bytes);
  const Pair pair = reader.Read<Pair>();
  EXPECT_EQ(pair.low, 1);
  EXPECT_EQ(pair.high, 2);
  EXPECT_EQ(reader.ReadBytes(2), "ab");
  EXPECT_EQ(reader.remaining(), 1u);
  EXPECT_EQ(*std::move(reader).FinishPrefix(pair.low), 1);
}

TEST(ByteReader, EveryReadAfterAFailureIsZero) {
  const auto bytes = Bytes({1, 2, 3});
  ByteReader reader("test", bytes);
  EXPECT_EQ(reader.Read<uint32_t>(), 0u);
  EXPECT_EQ(reader.Read<uint8_t>(), 0u) << "a byte is there, but the message has failed";
  EXPECT_TRUE(reader.ReadBytes(1).empty());
  EXPECT_TRUE(reader.ReadSpan(1).empty());
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(std::move(reader).FinishPrefix(0).status().message(),
            "test: message of 3 bytes is 1 bytes too short");
}

TEST(ByteReader, HugeLengthDoesNotWrap) {
  const auto bytes = Bytes({1, 2, 3});
  ByteReader reader("test", bytes);
  EXPECT_TRUE(reader.ReadBytes(SIZE_MAX).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, TailIsIgnoredOrAnError) {
  const auto bytes = Bytes({1, 2});
  ByteReader prefix("test", bytes);
  prefix.Read<uint8_t>();
  EXPECT_TRUE(std::move(prefix).FinishPrefix(0).ok());
  ByteReader exact("test", bytes);
  exact.Read<uint8_t>();
  EXPECT_EQ(std::move(exact).FinishExact(0).status().message(),
            "test: message of 2 bytes has 1 bytes left over");
}

TEST(ByteReader, FailIsForCountsThatCannotBeTrue) {
  const auto bytes = Bytes({255, 255});
  ByteReader reader("test", bytes);
  reader.Read<uint16_t>();
  reader.Fail();
  EXPECT_FALSE(std::move(reader).FinishPrefix(0).ok());
}

TEST(ByteReader, TakesTerminatedStrings) {
  const auto bytes = Bytes({'a', 'b', 0, 0, 'c'});
  ByteReader reader("test", bytes);
  EXPECT_EQ(reader.ReadTerminated(), "ab");
  EXPECT_EQ(reader.ReadTerminated(), "");
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.ReadTerminated(), "") << "no NUL behind it";
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(std::move(reader).FinishPrefix(0).status().message(),
            "test: message of 5 bytes is 1 bytes too short");
}

TEST(ByteWriter, PacksAndCounts) {
  std::array<std::byte, 8> buffer = {};
  ByteWriter writer(buffer);
  writer.Write(uint16_t{0x0201});
  writer.WriteBytes("ab");
  EXPECT_EQ(writer.size(), 4u);
  EXPECT_EQ(writer.remaining(), 4u);
  writer.Patch(0, uint16_t{0x0403});
  EXPECT_TRUE(writer.ok());
  EXPECT_EQ(buffer[0], std::byte{3});
  EXPECT_EQ(buffer[3], std::byte{'b'});
}

TEST(ByteWriter, WritesNothingThatDoesNotFit) {
  std::array<std::byte, 4> buffer = {};
  const std::span<std::byte> three = std::span(buffer).first(3);
  ByteWriter writer(three);
  writer.Write(uint32_t{0xffffffff});
  EXPECT_FALSE(writer.ok());
  writer.Write(uint8_t{1});
  EXPECT_FALSE(writer.ok()) << "sticky: a reply with a hole must not go out";
  for (const std::byte byte : buffer) EXPECT_EQ(byte, std::byte{0});
}

TEST(ByteWriter, PatchStaysInWhatWasWritten) {
  std::array<std::byte, 4> buffer = {};
  ByteWriter writer(buffer);
  writer.Write(uint16_t{0});
  writer.Patch(1, uint16_t{1});
  EXPECT_FALSE(writer.ok());
}

TEST(ByteWriter, ClearMakesRoomForAnErrorReply) {
  std::array<std::byte, 2> buffer = {};
  ByteWriter writer(buffer);
  writer.Write(uint32_t{1});
  writer.Clear();
  writer.Write(uint16_t{5});
  EXPECT_TRUE(writer.ok());
  EXPECT_EQ(writer.size(), 2u);
}

}  // namespace
}  // namespace gofer
