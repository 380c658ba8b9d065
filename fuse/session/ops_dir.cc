// READDIR, READDIRPLUS, MKDIR, MKNOD, UNLINK, RMDIR, RENAME, RENAME2.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fuse/session/creation.h"
#include "fuse/session/ops.h"
#include "fuse/wire/dirent_writer.h"

namespace gofer::fuse {
namespace {

constexpr uint32_t kRenameFlags = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

bool IsDots(absl::string_view name) { return name == "." || name == ".."; }

// What is under the name of an entry. A client that relies on what it is told for a while may be
// told what was found a moment before it asked.
ErrnoOr<fs::Entry> LookUp(Connection& connection, Call& call, fs::Handle& dir,
                          const fs::DirEntry& entry, const Name& name) {
  if (connection.cache().valid_s == 0 || !call.looks_ahead()) {
    return connection.filesystem().LookupUnopened(dir.dentry(), name);
  }
  return connection.filesystem().LookupListed(dir, entry, name, call.helpers());
}

// The part of a Direntplus that a LOOKUP would give. Whatever is wrong with one entry, it is
// listed: without a node, so that the client asks for it when it wants it.
EntryOut EntryFor(Connection& connection, Call& call, fs::Handle& dir, const fs::DirEntry& entry) {
  if (!IsDots(entry.name)) {
    if (const ErrnoOr<Name> name = Name::Parse(entry.name); name.ok()) {
      ErrnoOr<fs::Entry> found = LookUp(connection, call, dir, entry, *name);
      if (found.ok()) {
        const ErrnoOr<EntryOut> out = NewEntry(connection, dir.dentry(), *std::move(found));
        if (out.ok()) return *out;
      }
    }
  }
  EntryOut out = {};
  out.attr.ino = connection.filesystem().ClientNumberOf(entry).ino;
  out.attr.mode = uint32_t{entry.type} << 12;
  return out;
}

// Lists entries from the client's offset on; `put` writes one, or tells that it does not fit.
template <typename Put>
ErrnoOr<void> List(Connection& connection, Call& call, bool plus, const Put& put) {
  ASSIGN_OR_RETURN(const ReadIn in, OrEinval(DecodeFixed<ReadIn>("READDIR", call.args)));
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  if (!file.handle->dentry().is_directory()) return Errno(ENOTDIR);
  if (in.size > kMaxData || !call.reply.HasRoomFor(in.size)) return Errno(ENOMEM);
  if (in.size == 0) return {};
  DirentWriter writer(call.reply, in.size);
  bool too_small = false;
  const ErrnoOr<void> listed =
      connection.filesystem().ReadDirFrom(*file.handle, in.offset, [&](const fs::DirEntry& entry) {
        const Dirent dirent = {.ino = connection.filesystem().ClientNumberOf(entry).ino,
                               .off = entry.off,
                               .namelen = 0,
                               .type = entry.type};
        const bool fits = put(writer, *file.handle, entry, dirent);
        too_small = !fits && call.reply.size() == 0;
        return fits;
      });
  if (plus && call.looks_ahead()) {
    call.GoOnWith(connection.filesystem().LookAheadOf(*file.handle));
  }
  // Entries that are in the reply may be lookups that the client has to know of, to forget them;
  // what stands behind them it meets when it asks for more.
  if (!listed.ok() && call.reply.size() == 0) return listed.error();
  if (too_small) return Errno(EINVAL);
  return {};
}

dev_t DeviceOf(uint32_t rdev) {
  return makedev((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00));
}

// Which nodes a client may make. Files, FIFOs and sockets do nothing on the host; of devices the
// whiteout is none.
ErrnoOr<void> CheckNode(const Connection& connection, uint32_t type, uint32_t rdev) {
  switch (type) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      return {};
    case S_IFCHR:
    case S_IFBLK:
      if (connection.options().make_devices || (type == S_IFCHR && rdev == 0)) return {};
      return Errno(EPERM);
    default:
      return Errno(EINVAL);
  }
}

ErrnoOr<void> Remove(Connection& connection, Call& call, int flags) {
  ASSIGN_OR_RETURN(const absl::string_view name, OrEinval(DecodeName("UNLINK", call.args)));
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, name));
  return connection.filesystem().Unlink(*at.dir, at.name, flags);
}

