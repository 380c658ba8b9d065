// /dev/fuse: the host kernel as a client. Its requests are read from the device and replies written
// to it, one call each; the mount that it belongs to is made here too.
//
// Owner:   descriptors are the caller's. The kernel ends the connection, for all who use the mount,
//          when the last descriptor of the device that belongs to it is closed, in whatever
//          process.
// Threads: safe; any number may read and write one descriptor. Making mounts: start-up only.
// Errors:  the kernel's errno.
// Source:  linux/fuse.h; fuse(4); fsopen(2).

#ifndef GOFER_SYS_DEV_FUSE_H_
#define GOFER_SYS_DEV_FUSE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// ---- at start, while the host's /dev is there

// A descriptor that no mount has yet.
ErrnoOr<UniqueFd> OpenDevFuse();
// ENODEV if it is another device or file, or one that may not be read and written.
ErrnoOr<void> CheckDevFuse(BorrowedFd device);
// One more descriptor of the connection of `device`, which has a queue of its own for what it has
// taken: threads with different ones stay out of each other's way. EINVAL before there is a mount.
ErrnoOr<UniqueFd> CloneDevFuse(BorrowedFd device);

struct FuseMountOptions {
  std::string source;   // what mount(8) shows as the device
  std::string subtype;  // the type is shown as fuse.SUBTYPE
  uint32_t root_mode = 0040000;
  bool allow_other = false;  // all users, as permissions say; else the one that mounts alone
  bool read_only = false;
};
// A mount that is in no tree yet, nosuid and nodev, where the kernel checks permissions. The device
// gets its first request at once.
ErrnoOr<UniqueFd> NewFuseMount(BorrowedFd device, const FuseMountOptions& options);

// ---- of mounts, whoever serves them

// What the kernel knows of all FUSE connections, fusectl, as a mount that is in no tree. EPERM
// without CAP_SYS_ADMIN in the first user namespace.
ErrnoOr<UniqueFd> OpenFuseControl();
// The requests of the mount with this device number that are not answered yet, those in the
// background too. ENOENT: there is no such mount.
ErrnoOr<uint64_t> CountUnanswered(BorrowedFd control, uint32_t device_minor);

// ---- while serving

// One whole request; waits for it, unless the descriptor is non-blocking (EAGAIN). ENOENT: it was
// taken back, try again. EINTR: a signal came. ENODEV, ECONNABORTED: the connection has ended.
ErrnoOr<size_t> ReadRequest(BorrowedFd device, std::span<std::byte> buffer);
// Never waits. ENOENT: nobody waits for this reply any more.
ErrnoOr<void> WriteReply(BorrowedFd device, std::span<const std::byte> reply);
// Puts everything that was taken, by any descriptor of the connection, and not answered back in
// front of who reads next; each has FUSE_UNIQUE_RESEND in its number then. EINVAL before Linux 6.9.
ErrnoOr<void> PutBackRequests(BorrowedFd device);

}  // namespace gofer::sys

#endif  // GOFER_SYS_DEV_FUSE_H_
