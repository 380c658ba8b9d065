// What `gofer confinement` shows: what was put in force at the start, and what the kernel says of
// it now.
//
// A confined process has no /proc but its own descriptors; it keeps three files of it that tell
// about its first thread, its mounts and its limits (gofer/sys/own_records.h). Other threads are
// shown by whoever asks, who sees /proc: better, because a process that is suspected is not the one
// to ask.
//
// Owner:   the composition root keeps the report for as long as it serves.
// Threads: safe.
// Errors:  absl::Status when a record cannot be read.
// Source:  spec/security.md s.1; proc(5).

#ifndef GOFER_SERVER_CONFINEMENT_REPORT_H_
#define GOFER_SERVER_CONFINEMENT_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "gofer/control/control.pb.h"
#include "gofer/server/sandbox.h"
#include "gofer/server/seccomp_filter.h"

namespace gofer::server {

class ConfinementReport {
 public:
  // `sandbox` is the name of the mode.
  ConfinementReport(absl::string_view sandbox, const SeccompOptions& seccomp, Confined confined);

  absl::StatusOr<control::Confinement> Now() const ABSL_LOCKS_EXCLUDED(mu_);
  // How many threads the process has; nothing if the kernel does not tell.
  std::optional<uint64_t> Threads() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  control::Confinement at_start_;
  mutable absl::Mutex mu_;
  const sys::OwnRecords records_ ABSL_GUARDED_BY(mu_);  // one position a file
};

// A thread as its status file in /proc tells it.
control::ThreadRecord ParseThreadStatus(absl::string_view status);

}  // namespace gofer::server

#endif  // GOFER_SERVER_CONFINEMENT_REPORT_H_
