// `gofer serve` with a mount on this machine: how it begins, and every way in which it ends.

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/socket.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

using testing::GoferProcess;
using testing::GoferStart;

constexpr long kFuseMagic = 0x65735546;

class ServeFuseTest : public ::testing::Test {
 protected:
  ServeFuseTest() {
    tree_.Mkdir("served");
    tree_.Write("served/file", "content");
    tree_.Mkdir("mnt");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  // One that serves.
  std::unique_ptr<GoferProcess> Start(std::vector<std::string> flags, std::map<int, int> fds = {},
                                      std::vector<std::string> environment = {}) {
    testing::Pipe ready = testing::MakePipe();
    fds[9] = ready.write.get();
    std::vector<std::string> arguments = {"serve", Root(), "--ready_fd=9"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    auto gofer = std::make_unique<GoferProcess>(GoferStart{.arguments = std::move(arguments),
                                                           .fds = std::move(fds),
                                                           .environment = std::move(environment)});
    ready.write.Reset();
    CHECK_EQ(testing::ReadPipe(ready.read), "\n") << gofer->Stderr();
    return gofer;
  }
  // A mount without a server: of the returned descriptor.
  UniqueFd MountByCaller() const {
    UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    PCHECK(device.valid());
    const std::string data = absl::StrCat(
        "fd=", device.get(), ",rootmode=40000,user_id=0,group_id=0,default_permissions");
    PCHECK(mount("caller", tree_.At("mnt").c_str(), "fuse", MS_NOSUID | MS_NODEV, data.c_str()) ==
           0);
    return device;
  }
  std::string Root() const { return absl::StrCat("--root=", tree_.At("served")); }
  std::string Mountpoint() const { return absl::StrCat("--fuse_mountpoint=", tree_.At("mnt")); }

  // A mount of ours, whether or not somebody answers. Not asked of the file system itself: not by a
  // path through it either.
  static bool IsMounted(const std::string& path) {
    struct statx here, above;
    if (statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, STATX_MNT_ID, &here) != 0) return true;
    const std::string parent = std::filesystem::path(path).parent_path();
    CHECK_EQ(statx(AT_FDCWD, parent.c_str(), AT_STATX_DONT_SYNC, STATX_MNT_ID, &above), 0);
    return here.stx_mnt_id != above.stx_mnt_id;
  }
  static bool BecomesUnmounted(const std::string& path) {
    return testing::Eventually([&] { return !IsMounted(path); });
  }

  const testing::TempTree tree_;
};

TEST_F(ServeFuseTest, IsMountedBeforeItIsReadyAndNotAfterItsEnd) {
  const auto gofer = Start({Mountpoint()});
  struct statfs st;
  ASSERT_EQ(statfs(tree_.At("mnt").c_str(), &st), 0);
  EXPECT_EQ(st.f_type, kFuseMagic);
  EXPECT_EQ(tree_.Read("mnt/file"), "content");
  tree_.Write("mnt/new", "written");
  EXPECT_EQ(tree_.Read("served/new"), "written");
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_FALSE(IsMounted(tree_.At("mnt")));
}

TEST_F(ServeFuseTest, ClientsThatHoldFilesAreCutOff) {
  const auto gofer = Start({Mountpoint(), "--writeback"});
  const UniqueFd held(open(tree_.At("mnt/file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(pwrite(held.get(), "CON", 3, 0), 3);
  gofer->Signal(SIGINT);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_FALSE(IsMounted(tree_.At("mnt")));
  EXPECT_EQ(tree_.Read("served/file"), "CONtent");
  EXPECT_EQ(fsync(held.get()), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(ServeFuseTest, EndsWithStatusZeroWhenSomebodyElseUnmounts) {
  const auto gofer = Start({Mountpoint()});
  ASSERT_EQ(umount2(tree_.At("mnt").c_str(), MNT_FORCE), 0);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

TEST_F(ServeFuseTest, NoMountIsLeftWhenItIsKilled) {
  const auto gofer = Start({Mountpoint()});
  const UniqueFd held(open(tree_.At("mnt/file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(held.valid());
  gofer->Signal(SIGKILL);
  EXPECT_EQ(gofer->Wait(), -SIGKILL);
  EXPECT_TRUE(BecomesUnmounted(tree_.At("mnt")));
}

TEST_F(ServeFuseTest, NoMountIsLeftWhenItCannotStart) {
  GoferProcess gofer({.arguments = {"serve", Root(), Mountpoint(), "--pid_file=/nowhere/pid"}});
  EXPECT_EQ(gofer.Wait(), 1) << gofer.Stderr();
  EXPECT_FALSE(IsMounted(tree_.At("mnt")));
}

TEST_F(ServeFuseTest, TheMountPointMayBeInTheServedTree) {
  tree_.Mkdir("served/below");
  tree_.Write("served/below/covered", "covered");
  const std::string below = tree_.At("served/below");
  const auto gofer = Start({absl::StrCat("--fuse_mountpoint=", below)});
  EXPECT_EQ(tree_.Read("served/below/file"), "content");
  EXPECT_EQ(tree_.Read("served/below/below/covered"), "covered") << "the tree as it was before";
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

TEST_F(ServeFuseTest, TheMountPointMayBeTheServedTree) {
  const auto gofer = Start({absl::StrCat("--fuse_mountpoint=", tree_.At("served"))});
  EXPECT_TRUE(IsMounted(tree_.At("served")));
  EXPECT_EQ(tree_.Read("served/file"), "content");
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_FALSE(IsMounted(tree_.At("served")));
}

TEST_F(ServeFuseTest, OthersMayNotLookUnlessAllowed) {
  const auto as_nobody = [&] {
    return testing::InChild([&] {
      PCHECK(setresuid(65534, 65534, 65534) == 0);
      _exit(access(tree_.At("mnt/file").c_str(), R_OK) == 0 ? 0 : errno);
    });
  };
  {
    const auto gofer = Start({Mountpoint()});
    EXPECT_EQ(as_nobody().status, EACCES);
    gofer->Signal(SIGTERM);
    EXPECT_EQ(gofer->Wait(), 0);
  }
  const auto gofer = Start({Mountpoint(), "--allow_other"});
  EXPECT_EQ(as_nobody().status, 0);
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0);
}

TEST_F(ServeFuseTest, ReadonlyIsReadonly) {
  const auto gofer = Start({Mountpoint(), "--readonly"});
  EXPECT_EQ(tree_.Read("mnt/file"), "content");
  EXPECT_EQ(mkdir(tree_.At("mnt/d").c_str(), 0755), -1);
  EXPECT_EQ(errno, EROFS);
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 0);
}

TEST_F(ServeFuseTest, OneThatTheCallerHasMounted) {
  UniqueFd device = MountByCaller();
  {
    const auto gofer = Start({"--fuse_fd=7"}, {{7, device.get()}});
    EXPECT_EQ(tree_.Read("mnt/file"), "content");
    gofer->Signal(SIGTERM);
    EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  }
  EXPECT_TRUE(IsMounted(tree_.At("mnt"))) << "it is the caller's";
  device.Reset();
  EXPECT_EQ(access(tree_.At("mnt/other").c_str(), F_OK), -1);
  EXPECT_EQ(errno, ENOTCONN);
  EXPECT_EQ(umount2(tree_.At("mnt").c_str(), MNT_DETACH), 0);
}

TEST_F(ServeFuseTest, AServiceManagerKeepsTheMount) {
  const UniqueFd device = MountByCaller();
  const UniqueFd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  tree_.At("notify").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(manager.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0);
  const auto gofer = Start({"--fuse_fd=7"}, {{7, device.get()}},
                           {absl::StrCat("NOTIFY_SOCKET=", tree_.At("notify"))});
  std::array<std::byte, 64> text;
  std::array<UniqueFd, 2> kept;
  const ErrnoOr<sys::Received> store = sys::ReceiveWithFds(manager, text, kept);
  ASSERT_TRUE(store.ok());
  EXPECT_EQ(absl::string_view(reinterpret_cast<const char*>(text.data()), store->bytes),
            "FDSTORE=1\nFDNAME=fuse");
  ASSERT_EQ(store->fds, 1u);
  EXPECT_EQ(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, kept[0].get(), device.get()), 0);
  const ErrnoOr<sys::Received> ready = sys::ReceiveWithFds(manager, text, kept);
  ASSERT_TRUE(ready.ok());
  EXPECT_EQ(ready->fds, 0u);
  EXPECT_EQ(absl::string_view(reinterpret_cast<const char*>(text.data()), ready->bytes), "READY=1");
  EXPECT_EQ(umount2(tree_.At("mnt").c_str(), MNT_DETACH), 0);
}

TEST_F(ServeFuseTest, WrongUse) {
  const auto outcome = [&](const std::string& flag, std::map<int, int> fds = {}) {
    GoferProcess gofer({.arguments = {"serve", Root(), flag}, .fds = std::move(fds)});
    const int status = gofer.Wait();
    return absl::StrCat(status, " ", gofer.Stderr());
  };
  EXPECT_EQ(outcome("--fuse_mountpoint=/nowhere"),
            "1 gofer: --fuse_mountpoint=/nowhere: open: ENOENT (No such file or directory)\n");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(outcome("--fuse_fd=7", {{7, null.get()}}),
            "2 gofer: --fuse_fd=7: ENODEV (No such device); hand down a descriptor of /dev/fuse, "
            "open for reading and writing, that a mount was made with\n");
  EXPECT_EQ(outcome("--fuse_fd=x").substr(0, 29), "2 gofer: --fuse_fd=x: is not ");
}

// A file system below the served tree that never answers: what asks it waits, everybody else does
// not, and the end is not kept waiting either.
TEST_F(ServeFuseTest, AHostFileSystemThatHangsStopsNobodyElse) {
  // In a directory of its own: the kernel holds a directory's lock while a name is looked up in it.
  tree_.Mkdir("served/other");
  tree_.Mkdir("served/other/hanging");
  UniqueFd silent(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(silent.valid());
  const std::string data =
      absl::StrCat("fd=", silent.get(), ",rootmode=40000,user_id=0,group_id=0");
  ASSERT_EQ(mount("silent", tree_.At("served/other/hanging").c_str(), "fuse", 0, data.c_str()), 0);
  const auto gofer = Start({Mountpoint()});
  std::atomic<int> over{0};
  std::vector<std::thread> hanging;
  for (int i = 0; i < 10; ++i) {
    hanging.emplace_back([this, i, &over] {
      EXPECT_EQ(access(tree_.At(absl::StrCat("mnt/other/hanging/", i)).c_str(), F_OK), -1);
      ++over;
    });
  }
  absl::SleepFor(absl::Milliseconds(100));
  for (int i = 0; i < 100; ++i) {
    tree_.Write(absl::StrCat("mnt/f", i), "text");
    EXPECT_EQ(tree_.Read(absl::StrCat("mnt/f", i)), "text");
  }
  EXPECT_EQ(over, 0) << "all of this while they hang";
  gofer->Signal(SIGTERM);
  EXPECT_EQ(gofer->Wait(), 1) << gofer->Stderr();
  EXPECT_TRUE(BecomesUnmounted(tree_.At("mnt")));
  silent.Reset();
  for (std::thread& thread : hanging) thread.join();
  EXPECT_EQ(umount2(tree_.At("served/other/hanging").c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace gofer::server
