// One measurement of a FUSE client with many requests in flight: each of `depth` streams does one
// operation after the other, and all of them share a ring.
//
// Threads: one. Errors: a request that fails ends the program. Units: nanoseconds.

#ifndef TEST_BENCH_PIPELINE_H_
#define TEST_BENCH_PIPELINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "test/bench/daemon.h"
#include "test/bench/runner.h"
#include "vhost/driver/fuse_client.h"

namespace gofer::bench {

// One operation after the other, as requests: what a thread in the guest does.
class Stream {
 public:
  virtual ~Stream() = default;
  // Submits the operation's next request. `slot` has the answer to the one before, but for the
  // operation's first one. False: the operation has ended, and nothing was submitted.
  virtual bool Step(vhost::driver::FuseClient& client, vhost::driver::Slot& slot, bool first) = 0;
  // After everything has ended: gives back what it holds.
  virtual void Finish(vhost::driver::FuseClient&) {}
};

Sample MeasurePipelined(Daemon& daemon, size_t depth, uint64_t duration_ns,
                        absl::FunctionRef<std::unique_ptr<Stream>(size_t stream)> make);

}  // namespace gofer::bench

#endif  // TEST_BENCH_PIPELINE_H_
