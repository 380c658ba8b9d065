#include "test/bench/pipeline.h"

#include <algorithm>
#include <vector>

#include "glog/logging.h"
#include "test/bench/histogram.h"
#include "test/bench/server_process.h"

namespace gofer::bench {
namespace {

using vhost::driver::FuseClient;
using vhost::driver::Slot;

constexpr uint64_t kMinOperations = 3;  // slow ones get at least so many, however short the time
constexpr uint64_t kWarmUpShare = 4;    // a quarter of the time, not counted, as in runner.cc

// Runs all streams until the time is over and at least `min_operations` have ended.
class Run {
 public:
  Run(FuseClient& client, std::vector<std::unique_ptr<Stream>>& streams, uint64_t duration_ns,
      uint64_t min_operations)
      : client_(client), streams_(streams), min_operations_(min_operations) {
    begin_ = last_ = NowNs();
    until_ = begin_ + duration_ns;
    for (size_t i = 0; i < streams_.size(); ++i) {
      Slot* const slot = client_.Acquire();
      CHECK(slot != nullptr);
      slot->tag = i;
      Begin(*slot);
    }
    while (client_.in_flight() > 0) {
      const auto done = client_.Next();
      CHECK(done.ok()) << done.error().ToString();
      Slot& slot = **done;
      if (streams_[slot.tag]->Step(client_, slot, /*first=*/false)) continue;
      last_ = NowNs();
      durations_.Add(last_ - slot.begin_ns);
      if (last_ < until_ || durations_.count() < min_operations_) {
        Begin(slot);
      } else {
        client_.Release(slot);
      }
    }
  }

  const Histogram& durations() const { return durations_; }
  uint64_t elapsed_ns() const { return last_ - begin_; }

 private:
  void Begin(Slot& slot) {
    slot.begin_ns = last_;
    CHECK(streams_[slot.tag]->Step(client_, slot, /*first=*/true));
  }

  FuseClient& client_;
  std::vector<std::unique_ptr<Stream>>& streams_;
  const uint64_t min_operations_;
  Histogram durations_;
  uint64_t begin_ = 0;
  uint64_t last_ = 0;
  uint64_t until_ = 0;
};

}  // namespace

Sample MeasurePipelined(Daemon& daemon, size_t depth, uint64_t duration_ns,
                        absl::FunctionRef<std::unique_ptr<Stream>(size_t stream)> make) {
  FuseClient& client = daemon.client();
  std::vector<std::unique_ptr<Stream>> streams;
  for (size_t i = 0; i < depth; ++i) streams.push_back(make(i));
  Run(client, streams, duration_ns / kWarmUpShare, depth);

  const uint64_t server_before = daemon.CpuNs();
  const uint64_t client_before = ThreadCpuNs();
  const Run run(client, streams, duration_ns, kMinOperations);
  const uint64_t client_cpu = ThreadCpuNs() - client_before;
  const uint64_t server_cpu = daemon.CpuNs() - server_before;
  for (const auto& stream : streams) stream->Finish(client);

  const auto count = static_cast<double>(run.durations().count());
  return {.ops_per_s = count * 1e9 / static_cast<double>(run.elapsed_ns()),
          .p50_ns = run.durations().Percentile(0.5),
          .p99_ns = run.durations().Percentile(0.99),
          .client_cpu_ns = static_cast<double>(client_cpu) / count,
          .server_cpu_ns = static_cast<double>(server_cpu) / count};
}

}  // namespace gofer::bench
