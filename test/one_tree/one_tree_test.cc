// One gofer process, one directory, three kinds of clients at once: LISAFS, a virtio-fs guest, and
// the host's own kernel by /dev/fuse. What one of them does, the others see, and so does the host.

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/one_tree/view.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::one_tree {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using testing::ErrorOf;
using testing::GoferProcess;
using testing::Must;
using vhost::driver::FuseClient;
using vhost::driver::Machine;

class OneTreeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    tree_.Mkdir("served");
    tree_.Mkdir("mnt");
    Start({"--cache=never", "--allow_mmap", "--posix_locks", "--flock_locks"});
  }

  void Start(const std::vector<std::string>& flags) {
    testing::SocketPair lisafs = testing::StreamPair();
    testing::SocketPair monitor = testing::StreamPair();
    testing::Pipe ready = testing::MakePipe();
    std::vector<std::string> arguments = {"serve",
                                          absl::StrCat("--root=", tree_.At("served")),
                                          "--lisafs_fd=7",
                                          "--vhost_user_fd=8",
                                          "--ready_fd=9",
                                          absl::StrCat("--fuse_mountpoint=", tree_.At("mnt")),
                                          "--donate_fds=never"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    gofer_ = std::make_unique<GoferProcess>(testing::GoferStart{
        .arguments = arguments,
        .fds = {{7, lisafs.theirs.get()}, {8, monitor.theirs.get()}, {9, ready.write.get()}}});
    lisafs.theirs.Reset();
    monitor.theirs.Reset();
    ready.write.Reset();
    ASSERT_EQ(testing::ReadPipe(ready.read), "\n") << gofer_->Stderr();
    machine_ = Must(Machine::Attach(std::move(monitor.ours), {}));
    Must(machine_->Start());
    guest_client_ = std::make_unique<FuseClient>(machine_.get());
    Must(guest_client_->Init());
    host_ = std::make_unique<FolderView>("host", tree_.At("served"));
    mount_ = std::make_unique<FolderView>("/dev/fuse", tree_.At("mnt"));
    lisafs_ = std::make_unique<LisafsView>("LISAFS", std::move(lisafs.ours));
    guest_ = std::make_unique<GuestView>("virtio-fs", guest_client_.get());
  }

  std::vector<View*> Clients() const { return {lisafs_.get(), guest_.get(), mount_.get()}; }

  // That they all see what the host has.
  void ExpectOneTree(const std::string& after) {
    const std::map<std::string, std::string> expected = host_->Tree();
    for (View* const client : Clients()) {
      EXPECT_EQ(client->Tree(), expected) << client->name() << " after " << after;
    }
  }

  const testing::TempTree tree_;
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> guest_client_;
  std::unique_ptr<FolderView> host_;
  std::unique_ptr<FolderView> mount_;
  std::unique_ptr<LisafsView> lisafs_;
  std::unique_ptr<GuestView> guest_;
};

TEST_F(OneTreeTest, WhatOneDoesAllSee) {
  std::vector<View*> actors = Clients();
  actors.push_back(host_.get());  // the clients are not alone with the tree
  for (View* const actor : actors) {
    SCOPED_TRACE(actor->name());
    const auto step = [&](const char* what, const ErrnoOr<void>& done) {
      EXPECT_EQ(ErrorOf(done), 0) << what << " by " << actor->name();
      ExpectOneTree(absl::StrCat(what, " by ", actor->name()));
    };
    step("create", actor->Create("f", "text"));
    step("mkdir", actor->Mkdir("d"));
    step("symlink", actor->Symlink("../f", "d/s"));
    step("link", actor->Link("f", "d/l"));
    step("write", actor->Write("d/l", "TEXT and more"));
    step("chmod", actor->Chmod("f", 0600));
    step("truncate", actor->Truncate("d/l", 6));
    step("rename", actor->Rename("f", "d/g"));
    step("rename over", actor->Rename("d/l", "d/s"));
    step("mkdir below", actor->Mkdir("d/e"));
    step("create below", actor->Create("d/e/h", "deep"));
    step("rename of a directory", actor->Rename("d", "m"));
    step("unlink", actor->Unlink("m/e/h"));
    step("rmdir", actor->Rmdir("m/e"));
    step("unlink one of two names", actor->Unlink("m/g"));
    step("unlink the other", actor->Unlink("m/s"));
    step("rmdir of the renamed", actor->Rmdir("m"));
    EXPECT_TRUE(host_->Tree().empty());
  }
}

