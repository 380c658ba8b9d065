#include "fuse/dev/dev_fuse.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/dev/device_request.h"
#include "fuse/session/scratch.h"
#include "glog/logging.h"
#include "gofer/base/request_gate.h"
#include "gofer/sys/dev_fuse.h"
#include "gofer/sys/interrupt.h"
#include "gofer/sys/poll.h"

namespace gofer::fuse {
namespace {

// A thread that was interrupted just before it began to wait is interrupted again.
constexpr absl::Duration kInterruptEvery = absl::Milliseconds(5);
// How long a thread looks away from stopping_ that waits for a non-blocking descriptor.
constexpr absl::Duration kLookEvery = absl::Milliseconds(100);

}  // namespace

DevFuse::DevFuse(Session& session, std::vector<UniqueFd> devices, size_t max_threads)
    : session_(session),
      devices_(std::move(devices)),
      max_threads_(std::max<size_t>(max_threads, 1)) {
  CHECK(!devices_.empty());
}

DevFuse::~DevFuse() {
  Stop();
  std::list<Reader> readers;
  {
    const absl::MutexLock lock(&mu_);
    readers.swap(readers_);
  }
  for (Reader& reader : readers) reader.thread.join();
}

void DevFuse::Start() { AddReader(); }

void DevFuse::AddReader() {
  const absl::MutexLock lock(&mu_);
  if (readers_.size() == max_threads_ || stopping_.load(std::memory_order_relaxed)) return;
  const BorrowedFd device = devices_[readers_.size() % devices_.size()];
  ++running_;
  Reader& reader = readers_.emplace_back();
  reader.thread = std::thread([this, device, &reader] { Run(device, reader); });
}

void DevFuse::Run(BorrowedFd device, Reader& reader) {
  Serve(device);
  const absl::MutexLock lock(&mu_);
  reader.over = true;
  --running_;
}

void DevFuse::Serve(BorrowedFd device) {
  Scratch scratch;
  auto request = std::make_unique<DeviceRequest>(device);
  while (!stopping_.load(std::memory_order_relaxed)) {
    reading_.fetch_add(1, std::memory_order_relaxed);
    const ErrnoOr<size_t> size = sys::ReadRequest(device, request->room());
    const bool was_last = reading_.fetch_sub(1, std::memory_order_relaxed) == 1;
    if (!size.ok()) {
      if (GoesOn(device, size.error())) continue;
      return;
    }
    if (was_last) AddReader();
    request->Arrived(*size);
    const RequestGate::Pass pass(session_.gate());  // until the kernel has the reply
    const Outcome outcome = session_.Serve(*request, Serving::kWorker, scratch);
    if (outcome.kind == Outcome::Kind::kDeferred) {
      (void)request.release();  // its own, and perhaps gone by now
      request = std::make_unique<DeviceRequest>(device);
    } else {
      request->Reply(outcome.written);
    }
  }
}

bool DevFuse::GoesOn(BorrowedFd device, Errno error) {
  switch (error.value()) {
    case EINTR:   // told to look whether it shall stop
    case ENOENT:  // taken back by who asked
      return true;
    case EAGAIN: {  // a descriptor that the caller has made non-blocking
      const BorrowedFd watched[] = {device};
      return sys::WaitReadable(watched, kLookEvery).ok();
    }
    case ENODEV:        // unmounted
    case ECONNABORTED:  // by force
      break;
    default: {
      const absl::MutexLock lock(&mu_);
      result_.Update(ToStatus(error, "read /dev/fuse"));
    }
  }
  stopping_.store(true, std::memory_order_relaxed);
  return false;
}

absl::Status DevFuse::WaitForEnd() {
  absl::Status result;
  {
    const absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &DevFuse::HasEnded));
    result = result_;
  }
  session_.Reset();
  return result;
}

void DevFuse::Stop() {
  stopping_.store(true, std::memory_order_relaxed);
  (void)Interrupt(absl::InfiniteFuture());
  session_.CancelDeferred();
  const absl::MutexLock lock(&mu_);
  paused_ = false;
}

bool DevFuse::Pause(absl::Time deadline) {
  {
    const absl::MutexLock lock(&mu_);
    if (running_ == 0) return true;  // it has ended, or was paused before
    paused_ = true;
  }
  stopping_.store(true, std::memory_order_relaxed);
  if (!Interrupt(deadline)) return false;
  if (!session_.ClientCanResend()) {
    session_.CancelDeferred();
    return true;
  }
  session_.DropDeferred();
  const ErrnoOr<void> put_back = sys::PutBackRequests(devices_.front());
  if (put_back.ok() || put_back.error() == ENODEV) return true;
  LOG(ERROR) << "/dev/fuse: requests that wait for a lock cannot be put back: "
             << put_back.error().ToString();
  return false;
}

void DevFuse::Resume() {
  std::list<Reader> ended;
  {
    const absl::MutexLock lock(&mu_);
    if (!paused_) return;
    for (auto it = readers_.begin(); it != readers_.end();) {
      const auto at = it++;
      if (at->over) ended.splice(ended.end(), readers_, at);
    }
    stopping_.store(false, std::memory_order_relaxed);
  }
  for (Reader& reader : ended) reader.thread.join();
  AddReader();
  const absl::MutexLock lock(&mu_);
  paused_ = false;
}

bool DevFuse::Interrupt(absl::Time deadline) {
  const auto none_left = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return running_ == 0; };
  const absl::MutexLock lock(&mu_);
  do {
    for (Reader& reader : readers_) {
      if (!reader.over) sys::InterruptThread(reader.thread.native_handle());
    }
    if (mu_.AwaitWithTimeout(absl::Condition(&none_left), kInterruptEvery)) return true;
  } while (absl::Now() < deadline);
  return false;
}

size_t DevFuse::threads() const {
  const absl::MutexLock lock(&mu_);
  return readers_.size();
}

}  // namespace gofer::fuse
