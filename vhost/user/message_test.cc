#include "vhost/user/message.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace gofer::vhost::user {
namespace {

std::vector<std::byte> Bytes(absl::string_view hex) {
  const std::string bytes = absl::HexStringToBytes(absl::StrReplaceAll(hex, {{" ", ""}}));
  const auto* const begin = reinterpret_cast<const std::byte*>(bytes.data());
  return std::vector<std::byte>(begin, begin + bytes.size());
}

// As cloud-hypervisor sends it for a guest of 5 GiB: two regions of one file.
constexpr char kTable[] =
    "02000000 00000000"  // two regions, padding
    "0000000000000000 000000c000000000 0000004000700000 0000000000000000"
    "0000000001000000 0000008000000000 0000000000710000 000000c000000000";
constexpr char kSingle[] =
    "0000000000000000"  // padding
    "0010000000000000 0000001000000000 00a0c0de00700000 0020000000000000";

TEST(MessageHeader, Golden) {
  // SET_VRING_ADDR that wants a reply.
  const auto header = DecodePayload<MessageHeader>("header", Bytes("09000000 09000000 28000000"));
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->id, MessageId::kSetVringAddr);
  EXPECT_EQ(header->flags, kVersion | kNeedReplyFlag);
  EXPECT_EQ(header->size, sizeof(VringAddr));
  EXPECT_EQ(kReplyFlags, 5u);
}

TEST(DecodeMemoryTable, Golden) {
  const auto table = DecodeMemoryTable(Bytes(kTable));
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->size(), 2u);
  EXPECT_EQ((*table)[0].guest_address, 0u);
  EXPECT_EQ((*table)[0].size, 0xc0000000u);
  EXPECT_EQ((*table)[0].user_address, 0x700040000000u);
  EXPECT_EQ((*table)[0].file_offset, 0u);
  EXPECT_EQ((*table)[1].guest_address, 0x100000000u);
  EXPECT_EQ((*table)[1].size, 0x80000000u);
  EXPECT_EQ((*table)[1].user_address, 0x710000000000u);
  EXPECT_EQ((*table)[1].file_offset, 0xc0000000u);
}

TEST(DecodeMemoryTable, CountsThatAreNotTrue) {
  std::vector<std::byte> wire = Bytes(kTable);
  for (const uint32_t count : {0u, 1u, 3u, 8u, 9u, 0x08000000u, 0xffffffffu}) {
    std::memcpy(wire.data(), &count, sizeof(count));
    EXPECT_FALSE(DecodeMemoryTable(wire).ok()) << count;
  }
  EXPECT_TRUE(DecodeMemoryTable(Bytes("00000000 00000000")).ok());
}

TEST(DecodeMemoryRegion, Golden) {
  const auto region = DecodeMemoryRegion(Bytes(kSingle));
  ASSERT_TRUE(region.ok());
  EXPECT_EQ(region->guest_address, 0x1000u);
  EXPECT_EQ(region->size, 0x10000000u);
  EXPECT_EQ(region->user_address, 0x7000dec0a000u);
  EXPECT_EQ(region->file_offset, 0x2000u);
}

TEST(DecodeVringAddr, UsedStandsBeforeAvail) {
  const auto addr = DecodePayload<VringAddr>(
      "SET_VRING_ADDR", Bytes("01000000 01000000 0001000000000000 0002000000000000"
                              "0003000000000000 0004000000000000"));
  ASSERT_TRUE(addr.ok());
  EXPECT_EQ(addr->index, 1u);
  EXPECT_EQ(addr->flags, kVringAddrLog);
  EXPECT_EQ(addr->desc, 0x100u);
  EXPECT_EQ(addr->used, 0x200u);
  EXPECT_EQ(addr->avail, 0x300u);
  EXPECT_EQ(addr->log, 0x400u);
}

TEST(DecodeVringFd, Golden) {
  const auto with = DecodeVringFd(Bytes("ff00000000000000"));
  ASSERT_TRUE(with.ok());
  EXPECT_EQ(with->index, 255);
  EXPECT_TRUE(with->has_fd);
  const auto without = DecodeVringFd(Bytes("0101000000000000"));
  ASSERT_TRUE(without.ok());
  EXPECT_EQ(without->index, 1);
  EXPECT_FALSE(without->has_fd);
}

