// FuseClient: what the guest kernel's virtio-fs driver does, as typed calls: one after the other,
// or many in flight at once.
//
//   FuseClient client(machine.get());
//   ASSIGN_OR_RETURN(InitOut granted, client.Init());
//   ASSIGN_OR_RETURN(EntryOut etc, client.Lookup(NodeId::kRoot, "etc"));
//
//   Slot* slot = client.Acquire();                    // null: `depth` requests are in flight
//   slot->Arguments().Write(GetattrIn{});
//   client.Submit(*slot, Opcode::kGetattr, etc.nodeid, {.result = sizeof(AttrOut)});
//   ASSIGN_OR_RETURN(Slot* done, client.Next());      // whichever ends first
//   client.Release(*done);
//
// Requests are laid out as Linux lays them out: header, arguments and each page of data are
// descriptors of their own, and no two pages of a request are neighbours. Names go as they are:
// what is wrong with them is the server's to say.
//
// Owner:   a Machine that is started; buffers are in its memory and never given back.
// Threads: one for each client; clients of several queues of one machine run in parallel, but only
//          one of them may use the high priority queue (Forget).
// Errors:  the errno of the reply. EBADMSG: a reply that Linux would not take, or that makes no
//          sense (the log says what). ETIMEDOUT, ESHUTDOWN as DriverQueue::Wait.
// Memory:  Acquire, Submit, Next and Release allocate nothing.
// Source:  linux fs/fuse/virtio_fs.c and dev.c; spec/fuse.md; spec/vhost-user-fs.md s.19.

#ifndef VHOST_DRIVER_FUSE_CLIENT_H_
#define VHOST_DRIVER_FUSE_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gofer/base/byte_reader.h"
#include "gofer/base/byte_writer.h"
#include "gofer/base/errno.h"
#include "vhost/driver/driver_queue.h"
#include "vhost/driver/machine.h"

namespace gofer::vhost::driver {

// What Linux 6.12 offers over virtio-fs; without DAX.
inline constexpr uint64_t kLinuxInitFlags =
    fuse::init::kAsyncRead | fuse::init::kPosixLocks | fuse::init::kAtomicOTrunc |
    fuse::init::kExportSupport | fuse::init::kBigWrites | fuse::init::kDontMask |
    fuse::init::kFlockLocks | fuse::init::kHasIoctlDir | fuse::init::kAutoInvalData |
    fuse::init::kDoReaddirplus | fuse::init::kReaddirplusAuto | fuse::init::kAsyncDio |
    fuse::init::kWritebackCache | fuse::init::kNoOpenSupport | fuse::init::kParallelDirops |
    fuse::init::kHandleKillpriv | fuse::init::kPosixAcl | fuse::init::kAbortError |
    fuse::init::kMaxPages | fuse::init::kCacheSymlinks | fuse::init::kNoOpendirSupport |
    fuse::init::kExplicitInvalData | fuse::init::kSubmounts | fuse::init::kHandleKillprivV2 |
    fuse::init::kSetxattrExt | fuse::init::kExt | fuse::init::kSecurityCtx |
    fuse::init::kCreateSuppGroup | fuse::init::kHasExpireOnly | fuse::init::kDirectIoAllowMmap |
    fuse::init::kNoExportSupport | fuse::init::kHasResend | fuse::init::kAllowIdmap;

struct FuseClientOptions {
  size_t queue = 1;
  size_t depth = 1;
  // Of one request: what it brings or takes as pages.
  size_t data_bytes = fuse::kMaxData;
  // Who asks.
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t pid = 1;
  // For a reply. A host that flushes its disks, or has more to do than it can, takes its time.
  absl::Duration patience = absl::Seconds(60);
  // How long to look for a reply before going to sleep until the device calls.
  absl::Duration spin = absl::ZeroDuration();
};

// How many bytes of each kind a request has, behind its headers.
struct Shape {
  size_t data_in = 0;   // pages that the server reads
  size_t result = 0;    // the fixed part of the reply
  size_t data_out = 0;  // pages that the server writes
  // FORGET has no reply, not even a header.
  bool reply = true;
};

// A request in the making, in flight, or answered. The client's.
class Slot {
 public:
  // Where the arguments are written; what is in the writer when Submit is called is sent.
  ByteWriter& Arguments() {
    arguments_ = ByteWriter(std::span(args_.host, args_.size));
    return arguments_;
  }
  // The pages, as one run of bytes.
  void WriteData(std::span<const std::byte> from);
  void ReadData(std::span<std::byte> to, size_t offset = 0) const;

  // ---- of an answered one

  // 0, or the reply's errno.
  int error() const { return error_; }
  // The bytes of the reply behind its header: those of the fixed part, and those in the pages.
  size_t result_bytes() const { return result_bytes_; }
  size_t data_bytes() const { return data_bytes_; }
  template <WireStruct T>
  T Result() const {
    T value = {};
    std::memcpy(&value, result_.host, sizeof(T) < result_bytes_ ? sizeof(T) : result_bytes_);
    return value;
  }
  absl::string_view ResultText() const {
    return {reinterpret_cast<const char*>(result_.host), result_bytes_};
  }

