#include "test/bench/runner.h"

#include <time.h>

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "glog/logging.h"
#include "test/bench/histogram.h"

namespace gofer::bench {
namespace {

constexpr uint64_t kMinOperations =
    3;  // slow operations get at least so many, however short the time
// A quarter of the time, not counted: where the scheduler has two threads that talk to each other changes
// until it knows how busy they are, which takes it tens of milliseconds.
constexpr uint64_t kWarmUpShare = 4;

struct ThreadResult {
  Histogram durations;
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  uint64_t cpu_ns = 0;
};

}  // namespace

uint64_t ThreadCpuNs() {
  timespec now;
  PCHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

Sample Measure(int threads, uint64_t duration_ns, const ServerProcess* server,
               absl::FunctionRef<std::unique_ptr<Worker>(int thread)> make) {
  std::vector<std::unique_ptr<ThreadResult>> results;
  for (int i = 0; i < threads; ++i) results.push_back(std::make_unique<ThreadResult>());
  std::barrier warm(threads + 1);
  std::barrier go(threads + 1);
  std::barrier done(threads + 1);
  std::barrier bye(threads + 1);
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&, i] {
      ThreadResult& result = *results[i];
      const std::unique_ptr<Worker> worker = make(i);
      const uint64_t warm_until = NowNs() + duration_ns / kWarmUpShare;
      do worker->Once();
      while (NowNs() < warm_until);
      warm.arrive_and_wait();
      go.arrive_and_wait();
      const uint64_t cpu_before = ThreadCpuNs();
      result.begin_ns = NowNs();
      uint64_t last = result.begin_ns;
      while (last < result.begin_ns + duration_ns || result.durations.count() < kMinOperations) {
        worker->Once();
        const uint64_t now = NowNs();
        result.durations.Add(now - last);
        last = now;
      }
      result.end_ns = last;
      result.cpu_ns = ThreadCpuNs() - cpu_before;
      done.arrive_and_wait();
      bye.arrive_and_wait();  // what the worker gives back when it goes is not the operation's
    });
  }
  warm.arrive_and_wait();
  const uint64_t server_before = server != nullptr ? server->CpuNs() : 0;
  go.arrive_and_wait();
  done.arrive_and_wait();
  const uint64_t server_cpu = server != nullptr ? server->CpuNs() - server_before : 0;
  bye.arrive_and_wait();
  for (std::thread& thread : running) thread.join();

  Histogram all;
  uint64_t begin = UINT64_MAX, end = 0, client_cpu = 0;
  for (const auto& result : results) {
    all.Add(result->durations);
    begin = std::min(begin, result->begin_ns);
    end = std::max(end, result->end_ns);
    client_cpu += result->cpu_ns;
  }
  const auto count = static_cast<double>(all.count());
  return {.ops_per_s = count * 1e9 / static_cast<double>(end - begin),
          .p50_ns = all.Percentile(0.5),
          .p99_ns = all.Percentile(0.99),
          .client_cpu_ns = static_cast<double>(client_cpu) / count,
          .server_cpu_ns = static_cast<double>(server_cpu) / count};
}

}  // namespace gofer::bench