TEST(DecodeVringFd, EveryOtherBitIsRefused) {
  for (int bit = 9; bit < 64; ++bit) {
    const uint64_t value = uint64_t{1} << bit;
    EXPECT_FALSE(DecodeVringFd(std::as_bytes(std::span(&value, 1))).ok()) << bit;
  }
}

TEST(DecodeInflightArea, WithAndWithoutPadding) {
  for (const char* wire : {"0010000000000000 0000000000000000 0200 0004",
                           "0010000000000000 0000000000000000 0200 0004 00000000"}) {
    const auto area = DecodeInflightArea(Bytes(wire));
    ASSERT_TRUE(area.ok());
    EXPECT_EQ(area->size, 0x1000u);
    EXPECT_EQ(area->num_queues, 2);
    EXPECT_EQ(area->queue_size, 1024);
  }
  for (size_t size = 0; size < 32; ++size) {
    const std::vector<std::byte> wire(size);
    EXPECT_EQ(DecodeInflightArea(wire).ok(), size == 20 || size == 24) << size;
  }
}

TEST(DecodeConfigHeader, SaysHowMuchFollows) {
  EXPECT_TRUE(DecodeConfigHeader(Bytes("00000000 04000000 00000000 aabbccdd")).ok());
  EXPECT_FALSE(DecodeConfigHeader(Bytes("00000000 05000000 00000000 aabbccdd")).ok());
  EXPECT_FALSE(DecodeConfigHeader(Bytes("00000000 03000000 00000000 aabbccdd")).ok());
  EXPECT_FALSE(DecodeConfigHeader(Bytes("00000000 ffffffff 00000000 aabbccdd")).ok());
}

TEST(Decoders, EveryStrictPrefixAndEveryTailIsRejected) {
  struct Case {
    const char* name;
    std::vector<std::byte> wire;
    std::function<bool(std::span<const std::byte>)> decodes;
  };
  const Case cases[] = {
      {"table", Bytes(kTable), [](auto b) { return DecodeMemoryTable(b).ok(); }},
      {"region", Bytes(kSingle), [](auto b) { return DecodeMemoryRegion(b).ok(); }},
      {"vring fd", Bytes("0100000000000000"), [](auto b) { return DecodeVringFd(b).ok(); }},
      {"config", Bytes("00000000 04000000 00000000 aabbccdd"),
       [](auto b) { return DecodeConfigHeader(b).ok(); }},
      {"state", std::vector<std::byte>(sizeof(VringState)),
       [](auto b) { return DecodePayload<VringState>("", b).ok(); }},
      {"log", std::vector<std::byte>(sizeof(LogArea)),
       [](auto b) { return DecodePayload<LogArea>("", b).ok(); }},
  };
  for (const Case& c : cases) {
    EXPECT_TRUE(c.decodes(c.wire)) << c.name;
    for (size_t n = 0; n < c.wire.size(); ++n) {
      EXPECT_FALSE(c.decodes(std::span(c.wire).first(n))) << c.name << ", " << n << " bytes";
    }
    std::vector<std::byte> longer = c.wire;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(c.decodes(longer)) << c.name;
  }
}

TEST(FindMessageRule, EveryIdAndNoOther) {
  size_t served = 0;
  for (uint32_t id = 0; id < 300; ++id) {
    const MessageRule* const rule = FindMessageRule(MessageId{id});
    if (rule == nullptr) continue;
    ++served;
    EXPECT_EQ(static_cast<uint32_t>(rule->id), id);
    EXPECT_LE(rule->min_size, rule->max_size);
    EXPECT_LE(rule->max_size, kMaxPayload);
    EXPECT_LE(rule->min_fds, rule->max_fds);
  }
  EXPECT_EQ(served, 29u);
  EXPECT_EQ(FindMessageRule(MessageId{0xffffffff}), nullptr);
  EXPECT_EQ(MessageName(MessageId::kSetVringAddr), "SET_VRING_ADDR");
  EXPECT_EQ(MessageName(MessageId{28}), "message 28");
}

}  // namespace
}  // namespace gofer::vhost::user
