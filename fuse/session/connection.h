// Connection: all that one INIT has opened, and the next one, a reset or DESTROY ends: nodes, open
//             files, what was agreed.
//
// A request works on the Connection that there was when it arrived. When that has been closed
// meanwhile, what the request still adds is refused, so that nothing of an old connection appears
// in a new one.
//
// Owner:   RefPtr: the Session, and each Scratch as a cache, which must not keep anything alive: a
//          closed Connection holds nothing.
// Threads: safe.
// Locks:   flocks_mu_ is held across flock(2), which never waits.

#ifndef FUSE_SESSION_CONNECTION_H_
#define FUSE_SESSION_CONNECTION_H_

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/handle_table.h"
#include "fuse/session/lock_waiter.h"
#include "fuse/session/negotiation.h"
#include "fuse/session/node_table.h"
#include "fuse/session/options.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/posix_locks.h"

namespace gofer::fuse {

class Connection : public RefCounted<Connection> {
 public:
  // `waiter` is the Session's, for the locks that requests wait for.
  Connection(fs::Filesystem& filesystem, const SessionOptions& options, Granted granted,
             LockWaiter& waiter)
      : filesystem_(filesystem),
        options_(options),
        cache_(CacheRules::Of(options.cache)),
        granted_(granted),
        nodes_(filesystem.root()),
        locks_(&filesystem),
        waiter_(waiter) {}

  void Close() ABSL_LOCKS_EXCLUDED(flocks_mu_);

  fs::Filesystem& filesystem() const { return filesystem_; }
  const SessionOptions& options() const { return options_; }
  const CacheRules& cache() const { return cache_; }
  const Granted& granted() const { return granted_; }
  NodeTable& nodes() { return nodes_; }
  HandleTable& handles() { return handles_; }

  // Whether closing a file of the Dentry's mount means nothing to its file system: no data is
  // written back by it and no error told.
  bool ClosesQuietly(fs::Dentry& dentry);

  // ---- locks of byte ranges, each of an owner, whom the client numbers

  // Never waits: EAGAIN if somebody else's is in the way.
  ErrnoOr<void> SetLock(fs::Dentry& dentry, uint64_t owner, const fs::LockRange& range);
  ErrnoOr<fs::LockRange> TestLock(fs::Dentry& dentry, uint64_t owner, const fs::LockRange& range);
  // The owner has closed the file: its locks of it are gone, and it waits for none.
  void ReleaseLocks(fs::Dentry& dentry, uint64_t owner);
  LockWaiter& waiter() { return waiter_; }

  // ---- saving and handing over, while no request is served

  fs::PosixLocks& locks() { return locks_; }
  // As PosixLocks::LetGo and TakeAgain, of flock(2). Returns the files that somebody else has
  // locked meanwhile.
  void LetGoOfFlocks() ABSL_LOCKS_EXCLUDED(flocks_mu_);
  std::vector<RefPtr<fs::Handle>> TakeFlocksAgain() ABSL_LOCKS_EXCLUDED(flocks_mu_);

 private:
  friend class RefCounted<Connection>;
  ~Connection() = default;

  fs::Filesystem& filesystem_;
  const SessionOptions& options_;
  const CacheRules cache_;
  const Granted granted_;
  NodeTable nodes_;
  HandleTable handles_;
  // The mount that ClosesQuietly was asked of last, shifted left by one, and its answer.
  std::atomic<uint64_t> quiet_mount_{0};
  fs::PosixLocks locks_;
  LockWaiter& waiter_;
  std::atomic<bool> closed_{false};
  absl::Mutex flocks_mu_;
  std::vector<std::pair<RefPtr<fs::Handle>, short>> flocks_let_go_ ABSL_GUARDED_BY(flocks_mu_);
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_CONNECTION_H_
