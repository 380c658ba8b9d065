#include "gofer/server/log_output.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
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

// How many records that say "many" a log has of each second; its lines have their time from
// `time_at` on.
std::map<std::string, int> ManyOfEachSecond(absl::string_view log, size_t time_at) {
  std::map<std::string, int> many;
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    if (absl::StrContains(line, "many"))
      ++many[std::string(line.substr(time_at, sizeof("2023-11-14T22:13:20") - 1))];
  }
  return many;
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
  EXPECT_GE(std::count(log.begin(), log.end(), '\n'), 50);
  for (const auto& [second, many] : ManyOfEachSecond(log, sizeof(R"({"time":")") - 1))
    EXPECT_LE(many, 50) << second;
}

TEST(StartLogging, AsManyInASecondAsItIsTold) {
  const testing::ChildEnd end = testing::InChild([] {
    StartLogging({.records_per_second = 3});
    if (LogRecordsPerSecond() != 3) _exit(255);
    for (int i = 0; i < 100; ++i) LOG(WARNING) << "many";
    _exit(static_cast<int>(LogRecordsDropped()));
  });
  int written = 0;
  for (const auto& [second, many] : ManyOfEachSecond(end.stderr_text, sizeof("W ") - 1)) {
    EXPECT_LE(many, 3) << second;
    written += many;
  }
  EXPECT_GE(written, 3);
  EXPECT_EQ(end.status, 100 - written) << "what was left out";
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
