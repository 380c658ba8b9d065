#include "fuse/dev/mount_keeper.h"

#include <linux/capability.h>
#include <sys/stat.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/dev_fuse.h"
#include "gofer/sys/helper_process.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"

namespace gofer::fuse {
namespace {

enum Command : int32_t { kAttach = 1, kDetach = 2 };

// Of the 5 s that a shutdown may take (security.md s.7.3), with a host file system that hangs too.
constexpr absl::Duration kAnswerPatience = absl::Seconds(2);

// The mount on its way in and out of the tree, as the helper sees it.
struct Kept {
  UniqueFd tree;
  UniqueFd target;
  std::string path;
  sys::MountIdentity identity = {};
  bool attached = false;

  ErrnoOr<void> Attach() {
    ASSIGN_OR_RETURN(identity, sys::MountOf(tree));
    RETURN_IF_ERROR(sys::AttachTree(tree, target));
    attached = true;
    // Both would keep the mount busy.
    tree.Reset();
    target.Reset();
    return {};
  }

  ErrnoOr<void> Detach(bool is_served) {
    if (!attached) return {};
    const ErrnoOr<sys::MountIdentity> there = sys::MountAt(path.c_str());
    // Unmounted by somebody else, or below a mount that is none of ours.
    if (!there.ok() || !(*there == identity)) return {};
    const ErrnoOr<void> unmounted = sys::Unmount(path.c_str());
    if (unmounted.ok() || !(unmounted.error() == EBUSY)) return unmounted;
    // Who uses it is cut off; what has been written is kept.
    if (is_served) WriteBack(there->device_minor);
    return sys::UnmountByForce(path.c_str());
  }

  // Best effort. Linux 6.16 and later have syncfs send what was kept back, but not wait for
  // answers.
  void WriteBack(uint32_t device_minor) const {
    if (!sys::SyncFilesystemAt(path.c_str()).ok()) return;
    const ErrnoOr<UniqueFd> control = sys::OpenFuseControl();
    if (!control.ok()) return;
    const absl::Time deadline = absl::Now() + kAnswerPatience;
    for (; absl::Now() < deadline; absl::SleepFor(absl::Milliseconds(1))) {
      const ErrnoOr<uint64_t> unanswered = sys::CountUnanswered(*control, device_minor);
      if (!unanswered.ok() || *unanswered == 0) return;
    }
  }
};

// To unmount, and to find the mount point whatever the directories above it allow.
ErrnoOr<void> LimitItself() {
  constexpr uint64_t kKept = uint64_t{1} << CAP_SYS_ADMIN | uint64_t{1} << CAP_DAC_READ_SEARCH;
  RETURN_IF_ERROR(sys::KeepCapabilities(kKept));
  return sys::SetNoNewPrivileges();
}

void Keep(Kept& kept, BorrowedFd socket) {
  if (!LimitItself().ok()) return;
  for (;;) {
    const ErrnoOr<std::optional<int32_t>> command = sys::ReceiveNumber(socket);
    if (!command.ok() || !command->has_value()) break;
    const ErrnoOr<void> result = **command == kAttach ? kept.Attach() : kept.Detach(true);
    (void)sys::SendNumber(socket, result.ok() ? 0 : result.error().value()).ok();
    if (**command == kDetach && result.ok()) return;
  }
  // Nobody serves it any more, so nothing can be asked of it.
  (void)kept.Detach(false).ok();
}

}  // namespace

absl::StatusOr<MountKeeper> MountKeeper::Create(BorrowedFd device, const std::string& mountpoint,
                                                const MountOptions& options) {
  const auto failed = [&](Errno error, absl::string_view what) {
    return ToStatus(error, absl::StrCat("--fuse_mountpoint=", mountpoint, ": ", what));
  };
  Kept kept;
  ErrnoOr<UniqueFd> target = sys::OpenLocation(mountpoint.c_str());
  if (!target.ok()) return failed(target.error(), "open");
  kept.target = *std::move(target);
  const ErrnoOr<sys::Attr> attr = sys::Statx(kept.target);
  if (!attr.ok()) return failed(attr.error(), "statx");
  if (!S_ISDIR(attr->stx_mode)) return failed(Errno(ENOTDIR), "open");
  ErrnoOr<std::string> path = sys::PathOf(kept.target);
  if (!path.ok()) return failed(path.error(), "its name");
  kept.path = *path;
  ErrnoOr<UniqueFd> tree = sys::NewFuseMount(device, {.source = options.source,
                                                      .subtype = "gofer",
                                                      .allow_other = options.allow_other,
                                                      .read_only = options.read_only});
  if (!tree.ok()) return failed(tree.error(), "make a FUSE mount");
  kept.tree = *std::move(tree);
  const int keep[] = {kept.tree.get(), kept.target.get()};
  ErrnoOr<UniqueFd> helper =
      sys::StartHelper("gofer-mount", keep, [&](BorrowedFd socket) { Keep(kept, socket); });
  if (!helper.ok()) return failed(helper.error(), "start the helper process");
  return MountKeeper(*std::move(helper), *std::move(path));
}

absl::Status MountKeeper::Attach() { return Command(kAttach, "mount"); }

absl::Status MountKeeper::Detach() {
  const absl::Status result = Command(kDetach, "unmount");
  helper_.Reset();
  return result;
}

absl::Status MountKeeper::Command(int32_t command, absl::string_view what) {
  ErrnoOr<std::optional<int32_t>> answer = std::optional<int32_t>();
  const ErrnoOr<void> sent = sys::SendNumber(helper_, command);
  if (sent.ok()) answer = sys::ReceiveNumber(helper_);
  const std::string where = absl::StrCat("--fuse_mountpoint=", path_, ": ", what);
  if (!sent.ok()) return ToStatus(sent.error(), where);
  if (!answer.ok()) return ToStatus(answer.error(), where);
  if (!answer->has_value()) {
    return absl::InternalError(absl::StrCat(where, ": the helper process has ended"));
  }
  return **answer == 0 ? absl::OkStatus() : ToStatus(Errno(**answer), where);
}

}  // namespace gofer::fuse
