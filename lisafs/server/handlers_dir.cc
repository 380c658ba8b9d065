// MkdirAt, MknodAt, UnlinkAt, RenameAt, RenameAt2, Getdents64.

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "lisafs/server/handlers.h"
#include "lisafs/wire/responses.h"

namespace lisafs {
namespace {

// The most host records a reply can hold: 65535 entries, the count's limit, of the shortest
// record's 24 bytes. The worst ratio of an entry on the wire to its record is 31 to 24 (a name of 4
// bytes), so the payload's limit is kept as well.
constexpr size_t kMinDirRecord = 24;
constexpr size_t kMaxDirBudget = UINT16_MAX * kMinDirRecord;
static_assert(sizeof(uint16_t) + kMaxDirBudget / kMinDirRecord * (sizeof(Dirent64Fixed) + 4) <=
              kMaxMessageSize);

gofer::fs::Owner OwnerOf(const CreateCommon& common) {
  return {.uid = common.uid, .gid = common.gid};
}

ErrnoOr<void> RenameChecked(Connection& connection, const RenameAtReq& request, uint32_t flags) {
  RETURN_IF_ERROR(Name::CheckBytes(request.first));
  RETURN_IF_ERROR(Name::CheckBytes(request.second));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> old_dir,
                   connection.fds().Control(request.fixed.old_dir));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> new_dir,
                   connection.fds().Control(request.fixed.new_dir));
  if (!old_dir->is_directory() || !new_dir->is_directory()) return Errno(ENOTDIR);
  if (old_dir->deleted() || new_dir->deleted()) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const Name old_name, Name::Parse(request.first));
  ASSIGN_OR_RETURN(const Name new_name, Name::Parse(request.second));
  // The reference does not look whether the name is there.
  if (old_dir.get() == new_dir.get() && request.first == request.second) return {};
  return connection.filesystem().Rename(*old_dir, old_name, *new_dir, new_name, flags);
}

}  // namespace

ErrnoOr<void> OnMkdirAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const MkdirAtReq request,
                   OrEio(DecodeNamed<CreateCommon>("MkdirAt", call.payload)));
  ASSIGN_OR_RETURN(const DirAndName at,
                   WritableName(connection, request.fixed.dir_fd, request.name));
  ASSIGN_OR_RETURN(gofer::fs::Entry made,
                   connection.filesystem().MakeDir(*at.dir, at.name, request.fixed.mode,
                                                   OwnerOf(request.fixed)));
  call.body.Write(NewInode(connection, std::move(made)));
  return {};
}

ErrnoOr<void> OnMknodAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const MknodAtReq request,
                   OrEio(DecodeNamed<MknodAtReqFixed>("MknodAt", call.payload)));
  const CreateCommon& common = request.fixed.create_common;
  ASSIGN_OR_RETURN(const DirAndName at, WritableName(connection, common.dir_fd, request.name));
  gofer::fs::Filesystem& filesystem = connection.filesystem();
  const uint32_t type = common.mode & S_IFMT;
  const bool whiteout = type == S_IFCHR && request.fixed.major == 0 && request.fixed.minor == 0;
  // EPERM, even if the name exists: on it, and on nothing else, a sentry makes the FIFO or socket
  // by itself.
  if (type != S_IFREG && !whiteout) return Errno(EPERM);
  ASSIGN_OR_RETURN(gofer::fs::Entry made,
                   whiteout
                       ? filesystem.MakeWhiteout(*at.dir, at.name, common.mode, OwnerOf(common))
                       : filesystem.MakeFile(*at.dir, at.name, common.mode, OwnerOf(common)));
  call.body.Write(NewInode(connection, std::move(made)));
  return {};
}

ErrnoOr<void> OnUnlinkAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const UnlinkAtReq request,
                   OrEio(DecodeNamed<UnlinkAtReqFixed>("UnlinkAt", call.payload)));
  ASSIGN_OR_RETURN(const DirAndName at,
                   WritableName(connection, request.fixed.dir_fd, request.name));
  return connection.filesystem().Unlink(*at.dir, at.name, static_cast<int>(request.fixed.flags));
}

ErrnoOr<void> OnRenameAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const RenameAtReq request,
                   OrEio(DecodePair<RenameAtReqFixed>("RenameAt", call.payload)));
  return RenameChecked(connection, request, 0);
}

ErrnoOr<void> OnRenameAt2(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const RenameAt2Req request, OrEio(DecodeRenameAt2Req(call.payload)));
  return RenameChecked(connection, request.rename, request.flags);
}

ErrnoOr<void> OnGetdents64(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const Getdents64Req request,
                   OrEio(DecodeFixed<Getdents64Req>("Getdents64", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<OpenFd> dir, connection.fds().Open(request.dir_fd));
  if (!dir->dentry().is_directory()) return Errno(ENOTDIR);
  if (dir->dentry().deleted()) return Errno(EINVAL);
  const bool rewind = request.count < 0;
  const auto budget = static_cast<size_t>(std::abs(int64_t{request.count}));
  uint16_t count = 0;
  call.body.Write(count);  // patched below
  RETURN_IF_ERROR(connection.filesystem().ReadDir(
      *dir, rewind, std::min(budget, kMaxDirBudget), [&](const gofer::fs::DirEntry& entry) {
        const gofer::fs::FileNumber number = connection.filesystem().ClientNumberOf(entry);
        call.body.Write(Dirent64Fixed{.ino = number.ino,
                                      .dev_minor = number.dev_minor,
                                      .dev_major = number.dev_major,
                                      .off = entry.off,
                                      .type = entry.type,
                                      .name_len = static_cast<uint16_t>(entry.name.size())});
        call.body.WriteBytes(entry.name);
        ++count;
      }));
  call.body.Patch(0, count);
  return {};
}

}  // namespace lisafs
