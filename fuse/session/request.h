// Request: one FUSE request in its transport's hands, from its arrival to its completion.
//
// Transports (the virtqueue device, /dev/fuse) derive from it and keep what they need to end it: a
// descriptor chain, a buffer. The session sees two lists of buffers and knows no transport.
//
// Owner:   the transport. It lives until Complete has been called, or until Session::Serve has
//          said that it is done.
// Threads: one at a time has it: the one in Session::Serve, then, for a deferred request, whichever
//          calls Complete.
// Source:  spec/fuse.md s.1; spec/vhost-user-fs.md s.11 and s.18.

#ifndef FUSE_SESSION_REQUEST_H_
#define FUSE_SESSION_REQUEST_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gofer::fuse {

class Request {
 public:
  // What the client sent: header, arguments, data, cut anywhere. And the room that it gave for the
  // reply: header, result, data. Both are memory that the client may change at any moment, and the
  // two may overlap.
  std::span<const struct iovec> in;
  std::span<const struct iovec> out;

  // Ends a request that Session::Serve deferred; exactly once. The first `written` bytes of `out`
  // are the reply; zero: there is none. Must not block and must not call back into the session.
  virtual void Complete(size_t written) = 0;

  // When it was first served, by the session's tick clock, while it waits for a worker; else 0. The
  // session's.
  uint64_t begun = 0;

 protected:
  Request() = default;
  ~Request() = default;
  Request(const Request&) = default;
  Request& operator=(const Request&) = default;
};

// Who calls Session::Serve, and so what it may do.
enum class Serving {
  kInline,  // the thread that owns the queue: nothing that can wait for a disk
  kWorker,  // a thread that may block on the host file system
};

// What became of a request.
struct Outcome {
  enum class Kind {
    kDone,        // `written` bytes of the reply are in `out`; zero: there is none
    kWouldBlock,  // only for kInline: nothing has happened; serve it again as kWorker
    kDeferred,    // Request::Complete will be called, now or much later
  };
  Kind kind = Kind::kDone;
  size_t written = 0;

  static Outcome Done(size_t written) { return {Kind::kDone, written}; }
  static Outcome WouldBlock() { return {Kind::kWouldBlock, 0}; }
  static Outcome Deferred() { return {Kind::kDeferred, 0}; }
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_REQUEST_H_
