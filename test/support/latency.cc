#include "test/support/latency.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "glog/logging.h"

namespace gofer::testing {
namespace {

absl::Duration Time(absl::FunctionRef<void(int)> call, int number) {
  const absl::Time begin = absl::Now();
  call(number);
  return absl::Now() - begin;
}

}  // namespace

absl::Duration Percentile99(std::vector<absl::Duration> took) {
  CHECK(!took.empty());
  std::sort(took.begin(), took.end());
  return took[took.size() * 99 / 100];
}

Echo::Echo() {
  int ends[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  theirs_ = UniqueFd(ends[0]);
  ours_ = UniqueFd(ends[1]);
  thread_ = std::thread([end = theirs_.get()] {
    for (char byte; read(end, &byte, 1) == 1;) PCHECK(write(end, &byte, 1) == 1);
  });
}

Echo::~Echo() {
  shutdown(ours_.get(), SHUT_RDWR);
  thread_.join();
}

void Echo::Exchange() {
  char byte = 0;
  PCHECK(write(ours_.get(), &byte, 1) == 1);
  PCHECK(read(ours_.get(), &byte, 1) == 1);
}

absl::Duration BestPercentile99(absl::FunctionRef<void(int)> request,
                                absl::FunctionRef<void(int)> bare, const LatencyOptions& options) {
  absl::Duration best = absl::InfiniteDuration();
  for (int window = 0; window < options.windows && best > options.allowed; ++window) {
    std::vector<absl::Duration> took, floor;
    for (int i = 0; i < options.requests; ++i) {
      const int number = window * options.requests + i;
      took.push_back(Time(request, number));
      floor.push_back(Time(bare, number));
    }
    const absl::Duration p99 = Percentile99(took), bare_p99 = Percentile99(floor);
    LOG(INFO) << "p99 " << p99 << ", of a bare exchange " << bare_p99;
    best = std::min(best, p99 - bare_p99);
  }
  return best;
}

}  // namespace gofer::testing
