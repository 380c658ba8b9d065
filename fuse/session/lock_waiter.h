// LockWaiter: the SETLKW requests of a session that wait for a lock.
//
// One thread tries them again, the oldest first: at once when this session has given up a lock, and
// at growing intervals for locks that others hold, since the host can tell of those only by
// blocking a thread for each.
//
// An attempt passes the gate as a request does, but is put off while the gate is closed: nobody who
// ends a request has to wait for a save.
//
// Owner:   the Session. Threads: safe; the thread starts with the first request that waits.
// Locks:   mu_ is a leaf. The host is asked, and requests are completed, without it.
// Errors:  ENOLCK when too many wait. A cancelled request gets EINTR.
// Source:  spec/fuse.md s.15.

#ifndef FUSE_SESSION_LOCK_WAITER_H_
#define FUSE_SESSION_LOCK_WAITER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/request.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/request_gate.h"
#include "gofer/fs/handle.h"
#include "gofer/stats/request_stats.h"

namespace gofer::fuse {

class LockWaiter {
 public:
  // One that waits.
  struct Waiting {
    Request* request = nullptr;
    uint64_t unique = 0;
    uint64_t begun = 0;  // when, by the session's tick clock
    uint64_t owner = 0;
    bool flock = false;  // of the whole file, by its handle
    RefPtr<fs::Handle> handle;
    // Tries once, without waiting: EAGAIN when it has to wait on.
    std::function<ErrnoOr<void>()> attempt;
    uint64_t round = 0;  // when that was last done
  };
  static constexpr size_t kMaxWaiting = 1024;
  // How one ends that is cancelled: by EINTR, or without a reply.
  enum class End { kInterrupted, kUnanswered };

  // Counts what it ends in `requests`.
  LockWaiter(RequestGate& gate, stats::RequestStats& requests) : gate_(gate), requests_(requests) {}
  LockWaiter(const LockWaiter&) = delete;
  LockWaiter& operator=(const LockWaiter&) = delete;
  ~LockWaiter();

  // From now on the request is this object's to complete.
  ErrnoOr<void> Add(Waiting waiting) ABSL_LOCKS_EXCLUDED(mu_);
  // A lock was given up: tries all again.
  void Kick() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends those for which `which` is true; when it returns they have been completed. Not to be
  // called by Request::Complete.
  void Cancel(absl::FunctionRef<bool(const Waiting&)> which, End end = End::kInterrupted)
      ABSL_LOCKS_EXCLUDED(mu_);

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Lets go of the lock meanwhile.
  void TryFirst(uint64_t round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True: it has been completed. False: it has to wait on.
  bool Attempt(Waiting& waiting);
  void Complete(Waiting& waiting, const ErrnoOr<void>& result);
  void Complete(Waiting& waiting, End end);

  RequestGate& gate_;
  stats::RequestStats& requests_;
  mutable absl::Mutex mu_;
  std::list<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  // The one that the thread has taken out, and is trying or completing.
  const Waiting* trying_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::optional<End> trying_cancelled_ ABSL_GUARDED_BY(mu_);
  bool kicked_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_LOCK_WAITER_H_
