// Opcode: the operations of FUSE, by the numbers of <linux/fuse.h>.
//
// An opcode read from a peer may hold any number; Index tells whether there is a row for it.
// Source: linux/fuse.h 7.41 enum fuse_opcode; spec/fuse.md s.3.

#ifndef FUSE_WIRE_OPCODE_H_
#define FUSE_WIRE_OPCODE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace gofer::fuse {

enum class Opcode : uint32_t {
  kLookup = 1,
  kForget = 2,
  kGetattr = 3,
  kSetattr = 4,
  kReadlink = 5,
  kSymlink = 6,
  kMknod = 8,
  kMkdir = 9,
  kUnlink = 10,
  kRmdir = 11,
  kRename = 12,
  kLink = 13,
  kOpen = 14,
  kRead = 15,
  kWrite = 16,
  kStatfs = 17,
  kRelease = 18,
  kFsync = 20,
  kSetxattr = 21,
  kGetxattr = 22,
  kListxattr = 23,
  kRemovexattr = 24,
  kFlush = 25,
  kInit = 26,
  kOpendir = 27,
  kReaddir = 28,
  kReleasedir = 29,
  kFsyncdir = 30,
  kGetlk = 31,
  kSetlk = 32,
  kSetlkw = 33,
  kAccess = 34,
  kCreate = 35,
  kInterrupt = 36,
  kBmap = 37,
  kDestroy = 38,
  kIoctl = 39,
  kPoll = 40,
  kNotifyReply = 41,
  kBatchForget = 42,
  kFallocate = 43,
  kReaddirplus = 44,
  kRename2 = 45,
  kLseek = 46,
  kCopyFileRange = 47,
  kSetupmapping = 48,
  kRemovemapping = 49,
  kSyncfs = 50,
  kTmpfile = 51,
  kStatx = 52,
};
// All opcodes above are below it.
inline constexpr size_t kNumOpcodes = 53;

// "LOOKUP"; "?" for a number without a name.
absl::string_view OpcodeName(Opcode opcode);

}  // namespace gofer::fuse

#endif  // FUSE_WIRE_OPCODE_H_
