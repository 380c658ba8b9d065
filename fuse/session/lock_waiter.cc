#include "fuse/session/lock_waiter.h"

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "fuse/session/request_row.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "fuse/wire/reply.h"

namespace gofer::fuse {
namespace {

constexpr absl::Duration kFirstInterval = absl::Milliseconds(1);
constexpr absl::Duration kLongestInterval = absl::Milliseconds(50);

}  // namespace

LockWaiter::~LockWaiter() {
  Cancel([](const Waiting&) { return true; });
  std::thread thread;
  {
    absl::MutexLock lock(&mu_);
    ending_ = true;
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

ErrnoOr<void> LockWaiter::Add(Waiting waiting) {
  absl::MutexLock lock(&mu_);
  if (waiting_.size() >= kMaxWaiting) return Errno(ENOLCK);
  waiting_.push_back(std::move(waiting));
  kicked_ = true;  // it may be free by now
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  return {};
}

void LockWaiter::Kick() {
  absl::MutexLock lock(&mu_);
  if (!waiting_.empty()) kicked_ = true;
}

void LockWaiter::Cancel(absl::FunctionRef<bool(const Waiting&)> which, End end) {
  std::list<Waiting> cancelled;
  {
    absl::MutexLock lock(&mu_);
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      const auto at = it++;
      if (which(*at)) cancelled.splice(cancelled.end(), waiting_, at);
    }
    if (trying_ != nullptr && which(*trying_)) {
      trying_cancelled_ = end;
      const auto tried = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return trying_ == nullptr; };
      mu_.Await(absl::Condition(&tried));
    }
  }
  for (Waiting& waiting : cancelled) Complete(waiting, end);
}

size_t LockWaiter::size() const {
  absl::MutexLock lock(&mu_);
  return waiting_.size() + (trying_ != nullptr ? 1 : 0);
}

void LockWaiter::Run() {
  absl::Duration interval = kFirstInterval;
  const auto has_to_look = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return kicked_ || ending_; };
  mu_.Lock();
  for (uint64_t round = 1; !ending_; ++round) {
    kicked_ = false;
    // From the front, and back to the end: after a whole round they are in their order again.
    while (!waiting_.empty() && waiting_.front().round != round) TryFirst(round);
    const absl::Duration pause = waiting_.empty() ? absl::InfiniteDuration() : interval;
    const bool kicked = mu_.AwaitWithTimeout(absl::Condition(&has_to_look), pause);
    interval = kicked ? kFirstInterval : std::min(interval * 2, kLongestInterval);
  }
  mu_.Unlock();
}

void LockWaiter::TryFirst(uint64_t round) {
  std::list<Waiting> one;
  one.splice(one.end(), waiting_, waiting_.begin());
  Waiting& waiting = one.front();
  waiting.round = round;
  trying_ = &waiting;
  trying_cancelled_.reset();
  mu_.Unlock();
  const bool completed = Attempt(waiting);
  mu_.Lock();
  if (!completed) {
    const std::optional<End> cancelled = trying_cancelled_;
    if (!cancelled.has_value()) {
      waiting_.splice(waiting_.end(), one);
      trying_ = nullptr;
      return;
    }
    mu_.Unlock();
    Complete(waiting, *cancelled);
    mu_.Lock();
  }
  trying_ = nullptr;
  mu_.Unlock();
  one.clear();  // may close a file
  mu_.Lock();
}

bool LockWaiter::Attempt(Waiting& waiting) {
  const RequestGate::TryPass pass(gate_);
  if (!pass.inside()) return false;
  const ErrnoOr<void> result = waiting.attempt();
  if (!result.ok() && result.error() == EAGAIN) return false;
  Complete(waiting, result);
  return true;
}

void LockWaiter::Complete(Waiting& waiting, const ErrnoOr<void>& result) {
  requests_.Record(RequestRow(Opcode::kSetlkw), waiting.begun,
                   result.ok() ? std::nullopt : std::optional(result.error()));
  const Reply reply(waiting.request->out);
  waiting.request->Complete(result.ok() ? reply.Finish(waiting.unique)
                                        : reply.Fail(result.error(), waiting.unique));
}

void LockWaiter::Complete(Waiting& waiting, End end) {
  if (end == End::kUnanswered) return waiting.request->Complete(0);
  Complete(waiting, Errno(EINTR));
}

}  // namespace gofer::fuse
