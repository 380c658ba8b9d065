// GETATTR, STATX, SETATTR, ACCESS, STATFS.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/session/ops.h"

namespace gofer::fuse {
namespace {

constexpr uint32_t kNsecPerSec = 1'000'000'000;

// What of statx's attributes means something to a client.
constexpr uint64_t kTold = STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND |
                           STATX_ATTR_NODUMP | STATX_ATTR_ENCRYPTED | STATX_ATTR_VERITY |
                           STATX_ATTR_DAX;

SxTime ToWire(const struct statx_timestamp& time) {
  return {.tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec, .reserved = 0};
}

// By the client's handle where it names one, so that it does not matter what has become of the
// file's names.
ErrnoOr<sys::Attr> AttributesOf(Connection& connection, const Call& call, uint32_t flags,
                                HandleId fh) {
  if ((flags & kGetattrFh) != 0) {
    ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, fh));
    return connection.filesystem().Stat(*file.handle);
  }
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  return connection.filesystem().Stat(*node);
}

AttrOut AttrReply(const Connection& connection, const sys::Attr& attr) {
  return {.attr_valid = connection.cache().valid_s,
          .attr_valid_nsec = 0,
          .dummy = 0,
          .attr = ToWire(connection, attr)};
}

// One time of SETATTR; EINVAL for nanoseconds that are none, or that mean something else to the
// kernel.
ErrnoOr<struct timespec> TimeToSet(uint32_t valid, uint32_t set, uint32_t set_now, uint64_t sec,
                                   uint32_t nsec) {
  struct timespec time = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  if ((valid & set_now) != 0) {
    time.tv_nsec = UTIME_NOW;
  } else if ((valid & set) != 0) {
    if (nsec >= kNsecPerSec) return Errno(EINVAL);
    time = {.tv_sec = static_cast<time_t>(sec), .tv_nsec = nsec};
  }
  return time;
}

// The parts of SETATTR, on a Dentry or on a Handle.
template <typename File>
ErrnoOr<sys::Attr> Apply(Connection& connection, const SetattrIn& in, fs::Dentry& node,
                         File& file) {
  fs::Filesystem& filesystem = connection.filesystem();
  const uint32_t valid = in.valid;
  fs::Owner owner;
  if ((valid & setattr::kUid) != 0) {
    ASSIGN_OR_RETURN(owner.uid, connection.options().uid_map.ToHost(in.uid));
  }
  if ((valid & setattr::kGid) != 0) {
    ASSIGN_OR_RETURN(owner.gid, connection.options().gid_map.ToHost(in.gid));
  }
  ASSIGN_OR_RETURN(const struct timespec atime,
                   TimeToSet(valid, setattr::kAtime, setattr::kAtimeNow, in.atime, in.atimensec));
  ASSIGN_OR_RETURN(const struct timespec mtime,
                   TimeToSet(valid, setattr::kMtime, setattr::kMtimeNow, in.mtime, in.mtimensec));

  if ((valid & (setattr::kUid | setattr::kGid | setattr::kSize)) != 0) {
    RETURN_IF_ERROR(DropMappedCapability(connection, node));
  }
  // In this order: a change of owner takes set-id bits away, and times come last as all else
  // changes them.
  if ((valid & setattr::kMode) != 0) RETURN_IF_ERROR(filesystem.ChangeMode(file, in.mode));
  if ((valid & (setattr::kUid | setattr::kGid)) != 0) {
    RETURN_IF_ERROR(filesystem.ChangeOwner(file, owner));
  }
  if ((valid & setattr::kSize) != 0) {
    const bool kill =
        (valid & setattr::kKillSuidgid) != 0 && connection.granted().Has(init::kHandleKillprivV2);
    RETURN_IF_ERROR(
        filesystem.Truncate(file, in.size, kill ? fs::SetIdBits::kDrop : fs::SetIdBits::kKeep));
  }
  if (atime.tv_nsec != UTIME_OMIT || mtime.tv_nsec != UTIME_OMIT) {
    const struct timespec times[2] = {atime, mtime};
    RETURN_IF_ERROR(filesystem.SetTimes(file, times));
  }
  return filesystem.Stat(file);
}

}  // namespace

ErrnoOr<void> OnGetattr(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const GetattrIn in, OrEinval(DecodeFixed<GetattrIn>("GETATTR", call.args)));
  ASSIGN_OR_RETURN(const sys::Attr attr, AttributesOf(connection, call, in.getattr_flags, in.fh));
  call.reply.Write(AttrReply(connection, attr));
  return {};
}

