// RequestStats: of one way in, how many requests of each operation there were, how long they took,
//               and which errors they got. Recorder: a serving thread's hand in it.
//
//   stats::RequestStats stats(kNumOperations, &NameOf);
//   stats::Recorder recorder(stats);               // in a thread that serves, for as long as it does
//   const uint64_t begin = recorder.Now();
//   ...
//   recorder.Record(operation, begin, error);      // one call for each request
//   ...
//   for (const stats::Operation& operation : stats.Read()) ...
//
// A recorder's counters are written by its thread alone, and lie in pages of their own. To record
// is to read the tick clock and to add to two or three of them: no lock, no instruction that locks
// the bus, no allocation, no search. Read adds up the counters of all threads, those of the ones
// that have ended included, so numbers only ever grow.
//
// Memory: the counters of a thread take up what is touched of them, a few pages: a thread that
//         serves nothing takes none. Should there be no memory for them at all, nothing is counted.
// Owner:   the way in; outlives its Recorders. Threads: RequestStats is safe, a Recorder has one
//          thread. Locks: mu_ is a leaf.
// Units:   nanoseconds, to a quarter; what takes more than a minute counts as a minute.
// Errors:  none.

#ifndef GOFER_STATS_REQUEST_STATS_H_
#define GOFER_STATS_REQUEST_STATS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/log_linear.h"
#include "gofer/sys/memory_map.h"
#include "gofer/sys/tick_clock.h"

namespace gofer::stats {

// Four buckets for each power of two from 256 ns on.
using LatencyScale = LogLinear<2, 6, 36>;

struct ErrnoCount {
  int error = 0;
  uint64_t count = 0;
};

// What there has been of one.
struct Operation {
  std::string name = {};
  uint64_t requests = 0;  // all of them, also those that got an error
  uint64_t total_ns = 0;
  std::vector<CountedRange> latencies = {};
  std::vector<ErrnoCount> errors = {};
};

// The numbers of one thread, for all operations.
class Counters {
 public:
  explicit Counters(size_t operations);

  // By the thread that owns them, and by no other at the same time.
  void Add(size_t operation, uint64_t ns, std::optional<Errno> error) {
    if (latencies_.empty()) [[unlikely]]
      return;
    Latencies& latencies = latencies_[operation];
    Increase(latencies.buckets[LatencyScale::Bucket(ns)], 1);
    // No request takes no time: a total of 0 says that there were none.
    Increase(latencies.total_ns, std::max<uint64_t>(ns, 1));
    if (error.has_value()) {
      const auto number = static_cast<size_t>(error->value());
      Increase(errors_[operation][number < kErrnos ? number : 0], 1);
    }
  }
  // Adds all that `other` has, whose thread may be adding to it.
  void Add(const Counters& other);
  // What there has been of an operation; nothing if there were no requests.
  std::optional<Operation> Read(size_t operation) const;

 private:
  // Linux has no number beyond for a peer; one that is would count as 0.
  static constexpr size_t kErrnos = 134;
  struct Latencies {
    uint64_t total_ns;
    std::array<uint64_t, LatencyScale::kBuckets> buckets;
  };
  using Errors = std::array<uint64_t, kErrnos>;

  // Atomic only so that another thread may read it meanwhile: it is the only one that writes.
  static void Increase(uint64_t& counter, uint64_t by) {
    const std::atomic_ref<uint64_t> atomic(counter);
    atomic.store(atomic.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  static uint64_t Load(const uint64_t& counter) {
    // C++20 has no atomic_ref of a const.
    return std::atomic_ref<uint64_t>(const_cast<uint64_t&>(counter))
        .load(std::memory_order_relaxed);
  }

  const sys::MemoryMap memory_;
  std::span<Latencies> latencies_;
  std::span<Errors> errors_;
};

class RequestStats {
 public:
  using NameOf = std::string (*)(size_t operation);

  RequestStats(size_t operations, NameOf name);
  RequestStats(const RequestStats&) = delete;
  RequestStats& operator=(const RequestStats&) = delete;
  ~RequestStats();

  // All operations that there have been requests of.
  std::vector<Operation> Read() const ABSL_LOCKS_EXCLUDED(mu_);

  // For a request that ends on a thread which serves none. Takes the lock.
  void Record(size_t operation, uint64_t begin, std::optional<Errno> error)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Recorder;

  void Enter(const Counters& counters) ABSL_LOCKS_EXCLUDED(mu_);
  // Keeps what they have counted.
  void Leave(const Counters& counters) ABSL_LOCKS_EXCLUDED(mu_);

  const size_t operations_;
  const NameOf name_;
  const sys::TickClock clock_;
  mutable absl::Mutex mu_;
  Counters ended_ ABSL_GUARDED_BY(mu_);  // of threads that have
  std::vector<const Counters*> serving_ ABSL_GUARDED_BY(mu_);
};

class Recorder {
 public:
  explicit Recorder(RequestStats& stats)
      : stats_(stats), clock_(stats.clock_), counters_(stats.operations_) {
    stats_.Enter(counters_);
  }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  ~Recorder() { stats_.Leave(counters_); }

  uint64_t Now() const { return clock_.Now(); }
  // `operation` is below the number of them; `begin` is what Now said, to any Recorder.
  void Record(size_t operation, uint64_t begin, std::optional<Errno> error) {
    counters_.Add(operation, clock_.NsSince(begin), error);
  }
  bool BelongsTo(const RequestStats& stats) const { return &stats_ == &stats; }

 private:
  RequestStats& stats_;
  const sys::TickClock clock_;
  Counters counters_;
};

}  // namespace gofer::stats

#endif  // GOFER_STATS_REQUEST_STATS_H_
