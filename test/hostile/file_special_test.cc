// Devices, FIFOs and sockets of the tree through every operation: their attributes can be had and
// changed, but nothing opens them, so that no driver is called and nobody on the host wakes up.
// And what a client may make. Attacks.
//
// Source: spec/security.md s.2 and s.10.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "test/hostile/peer.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using Node = Peer::Node;

class FileSpecial : public PeerTest {
 protected:
  void SetUp() override {
    tree_.Fifo("served/fifo");
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    tree_.At("served/socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0);
    names_ = {"fifo", "socket"};
    if (geteuid() == 0) {
      // The numbers of /dev/null, and of a disk that no machine has.
      ASSERT_EQ(mknod(tree_.At("served/char").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
      ASSERT_EQ(mknod(tree_.At("served/block").c_str(), S_IFBLK | 0666, makedev(7, 200)), 0);
      names_.insert({"char", "block"});
    }
    peer_ = Connect();
  }
  void TearDown() override {
    peer_.reset();
    PeerTest::TearDown();
  }
  // Null for a block device over LISAFS, which has none.
  std::optional<Node> Lookup(const std::string& name) {
    ErrnoOr<Node> node = peer_->Lookup(peer_->root(), name);
    if (name == "block" && !IsFuse()) {
      EXPECT_EQ(ErrorOf(node), EPERM);
      return std::nullopt;
    }
    return Must(std::move(node));
  }

  std::set<std::string> names_;
  std::unique_ptr<Peer> peer_;
};

TEST_P(FileSpecial, NothingOpensThem) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const std::optional<Node> node = Lookup(name);
    if (!node) continue;
    for (uint32_t flags = 0; flags < 4; ++flags) {
      for (const uint32_t more : {0, O_NONBLOCK, O_TRUNC, O_DIRECTORY, O_PATH, O_CREAT}) {
        const ErrnoOr<Peer::File> open = peer_->Open(*node, flags | more);
        ASSERT_FALSE(open.ok()) << flags << " " << more;
        const int error = open.error().value();
        EXPECT_TRUE(error == EPERM || (IsFuse() && error == EBADF)) << error;
      }
    }
    EXPECT_EQ(ErrorOf(peer_->SetSize(node->id, 0)), EINVAL);
    EXPECT_EQ(ErrorOf(peer_->ReadLink(node->id)), EINVAL);
    EXPECT_EQ(ErrorOf(peer_->Lookup(node->id, "x")), ENOTDIR);
    EXPECT_EQ(ErrorOf(peer_->Create(node->id, "x", 0600)), ENOTDIR);
    EXPECT_EQ(ErrorOf(peer_->GetXattr(node->id, "user.k", 100)), ENODATA);
    EXPECT_EQ(ErrorOf(peer_->SetXattr(node->id, "user.k", "v")), EPERM);
    const int removed = ErrorOf(peer_->RemoveXattr(node->id, "user.k"));
    EXPECT_TRUE(removed == ENODATA || removed == EPERM) << removed;
    EXPECT_TRUE(Must(peer_->ListXattr(node->id)).empty());
  }
}

TEST_P(FileSpecial, TheirAttributesAreLikeAnybodys) {
  for (const std::string& name : names_) {
    SCOPED_TRACE(name);
    const std::optional<Node> node = Lookup(name);
    if (!node) continue;
    EXPECT_EQ(node->ino, tree_.Stat("served/" + name).st_ino);
    Must(peer_->SetMode(node->id, 0640));
    Must(peer_->SetOwner(node->id, 7, 8));
    Must(peer_->SetTimes(node->id, {11, 0}, {12, 0}));
    const struct stat stat = tree_.Stat("served/" + name);
    EXPECT_EQ(stat.st_mode & 07777, 0640u);
    EXPECT_EQ(stat.st_uid, 7u);
    EXPECT_EQ(stat.st_mtim.tv_sec, 12);
    const Node hard = Must(peer_->Link(peer_->root(), "hard", node->id));
    EXPECT_EQ(hard.ino, node->ino);
    Must(peer_->Rename(peer_->root(), "hard", peer_->root(), "moved"));
    Must(peer_->Unlink(peer_->root(), "moved"));
  }
}

// A process of the host that waits until somebody reads: it still does when the client has tried
// everything.
TEST_P(FileSpecial, AWriterOfTheHostIsNotWoken) {
  const std::string path = tree_.At("served/fifo");
  int started[2];
  ASSERT_EQ(pipe2(started, O_CLOEXEC), 0);
  const UniqueFd read_end(started[0]);
  UniqueFd write_end(started[1]);
  const pid_t writer = fork();
  ASSERT_GE(writer, 0);
  if (writer == 0) {
    if (write(write_end.get(), "x", 1) != 1) _exit(2);
    _exit(open(path.c_str(), O_WRONLY | O_CLOEXEC) >= 0 ? 0 : 1);
  }
  char byte;
  ASSERT_EQ(read(read_end.get(), &byte, 1), 1);
  absl::SleepFor(absl::Milliseconds(20));  // until it is in open(2); later would only miss a defect
  const Node fifo = *Lookup("fifo");
  for (uint32_t flags = 0; flags < 4; ++flags) {
    EXPECT_FALSE(peer_->Open(fifo, flags).ok());
    EXPECT_FALSE(peer_->Open(fifo, flags | O_NONBLOCK | O_TRUNC).ok());
  }
  EXPECT_FALSE(peer_->SetSize(fifo.id, 0).ok());
  peer_->GetXattr(fifo.id, "user.k", 10).ok();
  peer_->ListXattr(fifo.id).ok();
  Must(peer_->SetMode(fifo.id, 0600));
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(waitpid(writer, nullptr, WNOHANG), 0) << "it has opened the FIFO";
  const UniqueFd reader(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int status = -1;
  EXPECT_EQ(waitpid(writer, &status, 0), writer);
  EXPECT_EQ(status, 0) << "it really was waiting for a reader";
}

// What a client may make: of devices the whiteout alone. A kernel that mounts by FUSE keeps FIFOs
// and sockets to itself; a sentry makes its own.
TEST_P(FileSpecial, WhatMayBeMade) {
  const auto make = [&](uint32_t mode, uint32_t major, uint32_t minor) {
    const ErrnoOr<Node> made = peer_->Mknod(peer_->root(), "made", mode, major, minor);
    const bool is_there = tree_.Exists("served/made");
    EXPECT_EQ(made.ok(), is_there) << "a refused request leaves nothing behind";
    if (is_there) {
      const struct stat stat = tree_.Stat("served/made");
      EXPECT_TRUE(stat.st_rdev == 0) << "a device node: " << stat.st_rdev;
      tree_.Unlink("served/made");
    }
    return ErrorOf(made);
  };
  EXPECT_EQ(make(S_IFREG | 0644, 0, 0), 0);
  EXPECT_EQ(make(S_IFCHR | 0644, 0, 0), 0) << "a whiteout";
  EXPECT_EQ(make(S_IFIFO | 0644, 0, 0), IsFuse() ? 0 : EPERM);
  EXPECT_EQ(make(S_IFSOCK | 0644, 0, 0), IsFuse() ? 0 : EPERM);
  for (const uint32_t type : {S_IFCHR, S_IFBLK}) {
    for (const auto& [major, minor] :
         {std::pair<uint32_t, uint32_t>{1, 3}, {0, 1}, {1, 0}, {7, 200}, {0xfff, 0xfffff}}) {
      EXPECT_EQ(make(type | 0644, major, minor), EPERM) << major << ":" << minor;
    }
  }
  EXPECT_EQ(make(S_IFBLK | 0644, 0, 0), EPERM);
  for (const uint32_t type : {uint32_t{S_IFDIR}, uint32_t{S_IFLNK}, 0xf000u, 0x3000u}) {
    EXPECT_EQ(make(type | 0644, 0, 0), IsFuse() ? EINVAL : EPERM) << std::oct << type;
  }
}

INSTANTIATE_OVER_EACH_WAY_IN(FileSpecial);

}  // namespace
}  // namespace gofer::testing
