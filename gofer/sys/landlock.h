// Landlock: from now on a process opens, makes and removes files only below the directories it
// names, and does not reach sockets and processes outside.
//
// It looks at where a file is, by walking from it to the root of its mounts, when it is opened.
// What is open already, and what comes by a socket, is not looked at; neither are O_PATH, stat,
// chmod, chown, times and extended attributes.
//
// Threads: the calling thread and those that it starts; so before there is a second one.
// Errors:  the kernel's errno. ENOSYS, EOPNOTSUPP: a kernel without it.
// Source:  landlock(7), Documentation/userspace-api/landlock.rst.

#ifndef GOFER_SYS_LANDLOCK_H_
#define GOFER_SYS_LANDLOCK_H_

#include <cstdint>
#include <span>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// What may be done with files, as the kernel numbers it. A headers package may be older than the
// kernel, so they are not taken from there.
inline constexpr uint64_t kLandlockExecute = 1 << 0;
inline constexpr uint64_t kLandlockWriteFile = 1 << 1;
inline constexpr uint64_t kLandlockReadFile = 1 << 2;
inline constexpr uint64_t kLandlockReadDir = 1 << 3;
inline constexpr uint64_t kLandlockRemoveDir = 1 << 4;
inline constexpr uint64_t kLandlockRemoveFile = 1 << 5;
inline constexpr uint64_t kLandlockMakeChar = 1 << 6;
inline constexpr uint64_t kLandlockMakeDir = 1 << 7;
inline constexpr uint64_t kLandlockMakeReg = 1 << 8;
inline constexpr uint64_t kLandlockMakeSock = 1 << 9;
inline constexpr uint64_t kLandlockMakeFifo = 1 << 10;
inline constexpr uint64_t kLandlockMakeBlock = 1 << 11;
inline constexpr uint64_t kLandlockMakeSym = 1 << 12;
inline constexpr uint64_t kLandlockRefer = 1 << 13;     // ABI 2: names move between directories
inline constexpr uint64_t kLandlockTruncate = 1 << 14;  // ABI 3
inline constexpr uint64_t kLandlockIoctlDev = 1 << 15;  // ABI 5: ioctl on device files

inline constexpr uint64_t kLandlockBindTcp = 1 << 0;  // ABI 4
inline constexpr uint64_t kLandlockConnectTcp = 1 << 1;

inline constexpr uint64_t kLandlockScopeAbstractSockets = 1 << 0;  // ABI 6
inline constexpr uint64_t kLandlockScopeSignals = 1 << 1;

// Which version of the interface the kernel has, from 1 up.
ErrnoOr<int> LandlockAbi();

struct LandlockTree {
  BorrowedFd directory;  // O_PATH is enough
  uint64_t files = 0;    // what is allowed below it
};

// What is governed at all; what is governed and allowed nowhere is forbidden. All bits have to be
// ones that the kernel's ABI has.
struct LandlockRules {
  uint64_t files = 0;
  uint64_t network = 0;
  uint64_t scopes = 0;
  std::span<const LandlockTree> trees = {};
};

// For good. Needs no_new_privs or CAP_SYS_ADMIN.
ErrnoOr<void> ApplyLandlock(const LandlockRules& rules);

}  // namespace gofer::sys

#endif  // GOFER_SYS_LANDLOCK_H_
