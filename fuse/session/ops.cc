#include "fuse/session/ops.h"

#include <sys/stat.h>

namespace gofer::fuse {
namespace {

// The kernel's 32-bit form of a device number.
uint32_t DeviceNumber(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
}

}  // namespace

ErrnoOr<DirAndName> NameIn(Connection& connection, NodeId dir, absl::string_view name) {
  ASSIGN_OR_RETURN(RefPtr<fs::Dentry> dentry, connection.nodes().Find(dir));
  if (!dentry->is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const Name parsed, Name::Parse(name));
  return DirAndName{.dir = std::move(dentry), .name = parsed};
}

Attr ToWire(const Connection& connection, const sys::Attr& attr) {
  return {.ino = connection.filesystem().ClientNumberOf(attr).ino,
          .size = attr.stx_size,
          .blocks = attr.stx_blocks,
          .atime = static_cast<uint64_t>(attr.stx_atime.tv_sec),
          .mtime = static_cast<uint64_t>(attr.stx_mtime.tv_sec),
          .ctime = static_cast<uint64_t>(attr.stx_ctime.tv_sec),
          .atimensec = attr.stx_atime.tv_nsec,
          .mtimensec = attr.stx_mtime.tv_nsec,
          .ctimensec = attr.stx_ctime.tv_nsec,
          .mode = attr.stx_mode,
          .nlink = attr.stx_nlink,
          .uid = connection.options().uid_map.ToGuest(attr.stx_uid),
          .gid = connection.options().gid_map.ToGuest(attr.stx_gid),
          .rdev = DeviceNumber(attr.stx_rdev_major, attr.stx_rdev_minor),
          .blksize = attr.stx_blksize,
          .flags = 0};
}

ErrnoOr<EntryOut> NewEntry(Connection& connection, const fs::Dentry& dir, fs::Entry entry) {
  EntryOut out = {.nodeid = NodeId::kNone,
                  .generation = 0,
                  .entry_valid = connection.cache().valid_s,
                  .attr_valid = connection.cache().valid_s,
                  .entry_valid_nsec = 0,
                  .attr_valid_nsec = 0,
                  .attr = ToWire(connection, entry.attr)};
  // Only of directories: of anything else the client would make an automount that loops.
  if (connection.options().announce_submounts && connection.granted().Has(init::kSubmounts) &&
      entry.dentry->is_directory() && fs::CrossesMount(dir, entry.attr)) {
    out.attr.flags |= kAttrSubmount;
  }
  ASSIGN_OR_RETURN(out.nodeid, connection.nodes().Remember(std::move(entry.dentry)));
  return out;
}

}  // namespace gofer::fuse
