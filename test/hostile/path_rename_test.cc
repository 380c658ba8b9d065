// Renames that must not be: flags that are none, into the own child, onto what is not empty, by
// many clients at once and both ways round, and in trees as deep as nobody makes them. Each has its
// errno; nothing waits for itself, and no depth is a depth of the stack. Attacks.
//
// Source: spec/security.md s.2, s.3 and s.10; spec/lisafs.md s.5.33.

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/hostile/peer.h"
#include "test/support/eventually.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using Node = Peer::Node;

class PathRename : public PeerTest {
 protected:
  explicit PathRename(const PeerOptions& options = {}) : PeerTest(options) {}
  void SetUp() override { peer_ = Connect(); }
  void TearDown() override {
    peer_.reset();
    PeerTest::TearDown();
  }
  int Rename(const char* from, const char* to, uint32_t flags = 0) {
    return ErrorOf(peer_->Rename(peer_->root(), from, peer_->root(), to, flags));
  }

  std::unique_ptr<Peer> peer_;
};

TEST_P(PathRename, EveryFlag) {
  tree_.Write("served/a", "a");
  tree_.Write("served/b", "b");
  EXPECT_EQ(Rename("a", "b", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(Rename("a", "c", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(Rename("a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(Rename("a", "b", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
  for (uint32_t flag = RENAME_WHITEOUT << 1; flag != 0; flag <<= 1) {
    EXPECT_EQ(Rename("a", "b", flag), EINVAL) << flag;
    EXPECT_EQ(Rename("a", "b", flag | RENAME_EXCHANGE), EINVAL) << flag;
  }
  EXPECT_EQ(tree_.Read("served/a"), "a");
  EXPECT_EQ(tree_.Read("served/b"), "b");
  EXPECT_EQ(Rename("a", "b", RENAME_EXCHANGE), 0);
  EXPECT_EQ(tree_.Read("served/a"), "b");
}

TEST_P(PathRename, WhatCannotBe) {
  tree_.Mkdir("served/dir");
  tree_.Mkdir("served/dir/sub");
  tree_.Mkdir("served/other");
  tree_.Write("served/other/f", "");
  tree_.Write("served/file", "");
  const Node dir = Must(peer_->Lookup(peer_->root(), "dir"));
  const Node sub = Must(peer_->Lookup(dir.id, "sub"));
  const Node file = Must(peer_->Lookup(peer_->root(), "file"));
  const uint64_t root = peer_->root();
  const auto before = tree_.Snapshot();
  EXPECT_EQ(ErrorOf(peer_->Rename(root, "dir", dir.id, "x")), EINVAL) << "into itself";
  EXPECT_EQ(ErrorOf(peer_->Rename(root, "dir", sub.id, "x")), EINVAL) << "into its child";
  EXPECT_EQ(ErrorOf(peer_->Rename(root, "dir", dir.id, "sub", RENAME_EXCHANGE)), EINVAL);
  EXPECT_EQ(ErrorOf(peer_->Rename(dir.id, "sub", root, "dir")), ENOTEMPTY) << "onto its parent";
  EXPECT_EQ(Rename("dir", "other"), ENOTEMPTY);
  EXPECT_EQ(Rename("dir", "file"), ENOTDIR);
  EXPECT_EQ(Rename("file", "dir"), EISDIR);
  EXPECT_EQ(ErrorOf(peer_->Rename(file.id, "x", root, "y")), ENOTDIR);
  EXPECT_EQ(ErrorOf(peer_->Rename(root, "file", file.id, "y")), ENOTDIR);
  // The root has no name that could be said.
  for (const char* const name : {"", ".", "..", "/", "a/b"}) {
    EXPECT_EQ(Rename(name, "x"), EINVAL) << name;
    EXPECT_EQ(Rename("file", name), EINVAL) << name;
    EXPECT_EQ(ErrorOf(peer_->Rename(dir.id, name, root, "x")), EINVAL) << name;
  }
  EXPECT_EQ(Rename("file", std::string(256, 'n').c_str()), ENAMETOOLONG);
  EXPECT_EQ(tree_.Snapshot(), before);
  // From and to where there is nothing any more.
  Must(peer_->Rmdir(dir.id, "sub"));
  const int gone = IsFuse() ? ENOENT : EINVAL;
  EXPECT_EQ(ErrorOf(peer_->Rename(sub.id, "x", root, "y")), gone);
  EXPECT_EQ(ErrorOf(peer_->Rename(root, "file", sub.id, "y")), gone);
  EXPECT_TRUE(tree_.Exists("served/file"));
}

// A lock for each directory, and renames that want the same two in either order, or one twice.
TEST_P(PathRename, Storm) {
  constexpr unsigned kClients = 4;
  constexpr unsigned kDirs = 4;
  for (unsigned i = 0; i < kDirs; ++i) {
    tree_.Mkdir(absl::StrCat("served/d", i));
    tree_.Write(absl::StrCat("served/d", i, "/f"), "");
  }
  const int rounds = RaceOperations() / static_cast<int>(kClients);
  std::vector<std::thread> clients;
  for (unsigned t = 0; t < kClients; ++t) {
    clients.emplace_back([&, t] {
      const std::unique_ptr<Peer> peer = Connect();
      std::minstd_rand random(t + 1);
      Slowest slowest;
      std::vector<uint64_t> dirs = {peer->root()};
      // Held all the time: where they are is what changes.
      for (unsigned i = 0; i < kDirs; ++i) {
        const ErrnoOr<Node> dir = peer->Lookup(peer->root(), absl::StrCat("d", i));
        if (dir.ok()) dirs.push_back(dir->id);
      }
      const auto name = [&] { return absl::StrCat("d", random() % kDirs); };
      for (int i = 0; i < rounds; ++i) {
        const uint64_t from = dirs[random() % dirs.size()];
        const uint64_t to = dirs[random() % dirs.size()];
        const uint32_t flags = random() % 3;
        const int error =
            ErrorOf(slowest.Time([&] { return peer->Rename(from, name(), to, name(), flags); }));
        // No rename may lose a directory that is not empty, or make a circle of them.
        EXPECT_TRUE(error == 0 || error == ENOENT || error == EEXIST || error == ENOTEMPTY ||
                    error == EINVAL)
            << error;
      }
      EXPECT_LT(slowest.worst(), kPatience);
    });
  }
  for (std::thread& client : clients) client.join();
  // All are still there, each once, and each with its file.
  int dirs = 0;
  int files = 0;
  for (const auto& [path, line] : tree_.Snapshot()) {
    if (path.rfind("served/", 0) != 0) continue;
    (path.back() == 'f' ? files : dirs) += 1;
  }
  EXPECT_EQ(dirs, static_cast<int>(kDirs));
  EXPECT_EQ(files, static_cast<int>(kDirs));
}

// The deepest tree for which this process may have a descriptor each: 20 000 levels where the
// machine lets it.
class PathRenameDeep : public PathRename {
 protected:
  explicit PathRenameDeep(const PeerOptions& options = {}) : PathRename(options) {
    struct rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    // The tree is the same one for FUSE, which has less to go through at day.
    const size_t wanted = IsFuse() && RaceOperations() < 200'000 ? 2'000 : 20'000;
    depth_ = std::min<size_t>(wanted, limit.rlim_max / 2);
  }

  // Directories in each other, from the root on; `chain` has their nodes, the root's first.
  void MakeChain(std::vector<Node>& chain) {
    chain.push_back({.id = peer_->root()});
    for (size_t i = 0; i < depth_; ++i) {
      chain.push_back(Must(peer_->Mkdir(chain.back().id, "d", 0755)));
    }
  }
  void ExpectRenamedAsAWhole(const std::vector<Node>& chain) {
    const Node& deepest = chain.back();
    EXPECT_EQ(ErrorOf(peer_->Rename(peer_->root(), "d", deepest.id, "d")), EINVAL);
    EXPECT_EQ(ErrorOf(peer_->Rename(chain[1].id, "d", deepest.id, "d")), EINVAL);
    Must(peer_->Rename(peer_->root(), "d", peer_->root(), "e"));
    EXPECT_EQ(Must(peer_->Stat(deepest.id)).ino, deepest.ino);
    EXPECT_EQ(Must(peer_->Stat(chain[depth_ / 2].id)).ino, chain[depth_ / 2].ino);
    Must(peer_->Rename(peer_->root(), "e", peer_->root(), "d"));
  }
  void RemoveChain(const std::vector<Node>& chain) {
    for (size_t i = depth_; i > 0; --i) {
      Must(peer_->Rmdir(chain[i - 1].id, "d"));
      // Here, not all at the end of the connection: it may be a discard of the disk for each.
      peer_->Forget(chain[i].id);
    }
    EXPECT_FALSE(tree_.Exists("served/d"));
  }

  size_t depth_ = 0;
};

TEST_P(PathRenameDeep, NoDepthIsTheStacks) {
  std::vector<Node> chain;
  MakeChain(chain);
  ExpectRenamedAsAWhole(chain);
  // One that is held alone holds all above it, and lets them go with it.
  {
    const std::unique_ptr<Peer> other = Connect();
    uint64_t at = other->root();
    for (size_t i = 0; i < depth_; ++i) {
      const uint64_t next = Must(other->Lookup(at, "d")).id;
      if (i > 0) other->Forget(at);
      at = next;
    }
    EXPECT_EQ(Must(other->Stat(at)).ino, chain.back().ino);
  }
  RemoveChain(chain);
}

// Most of them have no descriptor, and are found again along all the names above them.
class PathRenameDeepFewDescriptors : public PathRenameDeep {
 protected:
  PathRenameDeepFewDescriptors()
      : PathRenameDeep({.filesystem = {.max_unreferenced_dentries = 16, .max_fds = 64}}) {
    depth_ = 500;
  }
};

TEST_P(PathRenameDeepFewDescriptors, FoundAgainByName) {
  std::vector<Node> chain;
  MakeChain(chain);
  ExpectRenamedAsAWhole(chain);
  for (size_t i = 1; i < chain.size(); i += 50) {
    EXPECT_EQ(Must(peer_->Stat(chain[i].id)).ino, chain[i].ino);
  }
  RemoveChain(chain);
}

INSTANTIATE_OVER_EACH_WAY_IN(PathRename);
INSTANTIATE_OVER_CHANNEL_AND_FUSE(PathRenameDeep);
INSTANTIATE_OVER_CHANNEL_AND_FUSE(PathRenameDeepFewDescriptors);

}  // namespace
}  // namespace gofer::testing
