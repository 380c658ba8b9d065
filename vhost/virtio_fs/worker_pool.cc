#include "vhost/virtio_fs/worker_pool.h"

#include <utility>

#include "fuse/session/request.h"
#include "fuse/session/scratch.h"
#include "gofer/base/request_gate.h"

namespace gofer::virtio_fs {

WorkerPool::~WorkerPool() {
  std::vector<std::thread> threads;
  {
    const absl::MutexLock lock(&mu_);
    ending_ = true;
    threads = std::move(threads_);
  }
  for (std::thread& thread : threads) thread.join();
}

void WorkerPool::Submit(Slot* slot) {
  slot->next = nullptr;
  const absl::MutexLock lock(&mu_);
  (first_ == nullptr ? first_ : last_->next) = slot;
  last_ = slot;
  ++waiting_;
  StartThreadIfWanted();
}

void WorkerPool::AskForHelp(Helped& helped, size_t max_helpers) {
  if (helped.helpers_.load(std::memory_order_relaxed) >= max_helpers) return;
  const absl::MutexLock lock(&mu_);
  if (helped.helpers_.load(std::memory_order_relaxed) >= max_helpers) return;
  helped.helpers_.fetch_add(1, std::memory_order_relaxed);
  helped_.push_back(&helped);
  StartThreadIfWanted();
}

void WorkerPool::Dismiss(Helped& helped) {
  const absl::MutexLock lock(&mu_);
  helped.helpers_.fetch_sub(static_cast<size_t>(std::erase(helped_, &helped)),
                            std::memory_order_relaxed);
  const auto alone = [&helped] { return helped.helpers_.load(std::memory_order_relaxed) == 0; };
  mu_.Await(absl::Condition(&alone));
}

void WorkerPool::StartThreadIfWanted() {
  if (waiting_ + helped_.size() > idle_ && threads_.size() < max_threads_) {
    threads_.emplace_back([this] { Run(); });
  }
}

void WorkerPool::Run() {
  fuse::Scratch scratch;
  for (;;) {
    Slot* slot = nullptr;
    Helped* helped = nullptr;
    {
      const absl::MutexLock lock(&mu_);
      ++idle_;
      mu_.Await(absl::Condition(this, &WorkerPool::HasWork));
      --idle_;
      if (first_ != nullptr) {
        slot = std::exchange(first_, first_->next);
        --waiting_;
      } else if (!helped_.empty()) {
        helped = helped_.back();
        helped_.pop_back();
      } else {
        return;
      }
    }
    if (helped != nullptr) {
      helped->Help(scratch);
      const absl::MutexLock lock(&mu_);  // for who waits in Dismiss
      helped->helpers_.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    const RequestGate::Pass pass(session_.gate());  // until the reply is in the ring
    const fuse::Outcome outcome = session_.Serve(*slot, fuse::Serving::kWorker, scratch);
    if (outcome.kind == fuse::Outcome::Kind::kDone) slot->Complete(outcome.written);
  }
}

}  // namespace gofer::virtio_fs
