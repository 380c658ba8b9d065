#include "gofer/server/fuse_options.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"

namespace gofer::server {
namespace {

fuse::CachePolicy ToPolicy(CacheName name) {
  switch (name) {
    case CACHE_NEVER:
      return fuse::CachePolicy::kNever;
    case CACHE_METADATA:
      return fuse::CachePolicy::kMetadata;
    case CACHE_ALWAYS:
      return fuse::CachePolicy::kAlways;
    default:
      return fuse::CachePolicy::kAuto;
  }
}

template <typename Rules>
absl::StatusOr<fuse::IdMap> ToIdMap(absl::string_view flag, const Rules& rules) {
  fuse::IdMap map;
  for (const std::string& rule : rules) {
    const absl::Status added = map.Add(rule);
    if (!added.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", added.message()));
    }
  }
  return map;
}

absl::Status CheckTogether(const FusePolicy& policy) {
  if (policy.posix_acl() && (!policy.translate_uid().empty() || !policy.translate_gid().empty())) {
    return absl::InvalidArgumentError(
        "--posix-acl cannot be used with --translate-uid or --translate-gid: the ids in an ACL "
        "are not translated");
  }
  if (policy.migration_mode() != MIGRATION_FILE_HANDLES) return absl::OkStatus();
  if (policy.migration_confirm_paths()) {
    return absl::InvalidArgumentError(
        "--migration-confirm-paths cannot be used with --migration-mode=file-handles, which has "
        "no paths");
  }
  if (policy.migration_verify_handles()) {
    return absl::InvalidArgumentError(
        "--migration-verify-handles cannot be used with --migration-mode=file-handles, which "
        "needs no check");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<fuse::SessionOptions> ToSessionOptions(const ServeOptions& options) {
  const FusePolicy& policy = options.fuse();
  RETURN_IF_ERROR(CheckTogether(policy));
  fuse::SessionOptions session;
  session.cache = ToPolicy(policy.cache());
  session.readonly = options.readonly();
  session.readdirplus = !policy.no_readdirplus();
  session.writeback = policy.writeback();
  session.allow_direct_io = policy.allow_direct_io();
  session.allow_mmap = policy.allow_mmap();
  session.preserve_noatime = policy.preserve_noatime();
  session.xattr =
      policy.xattr() || !policy.xattrmap().empty() || policy.posix_acl() || policy.security_label();
  if (!policy.xattrmap().empty()) {
    absl::StatusOr<fuse::XattrMap> map = fuse::XattrMap::Parse(policy.xattrmap());
    if (!map.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--xattrmap: ", map.status().message()));
    }
    session.xattr_map = *std::move(map);
  }
  session.posix_acl = policy.posix_acl();
  session.security_label = policy.security_label();
  session.killpriv_v2 = policy.killpriv_v2();
  session.announce_submounts = !policy.no_announce_submounts();
  session.posix_locks = policy.posix_locks();
  session.flock_locks = policy.flock_locks();
  session.make_devices = policy.make_devices();
  session.switch_credentials = policy.creds() == CREDS_SWITCH;
  ASSIGN_OR_RETURN(session.uid_map, ToIdMap("translate-uid", policy.translate_uid()));
  ASSIGN_OR_RETURN(session.gid_map, ToIdMap("translate-gid", policy.translate_gid()));
  return session;
}

}  // namespace gofer::server