// One makes it, the next renames it, the third writes to it, the first removes it: in all orders.
TEST_F(OneTreeTest, HandedFromOneToTheOther) {
  const std::vector<View*> clients = Clients();
  for (size_t i = 0; i < clients.size(); ++i) {
    for (size_t k = 0; k < clients.size(); ++k) {
      for (size_t m = 0; m < clients.size(); ++m) {
        View& maker = *clients[i];
        View& mover = *clients[k];
        View& writer = *clients[m];
        SCOPED_TRACE(absl::StrCat(maker.name(), ", ", mover.name(), ", ", writer.name()));
        Must(maker.Mkdir("d"));
        Must(maker.Create("d/f", "made"));
        Must(mover.Rename("d", "e"));
        Must(mover.Rename("e/f", "g"));
        EXPECT_EQ(ErrorOf(maker.Read("d/f")), ENOENT);
        EXPECT_EQ(ErrorOf(writer.Write("g", "written")), 0);
        EXPECT_EQ(Must(maker.Read("g")), "written");
        EXPECT_EQ(Must(mover.Read("g")), "written");
        EXPECT_EQ(ErrorOf(maker.Create("g", "")), EEXIST);
        EXPECT_EQ(ErrorOf(writer.Rmdir("e")), 0);
        EXPECT_EQ(ErrorOf(mover.Rmdir("e")), ENOENT);
        EXPECT_EQ(ErrorOf(mover.Unlink("g")), 0);
        EXPECT_EQ(ErrorOf(writer.Look("g")), ENOENT);
      }
    }
  }
  ExpectOneTree("everything");
}

