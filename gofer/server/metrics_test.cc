#include "gofer/server/metrics.h"

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

TEST(StatusAsMetrics, LabelsAreQuoted) {
  control::Status status;
  status.set_root("/a\"b\\c\nd\xff");
  EXPECT_THAT(StatusAsMetrics(status), HasSubstr("root=\"/a\\\"b\\\\c\\nd\xff\""));
}

}  // namespace
}  // namespace gofer::server
