// Call: one request on its way through a handler: what came, and the reply that is being written.
//
// The client can change its memory at any moment, and give the same memory for request and reply.
// So header and arguments are copied out once, before anything is looked at or written; only the
// data of a WRITE stays where it is.
//
// Owner:   Session::Serve, on its stack. Threads: one.

#ifndef FUSE_SESSION_CALL_H_
#define FUSE_SESSION_CALL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "fuse/session/request.h"
#include "fuse/session/scratch.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/buffers.h"
#include "fuse/wire/reply.h"
#include "fuse/wire/requests.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/look_ahead.h"

namespace gofer::fuse {

class Call {
 public:
  // How a handler may end that has neither succeeded nor failed.
  enum class End { kReplied, kWouldBlock, kDeferred, kUnsupported };

  Call(Request& request, Serving serving, Scratch& scratch)
      : request(request),
        serving(serving),
        reply(request.out),
        data(request.in),
        scratch_(scratch) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Copies the header. False if there is none; then the client's number for the request is not
  // known, and it cannot be answered.
  bool TakeHeader();
  // Copies up to `max_args` bytes of what follows; what is more stays in `data`.
  // ENOMEM for a message that is longer than any can be, E2BIG for arguments that are longer than
  // there is room for, EINVAL for one that says it is longer than it is.
  ErrnoOr<void> TakeArgs(size_t max_args);

  // To be returned by a handler. Nothing has been done yet, and what is to be done may wait for a
  // disk: a worker has to do it.
  Errno WouldBlock() {
    end_ = End::kWouldBlock;
    return Errno(EAGAIN);
  }
  // The reply comes later, by Request::Complete.
  Errno Deferred() {
    end_ = End::kDeferred;
    return Errno(EAGAIN);
  }
  // The client need not ask again: most clients remember ENOSYS for as long as they live. Any other
  // ENOSYS does not reach them.
  Errno Unsupported() {
    end_ = End::kUnsupported;
    return Errno(ENOSYS);
  }
  End end() const { return end_; }
  bool may_block() const { return serving == Serving::kWorker; }

  // Room for the pieces of one host call's data, and for one value of an extended attribute.
  std::span<struct iovec> iovecs() { return scratch_.memory_->iovecs; }
  std::span<std::byte> value() { return scratch_.memory_->value; }

  // Whether the thread looks ahead, who may help with that, or null, and what it can go on with.
  bool looks_ahead() const { return scratch_.looks_ahead_; }
  fs::LookAhead::Helpers* helpers() { return scratch_.helpers_; }
  void GoOnWith(RefPtr<fs::LookAhead> listing) { scratch_.listing_ = std::move(listing); }

  Request& request;
  const Serving serving;
  uint64_t begun = 0;  // when, by the session's tick clock
  InHeader header = {};
  Payload args;  // a private copy
  Reply reply;
  Buffers data;          // what follows args
  size_t data_size = 0;  // of that, by the header

 private:
  Scratch& scratch_;
  End end_ = End::kReplied;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_CALL_H_