// What a client holds stays the same file wherever another one moves it.
TEST_F(OneTreeTest, WhatIsHeldGoesWithItsFile) {
  Must(host_->Mkdir("d"));
  Must(host_->Create("d/f", "held"));
  const lisafs::Inode by_lisafs = Must(lisafs_->Walk("d/f"));
  const lisafs::FdId open_by_lisafs =
      Must(lisafs_->client().OpenAt(by_lisafs.control_fd, O_RDWR)).fd;
  const NodeId by_guest = Must(guest_->Walk("d/f"));
  const HandleId open_by_guest = Must(guest_client_->Open(by_guest, O_RDWR)).fh;
  const UniqueFd by_mount(open(mount_->At("d/f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(by_mount.valid());

  const auto expect_held = [&](const std::string& text) {
    std::string bytes(16, '\0');
    const size_t size =
        Must(lisafs_->client().PRead(open_by_lisafs, std::as_writable_bytes(std::span(bytes)), 0));
    EXPECT_EQ(bytes.substr(0, size), text);
    EXPECT_EQ(Must(guest_client_->Read(by_guest, open_by_guest, 0, 16)), text);
    bytes.assign(16, '\0');
    const ssize_t read = pread(by_mount.get(), bytes.data(), bytes.size(), 0);
    EXPECT_EQ(bytes.substr(0, static_cast<size_t>(std::max<ssize_t>(read, 0))), text);
    EXPECT_EQ(Must(lisafs_->client().FStat(by_lisafs.control_fd)).size, text.size());
    EXPECT_EQ(Must(guest_client_->Getattr(by_guest)).attr.size, text.size());
    struct stat st;
    EXPECT_EQ(fstat(by_mount.get(), &st), 0);
    EXPECT_EQ(static_cast<size_t>(st.st_size), text.size());
  };
  expect_held("held");
  Must(guest_->Rename("d/f", "moved"));
  Must(lisafs_->Write("moved", "by LISAFS"));
  expect_held("by LISAFS");
  Must(mount_->Rename("moved", "d/again"));
  Must(lisafs_->Rename("d", "e"));
  Must(mount_->Write("e/again", "by /dev/fuse"));
  expect_held("by /dev/fuse");
  EXPECT_EQ(Must(guest_client_->Write(by_guest, open_by_guest, 0, "BY")), 2u);
  expect_held("BY /dev/fuse");
  ExpectOneTree("moving what is held");

  // Removed by one: the others go on with what they have open, and find nothing under the name.
  Must(lisafs_->Unlink("e/again"));
  EXPECT_EQ(pwrite(by_mount.get(), "--", 2, 0), 2);
  expect_held("-- /dev/fuse");
  EXPECT_EQ(Must(guest_client_->Getattr(by_guest)).attr.nlink, 0u);
  for (View* const client : Clients()) EXPECT_EQ(ErrorOf(client->Look("e/again")), ENOENT);
  EXPECT_EQ(ErrorOf(guest_->Create("e/again", "another")), 0);
  expect_held("-- /dev/fuse");
  EXPECT_EQ(Must(mount_->Read("e/again")), "another");
}

// A directory that a client is in, removed by another.
TEST_F(OneTreeTest, ARemovedDirectoryTakesNothingMore) {
  for (View* const remover : Clients()) {
    SCOPED_TRACE(remover->name());
    Must(host_->Mkdir("d"));
    const lisafs::Inode by_lisafs = Must(lisafs_->Walk("d"));
    const NodeId by_guest = Must(guest_->Walk("d"));
    const UniqueFd by_mount(open(mount_->At("d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(by_mount.valid());
    Must(remover->Rmdir("d"));
    Must(host_->Mkdir("d"));  // another one
    EXPECT_NE(ErrorOf(lisafs_->client().MkdirAt(by_lisafs.control_fd, "x", 0755, {})), 0);
    EXPECT_NE(ErrorOf(guest_client_->Mkdir(by_guest, "x", 0755)), 0);
    EXPECT_EQ(mkdirat(by_mount.get(), "x", 0755), -1);
    EXPECT_EQ(Must(host_->Names("d")).size(), 0u);
    Must(host_->Rmdir("d"));
  }
}

TEST_F(OneTreeTest, LocksHoldAgainstEachOther) {
  Must(host_->Create("f", "text"));
  const UniqueFd by_mount(open(mount_->At("f").c_str(), O_RDWR | O_CLOEXEC));
  const UniqueFd by_host(open(host_->At("f").c_str(), O_RDWR | O_CLOEXEC));
  const NodeId node = Must(guest_->Walk("f"));
  const HandleId fh = Must(guest_client_->Open(node, O_RDWR)).fh;
  const auto guest_locks = [&](uint32_t type) {
    fuse::LkIn in = {};
    in.fh = fh;
    in.owner = 7;
    in.lk = {.start = 0, .end = 9, .type = type, .pid = 1};
    return ErrorOf(guest_client_->Setlk(node, in, /*wait=*/false));
  };
  const auto locks = [](const UniqueFd& fd, short type) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_len = 10;
    return fcntl(fd.get(), F_OFD_SETLK, &lock) == 0 ? 0 : errno;
  };
  EXPECT_EQ(guest_locks(F_WRLCK), 0);
  EXPECT_EQ(locks(by_mount, F_WRLCK), EAGAIN);
  EXPECT_EQ(locks(by_host, F_RDLCK), EAGAIN);
  EXPECT_EQ(guest_locks(F_UNLCK), 0);
  EXPECT_EQ(locks(by_mount, F_RDLCK), 0);
  EXPECT_EQ(guest_locks(F_WRLCK), EAGAIN);
  EXPECT_EQ(guest_locks(F_RDLCK), 0);
  EXPECT_EQ(locks(by_host, F_WRLCK), EAGAIN);
}

// All at once in the same few names. Whatever the order was, there is one tree in the end, and
// nobody got an error that nobody would get alone with these names.
TEST_F(OneTreeTest, AllAtOnce) {
  for (const char* const dir : {"a", "b", "a/x"}) Must(host_->Mkdir(dir));
  std::atomic<int> strange{0};
  const auto work = [&](View& view, unsigned seed) {
    const auto next = [&] { return seed = seed * 1664525 + 1013904223, seed >> 16; };
    const auto path = [&] {
      static const char* const kDirs[] = {"a", "b", "a/x", "b/x"};
      return absl::StrCat(kDirs[next() % 4], "/f", next() % 6);
    };
    for (int i = 0; i < 400; ++i) {
      int error = 0;
      switch (next() % 7) {
        case 0:
        case 1:
          error = ErrorOf(view.Create(path(), view.name()));
          break;
        case 2:
          error = ErrorOf(view.Rename(path(), path()));
          break;
        case 3:
          error = ErrorOf(view.Link(path(), path()));
          break;
        case 4:
          error = ErrorOf(view.Unlink(path()));
          break;
        case 5:
          error = ErrorOf(view.Look(path()));
          break;
        case 6:
          error = ErrorOf(next() % 2 == 0 ? view.Rename("a/x", "b/x") : view.Rename("b/x", "a/x"));
          break;
      }
      // ESTALE: a name that was looked up before it was moved; EINVAL: LISAFS's word for a file
      // that is deleted.
      if (error != 0 && error != ENOENT && error != EEXIST && error != ENOTEMPTY &&
          error != ESTALE && error != EINVAL) {
        ADD_FAILURE() << view.name() << ": " << Errno(error).ToString();
        ++strange;
      }
    }
  };
  std::vector<std::thread> threads;
  unsigned seed = 1;
  for (View* const client : Clients()) {
    threads.emplace_back([&work, client, start = seed++] { work(*client, start); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(strange, 0);
  ExpectOneTree("all at once");
}

// One client's end is nobody else's.
TEST_F(OneTreeTest, TheyLeaveOneByOne) {
  Must(host_->Create("f", "text"));
  lisafs_.reset();
  EXPECT_EQ(Must(guest_->Read("f")), "text");
  EXPECT_EQ(Must(mount_->Read("f")), "text");
  guest_.reset();
  guest_client_.reset();
  machine_.reset();
  EXPECT_EQ(Must(mount_->Read("f")), "text");
  EXPECT_TRUE(gofer_->Running());
  ASSERT_EQ(umount2(tree_.At("mnt").c_str(), MNT_FORCE), 0);
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
}

// What a kernel may believe for a second it may not believe for much longer.
TEST_F(OneTreeTest, CachesKeepTheirTime) {
  gofer_.reset();
  Start({"--cache=auto"});
  Must(host_->Create("f", "one"));
  EXPECT_EQ(Must(mount_->Read("f")), "one");
  EXPECT_EQ(Must(mount_->Look("f")).size, 3u);
  Must(lisafs_->Rename("f", "g"));
  Must(guest_->Write("g", "longer"));
  absl::SleepFor(absl::Milliseconds(1100));
  ExpectOneTree("more than the second that a kernel may believe what it knows");
}

}  // namespace
}  // namespace gofer::one_tree
