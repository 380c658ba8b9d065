// OPEN, OPENDIR, CREATE, TMPFILE, FLUSH, RELEASE, RELEASEDIR.

#include <fcntl.h>
#include <sys/stat.h>

#include "fuse/session/creation.h"
#include "fuse/session/ops.h"

namespace gofer::fuse {
namespace {

// What of open(2)'s flags reaches the host. The others are the client's own business (O_APPEND,
// since its writes say whether they append), or mean something else in a reopen (O_CREAT, O_EXCL,
// O_PATH, O_TMPFILE).
int HostFlags(const Connection& connection, uint32_t flags) {
  const SessionOptions& options = connection.options();
  uint32_t kept = O_ACCMODE | O_TRUNC | O_DSYNC | O_SYNC | O_NONBLOCK | O_DIRECTORY;
  if (options.allow_direct_io) kept |= O_DIRECT;
  if (options.preserve_noatime) kept |= O_NOATIME;
  auto host = static_cast<int>(flags & kept);
  // The client reads what it will write only a part of.
  if (connection.granted().Has(init::kWritebackCache) && (host & O_ACCMODE) == O_WRONLY) {
    host = (host & ~O_ACCMODE) | O_RDWR;
  }
  return host;
}

bool Writes(uint32_t flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0; }

fs::SetIdBits SetIdBitsOf(const Connection& connection, uint32_t open_flags) {
  return (open_flags & kOpenKillSuidgid) != 0 && connection.granted().Has(init::kHandleKillprivV2)
             ? fs::SetIdBits::kDrop
             : fs::SetIdBits::kKeep;
}

// What the client may do with the open file. A directory is one that is opened as such.
OpenOut OpenReply(const Connection& connection, HandleId fh, uint32_t flags) {
  OpenOut out = {.fh = fh, .open_flags = 0, .backing_id = 0};
  if ((flags & O_DIRECTORY) != 0) {
    out.open_flags = connection.cache().dir_open;
    return out;
  }
  out.open_flags = connection.cache().file_open;
  // A FLUSH would have nothing to write back. With locks it is what ends them.
  if ((flags & O_ACCMODE) == O_RDONLY && !connection.granted().Has(init::kPosixLocks)) {
    out.open_flags |= fopen::kNoflush;
  }
  return out;
}

// Opens what is there. Opening for reading too, as writing back wants it, may be refused where
// writing alone is not.
ErrnoOr<OpenFile> OpenExisting(Connection& connection, Call& call, fs::Dentry& dentry,
                               uint32_t flags, fs::SetIdBits set_id) {
  fs::Filesystem& filesystem = connection.filesystem();
  int host_flags = HostFlags(connection, flags);
  const bool regular = dentry.type() == S_IFREG;
  if (!call.may_block() && regular) {
    if ((flags & O_TRUNC) != 0) {
      ASSIGN_OR_RETURN(const sys::Attr attr, filesystem.Stat(dentry));
      if (attr.stx_size >= kLongTruncation) return call.WouldBlock();
    }
    host_flags |= O_NONBLOCK;  // somebody on the host may have to give up a lease first
  }
  ErrnoOr<RefPtr<fs::Handle>> handle = filesystem.OpenWith(dentry, host_flags, set_id);
  if (!handle.ok() && handle.error() == EACCES && (flags & O_ACCMODE) == O_WRONLY) {
    host_flags = (host_flags & ~O_ACCMODE) | O_WRONLY;
    handle = filesystem.OpenWith(dentry, host_flags, set_id);
  }
  if (!handle.ok()) {
    if (handle.error() == EAGAIN && !call.may_block()) return call.WouldBlock();
    return handle.error();
  }
  if ((flags & O_TRUNC) != 0) RETURN_IF_ERROR(DropMappedCapability(connection, dentry));
  return OpenFile{.handle = *std::move(handle), .flags = host_flags};
}

ErrnoOr<void> OpenNode(Connection& connection, Call& call, uint32_t extra_flags) {
  ASSIGN_OR_RETURN(const OpenIn in, OrEinval(DecodeFixed<OpenIn>("OPEN", call.args)));
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  const uint32_t flags = in.flags | extra_flags;
  if (connection.options().readonly) {
    if ((flags & O_TMPFILE) == O_TMPFILE) return Errno(EINVAL);
    if (Writes(flags)) return Errno(EROFS);
  }
  ASSIGN_OR_RETURN(OpenFile file, OpenExisting(connection, call, *node, flags,
                                               SetIdBitsOf(connection, in.open_flags)));
  ASSIGN_OR_RETURN(const HandleId fh,
                   connection.handles().Add(std::move(file), call.header.nodeid));
  call.reply.Write(OpenReply(connection, fh, flags));
  return {};
}

// Whether the caller may open the file so. A client that asked for a new file has not checked its
// own permissions for one that was there.
bool MayOpen(const Call& call, const fs::Creation& caller, const sys::Attr& attr, uint32_t flags) {
  if (call.header.uid == 0) return true;
  uint32_t wanted = 0;
  if ((flags & O_ACCMODE) != O_WRONLY) wanted |= S_IROTH;
  if (Writes(flags)) wanted |= S_IWOTH;
  const bool in_group = attr.stx_gid == caller.owner.gid || attr.stx_gid == caller.group;
  const int shift = attr.stx_uid == caller.owner.uid ? 6 : in_group ? 3 : 0;
  return (wanted & ~(uint32_t{attr.stx_mode} >> shift)) == 0;
}

// Adds both to the tables, and writes the reply, or leaves nothing behind.
ErrnoOr<void> ReplyCreated(Connection& connection, Call& call, const fs::Dentry& dir,
                           fs::Entry entry, OpenFile file, uint32_t flags) {
  ASSIGN_OR_RETURN(const EntryOut out, NewEntry(connection, dir, std::move(entry)));
  const ErrnoOr<HandleId> fh = connection.handles().Add(std::move(file), out.nodeid);
  if (!fh.ok()) {
    connection.nodes().Forget(out.nodeid, 1);
    return fh.error();
  }
  call.reply.Write(CreateOut{.entry = out, .open = OpenReply(connection, *fh, flags)});
  return {};
}

// CREATE of a name that is there.
ErrnoOr<void> OpenInstead(Connection& connection, Call& call, const DirAndName& at,
                          const CreateIn& in, const fs::Creation& caller) {
  ASSIGN_OR_RETURN(fs::Entry entry, connection.filesystem().LookupUnopened(*at.dir, at.name));
  if (!MayOpen(call, caller, entry.attr, in.flags)) return Errno(EACCES);
  const RefPtr<fs::Dentry> dentry = entry.dentry;
  ASSIGN_OR_RETURN(OpenFile file, OpenExisting(connection, call, *dentry, in.flags,
                                               SetIdBitsOf(connection, in.open_flags)));
  if ((in.flags & O_TRUNC) != 0) {
    ASSIGN_OR_RETURN(entry.attr, connection.filesystem().Stat(*file.handle));
  }
  return ReplyCreated(connection, call, *at.dir, std::move(entry), std::move(file), in.flags);
}

// A read-only mount makes nothing, but says first what is there.
ErrnoOr<void> CreateReadonly(Connection& connection, Call& call, const DirAndName& at,
                             const CreateIn& in, const fs::Creation& caller) {
  const ErrnoOr<fs::Entry> entry = connection.filesystem().LookupUnopened(*at.dir, at.name);
  if (!entry.ok()) return entry.error() == ENOENT ? Errno(EROFS) : entry.error();
  if ((in.flags & O_EXCL) != 0) return Errno(EEXIST);
  if (Writes(in.flags)) return Errno(EROFS);
  return OpenInstead(connection, call, at, in, caller);
}

}  // namespace

ErrnoOr<void> OnOpen(Connection& connection, Call& call) { return OpenNode(connection, call, 0); }

ErrnoOr<void> OnOpendir(Connection& connection, Call& call) {
  return OpenNode(connection, call, O_DIRECTORY);
}

ErrnoOr<void> OnCreate(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const CreateReq<CreateIn> request,
                   OrEinval(DecodeCreate<CreateIn>("CREATE", call.args, call.header.total_extlen)));
  const CreateIn& in = request.fixed;
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, request.name));
  ASSIGN_OR_RETURN(const fs::Creation creation,
                   CreationFor(connection, call, in.mode, in.umask, request.extensions));
  if (connection.options().readonly) return CreateReadonly(connection, call, at, in, creation);
  const int flags = HostFlags(connection, in.flags) & ~(O_TRUNC | O_DIRECTORY);
  ErrnoOr<fs::OpenEntry> made =
      connection.filesystem().CreateFile(*at.dir, at.name, flags, creation);
  if (!made.ok()) {
    if (!(made.error() == EEXIST) || (in.flags & O_EXCL) != 0) return made.error();
    return OpenInstead(connection, call, at, in, creation);
  }
  RETURN_IF_ERROR(Label(connection, request.extensions, *made->entry.dentry, *at.dir, &at.name, 0));
  return ReplyCreated(connection, call, *at.dir, std::move(made->entry),
                      {.handle = std::move(made->handle), .flags = flags}, in.flags);
}

