// Session: one FUSE mount, whatever carries it. Takes requests from any number of threads, does
// what they ask on the shared core, and writes the replies.
//
//   fuse::Session session(&filesystem, options);
//   fuse::Scratch scratch;                                  // one per thread
//   const fuse::Outcome outcome = session.Serve(request, fuse::Serving::kInline, scratch);
//   if (outcome.kind == fuse::Outcome::Kind::kWouldBlock) ...a worker calls Serve(kWorker)...
//
// A transport takes each request through the gate, and keeps it inside until the client has the
// reply:
//
//   const RequestGate::Pass pass(session.gate());           // around Serve and what ends the request
//
// So a save, which closes the gate, finds every request either not begun or done and answered. One
// that waits for a lock (SETLKW is the only one that waits without bound) is outside meanwhile,
// passes the gate for each attempt, and is not part of what is saved: it has done nothing yet.
//
// INIT opens a Connection; a second INIT, DESTROY and Reset end it and all that the client had.
// Requests in flight then finish on the old one and leave nothing in the new one.
//
// Owner:   the transport's device; the Filesystem outlives it, and it outlives every Scratch's use.
// Threads: safe. Reset and CancelDeferred too, also while requests are served.
// Locks:   mu_ is a leaf, but for Connection's own.
// Errors:  a request's error is in its reply. EINVAL for one that does not decode, ENOSYS for an
//          operation that is not here, EIO before INIT; a host's ENOSYS, which the client would
//          remember for ever, becomes EOPNOTSUPP.
// Source:  spec/fuse.md s.1.3, s.5, s.19.

#ifndef FUSE_SESSION_SESSION_H_
#define FUSE_SESSION_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/call.h"
#include "fuse/session/connection.h"
#include "fuse/session/options.h"
#include "fuse/session/request.h"
#include "fuse/session/scratch.h"
#include "fuse/session/state.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/request_gate.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/look_ahead.h"
#include "gofer/fs/snapshot.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/stats/request_stats.h"

namespace gofer::fuse {

class Session {
 public:
  // The client's root is the filesystem's.
  Session(fs::Filesystem* filesystem, const SessionOptions& options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  Outcome Serve(Request& request, Serving serving, Scratch& scratch) ABSL_LOCKS_EXCLUDED(mu_);

  // While the thread has nothing to serve: goes on with the listing that it has served last, if there
  // is one (fs::LookAhead), until `stop` or nothing is left. Between two calls of `stop` some
  // microseconds pass, unless the host hangs.
  void LookAhead(Scratch& scratch, absl::FunctionRef<bool()> stop);
  // A piece of a listing that help was asked for (Scratch::LookAhead), in any thread. False: there
  // is nothing left, or a save has closed the gate.
  bool LookAhead(fs::LookAhead& listing, size_t names = fs::LookAhead::kAtOnce);

  // The reply that Serve has just written for this request, with this Scratch, did not reach the
  // client: what it gave the client, lookups and open files, is taken back. For transports whose
  // replies can get lost; `out` has to be memory of theirs.
  void Undelivered(const Request& request, size_t written, Scratch& scratch);

  // Ends the client's connection: nodes, open files and locks are dropped, deferred requests end.
  // The next INIT opens another.
  void Reset() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends every deferred request with EINTR.
  void CancelDeferred() ABSL_LOCKS_EXCLUDED(mu_);

  // Ends them without a reply, for a transport whose client will send them again: one that can be
  // told to (Linux since 6.9, over /dev/fuse).
  void DropDeferred();
  bool ClientCanResend() const ABSL_LOCKS_EXCLUDED(mu_);

  RequestGate& gate() const { return filesystem_.gate(); }

  // ---- saving and restoring

  // What the client knows, while the gate is closed. Requests that wait for a lock are for the
  // transport: it drops them and has the client send them again, or has ended them with EINTR
  // before.
  SessionState Save(fs::Snapshot& snapshot) const;
  // Goes on where another session was saved: the client sends no INIT. One that it sends later
  // starts anew, as ever. Files that were not found are ESTALE until they are looked up afresh.
  // Before any request is served; after a failure there is no connection.
  //   kDataLoss            the state is not one that was saved;
  //   kFailedPrecondition  the client relies on an option that is off, or locks that it holds
  //                        cannot be had, each with its file.
  absl::Status Restore(const SessionState& state, fs::TreeRestore& tree);

  // The successor of a session that was saved needs the locks that this one still holds: gives them
  // up on the host, and remembers them.
  void LetGoOfLocks();
  // The client goes on here after all. kFailedPrecondition names those that somebody else has got
  // meanwhile: they are lost, without the client being told. Nothing if none was let go.
  absl::Status TakeLocksAgain();

  // What clients have asked for, opcode by opcode. A request that waits for a lock counts when it
  // has been answered.
  const stats::RequestStats& requests() const { return requests_; }

  // Requests that wait for a lock; at most LockWaiter::kMaxWaiting.
  size_t waiting() const { return waiter_.size(); }

  // The connection that there is now, or null. For tests and for numbers about it.
  RefPtr<Connection> connection() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Names that a thread looks up ahead between two looks for requests.
  static constexpr size_t kAlone = 2;

  // The calling thread's hand in requests_.
  stats::Recorder& RecorderOf(Scratch& scratch);
  // The calling thread's view of connection_, brought up to date; null before INIT.
  Connection* Current(Scratch& scratch) ABSL_LOCKS_EXCLUDED(mu_);
  void Replace(RefPtr<Connection> connection) ABSL_LOCKS_EXCLUDED(mu_);

  ErrnoOr<void> Dispatch(Call& call, Scratch& scratch);
  ErrnoOr<void> OnInit(Call& call);

  fs::Filesystem& filesystem_;
  const SessionOptions options_;
  stats::RequestStats requests_;
  LockWaiter waiter_;
  mutable absl::Mutex mu_;
  RefPtr<Connection> connection_ ABSL_GUARDED_BY(mu_);
  // Changes with connection_; no two sessions ever have the same.
  std::atomic<uint64_t> epoch_;
  std::atomic<bool> locks_let_go_{false};
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_SESSION_H_
