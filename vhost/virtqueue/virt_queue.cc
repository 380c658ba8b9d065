#include "vhost/virtqueue/virt_queue.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "absl/strings/str_format.h"
#include "glog/logging.h"
#include "gofer/base/full_fence.h"
#include "gofer/base/status_macros.h"
#include "vhost/virtqueue/chain_walk.h"

namespace gofer::vhost {
namespace {

// The number of the lowest bit that is set.
size_t Lowest(uint64_t bits) { return static_cast<size_t>(std::countr_zero(bits)); }

}  // namespace

struct MemoryUse {
  // How many requests there are or were, in all and in each region.
  struct Count {
    void Add(uint64_t regions) {
      ++all;
      for (; regions != 0; regions &= regions - 1) ++in_region[Lowest(regions)];
    }

    uint64_t all = 0;
    std::array<uint64_t, 64> in_region = {};
  };

  bool Unused() const { return taken.all == returned.all; }
  // Whether requests are left in regions that are going away.
  bool Awaited() const {
    for (uint64_t left = leaving; left != 0; left &= left - 1) {
      const size_t region = Lowest(left);
      if (taken.in_region[region] != returned.in_region[region]) return true;
    }
    return false;
  }

  RefPtr<const GuestMemory> memory;
  Count taken;     // guarded by take_mu_; frozen when retired
  Count returned;  // guarded by publish_mu_, as is what follows
  GuestMemory::RegionSet leaving = 0;
  bool abandoned = false;  // of a ring that was forgotten
};

VirtQueue::VirtQueue(uint32_t index) : index_(index) {}

VirtQueue::~VirtQueue() {
  Stop();
  CHECK_EQ(outstanding(), 0u) << "queue " << index_ << " ends with requests that point into it";
}

// ---- Taking

size_t VirtQueue::Take(std::span<DescriptorChain* const> slots) {
  absl::MutexLock lock(&take_mu_);
  if (!taking()) return 0;
  size_t count = 0;
  while (!resubmit_.empty() && count < slots.size()) {
    Fill(resubmit_.back(), *slots[count++]);
    resubmit_.pop_back();
  }
  const size_t old = count;
  const uint16_t available = ring_.AvailableIndex();
  const auto waiting = static_cast<uint16_t>(available - next_);
  if (waiting != 0) {
    // What the guest has made available and not seen answered is in the ring at the same time.
    const auto unanswered =
        static_cast<uint16_t>(available - published_.load(std::memory_order_acquire));
    if (waiting > ring_.size() || unanswered > ring_.size()) {
      Break(absl::StrFormat("available index %d after %d, ring size %d", available, next_,
                            ring_.size()));
    }
    for (uint16_t i = 0; running_ && i < waiting && count < slots.size(); ++i) {
      const uint16_t head = ring_.AvailableHead(next_);
      if (head >= ring_.size()) {
        Break(absl::StrFormat("head %d, ring size %d", head, ring_.size()));
        break;
      }
      ++next_;
      Fill(head, *slots[count++]);
    }
  }
  taken_ += count;
  for (size_t i = 0; i < count; ++i) use_->taken.Add(slots[i]->regions_);
  if (tracks_inflight_ && count > old) {
    // Under the lock of those who publish: they clear the mark of a head after the guest has
    // learned that it may use it again, and it may have done that by now.
    absl::MutexLock publish_lock(&publish_mu_);
    for (size_t i = old; i < count; ++i) inflight_.Take(slots[i]->head());
  }
  return count;
}

void VirtQueue::Fill(uint16_t head, DescriptorChain& chain) {
  ChainWalk(ring_, *use_->memory, hint_).Walk(head, chain);
  chain.memory_use_ = use_.get();
  if (chain.fault() != DescriptorChain::Fault::kNone) [[unlikely]] {
    ++malformed_;
    LOG_EVERY_T(WARNING, 10) << "queue " << index_ << ": chain at " << head << ": "
                             << DescriptorChain::Name(chain.fault());
  }
}

bool VirtQueue::HasWorkLocked() const {
  return taking() && (!resubmit_.empty() || ring_.AvailableIndex() != next_);
}

bool VirtQueue::HasWork() {
  absl::MutexLock lock(&take_mu_);
  return HasWorkLocked();
}

bool VirtQueue::ArmKicks() {
  absl::MutexLock lock(&take_mu_);
  if (!taking()) return true;
  SetKicks(true);
  // The guest adds, fences and looks whether a kick is wanted: one of the two sees the other.
  FullFence();
  if (!HasWorkLocked()) return true;
  SetKicks(false);
  return false;
}

void VirtQueue::DisarmKicks() {
  absl::MutexLock lock(&take_mu_);
  if (taking()) SetKicks(false);
}

void VirtQueue::SetKicks(bool wanted) {
  size_t offset = kFlagsOffset;
  if (config_.event_idx) {
    // An event that is left behind is not met again for 65536 requests.
    if (!wanted) return;
    ring_.StoreAvailableEvent(next_);
    offset = AvailableEventOffset(ring_.size());
  } else {
    ring_.StoreUsedFlags(wanted ? 0 : kUsedNoNotify);
  }
  if (kick_log_ && kick_log_used_) kick_log_->Mark(*kick_log_used_ + offset, sizeof(uint16_t));
}

void VirtQueue::Break(absl::string_view why) {
  running_ = false;
  broken_ = true;
  error_.Raise();
  LOG(WARNING) << "queue " << index_ << " is broken: " << why;
}

// ---- Giving back

void VirtQueue::Complete(std::span<const Completion> done) {
  Tables unused;  // dropped after the lock: unmapping takes time
  absl::MutexLock lock(&publish_mu_);
  Publish(done);
  unused = LetGo(done);
}

void VirtQueue::CompleteAndNotify(DescriptorChain& chain, uint32_t written) {
  const Completion done[] = {{&chain, written}};
  {
    absl::MutexLock lock(&publish_mu_);
    Publish(done);
  }
  Notify();
  Tables unused;
  absl::MutexLock lock(&publish_mu_);
  unused = LetGo(done);
}

void VirtQueue::Publish(std::span<const Completion> done) {
  const bool tracked = inflight_.valid();
  const uint16_t from = used_;
  for (const Completion& one : done) {
    if (one.chain->memory_use_->abandoned) continue;
    DCHECK_LE(one.written, one.chain->out_bytes());
    if (log_) MarkAnswer(one);
    publish_ring_.StoreUsed(used_++, {.head = one.chain->head(), .written_bytes = one.written});
    if (tracked) inflight_.Link(one.chain->head());
  }
  if (used_ == from) return;
  published_.store(used_, std::memory_order_release);
  publish_ring_.PublishUsed(used_);
  if (log_ && log_used_) MarkUsed(from, used_);
  if (!tracked) return;
  for (const Completion& one : done) {
    if (!one.chain->memory_use_->abandoned) inflight_.Clear(one.chain->head());
  }
  inflight_.Settle(used_);
}

VirtQueue::Tables VirtQueue::LetGo(std::span<const Completion> done) {
  for (const Completion& one : done) one.chain->memory_use_->returned.Add(one.chain->regions_);
  returned_ += done.size();
  return retired_.empty() ? Tables() : Unused();
}

void VirtQueue::MarkAnswer(const Completion& done) const {
  uint64_t left = done.written;
  for (const iovec& piece : done.chain->out()) {
    const auto* at = static_cast<const std::byte*>(piece.iov_base);
    uint64_t size = std::min<uint64_t>(left, piece.iov_len);
    left -= size;
    while (size > 0) {
      uint64_t rest = 0;
      const std::optional<uint64_t> address =
          done.chain->memory_use_->memory->GuestAddressOf(at, rest);
      if (!address.has_value()) break;
      const uint64_t part = std::min(size, rest);
      log_->Mark(*address, part);
      at += part;
      size -= part;
    }
    if (left == 0) return;
  }
}

void VirtQueue::MarkUsed(uint16_t from, uint16_t to) const {
  for (uint16_t i = from; i != to; ++i) {
    log_->Mark(*log_used_ + publish_ring_.UsedElementOffset(i), sizeof(UsedElement));
  }
  log_->Mark(*log_used_ + kIndexOffset, sizeof(uint16_t));
}

void VirtQueue::Notify() {
  absl::MutexLock lock(&notify_mu_);
  if (!notify_ring_.valid()) return;
  const uint16_t now = published_.load(std::memory_order_acquire);
  const uint16_t before = signalled_;
  if (now == before) return;
  // The guest says what it wants to hear of, fences and looks for answers: one sees the other.
  FullFence();
  bool wanted;
  if (event_idx_) {
    const uint16_t event = notify_ring_.UsedEvent();
    wanted = !signalled_valid_ ||
             static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
  } else {
    wanted = (notify_ring_.AvailableFlags() & kAvailableNoInterrupt) == 0;
  }
  signalled_ = now;
  signalled_valid_ = true;
  if (!wanted) return;
  // Under the lock, so that WaitIdle and SetCall know when it is over.
  call_.Raise();
  ++calls_;
}

// ---- Control

absl::Status VirtQueue::Start(const RingConfig& config, uint16_t next,
                              RefPtr<const GuestMemory> memory,
                              RefPtr<const InflightRegion> inflight) {
  absl::MutexLock take_lock(&take_mu_);
  absl::MutexLock notify_lock(&notify_mu_);
  absl::MutexLock publish_lock(&publish_mu_);
  if (use_ != nullptr) {
    return absl::FailedPreconditionError(absl::StrFormat("queue %d: started already", index_));
  }
  ASSIGN_OR_RETURN(const SplitRing ring, SplitRing::Locate(*memory, config.size, config.addresses));
  const uint16_t used = ring.UsedIndex();
  InflightQueue tracked;
  InflightQueue::Recovered recovered;
  if (inflight) tracked = inflight->Queue(index_);
  if (tracked.valid()) {
    ASSIGN_OR_RETURN(recovered, tracked.Open(config.size, used));
    // What is neither answered nor noted as taken was never seen: the front-end, which knows of no
    // process before this one, may say otherwise.
    if (!recovered.fresh) next = static_cast<uint16_t>(used + recovered.heads.size());
  }

  config_ = config;
  broken_ = false;
  displaced_ = false;
  tracks_inflight_ = tracked.valid();
  next_ = next;
  hint_ = {};
  use_ = std::make_unique<MemoryUse>();
  use_->memory = memory;
  ring_memory_ = std::move(memory);
  resubmit_.assign(recovered.heads.rbegin(), recovered.heads.rend());

  event_idx_ = config.event_idx;
  signalled_valid_ = false;
  signalled_ = used;

  used_ = used;
  published_.store(used, std::memory_order_relaxed);
  inflight_ = tracked;
  inflight_region_ = std::move(inflight);

  ring_ = notify_ring_ = publish_ring_ = ring;
  return absl::OkStatus();
}

void VirtQueue::Resume() {
  absl::MutexLock lock(&take_mu_);
  running_ = use_ != nullptr && !broken_;
}

void VirtQueue::Halt() {
  absl::MutexLock lock(&take_mu_);
  running_ = false;
}

bool VirtQueue::WaitIdle(absl::Duration patience) {
  uint64_t taken;
  {
    absl::MutexLock lock(&take_mu_);
    taken = taken_;
  }
  {
    absl::MutexLock lock(&publish_mu_);
    const auto idle = [this, taken]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_) { return returned_ == taken; };
    if (!publish_mu_.AwaitWithTimeout(absl::Condition(&idle), patience)) return false;
  }
  // What was published and not yet notified of; and whoever is at it right now is done afterwards.
  Notify();
  return true;
}

