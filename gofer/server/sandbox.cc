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
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
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

// The served directory, and which one that is.
struct Root {
  UniqueFd fd;
  sys::Attr attr;
};

absl::StatusOr<Root> OpenRoot(const std::string& path) {
  const std::string what = absl::StrCat("--root=", path);
  ASSIGN_OR_RETURN(UniqueFd root, ToStatus(sys::OpenRootPath(path.c_str()), what));
  ASSIGN_OR_RETURN(const sys::Attr attr, ToStatus(sys::Statx(root), what));
  if (S_ISLNK(attr.stx_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": is a symbolic link; give the directory it leads to"));
  }
  if (!S_ISDIR(attr.stx_mode))
    return absl::InvalidArgumentError(absl::StrCat(what, ": is not a directory"));
  return Root{.fd = std::move(root), .attr = attr};
}

bool IsSameFile(const sys::Attr& a, const sys::Attr& b) {
  return a.stx_ino == b.stx_ino && a.stx_dev_major == b.stx_dev_major &&
         a.stx_dev_minor == b.stx_dev_minor;
}

// A mount namespace of our own has mounts of its own, so that a descriptor from before does not do
// there: the path is looked up once more. It has to lead to what it led to.
absl::StatusOr<UniqueFd> OpenRootAgain(const SandboxOptions& options, const Root& chosen) {
  ASSIGN_OR_RETURN(Root again, OpenRoot(options.root));
  if (IsSameFile(again.attr, chosen.attr)) return std::move(again.fd);
  return absl::AbortedError(
      absl::StrCat("--root=", options.root, ": became another directory during the start"));
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
absl::StatusOr<UniqueFd> CloneAsRoot(const SandboxOptions& options, const Root& chosen) {
  RETURN_IF_ERROR(
      ToStatus(sys::SetPropagationOfAll(options.follows_host_mounts ? MS_SLAVE : MS_PRIVATE),
               "cut mounts off from the host's"));
  ASSIGN_OR_RETURN(AddedMounts mounts, AddedMounts::Clone(options.mounts));
  ASSIGN_OR_RETURN(const UniqueFd directory, OpenRootAgain(options, chosen));
  ASSIGN_OR_RETURN(UniqueFd tree, ToStatus(sys::CloneTree(directory, sys::Recursive::kYes),
                                           absl::StrCat("clone the mounts of ", options.root)));
  RETURN_IF_ERROR(ToStatus(sys::AttachTree(tree, directory),
                           absl::StrCat("attach the clone of ", options.root)));
  RETURN_IF_ERROR(mounts.AttachBelow(tree));
  uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (options.read_only) attributes |= MOUNT_ATTR_RDONLY;
  if (!options.donates_files) attributes |= MOUNT_ATTR_NOEXEC;
  RETURN_IF_ERROR(
      ToStatus(sys::RestrictMount(tree, attributes, sys::Recursive::kYes), "restrict the mounts"));
  RETURN_IF_ERROR(ToStatus(sys::PivotInto(tree), "pivot_root"));
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

absl::Status LimitIdentity(const CapabilityOptions& capabilities) {
  ASSIGN_OR_RETURN(const sys::CapabilitySets held, ToStatus(sys::GetCapabilities(), "capget"));
  const auto holds = [&](int capability) { return (held.effective >> capability & 1) != 0; };
  if (holds(CAP_SETGID)) {
    // A user namespace may forbid it; then the groups are ones that its parent had as well.
    const ErrnoOr<void> dropped = sys::DropSupplementaryGroups();
    if (!dropped.ok() && !(dropped.error() == EPERM)) return ToStatus(dropped.error(), "setgroups");
  }
  if (holds(CAP_SETPCAP)) RETURN_IF_ERROR(ToStatus(sys::LockNoRoot(), "securebits"));
  return LimitCapabilities(capabilities);
}

// The value of one line of /proc/PID/status.
absl::string_view FieldOf(absl::string_view status, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (absl::ConsumePrefix(&line, name) && absl::ConsumePrefix(&line, ":")) {
      return absl::StripAsciiWhitespace(line);
    }
  }
  return "(none)";
}

// The kernel's own account, so that a step that did nothing cannot pass for one that did.
absl::Status CheckInForce(absl::string_view status, const Confinement& confinement) {
  const auto expect = [&](absl::string_view name, absl::string_view wanted) {
    const absl::string_view found = FieldOf(status, name);
    if (found == wanted) return absl::OkStatus();
    return absl::InternalError(
        absl::StrCat("/proc/self/status after the start: ", name, " is ", found, ", not ", wanted));
  };
#ifndef GOFER_SANITIZER  // which may have threads of their own
  RETURN_IF_ERROR(expect("Threads", "1"));
#endif
  RETURN_IF_ERROR(expect("NoNewPrivs", "1"));
  RETURN_IF_ERROR(expect("Seccomp", confinement.seccomp.mode == SeccompMode::kNone ? "0" : "2"));
  const std::string none = absl::StrFormat("%016x", 0);
  RETURN_IF_ERROR(expect("CapInh", none));
  RETURN_IF_ERROR(expect("CapAmb", none));
  uint64_t needed = 0;
  for (const int capability : NeededCapabilities(confinement.capabilities)) {
    needed |= uint64_t{1} << capability;
  }
  for (const absl::string_view set : {"CapEff", "CapPrm"}) {
    uint64_t held = 0;
    const absl::string_view text = FieldOf(status, set);
    if (!absl::SimpleHexAtoi(text, &held) || (held & ~needed) != 0) {
      return absl::InternalError(absl::StrCat("/proc/self/status after the start: ", set, " is ",
                                              text, ", more than ",
                                              absl::StrFormat("%016x", needed)));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ResetInheritedWorld(std::span<const int> keep) {
  clearenv();
  sys::ResetSignals();
  RETURN_IF_ERROR(ToStatus(sys::IgnoreSignal(SIGPIPE), "ignore SIGPIPE"));
  RETURN_IF_ERROR(ToStatus(sys::IgnoreSignal(SIGXFSZ), "ignore SIGXFSZ"));
  for (const int fd : keep) {
    if (fd > 2 && !sys::SetCloseOnExec(BorrowedFd(fd)).ok()) {
      return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, " is not open"));
    }
  }
  RETURN_IF_ERROR(ToStatus(sys::OpenStandardStreams(), "open /dev/null as a standard stream"));
  return ToStatus(sys::CloseAllExcept(keep), "close inherited descriptors");
}

absl::StatusOr<Preparation> PrepareConfinement(const Confinement& confinement) {
  AskEarly();
  RETURN_IF_ERROR(DropBoundingSet(confinement.capabilities));
  ASSIGN_OR_RETURN(UniqueFd proc_self, ToStatus(sys::OpenProcSelf(), "open /proc/self"));
  return Preparation{.proc_self = std::move(proc_self)};
}

absl::StatusOr<ServedTree> EnterSandbox(const SandboxOptions& options) {
  ServedTree tree;
  ASSIGN_OR_RETURN(Root chosen, OpenRoot(options.root));
  switch (options.mode) {
    case SandboxMode::kNamespace: {
      RETURN_IF_ERROR(EnterNamespaces());
      ASSIGN_OR_RETURN(tree.descriptors,
                       ToStatus(sys::OpenProcSelfFdAlone(), "clone /proc/self/fd"));
      ASSIGN_OR_RETURN(tree.root, CloneAsRoot(options, chosen));
      break;
    }
    case SandboxMode::kChroot: {
      ASSIGN_OR_RETURN(tree.descriptors,
                       ToStatus(sys::OpenProcSelfFdForChroot(), "open /proc/self/fd"));
      tree.root = std::move(chosen.fd);
      RETURN_IF_ERROR(ToStatus(sys::ChrootInto(tree.root), "--sandbox=chroot: chroot"));
      break;
    }
    case SandboxMode::kNone: {
      ASSIGN_OR_RETURN(tree.descriptors, ToStatus(sys::OpenProcSelfFd(), "open /proc/self/fd"));
      tree.root = std::move(chosen.fd);
      break;
    }
  }
  return tree;
}

absl::StatusOr<Confined> Confine(const Confinement& confinement, Preparation preparation,
                                 BorrowedFd root) {
  RETURN_IF_ERROR(ToStatus(sys::ChangeToRootDirectory(), "chdir(/)"));
  RETURN_IF_ERROR(ToStatus(sys::SetLimit(RLIMIT_CORE, {.soft = 0, .hard = 0}), "RLIMIT_CORE"));
  RETURN_IF_ERROR(
      ToStatus(sys::SetLimit(RLIMIT_MEMLOCK, {.soft = 0, .hard = 0}), "RLIMIT_MEMLOCK"));
  ASSIGN_OR_RETURN(sys::OwnRecords records, ToStatus(sys::OwnRecords::Open(preparation.proc_self),
                                                     "open /proc/self/status"));
  preparation.proc_self.Reset();
  RETURN_IF_ERROR(LimitIdentity(confinement.capabilities));
  RETURN_IF_ERROR(ToStatus(sys::SetNoNewPrivileges(), "no_new_privs"));
#ifndef GOFER_SANITIZER  // which look into their own process
  RETURN_IF_ERROR(ToStatus(sys::SetNotDumpable(), "dumpable"));
#endif
  ASSIGN_OR_RETURN(LandlockState landlock, LimitFilesTo(root, confinement.landlock));
  RETURN_IF_ERROR(InstallSeccompFilter(confinement.seccomp));
  ASSIGN_OR_RETURN(const std::string status, ToStatus(records.Status(), "read /proc/self/status"));
  RETURN_IF_ERROR(CheckInForce(status, confinement));
  return Confined{.records = std::move(records), .landlock = std::move(landlock)};
}

absl::StatusOr<uint64_t> RaiseDescriptorLimit(std::optional<uint64_t> wanted) {
  ASSIGN_OR_RETURN(const sys::Limit limit, ToStatus(sys::GetLimit(RLIMIT_NOFILE), "RLIMIT_NOFILE"));
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
  ASSIGN_OR_RETURN(const sys::Limit limit, ToStatus(sys::GetLimit(RLIMIT_NOFILE), "RLIMIT_NOFILE"));
  return limit.soft;
}

uint64_t DescriptorsForFiles(uint64_t limit) {
  const uint64_t reserved = std::min(kReservedDescriptors, limit / 2);
  return std::min(limit - reserved, kMaxDescriptorsForFiles);
}

}  // namespace gofer::server
