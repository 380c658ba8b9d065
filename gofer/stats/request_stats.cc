#include "gofer/stats/request_stats.h"

#include <algorithm>
#include <utility>

namespace gofer::stats {
namespace {

sys::MemoryMap MemoryOf(size_t size) {
  ErrnoOr<sys::MemoryMap> memory = sys::MemoryMap::Anonymous(size);
  return memory.ok() ? *std::move(memory) : sys::MemoryMap();
}

}  // namespace

Counters::Counters(size_t operations)
    : memory_(MemoryOf(operations * (sizeof(Latencies) + sizeof(Errors)))) {
  std::byte* const memory = memory_.bytes().data();
  if (memory == nullptr) return;
  latencies_ = std::span(reinterpret_cast<Latencies*>(memory), operations);
  errors_ = std::span(reinterpret_cast<Errors*>(memory + latencies_.size_bytes()), operations);
}

void Counters::Add(const Counters& other) {
  for (size_t i = 0; i < std::min(latencies_.size(), other.latencies_.size()); ++i) {
    // Pages that were never touched stay untouched.
    const Latencies& from = other.latencies_[i];
    const uint64_t total_ns = Load(from.total_ns);
    if (total_ns == 0) continue;
    Increase(latencies_[i].total_ns, total_ns);
    for (size_t k = 0; k < from.buckets.size(); ++k) {
      if (const uint64_t more = Load(from.buckets[k]); more > 0) {
        Increase(latencies_[i].buckets[k], more);
      }
    }
    for (size_t k = 0; k < kErrnos; ++k) {
      if (const uint64_t more = Load(other.errors_[i][k]); more > 0) Increase(errors_[i][k], more);
    }
  }
}

std::optional<Operation> Counters::Read(size_t operation) const {
  if (latencies_.empty()) return std::nullopt;
  const Latencies& latencies = latencies_[operation];
  Operation read = {
      .total_ns = latencies.total_ns,
      .latencies = LatencyScale::Ranges(std::span<const uint64_t>(latencies.buckets))};
  if (read.latencies.empty()) return std::nullopt;
  for (const CountedRange& range : read.latencies) read.requests += range.count;
  const Errors& errors = errors_[operation];
  for (size_t i = 0; i < kErrnos; ++i) {
    if (errors[i] > 0) read.errors.push_back({.error = static_cast<int>(i), .count = errors[i]});
  }
  return read;
}

RequestStats::RequestStats(size_t operations, NameOf name)
    : operations_(operations), name_(name), clock_(sys::TickClock::Get()), ended_(operations) {}

RequestStats::~RequestStats() = default;

std::vector<Operation> RequestStats::Read() const {
  Counters all(operations_);
  {
    const absl::MutexLock lock(&mu_);
    all.Add(ended_);
    for (const Counters* const counters : serving_) all.Add(*counters);
  }
  std::vector<Operation> operations;
  for (size_t i = 0; i < operations_; ++i) {
    std::optional<Operation> operation = all.Read(i);
    if (!operation.has_value()) continue;
    operation->name = name_(i);
    operations.push_back(*std::move(operation));
  }
  return operations;
}

void RequestStats::Record(size_t operation, uint64_t begin, std::optional<Errno> error) {
  const absl::MutexLock lock(&mu_);
  ended_.Add(operation, clock_.NsSince(begin), error);
}

void RequestStats::Enter(const Counters& counters) {
  const absl::MutexLock lock(&mu_);
  serving_.push_back(&counters);
}

void RequestStats::Leave(const Counters& counters) {
  const absl::MutexLock lock(&mu_);
  ended_.Add(counters);
  std::erase(serving_, &counters);
}

}  // namespace gofer::stats
