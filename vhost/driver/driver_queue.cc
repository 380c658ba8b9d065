#include "vhost/driver/driver_queue.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gofer/base/full_fence.h"

namespace gofer::vhost::driver {
namespace {

constexpr uint64_t kPage = 4096;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

UniqueFd NewEventFd() {
  UniqueFd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  PCHECK(fd.valid()) << "eventfd";
  return fd;
}

}  // namespace

DriverQueue::DriverQueue(GuestRam* ram, BorrowedFd device, const DriverQueueOptions& options)
    : ram_(ram),
      options_(options),
      descriptors_(ram->Allocate(DescriptorTableSize(options.size), kPage)),
      available_(ram->Allocate(AvailableSize(options.size), kAvailableAlignment)),
      // As Linux lays a ring out: what the device writes is on other pages.
      used_(ram->Allocate(UsedSize(options.size), kPage)),
      kick_(NewEventFd()),
      call_(NewEventFd()),
      error_(NewEventFd()),
      events_(epoll_create1(EPOLL_CLOEXEC)),
      heads_(options.size),
      next_free_(options.size) {
  CHECK(std::has_single_bit(options.size)) << options.size;
  PCHECK(events_.valid()) << "epoll_create1";
  // Every raise is an edge: the counter never has to be read.
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = call_.get()}};
  PCHECK(epoll_ctl(events_.get(), EPOLL_CTL_ADD, call_.get(), &event) == 0);
  Reattach(device);
  Reset();
}

// The socket of the former device has been closed, which took it out of the set.
void DriverQueue::Reattach(BorrowedFd device) {
  epoll_event event = {.events = EPOLLRDHUP, .data = {.fd = device.get()}};
  PCHECK(epoll_ctl(events_.get(), EPOLL_CTL_ADD, device.get(), &event) == 0);
}

void DriverQueue::Reset() {
  for (const RamBlock& area : {descriptors_, available_, used_}) {
    std::memset(area.host, 0, area.size);
  }
  for (uint16_t i = 0; i < options_.size; ++i) {
    heads_[i].descriptors = 0;
    next_free_[i] = i + 1 < options_.size ? i + 1 : kNone;
  }
  first_free_ = 0;
  num_free_ = options_.size;
  next_available_ = published_ = last_used_ = 0;
  in_flight_ = 0;
}

bool DriverQueue::Add(std::span<const Piece> readable, std::span<const Piece> writable,
                      uint64_t token) {
  const size_t pieces = readable.size() + writable.size();
  const bool indirect = options_.indirect && pieces > 1;
  if (pieces == 0 || pieces > options_.max_pieces || num_free_ < (indirect ? 1 : pieces)) {
    return false;
  }
  const uint16_t index = first_free_;
  Head& head = heads_[index];
  head.token = token;
  head.room = 0;
  head.raw = false;
  for (const Piece& piece : writable) head.room += piece.size;

  const auto describe = [&](size_t i) {
    const bool writes = i >= readable.size();
    const Piece& piece = writes ? writable[i - readable.size()] : readable[i];
    const auto flags = static_cast<uint16_t>((writes ? kDescriptorWrite : 0) |
                                             (i + 1 < pieces ? kDescriptorNext : 0));
    return Descriptor{piece.guest_address, piece.size, flags, 0};
  };
  if (indirect) {
    if (!head.table) {
      head.table = ram_->Allocate(options_.max_pieces * sizeof(Descriptor), sizeof(Descriptor));
    }
    auto* const table = reinterpret_cast<Descriptor*>(head.table->host);
    for (size_t i = 0; i < pieces; ++i) {
      table[i] = describe(i);
      table[i].next = static_cast<uint16_t>(i + 1);
    }
    Table()[index] = {head.table->guest_address, static_cast<uint32_t>(pieces * sizeof(Descriptor)),
                      kDescriptorIndirect, 0};
    first_free_ = next_free_[index];
    head.descriptors = 1;
  } else {
    for (size_t i = 0; i < pieces; ++i) {
      const uint16_t at = first_free_;
      first_free_ = next_free_[at];
      Table()[at] = describe(i);
      Table()[at].next = first_free_;
    }
    head.descriptors = static_cast<uint16_t>(pieces);
  }
  num_free_ -= head.descriptors;
  ++in_flight_;
  const size_t slot = next_available_ & (options_.size - 1);
  Field(available_, kEntriesOffset + slot * sizeof(uint16_t))
      .store(index, std::memory_order_relaxed);
  ++next_available_;
  return true;
}

