// What a LISAFS server answers where the size varies: decoders for the client library and tests,
// and the bounds that the server checks before it starts to work.
//
// The server writes replies in place with ByteWriter, directly into the packet window or the socket
// buffer; the fixed parts are in structs.h. Decoded replies own their contents (clients are no hot
// path of ours).
//
// Errors: kInvalidArgument, naming the message and the sizes. Source: spec/lisafs.md s.5.

#ifndef LISAFS_WIRE_RESPONSES_H_
#define LISAFS_WIRE_RESPONSES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/byte_reader.h"
#include "gofer/base/byte_writer.h"
#include "lisafs/wire/requests.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

// More names than these could make a reply larger than kMaxMessageSize; the server refuses them
// with EIO.
inline constexpr size_t kMaxWalkNames = (kMaxMessageSize - sizeof(WalkRespFixed)) / sizeof(Inode);
inline constexpr size_t kMaxWalkStatNames = (kMaxMessageSize - sizeof(uint16_t)) / sizeof(Statx);
static_assert(kMaxWalkNames == 13770 && kMaxWalkStatNames == 14535);
// The longest PRead.
inline constexpr uint32_t kMaxReadBytes = kMaxMessageSize - sizeof(PReadRespFixed);
inline constexpr uint32_t kMaxWriteBytes = kMaxMessageSize - sizeof(PWriteReqFixed);

struct MountResp {
  Inode root;
  uint32_t max_message_size;
  std::vector<MessageId> supported;
};
absl::StatusOr<MountResp> DecodeMountResp(Payload payload);
void EncodeMountResp(const MountResp& response, gofer::ByteWriter& writer);

struct WalkResp {
  WalkStatus status;
  std::vector<Inode> inodes;
};
absl::StatusOr<WalkResp> DecodeWalkResp(Payload payload);
void EncodeWalkResp(const WalkResp& response, gofer::ByteWriter& writer);

absl::StatusOr<std::vector<Statx>> DecodeWalkStatResp(Payload payload);
void EncodeWalkStatResp(const std::vector<Statx>& stats, gofer::ByteWriter& writer);

struct Dirent {
  uint64_t ino;
  uint32_t dev_minor;
  uint32_t dev_major;
  uint64_t off;
  uint8_t type;
  std::string name;
};
absl::StatusOr<std::vector<Dirent>> DecodeGetdents64Resp(Payload payload);
void EncodeGetdents64Resp(const std::vector<Dirent>& dirents, gofer::ByteWriter& writer);

// ReadLinkAt, FGetXattr and Accept.
absl::StatusOr<std::string> DecodeStringResp(absl::string_view message, Payload payload);
// FListXattr.
absl::StatusOr<std::vector<std::string>> DecodeStringArrayResp(Payload payload);

// PRead: the data stays in `payload`.
absl::StatusOr<absl::string_view> DecodePReadResp(Payload payload);

}  // namespace lisafs

#endif  // LISAFS_WIRE_RESPONSES_H_
