#include "gofer/server/fuse_options.h"

#include <string>

#include "gtest/gtest.h"

namespace gofer::server {
namespace {

std::string ErrorOf(const ServeOptions& options) {
  return std::string(ToSessionOptions(options).status().message());
}

TEST(ToSessionOptions, DefaultsAreVirtiofsds) {
  const absl::StatusOr<fuse::SessionOptions> session = ToSessionOptions(ServeOptions());
  ASSERT_TRUE(session.ok());
  EXPECT_EQ(session->cache, fuse::CachePolicy::kAuto);
  EXPECT_TRUE(session->readdirplus);
  EXPECT_TRUE(session->announce_submounts);
  EXPECT_FALSE(session->readonly || session->writeback || session->allow_direct_io ||
               session->allow_mmap || session->preserve_noatime || session->xattr ||
               session->posix_acl || session->security_label || session->killpriv_v2 ||
               session->posix_locks || session->flock_locks || session->make_devices ||
               session->switch_credentials);
  EXPECT_TRUE(session->xattr_map.empty() && session->uid_map.empty() && session->gid_map.empty());
}

TEST(ToSessionOptions, EachPolicyArrives) {
  ServeOptions options;
  options.set_readonly(true);
  FusePolicy& policy = *options.mutable_fuse();
  policy.set_cache(CACHE_NEVER);
  policy.set_allow_mmap(true);
  policy.set_no_readdirplus(true);
  policy.set_writeback(true);
  policy.set_allow_direct_io(true);
  policy.set_preserve_noatime(true);
  policy.set_killpriv_v2(true);
  policy.set_no_announce_submounts(true);
  policy.set_posix_locks(true);
  policy.set_flock_locks(true);
  policy.set_make_devices(true);
  policy.set_creds(CREDS_SWITCH);
  policy.add_translate_uid("guest:0:1000:1");
  policy.add_translate_gid("host:1000:0:1");
  const absl::StatusOr<fuse::SessionOptions> session = ToSessionOptions(options);
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_EQ(session->cache, fuse::CachePolicy::kNever);
  EXPECT_TRUE(session->readonly && session->allow_mmap && session->writeback &&
              session->allow_direct_io && session->preserve_noatime && session->killpriv_v2 &&
              session->posix_locks && session->flock_locks && session->make_devices &&
              session->switch_credentials);
  EXPECT_FALSE(session->readdirplus || session->announce_submounts || session->xattr);
  EXPECT_EQ(*session->uid_map.ToHost(0), 1000u);
  EXPECT_EQ(session->gid_map.ToGuest(1000), 0u);
  for (const auto& [name, cache] : {std::pair(CACHE_METADATA, fuse::CachePolicy::kMetadata),
                                    std::pair(CACHE_ALWAYS, fuse::CachePolicy::kAlways)}) {
    policy.set_cache(name);
    EXPECT_EQ(ToSessionOptions(options)->cache, cache);
  }
}

TEST(ToSessionOptions, WhatImpliesExtendedAttributes) {
  for (void (*const set)(FusePolicy&) : {
           +[](FusePolicy& policy) { policy.set_xattr(true); },
           +[](FusePolicy& policy) { policy.set_xattrmap(":map::user.vm.:"); },
           +[](FusePolicy& policy) { policy.set_posix_acl(true); },
           +[](FusePolicy& policy) { policy.set_security_label(true); },
       }) {
    ServeOptions options;
    set(*options.mutable_fuse());
    EXPECT_TRUE(ToSessionOptions(options)->xattr);
  }
}

TEST(ToSessionOptions, WrongRules) {
  ServeOptions options;
  options.mutable_fuse()->set_xattrmap(":ok:all::");
  EXPECT_EQ(ErrorOf(options), "--xattrmap: rule 1: the prepend \"\" does not end with ':'");
  options.mutable_fuse()->clear_xattrmap();
  options.mutable_fuse()->add_translate_gid("map:0:0:1");
  options.mutable_fuse()->add_translate_gid("map:0:0:1");
  EXPECT_EQ(ErrorOf(options),
            "--translate-gid: rule \"map:0:0:1\": overlaps an earlier rule for ids of the guest");
}

TEST(ToSessionOptions, WhatCannotBeTogether) {
  ServeOptions options;
  options.mutable_fuse()->set_posix_acl(true);
  options.mutable_fuse()->add_translate_uid("map:0:1:1");
  EXPECT_EQ(ErrorOf(options),
            "--posix-acl cannot be used with --translate-uid or --translate-gid: the ids in an ACL "
            "are not translated");
  ServeOptions migration;
  migration.mutable_fuse()->set_migration_verify_handles(true);
  migration.mutable_fuse()->set_migration_confirm_paths(true);
  EXPECT_EQ(ErrorOf(migration), "");
  migration.mutable_fuse()->set_migration_mode(MIGRATION_FILE_HANDLES);
  EXPECT_EQ(ErrorOf(migration),
            "--migration-confirm-paths cannot be used with --migration-mode=file-handles, which "
            "has no paths");
  migration.mutable_fuse()->set_migration_confirm_paths(false);
  EXPECT_EQ(ErrorOf(migration),
            "--migration-verify-handles cannot be used with --migration-mode=file-handles, which "
            "needs no check");
}

}  // namespace
}  // namespace gofer::server
