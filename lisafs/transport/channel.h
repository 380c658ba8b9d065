// Channel: one window, its descriptor socket, and the loop that serves them. It carries one request
//          at a time;
// a client has several for requests in parallel.
//
// Owner:   a Connection, which also runs Serve in a thread of its own. Threads: ShutDown is safe
//          from any.
// Errors:  a datagram shorter than its header or longer than the window, a bad handshake or an
//          illegal state ends the channel, so that the client does not wait for ever; the
//          connection goes on. A payload over the maximum is EIO.
// Source:  spec/lisafs.md s.2.5 to s.2.8.

#ifndef LISAFS_TRANSPORT_CHANNEL_H_
#define LISAFS_TRANSPORT_CHANNEL_H_

#include <memory>

#include "absl/synchronization/notification.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/memory_map.h"
#include "gofer/sys/spin_policy.h"
#include "lisafs/transport/call.h"
#include "lisafs/transport/packet_window.h"

namespace lisafs {

class Channel {
 public:
  // Makes a channel whose window is `index` windows into `memory`. `client_socket` is for the
  // client.
  static gofer::ErrnoOr<std::unique_ptr<Channel>> Create(gofer::BorrowedFd memory, size_t index,
                                                         gofer::UniqueFd& client_socket);

  // Answers requests until the channel ends.
  void Serve(CallHandler& handler);
  void ShutDown() { window_.ShutDown(); }
  // Shuts down and returns when Serve has: a request in flight finishes first.
  void ShutDownAndWait();

 private:
  Channel(gofer::sys::MemoryMap map, gofer::sys::MemoryMap request, gofer::UniqueFd fd_socket);

  bool Handshake();
  bool ServeOne(CallHandler& handler);

  const gofer::sys::MemoryMap map_;
  const gofer::sys::MemoryMap request_;  // the private copy; takes no memory until it is used
  const gofer::UniqueFd fd_socket_;
  PacketWindow window_;
  gofer::sys::SpinPolicy spin_;
  absl::Notification served_;
};

}  // namespace lisafs

#endif  // LISAFS_TRANSPORT_CHANNEL_H_