ErrnoOr<void> OnStatx(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const StatxIn in, OrEinval(DecodeFixed<StatxIn>("STATX", call.args)));
  ASSIGN_OR_RETURN(const sys::Attr attr, AttributesOf(connection, call, in.getattr_flags, in.fh));
  StatxOut out = {};
  out.attr_valid = connection.cache().valid_s;
  out.stat = {.mask = attr.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
              .blksize = attr.stx_blksize,
              .attributes = attr.stx_attributes & kTold,
              .nlink = attr.stx_nlink,
              .uid = connection.options().uid_map.ToGuest(attr.stx_uid),
              .gid = connection.options().gid_map.ToGuest(attr.stx_gid),
              .mode = attr.stx_mode,
              .spare0 = 0,
              .ino = connection.filesystem().ClientNumberOf(attr).ino,
              .size = attr.stx_size,
              .blocks = attr.stx_blocks,
              .attributes_mask = attr.stx_attributes_mask & kTold,
              .atime = ToWire(attr.stx_atime),
              .btime = ToWire(attr.stx_btime),
              .ctime = ToWire(attr.stx_ctime),
              .mtime = ToWire(attr.stx_mtime),
              .rdev_major = attr.stx_rdev_major,
              .rdev_minor = attr.stx_rdev_minor,
              .dev_major = 0,
              .dev_minor = 0,
              .spare2 = {}};
  call.reply.Write(out);
  return {};
}

ErrnoOr<void> OnSetattr(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const SetattrIn in, OrEinval(DecodeFixed<SetattrIn>("SETATTR", call.args)));
  constexpr uint32_t kSetsNothing = setattr::kFh | setattr::kLockOwner;
  OpenFile file = {};
  if ((in.valid & setattr::kFh) != 0) {
    ASSIGN_OR_RETURN(file, FileOf(connection, call, in.fh));
  }
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  if (connection.options().readonly && (in.valid & ~kSetsNothing) != 0) return Errno(EROFS);
  if ((in.valid & setattr::kSize) != 0 && !call.may_block()) {
    ASSIGN_OR_RETURN(const sys::Attr attr, connection.filesystem().Stat(*node));
    if (attr.stx_size > in.size && attr.stx_size - in.size >= kLongTruncation) {
      return call.WouldBlock();
    }
  }
  ASSIGN_OR_RETURN(const sys::Attr attr, file.handle ? Apply(connection, in, *node, *file.handle)
                                                     : Apply(connection, in, *node, *node));
  call.reply.Write(AttrReply(connection, attr));
  return {};
}

ErrnoOr<void> OnAccess(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const AccessIn in, OrEinval(DecodeFixed<AccessIn>("ACCESS", call.args)));
  if ((in.mask & ~uint32_t{R_OK | W_OK | X_OK}) != 0) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  ASSIGN_OR_RETURN(const sys::Attr attr, connection.filesystem().Stat(*node));
  if ((in.mask & W_OK) != 0 && connection.options().readonly) return Errno(EROFS);
  if (call.header.uid == kNoClientId) return {};  // the client has checked, and does not say who
  const Attr seen = ToWire(connection, attr);
  const uint32_t mode = seen.mode;
  if (call.header.uid == 0) {
    // Root may do all, but execute only what somebody may.
    const bool executable = S_ISDIR(mode) || (mode & 0111) != 0;
    if ((in.mask & X_OK) != 0 && !executable) return Errno(EACCES);
    return {};
  }
  const uint32_t shift = call.header.uid == seen.uid ? 6 : call.header.gid == seen.gid ? 3 : 0;
  if ((in.mask & ~(mode >> shift)) != 0) return Errno(EACCES);
  return {};
}

ErrnoOr<void> OnStatfs(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  ASSIGN_OR_RETURN(const struct statfs statfs, connection.filesystem().StatFs(*node));
  KStatfs out = {};
  out.blocks = statfs.f_blocks;
  out.bfree = statfs.f_bfree;
  out.bavail = statfs.f_bavail;
  out.files = statfs.f_files;
  out.ffree = statfs.f_ffree;
  out.bsize = static_cast<uint32_t>(statfs.f_bsize);
  out.namelen = statfs.f_namelen > 0 ? static_cast<uint32_t>(statfs.f_namelen) : kMaxNameBytes;
  out.frsize = static_cast<uint32_t>(statfs.f_frsize > 0 ? statfs.f_frsize : statfs.f_bsize);
  call.reply.Write(out);
  return {};
}

}  // namespace gofer::fuse
