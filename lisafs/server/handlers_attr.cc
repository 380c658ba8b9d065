// FStat, SetStat, FStatFS.

#include <linux/stat.h>
#include <sys/stat.h>

#include "lisafs/server/handlers.h"

namespace lisafs {
namespace {

constexpr uint32_t kSettable =
    STATX_MODE | STATX_UID | STATX_GID | STATX_ATIME | STATX_MTIME | STATX_SIZE;

// Collects what could not be set: a mask, and the errno of the last failure. That is no Error
// reply.
class Failures {
 public:
  void Note(uint32_t bits, const ErrnoOr<void>& result) {
    if (result.ok()) return;
    response_.failure_mask |= bits;
    response_.failure_errno = static_cast<uint32_t>(result.error().value());
  }
  const SetStatResp& response() const { return response_; }

 private:
  SetStatResp response_ = {};
};

struct timespec TimeToSet(const SetStatReq& request, uint32_t bit, const Timespec& time) {
  if ((request.mask & bit) == 0) return {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  return {.tv_sec = time.sec, .tv_nsec = time.nsec};
}

}  // namespace

ErrnoOr<void> OnFStat(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const StatReq request, OrEio(DecodeFixed<StatReq>("FStat", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, connection.fds().File(request.fd));
  ASSIGN_OR_RETURN(const gofer::sys::Attr attr, connection.filesystem().Stat(*file));
  call.body.Write(ToWire(connection, attr));
  return {};
}

ErrnoOr<void> OnSetStat(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const SetStatReq request,
                   OrEio(DecodeFixed<SetStatReq>("SetStat", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, connection.fds().Control(request.fd));
  if ((request.mask & ~kSettable) != 0) return Errno(EPERM);

  // The order matters: a change of owner takes set-id bits away, and the client knows it comes
  // last.
  gofer::fs::Filesystem& filesystem = connection.filesystem();
  Failures failures;
  if ((request.mask & STATX_MODE) != 0) {
    failures.Note(STATX_MODE, filesystem.ChangeMode(*file, request.mode));
  }
  if ((request.mask & STATX_SIZE) != 0) {
    failures.Note(STATX_SIZE, filesystem.Truncate(*file, request.size));
  }
  if (const uint32_t bits = request.mask & (STATX_ATIME | STATX_MTIME); bits != 0) {
    const struct timespec times[2] = {TimeToSet(request, STATX_ATIME, request.atime),
                                      TimeToSet(request, STATX_MTIME, request.mtime)};
    failures.Note(bits, filesystem.SetTimes(*file, times));
  }
  if (const uint32_t bits = request.mask & (STATX_UID | STATX_GID); bits != 0) {
    const gofer::fs::Owner owner = {.uid = (bits & STATX_UID) != 0 ? request.uid : kNoId,
                                    .gid = (bits & STATX_GID) != 0 ? request.gid : kNoId};
    failures.Note(bits, filesystem.ChangeOwner(*file, owner));
  }
  call.body.Write(failures.response());
  return {};
}

ErrnoOr<void> OnFStatFS(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const StatReq request, OrEio(DecodeFixed<StatReq>("FStatFS", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, connection.fds().Control(request.fd));
  ASSIGN_OR_RETURN(const struct statfs statfs, connection.filesystem().StatFs(*file));
  call.body.Write(StatFS{.type = static_cast<uint64_t>(statfs.f_type),
                         .block_size = statfs.f_bsize,
                         .blocks = statfs.f_blocks,
                         .blocks_free = statfs.f_bfree,
                         .blocks_available = statfs.f_bavail,
                         .files = statfs.f_files,
                         .files_free = statfs.f_ffree,
                         .name_length = static_cast<uint64_t>(statfs.f_namelen)});
  return {};
}

}  // namespace lisafs
