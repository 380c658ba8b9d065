#include "gofer/server/service_process.h"

#include <sched.h>
#include <signal.h>

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/server/capabilities.h"
#include "gofer/server/log_output.h"
#include "gofer/sys/child.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/own_code.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

constexpr std::array kPassedOn = {SIGTERM, SIGINT, SIGHUP};

// It holds nothing that anybody could want of it: no descriptor, no capability.
void GiveUpEverything(BorrowedFd signals, BorrowedFd process) {
  const int kept[] = {signals.get(), process.get(), LogDescriptor()};
  if (const ErrnoOr<void> closed = sys::CloseAllExcept(kept); !closed.ok()) {
    LOG(WARNING) << "the waiting process keeps descriptors: " << closed.error().ToString();
  }
  if (const absl::Status dropped = DropAllCapabilities(); !dropped.ok()) {
    LOG(WARNING) << "the waiting process keeps capabilities: " << dropped.message();
  }
  (void)sys::SetNoNewPrivileges().ok();
}

[[noreturn]] void WaitForService(int child, UniqueFd signals) {
  const ErrnoOr<UniqueFd> process = sys::ProcessDescriptor(child);
  if (process.ok()) {
    GiveUpEverything(signals, *process);
    sys::ReleaseOwnCode();
    const BorrowedFd watched[] = {signals, *process};
    for (bool ended = false; !ended;) {
      const ErrnoOr<std::vector<size_t>> ready =
          sys::WaitReadable(watched, absl::InfiniteDuration());
      if (!ready.ok()) break;
      for (const size_t i : *ready) {
        if (i == 1) {
          ended = true;
        } else if (const ErrnoOr<int> signal = sys::ReadSignal(signals); signal.ok()) {
          (void)sys::SignalChild(child, *signal).ok();
        }
      }
    }
  }
  const ErrnoOr<sys::ChildStatus> status = sys::WaitForChild(child);
  if (!status.ok()) sys::ExitNow(1);
  if (status->signal == 0) sys::ExitNow(status->status);
  LOG(ERROR) << "the serving process was ended by signal " << status->signal;
  sys::ExitNow(-status->signal);
}

}  // namespace

absl::Status ContinueAsService() {
  ErrnoOr<UniqueFd> signals = sys::SignalDescriptor(kPassedOn);
  if (!signals.ok()) return ToStatus(signals.error(), "signalfd");
  if (const ErrnoOr<void> unshared = sys::Unshare(CLONE_NEWPID); !unshared.ok()) {
    const absl::Status status = ToStatus(unshared.error(), "--sandbox=namespace: a pid namespace");
    if (!(unshared.error() == EPERM)) return status;
    return absl::Status(status.code(), absl::StrCat(status.message(), "; needs CAP_SYS_ADMIN"));
  }
  const ErrnoOr<int> child = sys::Fork(SIGTERM);
  if (!child.ok()) return ToStatus(child.error(), "fork");
  if (*child != 0) WaitForService(*child, *std::move(signals));
  return absl::OkStatus();
}

}  // namespace gofer::server
