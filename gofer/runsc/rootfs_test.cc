#include "gofer/runsc/rootfs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gofer/runsc/oci_spec.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::runsc {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return file ? text.str() : "(none)";
}

bool IsDirectory(const char* path) {
  struct stat attr;
  return stat(path, &attr) == 0 && S_ISDIR(attr.st_mode);
}

bool WriteFails(const char* path, int error) {
  const int fd = open(path, O_CREAT | O_WRONLY, 0600);
  if (fd >= 0) close(fd);
  return fd < 0 && errno == error;
}

unsigned long MountFlags(const char* path) {
  struct statvfs fs = {};
  EXPECT_EQ(statvfs(path, &fs), 0) << path;
  return fs.f_flag;
}

// The bundle of a container and what is bound into it, outside of it.
class RootfsTest : public ::testing::Test {
 protected:
  RootfsTest() {
    bundle_.Mkdir("rootfs");
    bundle_.Mkdir("rootfs/etc");
    bundle_.Write("rootfs/etc/name", "container");
    host_.Mkdir("data");
    host_.Write("data/file", "data");
    host_.Write("single", "one file");
    line_.bundle = bundle_.path();
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make mount namespaces";
  }

  oci::Spec Spec(const std::string& mounts, const std::string& root = R"("path":"rootfs")",
                 const std::string& more = R"("process":{"cwd":"/some/where"})") {
    const auto spec =
        ParseSpec(absl::StrCat("{\"root\":{", root, "},\"mounts\":[", mounts, "],", more, "}"),
                  bundle_.path());
    EXPECT_TRUE(spec.ok()) << spec.status();
    return spec.ok() ? *spec : oci::Spec();
  }
  std::string Bind(const std::string& from, const std::string& to,
                   const std::string& options = "\"rbind\"") {
    return absl::StrCat(R"({"type":"bind","source":")", host_.At(from), R"(","destination":")", to,
                        R"(","options":[)", options, "]}");
  }

  // With as many io fds as there are mounts to serve; their numbers do not matter here.
  absl::StatusOr<ConnectionPlan> Plan(const oci::Spec& spec) {
    absl::StatusOr<ConnectionPlan> plan = absl::UnknownError("");
    for (size_t count = 1; !plan.ok() && count < 8; ++count) {
      line_.io_fds.assign(count, 100);
      plan = PlanConnections(line_, spec);
    }
    return plan;
  }

  // Builds and enters; the process then sees nothing else. The spec has its destinations resolved.
  void Enter(oci::Spec& spec) {
    const auto planned = Plan(spec);
    ASSERT_TRUE(planned.ok()) << planned.status();
    auto rootfs = BuildRootfs(line_, spec, *planned);
    ASSERT_TRUE(rootfs.ok()) << rootfs.status();
    rootfs_ = *std::move(rootfs);
    const absl::Status entered = EnterRootfs(line_, rootfs_);
    ASSERT_TRUE(entered.ok()) << entered;
    const absl::Status resolved = ResolveDestinations(line_, *planned, rootfs_.root, spec);
    ASSERT_TRUE(resolved.ok()) << resolved;
  }

  const testing::TempTree bundle_;
  const testing::TempTree host_;
  CommandLine line_;
  Rootfs rootfs_;
};

TEST_F(RootfsTest, TheContainersTreeIsAllThatThereIs) {
  oci::Spec spec =
      Spec(absl::StrCat(Bind("data", "/mnt/data"), ",", Bind("single", "/etc/single", "\"bind\"")));
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    umask(022);
    Enter(spec);
    EXPECT_EQ(ReadAll("/etc/name"), "container");
    EXPECT_EQ(ReadAll("/mnt/data/file"), "data");
    EXPECT_EQ(ReadAll("/etc/single"), "one file");
    EXPECT_TRUE(IsDirectory("/some/where")) << "the working directory is made";
    EXPECT_NE(access("/proc", F_OK), 0);
    EXPECT_NE(access(host_.path().c_str(), F_OK), 0);
    EXPECT_NE(access("/../usr", F_OK), 0);
    // Written through to the host.
    std::ofstream("/mnt/data/new") << "from inside";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_EQ(host_.Read("data/new"), "from inside");
  EXPECT_EQ(bundle_.Stat("rootfs/mnt/data").st_mode, S_IFDIR | 0755u)
      << "mount points are made on the host";
  EXPECT_EQ(bundle_.Stat("rootfs/etc/single").st_mode, S_IFREG | 0755u);
  EXPECT_FALSE(bundle_.Exists("rootfs/mnt/data/file")) << "no mount reaches the host";
}

