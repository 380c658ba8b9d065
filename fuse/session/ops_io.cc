// READ, WRITE, FSYNC, FSYNCDIR, FALLOCATE, LSEEK, COPY_FILE_RANGE, SYNCFS.

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>

#include "fuse/session/ops.h"

namespace gofer::fuse {
namespace {

// What is written to the page cache at once; more is for a worker, as it may have to wait for
// pages to be written back.
constexpr uint32_t kMaxInlineWrite = 128 * 1024;

constexpr uint32_t kFallocateModes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
                                     FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
                                     FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;

}  // namespace

ErrnoOr<void> OnRead(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const ReadIn in, OrEinval(DecodeFixed<ReadIn>("READ", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  if (in.size > kMaxData || !call.reply.HasRoomFor(in.size)) return Errno(ENOMEM);
  // Without waiting only the page cache can be read.
  if (!call.may_block() && (file.flags & O_DIRECT) != 0) return call.WouldBlock();
  // The data goes from the host file straight to its place behind the header. All of it, as less is
  // the end of the file to the client.
  while (call.reply.size() < in.size) {
    const Buffers::Taken to = call.reply.Slice(in.size - call.reply.size(), call.iovecs());
    const ErrnoOr<size_t> size = connection.filesystem().ReadV(
        *file.handle, to.iovecs, in.offset + call.reply.size(), call.may_block());
    if (!size.ok()) {
      if (size.error() == EAGAIN && !call.may_block()) return call.WouldBlock();
      return size.error();
    }
    call.reply.Advance(*size);
    if (*size < to.size) break;
  }
  return {};
}

ErrnoOr<void> OnWrite(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const WriteIn in, OrEinval(DecodeFixed<WriteIn>("WRITE", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  if (in.size > kMaxData || in.size > call.data_size) return Errno(EINVAL);
  if (!call.may_block() &&
      (in.size > kMaxInlineWrite || (file.flags & (O_DIRECT | O_DSYNC | O_SYNC)) != 0)) {
    return call.WouldBlock();
  }
  RETURN_IF_ERROR(DropMappedCapability(connection, file.handle->dentry()));
  // What the client writes back from its cache it has placed already.
  const bool append = (in.flags & O_APPEND) != 0 && (in.write_flags & kWriteCache) == 0;
  const fs::SetIdBits set_id =
      (in.write_flags & kWriteKillSuidgid) != 0 ? fs::SetIdBits::kDrop : fs::SetIdBits::kKeep;
  uint32_t done = 0;
  while (done < in.size) {
    const Buffers::Taken from = call.data.Slice(in.size - done, call.iovecs());
    const ErrnoOr<size_t> size =
        connection.filesystem().WriteV(*file.handle, from.iovecs, in.offset + done, append, set_id);
    // What was written counts, and the client will meet the error when it goes on.
    if (!size.ok() && done == 0) return size.error();
    if (!size.ok()) break;
    done += static_cast<uint32_t>(*size);
    if (*size < from.size) break;
  }
  call.reply.Write(WriteOut{.size = done, .padding = 0});
  return {};
}

ErrnoOr<void> OnFsync(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FsyncIn in, OrEinval(DecodeFixed<FsyncIn>("FSYNC", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  if ((in.fsync_flags & kFsyncFdatasync) != 0) {
    return connection.filesystem().SyncData(*file.handle);
  }
  return connection.filesystem().Sync(*file.handle);
}

ErrnoOr<void> OnFallocate(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FallocateIn in,
                   OrEinval(DecodeFixed<FallocateIn>("FALLOCATE", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  if ((in.mode & ~kFallocateModes) != 0) return Errno(EOPNOTSUPP);
  RETURN_IF_ERROR(DropMappedCapability(connection, file.handle->dentry()));
  return connection.filesystem().Allocate(*file.handle, static_cast<int>(in.mode), in.offset,
                                          in.length);
}

ErrnoOr<void> OnLseek(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const LseekIn in, OrEinval(DecodeFixed<LseekIn>("LSEEK", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  if (in.whence > SEEK_HOLE) return Errno(EINVAL);
  ASSIGN_OR_RETURN(
      const uint64_t offset,
      connection.filesystem().Seek(*file.handle, in.offset, static_cast<int>(in.whence)));
  call.reply.Write(LseekOut{offset});
  return {};
}

ErrnoOr<void> OnCopyFileRange(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const CopyFileRangeIn in,
                   OrEinval(DecodeFixed<CopyFileRangeIn>("COPY_FILE_RANGE", call.args)));
  ASSIGN_OR_RETURN(const OpenFile from, FileOf(connection, call, in.fh_in));
  ASSIGN_OR_RETURN(const OpenFile to, connection.handles().Find(in.fh_out, in.nodeid_out));
  if (in.flags != 0) return Errno(EINVAL);
  RETURN_IF_ERROR(DropMappedCapability(connection, to.handle->dentry()));
  ASSIGN_OR_RETURN(const size_t size, connection.filesystem().CopyRange(
                                          *from.handle, in.off_in, *to.handle, in.off_out, in.len));
  call.reply.Write(WriteOut{.size = static_cast<uint32_t>(size), .padding = 0});
  return {};
}

ErrnoOr<void> OnSyncfs(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  ErrnoOr<void> first_error = connection.filesystem().SyncFs(*node);
  // A client that has been told of mounts asks for each. Another means all of them.
  const bool told =
      connection.options().announce_submounts && connection.granted().Has(init::kSubmounts);
  if (told || call.header.nodeid != NodeId::kRoot) return first_error;
  for (const RefPtr<fs::Dentry>& other : connection.nodes().OnePerMount()) {
    if (other->inode().key().mnt_id == node->inode().key().mnt_id) continue;
    const ErrnoOr<void> result = connection.filesystem().SyncFs(*other);
    if (first_error.ok()) first_error = result;
  }
  return first_error;
}

}  // namespace gofer::fuse
