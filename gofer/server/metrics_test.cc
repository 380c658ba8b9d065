#include "gofer/server/metrics.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StatusAsMetrics, EachNumberUnderItsNameAndType) {
  control::Status status;
  status.set_uptime_ms(1500);
  status.set_dentries(3);
  status.set_unreferenced_dentries(2);
  status.set_inodes(4);
  status.set_file_descriptors(5);
  status.set_file_descriptors_limit(6);
  const std::string text = StatusAsMetrics(status);
  EXPECT_THAT(text, HasSubstr("# TYPE gofer_dentries gauge\ngofer_dentries 3\n"));
  EXPECT_THAT(text, HasSubstr("\ngofer_uptime_seconds 1.5\n"));
  EXPECT_THAT(text, HasSubstr("\ngofer_dentries_unreferenced 2\n"));
  EXPECT_THAT(text, HasSubstr("\ngofer_inodes 4\n"));
  EXPECT_THAT(text, HasSubstr("\ngofer_file_descriptors 5\n"));
  EXPECT_THAT(text, HasSubstr("\ngofer_file_descriptors_limit 6\n"));
  EXPECT_EQ(text.back(), '\n');
}

TEST(StatusAsMetrics, ClientsThatHaveNodesByTheirOrder) {
  control::Status status;
  status.add_ways_in()->set_name("lisafs");
  for (const uint64_t nodes : {7, 8}) {
    control::WayIn& way = *status.add_ways_in();
    way.set_name("fuse");
    way.set_nodes(nodes);
    way.set_open_files(nodes + 10);
  }
  const std::string text = StatusAsMetrics(status);
  EXPECT_THAT(text, HasSubstr("gofer_client_nodes{way=\"fuse\",index=\"1\"} 7\n"
                              "gofer_client_nodes{way=\"fuse\",index=\"2\"} 8\n"));
  EXPECT_THAT(text, HasSubstr("gofer_client_open_files{way=\"fuse\",index=\"2\"} 18\n"));
  EXPECT_THAT(text, Not(HasSubstr("lisafs")));
}

TEST(StatusAsMetrics, RequestsAsHistogramsAndErrorsAsCounters) {
  control::Status status;
  control::WayIn& way = *status.add_ways_in();
  way.set_name("lisafs");
  control::Operation& operation = *way.add_operations();
  operation.set_name("WalkStat");
  operation.set_requests(6);
  operation.set_total_ns(2'500'000'000);
  for (const auto [above, upto, requests] :
       {std::array<uint64_t, 3>{255, 319, 2}, std::array<uint64_t, 3>{1791, 2047, 3},
        std::array<uint64_t, 3>{60'000'000'000, UINT64_MAX, 1}}) {
    control::LatencyRange& range = *operation.add_latencies();
    range.set_above_ns(above);
    range.set_upto_ns(upto);
    range.set_requests(requests);
  }
  control::ErrnoCount& error = *operation.add_errors();
  error.set_number(ENOENT);
  error.set_requests(4);
  const std::string text = StatusAsMetrics(status);
  const std::string labels = "{way=\"lisafs\",index=\"0\",operation=\"WalkStat\"";
  EXPECT_THAT(text, HasSubstr("# TYPE gofer_request_duration_seconds histogram\n"));
  const auto bucket = [&](const std::string& le, int count) {
    return "gofer_request_duration_seconds_bucket" + labels + ",le=\"" + le + "\"} " +
           std::to_string(count) + "\n";
  };
  EXPECT_THAT(text, HasSubstr(bucket("0.000001023", 2) + bucket("0.000002047", 5)));
  EXPECT_THAT(text, HasSubstr(bucket("34.359738367", 5) + bucket("+Inf", 6)));
  EXPECT_THAT(text, HasSubstr("gofer_request_duration_seconds_sum" + labels + "} 2.500000000\n" +
                              "gofer_request_duration_seconds_count" + labels + "} 6\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE gofer_request_errors_total counter\n"
                              "gofer_request_errors_total" +
                              labels + ",errno=\"ENOENT\"} 4\n"));
}

TEST(StatusAsMetrics, LimitsOfAllAndOfAWayIn) {
  control::Status status;
  control::LimitUse& files = *status.add_limits();
  files.set_resource("files");
  files.set_limit(100);
  files.set_used(0);
  control::WayIn& way = *status.add_ways_in();
  way.set_name("lisafs");
  control::LimitUse& bytes = *way.add_limits();
  bytes.set_resource("message_bytes");
  bytes.set_limit(7);
  status.set_log_records_dropped(5);
  const std::string text = StatusAsMetrics(status);
  EXPECT_THAT(text,
              HasSubstr("# TYPE gofer_limit gauge\n"
                        "gofer_limit{resource=\"files\"} 100\n"
                        "gofer_limit{resource=\"message_bytes\",way=\"lisafs\",index=\"0\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE gofer_limit_used gauge\n"
                              "gofer_limit_used{resource=\"files\"} 0\n"
                              "# HELP gofer_log_records_dropped_total"));
  EXPECT_THAT(text, HasSubstr("\ngofer_log_records_dropped_total 5\n"));
}

TEST(StatusAsMetrics, LabelsAreQuoted) {
  control::Status status;
  status.set_root("/a\"b\\c\nd\xff");
  EXPECT_THAT(StatusAsMetrics(status), HasSubstr("root=\"/a\\\"b\\\\c\\nd\xff\""));
}

}  // namespace
}  // namespace gofer::server