ErrnoOr<void> Rename(Connection& connection, Call& call, absl::string_view old_name, NodeId new_dir,
                     absl::string_view new_name, uint32_t flags) {
  ASSIGN_OR_RETURN(const DirAndName from, NameIn(connection, call.header.nodeid, old_name));
  ASSIGN_OR_RETURN(const DirAndName to, NameIn(connection, new_dir, new_name));
  if ((flags & RENAME_WHITEOUT) != 0) {
    ASSIGN_OR_RETURN(const fs::Creation creation, CreationFor(connection, call, 0, 0, {}));
    return connection.filesystem().Rename(*from.dir, from.name, *to.dir, to.name, flags, creation);
  }
  return connection.filesystem().Rename(*from.dir, from.name, *to.dir, to.name, flags);
}

}  // namespace

ErrnoOr<void> OnReaddir(Connection& connection, Call& call) {
  return List(connection, call, /*plus=*/false,
              [](DirentWriter& writer, fs::Handle&, const fs::DirEntry& entry, Dirent dirent) {
                if (!writer.Fits<Dirent>(entry.name)) return false;
                writer.Write(dirent, entry.name);
                return true;
              });
}

ErrnoOr<void> OnReaddirplus(Connection& connection, Call& call) {
  return List(connection, call, /*plus=*/true,
              [&](DirentWriter& writer, fs::Handle& dir, const fs::DirEntry& entry, Dirent dirent) {
                // Before the lookup: one that is not told must not count.
                if (!writer.Fits<Direntplus>(entry.name)) return false;
                const Direntplus record = {.entry_out = EntryFor(connection, call, dir, entry),
                                           .dirent = dirent};
                writer.Write(record, entry.name);
                return true;
              });
}

ErrnoOr<void> OnMkdir(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const CreateReq<MkdirIn> request,
                   OrEinval(DecodeCreate<MkdirIn>("MKDIR", call.args, call.header.total_extlen)));
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, request.name));
  ASSIGN_OR_RETURN(
      const fs::Creation creation,
      CreationFor(connection, call, request.fixed.mode, request.fixed.umask, request.extensions));
  ASSIGN_OR_RETURN(fs::Entry made, connection.filesystem().MakeDir(*at.dir, at.name, creation));
  RETURN_IF_ERROR(
      Label(connection, request.extensions, *made.dentry, *at.dir, &at.name, AT_REMOVEDIR));
  ASSIGN_OR_RETURN(const EntryOut out, NewEntry(connection, *at.dir, std::move(made)));
  call.reply.Write(out);
  return {};
}

ErrnoOr<void> OnMknod(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const CreateReq<MknodIn> request,
                   OrEinval(DecodeCreate<MknodIn>("MKNOD", call.args, call.header.total_extlen)));
  const MknodIn& in = request.fixed;
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, request.name));
  const uint32_t type = (in.mode & S_IFMT) == 0 ? S_IFREG : in.mode & S_IFMT;
  RETURN_IF_ERROR(CheckNode(connection, type, in.rdev));
  ASSIGN_OR_RETURN(const fs::Creation creation,
                   CreationFor(connection, call, in.mode, in.umask, request.extensions));
  ASSIGN_OR_RETURN(fs::Entry made, connection.filesystem().MakeNode(*at.dir, at.name, type,
                                                                    DeviceOf(in.rdev), creation));
  RETURN_IF_ERROR(Label(connection, request.extensions, *made.dentry, *at.dir, &at.name, 0));
  ASSIGN_OR_RETURN(const EntryOut out, NewEntry(connection, *at.dir, std::move(made)));
  call.reply.Write(out);
  return {};
}

ErrnoOr<void> OnUnlink(Connection& connection, Call& call) { return Remove(connection, call, 0); }

ErrnoOr<void> OnRmdir(Connection& connection, Call& call) {
  return Remove(connection, call, AT_REMOVEDIR);
}

ErrnoOr<void> OnRename(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const PairReq<RenameIn> request,
                   OrEinval(DecodePair<RenameIn>("RENAME", call.args)));
  return Rename(connection, call, request.first, request.fixed.newdir, request.second, 0);
}

ErrnoOr<void> OnRename2(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const PairReq<Rename2In> request,
                   OrEinval(DecodePair<Rename2In>("RENAME2", call.args)));
  if ((request.fixed.flags & ~kRenameFlags) != 0) return Errno(EINVAL);
  return Rename(connection, call, request.first, request.fixed.newdir, request.second,
                request.fixed.flags);
}

}  // namespace gofer::fuse
