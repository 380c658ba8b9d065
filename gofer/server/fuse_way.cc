#include "gofer/server/fuse_way.h"

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "fuse/session/lock_waiter.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/dev_fuse.h"
#include "gofer/sys/interrupt.h"

namespace gofer::server {
namespace {

// Each has a queue of its own for what has been taken; more than can run at once are of no use.
constexpr size_t kMaxDescriptors = 8;

absl::Status EnableInterrupts() {
  const ErrnoOr<void> enabled = sys::EnableInterrupts();
  return enabled.ok() ? absl::OkStatus() : ToStatus(enabled.error(), "sigaction(SIGUSR1)");
}

// As many more as there are processors. One will do where none can be had, as in a container that
// was given a descriptor but not the device.
void AddClones(std::vector<UniqueFd>& descriptors) {
  const size_t wanted = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kMaxDescriptors);
  while (descriptors.size() < wanted) {
    ErrnoOr<UniqueFd> clone = sys::CloneDevFuse(descriptors.front());
    if (!clone.ok()) return;
    descriptors.push_back(*std::move(clone));
  }
}

}  // namespace

absl::StatusOr<FuseDevice> FuseWay::Prepare(const std::string& mountpoint,
                                            const fuse::MountOptions& options) {
  RETURN_IF_ERROR(EnableInterrupts());
  ErrnoOr<UniqueFd> opened = sys::OpenDevFuse();
  if (!opened.ok()) {
    return ToStatus(opened.error(), absl::StrCat("--fuse_mountpoint=", mountpoint, ": /dev/fuse"));
  }
  FuseDevice device;
  device.where = absl::StrCat("mounted at ", mountpoint);
  ASSIGN_OR_RETURN(device.keeper, fuse::MountKeeper::Create(*opened, mountpoint, options));
  device.descriptors.push_back(*std::move(opened));
  AddClones(device.descriptors);
  return device;
}

absl::Status FuseWay::Check(int fd) {
  const ErrnoOr<void> checked = sys::CheckDevFuse(BorrowedFd(fd));
  if (checked.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--fuse_fd=", fd, ": ", checked.error().ToString(),
                   "; hand down a descriptor of /dev/fuse, open for reading and writing, that a "
                   "mount was made with"));
}

absl::StatusOr<FuseDevice> FuseWay::Adopt(UniqueFd fd) {
  RETURN_IF_ERROR(EnableInterrupts());
  FuseDevice device;
  device.where = absl::StrCat("mounted by the caller with descriptor ", fd.get());
  device.descriptors.push_back(std::move(fd));
  AddClones(device.descriptors);
  return device;
}

absl::Status FuseWay::Restore(const fuse::SessionState& state, fs::TreeRestore& tree) {
  RETURN_IF_ERROR(session_->Restore(state, tree));
  restored_ = state.connected;
  return absl::OkStatus();
}

absl::Status FuseWay::Mount() {
  device_->Start();
  const absl::MutexLock lock(&mu_);
  return keeper_.has_value() ? keeper_->Attach() : absl::OkStatus();
}

std::vector<LimitUse> FuseWay::Limits() const {
  return {{.resource = "threads", .limit = max_threads_, .used = device_->threads()},
          {.resource = "requests_waiting_for_a_lock",
           .limit = fuse::LockWaiter::kMaxWaiting,
           .used = session_->waiting()},
          {.resource = "data_bytes", .limit = fuse::kMaxData}};
}

void FuseWay::Stop() {
  {
    const absl::MutexLock lock(&mu_);
    // First, while requests are still served: what clients have not written back yet comes now.
    if (keeper_.has_value()) {
      const absl::Status unmounted = keeper_->Detach();
      if (!unmounted.ok()) LOG(ERROR) << unmounted.message();
      keeper_.reset();
    }
  }
  device_->Stop();
}

}  // namespace gofer::server
