#include "fuse/session/session.h"

#include <utility>

#include "fuse/session/negotiation.h"
#include "fuse/session/op_table.h"
#include "fuse/session/ops.h"
#include "fuse/session/take_back.h"

namespace gofer::fuse {
namespace {

// Linux keeps error numbers from here on to itself; a client takes a reply with one for garbage.
constexpr int kFirstInternalErrno = 512;

uint64_t NextEpoch() {
  static std::atomic<uint64_t> epochs{0};
  return epochs.fetch_add(1, std::memory_order_relaxed) + 1;
}

// The number that the client gets for a failure of the host.
Errno ForClient(Errno error) {
  switch (error.value()) {
    case ENOSYS:  // the client would never ask again
      return Errno(EOPNOTSUPP);
    case EMFILE:  // the limit is ours, not the caller's
      return Errno(ENFILE);
    case EFAULT:  // the client's own memory is not there
      return Errno(EIO);
    default:
      return error.value() < kFirstInternalErrno ? error : Errno(EIO);
  }
}

SessionOptions WithImplied(SessionOptions options) {
  options.xattr |= !options.xattr_map.empty() || options.posix_acl || options.security_label;
  return options;
}

bool IsSilent(Opcode opcode) {
  const Op* const op = FindOp(opcode);
  return op != nullptr && op->silent;
}

}  // namespace

Session::Session(fs::Filesystem* filesystem, const SessionOptions& options)
    : filesystem_(*filesystem),
      options_(WithImplied(options)),
      waiter_(filesystem_.gate()),
      epoch_(NextEpoch()) {}

Session::~Session() { Reset(); }

Outcome Session::Serve(Request& request, Serving serving, Scratch& scratch) {
  Call call(request, serving, scratch);
  if (!call.TakeHeader()) return Outcome::Done(0);
  const ErrnoOr<void> result = Dispatch(call, scratch);
  if (IsSilent(call.header.opcode)) return Outcome::Done(0);
  const uint64_t unique = call.header.unique;
  switch (call.end()) {
    case Call::End::kWouldBlock:
      return Outcome::WouldBlock();
    case Call::End::kDeferred:
      return Outcome::Deferred();
    case Call::End::kUnsupported:
      return Outcome::Done(call.reply.Fail(Errno(ENOSYS), unique));
    case Call::End::kReplied:
      break;
  }
  if (!result.ok()) return Outcome::Done(call.reply.Fail(ForClient(result.error()), unique));
  if (!call.reply.ok()) return Outcome::Done(call.reply.Fail(Errno(EINVAL), unique));
  return Outcome::Done(call.reply.Finish(unique));
}

void Session::Undelivered(const Request& request, size_t written, Scratch& scratch) {
  // That very connection, should there be another by now.
  if (!scratch.connection_ || request.out.empty()) return;
  InHeader header;
  if (Buffers(request.in).CopyOut(std::as_writable_bytes(std::span(&header, 1))) !=
      sizeof(header)) {
    return;
  }
  // A reply lies in one piece where it can get lost at all.
  const struct iovec& out = request.out.front();
  if (written > out.iov_len) return;
  TakeBack(*scratch.connection_, header,
           std::span(static_cast<const std::byte*>(out.iov_base), written));
}

ErrnoOr<void> Session::Dispatch(Call& call, Scratch& scratch) {
  const Opcode opcode = call.header.opcode;
  if (opcode == Opcode::kInit) return OnInit(call);
  if (opcode == Opcode::kDestroy) {
    Reset();
    return {};
  }
  const Op* const op = FindOp(opcode);
  Connection* const connection = Current(scratch);
  if (connection == nullptr) return Errno(EIO);
  if (op == nullptr) return call.Unsupported();
  if (op->writes && options_.readonly) return Errno(EROFS);
  // Nothing is done for a client that has left no room to be told of it.
  if (!op->silent && !call.reply.HasRoomFor(op->reply_size)) return Errno(EINVAL);
  if (op->blocks && !call.may_block()) return call.WouldBlock();
  RETURN_IF_ERROR(call.TakeArgs(op->max_args));
  return op->handler(*connection, call);
}

ErrnoOr<void> Session::OnInit(Call& call) {
  if (!call.reply.HasRoomFor(sizeof(InitOut))) return Errno(EINVAL);
  RETURN_IF_ERROR(call.TakeArgs(SIZE_MAX));
  ASSIGN_OR_RETURN(const InitReq request, OrEinval(DecodeInit(call.args)));
  // A client that has been started anew may not have said goodbye.
  Reset();
  ASSIGN_OR_RETURN(const Negotiation negotiation, Negotiate(request, options_));
  if (negotiation.agreed) {
    Replace(MakeRef<Connection>(filesystem_, options_, negotiation.granted, waiter_));
  }
  call.reply.Write(negotiation.reply);
  return {};
}

Connection* Session::Current(Scratch& scratch) {
  // The lock is taken once per thread and connection: afterwards the number tells that nothing has
  // changed.
  if (scratch.epoch_ != epoch_.load(std::memory_order_acquire)) [[unlikely]] {
    absl::ReaderMutexLock lock(&mu_);
    scratch.connection_ = connection_;
    scratch.epoch_ = epoch_.load(std::memory_order_relaxed);
  }
  return scratch.connection_.get();
}

void Session::Replace(RefPtr<Connection> connection) {
  locks_let_go_.store(false);
  {
    absl::MutexLock lock(&mu_);
    std::swap(connection, connection_);
    epoch_.store(NextEpoch(), std::memory_order_release);
  }
  if (!connection) return;
  CancelDeferred();
  connection->Close();
}

void Session::Reset() { Replace(nullptr); }

void Session::CancelDeferred() {
  waiter_.Cancel([](const LockWaiter::Waiting&) { return true; });
}

void Session::DropDeferred() {
  waiter_.Cancel([](const LockWaiter::Waiting&) { return true; }, LockWaiter::End::kUnanswered);
}

bool Session::ClientCanResend() const {
  const RefPtr<Connection> connection = this->connection();
  return connection && connection->granted().can_resend;
}

RefPtr<Connection> Session::connection() const {
  absl::ReaderMutexLock lock(&mu_);
  return connection_;
}

}  // namespace gofer::fuse
