#include "vhost/virtio_fs/queue_server.h"

#include <utility>

#include "absl/time/time.h"
#include "fuse/session/request.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/buffers.h"
#include "fuse/wire/reply.h"
#include "gofer/base/errno.h"
#include "gofer/base/request_gate.h"

namespace gofer::virtio_fs {
namespace {

using vhost::DescriptorChain;

// How often a ring is looked at that has nothing to kick with.
constexpr absl::Duration kWithoutKick = absl::Milliseconds(1);
// And how often whether a slot has become free.
constexpr absl::Duration kWithoutSlot = absl::Milliseconds(1);

// The answer to what is no request, as far as there is room for one.
size_t Refuse(const DescriptorChain& chain) {
  fuse::InHeader header = {};
  const bool whole =
      fuse::Buffers(chain.in()).CopyOut(std::as_writable_bytes(std::span(&header, 1))) ==
      sizeof(header);
  return fuse::Reply(chain.out()).Fail(Errno(EINVAL), whole ? header.unique : 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<QueueServer>> QueueServer::Start(fuse::Session& session,
                                                                vhost::VirtQueue& queue,
                                                                BorrowedFd kick, SlotPool& slots,
                                                                const Options& options) {
  ErrnoOr<sys::EdgePoll> poll = sys::EdgePoll::Create();
  if (!poll.ok()) return ToStatus(poll.error(), "epoll_create1");
  ErrnoOr<sys::EventFd> wake = sys::EventFd::Create();
  if (!wake.ok()) return ToStatus(wake.error(), "eventfd");
  ErrnoOr<void> added = poll->Add(wake->fd());
  if (added.ok() && kick.valid()) added = poll->Add(kick);
  if (!added.ok()) return ToStatus(added.error(), "kick descriptor");
  return std::unique_ptr<QueueServer>(new QueueServer(session, queue, kick.valid(), slots, options,
                                                      *std::move(poll), *std::move(wake)));
}

QueueServer::QueueServer(fuse::Session& session, vhost::VirtQueue& queue, bool has_kick,
                         SlotPool& slots, const Options& options, sys::EdgePoll poll,
                         sys::EventFd wake)
    : session_(session),
      queue_(queue),
      has_kick_(has_kick),
      pool_(slots),
      options_(options),
      poll_(std::move(poll)),
      wake_(std::move(wake)) {
  if (options_.workers != nullptr && options_.helps_listings) {
    listing_helper_.emplace(session_, *options_.workers);
  }
  scratch_.LookAhead(listing_helper_.has_value() ? &*listing_helper_ : nullptr);
  thread_ = std::thread([this] { Run(); });
}

QueueServer::~QueueServer() {
  ending_ = true;
  wake_.Raise();
  thread_.join();
  if (options_.workers != nullptr) options_.workers->Dismiss(*this);
  for (Slot* const slot : slots_) {
    if (slot != nullptr) pool_.Put(slot);
  }
}

void QueueServer::Help(fuse::Scratch& scratch) {
  Slot* slot = nullptr;
  for (;;) {
    if (slot == nullptr) slot = pool_.Get();
    if (slot == nullptr) return;
    DescriptorChain* const chains[] = {&slot->chain};
    if (queue_.Take(chains) == 0) break;
    Serve(slot, fuse::Serving::kWorker, scratch);
  }
  pool_.Put(slot);
}

size_t QueueServer::Refill(std::array<DescriptorChain*, kBatch>& chains) {
  size_t count = 0;
  for (Slot*& slot : slots_) {
    if (slot == nullptr) slot = pool_.Get();
    if (slot == nullptr) continue;
    chains[count] = &slot->chain;
    std::swap(slot, slots_[count]);
    ++count;
  }
  return count;
}

void QueueServer::Run() {
  const fuse::Serving serving =
      options_.workers == nullptr ? fuse::Serving::kWorker : fuse::Serving::kInline;
  while (!ending_.load(std::memory_order_relaxed)) {
    std::array<DescriptorChain*, kBatch> chains;
    const size_t room = Refill(chains);
    if (room == 0) {
      poll_.Wait(kWithoutSlot);
      continue;
    }
    const size_t taken = queue_.Take(std::span(chains).first(room));
    if (taken == kBatch && options_.max_helpers > 0 && queue_.HasWork())
      options_.workers->AskForHelp(*this, options_.max_helpers);
    for (size_t i = 0; i < taken; ++i) Serve(slots_[i], serving, scratch_);
    if (taken == 0) Wait();
  }
}

void QueueServer::Wait() {
  const auto arrived = [this] {
    return queue_.HasWork() || ending_.load(std::memory_order_relaxed);
  };
  // Polls for as long as there is something else to do meanwhile.
  session_.LookAhead(scratch_, arrived);
  if (options_.polls && spin_.Poll(arrived)) return;
  if (!queue_.ArmKicks()) return;
  poll_.Wait(has_kick_ ? absl::InfiniteDuration() : kWithoutKick);
  spin_.Slept();
  queue_.DisarmKicks();
}

void QueueServer::Serve(Slot*& slot, fuse::Serving serving, fuse::Scratch& scratch) {
  DescriptorChain& chain = slot->chain;
  const RequestGate::Pass pass(session_.gate());  // until the reply is in the ring
  fuse::Outcome outcome;
  if (chain.fault() == DescriptorChain::Fault::kNone) {
    slot->Begin(queue_);
    outcome = session_.Serve(*slot, serving, scratch);
  } else {
    outcome = fuse::Outcome::Done(Refuse(chain));
  }
  switch (outcome.kind) {
    case fuse::Outcome::Kind::kDone:
      queue_.Complete(chain, static_cast<uint32_t>(outcome.written));
      // Not once for several: the next one may take its time, and the guest says itself whether it
      // waits for this one or looks at its ring anyway.
      queue_.Notify();
      return;
    case fuse::Outcome::Kind::kWouldBlock:
      options_.workers->Submit(slot);
      break;
    case fuse::Outcome::Kind::kDeferred:
      break;  // it may be over and done with by now
  }
  slot = nullptr;
}

}  // namespace gofer::virtio_fs
