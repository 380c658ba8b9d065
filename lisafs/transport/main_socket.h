// MainSocket: the framed stream socket of a connection, and the loop that serves it.
//
// Owner:   a Connection. Threads: one runs Serve; ShutDown is safe from any.
// Errors:  end of file or a socket error ends the loop, wherever it happens. A payload over the
//          maximum is read and thrown away, and answered with EIO, so that the stream stays in
//          step; nothing is allocated by an announced size.
// Source:  spec/lisafs.md s.2.2, s.2.3, s.7.3.

#ifndef LISAFS_TRANSPORT_MAIN_SOCKET_H_
#define LISAFS_TRANSPORT_MAIN_SOCKET_H_

#include <cstddef>
#include <memory>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/memory_map.h"
#include "gofer/sys/spin_policy.h"
#include "lisafs/transport/call.h"

namespace lisafs {

class MainSocket {
 public:
  static gofer::ErrnoOr<std::unique_ptr<MainSocket>> Create(gofer::UniqueFd socket);

  // Answers requests until the connection ends.
  void Serve(CallHandler& handler);
  // Ends the loop after the request that it is at.
  void StopReceiving();
  // Ends it at once, also where it waits for a client that takes no reply.
  void ShutDown();

 private:
  MainSocket(gofer::UniqueFd socket, gofer::sys::MemoryMap request, gofer::sys::MemoryMap reply);

  bool ServeOne(CallHandler& handler);
  // The first bytes of the next request, which may be long in coming.
  bool Await();
  // Receives until `size` bytes stand at the front of request_.
  bool Fill(size_t size);
  // Receives and forgets; `size` counts from the front of request_.
  bool Skip(size_t size);
  void Consume(size_t size);

  const gofer::UniqueFd socket_;
  // Both take no memory until they are used.
  const gofer::sys::MemoryMap request_;
  const gofer::sys::MemoryMap reply_;
  size_t received_ = 0;  // bytes at the front of request_
  gofer::sys::SpinPolicy spin_;
};

}  // namespace lisafs

#endif  // LISAFS_TRANSPORT_MAIN_SOCKET_H_
