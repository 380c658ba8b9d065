#include "gofer/server/log_output.h"

#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

constexpr size_t kMaxMessageBytes = 512;
constexpr int kMaxRecordsPerSecond = 50;
// Above FATAL: glog copies nothing to stderr on its own.
constexpr int kNoSeverity = google::NUM_SEVERITIES;

// The length of the valid UTF-8 sequence that `text` begins with, 0 if there is none. Overlong
// forms, surrogates and what is above U+10FFFF are not valid.
size_t Utf8Length(absl::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!continues(1) || !continues(2)) return 0;
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)) return 0;
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) return 0;
    return 4;
  }
  return 0;
}

std::string EscapeText(absl::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&escaped, "\\x%02x", byte);
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

std::string Timestamp(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

class Sink : public google::LogSink {
 public:
  explicit Sink(const LogOptions& options) : options_(options) {}

  void send(google::LogSeverity severity, const char* /*full_filename*/, const char* base_filename,
            int line, const google::LogMessageTime& /*time*/, const char* message,
            size_t message_len) override {
    const LogRecord record = {.time = absl::Now(),
                              .severity = google::GetLogSeverityName(severity),
                              .file = base_filename,
                              .line = line,
                              .message = absl::string_view(message, message_len)};
    uint64_t dropped = 0;
    {
      const absl::MutexLock lock(&mu_);
      // The last words of a process always come through.
      if (!throttle_.Admit(record.time, dropped) && severity != google::GLOG_FATAL) return;
    }
    if (dropped > 0) {
      const std::string message = absl::StrCat(dropped, " records dropped: more than ",
                                               kMaxRecordsPerSecond, " in a second");
      Write(
          {.time = record.time, .severity = "WARNING", .file = {}, .line = 0, .message = message});
    }
    Write(record);
  }

 private:
  void Write(const LogRecord& record) const {
    // One write each, so that records of several threads and processes do not mix.
    (void)sys::WriteAll(BorrowedFd(options_.fd), FormatRecord(options_.format, record)).ok();
  }

  const LogOptions options_;
  absl::Mutex mu_;
  LogThrottle throttle_ ABSL_GUARDED_BY(mu_) = LogThrottle(kMaxRecordsPerSecond);
};

}  // namespace

void StartLogging(const LogOptions& options) {
  if (!google::IsGoogleLoggingInitialized()) google::InitGoogleLogging("gofer");
  FLAGS_logtostderr = false;
  FLAGS_alsologtostderr = false;
  FLAGS_stderrthreshold = kNoSeverity;
  FLAGS_v = options.verbose ? 1 : 0;
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");  // no file
  }
  google::AddLogSink(new Sink(options));  // for good: threads may log until the process is gone
}

void ReportFailure(LogFormat format, absl::string_view message) {
  const std::string line = format == LogFormat::kJson
                               ? FormatRecord(format, {.time = absl::Now(),
                                                       .severity = "ERROR",
                                                       .file = {},
                                                       .line = 0,
                                                       .message = message})
                               : absl::StrCat("gofer: ", EscapeText(message), "\n");
  (void)sys::WriteAll(BorrowedFd(2), line).ok();
}

std::string FormatRecord(LogFormat format, const LogRecord& record) {
  const absl::string_view message = record.message.substr(0, kMaxMessageBytes);
  const absl::string_view cut = record.message.size() > kMaxMessageBytes ? "..." : "";
  if (format == LogFormat::kText) {
    const std::string at =
        record.file.empty() ? "" : absl::StrCat(" ", record.file, ":", record.line);
    return absl::StrCat(record.severity.substr(0, 1), " ", Timestamp(record.time), at, "] ",
                        EscapeText(message), cut, "\n");
  }
  const std::string at = record.file.empty() ? ""
                                             : absl::StrCat("\"file\":", JsonQuote(record.file),
                                                            ",\"line\":", record.line, ",");
  return absl::StrCat("{\"time\":\"", Timestamp(record.time), "\",\"severity\":\"", record.severity,
                      "\",", at, "\"message\":", JsonQuote(absl::StrCat(message, cut)), "}\n");
}

std::string JsonQuote(absl::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const auto byte = static_cast<unsigned char>(text[0]);
    if (length == 0) {
      quoted += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      quoted += {'\\', text[0]};
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&quoted, "\\u%04x", byte);
    } else {
      quoted.append(text.data(), length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return quoted + "\"";
}

bool LogThrottle::Admit(absl::Time now, uint64_t& dropped) {
  dropped = 0;
  if (const int64_t second = absl::ToUnixSeconds(now); second != second_) {
    second_ = second;
    admitted_ = 0;
  }
  if (admitted_ >= limit_) {
    ++dropped_;
    return false;
  }
  ++admitted_;
  dropped = std::exchange(dropped_, 0);
  return true;
}

}  // namespace gofer::server