QueueState VirtQueue::Stop() {
  Tables unused;
  RefPtr<const InflightRegion> inflight;
  RefPtr<const GuestMemory> memory;
  RefPtr<const DirtyLog> log;
  absl::MutexLock take_lock(&take_mu_);
  absl::MutexLock notify_lock(&notify_mu_);
  absl::MutexLock publish_lock(&publish_mu_);
  running_ = false;
  broken_ = false;
  tracks_inflight_ = false;
  // What a former process left and nobody took is still unanswered for the next one to start.
  resubmit_.clear();
  ring_ = notify_ring_ = publish_ring_ = SplitRing();
  inflight_ = InflightQueue();
  inflight = std::move(inflight_region_);
  memory = std::move(ring_memory_);
  kick_log_ = nullptr;
  log = std::move(log_);
  if (use_ != nullptr) Retire();
  // Those of former memory tables too: whatever still comes back, comes to a ring that is no more.
  for (const std::unique_ptr<MemoryUse>& use : retired_) use->abandoned = true;
  unused = Unused();
  return {.next_available = next_, .used = used_};
}

void VirtQueue::Retire() { retired_.push_back(std::move(use_)); }

VirtQueue::Tables VirtQueue::Unused() {
  Tables unused;
  const auto used_up =
      std::stable_partition(retired_.begin(), retired_.end(),
                            [](const std::unique_ptr<MemoryUse>& use) { return !use->Unused(); });
  std::move(used_up, retired_.end(), std::back_inserter(unused));
  retired_.erase(used_up, retired_.end());
  return unused;
}

