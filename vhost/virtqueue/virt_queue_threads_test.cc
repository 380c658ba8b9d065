// Both ends of a ring at full speed, and a front-end that changes everything meanwhile.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "gofer/base/full_fence.h"
#include "gtest/gtest.h"
#include "vhost/memory/dirty_log.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue_fixture.h"

namespace gofer::vhost {
namespace {

// A guest that keeps the ring full, one that takes, three that answer, and a front-end that changes
// memory, log and call descriptor all the while: each request gets its own answer, once.
TEST_F(VirtQueueTest, ManyThreadsAtOnce) {
  constexpr uint32_t kRounds = 5'000;
  for (const bool tracked : {false, true}) {
    Make(64, /*event_idx=*/true, 65000);
    InflightLayout layout{.size = 0, .offset = 0, .num_queues = 1, .queue_size = 64};
    const UniqueFd file = *InflightRegion::Create(layout);
    if (tracked) {
      queue_->Stop();
      ASSERT_TRUE(Start(65000, *InflightRegion::Map(layout, file, BorrowedFd())).ok());
      queue_->Resume();
    }
    std::atomic<bool> front_end_done{false};
    std::atomic<bool> done{false};
    std::mutex mu;
    std::deque<DescriptorChain*> free, work;
    for (DescriptorChain& chain : chains_) free.push_back(&chain);

    std::thread taker([&] {
      while (!done) {
        std::vector<DescriptorChain*> slots;
        {
          std::lock_guard<std::mutex> lock(mu);
          while (!free.empty() && slots.size() < 8) {
            slots.push_back(free.front());
            free.pop_front();
          }
        }
        const size_t taken = queue_->Take(slots);
        std::lock_guard<std::mutex> lock(mu);
        for (size_t i = 0; i < slots.size(); ++i) (i < taken ? work : free).push_back(slots[i]);
      }
    });
    std::vector<std::thread> workers;
    for (int t = 0; t < 3; ++t) {
      workers.emplace_back([&] {
        while (!done) {
          std::vector<Completion> batch;
          {
            std::lock_guard<std::mutex> lock(mu);
            while (!work.empty() && batch.size() < 3) {
              batch.push_back({work.front(), 8});
              work.pop_front();
            }
          }
          if (batch.empty()) {
            std::this_thread::yield();
            continue;
          }
          for (const Completion& one : batch) {
            std::memcpy(one.chain->out()[0].iov_base, one.chain->in()[0].iov_base, 8);
          }
          if (batch.size() == 1) {
            queue_->CompleteAndNotify(*batch[0].chain, batch[0].written);
          } else {
            queue_->Complete(batch);
            queue_->Notify();
          }
          std::lock_guard<std::mutex> lock(mu);
          for (const Completion& one : batch) free.push_back(one.chain);
        }
      });
    }
    std::thread front_end([&] {
      const UniqueFd file(memfd_create("log", MFD_CLOEXEC));
      ASSERT_EQ(ftruncate(file.get(), 4096), 0);
      const RefPtr<const DirtyLog> log = *DirtyLog::Map(file, 0, 4096, BorrowedFd());
      while (!front_end_done) {
        EXPECT_TRUE(queue_->SetMemory(guest_.Memory(), kLong));
        queue_->SetDirtyLog(log, TestGuest::kLow);
        queue_->SetCall(UniqueFd(dup(call_.get())));
        queue_->SetDirtyLog(nullptr, std::nullopt);
        queue_->Halt();
        queue_->Resume();
      }
    });

    // Descriptor 2n and 2n+1 are request n's; one that is free is offered with the next number.
    std::vector<uint64_t> sent(32, 0);
    uint64_t number = 0;
    uint64_t answered = 0;
    uint16_t seen = 65000;
    auto send = [&](uint16_t slot) {
      sent[slot] = ++number;
      const uint64_t at = kBuffers + 0x100 * slot;
      std::memcpy(guest_.At(at), &number, 8);
      const Descriptor both[] = {{at, 8, 0, 0}, {at + 16, 8, kDescriptorWrite, 0}};
      ring_->Offer(ring_->Chain(static_cast<uint16_t>(slot * 2), both));
    };
    for (uint16_t slot = 0; slot < 32; ++slot) send(slot);
    while (answered < kRounds) {
      while (seen == ring_->UsedIndex().load(std::memory_order_acquire)) std::this_thread::yield();
      const UsedElement element = ring_->Used(seen++);
      ASSERT_LT(element.head, 64u);
      const auto slot = static_cast<uint16_t>(element.head / 2);
      ASSERT_EQ(element.written_bytes, 8u);
      uint64_t echo;
      std::memcpy(&echo, guest_.At(kBuffers + 0x100 * slot + 16), 8);
      ASSERT_EQ(echo, sent[slot]);
      sent[slot] = 0;
      ++answered;
      send(slot);
    }
    front_end_done = true;
    front_end.join();
    // The stop: exactly what was taken is answered, then nothing any more.
    queue_->Halt();
    EXPECT_TRUE(queue_->WaitIdle(kLong));
    EXPECT_EQ(queue_->outstanding(), 0u);
    const uint16_t used = ring_->UsedIndex();
    const QueueState state = queue_->Stop();
    EXPECT_EQ(state.next_available, used);
    EXPECT_EQ(state.used, used);
    done = true;
    taker.join();
    for (std::thread& worker : workers) worker.join();
    EXPECT_EQ(ring_->UsedIndex(), used);
    // A handled head never stays marked.
    if (tracked) {
      const auto region = *InflightRegion::Map(layout, file, BorrowedFd());
      InflightQueue left = region->Queue(0);
      auto recovered = left.Open(64, state.used);
      ASSERT_TRUE(recovered.ok());
      EXPECT_TRUE(recovered->heads.empty());
    }
  }
}

// Both sides sleep whenever they may: if one of the fences were missing, some round would find both
// asleep.
TEST_F(VirtQueueTest, NobodySleepsWhileTheOtherWaits) {
  constexpr int kRounds = 10'000;
  for (const bool event_idx : {false, true}) {
    Make(16, event_idx);
    const UniqueFd kick = MakeEvent();
    std::atomic<bool> done{false};
    std::thread device([&] {
      while (!done) {
        while (Take() > 0) {
          Answer(1, 8);
          queue_->Notify();
        }
        if (queue_->ArmKicks()) {
          if (!Readable(kick, 20'000)) {
            if (!done) ADD_FAILURE() << "no kick came";
            return;
          }
          Raised(kick);
          queue_->DisarmKicks();
        }
      }
    });
    const Descriptor both[] = {{kBuffers, 8, 0, 0}, {kBuffers + 16, 8, kDescriptorWrite, 0}};
    ring_->Chain(0, both);
    const uint64_t one = 1;
    uint16_t seen = 0;
    for (int round = 0; round < kRounds && !testing::Test::HasFailure(); ++round) {
      // The guest's rules, as the driver of Linux follows them.
      const uint16_t before = ring_->AvailableIndex();
      ring_->Offer(0);
      FullFence();
      const auto after = static_cast<uint16_t>(before + 1);
      const bool wanted = event_idx
                              ? static_cast<uint16_t>(after - ring_->AvailableEvent().load() - 1) <
                                    static_cast<uint16_t>(after - before)
                              : (ring_->UsedFlags().load() & kUsedNoNotify) == 0;
      if (wanted) {
        ASSERT_EQ(write(kick.get(), &one, sizeof(one)), ssize_t{sizeof(one)});
      }
      for (;;) {
        if (event_idx) {
          ring_->UsedEvent().store(seen);
        } else {
          ring_->AvailableFlags().store(0);
        }
        FullFence();
        if (ring_->UsedIndex().load() != seen) break;
        if (!Readable(call_, 20'000)) {
          ADD_FAILURE() << "no interrupt came in round " << round;
          break;
        }
        Raised(call_);
        if (!event_idx) ring_->AvailableFlags().store(kAvailableNoInterrupt);
      }
      seen = static_cast<uint16_t>(seen + 1);
    }
    done = true;
    ASSERT_EQ(write(kick.get(), &one, sizeof(one)), ssize_t{sizeof(one)});
    device.join();
  }
}

}  // namespace
}  // namespace gofer::vhost
