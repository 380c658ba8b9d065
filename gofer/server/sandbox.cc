#include "gofer/server/sandbox.h"

#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/base/internal/sysinfo.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

// Past it a client costs memory, not just numbers (spec/security.md s.5).
constexpr uint64_t kMaxDescriptorsForFiles = 65'536;
constexpr uint64_t kReservedDescriptors = 1'024;

absl::Status Or(const ErrnoOr<void>& result, absl::string_view what) {
  return result.ok() ? absl::OkStatus() : ToStatus(result.error(), what);
}

template <typename T>
absl::StatusOr<T> Or(ErrnoOr<T> result, absl::string_view what) {
  if (!result.ok()) return ToStatus(result.error(), what);
  return *std::move(result);
}

absl::StatusOr<UniqueFd> OpenRoot(const std::string& path) {
  const std::string what = absl::StrCat("--root=", path);
  ASSIGN_OR_RETURN(UniqueFd root, Or(sys::OpenRootPath(path.c_str()), what));
  ASSIGN_OR_RETURN(const sys::Attr attr, Or(sys::Statx(root), what));
  if (S_ISLNK(attr.stx_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": is a symbolic link; give the directory it leads to"));
  }
  if (!S_ISDIR(attr.stx_mode))
    return absl::InvalidArgumentError(absl::StrCat(what, ": is not a directory"));
  return root;
}

absl::Status EnterNamespaces() {
  const ErrnoOr<void> unshared =
      sys::Unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS);
  if (unshared.ok()) return absl::OkStatus();
  const absl::Status status = ToStatus(unshared.error(), "--sandbox=namespace: unshare");
  if (!(unshared.error() == EPERM)) return status;
  return absl::Status(
      status.code(),
      absl::StrCat(status.message(), "; needs CAP_SYS_ADMIN: run as root, or give --sandbox=none"));
}

// A copy of the tree as it is now. Of private mounts it stays that; a copy of slaves is one of the
// same masters.
absl::StatusOr<UniqueFd> CloneAsRoot(const SandboxOptions& options) {
  RETURN_IF_ERROR(Or(sys::SetPropagationOfAll(options.follows_host_mounts ? MS_SLAVE : MS_PRIVATE),
                     "cut mounts off from the host's"));
  ASSIGN_OR_RETURN(const UniqueFd directory, OpenRoot(options.root));
  ASSIGN_OR_RETURN(UniqueFd tree, Or(sys::CloneTree(directory, sys::Recursive::kYes),
                                     absl::StrCat("clone the mounts of ", options.root)));
  RETURN_IF_ERROR(
      Or(sys::AttachTree(tree, directory), absl::StrCat("attach the clone of ", options.root)));
  uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (options.read_only) attributes |= MOUNT_ATTR_RDONLY;
  if (!options.donates_files) attributes |= MOUNT_ATTR_NOEXEC;
  RETURN_IF_ERROR(
      Or(sys::RestrictMount(tree, attributes, sys::Recursive::kYes), "restrict the mounts"));
  RETURN_IF_ERROR(Or(sys::PivotInto(tree), "pivot_root"));
  return tree;
}

// What libraries find out on first use by reading /proc, /sys or /etc. Later those are not there,
// or belong to the served tree, and the filter would end the process.
void AskEarly() {
  // glog asks for the local time with each record. A zone of this form is in no file; without one
  // the C library would look at /etc/localtime each time, which is the served tree's.
  setenv("TZ", "UTC0", 1);
  tzset();
  (void)absl::base_internal::NumCPUs();  // absl::Mutex, when it first has to wait
}

}  // namespace

absl::Status ResetInheritedWorld(std::span<const int> keep) {
  clearenv();
  sys::ResetSignals();
  RETURN_IF_ERROR(Or(sys::IgnoreSignal(SIGPIPE), "ignore SIGPIPE"));
  RETURN_IF_ERROR(Or(sys::IgnoreSignal(SIGXFSZ), "ignore SIGXFSZ"));
  for (const int fd : keep) {
    if (fd > 2 && !sys::SetCloseOnExec(BorrowedFd(fd)).ok()) {
      return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, " is not open"));
    }
  }
  RETURN_IF_ERROR(Or(sys::OpenStandardStreams(), "open /dev/null as a standard stream"));
  return Or(sys::CloseAllExcept(keep), "close inherited descriptors");
}

absl::Status PrepareConfinement(const Confinement& confinement) {
  AskEarly();
  return DropBoundingSet(confinement.capabilities);
}

