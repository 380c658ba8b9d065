#include "gofer/runsc/mount_options.h"

#include <sys/mount.h>

#include <initializer_list>

#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

MountOptions Parse(std::initializer_list<const char*> options) {
  oci::Mount mount;
  for (const char* const option : options) mount.add_options(option);
  return ParseMountOptions(mount);
}

TEST(MountOptions, InOrder) {
  EXPECT_EQ(Parse({}).attributes, 0u);
  EXPECT_EQ(Parse({"ro"}).attributes, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(Parse({"rw"}).attributes, 0u) << "the original sets it here, by exclusive or";
  EXPECT_EQ(Parse({"ro", "rw"}).attributes, 0u);
  EXPECT_EQ(Parse({"rw", "ro"}).attributes, uint64_t{MOUNT_ATTR_RDONLY});
  EXPECT_EQ(Parse({"nosuid", "nodev", "noexec", "exec"}).attributes,
            uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV});
}

TEST(MountOptions, BindAndItsRecursion) {
  EXPECT_EQ(Parse({"bind"}).recursive, sys::Recursive::kNo);
  EXPECT_EQ(Parse({"rbind", "ro"}).recursive, sys::Recursive::kYes);
}

TEST(MountOptions, Propagation) {
  EXPECT_FALSE(Parse({"ro"}).propagation.has_value());
  EXPECT_EQ(Parse({"rslave"}).propagation, (Propagation{MS_SLAVE, sys::Recursive::kYes}));
  EXPECT_EQ(Parse({"private"}).propagation, (Propagation{MS_PRIVATE, sys::Recursive::kNo}));
  EXPECT_EQ(Parse({"unbindable"}).propagation, (Propagation{MS_UNBINDABLE, sys::Recursive::kNo}));
}

TEST(MountOptions, AccessTimes) {
  EXPECT_FALSE(Parse({"ro"}).atime.has_value());
  EXPECT_EQ(Parse({"noatime"}).atime, uint64_t{MOUNT_ATTR_NOATIME});
  EXPECT_EQ(Parse({"noatime", "strictatime"}).atime, uint64_t{MOUNT_ATTR_STRICTATIME});
}

TEST(RootPropagation, PrivateOrSlave) {
  EXPECT_EQ(*ParseRootPropagation("rprivate"), (Propagation{MS_PRIVATE, sys::Recursive::kYes}));
  EXPECT_EQ(*ParseRootPropagation("slave"), (Propagation{MS_SLAVE, sys::Recursive::kNo}));
  for (const char* const text : {"shared", "rshared", "unbindable", "ro", ""}) {
    EXPECT_FALSE(ParseRootPropagation(text).ok()) << text;
  }
}

}  // namespace
}  // namespace gofer::runsc
