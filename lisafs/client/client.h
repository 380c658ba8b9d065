// The client's side of LISAFS: the peer for tests, the benchmark and small tools, and a guide to
// how a sentry talks to a gofer.
//
//   Client client(std::move(socket));  // a connected AF_UNIX stream socket
//   ASSIGN_OR_RETURN(MountResult mount, client.Mount());
//   ASSIGN_OR_RETURN(size_t channel, client.OpenChannel());
//   Inode inode;
//   ASSIGN_OR_RETURN(WalkResult walk,
//                    client.Walk(mount.root.control_fd, {"etc"}, std::span(&inode, 1)));
//   client.over_channel(channel).FStat(inode.control_fd);  // this way and no other
//
// A call picks a channel that is free, else waits for the socket. Names are sent as they are: what
// is wrong with them is the server's to say.
//
// Owner:   the caller owns every descriptor and FdId that a call returns; closing the client ends
//          the connection, and the server then drops what is left.
// Threads: safe; a thread per channel runs in parallel. The destructor must be alone.
// Errors:  the errno of the server's Error reply; ESHUTDOWN when the connection or channel has
//          ended; EBADMSG for a reply that makes no sense; EMSGSIZE for a request that is too long
//          to be sent.
// Memory:  FStat, Walk, WalkStat, PRead and PWrite allocate nothing: results go into buffers of the
//          caller.
// Source:  spec/lisafs.md s.2 and s.5; field names are those of lisafs/wire.

#ifndef LISAFS_CLIENT_CLIENT_H_
#define LISAFS_CLIENT_CLIENT_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "lisafs/client/way.h"
#include "lisafs/wire/message_id.h"
#include "lisafs/wire/responses.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

class Client;

using Names = absl::Span<const absl::string_view>;

// Whom a new file belongs to.
struct Owner {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct MountResult {
  Inode root;
  uint32_t max_message_size;
  std::vector<MessageId> supported;
  gofer::UniqueFd host_fd;  // only with directfs
};

struct WalkResult {
  WalkStatus status;
  size_t count;  // Inodes written
};

struct OpenResult {
  FdId fd;
  gofer::UniqueFd host_fd;  // if the server donated one
};

struct CreateResult {
  Inode child;
  FdId fd;
  gofer::UniqueFd host_fd;
};

struct BindResult {
  Inode child;
  FdId fd;
  gofer::UniqueFd socket;
};

struct RawReply {
  MessageId id;
  std::string payload;
  std::vector<gofer::UniqueFd> fds;

  // The errno of an Error reply, 0 if it is another.
  int error() const;
};

struct DirentView {
  Dirent64Fixed fixed;
  absl::string_view name;  // until the callback returns
};

// The messages as typed calls, bound to a way in. Cheap to copy; must not outlive its Client.
class Calls {
 public:
  gofer::ErrnoOr<MountResult> Mount() const;
  // Asks for a channel's window without using it; Client::OpenChannel does the rest.
  gofer::ErrnoOr<ChannelGrant> RequestChannel() const;

  gofer::ErrnoOr<Statx> FStat(FdId fd) const;
  // What could not be set is in the reply's failure_mask, it is no error.
  gofer::ErrnoOr<SetStatResp> SetStat(const SetStatReq& request) const;
  gofer::ErrnoOr<StatFS> FStatFS(FdId fd) const;

  // `inodes` must have room for every name.
  gofer::ErrnoOr<WalkResult> Walk(FdId dir, Names path, std::span<Inode> inodes) const;
  // The number of attributes written to `stats`, which must have room for every name.
  gofer::ErrnoOr<size_t> WalkStat(FdId dir, Names path, std::span<Statx> stats) const;

  gofer::ErrnoOr<OpenResult> OpenAt(FdId file, uint32_t flags) const;
  gofer::ErrnoOr<CreateResult> OpenCreateAt(FdId dir, absl::string_view name, uint16_t mode,
                                            Owner owner, uint32_t flags) const;
  gofer::ErrnoOr<void> Close(absl::Span<const FdId> fds) const;
  gofer::ErrnoOr<void> Flush(FdId file) const;

  // Bytes written, from `offset` on. At most kMaxWriteBytes at once.
  gofer::ErrnoOr<size_t> PWrite(FdId file, std::span<const std::byte> data, uint64_t offset) const;
  // Bytes read; fewer than asked for only at the end of the file. At most kMaxReadBytes at once.
  gofer::ErrnoOr<size_t> PRead(FdId file, std::span<std::byte> to, uint64_t offset) const;
  gofer::ErrnoOr<void> FSync(absl::Span<const FdId> fds) const;
  gofer::ErrnoOr<void> FAllocate(FdId file, uint64_t mode, uint64_t offset, uint64_t length) const;

