// PeerJudge: whose process is at the other end of a control socket, and whether it may command.
//
// Who started the gofer may, and root. A gofer in a user namespace of its own cannot tell: the
// kernel translates a peer's uid into the namespace of whoever asks for it, where all but the
// mapped ones, root among them, are the same "nobody". So there a helper process, forked before the
// namespace was entered, stays outside: it is sent the socket, and says what uid is at its other
// end. It holds nothing, reads nothing but its socket, has no capability, and ends with the gofer.
//
// Where the gofer is started within a namespace in which not everybody has a uid, who has none is
// nobody: uid 65534. So that one may not start a gofer there that others can reach.
//
// Owner:   the composition root, until the control sockets are gone.
// Threads: made while there is one thread; MayCommand is safe.
// Locks:   mu_ is a leaf, held over a question to the helper, which it answers at once.
// Errors:  a peer that cannot be judged may not command.
// Source:  unix(7) SO_PEERCRED; user_namespaces(7); spec/security.md s.10 (control_auth_test).

#ifndef GOFER_CONTROL_PEER_JUDGE_H_
#define GOFER_CONTROL_PEER_JUDGE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::control {

class PeerJudge {
 public:
  // `owner` has started the gofer.
  explicit PeerJudge(uint32_t owner) : owner_(owner) {}
  PeerJudge(const PeerJudge&) = delete;
  PeerJudge& operator=(const PeerJudge&) = delete;

  // To be called before this process enters a user namespace: starts the helper.
  absl::Status StayOutside() ABSL_LOCKS_EXCLUDED(mu_);

  // OK, or why not, for the peer to read.
  absl::Status MayCommand(BorrowedFd socket) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  ErrnoOr<uint32_t> UidOf(BorrowedFd socket) ABSL_LOCKS_EXCLUDED(mu_);

  const uint32_t owner_;
  absl::Mutex mu_;
  UniqueFd helper_ ABSL_GUARDED_BY(mu_);  // if there is one
};

}  // namespace gofer::control

#endif  // GOFER_CONTROL_PEER_JUDGE_H_
