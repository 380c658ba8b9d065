#include "gofer/server/options.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace gofer::server {
namespace {

std::string Fds(absl::string_view text) {
  ServeOptions options;
  if (const absl::Status parsed = ParseLisafsFds(text, options); !parsed.ok())
    return std::string(parsed.message());
  std::string list;
  for (const LisafsFd& way : options.lisafs_fd()) {
    absl::StrAppend(&list, way.fd(), " ", way.path(), way.readonly() ? " ro;" : ";");
  }
  return list;
}

TEST(ParseLisafsFds, NumberPathAndRo) {
  EXPECT_EQ(Fds(""), "");
  EXPECT_EQ(Fds("3"), "3 /;");
  EXPECT_EQ(Fds("3:/data:ro,4:/x,5:/:ro"), "3 /data ro;4 /x;5 / ro;");
  EXPECT_EQ(Fds("x"), "--lisafs_fd=x: is not a descriptor's number");
  EXPECT_EQ(Fds("-1"), "--lisafs_fd=-1: is not a descriptor's number");
  EXPECT_EQ(Fds("3,"), "--lisafs_fd=: is empty");
  EXPECT_EQ(Fds("3:data"), "--lisafs_fd=3:data: the path served does not begin with /");
  EXPECT_EQ(Fds("3:/data:rw"), "--lisafs_fd=3:/data:rw: what follows the path is not ro");
  EXPECT_EQ(Fds("3:/data:ro:"), "--lisafs_fd=3:/data:ro:: what follows the path is not ro");
}

TEST(ParseLisafsSockets, FilePathAndRo) {
  ServeOptions options;
  ASSERT_TRUE(ParseLisafsSockets("/run/a.sock,b.sock:/sub:ro", options).ok());
  ASSERT_EQ(options.lisafs_socket_size(), 2);
  EXPECT_EQ(options.lisafs_socket(0).file(), "/run/a.sock");
  EXPECT_EQ(options.lisafs_socket(0).path(), "/");
  EXPECT_EQ(options.lisafs_socket(1).file(), "b.sock");
  EXPECT_EQ(options.lisafs_socket(1).path(), "/sub");
  EXPECT_TRUE(options.lisafs_socket(1).readonly());
}

TEST(ParseMounts, SourcePathAndRo) {
  ServeOptions options;
  ASSERT_TRUE(ParseMounts("/srv/a:/data,b:/x/y:ro", options).ok());
  ASSERT_EQ(options.mounts_size(), 2);
  EXPECT_EQ(options.mounts(0).source(), "/srv/a");
  EXPECT_EQ(options.mounts(0).path(), "/data");
  EXPECT_FALSE(options.mounts(0).readonly());
  EXPECT_EQ(options.mounts(1).source(), "b");
  EXPECT_TRUE(options.mounts(1).readonly());
  for (const char* const refused :
       {"/srv", "/srv:/", "/srv://", "/srv:data", "/srv:/a:rw", ":/a"}) {
    EXPECT_FALSE(ParseMounts(refused, options).ok()) << refused;
  }
}

TEST(ParseVhostUser, FilesAndDescriptors) {
  ServeOptions options;
  ASSERT_TRUE(ParseVhostUserSockets("/run/a.sock,b.sock", options).ok());
  ASSERT_TRUE(ParseVhostUserFds("3,7", options).ok());
  ASSERT_EQ(options.vhost_user_socket_size(), 2);
  EXPECT_EQ(options.vhost_user_socket(1), "b.sock");
  ASSERT_EQ(options.vhost_user_fd_size(), 2);
  EXPECT_EQ(options.vhost_user_fd(1), 7);
  EXPECT_EQ(ParseVhostUserFds("3,-1", options).message(),
            "--vhost_user_fd=-1: is not a descriptor's number");
  options.set_root("/srv");
  EXPECT_FALSE(Validate(options).ok());  // 3 twice
}

TEST(Choices, EachByItsName) {
  EXPECT_EQ(*ParseHostUds("create"), HOST_UDS_CREATE);
  EXPECT_EQ(*ParseHostFifo("open"), HOST_FIFO_OPEN);
  EXPECT_EQ(*ParseDonateFds("never"), DONATE_NEVER);
  EXPECT_EQ(*ParseLogFormat("json"), LOG_JSON);
  EXPECT_EQ(*ParseSeccomp("trap"), SECCOMP_TRAP);
  EXPECT_EQ(*ParseSandbox("none"), SANDBOX_NONE);
  EXPECT_EQ(*ParseLogLevel("off"), LOG_LEVEL_OFF);
  EXPECT_EQ(*ParseCache("metadata"), CACHE_METADATA);
  EXPECT_EQ(*ParseInodeFileHandles("prefer"), INODE_FILE_HANDLES_PREFER);
  EXPECT_EQ(*ParseCreds("switch"), CREDS_SWITCH);
  EXPECT_EQ(*ParseMigrationMode("file-handles"), MIGRATION_FILE_HANDLES);
  EXPECT_EQ(*ParseMigrationOnError("guest-error"), MIGRATION_GUEST_ERROR);
  EXPECT_EQ(ParseHostFifo("all").status().message(), "--host_fifo=all: is not one of none, open");
}

TEST(Validate, WhatOneFlagCannotTell) {
  ServeOptions options;
  options.set_ready_fd(-1);
  EXPECT_EQ(Validate(options).message(), "--root is missing: the directory to serve");
  options.set_root("/r");
  EXPECT_EQ(Validate(options).message(),
            "no way in: give --lisafs_fd, --lisafs_socket, --vhost_user_socket, --vhost_user_fd, "
            "--fuse_mountpoint or --fuse_fd");
  options.add_lisafs_fd()->set_fd(5);
  EXPECT_TRUE(Validate(options).ok());
  options.set_ready_fd(5);
  EXPECT_EQ(Validate(options).message(), "--ready_fd: descriptor 5 is a way in");
  options.set_ready_fd(6);
  options.add_lisafs_fd()->set_fd(5);
  EXPECT_EQ(Validate(options).message(), "--lisafs_fd: descriptor 5 is given twice");
}

}  // namespace
}  // namespace gofer::server
