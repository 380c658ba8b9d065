// DevFuse: serves a Session to the host's kernel over /dev/fuse.
//
// Each reader thread takes a request, serves it to the end and writes the reply: there is no queue
// and no hand-over. There is always one more thread that reads than there are that serve, up to a
// limit: a thread may hang in the host's file system without anybody else having to wait.
//
// Owner:   owns the descriptors; borrows the Session, which outlives it.
// Threads: Start once; WaitForEnd, Stop, Pause and Resume from any thread. Its own: 1 to
//          max_threads.
// Locks:   mu_ is a leaf.
// Errors:  WaitForEnd: what made reading impossible. That the kernel has ended the connection,
//          since it was unmounted, is none.
// Source:  linux/fuse.h; fs/fuse/dev.c of Linux for the errors of read(2).

#ifndef FUSE_DEV_DEV_FUSE_H_
#define FUSE_DEV_DEV_FUSE_H_

#include <atomic>
#include <cstddef>
#include <list>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "fuse/session/session.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::fuse {

class DevFuse {
 public:
  // What is enough for any host: beyond it, requests wait in the kernel.
  static constexpr size_t kMaxThreads = 64;

  // `devices`: one or more descriptors of one connection. sys::EnableInterrupts has been called.
  DevFuse(Session& session, std::vector<UniqueFd> devices, size_t max_threads = kMaxThreads);
  DevFuse(const DevFuse&) = delete;
  DevFuse& operator=(const DevFuse&) = delete;
  ~DevFuse();

  void Start();
  // Returns when the kernel has ended the connection, or after Stop; the session is reset then.
  absl::Status WaitForEnd() ABSL_LOCKS_EXCLUDED(mu_);
  // Takes no further request and returns when those in hand have been answered. The connection and
  // what waits in the kernel stay, for whoever has the descriptors.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // Takes no further request, and returns when none is in hand: all have been answered, or were put
  // back to wait in the kernel, for a successor or until Resume. One that waits for a lock is put
  // back if the kernel can do that (Linux 6.9), else answered with EINTR. False if some do not end
  // by the deadline. Then too Resume has to follow, or Stop.
  bool Pause(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing if it is not paused.
  void Resume() ABSL_LOCKS_EXCLUDED(mu_);

  size_t threads() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Reader {
    std::thread thread;
    bool over = false;  // the thread has nothing more to do
  };

  void AddReader() ABSL_LOCKS_EXCLUDED(mu_);
  void Run(BorrowedFd device, Reader& reader) ABSL_LOCKS_EXCLUDED(mu_);
  void Serve(BorrowedFd device) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether there will be further requests after reading has failed.
  bool GoesOn(BorrowedFd device, Errno error) ABSL_LOCKS_EXCLUDED(mu_);
  // Until all have ended; false if they have not by the deadline.
  bool Interrupt(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  bool HasEnded() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return running_ == 0 && !paused_; }

  Session& session_;
  const std::vector<UniqueFd> devices_;
  const size_t max_threads_;
  std::atomic<size_t> reading_{0};  // threads that wait for a request
  std::atomic<bool> stopping_{false};

  mutable absl::Mutex mu_;
  std::list<Reader> readers_ ABSL_GUARDED_BY(mu_);
  size_t running_ ABSL_GUARDED_BY(mu_) = 0;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status result_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::fuse

#endif  // FUSE_DEV_DEV_FUSE_H_