void DriverQueue::Publish() {
  const uint16_t before = published_;
  published_ = next_available_;
  Field(available_, kIndexOffset).store(published_, std::memory_order_release);
  FullFence();
  const bool wanted =
      options_.event_idx
          ? static_cast<uint16_t>(
                published_ - 1 -
                Field(used_, AvailableEventOffset(options_.size)).load(std::memory_order_relaxed)) <
                static_cast<uint16_t>(published_ - before)
          : (Field(used_, kFlagsOffset).load(std::memory_order_relaxed) & kUsedNoNotify) == 0;
  if (wanted) Kick();
}

void DriverQueue::Kick() {
  ++kicks_;
  const uint64_t one = 1;
  PCHECK(write(kick_.get(), &one, sizeof(one)) == sizeof(one));
}

bool DriverQueue::HasUsed() const {
  return Field(used_, kIndexOffset).load(std::memory_order_acquire) != last_used_;
}

ErrnoOr<std::optional<Finished>> DriverQueue::Take() {
  const uint16_t used = Field(used_, kIndexOffset).load(std::memory_order_acquire);
  if (used == last_used_) return std::optional<Finished>();
  if (static_cast<uint16_t>(used - last_used_) > in_flight_) {
    LOG(ERROR) << "used index " << used << " after " << last_used_ << ", but only " << in_flight_
               << " requests are in flight";
    return Errno(EBADMSG);
  }
  UsedElement element;
  const size_t slot = last_used_ & (options_.size - 1);
  std::memcpy(&element, used_.host + kEntriesOffset + slot * sizeof(element), sizeof(element));
  if (element.head >= options_.size || heads_[element.head].descriptors == 0) {
    LOG(ERROR) << "used ring: head " << element.head << " is not in flight";
    return Errno(EBADMSG);
  }
  const Head& head = heads_[element.head];
  if (element.written_bytes > head.room) {
    LOG(ERROR) << "used ring: " << element.written_bytes << " bytes written where " << head.room
               << " have room";
    return Errno(EBADMSG);
  }
  const Finished finished = {.token = head.token, .written = element.written_bytes};
  FreeHead(static_cast<uint16_t>(element.head));
  ++last_used_;
  return std::optional(finished);
}

void DriverQueue::FreeHead(uint16_t head) {
  // The chain is still linked as Add left it: the last one points to what was the first free.
  if (!heads_[head].raw) {
    uint16_t last = head;
    for (uint16_t i = 1; i < heads_[head].descriptors; ++i) last = next_free_[last];
    next_free_[last] = first_free_;
    first_free_ = head;
    num_free_ += heads_[head].descriptors;
  }
  heads_[head].descriptors = 0;
  --in_flight_;
}

ErrnoOr<void> DriverQueue::Wait(absl::Duration patience, absl::Duration spin) {
  if (HasUsed()) return {};
  if (spin > absl::ZeroDuration()) {
    const absl::Time until = absl::Now() + spin;
    do {
      for (int i = 0; i < 64; ++i) {
        if (HasUsed()) return {};
        Pause();
      }
    } while (absl::Now() < until);
  }
  const absl::Time deadline = absl::Now() + patience;
  for (;;) {
    if (options_.event_idx) {
      Field(available_, UsedEventOffset(options_.size))
          .store(last_used_, std::memory_order_relaxed);
    }
    FullFence();
    if (HasUsed()) return {};
    const int64_t left_ms = absl::ToInt64Milliseconds(deadline - absl::Now());
    if (left_ms <= 0) return Errno(ETIMEDOUT);
    epoll_event event;
    const int ready = epoll_wait(events_.get(), &event, 1, static_cast<int>(left_ms));
    if (ready < 0 && errno != EINTR) return Errno::Last();
    if (ready <= 0) continue;
    if (event.data.fd != call_.get()) return HasUsed() ? ErrnoOr<void>() : Errno(ESHUTDOWN);
    ++calls_;
  }
}

void DriverQueue::AddHead(uint16_t head, uint64_t token) {
  if (head < options_.size && heads_[head].descriptors == 0) {
    heads_[head].token = token;
    heads_[head].room = UINT32_MAX;
    heads_[head].descriptors = 1;
    heads_[head].raw = true;
    ++in_flight_;
  }
  const size_t slot = next_available_ & (options_.size - 1);
  Field(available_, kEntriesOffset + slot * sizeof(uint16_t))
      .store(head, std::memory_order_relaxed);
  ++next_available_;
}

void DriverQueue::PublishIndex(uint16_t index) {
  next_available_ = published_ = index;
  Field(available_, kIndexOffset).store(index, std::memory_order_release);
  Kick();
}

void DriverQueue::SetDescriptor(uint16_t index, const Descriptor& descriptor) {
  Table()[index] = descriptor;
}

}  // namespace gofer::vhost::driver
