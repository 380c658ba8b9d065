#include "fuse/dev/dev_fuse.h"

#include <algorithm>
#include <memory>
#include <utility>

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
  const absl::MutexLock lock(&mu_);
  for (std::thread& thread : threads_) thread.join();
}

void DevFuse::Start() { AddReader(); }

void DevFuse::AddReader() {
  const absl::MutexLock lock(&mu_);
  if (threads_.size() == max_threads_ || stopping_.load(std::memory_order_relaxed)) return;
  const BorrowedFd device = devices_[threads_.size() % devices_.size()];
  ++running_;
  threads_.emplace_back([this, device] { Run(device); });
}

void DevFuse::Run(BorrowedFd device) {
  Scratch scratch;
  auto request = std::make_unique<DeviceRequest>(device);
  while (!stopping_.load(std::memory_order_relaxed)) {
    reading_.fetch_add(1, std::memory_order_relaxed);
    const ErrnoOr<size_t> size = sys::ReadRequest(device, request->room());
    const bool was_last = reading_.fetch_sub(1, std::memory_order_relaxed) == 1;
    if (!size.ok()) {
      if (GoesOn(device, size.error())) continue;
      break;
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
  const absl::MutexLock lock(&mu_);
  --running_;
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
    mu_.Await(absl::Condition(
        +[](size_t* running) { return *running == 0; }, &running_));
    result = result_;
  }
  session_.Reset();
  return result;
}

void DevFuse::Stop() {
  stopping_.store(true, std::memory_order_relaxed);
  Interrupt();
  session_.CancelDeferred();
}

void DevFuse::Interrupt() {
  const absl::MutexLock lock(&mu_);
  do {
    for (std::thread& thread : threads_) sys::InterruptThread(thread.native_handle());
  } while (!mu_.AwaitWithTimeout(absl::Condition(
                                     +[](size_t* running) { return *running == 0; }, &running_),
                                 kInterruptEvery));
}

size_t DevFuse::threads() const {
  const absl::MutexLock lock(&mu_);
  return threads_.size();
}

}  // namespace gofer::fuse
