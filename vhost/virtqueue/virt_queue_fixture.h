// VirtQueueTest: a queue on a ring of a guest of the test's own, for the tests of what it does.
//
// Owner:   tests.

#ifndef VHOST_VIRTQUEUE_VIRT_QUEUE_FIXTURE_H_
#define VHOST_VIRTQUEUE_VIRT_QUEUE_FIXTURE_H_

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "vhost/virtqueue/descriptor_chain.h"
#include "vhost/virtqueue/inflight_region.h"
#include "vhost/virtqueue/ring_layout.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::vhost {

// Values of a ring's fields, to go through.
using Indices = std::initializer_list<uint16_t>;

inline constexpr uint64_t kBuffers = TestGuest::kFar;
inline constexpr absl::Duration kLong = absl::Seconds(20);

inline UniqueFd MakeEvent() { return UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
// How often it was raised since the last time.
inline uint64_t Raised(const UniqueFd& event) {
  uint64_t count = 0;
  return read(event.get(), &count, sizeof(count)) == sizeof(count) ? count : 0;
}
inline bool Readable(const UniqueFd& event, int timeout_ms) {
  struct pollfd waiting = {.fd = event.get(), .events = POLLIN, .revents = 0};
  return poll(&waiting, 1, timeout_ms) == 1;
}

class VirtQueueTest : public testing::Test {
 protected:
  VirtQueueTest() : call_(MakeEvent()), error_(MakeEvent()) {
    for (DescriptorChain& chain : chains_) slots_.push_back(&chain);
  }
  ~VirtQueueTest() override {
    if (queue_) queue_->Halt();
  }

  void Make(uint32_t size, bool event_idx = false, uint16_t index = 0) {
    queue_ = std::make_unique<VirtQueue>(0);
    ring_ = std::make_unique<TestRing>(guest_, size, TestGuest::kLow, event_idx);
    ring_->StartAt(index);
    queue_->SetCall(UniqueFd(dup(call_.get())));
    queue_->SetError(UniqueFd(dup(error_.get())));
    ASSERT_TRUE(Start(index).ok());
    queue_->Resume();
  }
  absl::Status Start(uint16_t next, RefPtr<const InflightRegion> inflight = nullptr) {
    return queue_->Start(ring_->config(), next, guest_.Memory(), std::move(inflight));
  }
  // A request of 40 bytes in and 16 out, of descriptors of its own.
  uint16_t Request(uint16_t number) const {
    const auto first = static_cast<uint16_t>(number * 2 % ring_->size());
    const uint64_t at = kBuffers + 0x100 * number;
    return ring_->Chain(
        first, std::vector<Descriptor>{{at, 40, 0, 0}, {at + 64, 16, kDescriptorWrite, 0}});
  }
  void Offer(uint16_t number) { ring_->Offer(Request(number)); }
  size_t Take(size_t most = 64) { return queue_->Take(std::span(slots_).first(most)); }
  // Answers the first `count` that were taken.
  void Answer(size_t count, uint32_t written = 16) {
    std::vector<Completion> done;
    for (size_t i = 0; i < count; ++i) done.push_back({slots_[i], written});
    queue_->Complete(done);
  }
  // Whether one more request and its answer lead to an interrupt.
  bool Interrupts() {
    Raised(call_);
    Offer(0);
    EXPECT_EQ(Take(), 1u);
    Answer(1);
    queue_->Notify();
    return Raised(call_) != 0;
  }

  TestGuest guest_;
  const UniqueFd call_;
  const UniqueFd error_;
  std::unique_ptr<TestRing> ring_;
  std::array<DescriptorChain, 64> chains_;
  std::vector<DescriptorChain*> slots_;
  std::unique_ptr<VirtQueue> queue_;
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_VIRT_QUEUE_FIXTURE_H_