bool VirtQueue::SetMemory(RefPtr<const GuestMemory> memory, absl::Duration patience) {
  {
    RefPtr<const GuestMemory> former;  // these two are dropped after the locks
    Tables unused;
    absl::MutexLock take_lock(&take_mu_);
    absl::MutexLock notify_lock(&notify_mu_);
    absl::MutexLock publish_lock(&publish_mu_);
    if (use_ == nullptr) return true;
    if (use_->memory != memory) {
      absl::StatusOr<SplitRing> ring = SplitRing::Locate(*memory, config_.size, config_.addresses);
      displaced_ = !ring.ok();
      if (ring.ok()) {
        ring_ = notify_ring_ = publish_ring_ = *ring;
        former = std::exchange(ring_memory_, memory);
      } else {
        LOG(WARNING) << "queue " << index_ << " waits for its memory: " << ring.status().message();
      }
      Retire();
      for (const std::unique_ptr<MemoryUse>& use : retired_) {
        use->leaving = use->memory->NotIn(*memory);
      }
      use_ = std::make_unique<MemoryUse>();
      use_->memory = memory;
      hint_ = {};
      unused = Unused();
    }
  }
  std::vector<RefPtr<const GuestMemory>> left;
  absl::MutexLock lock(&publish_mu_);
  const auto drained = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_) {
    return std::none_of(retired_.begin(), retired_.end(),
                        [](const std::unique_ptr<MemoryUse>& use) { return use->Awaited(); });
  };
  if (!publish_mu_.AwaitWithTimeout(absl::Condition(&drained), patience)) return false;
  // What is left is in regions that the new table has too: nothing needs the others any more.
  for (const std::unique_ptr<MemoryUse>& use : retired_) {
    left.push_back(std::exchange(use->memory, use->memory->InCommonWith(*memory)));
    use->leaving = 0;
  }
  return true;
}

