// The p99 of small requests, on a machine that has other things to do.
//
// Of a few windows the best counts: what else the machine does makes one worse, never better. And
// what a request takes is held against what a bare exchange of the same kind took between the same
// requests: a processor that is late for everybody is nothing that the server does. Where the
// machine is quiet that is some microseconds.

#ifndef TEST_SUPPORT_LATENCY_H_
#define TEST_SUPPORT_LATENCY_H_

#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"

namespace gofer::testing {

// The 99th of a hundred.
absl::Duration Percentile99(std::vector<absl::Duration> took);

// A thread that gives back each byte it gets: what it takes to be heard and answered by somebody
// who does nothing. Threads: one.
class Echo {
 public:
  Echo();
  ~Echo();
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  void Exchange();

 private:
  UniqueFd theirs_;
  UniqueFd ours_;
  std::thread thread_;
};

struct LatencyOptions {
  absl::Duration allowed = absl::Milliseconds(10);
  int windows = 20;    // at most; one is enough where `allowed` is kept
  int requests = 300;  // in each
};

// The p99 of `request` beyond that of `bare`, in the best window. The arguments count the requests.
absl::Duration BestPercentile99(absl::FunctionRef<void(int)> request,
                                absl::FunctionRef<void(int)> bare,
                                const LatencyOptions& options = {});

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_LATENCY_H_