ErrnoOr<void> OnTmpfile(Connection& connection, Call& call) {
  // The name is "/" and means nothing.
  ASSIGN_OR_RETURN(
      const CreateReq<CreateIn> request,
      OrEinval(DecodeCreate<CreateIn>("TMPFILE", call.args, call.header.total_extlen)));
  const CreateIn& in = request.fixed;
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> dir, NodeOf(connection, call));
  if (!dir->is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const fs::Creation creation,
                   CreationFor(connection, call, in.mode, in.umask, request.extensions));
  const int flags = HostFlags(connection, in.flags) & ~(O_TRUNC | O_DIRECTORY);
  ErrnoOr<fs::OpenEntry> made = connection.filesystem().CreateUnnamed(
      *dir, flags | static_cast<int>(in.flags & O_EXCL), creation);
  // How an old kernel says that a file system cannot.
  if (!made.ok()) return made.error() == EISDIR ? Errno(EOPNOTSUPP) : made.error();
  RETURN_IF_ERROR(Label(connection, request.extensions, *made->entry.dentry, *dir, nullptr, 0));
  return ReplyCreated(connection, call, *dir, std::move(made->entry),
                      {.handle = std::move(made->handle), .flags = flags}, in.flags);
}

ErrnoOr<void> OnFlush(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FlushIn in, OrEinval(DecodeFixed<FlushIn>("FLUSH", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  connection.ReleaseLocks(file.handle->dentry(), in.lock_owner);
  if (!file.handle->writable() || connection.ClosesQuietly(file.handle->dentry())) return {};
  if (!call.may_block()) return call.WouldBlock();
  return connection.filesystem().Flush(*file.handle);
}

ErrnoOr<void> OnRelease(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const ReleaseIn in, OrEinval(DecodeFixed<ReleaseIn>("RELEASE", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, connection.handles().Remove(in.fh, call.header.nodeid));
  if ((in.release_flags & kReleaseFlush) != 0) {
    connection.ReleaseLocks(file.handle->dentry(), in.lock_owner);
  }
  if (connection.granted().Has(init::kFlockLocks)) {
    connection.waiter().Cancel([&](const LockWaiter::Waiting& waiting) {
      return waiting.flock && waiting.handle == file.handle;
    });
    connection.waiter().Kick();
  }
  return {};
}

}  // namespace gofer::fuse
