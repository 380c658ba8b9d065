#include "gofer/server/log_output.h"

#include <unistd.h>

#include <string>

#include "absl/strings/match.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"

namespace gofer::server {
namespace {

const absl::Time kTime = absl::FromUnixMicros(1'700'000'000'123'456);

TEST(FormatRecord, Text) {
  EXPECT_EQ(
      FormatRecord(
          LogFormat::kText,
          {.time = kTime, .severity = "WARNING", .file = "a.cc", .line = 7, .message = "hello"}),
      "W 2023-11-14T22:13:20.123456Z a.cc:7] hello\n");
  EXPECT_EQ(
      FormatRecord(
          LogFormat::kText,
          {.time = kTime, .severity = "INFO", .file = "", .line = 0, .message = "a\nb\x1b[2Jc"}),
      "I 2023-11-14T22:13:20.123456Z] a\\x0ab\\x1b[2Jc\n")
      << "what a client puts into a name cannot make a line of its own";
}

TEST(FormatRecord, Json) {
  EXPECT_EQ(FormatRecord(LogFormat::kJson, {.time = kTime,
                                            .severity = "ERROR",
                                            .file = "a.cc",
                                            .line = 7,
                                            .message = "say \"no\"\n"}),
            R"({"time":"2023-11-14T22:13:20.123456Z","severity":"ERROR","file":"a.cc","line":7,)"
            R"("message":"say \"no\"\u000a"})"
            "\n");
}

TEST(FormatRecord, LongMessagesAreCut) {
  const std::string line = FormatRecord(LogFormat::kText, {.time = kTime,
                                                           .severity = "INFO",
                                                           .file = "",
                                                           .line = 0,
                                                           .message = std::string(5000, 'x')});
  EXPECT_LT(line.size(), 600u);
  EXPECT_TRUE(absl::EndsWith(line, "xxx...\n"));
}

TEST(LogThrottle, CountsWhatItDrops) {
  LogThrottle throttle(2);
  uint64_t dropped = 0;
  EXPECT_TRUE(throttle.Admit(kTime, dropped));
  EXPECT_TRUE(throttle.Admit(kTime, dropped));
  EXPECT_FALSE(throttle.Admit(kTime, dropped));
  EXPECT_FALSE(throttle.Admit(kTime, dropped));
  EXPECT_TRUE(throttle.Admit(kTime + absl::Seconds(1), dropped));
  EXPECT_EQ(dropped, 2u);
  EXPECT_TRUE(throttle.Admit(kTime + absl::Seconds(1), dropped));
  EXPECT_EQ(dropped, 0u) << "said once";
}

TEST(StartLogging, RecordsGoToTheDescriptorAndNowhereElse) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const testing::ChildEnd end = testing::InChild([&] {
    StartLogging({.format = LogFormat::kJson, .fd = pipe_fds[1]});
    LOG(INFO) << "one";
    for (int i = 0; i < 100; ++i) LOG(WARNING) << "many";
  });
  EXPECT_EQ(end.stderr_text, "");
  close(pipe_fds[1]);
  std::string log(65536, '\0');
  log.resize(static_cast<size_t>(read(pipe_fds[0], log.data(), log.size())));
  close(pipe_fds[0]);
  EXPECT_NE(log.find("\"message\":\"one\""), std::string::npos);
  const auto lines = std::count(log.begin(), log.end(), '\n');
  EXPECT_GE(lines, 50);
  EXPECT_LE(lines, 101) << "at most two seconds' worth";
}

TEST(StartLogging, AsManyInASecondAsItIsTold) {
  const testing::ChildEnd end = testing::InChild([] {
    StartLogging({.records_per_second = 3});
    if (LogRecordsPerSecond() != 3) _exit(1);
    for (int i = 0; i < 100; ++i) LOG(WARNING) << "many";
    if (LogRecordsDropped() < 94) _exit(2);
  });
  EXPECT_EQ(end.status, 0);
  const auto lines = std::count(end.stderr_text.begin(), end.stderr_text.end(), '\n');
  EXPECT_GE(lines, 3);
  EXPECT_LE(lines, 7) << "at most two seconds' worth, and what was left out";
}

TEST(ReportFailure, OneLineInTheLogsFormat) {
  EXPECT_EQ(testing::InChild([] { ReportFailure(LogFormat::kText, "a\nb"); }).stderr_text,
            "gofer: a\\x0ab\n");
  const std::string json =
      testing::InChild([] { ReportFailure(LogFormat::kJson, "no"); }).stderr_text;
  EXPECT_TRUE(absl::EndsWith(json, "\"severity\":\"ERROR\",\"message\":\"no\"}\n")) << json;
}

}  // namespace
}  // namespace gofer::server
