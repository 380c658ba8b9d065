#include "lisafs/client/client.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gofer/base/byte_reader.h"
#include "gofer/base/byte_writer.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/hangup.h"
#include "lisafs/wire/requests.h"

namespace lisafs {
namespace {

using gofer::ByteReader;
using gofer::ByteWriter;
using gofer::Errno;
using gofer::ErrnoOr;
using gofer::UniqueFd;

std::span<const absl::string_view> Span(Names names) {
  return std::span(names.data(), names.size());
}

CreateCommon Common(FdId dir, uint16_t mode, Owner owner) {
  return {.dir_fd = dir, .uid = owner.uid, .gid = owner.gid, .mode = mode, .pad0 = 0, .pad1 = 0};
}

// A reply that the client cannot make sense of.
template <typename T>
ErrnoOr<T> Sensible(absl::StatusOr<T> decoded) {
  if (!decoded.ok()) return Errno(EBADMSG);
  return *std::move(decoded);
}

template <gofer::WireStruct T>
ErrnoOr<T> DecodeReply(const Reply& reply) {
  return Sensible(DecodeFixed<T>("reply", reply.payload));
}

// Copies a reply's array, whose count stands before it, into the caller's buffer.
template <gofer::WireStruct T>
ErrnoOr<size_t> CopyArray(ByteReader& reader, size_t count, std::span<T> to) {
  const std::span<const std::byte> bytes = reader.ReadSpan(count * sizeof(T));
  if (!reader.ok() || count > to.size()) return Errno(EBADMSG);
  if (!bytes.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
  return count;
}

}  // namespace

// A way in, held for one exchange.
class Lease {
 public:
  explicit Lease(Way& way) : way_(way), writer_(way.request()) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { way_.Release(); }

  ByteWriter& writer() { return writer_; }

  // Sends what was written and waits for a reply to it.
  ErrnoOr<Reply> Call(Exchange exchange) {
    ASSIGN_OR_RETURN(Reply reply, CallRaw(exchange));
    if (reply.id == exchange.id) return reply;
    if (reply.id != MessageId::kError) return Errno(EBADMSG);
    ASSIGN_OR_RETURN(const ErrorResp error, DecodeReply<ErrorResp>(reply));
    return Errno(static_cast<int>(error.errno_value));
  }

  ErrnoOr<Reply> CallRaw(Exchange& exchange) {
    exchange.head_size = writer_.size();
    if (!writer_.ok() || exchange.data.size() > writer_.remaining()) return Errno(EMSGSIZE);
    return way_.RoundTrip(exchange);
  }

  // For requests of a fixed size, and for replies of none or one descriptor.
  template <gofer::WireStruct Request>
  ErrnoOr<Reply> CallFixed(MessageId id, const Request& request, size_t max_fds = 0) {
    writer_.Write(request);
    return Call({.id = id, .max_fds = max_fds});
  }

 private:
  Way& way_;
  ByteWriter writer_;
};

namespace {

ErrnoOr<void> Empty(const ErrnoOr<Reply>& reply) {
  if (!reply.ok()) return reply.error();
  return {};
}

// For messages whose reply is an error without its descriptor.
ErrnoOr<UniqueFd> RequiredFd(ErrnoOr<Reply> reply) {
  if (!reply.ok()) return reply.error();
  if (reply->num_fds != 1) return Errno(EBADMSG);
  return std::move(reply->fds[0]);
}

ErrnoOr<Inode> NewInode(const ErrnoOr<Reply>& reply) {
  if (!reply.ok()) return reply.error();
  return DecodeReply<Inode>(*reply);
}

}  // namespace

int RawReply::error() const {
  if (id != MessageId::kError) return 0;
  ErrorResp error = {};
  std::memcpy(&error, payload.data(), std::min(payload.size(), sizeof(error)));
  return static_cast<int>(error.errno_value);
}

ErrnoOr<MountResult> Calls::Mount() const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(Reply reply, lease.Call({.id = MessageId::kMount, .max_fds = 1}));
  ASSIGN_OR_RETURN(MountResp mount, Sensible(DecodeMountResp(reply.payload)));
  return MountResult{.root = mount.root,
                     .max_message_size = mount.max_message_size,
                     .supported = std::move(mount.supported),
                     .host_fd = std::move(reply.fds[0])};
}

ErrnoOr<ChannelGrant> Calls::RequestChannel() const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(Reply reply, lease.Call({.id = MessageId::kChannel, .max_fds = 2}));
  ASSIGN_OR_RETURN(const ChannelResp place, DecodeReply<ChannelResp>(reply));
  if (reply.num_fds != 2) return Errno(EBADMSG);
  return ChannelGrant{
      .place = place, .memory = std::move(reply.fds[0]), .fd_socket = std::move(reply.fds[1])};
}

