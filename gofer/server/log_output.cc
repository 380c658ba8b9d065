#include "gofer/server/log_output.h"

#include <atomic>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/json.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

// Above FATAL: glog copies nothing to stderr on its own.
constexpr int kNoSeverity = google::NUM_SEVERITIES;

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

// Of syslog(3): facility user, and how bad it is.
int SyslogPriority(absl::string_view severity) {
  constexpr int kUser = 1 << 3;
  switch (severity.empty() ? 'I' : severity[0]) {
    case 'F':
      return kUser | 2;
    case 'E':
      return kUser | 3;
    case 'W':
      return kUser | 4;
    default:
      return kUser | 6;
  }
}

// Records below it are not made.
int LeastSeverity(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
    case LogLevel::kDebug:
    case LogLevel::kInfo:
      return google::GLOG_INFO;
    case LogLevel::kWarn:
      return google::GLOG_WARNING;
    case LogLevel::kError:
      return google::GLOG_ERROR;
    case LogLevel::kOff:
      break;
  }
  return kNoSeverity;
}

int g_descriptor = 2;
int g_records_per_second = LogOptions().records_per_second;
std::atomic<uint64_t> g_dropped{0};
// The number by which the process was started; in a pid namespace it has another one.
int g_process = 0;

class Sink : public google::LogSink {
 public:
  explicit Sink(const LogOptions& options)
      : options_(options), throttle_(options.records_per_second) {}

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
      if (!throttle_.Admit(record.time, dropped) && severity != google::GLOG_FATAL) {
        g_dropped.fetch_add(1, std::memory_order_relaxed);
        return;
      }
    }
    if (dropped > 0) {
      const std::string message = absl::StrCat(dropped, " records dropped: more than ",
                                               options_.records_per_second, " in a second");
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
  LogThrottle throttle_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

void StartLogging(const LogOptions& options) {
  if (!google::IsGoogleLoggingInitialized()) google::InitGoogleLogging("gofer");
  FLAGS_logtostderr = false;
  FLAGS_alsologtostderr = false;
  FLAGS_stderrthreshold = kNoSeverity;
  FLAGS_v = options.level == LogLevel::kTrace ? 2 : options.level == LogLevel::kDebug ? 1 : 0;
  FLAGS_minloglevel = LeastSeverity(options.level);
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");  // no file
  }
  LogOptions used = options;
  Errno no_syslog(EIO);
  if (options.format == LogFormat::kSyslog) {
    ErrnoOr<UniqueFd> socket = sys::ConnectDatagram("/dev/log");
    if (socket.ok()) {
      used.fd = socket->Release();
    } else {
      used.format = LogFormat::kText;
      no_syslog = socket.error();
    }
  }
  g_descriptor = used.fd;
  g_records_per_second = used.records_per_second;
  g_process = sys::ProcessId();
  google::AddLogSink(new Sink(used));  // for good: threads may log until the process is gone
  if (used.format != options.format) {
    LOG(WARNING) << "no syslog at /dev/log: " << no_syslog.ToString() << "; logging to stderr";
  }
}

int LogDescriptor() { return g_descriptor; }

uint64_t LogRecordsDropped() { return g_dropped.load(std::memory_order_relaxed); }
uint64_t LogRecordsPerSecond() { return static_cast<uint64_t>(g_records_per_second); }

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
  const absl::string_view message = record.message.substr(0, kMaxLogMessageBytes);
  const absl::string_view cut = record.message.size() > kMaxLogMessageBytes ? "..." : "";
  if (format == LogFormat::kSyslog) {
    return absl::StrCat("<", SyslogPriority(record.severity), ">gofer[", g_process,
                        "]: ", EscapeText(message), cut);
  }
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
