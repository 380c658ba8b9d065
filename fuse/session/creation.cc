#include "fuse/session/creation.h"

#include "gofer/base/status_macros.h"

namespace gofer::fuse {

ErrnoOr<fs::Creation> CreationFor(const Connection& connection, const Call& call, uint32_t mode,
                                  uint32_t umask, const Extensions& extensions) {
  const SessionOptions& options = connection.options();
  const Granted& granted = connection.granted();
  if (call.header.uid == kNoClientId || call.header.gid == kNoClientId) return Errno(EINVAL);
  fs::Creation creation;
  creation.mode = mode & 07777;
  // Without it the client has taken it off the mode by itself.
  if (granted.Has(init::kDontMask)) creation.umask = umask & 0777;
  ASSIGN_OR_RETURN(creation.owner.uid, options.uid_map.ToHost(call.header.uid));
  ASSIGN_OR_RETURN(creation.owner.gid, options.gid_map.ToHost(call.header.gid));
  const bool groups_told = granted.Has(init::kCreateSuppGroup);
  if (groups_told && extensions.group.has_value()) {
    ASSIGN_OR_RETURN(creation.group, options.gid_map.ToHost(*extensions.group));
  }
  creation.switch_credentials = options.switch_credentials;
  creation.trust_permissions = !groups_told;
  return creation;
}

ErrnoOr<void> Label(Connection& connection, const Extensions& extensions, fs::Dentry& made,
                    fs::Dentry& dir, const Name* name, int unlink_flags) {
  if (extensions.context_name.empty() || !connection.granted().Has(init::kSecurityCtx)) return {};
  const auto set = [&]() -> ErrnoOr<void> {
    XattrMap::Buffer buffer;
    ASSIGN_OR_RETURN(const absl::string_view host_name,
                     connection.options().xattr_map.ToHost(extensions.context_name,
                                                           XattrMap::Use::kChange, buffer));
    return connection.filesystem().SetAnyXattr(made, host_name, extensions.context_value, 0);
  };
  const ErrnoOr<void> result = set();
  if (!result.ok() && name != nullptr) {
    (void)connection.filesystem().Unlink(dir, *name, unlink_flags);
  }
  return result;
}

}  // namespace gofer::fuse