ErrnoOr<Statx> Calls::FStat(FdId fd) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(const Reply reply, lease.CallFixed(MessageId::kFStat, StatReq{.fd = fd}));
  return DecodeReply<Statx>(reply);
}

ErrnoOr<SetStatResp> Calls::SetStat(const SetStatReq& request) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(const Reply reply, lease.CallFixed(MessageId::kSetStat, request));
  return DecodeReply<SetStatResp>(reply);
}

ErrnoOr<StatFS> Calls::FStatFS(FdId fd) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(const Reply reply, lease.CallFixed(MessageId::kFStatFS, StatReq{.fd = fd}));
  return DecodeReply<StatFS>(reply);
}

ErrnoOr<WalkResult> Calls::Walk(FdId dir, Names path, std::span<Inode> inodes) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeWalkReq(dir, Span(path), lease.writer());
  ASSIGN_OR_RETURN(const Reply reply, lease.Call({.id = MessageId::kWalk}));
  ByteReader reader("Walk reply", reply.payload);
  const WalkRespFixed fixed = reader.Read<WalkRespFixed>();
  ASSIGN_OR_RETURN(const size_t count, CopyArray(reader, fixed.num_inodes, inodes));
  return WalkResult{.status = fixed.status, .count = count};
}

ErrnoOr<size_t> Calls::WalkStat(FdId dir, Names path, std::span<Statx> stats) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeWalkReq(dir, Span(path), lease.writer());
  ASSIGN_OR_RETURN(const Reply reply, lease.Call({.id = MessageId::kWalkStat}));
  ByteReader reader("WalkStat reply", reply.payload);
  const size_t count = reader.Read<uint16_t>();
  return CopyArray(reader, count, stats);
}

ErrnoOr<OpenResult> Calls::OpenAt(FdId file, uint32_t flags) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(
      Reply reply,
      lease.CallFixed(MessageId::kOpenAt, OpenAtReq{.fd = file, .flags = flags, .pad = 0}, 1));
  ASSIGN_OR_RETURN(const OpenAtResp open, DecodeReply<OpenAtResp>(reply));
  return OpenResult{.fd = open.open_fd, .host_fd = std::move(reply.fds[0])};
}

ErrnoOr<CreateResult> Calls::OpenCreateAt(FdId dir, absl::string_view name, uint16_t mode,
                                          Owner owner, uint32_t flags) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(OpenCreateAtReq{.fixed = {.create_common = Common(dir, mode, owner), .flags = flags},
                              .name = name},
              lease.writer());
  ASSIGN_OR_RETURN(Reply reply, lease.Call({.id = MessageId::kOpenCreateAt, .max_fds = 1}));
  ASSIGN_OR_RETURN(const OpenCreateAtResp created, DecodeReply<OpenCreateAtResp>(reply));
  return CreateResult{
      .child = created.child, .fd = created.open_fd, .host_fd = std::move(reply.fds[0])};
}

ErrnoOr<void> Calls::Close(absl::Span<const FdId> fds) const {
  Lease lease(client_->AcquireWay(way_));
  WriteFdIds(std::span(fds.data(), fds.size()), lease.writer());
  return Empty(lease.Call({.id = MessageId::kClose}));
}

ErrnoOr<void> Calls::Flush(FdId file) const {
  Lease lease(client_->AcquireWay(way_));
  return Empty(lease.CallFixed(MessageId::kFlush, StatReq{.fd = file}));
}

ErrnoOr<size_t> Calls::PWrite(FdId file, std::span<const std::byte> data, uint64_t offset) const {
  Lease lease(client_->AcquireWay(way_));
  lease.writer().Write(PWriteReqFixed{
      .offset = offset, .fd = file, .num_bytes = static_cast<uint32_t>(data.size())});
  ASSIGN_OR_RETURN(const Reply reply, lease.Call({.id = MessageId::kPWrite, .data = data}));
  ASSIGN_OR_RETURN(const PWriteResp written, DecodeReply<PWriteResp>(reply));
  // A count above what was asked for would have the caller skip data that was never written.
  if (written.count > data.size()) return Errno(EBADMSG);
  return size_t{written.count};
}

