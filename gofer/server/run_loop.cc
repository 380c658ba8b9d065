#include "gofer/server/run_loop.h"

#include <signal.h>

#include <array>
#include <thread>

#include "absl/base/internal/cycleclock.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/own_code.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

// The server itself cuts off clients that do not take their replies well before; what is left after
// this hangs in the host's file system.
constexpr absl::Duration kStopDeadline = absl::Seconds(5);
constexpr std::array kEndingSignals = {SIGTERM, SIGINT, SIGHUP};

void TakeIn(lisafs::Server& server, const ListeningMount& mount) {
  ErrnoOr<UniqueFd> client = mount.listener.Accept();
  if (!client.ok()) {
    if (client.error() == EAGAIN) return;
    LOG_EVERY_N(WARNING, 100) << "accept: " << client.error().ToString();
    return;
  }
  const absl::Status added = server.AddConnection(
      *std::move(client), {.mount_path = mount.path, .readonly = mount.readonly});
  if (added.ok()) return;
  LOG_EVERY_N(WARNING, 100) << "client refused: " << added.message();
}

}  // namespace

absl::StatusOr<RunLoop> RunLoop::Create() {
  // Ignored, not just by default: then the kernel keeps no zombies, of orphans neither.
  if (const ErrnoOr<void> ignored = sys::IgnoreSignal(SIGCHLD); !ignored.ok()) {
    return ToStatus(ignored.error(), "ignore SIGCHLD");
  }
  ErrnoOr<UniqueFd> signals = sys::SignalDescriptor(kEndingSignals);
  if (!signals.ok()) return ToStatus(signals.error(), "signalfd");
  ErrnoOr<sys::EventFd> ended = sys::EventFd::Create();
  if (!ended.ok()) return ToStatus(ended.error(), "eventfd");
  return RunLoop(*std::move(signals), *std::move(ended));
}

absl::Status RunLoop::Run(lisafs::Server& server, std::vector<ListeningMount> mounts) {
  std::vector<BorrowedFd> watched = {signals_, ended_.fd()};
  for (const ListeningMount& mount : mounts) watched.push_back(mount.listener.fd());

  // absl::Mutex wants to know it when a thread first has to wait, and measures it for some
  // milliseconds: better here, after the start and while nobody holds anything.
  (void)absl::base_internal::CycleClock::Frequency();

  sys::ReleaseOwnCode();

  std::thread waiter;
  if (mounts.empty()) {
    waiter = std::thread([&] {
      server.Wait();
      ended_.Raise();
    });
  }
  absl::Status result = absl::OkStatus();
  for (bool ended = false; !ended && result.ok();) {
    const ErrnoOr<std::vector<size_t>> ready = sys::WaitReadable(watched, absl::InfiniteDuration());
    if (!ready.ok()) {
      result = ToStatus(ready.error(), "poll");
      break;
    }
    for (const size_t i : *ready) {
      if (i == 0) {
        const ErrnoOr<int> signal = sys::ReadSignal(signals_);
        if (!signal.ok()) continue;
        LOG(INFO) << "ending: signal " << *signal;
        result = Stop(server);
        ended = true;
        break;
      }
      if (i == 1) {
        ended = true;
      } else {
        TakeIn(server, mounts[i - 2]);
      }
    }
  }
  if (absl::IsDeadlineExceeded(result)) {
    // Threads that hang in the host's file system cannot be joined, now or by any destructor.
    LOG(ERROR) << result.message();
    sys::ExitNow(1);
  }
  if (waiter.joinable()) waiter.join();
  return result;
}

absl::Status RunLoop::Stop(lisafs::Server& server) {
  ErrnoOr<sys::EventFd> stopped = sys::EventFd::Create();
  if (!stopped.ok()) return ToStatus(stopped.error(), "eventfd");
  std::thread stopper([&] {
    server.Stop();
    stopped->Raise();
  });
  const BorrowedFd watched[] = {stopped->fd()};
  const ErrnoOr<std::vector<size_t>> ready = sys::WaitReadable(watched, kStopDeadline);
  if (ready.ok() && !ready->empty()) {
    stopper.join();
    return absl::OkStatus();
  }
  stopper.detach();
  return absl::DeadlineExceededError(absl::StrCat("requests in flight did not end within ",
                                                  absl::FormatDuration(kStopDeadline),
                                                  ": a host file system hangs; giving them up"));
}

}  // namespace gofer::server
