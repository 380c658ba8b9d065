// SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR.

#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "fuse/session/ops.h"

namespace gofer::fuse {
namespace {

constexpr absl::string_view kAclAccess = "system.posix_acl_access";
constexpr absl::string_view kAclDefault = "system.posix_acl_default";
constexpr absl::string_view kCapability = "security.capability";

bool IsHidden(const Connection& connection, absl::string_view name) {
  return !connection.options().posix_acl && (name == kAclAccess || name == kAclDefault);
}

// The host's name of an attribute; EOPNOTSUPP for one that is not for clients.
ErrnoOr<absl::string_view> HostName(const Connection& connection, absl::string_view name,
                                    XattrMap::Use use, XattrMap::Buffer& buffer) {
  // What the kernel says, whatever it is asked for.
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Errno(ERANGE);
  // By the client's name too: under another one it would be kept, and mean nothing.
  if (IsHidden(connection, name)) return Errno(EOPNOTSUPP);
  ASSIGN_OR_RETURN(const absl::string_view host_name,
                   connection.options().xattr_map.ToHost(name, use, buffer));
  if (IsHidden(connection, host_name)) return Errno(EOPNOTSUPP);
  return host_name;
}

// Takes hidden names out of a list, in place.
size_t RemoveHidden(const Connection& connection, std::span<char> names) {
  size_t kept = 0;
  for (size_t at = 0; at < names.size();) {
    const absl::string_view name(names.data() + at);
    const size_t size = name.size() + 1;
    if (!IsHidden(connection, name)) {
      std::memmove(names.data() + kept, names.data() + at, size);
      kept += size;
    }
    at += size;
  }
  return kept;
}

void ReplySize(Call& call, size_t size) {
  call.reply.Write(GetxattrOut{.size = static_cast<uint32_t>(size), .padding = 0});
}

// What the kernel does by itself as long as the attribute has its own name.
ErrnoOr<void> ClearSetGroupId(fs::Filesystem& filesystem, fs::Dentry& node) {
  ASSIGN_OR_RETURN(const sys::Attr attr, filesystem.Stat(node));
  if ((attr.stx_mode & S_ISGID) == 0) return {};
  return filesystem.ChangeMode(node, attr.stx_mode & (07777u & ~uint32_t{S_ISGID}));
}

}  // namespace

ErrnoOr<void> DropMappedCapability(Connection& connection, fs::Dentry& dentry) {
  const XattrMap& map = connection.options().xattr_map;
  if (map.empty() || dentry.type() != S_IFREG) return {};
  XattrMap::Buffer buffer;
  const ErrnoOr<absl::string_view> name = map.ToHost(kCapability, XattrMap::Use::kChange, buffer);
  if (!name.ok() || *name == kCapability) return {};
  const ErrnoOr<void> result = connection.filesystem().RemoveAnyXattr(dentry, *name);
  if (!result.ok() && !(result.error() == ENODATA) && !(result.error() == EOPNOTSUPP)) {
    return result;
  }
  return {};
}

ErrnoOr<void> OnSetxattr(Connection& connection, Call& call) {
  if (!connection.options().xattr) return call.Unsupported();
  if (connection.options().readonly) return Errno(EROFS);
  ASSIGN_OR_RETURN(
      const SetxattrReq request,
      OrEinval(DecodeSetxattr(call.args, connection.granted().Has(init::kSetxattrExt))));
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  if ((request.fixed.flags & ~uint32_t{XATTR_CREATE | XATTR_REPLACE}) != 0) return Errno(EINVAL);
  if (request.value.size() > XATTR_SIZE_MAX) return Errno(E2BIG);
  XattrMap::Buffer buffer;
  ASSIGN_OR_RETURN(const absl::string_view name,
                   HostName(connection, request.name, XattrMap::Use::kChange, buffer));
  if ((request.ext.setxattr_flags & kSetxattrAclKillSgid) != 0 && name == kAclAccess) {
    RETURN_IF_ERROR(ClearSetGroupId(connection.filesystem(), *node));
  }
  return connection.filesystem().SetAnyXattr(*node, name, request.value,
                                             static_cast<int>(request.fixed.flags));
}

ErrnoOr<void> OnGetxattr(Connection& connection, Call& call) {
  if (!connection.options().xattr) return call.Unsupported();
  ASSIGN_OR_RETURN(const NamedReq<GetxattrIn> request,
                   OrEinval(DecodeNamed<GetxattrIn>("GETXATTR", call.args)));
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  const uint32_t size = request.fixed.size;
  if (size > kMaxData) return Errno(ENOMEM);
  XattrMap::Buffer buffer;
  ASSIGN_OR_RETURN(const absl::string_view name,
                   HostName(connection, request.name, XattrMap::Use::kRead, buffer));
  const std::span<std::byte> value = call.value().first(std::min<size_t>(size, XATTR_SIZE_MAX));
  ASSIGN_OR_RETURN(const size_t found, connection.filesystem().GetAnyXattr(*node, name, value));
  if (size == 0) {
    ReplySize(call, found);
  } else {
    call.reply.WriteBytes(value.first(found));
  }
  return {};
}

ErrnoOr<void> OnListxattr(Connection& connection, Call& call) {
  if (!connection.options().xattr) return call.Unsupported();
  ASSIGN_OR_RETURN(const GetxattrIn in, OrEinval(DecodeFixed<GetxattrIn>("LISTXATTR", call.args)));
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  if (in.size > kMaxData) return Errno(ENOMEM);
  // Always all of them: how long the list is depends on what may be seen of it.
  const std::span<char> names(reinterpret_cast<char*>(call.value().data()), XATTR_LIST_MAX);
  ASSIGN_OR_RETURN(size_t size, connection.filesystem().ListAnyXattr(*node, names));
  size = RemoveHidden(connection, names.first(size));
  size = connection.options().xattr_map.FilterList(names.first(size));
  size = RemoveHidden(connection, names.first(size));
  if (in.size == 0) {
    ReplySize(call, size);
    return {};
  }
  if (size > in.size) return Errno(ERANGE);
  call.reply.WriteBytes(absl::string_view(names.data(), size));
  return {};
}

ErrnoOr<void> OnRemovexattr(Connection& connection, Call& call) {
  if (!connection.options().xattr) return call.Unsupported();
  if (connection.options().readonly) return Errno(EROFS);
  ASSIGN_OR_RETURN(const absl::string_view client_name,
                   OrEinval(DecodeName("REMOVEXATTR", call.args)));
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  XattrMap::Buffer buffer;
  ASSIGN_OR_RETURN(const absl::string_view name,
                   HostName(connection, client_name, XattrMap::Use::kChange, buffer));
  return connection.filesystem().RemoveAnyXattr(*node, name);
}

}  // namespace gofer::fuse
