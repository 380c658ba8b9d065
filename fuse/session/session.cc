#include "fuse/session/session.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fuse/session/negotiation.h"
#include "fuse/session/op_table.h"
#include "fuse/session/ops.h"
#include "fuse/session/request_row.h"
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

std::string NameOfRow(size_t row) {
  const absl::string_view name = OpcodeName(static_cast<Opcode>(row));
  if (name != "?") return std::string(name);
  return row < kNumOpcodes ? absl::StrCat("opcode ", row) : "other opcodes";
}

// What the client is told of a request that has been served, if that is an error.
std::optional<Errno> ErrorOf(const Call& call, const ErrnoOr<void>& result) {
  if (call.end() == Call::End::kUnsupported) return Errno(ENOSYS);
  if (!result.ok()) return ForClient(result.error());
  if (!call.reply.ok()) return Errno(EINVAL);
  return std::nullopt;
}

}  // namespace

Session::Session(fs::Filesystem* filesystem, const SessionOptions& options)
    : filesystem_(*filesystem),
      options_(WithImplied(options)),
      requests_(kRequestRows, &NameOfRow),
      waiter_(filesystem_.gate(), requests_),
      epoch_(NextEpoch()) {}

Session::~Session() { Reset(); }

Outcome Session::Serve(Request& request, Serving serving, Scratch& scratch) {
  Call call(request, serving, scratch);
  if (!call.TakeHeader()) return Outcome::Done(0);
  stats::Recorder& recorder = RecorderOf(scratch);
  // One that has waited for a worker began before.
  call.begun = request.begun != 0 ? std::exchange(request.begun, 0) : recorder.Now();
  const ErrnoOr<void> result = Dispatch(call, scratch);
  const size_t row = RequestRow(call.header.opcode);
  if (IsSilent(call.header.opcode)) {
    recorder.Record(row, call.begun, std::nullopt);
    return Outcome::Done(0);
  }
  if (call.end() == Call::End::kDeferred) return Outcome::Deferred();  // it may be gone already
  if (call.end() == Call::End::kWouldBlock) {
    request.begun = call.begun;
    return Outcome::WouldBlock();
  }
  const std::optional<Errno> error = ErrorOf(call, result);
  recorder.Record(row, call.begun, error);
  const uint64_t unique = call.header.unique;
  return Outcome::Done(error.has_value() ? call.reply.Fail(*error, unique)
                                         : call.reply.Finish(unique));
}

void Session::LookAhead(Scratch& scratch, absl::FunctionRef<bool()> stop) {
  // Once: whoever lists on says so again.
  const RefPtr<fs::LookAhead> listing = std::move(scratch.listing_);
  while (listing && !stop()) {
    if (!LookAhead(*listing, kAlone)) return;
  }
}

bool Session::LookAhead(fs::LookAhead& listing, size_t names) {
  const RequestGate::TryPass pass(gate());
  return pass.inside() && listing.Work(names) > 0;
}

stats::Recorder& Session::RecorderOf(Scratch& scratch) {
  if (scratch.recorder_ == nullptr || !scratch.recorder_->BelongsTo(requests_)) [[unlikely]] {
    scratch.recorder_ = std::make_unique<stats::Recorder>(requests_);
  }
  return *scratch.recorder_;
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
  const ErrnoOr<void> result = op->handler(*connection, call);
  if (!op->looks) filesystem_.client_changes().Note();
  return result;
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