  // The caller's: to know it again.
  uint64_t tag = 0;
  uint64_t begin_ns = 0;

 private:
  friend class FuseClient;
  Slot() : arguments_({}) {}

  RamBlock header_;
  RamBlock args_;
  RamBlock out_header_;
  RamBlock result_;
  std::vector<RamBlock> pages_;
  ByteWriter arguments_;
  Shape shape_;
  uint64_t unique_ = 0;
  int error_ = 0;
  size_t result_bytes_ = 0;
  size_t data_bytes_ = 0;
};

// A record of READDIR or READDIRPLUS; for the first, entry is empty. Good until the callback ends.
struct DirentView {
  fuse::EntryOut entry;
  fuse::Dirent fixed;
  absl::string_view name;
};

// The arguments of INIT.
struct InitRequest {
  uint32_t major = fuse::kMajor;
  uint32_t minor = fuse::kMinor;
  uint32_t max_readahead = 128 << 10;
  uint64_t flags = kLinuxInitFlags;
};

class FuseClient {
 public:
  explicit FuseClient(Machine* machine, const FuseClientOptions& options = {});
  FuseClient(const FuseClient&) = delete;
  FuseClient& operator=(const FuseClient&) = delete;

  // ---- many at once

  Slot* Acquire();
  // Sends it and wakes the device if it wants that.
  void Submit(Slot& slot, fuse::Opcode opcode, fuse::NodeId node, const Shape& shape);
  // The next that is answered. EBADMSG leaves the client unusable.
  ErrnoOr<Slot*> Next();
  void Release(Slot& slot) { free_.push_back(&slot); }
  size_t in_flight() const { return queue_.in_flight(); }

  // ---- one at a time

  ErrnoOr<fuse::InitOut> Init(const InitRequest& request = {});
  // After Machine::Reboot: what was in flight never comes back, and nothing is known. Init follows.
  void Reset();
  ErrnoOr<void> Destroy();

  ErrnoOr<fuse::EntryOut> Lookup(fuse::NodeId parent, absl::string_view name);
  // Over the high priority queue, as Linux sends it; waits until the device has taken it.
  ErrnoOr<void> Forget(fuse::NodeId node, uint64_t count);
  // Over the request queue: Linux has it, but not over virtio-fs.
  ErrnoOr<void> BatchForget(std::span<const fuse::ForgetOne> nodes);
  // Everything that this client has looked up and not yet forgotten.
  ErrnoOr<void> ForgetAll();

  ErrnoOr<fuse::AttrOut> Getattr(fuse::NodeId node, fuse::HandleId fh = fuse::HandleId::kNone);
  ErrnoOr<fuse::AttrOut> Setattr(fuse::NodeId node, const fuse::SetattrIn& in);
  ErrnoOr<fuse::StatxOut> Statx(fuse::NodeId node, const fuse::StatxIn& in);
  ErrnoOr<void> Access(fuse::NodeId node, uint32_t mask);
  ErrnoOr<std::string> Readlink(fuse::NodeId node);
  ErrnoOr<fuse::KStatfs> Statfs(fuse::NodeId node);

  ErrnoOr<fuse::EntryOut> Symlink(fuse::NodeId parent, absl::string_view name,
                                  absl::string_view target);
  ErrnoOr<fuse::EntryOut> Mknod(fuse::NodeId parent, absl::string_view name, uint32_t mode,
                                uint32_t rdev = 0);
  ErrnoOr<fuse::EntryOut> Mkdir(fuse::NodeId parent, absl::string_view name, uint32_t mode);
  ErrnoOr<fuse::EntryOut> Link(fuse::NodeId node, fuse::NodeId parent, absl::string_view name);
  ErrnoOr<void> Unlink(fuse::NodeId parent, absl::string_view name);
  ErrnoOr<void> Rmdir(fuse::NodeId parent, absl::string_view name);
  ErrnoOr<void> Rename(fuse::NodeId parent, absl::string_view name, fuse::NodeId new_parent,
                       absl::string_view new_name);
  ErrnoOr<void> Rename2(fuse::NodeId parent, absl::string_view name, fuse::NodeId new_parent,
                        absl::string_view new_name, uint32_t flags);

