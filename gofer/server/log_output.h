// Where glog's records go: one line each, as text or as a JSON object, to one descriptor.
//
// Records are cut at 512 bytes, and so many a second are let through, 50 unless a flag says another
// number; what is dropped is counted and said.
// Control bytes, which a client can put into names, are escaped.
//
// Owner:   the process; started once. The descriptor stays open. Threads: safe.
// Errors:  a log that cannot be written is lost; service goes on.
// Source:  spec/security.md s.5, s.7.

#ifndef GOFER_SERVER_LOG_OUTPUT_H_
#define GOFER_SERVER_LOG_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"

namespace gofer::server {

enum class LogFormat { kText, kJson, kSyslog };

// The least severe records that are logged: kDebug adds VLOG(1), kTrace VLOG(2).
enum class LogLevel { kTrace, kDebug, kInfo, kWarn, kError, kOff };

struct LogOptions {
  LogFormat format = LogFormat::kText;
  int fd = 2;
  LogLevel level = LogLevel::kInfo;
  int records_per_second = 50;
};

// From here on LOG goes there and nowhere else: no files, no copies on stderr. With kSyslog, `fd`
// is only for a system that has no syslog.
void StartLogging(const LogOptions& options);
// Records that were too many in their second, since the start; and how many are not.
uint64_t LogRecordsDropped();
uint64_t LogRecordsPerSecond();
inline constexpr size_t kMaxLogMessageBytes = 512;
// Where it goes: what a process has to keep when it closes all else.
int LogDescriptor();

// Why the process gives up, as one line on stderr in the log's format: "gofer: object, values, next
// step".
void ReportFailure(LogFormat format, absl::string_view message);

struct LogRecord {
  absl::Time time;
  absl::string_view severity;  // INFO, WARNING, ERROR, FATAL
  absl::string_view file;      // empty: none
  int line = 0;
  absl::string_view message;
};

// The record as one line, with its newline; for syslog as one datagram, without.
std::string FormatRecord(LogFormat format, const LogRecord& record);

// At most `limit` a second; pure, for its test.
class LogThrottle {
 public:
  explicit LogThrottle(int limit) : limit_(limit) {}
  // Whether a record at `now` may pass; `dropped` is then how many did not since the last that did.
  bool Admit(absl::Time now, uint64_t& dropped);

 private:
  const int limit_;
  int64_t second_ = 0;
  int admitted_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_LOG_OUTPUT_H_
