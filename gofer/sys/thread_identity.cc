#include "gofer/sys/thread_identity.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

// Raw system calls: the C library's functions would change every thread.
ErrnoOr<void> SetEffectiveUid(uint32_t uid) {
  if (Call("setresuid", [&] { return syscall(SYS_setresuid, -1, uid, -1); }) < 0) {
    return Errno::Last();
  }
  return {};
}

ErrnoOr<void> SetEffectiveGid(uint32_t gid) {
  if (Call("setresgid", [&] { return syscall(SYS_setresgid, -1, gid, -1); }) < 0) {
    return Errno::Last();
  }
  return {};
}

ErrnoOr<void> SetGroups(size_t count, const uint32_t* groups) {
  if (Call("setgroups", [&] { return syscall(SYS_setgroups, count, groups); }) < 0) {
    return Errno::Last();
  }
  return {};
}

struct Capabilities {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};

  ErrnoOr<void> Get() {
    if (Call("capget", [&] { return syscall(SYS_capget, &header, data); }) < 0) {
      return Errno::Last();
    }
    return {};
  }
  ErrnoOr<void> Set() {
    if (Call("capset", [&] { return syscall(SYS_capset, &header, data); }) < 0) {
      return Errno::Last();
    }
    return {};
  }
};

// The sets of the thread are read each time and written back with one bit changed: they are the
// thread's own, and others may change other bits.
ErrnoOr<bool> ChangeEffective(int capability, bool on) {
  Capabilities sets;
  RETURN_IF_ERROR(sets.Get());
  auto& data = sets.data[CAP_TO_INDEX(capability)];
  const uint32_t bit = CAP_TO_MASK(capability);
  if (((data.effective & bit) != 0) == on) return false;
  if (on && (data.permitted & bit) == 0) return Errno(EPERM);
  data.effective ^= bit;
  RETURN_IF_ERROR(sets.Set());
  return true;
}

// Makes umask and working directory this thread's own. Once is enough.
ErrnoOr<void> OwnThreadFs() {
  thread_local bool own = false;
  if (own) return {};
  if (Call("unshare", [] { return ::unshare(CLONE_FS); }) < 0) return Errno::Last();
  own = true;
  return {};
}

void OrAbort(const ErrnoOr<void>& result) {
  if (!result.ok()) abort();
}

}  // namespace

ErrnoOr<ScopedIdentity> ScopedIdentity::Take(const Identity& identity) {
  ScopedIdentity taken;  // what was done when something fails is undone by its destructor
  const uint32_t own_uid = geteuid();
  const uint32_t own_gid = getegid();
  if (identity.group != kNoId) {
    RETURN_IF_ERROR(SetGroups(1, &identity.group));
    taken.restore_groups_ = true;
  }
  const auto differs = [](uint32_t id, uint32_t own) {
    return id != kNoId && id != 0 && id != own;
  };
  if (differs(identity.gid, own_gid)) {
    RETURN_IF_ERROR(SetEffectiveGid(identity.gid));
    taken.restore_gid_ = own_gid;
  }
  if (differs(identity.uid, own_uid)) {
    RETURN_IF_ERROR(SetEffectiveUid(identity.uid));
    taken.restore_uid_ = own_uid;
    // Not to have it is no reason to fail: the host then judges by the groups that it knows.
    if (identity.keep_dac_override) (void)ChangeEffective(CAP_DAC_OVERRIDE, true);
  }
  return taken;
}

ScopedIdentity::ScopedIdentity(ScopedIdentity&& other) noexcept
    : restore_uid_(std::exchange(other.restore_uid_, kNoId)),
      restore_gid_(std::exchange(other.restore_gid_, kNoId)),
      restore_groups_(std::exchange(other.restore_groups_, false)) {}

// The user first: what a change of groups needs comes back with it.
ScopedIdentity::~ScopedIdentity() {
  const int error = errno;
  if (restore_uid_ != kNoId) OrAbort(SetEffectiveUid(restore_uid_));
  if (restore_gid_ != kNoId) OrAbort(SetEffectiveGid(restore_gid_));
  if (restore_groups_) OrAbort(SetGroups(0, nullptr));
  errno = error;
}

ErrnoOr<void> ChangeOwnDirectory(BorrowedFd dir) {
  RETURN_IF_ERROR(OwnThreadFs());
  if (Call("fchdir", [&] { return ::fchdir(dir.get()); }) < 0) return Errno::Last();
  return {};
}

ErrnoOr<ScopedUmask> ScopedUmask::Take(uint32_t mask) {
  thread_local bool has_none = false;  // and needs no call to have none again
  RETURN_IF_ERROR(OwnThreadFs());
  if (mask != 0 || !has_none) ::umask(mask & 0777);
  has_none = mask == 0;
  return ScopedUmask(mask != 0);
}

ScopedUmask::ScopedUmask(ScopedUmask&& other) noexcept : set_(std::exchange(other.set_, false)) {}

ScopedUmask::~ScopedUmask() {
  if (set_) ::umask(0);
}

ErrnoOr<ScopedNoSetId> ScopedNoSetId::Take() {
  ASSIGN_OR_RETURN(const bool dropped, ChangeEffective(CAP_FSETID, false));
  return ScopedNoSetId(dropped);
}

ScopedNoSetId::ScopedNoSetId(ScopedNoSetId&& other) noexcept
    : dropped_(std::exchange(other.dropped_, false)) {}

ScopedNoSetId::~ScopedNoSetId() {
  const int error = errno;
  if (dropped_ && !ChangeEffective(CAP_FSETID, true).ok()) abort();
  errno = error;
}

}  // namespace gofer::sys