ErrnoOr<size_t> Calls::PRead(FdId file, std::span<std::byte> to, uint64_t offset) const {
  Lease lease(client_->AcquireWay(way_));
  lease.writer().Write(
      PReadReq{.offset = offset, .fd = file, .count = static_cast<uint32_t>(to.size()), .pad = 0});
  ASSIGN_OR_RETURN(const Reply reply, lease.Call({.id = MessageId::kPRead,
                                                  .reply_head = sizeof(PReadRespFixed),
                                                  .reply_data = to}));
  ASSIGN_OR_RETURN(const PReadRespFixed read, DecodeReply<PReadRespFixed>(reply));
  if (read.num_bytes != reply.data_size) return Errno(EBADMSG);
  return reply.data_size;
}

ErrnoOr<void> Calls::FSync(absl::Span<const FdId> fds) const {
  Lease lease(client_->AcquireWay(way_));
  WriteFdIds(std::span(fds.data(), fds.size()), lease.writer());
  return Empty(lease.Call({.id = MessageId::kFSync}));
}

ErrnoOr<void> Calls::FAllocate(FdId file, uint64_t mode, uint64_t offset, uint64_t length) const {
  Lease lease(client_->AcquireWay(way_));
  return Empty(
      lease.CallFixed(MessageId::kFAllocate,
                      FAllocateReq{.fd = file, .mode = mode, .offset = offset, .length = length}));
}

ErrnoOr<Inode> Calls::MkdirAt(FdId dir, absl::string_view name, uint16_t mode, Owner owner) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(MkdirAtReq{.fixed = Common(dir, mode, owner), .name = name}, lease.writer());
  return NewInode(lease.Call({.id = MessageId::kMkdirAt}));
}

ErrnoOr<Inode> Calls::MknodAt(FdId dir, absl::string_view name, uint16_t mode, Owner owner,
                              uint32_t minor, uint32_t major) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(
      MknodAtReq{
          .fixed = {.create_common = Common(dir, mode, owner), .minor = minor, .major = major},
          .name = name},
      lease.writer());
  return NewInode(lease.Call({.id = MessageId::kMknodAt}));
}

ErrnoOr<Inode> Calls::SymlinkAt(FdId dir, absl::string_view name, absl::string_view target,
                                Owner owner) const {
  Lease lease(client_->AcquireWay(way_));
  EncodePair(SymlinkAtReq{.fixed = {.dir_fd = dir, .uid = owner.uid, .gid = owner.gid},
                          .first = name,
                          .second = target},
             lease.writer());
  return NewInode(lease.Call({.id = MessageId::kSymlinkAt}));
}

ErrnoOr<Inode> Calls::LinkAt(FdId dir, FdId target, absl::string_view name) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(LinkAtReq{.fixed = {.dir_fd = dir, .target_fd = target}, .name = name},
              lease.writer());
  return NewInode(lease.Call({.id = MessageId::kLinkAt}));
}

ErrnoOr<std::string> Calls::ReadLinkAt(FdId link) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(const Reply reply, lease.CallFixed(MessageId::kReadLinkAt, StatReq{.fd = link}));
  return Sensible(DecodeStringResp("ReadLinkAt reply", reply.payload));
}

ErrnoOr<void> Calls::UnlinkAt(FdId dir, absl::string_view name, uint32_t flags) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(UnlinkAtReq{.fixed = {.dir_fd = dir, .flags = flags}, .name = name}, lease.writer());
  return Empty(lease.Call({.id = MessageId::kUnlinkAt}));
}

ErrnoOr<void> Calls::RenameAt(FdId old_dir, absl::string_view old_name, FdId new_dir,
                              absl::string_view new_name) const {
  Lease lease(client_->AcquireWay(way_));
  EncodePair(
      RenameAtReq{
          .fixed = {.old_dir = old_dir, .new_dir = new_dir}, .first = old_name, .second = new_name},
      lease.writer());
  return Empty(lease.Call({.id = MessageId::kRenameAt}));
}