void VirtQueue::SetDirtyLog(RefPtr<const DirtyLog> log, std::optional<uint64_t> used_ring) {
  RefPtr<const DirtyLog> before;  // perhaps the last reference: unmapped after the locks
  absl::MutexLock take_lock(&take_mu_);
  absl::MutexLock publish_lock(&publish_mu_);
  before = std::move(log_);
  kick_log_ = log;
  kick_log_used_ = used_ring;
  log_ = std::move(log);
  log_used_ = used_ring;
}

void VirtQueue::SetCall(UniqueFd call) {
  sys::PeerEvent event(std::move(call));  // the former one after the lock
  absl::MutexLock lock(&notify_mu_);
  std::swap(call_, event);
  if (notify_ring_.valid()) call_.Raise();
}

void VirtQueue::SetError(UniqueFd error) {
  sys::PeerEvent event(std::move(error));
  absl::MutexLock lock(&take_mu_);
  std::swap(error_, event);
}

bool VirtQueue::started() const {
  absl::MutexLock lock(&take_mu_);
  return use_ != nullptr;
}

bool VirtQueue::broken() const {
  absl::MutexLock lock(&take_mu_);
  return broken_;
}

uint64_t VirtQueue::outstanding() const {
  absl::MutexLock take_lock(&take_mu_);
  absl::MutexLock publish_lock(&publish_mu_);
  return taken_ - returned_;
}

QueueState VirtQueue::state() const {
  absl::MutexLock take_lock(&take_mu_);
  absl::MutexLock publish_lock(&publish_mu_);
  return {.next_available = next_, .used = used_};
}

VirtQueue::Counters VirtQueue::counters() const {
  absl::MutexLock take_lock(&take_mu_);
  absl::MutexLock notify_lock(&notify_mu_);
  return {.chains = taken_, .malformed = malformed_, .calls = calls_};
}

}  // namespace gofer::vhost
