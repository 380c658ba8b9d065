// A file system without room, or without inodes: that request's ENOSPC, nothing half made, and what
// needs no room goes on, commands to the gofer among it. Attack A-37.
//
// Source: spec/security.md s.5 and s.10.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/hostile/hostile_process.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using lisafs::FdId;

constexpr lisafs::Owner kNobody = {.uid = lisafs::kNoId, .gid = lisafs::kNoId};

class FileQuotaTest : public HostileProcessTest {
 protected:
  void TearDown() override {
    HostileProcessTest::TearDown();
    Forget();
    if (mounted_) umount2(served_.c_str(), MNT_DETACH);
  }

  // Serves a small tmpfs, which nobody but this test and the gofer sees.
  void Serve(const std::string& limits) {
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("", "/", "", MS_REC | MS_PRIVATE, nullptr), 0);
    tree_.Mkdir("small");
    served_ = tree_.At("small");
    ASSERT_EQ(mount("small", served_.c_str(), "tmpfs", 0, limits.c_str()), 0);
    mounted_ = true;
    tree_.Write("small/file", "content");
    Start({"--donate_fds=never"});
    if (!HasFatalFailure()) hostile_ = Connect();
  }
  void ExpectStillCommanded() {
    ExpectHonestServed();
    EXPECT_GT(StatusNumber("file_descriptors"), 0) << "the control socket answers";
    lisafs::Statx stat;
    ASSERT_EQ(
        Must(honest_->client.WalkStat(honest_->root.control_fd, {"file"}, std::span(&stat, 1))),
        1u);
    EXPECT_EQ(stat.size, 7u);
  }

  std::unique_ptr<Client> hostile_;

 private:
  bool mounted_ = false;
};

TEST_F(FileQuotaTest, NoSpace) {
  Serve("size=1m");
  const FdId root = hostile_->root.control_fd;
  const lisafs::CreateResult made =
      Must(hostile_->client.OpenCreateAt(root, "hog", 0600, kNobody, O_RDWR));
  const std::vector<std::byte> piece(65536);
  uint64_t size = 0;
  int error = 0;
  while (error == 0 && size < (8 << 20)) {
    const ErrnoOr<size_t> put = hostile_->client.PWrite(made.fd, piece, size);
    error = ErrorOf(put);
    if (put.ok()) size += *put;
  }
  EXPECT_EQ(error, ENOSPC);
  EXPECT_LE(size, uint64_t{1} << 20);
  EXPECT_EQ(ErrorOf(hostile_->client.FAllocate(made.fd, 0, size, 1 << 20)), ENOSPC);
  ExpectStillCommanded();
  // What takes room away from nobody works, and what gives it back.
  EXPECT_EQ(ErrorOf(hostile_->client.RenameAt(root, "hog", root, "hog2")), 0);
  EXPECT_EQ(ErrorOf(hostile_->client.UnlinkAt(root, "hog2", 0)), 0);
  EXPECT_EQ(ErrorOf(hostile_->client.PWrite(made.fd, piece, size)), ENOSPC) << "it is open still";
  EXPECT_EQ(ErrorOf(hostile_->client.Close({made.fd, made.child.control_fd})), 0);
  const lisafs::CreateResult again =
      Must(hostile_->client.OpenCreateAt(root, "small", 0600, kNobody, O_RDWR));
  EXPECT_EQ(Must(hostile_->client.PWrite(again.fd, piece, 0)), piece.size());
  hostile_.reset();
}

TEST_F(FileQuotaTest, NoInodes) {
  Serve("size=4m,nr_inodes=40");
  const FdId root = hostile_->root.control_fd;
  lisafs::Client& client = hostile_->client;
  int made = 0;
  int error = 0;
  for (; error == 0 && made < 100; ++made) {
    error = ErrorOf(client.MkdirAt(root, absl::StrCat("d", made), 0755, kNobody));
  }
  EXPECT_EQ(error, ENOSPC);
  EXPECT_GT(made, 10);
  EXPECT_EQ(ErrorOf(client.OpenCreateAt(root, "new", 0600, kNobody, O_RDWR)), ENOSPC);
  EXPECT_EQ(ErrorOf(client.MknodAt(root, "new", S_IFREG | 0600, kNobody, 0, 0)), ENOSPC);
  EXPECT_EQ(ErrorOf(client.SymlinkAt(root, "new", "target", kNobody)), ENOSPC);
  EXPECT_FALSE(tree_.Exists("small/new")) << "nothing is half made";
  ExpectStillCommanded();
  EXPECT_EQ(ErrorOf(client.UnlinkAt(root, "d0", AT_REMOVEDIR)), 0);
  // tmpfs gives the inode back when nobody holds the directory any more, which its client does.
  hostile_.reset();
  ExpectStillCommanded();
  Settle();
  hostile_ = Connect();
  EXPECT_EQ(ErrorOf(hostile_->client.MkdirAt(hostile_->root.control_fd, "again", 0755, kNobody)),
            0);
  hostile_.reset();
}

}  // namespace
}  // namespace gofer::testing
