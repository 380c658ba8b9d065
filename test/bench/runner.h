// One measurement: some threads do one operation for a while, and time, durations and processor
// time are taken.
//
// Threads: Measure starts its own and returns when they have ended.
// Units:   nanoseconds, also where fractional.

#ifndef TEST_BENCH_RUNNER_H_
#define TEST_BENCH_RUNNER_H_

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "test/bench/server_process.h"
#include "test/bench/worker.h"

namespace gofer::bench {

struct Sample {
  double ops_per_s = 0;
  double p50_ns = 0;
  double p99_ns = 0;
  double client_cpu_ns = 0;  // per operation, of the measuring threads
  double server_cpu_ns = 0;  // per operation, of the server's process; 0 without a server
};

// `make(thread)` makes each thread's worker, in that thread and before the clock runs. `server` may
// be null.
Sample Measure(int threads, uint64_t duration_ns, const ServerProcess* server,
               absl::FunctionRef<std::unique_ptr<Worker>(int thread)> make);

// Processor time of this thread so far.
uint64_t ThreadCpuNs();

}  // namespace gofer::bench

#endif  // TEST_BENCH_RUNNER_H_
