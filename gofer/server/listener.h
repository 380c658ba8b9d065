// A unix socket that clients connect to, made by path before the host's tree is out of reach.
//
// Owner:   owns the listening socket. The file stays when the process ends; the next start replaces
//          it.
// Threads: one. Errors: absl::Status with the path.
// Source:  spec/security.md s.1 step 4.

#ifndef GOFER_SERVER_LISTENER_H_
#define GOFER_SERVER_LISTENER_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::server {

class Listener {
 public:
  // Makes the socket file with mode 0600; or 0660, if a group is named that may connect too. A
  // socket file at which nobody listens any more is replaced; anything else that is there is an
  // error, and is left alone.
  static absl::StatusOr<Listener> Create(const std::string& path, const std::string& group = "");

  // A connected, blocking stream socket; EAGAIN when nobody is waiting.
  ErrnoOr<UniqueFd> Accept() const;
  BorrowedFd fd() const { return socket_; }
  // The socket alone, for who takes connections in another way.
  UniqueFd Release() && { return std::move(socket_); }

 private:
  explicit Listener(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_LISTENER_H_
