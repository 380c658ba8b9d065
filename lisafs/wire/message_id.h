// The message numbers of LISAFS and their names.
// Source: spec/lisafs.md s.5; gVisor pkg/lisafs/message.go.

#ifndef LISAFS_WIRE_MESSAGE_ID_H_
#define LISAFS_WIRE_MESSAGE_ID_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace lisafs {

enum class MessageId : uint16_t {
  kError = 0,  // only ever a reply
  kMount = 1,
  kChannel = 2,
  kFStat = 3,
  kSetStat = 4,
  kWalk = 5,
  kWalkStat = 6,
  kOpenAt = 7,
  kOpenCreateAt = 8,
  kClose = 9,
  kFSync = 10,
  kPWrite = 11,
  kPRead = 12,
  kMkdirAt = 13,
  kMknodAt = 14,
  kSymlinkAt = 15,
  kLinkAt = 16,
  kFStatFS = 17,
  kFAllocate = 18,
  kReadLinkAt = 19,
  kFlush = 20,
  kConnect = 21,
  kUnlinkAt = 22,
  kRenameAt = 23,
  kGetdents64 = 24,
  kFGetXattr = 25,
  kFSetXattr = 26,
  kFListXattr = 27,
  kFRemoveXattr = 28,
  kBindAt = 29,
  kListen = 30,
  kAccept = 31,
  kConnectWithCreds = 32,
  kRenameAt2 = 33,
};

inline constexpr size_t kNumMessageIds = 34;

// "WalkStat"; "Unknown" for a number that is no message.
absl::string_view MessageName(MessageId id);

}  // namespace lisafs

#endif  // LISAFS_WIRE_MESSAGE_ID_H_
