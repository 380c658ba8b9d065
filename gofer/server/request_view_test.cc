#include "gofer/server/request_view.h"

#include <cerrno>
#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::server {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// After `seconds`, as many fast requests, and two that got an error.
control::Status After(uint64_t seconds, uint64_t fast) {
  control::Status status;
  status.set_uptime_ms(seconds * 1000);
  status.add_ways_in()->set_name("idle");
  control::WayIn& way = *status.add_ways_in();
  way.set_name("lisafs");
  control::Operation& operation = *way.add_operations();
  operation.set_name("WalkStat");
  operation.set_requests(fast + 2);
  control::LatencyRange* range = operation.add_latencies();
  range->set_above_ns(1000);
  range->set_upto_ns(2000);
  range->set_requests(fast);
  range = operation.add_latencies();
  range->set_above_ns(8000);
  range->set_upto_ns(9000);
  range->set_requests(2);
  for (const int error : {ENOENT, 0}) {
    control::ErrnoCount& count = *operation.add_errors();
    count.set_number(error);
    count.set_requests(1);
  }
  return status;
}

TEST(RequestView, SinceTheGoferServes) {
  const control::Status status = After(10, 98);
  EXPECT_EQ(RequestsAsJson(status, nullptr, 1),
            R"([{"name":"WalkStat","requests":100,"per_second":10.0,"p50_us":1.5,"p99_us":8.5,)"
            R"("errors":{"ENOENT":1,"other":1}}])");
  EXPECT_EQ(RequestsAsJson(status, nullptr, 0), "[]");
}

TEST(RequestView, SinceTheStatusBefore) {
  const control::Status before = After(10, 98);
  const control::Status now = After(12, 138);
  EXPECT_EQ(RequestsAsJson(now, &before, 1),
            R"([{"name":"WalkStat","requests":140,"per_second":20.0,"p50_us":1.5,"p99_us":2.0,)"
            R"("errors":{"ENOENT":1,"other":1}}])");
}

TEST(RequestView, NothingSinceTheStatusBefore) {
  const control::Status before = After(10, 98);
  const control::Status now = After(11, 98);
  EXPECT_EQ(RequestsAsJson(now, &before, 1),
            R"([{"name":"WalkStat","requests":100,"per_second":0.0,"p50_us":null,"p99_us":null,)"
            R"("errors":{"ENOENT":1,"other":1}}])");
  EXPECT_THAT(RequestsAsTables(now, &before), HasSubstr("         -          -  ENOENT 1"));
}

TEST(RequestView, ATableForEachWayInThatHasRequests) {
  EXPECT_EQ(
      RequestsAsTables(After(10, 98), nullptr),
      "\n"
      "lisafs 1                 requests      per s     p50 us     p99 us  errors\n"
      "  WalkStat                    100       10.0        1.5        8.5  ENOENT 1, other 1\n");
  EXPECT_THAT(RequestsAsTables(control::Status(), nullptr), IsEmpty());
}

}  // namespace
}  // namespace gofer::server