ErrnoOr<void> Calls::RenameAt2(FdId old_dir, absl::string_view old_name, FdId new_dir,
                               absl::string_view new_name, uint32_t flags) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeRenameAt2Req({.rename = {.fixed = {.old_dir = old_dir, .new_dir = new_dir},
                                 .first = old_name,
                                 .second = new_name},
                      .flags = flags},
                     lease.writer());
  return Empty(lease.Call({.id = MessageId::kRenameAt2}));
}

ErrnoOr<size_t> Calls::Getdents64(FdId dir, int32_t count,
                                  absl::FunctionRef<void(const DirentView&)> visit) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(const Reply reply,
                   lease.CallFixed(MessageId::kGetdents64,
                                   Getdents64Req{.dir_fd = dir, .count = count, .pad = 0}));
  ByteReader reader("Getdents64 reply", reply.payload);
  const size_t entries = reader.Read<uint16_t>();
  for (size_t i = 0; i < entries && reader.ok(); ++i) {
    DirentView entry;
    entry.fixed = reader.Read<Dirent64Fixed>();
    entry.name = reader.ReadBytes(entry.fixed.name_len);
    if (reader.ok()) visit(entry);
  }
  if (!reader.ok()) return Errno(EBADMSG);
  return entries;
}

ErrnoOr<std::vector<Dirent>> Calls::Getdents64(FdId dir, int32_t count) const {
  std::vector<Dirent> dirents;
  RETURN_IF_ERROR(Getdents64(dir, count, [&dirents](const DirentView& entry) {
    dirents.push_back({.ino = entry.fixed.ino,
                       .dev_minor = entry.fixed.dev_minor,
                       .dev_major = entry.fixed.dev_major,
                       .off = entry.fixed.off,
                       .type = entry.fixed.type,
                       .name = std::string(entry.name)});
  }));
  return dirents;
}

ErrnoOr<std::string> Calls::FGetXattr(FdId file, absl::string_view name, uint32_t size) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(FGetXattrReq{.fixed = {.fd = file, .buf_size = size}, .name = name}, lease.writer());
  ASSIGN_OR_RETURN(const Reply reply, lease.Call({.id = MessageId::kFGetXattr}));
  return Sensible(DecodeStringResp("FGetXattr reply", reply.payload));
}

ErrnoOr<void> Calls::FSetXattr(FdId file, absl::string_view name, absl::string_view value,
                               uint32_t flags) const {
  Lease lease(client_->AcquireWay(way_));
  EncodePair(FSetXattrReq{.fixed = {.fd = file, .flags = flags}, .first = name, .second = value},
             lease.writer());
  return Empty(lease.Call({.id = MessageId::kFSetXattr}));
}

ErrnoOr<std::vector<std::string>> Calls::FListXattr(FdId file, uint64_t size) const {
  Lease lease(client_->AcquireWay(way_));
  ASSIGN_OR_RETURN(const Reply reply, lease.CallFixed(MessageId::kFListXattr,
                                                      FListXattrReq{.fd = file, .size = size}));
  return Sensible(DecodeStringArrayResp(reply.payload));
}

ErrnoOr<void> Calls::FRemoveXattr(FdId file, absl::string_view name) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(FRemoveXattrReq{.fixed = {.fd = file}, .name = name}, lease.writer());
  return Empty(lease.Call({.id = MessageId::kFRemoveXattr}));
}

ErrnoOr<UniqueFd> Calls::Connect(FdId file, uint32_t type) const {
  Lease lease(client_->AcquireWay(way_));
  return RequiredFd(
      lease.CallFixed(MessageId::kConnect, ConnectReq{.fd = file, .sock_type = type, .pad = 0}, 1));
}

ErrnoOr<UniqueFd> Calls::ConnectWithCreds(FdId file, uint32_t type, Owner creds) const {
  Lease lease(client_->AcquireWay(way_));
  return RequiredFd(lease.CallFixed(
      MessageId::kConnectWithCreds,
      ConnectWithCredsReq{
          .fd = file, .sock_type = type, .pad = 0, .uid = creds.uid, .gid = creds.gid},
      1));
}