absl::StatusOr<ServedTree> EnterSandbox(const SandboxOptions& options) {
  ServedTree tree;
  switch (options.mode) {
    case SandboxMode::kNamespace: {
      RETURN_IF_ERROR(
          OpenRoot(options.root).status());  // before anything is changed: a clear error
      RETURN_IF_ERROR(EnterNamespaces());
      ASSIGN_OR_RETURN(tree.descriptors, Or(sys::OpenProcSelfFdAlone(), "clone /proc/self/fd"));
      ASSIGN_OR_RETURN(tree.root, CloneAsRoot(options));
      break;
    }
    case SandboxMode::kChroot: {
      ASSIGN_OR_RETURN(tree.descriptors, Or(sys::OpenProcSelfFd(), "open /proc/self/fd"));
      ASSIGN_OR_RETURN(tree.root, OpenRoot(options.root));
      RETURN_IF_ERROR(Or(sys::ChrootInto(tree.root), "--sandbox=chroot: chroot"));
      break;
    }
    case SandboxMode::kNone: {
      ASSIGN_OR_RETURN(tree.descriptors, Or(sys::OpenProcSelfFd(), "open /proc/self/fd"));
      ASSIGN_OR_RETURN(tree.root, OpenRoot(options.root));
      break;
    }
  }
  return tree;
}

absl::Status Confine(const Confinement& confinement) {
  RETURN_IF_ERROR(Or(sys::ChangeToRootDirectory(), "chdir(/)"));
  RETURN_IF_ERROR(Or(sys::SetLimit(RLIMIT_CORE, {.soft = 0, .hard = 0}), "RLIMIT_CORE"));
  RETURN_IF_ERROR(Or(sys::SetLimit(RLIMIT_MEMLOCK, {.soft = 0, .hard = 0}), "RLIMIT_MEMLOCK"));
  ASSIGN_OR_RETURN(const sys::CapabilitySets held, Or(sys::GetCapabilities(), "capget"));
  const auto holds = [&](int capability) { return (held.effective >> capability & 1) != 0; };
  if (holds(CAP_SETGID)) {
    // A user namespace may forbid it; then the groups are ones that its parent had as well.
    const ErrnoOr<void> dropped = sys::DropSupplementaryGroups();
    if (!dropped.ok() && !(dropped.error() == EPERM)) return ToStatus(dropped.error(), "setgroups");
  }
  if (holds(CAP_SETPCAP)) RETURN_IF_ERROR(Or(sys::LockNoRoot(), "securebits"));
  RETURN_IF_ERROR(LimitCapabilities(confinement.capabilities));
  RETURN_IF_ERROR(Or(sys::SetNoNewPrivileges(), "no_new_privs"));
#ifndef GOFER_SANITIZER  // which look into their own process
  RETURN_IF_ERROR(Or(sys::SetNotDumpable(), "dumpable"));
#endif
  return InstallSeccompFilter(confinement.seccomp);
}

absl::StatusOr<uint64_t> RaiseDescriptorLimit(std::optional<uint64_t> wanted) {
  ASSIGN_OR_RETURN(const sys::Limit limit, Or(sys::GetLimit(RLIMIT_NOFILE), "RLIMIT_NOFILE"));
  const sys::Limit asked = wanted.has_value() ? sys::Limit{.soft = *wanted, .hard = *wanted}
                                              : sys::Limit{.soft = limit.hard, .hard = limit.hard};
  const ErrnoOr<void> set = sys::SetLimit(RLIMIT_NOFILE, asked);
  if (set.ok()) return asked.soft;
  if (!(set.error() == EPERM))
    return ToStatus(set.error(), absl::StrCat("RLIMIT_NOFILE=", asked.soft));
  LOG(WARNING) << "RLIMIT_NOFILE=" << asked.soft
               << " is more than the hard limit or fs.nr_open allows; it stays " << limit.soft;
  return limit.soft;
}

absl::StatusOr<uint64_t> DescriptorLimit() {
  ASSIGN_OR_RETURN(const sys::Limit limit, Or(sys::GetLimit(RLIMIT_NOFILE), "RLIMIT_NOFILE"));
  return limit.soft;
}

uint64_t DescriptorsForFiles(uint64_t limit) {
  const uint64_t reserved = std::min(kReservedDescriptors, limit / 2);
  return std::min(limit - reserved, kMaxDescriptorsForFiles);
}

}  // namespace gofer::server
