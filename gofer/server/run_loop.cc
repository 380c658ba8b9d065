#include "gofer/server/run_loop.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "absl/base/internal/cycleclock.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
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

// Waits for the ways in that end by themselves, each on a thread of its own.
class Waiters {
 public:
  Waiters(std::span<WayIn* const> ways, const sys::EventFd& ended) : left_(ways.size()) {
    for (WayIn* const way : ways) {
      if (way->EndsByItself()) threads_.emplace_back([this, way, &ended] { WaitFor(*way, ended); });
    }
    if (ways.empty()) ended.Raise();
  }
  // Once all are over or stopped: the first error.
  absl::Status Join() ABSL_LOCKS_EXCLUDED(mu_) {
    for (std::thread& thread : threads_) thread.join();
    const absl::MutexLock lock(&mu_);
    return result_;
  }

 private:
  void WaitFor(WayIn& way, const sys::EventFd& ended) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::Status over = way.Wait();
    const absl::MutexLock lock(&mu_);
    result_.Update(over);
    // One that has failed ends the others, too: the process cannot do what it was asked to.
    if (--left_ == 0 || !over.ok()) ended.Raise();
  }

  absl::Mutex mu_;
  size_t left_ ABSL_GUARDED_BY(mu_);
  absl::Status result_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

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

absl::Status RunLoop::Run(std::span<WayIn* const> ways) {
  struct Watched {
    WayIn* way;
    size_t index;
  };
  std::vector<BorrowedFd> fds = {signals_, ended_.fd()};
  std::vector<Watched> watched;
  for (WayIn* const way : ways) {
    const std::vector<BorrowedFd> own = way->Watched();
    for (size_t i = 0; i < own.size(); ++i) {
      fds.push_back(own[i]);
      watched.push_back({way, i});
    }
  }

  // absl::Mutex wants to know it when a thread first has to wait, and measures it for some
  // milliseconds: better here, after the start and while nobody holds anything.
  (void)absl::base_internal::CycleClock::Frequency();

  sys::ReleaseOwnCode();

  Waiters waiters(ways, ended_);
  absl::Status result = absl::OkStatus();
  for (bool ended = false; !ended && result.ok();) {
    const ErrnoOr<std::vector<size_t>> ready = sys::WaitReadable(fds, absl::InfiniteDuration());
    if (!ready.ok()) {
      result = ToStatus(ready.error(), "poll");
      break;
    }
    for (const size_t i : *ready) {
      if (i == 0) {
        const ErrnoOr<int> signal = sys::ReadSignal(signals_);
        if (!signal.ok()) continue;
        LOG(INFO) << "ending: signal " << *signal;
        was_asked_ = true;
        ended = true;
        break;
      }
      if (i == 1) {
        NoteEnd();
        ended = true;
      } else {
        watched[i - 2].way->OnReadable(watched[i - 2].index);
      }
    }
  }
  result.Update(Stop(ways));
  if (absl::IsDeadlineExceeded(result)) {
    // Threads that hang in the host's file system cannot be joined, now or by any destructor.
    LOG(ERROR) << result.message();
    sys::ExitNow(1);
  }
  result.Update(waiters.Join());
  if (std::any_of(ways.begin(), ways.end(), [](WayIn* way) { return way->LeavesThreads(); })) {
    if (!result.ok()) LOG(ERROR) << result.message();
    sys::ExitNow(result.ok() && !was_asked_ ? 0 : 1);
  }
  return result;
}

void RunLoop::AskToEnd() const {
  {
    const absl::MutexLock lock(&asked_->mu);
    asked_->end = true;
  }
  ended_.Raise();
}

void RunLoop::AskToLeave(absl::AnyInvocable<void()> last) const {
  {
    const absl::MutexLock lock(&asked_->mu);
    asked_->last = std::move(last);
  }
  ended_.Raise();
}

void RunLoop::NoteEnd() {
  absl::AnyInvocable<void()> last;
  {
    const absl::MutexLock lock(&asked_->mu);
    if (asked_->end) was_asked_ = true;
    last = std::move(asked_->last);
  }
  if (!last) return;
  last();
  sys::ExitNow(0);
}

absl::Status RunLoop::Stop(std::span<WayIn* const> ways) {
  ErrnoOr<sys::EventFd> stopped = sys::EventFd::Create();
  if (!stopped.ok()) return ToStatus(stopped.error(), "eventfd");
  std::thread stopper([&] {
    for (WayIn* const way : ways) way->Stop();
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