  gofer::ErrnoOr<Inode> MkdirAt(FdId dir, absl::string_view name, uint16_t mode, Owner owner) const;
  gofer::ErrnoOr<Inode> MknodAt(FdId dir, absl::string_view name, uint16_t mode, Owner owner,
                                uint32_t minor, uint32_t major) const;
  gofer::ErrnoOr<Inode> SymlinkAt(FdId dir, absl::string_view name, absl::string_view target,
                                  Owner owner) const;
  gofer::ErrnoOr<Inode> LinkAt(FdId dir, FdId target, absl::string_view name) const;
  gofer::ErrnoOr<std::string> ReadLinkAt(FdId link) const;
  gofer::ErrnoOr<void> UnlinkAt(FdId dir, absl::string_view name, uint32_t flags) const;
  gofer::ErrnoOr<void> RenameAt(FdId old_dir, absl::string_view old_name, FdId new_dir,
                                absl::string_view new_name) const;
  gofer::ErrnoOr<void> RenameAt2(FdId old_dir, absl::string_view old_name, FdId new_dir,
                                 absl::string_view new_name, uint32_t flags) const;
  // A negative count rewinds first. The first form calls `visit` for each entry and returns their
  // number; `visit` must not call this client.
  gofer::ErrnoOr<size_t> Getdents64(FdId dir, int32_t count,
                                    absl::FunctionRef<void(const DirentView&)> visit) const;
  gofer::ErrnoOr<std::vector<Dirent>> Getdents64(FdId dir, int32_t count) const;

  gofer::ErrnoOr<std::string> FGetXattr(FdId file, absl::string_view name, uint32_t size) const;
  gofer::ErrnoOr<void> FSetXattr(FdId file, absl::string_view name, absl::string_view value,
                                 uint32_t flags) const;
  gofer::ErrnoOr<std::vector<std::string>> FListXattr(FdId file, uint64_t size) const;
  gofer::ErrnoOr<void> FRemoveXattr(FdId file, absl::string_view name) const;

  gofer::ErrnoOr<gofer::UniqueFd> Connect(FdId file, uint32_t type) const;
  gofer::ErrnoOr<gofer::UniqueFd> ConnectWithCreds(FdId file, uint32_t type, Owner creds) const;
  gofer::ErrnoOr<BindResult> BindAt(FdId dir, absl::string_view name, uint32_t type, uint16_t mode,
                                    Owner owner) const;
  gofer::ErrnoOr<void> Listen(FdId socket, int32_t backlog) const;
  gofer::ErrnoOr<gofer::UniqueFd> Accept(FdId socket) const;

  // Any message with any payload, and whatever comes back, descriptors included.
  gofer::ErrnoOr<RawReply> Raw(MessageId id, std::span<const std::byte> payload) const;
  gofer::ErrnoOr<RawReply> Raw(MessageId id, absl::string_view payload) const;

 protected:
  Calls(Client* client, Way* way) : client_(client), way_(way) {}
  // way_ is null for "any that is free".
  Client* client_;
  Way* way_;

 private:
  friend class Client;
};

class Client : public Calls {
 public:
  explicit Client(gofer::UniqueFd socket);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  // Asks for a channel over any way that is free (also over another channel, as a sentry does), and
  // shakes hands. Returns its index, to be used with over_channel. ENOMEM when the server gives no
  // more.
  gofer::ErrnoOr<size_t> OpenChannel() ABSL_LOCKS_EXCLUDED(channels_mu_);
  // Takes a channel that RequestChannel gave.
  gofer::ErrnoOr<size_t> OpenChannel(ChannelGrant grant) ABSL_LOCKS_EXCLUDED(channels_mu_);
  size_t num_channels() const { return num_channels_.load(std::memory_order_acquire); }

  Calls over_socket() { return Calls(this, &socket_); }
  Calls over_channel(size_t index) { return Calls(this, channels_[index].get()); }

  // Ends the connection, as closing the main socket does.
  void ShutDown();

  // ---- for tests that break the rules
  SocketWay& socket_way() { return socket_; }
  ChannelWay& channel_way(size_t index) { return *channels_[index]; }

 private:
  friend class Calls;

  // A way for one exchange: the one wanted, or any.
  Way& AcquireWay(Way* wanted);
  void Watch() ABSL_LOCKS_EXCLUDED(channels_mu_);

  SocketWay socket_;
  absl::Mutex channels_mu_;  // one thread at a time publishes a channel
  // Slots below num_channels_ are set once and then only read.
  std::array<std::unique_ptr<ChannelWay>, kMaxChannels> channels_;
  std::atomic<size_t> num_channels_{0};
  // Shuts the channels down when the server goes: a sleeper on a futex does not notice that by
  // itself. Started with the first channel.
  std::optional<std::thread> watcher_ ABSL_GUARDED_BY(channels_mu_);
  bool hung_up_ ABSL_GUARDED_BY(channels_mu_) = false;
};

}  // namespace lisafs

#endif  // LISAFS_CLIENT_CLIENT_H_
