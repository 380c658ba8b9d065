// Installs the system call filter of seccomp_rules.h for the whole process, for good.
//
// Threads: applies to all threads (TSYNC) and those they start. Sets no_new_privs.
// Errors:  an absl::Status; nothing is filtered then, and the caller ends the process.
// Source:  seccomp(2), libseccomp; spec/security.md s.1.

#ifndef GOFER_SERVER_SECCOMP_FILTER_H_
#define GOFER_SERVER_SECCOMP_FILTER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace gofer::server {

// What a call that is not in the table does.
enum class SeccompMode {
  kKill,  // ends the process
  kTrap,  // ends the process with status 159 and names the call on stderr: for tests
  kLog,   // is noted in the audit log and allowed: for development and sanitizer builds
  kNone,  // no filter
};

absl::StatusOr<SeccompMode> ParseSeccompMode(absl::string_view text);
absl::string_view SeccompModeName(SeccompMode mode);

// Sanitizers make calls that are in no table.
#ifdef GOFER_SANITIZER
inline constexpr SeccompMode kDefaultSeccompMode = SeccompMode::kLog;
#else
inline constexpr SeccompMode kDefaultSeccompMode = SeccompMode::kKill;
#endif

struct SeccompOptions {
  SeccompMode mode = kDefaultSeccompMode;
  bool listen = false;
  bool host_sockets_open = false;
  bool host_sockets_make = false;
  bool host_fifos = false;
  bool fuse = false;
  bool fuse_identity = false;
  bool fuse_devices = false;
  bool vhost_user = false;
  bool control = false;
  bool file_handles = false;
};

absl::Status InstallSeccompFilter(const SeccompOptions& options);

// A call that does not end the process, for people to read.
struct AllowedCall {
  std::string name;
  std::string arguments;  // what they must be, such as "arg0 is a descriptor"; empty: anything
  std::string answer;     // "allow", or the errno that it always gets
  std::string reason;
  std::string when;  // which gofer makes it
};

// All that InstallSeccompFilter lets pass, in the order of the table.
std::vector<AllowedCall> AllowedCalls(const SeccompOptions& options);
// Those of all gofers, whatever they are told to do.
std::vector<AllowedCall> AllowedCallsOfAll();
// What comes of any other call.
absl::string_view AnswerToOtherCalls(SeccompMode mode);

}  // namespace gofer::server

#endif  // GOFER_SERVER_SECCOMP_FILTER_H_