  ErrnoOr<fuse::OpenOut> Open(fuse::NodeId node, uint32_t flags);
  ErrnoOr<fuse::CreateOut> Create(fuse::NodeId parent, absl::string_view name, uint32_t flags,
                                  uint32_t mode);
  ErrnoOr<fuse::CreateOut> Tmpfile(fuse::NodeId parent, uint32_t flags, uint32_t mode);
  ErrnoOr<void> Release(fuse::NodeId node, fuse::HandleId fh);
  ErrnoOr<void> Flush(fuse::NodeId node, fuse::HandleId fh);
  ErrnoOr<void> Fsync(fuse::NodeId node, fuse::HandleId fh, bool data_only);
  // Fewer bytes than asked for only at the end of the file. At most data_bytes at once.
  ErrnoOr<std::string> Read(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, size_t size);
  ErrnoOr<size_t> Write(fuse::NodeId node, fuse::HandleId fh, uint64_t offset,
                        absl::string_view data, uint32_t write_flags = 0);
  ErrnoOr<void> Fallocate(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, uint64_t length,
                          uint32_t mode);
  ErrnoOr<uint64_t> Lseek(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, uint32_t whence);
  ErrnoOr<size_t> CopyFileRange(fuse::NodeId node, const fuse::CopyFileRangeIn& in);
  // GETLK; SETLK and SETLKW.
  ErrnoOr<fuse::FileLock> Getlk(fuse::NodeId node, const fuse::LkIn& in);
  ErrnoOr<void> Setlk(fuse::NodeId node, const fuse::LkIn& in, bool wait);

  ErrnoOr<fuse::OpenOut> Opendir(fuse::NodeId node, uint32_t flags = 0);
  ErrnoOr<void> Releasedir(fuse::NodeId node, fuse::HandleId fh);
  // One reply of at most `size` bytes; the number of records. `visit` must not call this client.
  ErrnoOr<size_t> Readdir(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, size_t size,
                          absl::FunctionRef<void(const DirentView&)> visit);
  ErrnoOr<size_t> Readdirplus(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, size_t size,
                              absl::FunctionRef<void(const DirentView&)> visit);

  // The value, or with `size` 0 nothing but its size.
  ErrnoOr<std::string> Getxattr(fuse::NodeId node, absl::string_view name, uint32_t size);
  ErrnoOr<uint32_t> GetxattrSize(fuse::NodeId node, absl::string_view name);
  ErrnoOr<std::string> Listxattr(fuse::NodeId node, uint32_t size);
  ErrnoOr<void> Setxattr(fuse::NodeId node, absl::string_view name, absl::string_view value,
                         uint32_t flags);
  ErrnoOr<void> Removexattr(fuse::NodeId node, absl::string_view name);

  // Any request with any arguments, and the reply's bytes behind its header. `header` goes as it is
  // but for `unique`; its length only if it is not 0.
  struct RawReply {
    int error;
    uint32_t written;  // as the used ring says; 0: no reply
    std::string payload;
    bool wrote_beyond;  // something behind those bytes has changed
  };
  ErrnoOr<RawReply> Raw(fuse::InHeader header, absl::string_view arguments, size_t room = 8192);

  // What INIT granted.
  const fuse::InitOut& granted() const { return granted_; }
  uint64_t granted_flags() const { return granted_.flags | uint64_t{granted_.flags2} << 32; }
  // How often each node has been given to us, less what was forgotten.
  uint64_t lookups(fuse::NodeId node) const;
  size_t nodes_known() const { return lookups_.size(); }

 private:
  // A call of the typed kind: writes arguments, waits for its own reply.
  ErrnoOr<Slot*> Exchange(Slot& slot, fuse::Opcode opcode, fuse::NodeId node, const Shape& shape);
  template <typename... Parts>
  ErrnoOr<Slot*> Call(fuse::Opcode opcode, fuse::NodeId node, const Shape& shape,
                      const Parts&... parts);
  template <WireStruct Out, typename... Parts>
  ErrnoOr<Out> CallFor(fuse::Opcode opcode, fuse::NodeId node, const Parts&... parts);
  template <typename... Parts>
  ErrnoOr<void> CallForNothing(fuse::Opcode opcode, fuse::NodeId node, const Parts&... parts);
  template <typename... Parts>
  ErrnoOr<fuse::EntryOut> CallForEntry(fuse::Opcode opcode, fuse::NodeId node,
                                       const Parts&... parts);
  template <typename... Parts>
  ErrnoOr<std::string> CallForBytes(fuse::Opcode opcode, fuse::NodeId node, size_t size,
                                    const Parts&... parts);
  ErrnoOr<size_t> List(fuse::Opcode opcode, fuse::NodeId node, fuse::HandleId fh, uint64_t offset,
                       size_t size, absl::FunctionRef<void(const DirentView&)> visit);
  ErrnoOr<Slot*> Finish(const Finished& finished);
  Slot& OnlySlot();
  void Count(const fuse::EntryOut& entry);

  Machine* const machine_;
  DriverQueue& queue_;
  const FuseClientOptions options_;
  std::deque<Slot> slots_;
  std::vector<Slot*> free_;
  std::vector<Piece> pieces_;
  std::vector<std::byte> listing_;
  RamBlock forget_;
  fuse::InitOut granted_ = {};
  uint64_t next_unique_ = 2;
  absl::flat_hash_map<fuse::NodeId, uint64_t> lookups_;
};

}  // namespace gofer::vhost::driver

#endif  // VHOST_DRIVER_FUSE_CLIENT_H_
