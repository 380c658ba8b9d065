// The life of a serving process: drives its ways in until all are over or somebody asks it to end.
//
// The signals that end it are blocked in all threads and read from a descriptor, so nothing is ever
// done in a handler. As process 1 of a pid namespace it has orphans as children: those vanish by
// themselves (SIGCHLD is ignored).
//
// Owner:   borrows the ways in. Threads: runs on the main thread, with one more for each way in
//          that ends by itself.
// Errors:  absl::Status: the first error of a way in; DeadlineExceeded when requests in flight did
//          not end in time.
// Source:  spec/security.md s.4; spec/runsc-gofer-launch.md s.7.

#ifndef GOFER_SERVER_RUN_LOOP_H_
#define GOFER_SERVER_RUN_LOOP_H_

#include <memory>
#include <span>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/unique_fd.h"
#include "gofer/server/way_in.h"
#include "gofer/sys/event_fd.h"

namespace gofer::server {

class RunLoop {
 public:
  // Takes over the signals of the process; before the first further thread starts.
  static absl::StatusOr<RunLoop> Create();

  // Serves until all ways in are over, or until SIGTERM, SIGINT or SIGHUP. Then no request is begun
  // any more, and those in flight get 5 s.
  absl::Status Run(std::span<WayIn* const> ways);
  // Ends it as a signal does. Any thread.
  void AskToEnd() const;
  // Ends the process with status 0, after `last`, without stopping anything: what clients have
  // asked for and not been answered is for another process. Any thread, once.
  void AskToLeave(absl::AnyInvocable<void()> last) const;
  // Whether a signal, or AskToEnd, was what ended it.
  bool was_asked() const { return was_asked_; }

 private:
  // What other threads ask for before they raise `ended_`.
  struct Asked {
    absl::Mutex mu;
    bool end ABSL_GUARDED_BY(mu) = false;
    absl::AnyInvocable<void()> last ABSL_GUARDED_BY(mu);
  };

  RunLoop(UniqueFd signals, sys::EventFd ended)
      : signals_(std::move(signals)), ended_(std::move(ended)), asked_(std::make_unique<Asked>()) {}

  // What `ended_` was raised for. Does not return if it was AskToLeave.
  void NoteEnd();

  absl::Status Stop(std::span<WayIn* const> ways);

  UniqueFd signals_;
  sys::EventFd ended_;
  std::unique_ptr<Asked> asked_;
  bool was_asked_ = false;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_RUN_LOOP_H_
