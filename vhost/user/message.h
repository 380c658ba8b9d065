// The messages by which a front-end (QEMU, cloud-hypervisor) sets up a vhost-user device: their
// ids, what each carries and how it is answered, and the structs on the wire.
//
// Owner:   values. Threads: safe.
// Errors:  a payload of another size, or with bits that mean nothing: kInvalidArgument.
// Units:   bytes, in host byte order.
// Source:  the vhost-user protocol; spec/vhost-user-fs.md s.2, s.3 and s.4.

#ifndef VHOST_USER_MESSAGE_H_
#define VHOST_USER_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/base/byte_reader.h"
#include "vhost/memory/memory_region.h"

namespace gofer::vhost::user {

// ---- the frame

// Every message that this back-end understands. Others are refused without ending the connection.
enum class MessageId : uint32_t {
  kGetFeatures = 1,
  kSetFeatures = 2,
  kSetOwner = 3,
  kResetOwner = 4,
  kSetMemTable = 5,
  kSetLogBase = 6,
  kSetLogFd = 7,
  kSetVringNum = 8,
  kSetVringAddr = 9,
  kSetVringBase = 10,
  kGetVringBase = 11,
  kSetVringKick = 12,
  kSetVringCall = 13,
  kSetVringErr = 14,
  kGetProtocolFeatures = 15,
  kSetProtocolFeatures = 16,
  kGetQueueNum = 17,
  kSetVringEnable = 18,
  kSetBackendReqFd = 21,
  kGetConfig = 24,
  kSetConfig = 25,
  kGetInflightFd = 31,
  kSetInflightFd = 32,
  kResetDevice = 34,
  kGetMaxMemSlots = 36,
  kAddMemReg = 37,
  kRemMemReg = 38,
  kSetDeviceStateFd = 42,
  kCheckDeviceState = 43,
};

struct MessageHeader {
  MessageId id;
  uint32_t flags;
  uint32_t size;  // of the payload
};
static_assert(WireStruct<MessageHeader> && sizeof(MessageHeader) == 12);

inline constexpr uint32_t kVersionMask = 3;
inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kReplyFlag = 1 << 2;
inline constexpr uint32_t kNeedReplyFlag = 1 << 3;
// All flags of a reply. QEMU compares for equality.
inline constexpr uint32_t kReplyFlags = kVersion | kReplyFlag;

// A longer payload ends the connection: nothing that a front-end sends is near it.
inline constexpr size_t kMaxPayload = 4096;

// How a message is answered.
enum class Answer {
  kAck,       // a u64, 0 for success, if it was asked for and REPLY_ACK is negotiated
  kVitalAck,  // the same; but where nobody asked, a failure ends the connection: nothing else tells
  kReply,     // always, with a payload of its own
};

struct MessageRule {
  MessageId id;
  const char* name;
  uint32_t min_size;
  uint32_t max_size;
  uint8_t min_fds;
  uint8_t max_fds;
  Answer answer;
};

// Null for an id that is not served.
const MessageRule* FindMessageRule(MessageId id);
// "SET_VRING_ADDR", or the number.
std::string MessageName(MessageId id);

// ---- payloads, with the fields in the protocol's order

struct VringState {
  uint32_t index;
  uint32_t num;
};
static_assert(WireStruct<VringState> && sizeof(VringState) == 8);

// The addresses are in the front-end's own process, but `log`, which is the guest's.
struct VringAddr {
  uint32_t index;
  uint32_t flags;
  uint64_t desc;
  uint64_t used;
  uint64_t avail;
  uint64_t log;
};
static_assert(WireStruct<VringAddr> && sizeof(VringAddr) == 40);
// Writes into the used ring are marked in the log, from `log` on.
inline constexpr uint32_t kVringAddrLog = 1 << 0;

struct LogArea {
  uint64_t size;
  uint64_t offset;
};
static_assert(WireStruct<LogArea> && sizeof(LogArea) == 16);

// Front-ends send it with the padding that their compilers put at its end, or without.
struct InflightArea {
  uint64_t size;
  uint64_t offset;
  uint16_t num_queues;
  uint16_t queue_size;
  uint32_t padding;
};
static_assert(WireStruct<InflightArea> && sizeof(InflightArea) == 24);
inline constexpr size_t kInflightAreaUnpadded = 20;

struct ConfigHeader {
  uint32_t offset;
  uint32_t size;
  uint32_t flags;
};
static_assert(WireStruct<ConfigHeader> && sizeof(ConfigHeader) == 12);
inline constexpr size_t kMaxConfig = 256;

struct DeviceStateTransfer {
  uint32_t direction;
  uint32_t phase;
};
static_assert(WireStruct<DeviceStateTransfer> && sizeof(DeviceStateTransfer) == 8);
inline constexpr uint32_t kStateSave = 0;  // we write
inline constexpr uint32_t kStateLoad = 1;  // we read
inline constexpr uint32_t kPhaseStopped = 0;
// Of the reply: no descriptor of ours instead of the one received; and that it failed.
inline constexpr uint64_t kStateReplyNoFd = 1 << 8;
inline constexpr uint64_t kStateReplyFailed = 1 << 0;

// ---- decoding

// The payload as one struct, exactly.
template <WireStruct T>
absl::StatusOr<T> DecodePayload(absl::string_view message, std::span<const std::byte> payload) {
  ByteReader reader(message, payload);
  const T value = reader.Read<T>();
  return std::move(reader).FinishExact(value);
}

inline constexpr size_t kMaxRegionsInTable = 8;
static_assert(WireStruct<RegionLayout> && sizeof(RegionLayout) == 32);

absl::StatusOr<std::vector<RegionLayout>> DecodeMemoryTable(std::span<const std::byte> payload);
// ADD_MEM_REG and REM_MEM_REG.
absl::StatusOr<RegionLayout> DecodeMemoryRegion(std::span<const std::byte> payload);

// SET_VRING_KICK, _CALL and _ERR.
struct VringFd {
  uint8_t index;
  bool has_fd;
};
absl::StatusOr<VringFd> DecodeVringFd(std::span<const std::byte> payload);

absl::StatusOr<InflightArea> DecodeInflightArea(std::span<const std::byte> payload);
// GET_CONFIG and SET_CONFIG: the header; as many bytes as it says follow.
absl::StatusOr<ConfigHeader> DecodeConfigHeader(std::span<const std::byte> payload);

// ---- features

// Of the device, GET_FEATURES: the virtio bits that this back-end knows, and the protocol's two.
inline constexpr uint64_t kFeatureNotifyOnEmpty = uint64_t{1} << 24;
inline constexpr uint64_t kFeatureLogAll = uint64_t{1} << 26;
inline constexpr uint64_t kFeatureAnyLayout = uint64_t{1} << 27;
inline constexpr uint64_t kFeatureIndirectDesc = uint64_t{1} << 28;
inline constexpr uint64_t kFeatureEventIdx = uint64_t{1} << 29;
inline constexpr uint64_t kFeatureProtocolFeatures = uint64_t{1} << 30;
inline constexpr uint64_t kFeatureVersion1 = uint64_t{1} << 32;

// Of the protocol, GET_PROTOCOL_FEATURES.
inline constexpr uint64_t kProtocolMq = uint64_t{1} << 0;
inline constexpr uint64_t kProtocolLogShmfd = uint64_t{1} << 1;
inline constexpr uint64_t kProtocolReplyAck = uint64_t{1} << 3;
inline constexpr uint64_t kProtocolBackendReq = uint64_t{1} << 5;
inline constexpr uint64_t kProtocolConfig = uint64_t{1} << 9;
inline constexpr uint64_t kProtocolBackendSendFd = uint64_t{1} << 10;
inline constexpr uint64_t kProtocolInflightShmfd = uint64_t{1} << 12;
inline constexpr uint64_t kProtocolResetDevice = uint64_t{1} << 13;
inline constexpr uint64_t kProtocolConfigureMemSlots = uint64_t{1} << 15;
inline constexpr uint64_t kProtocolDeviceState = uint64_t{1} << 19;

}  // namespace gofer::vhost::user

#endif  // VHOST_USER_MESSAGE_H_