ErrnoOr<BindResult> Calls::BindAt(FdId dir, absl::string_view name, uint32_t type, uint16_t mode,
                                  Owner owner) const {
  Lease lease(client_->AcquireWay(way_));
  EncodeNamed(BindAtReq{.fixed = {.create_common = Common(dir, mode, owner), .sock_type = type},
                        .name = name},
              lease.writer());
  ASSIGN_OR_RETURN(Reply reply, lease.Call({.id = MessageId::kBindAt, .max_fds = 1}));
  ASSIGN_OR_RETURN(const BindAtResp bound, DecodeReply<BindAtResp>(reply));
  ASSIGN_OR_RETURN(UniqueFd socket, RequiredFd(std::move(reply)));
  return BindResult{.child = bound.child, .fd = bound.bound_socket_fd, .socket = std::move(socket)};
}

ErrnoOr<void> Calls::Listen(FdId socket, int32_t backlog) const {
  Lease lease(client_->AcquireWay(way_));
  return Empty(
      lease.CallFixed(MessageId::kListen, ListenReq{.fd = socket, .backlog = backlog, .pad = 0}));
}

ErrnoOr<UniqueFd> Calls::Accept(FdId socket) const {
  Lease lease(client_->AcquireWay(way_));
  return RequiredFd(lease.CallFixed(MessageId::kAccept, StatReq{.fd = socket}, 1));
}

ErrnoOr<RawReply> Calls::Raw(MessageId id, std::span<const std::byte> payload) const {
  Lease lease(client_->AcquireWay(way_));
  Exchange exchange = {.id = id, .data = payload, .max_fds = gofer::sys::kMaxDonatedFds};
  ASSIGN_OR_RETURN(Reply reply, lease.CallRaw(exchange));
  RawReply raw = {.id = reply.id,
                  .payload = std::string(reinterpret_cast<const char*>(reply.payload.data()),
                                         reply.payload.size()),
                  .fds = {}};
  for (size_t i = 0; i < reply.num_fds; ++i) raw.fds.push_back(std::move(reply.fds[i]));
  return raw;
}

ErrnoOr<RawReply> Calls::Raw(MessageId id, absl::string_view payload) const {
  return Raw(id, std::as_bytes(std::span(payload.data(), payload.size())));
}

Client::Client(UniqueFd socket) : Calls(this, nullptr), socket_(std::move(socket)) {}

Client::~Client() {
  ShutDown();
  std::optional<std::thread> watcher;
  {
    absl::MutexLock lock(&channels_mu_);
    watcher.swap(watcher_);
  }
  if (watcher.has_value()) watcher->join();
}

void Client::ShutDown() { socket_.ShutDown(); }

ErrnoOr<size_t> Client::OpenChannel() {
  ASSIGN_OR_RETURN(ChannelGrant grant, RequestChannel());
  return OpenChannel(std::move(grant));
}

ErrnoOr<size_t> Client::OpenChannel(ChannelGrant grant) {
  ASSIGN_OR_RETURN(std::unique_ptr<ChannelWay> opened, ChannelWay::Map(std::move(grant)));
  ChannelWay& channel = *opened;
  channel.Acquire();  // nobody picks it before the handshake is done
  size_t index;
  {
    absl::MutexLock lock(&channels_mu_);
    if (hung_up_) return Errno(ESHUTDOWN);
    index = num_channels_.load(std::memory_order_relaxed);
    if (index == channels_.size()) return Errno(ENOMEM);
    channels_[index] = std::move(opened);
    num_channels_.store(index + 1, std::memory_order_release);
    if (!watcher_.has_value()) watcher_.emplace([this] { Watch(); });
  }
  const ErrnoOr<void> greeted = channel.Handshake();
  channel.Release();
  if (!greeted.ok()) return greeted.error();
  return index;
}

void Client::Watch() {
  gofer::sys::WaitForHangup(socket_.fd());
  absl::MutexLock lock(&channels_mu_);
  hung_up_ = true;
  for (size_t i = 0; i < num_channels(); ++i) channels_[i]->ShutDown();
}

Way& Client::AcquireWay(Way* wanted) {
  if (wanted == nullptr) {
    const size_t count = num_channels();
    for (size_t i = 0; i < count; ++i) {
      if (channels_[i]->alive() && channels_[i]->TryAcquire()) return *channels_[i];
    }
    wanted = &socket_;
  }
  wanted->Acquire();
  return *wanted;
}

}  // namespace lisafs
