#include "vhost/user/message.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"

namespace gofer::vhost::user {
namespace {

using enum MessageId;
using enum Answer;

constexpr uint32_t kU64 = 8;
constexpr uint32_t kRegion = sizeof(RegionLayout);
constexpr uint32_t kTableHeader = 8;
constexpr uint32_t kSingleRegion = 8 + kRegion;
constexpr uint32_t kState = sizeof(VringState);
constexpr uint32_t kConfig = sizeof(ConfigHeader);

// In the order of the ids.
constexpr MessageRule kRules[] = {
    // id, name, size of the payload: least, most, descriptors: least, most, answer
    {kGetFeatures, "GET_FEATURES", 0, 0, 0, 0, kReply},
    {kSetFeatures, "SET_FEATURES", kU64, kU64, 0, 0, kVitalAck},
    {kSetOwner, "SET_OWNER", 0, 0, 0, 0, kAck},
    {kResetOwner, "RESET_OWNER", 0, 0, 0, 0, kAck},
    {kSetMemTable, "SET_MEM_TABLE", kTableHeader, kTableHeader + kMaxRegionsInTable* kRegion, 0,
     kMaxRegionsInTable, kVitalAck},
    {kSetLogBase, "SET_LOG_BASE", sizeof(LogArea), sizeof(LogArea), 1, 1, kReply},
    {kSetLogFd, "SET_LOG_FD", 0, kU64, 1, 1, kAck},
    {kSetVringNum, "SET_VRING_NUM", kState, kState, 0, 0, kAck},
    {kSetVringAddr, "SET_VRING_ADDR", sizeof(VringAddr), sizeof(VringAddr), 0, 0, kAck},
    {kSetVringBase, "SET_VRING_BASE", kState, kState, 0, 0, kAck},
    {kGetVringBase, "GET_VRING_BASE", kState, kState, 0, 0, kReply},
    {kSetVringKick, "SET_VRING_KICK", kU64, kU64, 0, 1, kAck},
    {kSetVringCall, "SET_VRING_CALL", kU64, kU64, 0, 1, kAck},
    {kSetVringErr, "SET_VRING_ERR", kU64, kU64, 0, 1, kAck},
    {kGetProtocolFeatures, "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, kReply},
    {kSetProtocolFeatures, "SET_PROTOCOL_FEATURES", kU64, kU64, 0, 0, kVitalAck},
    {kGetQueueNum, "GET_QUEUE_NUM", 0, 0, 0, 0, kReply},
    {kSetVringEnable, "SET_VRING_ENABLE", kState, kState, 0, 0, kAck},
    {kSetBackendReqFd, "SET_BACKEND_REQ_FD", 0, 0, 1, 1, kAck},
    {kGetConfig, "GET_CONFIG", kConfig, kConfig + kMaxConfig, 0, 0, kReply},
    {kSetConfig, "SET_CONFIG", kConfig, kConfig + kMaxConfig, 0, 0, kAck},
    {kGetInflightFd, "GET_INFLIGHT_FD", kInflightAreaUnpadded, sizeof(InflightArea), 0, 0, kReply},
    {kSetInflightFd, "SET_INFLIGHT_FD", kInflightAreaUnpadded, sizeof(InflightArea), 1, 1,
     kVitalAck},
    {kResetDevice, "RESET_DEVICE", 0, 0, 0, 0, kAck},
    {kGetMaxMemSlots, "GET_MAX_MEM_SLOTS", 0, 0, 0, 0, kReply},
    {kAddMemReg, "ADD_MEM_REG", kSingleRegion, kSingleRegion, 1, 1, kVitalAck},
    // cloud-hypervisor's library sends the descriptor along.
    {kRemMemReg, "REM_MEM_REG", kSingleRegion, kSingleRegion, 0, 1, kVitalAck},
    {kSetDeviceStateFd, "SET_DEVICE_STATE_FD", sizeof(DeviceStateTransfer),
     sizeof(DeviceStateTransfer), 1, 1, kReply},
    {kCheckDeviceState, "CHECK_DEVICE_STATE", 0, 0, 0, 0, kReply},
};

constexpr bool Before(const MessageRule& rule, MessageId id) { return rule.id < id; }

constexpr uint64_t kVringIndexMask = 0xff;
constexpr uint64_t kVringNoFd = 1 << 8;

}  // namespace

const MessageRule* FindMessageRule(MessageId id) {
  const auto* const found = std::lower_bound(std::begin(kRules), std::end(kRules), id, Before);
  return found != std::end(kRules) && found->id == id ? found : nullptr;
}

std::string MessageName(MessageId id) {
  const MessageRule* const rule = FindMessageRule(id);
  return rule != nullptr ? rule->name : absl::StrCat("message ", static_cast<uint32_t>(id));
}

absl::StatusOr<std::vector<RegionLayout>> DecodeMemoryTable(std::span<const std::byte> payload) {
  ByteReader reader("SET_MEM_TABLE", payload);
  const uint32_t count = reader.Read<uint32_t>();
  (void)reader.Read<uint32_t>();  // padding
  if (count > kMaxRegionsInTable) reader.Fail();
  std::vector<RegionLayout> regions;
  for (uint32_t i = 0; i < count && reader.ok(); ++i)
    regions.push_back(reader.Read<RegionLayout>());
  return std::move(reader).FinishExact(std::move(regions));
}

absl::StatusOr<RegionLayout> DecodeMemoryRegion(std::span<const std::byte> payload) {
  ByteReader reader("ADD_MEM_REG or REM_MEM_REG", payload);
  (void)reader.Read<uint64_t>();  // padding
  const RegionLayout layout = reader.Read<RegionLayout>();
  return std::move(reader).FinishExact(layout);
}

absl::StatusOr<VringFd> DecodeVringFd(std::span<const std::byte> payload) {
  ASSIGN_OR_RETURN(const uint64_t value, DecodePayload<uint64_t>("descriptor of a ring", payload));
  if ((value & ~(kVringIndexMask | kVringNoFd)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("descriptor of a ring: value 0x",
                                                   absl::Hex(value),
                                                   " has more than an index and the bit for none"));
  }
  return VringFd{.index = static_cast<uint8_t>(value & kVringIndexMask),
                 .has_fd = (value & kVringNoFd) == 0};
}

absl::StatusOr<InflightArea> DecodeInflightArea(std::span<const std::byte> payload) {
  ByteReader reader("in-flight area", payload);
  InflightArea area = {};
  area.size = reader.Read<uint64_t>();
  area.offset = reader.Read<uint64_t>();
  area.num_queues = reader.Read<uint16_t>();
  area.queue_size = reader.Read<uint16_t>();
  if (reader.remaining() > 0) (void)reader.Read<uint32_t>();
  return std::move(reader).FinishExact(area);
}

absl::StatusOr<ConfigHeader> DecodeConfigHeader(std::span<const std::byte> payload) {
  ByteReader reader("GET_CONFIG or SET_CONFIG", payload);
  const ConfigHeader header = reader.Read<ConfigHeader>();
  (void)reader.ReadBytes(header.size);
  return std::move(reader).FinishExact(header);
}

}  // namespace gofer::vhost::user