TEST_F(RootfsTest, TheDescriptorDirectoryHasNoWayOut) {
  oci::Spec spec = Spec("");
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    const int file = open("/etc/name", O_PATH);
    const int again = openat(rootfs_.descriptors.get(), std::to_string(file).c_str(), O_RDONLY);
    char text[16] = {};
    EXPECT_EQ(read(again, text, sizeof(text)), 9);
    EXPECT_STREQ(text, "container");
    struct stat here, above;
    ASSERT_EQ(fstat(rootfs_.descriptors.get(), &here), 0);
    ASSERT_EQ(fstatat(rootfs_.descriptors.get(), "..", &above, 0), 0);
    EXPECT_EQ(here.st_ino, above.st_ino);
    EXPECT_NE(faccessat(rootfs_.descriptors.get(), "../environ", F_OK, 0), 0);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(RootfsTest, DestinationsAreResolvedInTheRootAndTold) {
  bundle_.Symlink("rootfs/link", "/real");
  bundle_.Symlink("rootfs/evil", "../../../../../../tmp");
  oci::Spec spec =
      Spec(absl::StrCat(Bind("data", "/link/x"), R"(,{"destination":"/proc","type":"proc"},)",
                        Bind("data", "/evil/y")));
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_EQ(spec.mounts(0).destination(), "/real/x");
    EXPECT_EQ(spec.mounts(1).destination(), "/proc");
    EXPECT_EQ(spec.mounts(2).destination(), "/tmp/y");
    EXPECT_EQ(ReadAll("/real/x/file"), "data");
    EXPECT_EQ(ReadAll("/tmp/y/file"), "data");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_TRUE(bundle_.Exists("rootfs/real/x"));
  EXPECT_TRUE(bundle_.Exists("rootfs/tmp/y")) << "in the container's /tmp";
}

TEST_F(RootfsTest, EarlierMountsAreVisibleToLaterOnes) {
  host_.Mkdir("second");
  host_.Write("second/s", "second");
  oci::Spec spec = Spec(absl::StrCat(Bind("data", "/a"), ",", Bind("second", "/a/inside")));
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_EQ(ReadAll("/a/file"), "data");
    EXPECT_EQ(ReadAll("/a/inside/s"), "second");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_TRUE(host_.Exists("data/inside")) << "the mount point is in the first mount's source";
}

TEST_F(RootfsTest, ASourceMayBeWhereAMountGoes) {
  // Sources are the host's files, whatever covers them in the container.
  bundle_.Mkdir("rootfs/a");
  bundle_.Write("rootfs/a/own", "own");
  oci::Spec spec =
      Spec(absl::StrCat(Bind("data", "/a"), R"(,{"type":"bind","destination":"/b","source":")",
                        bundle_.At("rootfs/a"), R"("})"));
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_EQ(ReadAll("/a/file"), "data");
    EXPECT_EQ(ReadAll("/b/own"), "own");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(RootfsTest, ReadOnlyHoldsForTheKernelToo) {
  oci::Spec spec = Spec(absl::StrCat(Bind("data", "/ro", R"("rbind","ro")"), ",",
                                     Bind("data", "/rw"), ",", Bind("data", "/ro/inside")),
                        R"("path":"rootfs","readonly":true)");
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_TRUE(WriteFails("/etc/new", EROFS));
    EXPECT_TRUE(WriteFails("/ro/new", EROFS));
    EXPECT_FALSE(WriteFails("/rw/new", EROFS));
    EXPECT_FALSE(WriteFails("/ro/inside/new2", EROFS))
        << "a mount of its own, made before the outer became read-only";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(RootfsTest, NothingIsSetuidAndDevicesDependOnThePolicy) {
  const auto flags = [&](Version version, const char* confs) {
    oci::Spec spec = Spec(Bind("data", "/data", R"("rbind","noexec","noatime")"));
    line_.version = version;
    if (version != Version::kV22) line_.mount_confs = *ParseMountConfs(confs);
    const testing::ChildEnd end = testing::InMountNamespace([&] {
      Enter(spec);
      const unsigned long result = MountFlags("/data");
      EXPECT_TRUE(MountFlags("/") & ST_NOSUID);
      EXPECT_TRUE(result & ST_NOSUID);
      _exit(static_cast<int>(result >> 2 & 3) |
            (result & ST_NOATIME ? 4 : 0));  // nodev, noexec, noatime
    });
    return end.status;
  };
  static_assert(ST_NODEV == 4 && ST_NOEXEC == 8);
  EXPECT_EQ(flags(Version::kV22, ""), 0) << "opens devices, and other options never took effect";
  EXPECT_EQ(flags(Version::kV24, "lisafs:none,lisafs:none"), 0);
  EXPECT_EQ(flags(Version::kV26, "lisafs:none,lisafs:none"), 1 | 2 | 4);
}

TEST_F(RootfsTest, ARootFromElsewhereLeavesAnEmptyWritableOne) {
  line_.version = Version::kV24;
  line_.mount_confs = *ParseMountConfs("none:memory,lisafs:none");
  oci::Spec spec = Spec(Bind("data", "/mnt/data"));
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_EQ(ReadAll("/mnt/data/file"), "data");
    EXPECT_NE(access("/etc", F_OK), 0);
    EXPECT_FALSE(WriteFails("/new", EROFS));
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_FALSE(bundle_.Exists("rootfs/mnt"));
}

TEST_F(RootfsTest, TheHostsRootCanBeServed) {
  oci::Spec spec = Spec(Bind("data", "/tmp"), R"("path":"/")", R"("process":{})");
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_EQ(ReadAll("/tmp/file"), "data");
    EXPECT_TRUE(IsDirectory("/proc/self")) << "mounts below the root come along";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(RootfsTest, WhatCannotBeMountedIsNamed) {
  const auto error = [&](const std::string& mounts) {
    oci::Spec spec = Spec(mounts);
    const testing::ChildEnd end = testing::InMountNamespace([&] {
      const auto rootfs = BuildRootfs(line_, spec, *Plan(spec));
      const std::string message(rootfs.status().message());
      (void)!write(2, message.data(), message.size());
    });
    return end.stderr_text;
  };
  EXPECT_EQ(error(Bind("none", "/x")), absl::StrCat("mount /x: clone ", host_.At("none"),
                                                    ": ENOENT (No such file or directory)"));
  EXPECT_EQ(error(Bind("data", "/etc/name")),
            "make directory /etc/name in the root: a file is there: ENOTDIR (Not a directory)");
  EXPECT_EQ(error(Bind("data", "/")),
            absl::StrCat("mount ", host_.At("data"), " at /: that is the root itself"));
}

TEST_F(RootfsTest, CreateContainerHooksSeeTheFinishedTree) {
  line_.version = Version::kV26;
  line_.container_id = "cid";
  line_.mount_confs = *ParseMountConfs("lisafs:none,lisafs:none");
  // Reads the state, and looks at the tree where the runtime spec says it is.
  const std::string script = absl::StrCat("cat > ", host_.At("state"), "; cat ",
                                          bundle_.At("rootfs/mnt/file"), " > ", host_.At("seen"));
  oci::Spec spec = Spec(
      Bind("data", "/mnt"), R"("path":"rootfs")",
      absl::StrCat(
          R"("process":{},"ociVersion":"1.1.0","annotations":{"k":"v"},"hooks":{"createContainer":[{"path":"/bin/sh","args":["sh","-c",")",
          script, R"("],"env":["PATH=/bin"]}]})"));
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    Enter(spec);
    EXPECT_EQ(ReadAll("/mnt/file"), "data");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_EQ(host_.Read("seen"), "data");
  EXPECT_EQ(
      host_.Read("state"),
      absl::StrCat(R"({"ociVersion":"1.1.0","id":"cid","status":"creating","pid":-1,"bundle":")",
                   bundle_.path(), R"(","annotations":{"k":"v"}})"));
}

TEST_F(RootfsTest, AFailedHookEndsTheStart) {
  line_.version = Version::kV26;
  line_.mount_confs = *ParseMountConfs("lisafs:none");
  const auto error = [&](const std::string& hook) {
    oci::Spec spec = Spec("", R"("path":"rootfs")",
                          absl::StrCat(R"("process":{},"hooks":{"createContainer":[)", hook, "]}"));
    return testing::InMountNamespace([&] {
             const std::string message(BuildRootfs(line_, spec, *Plan(spec)).status().message());
             (void)!write(2, message.data(), message.size());
           })
        .stderr_text;
  };
  EXPECT_EQ(error(R"({"path":"/bin/false"})"), "createContainer hook /bin/false: exit status 1");
  EXPECT_EQ(error(R"({"path":"/nothing"})"),
            "createContainer hook /nothing: ENOENT (No such file or directory)");
  EXPECT_EQ(error(R"({"path":"/bin/sleep","args":["sleep","60"],"timeout":1})"),
            "createContainer hook /bin/sleep: ETIMEDOUT (Connection timed out)");
}

}  // namespace
}  // namespace gofer::runsc
