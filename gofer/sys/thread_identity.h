// What a thread is while it does one thing for a client: its user and groups, its umask, whether it
// may keep set-id bits, and where paths begin for it. Each is of the calling thread alone; all but
// the last are put back when the object ends.
//
// Owner:   the stack frame of one request. Threads: each has its own; umask and working directory
//          become a thread's own (CLONE_FS) when it first needs that, for good. Until then it
//          shares them with the thread that began it, whatever that one does to them.
// Errors:  taking an identity fails with the kernel's errno and changes nothing. Failing to put one
//          back ends the process: a thread with the wrong identity serves nobody.
// Source:  spec/fuse.md s.7.4, s.7.5 and s.12; spec/virtiofsd-parity.md J; credentials(7).

#ifndef GOFER_SYS_THREAD_IDENTITY_H_
#define GOFER_SYS_THREAD_IDENTITY_H_

#include <cstdint>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// No id, and no change.
inline constexpr uint32_t kNoId = 0xffffffff;

struct Identity {
  uint32_t uid = kNoId;
  uint32_t gid = kNoId;
  uint32_t group = kNoId;  // the only supplementary group; kNoId: none
  // Whether CAP_DAC_OVERRIDE outlives the switch, for a client whose supplementary groups are not
  // known: it has checked the permission itself.
  bool keep_dac_override = false;
};

// The effective ids and supplementary groups. An id that is kNoId, 0 or already ours is not
// switched: root of the client is whoever this process runs as. The process has no supplementary
// groups of its own.
class ScopedIdentity {
 public:
  static ErrnoOr<ScopedIdentity> Take(const Identity& identity);
  ScopedIdentity(ScopedIdentity&& other) noexcept;
  ScopedIdentity& operator=(ScopedIdentity&&) = delete;
  ~ScopedIdentity();

 private:
  ScopedIdentity() = default;

  uint32_t restore_uid_ = kNoId;
  uint32_t restore_gid_ = kNoId;
  bool restore_groups_ = false;
};

// The working directory of this thread alone, for a call that takes nothing but a path. It stays
// until the thread's next such call; what other threads have is not touched.
ErrnoOr<void> ChangeOwnDirectory(BorrowedFd dir);

// A umask of this thread alone; afterwards it is 0, as the process's. One of 0 is taken too: the
// thread that began this one may have another at the moment.
class ScopedUmask {
 public:
  static ErrnoOr<ScopedUmask> Take(uint32_t mask);
  ScopedUmask(ScopedUmask&& other) noexcept;
  ScopedUmask& operator=(ScopedUmask&&) = delete;
  ~ScopedUmask();

 private:
  explicit ScopedUmask(bool set) : set_(set) {}

  bool set_;
};

// Without CAP_FSETID, so that the kernel takes set-id bits off a file that is written or truncated,
// as it does for anybody else. Nothing happens if the thread has not got it.
class ScopedNoSetId {
 public:
  static ErrnoOr<ScopedNoSetId> Take();
  ScopedNoSetId(ScopedNoSetId&& other) noexcept;
  ScopedNoSetId& operator=(ScopedNoSetId&&) = delete;
  ~ScopedNoSetId();

 private:
  explicit ScopedNoSetId(bool dropped) : dropped_(dropped) {}

  bool dropped_;
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_THREAD_IDENTITY_H_
