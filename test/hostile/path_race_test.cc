// Another process of the host changes what names lead to, all the time and at any moment, while a
// client uses them: directory and link, file and FIFO, parents, what is linked and what is renamed
// onto. No inode from outside is in any answer, nothing outside is touched, and nobody waits for a
// FIFO. Attacks.
//
// Each case is GOFER_RACE_OPERATIONS requests long: 20 000 without it, 200 000 and more at night.
//
// Source: spec/security.md s.2 and s.10.

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "test/hostile/peer.h"
#include "test/support/eventually.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using Node = Peer::Node;

class PathRace : public PeerTest {
 protected:
  explicit PathRace(const PeerOptions& options = {}) : PeerTest(options) {
    for (const char* const name : {"beside", "beside/secret", "beside/dir"}) {
      outside_.insert(tree_.Stat(name).st_ino);
    }
  }
  void SetUp() override { peer_ = Connect(); }
  void TearDown() override {
    peer_.reset();
    PeerTest::TearDown();
  }

  // Another process that exchanges two names in the served tree.
  Mischief Exchanging(const std::string& one, const std::string& other) {
    return Mischief([one = tree_.At("served/" + one), other = tree_.At("served/" + other)] {
      renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
    });
  }

  // Makes requests until there were as many as a race has, and each of `seen` was: a host that gets
  // no processor for a while exchanges nothing. `round` makes some, through Ask.
  template <typename F>
  void Race(F round, std::initializer_list<const int*> seen = {}) {
    const absl::Time deadline = absl::Now() + kPatience;
    const auto all_seen = [&] {
      return std::all_of(seen.begin(), seen.end(), [](const int* times) { return *times > 0; });
    };
    while (!HasFailure() &&
           (requests_ < RaceOperations() || (!all_seen() && absl::Now() < deadline))) {
      round();
    }
    // On a disk that is flushed a request may take seconds; who waits for a FIFO waits for ever.
    EXPECT_LT(slowest_.worst(), kPatience) << "a request that waited for somebody";
  }
  template <typename F>
  auto Ask(F request) {
    ++requests_;
    return slowest_.Time(request);
  }
  ErrnoOr<Node> Lookup(uint64_t dir, const char* name) {
    ErrnoOr<Node> found = Ask([&] { return peer_->Lookup(dir, name); });
    if (found.ok()) ExpectInside(*found);
    return found;
  }
  void ExpectInside(const Node& node) {
    EXPECT_EQ(outside_.count(node.ino), 0u) << "inode " << node.ino << " is not of the tree";
  }
  void ExpectInside(const ErrnoOr<Node>& node) {
    if (node.ok()) ExpectInside(*node);
  }
  // A file is opened and nothing else is. Who looked it up without opening it (FUSE) may be told
  // that its name leads elsewhere by now.
  static void ExpectOpenedAsFound(const Node& node, const ErrnoOr<Peer::File>& open) {
    if (!S_ISREG(node.mode)) {
      EXPECT_FALSE(open.ok());
    } else if (!open.ok()) {
      EXPECT_EQ(open.error(), Errno(ESTALE));
    }
  }
  // Made for a moment, and gone again.
  void MakeAndRemove(uint64_t dir) {
    const ErrnoOr<Node> made = Ask([&] { return peer_->Create(dir, "new", 0644); });
    if (!made.ok()) return;
    ExpectInside(*made);
    peer_->Forget(made->id);
    Ask([&] { return peer_->Unlink(dir, "new"); }).ok();
  }

  std::set<uint64_t> outside_;
  std::unique_ptr<Peer> peer_;

 private:
  int requests_ = 0;
  Slowest slowest_;
};

// a component, and what is below it, just looked up.
TEST_P(PathRace, ADirectoryBecomesALink) {
  tree_.Mkdir("served/dir");
  tree_.Write("served/dir/secret", "own");
  tree_.Symlink("served/link", tree_.At("beside"));
  const Mischief host = Exchanging("dir", "link");
  int directories = 0;
  int links = 0;
  Race(
      [&] {
        const ErrnoOr<Node> dir = Lookup(peer_->root(), "dir");
        ASSERT_TRUE(dir.ok()) << dir.error().ToString();
        (S_ISDIR(dir->mode) ? directories : links) += 1;
        const ErrnoOr<Node> secret = Lookup(dir->id, "secret");
        if (secret.ok()) {
          const ErrnoOr<Peer::File> open = Ask([&] { return peer_->Open(*secret, O_RDWR); });
          if (open.ok()) {
            EXPECT_EQ(Must(Ask([&] { return peer_->Read(*open, 0, 100); })), "own");
            peer_->Close(*open);
          }
          peer_->Forget(secret->id);
        }
        MakeAndRemove(dir->id);
        Ask([&] { return peer_->Rmdir(dir->id, "dir"); }).ok();
        Ask([&] { return peer_->Rename(dir->id, "secret", peer_->root(), "taken"); }).ok();
        Ask([&] { return peer_->Rename(peer_->root(), "taken", dir->id, "secret"); }).ok();
        peer_->Forget(dir->id);
      },
      {&directories, &links});
  EXPECT_GT(directories, 0);
  EXPECT_GT(links, 0) << "there was no race";
}

// what is opened is not what was looked up any more.
TEST_P(PathRace, AFileBecomesAFifo) {
  tree_.Write("served/file", "own");
  tree_.Fifo("served/fifo");
  const Mischief host = Exchanging("file", "fifo");
  int files = 0;
  int fifos = 0;
  Race(
      [&] {
        const Node node = Must(Lookup(peer_->root(), "file"));
        for (const uint32_t flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
          const ErrnoOr<Peer::File> open = Ask([&] { return peer_->Open(node, flags); });
          ExpectOpenedAsFound(node, open);
          if (open.ok()) peer_->Close(*open);
        }
        (S_ISREG(node.mode) ? files : fifos) += 1;
        Ask([&] { return peer_->SetSize(node.id, 3); }).ok();
        Ask([&] { return peer_->ListXattr(node.id); }).ok();
        peer_->Forget(node.id);
      },
      {&files, &fifos});
  EXPECT_GT(files, 0);
  EXPECT_GT(fifos, 0) << "there was no race";
}

// nor a link, in the place of a file.
TEST_P(PathRace, AFileBecomesALink) {
  tree_.Write("served/file", "own");
  tree_.Symlink("served/link", tree_.At("beside/secret"));
  const Mischief host = Exchanging("file", "link");
  int files = 0;
  int links = 0;
  Race(
      [&] {
        const Node node = Must(Lookup(peer_->root(), "file"));
        (S_ISREG(node.mode) ? files : links) += 1;
        const ErrnoOr<Peer::File> open = Ask([&] { return peer_->Open(node, O_RDWR); });
        ExpectOpenedAsFound(node, open);
        if (open.ok()) {
          EXPECT_EQ(Must(Ask([&] { return peer_->Read(*open, 0, 100); })), "own");
          peer_->Close(*open);
        }
        ExpectInside(Ask([&] { return peer_->Stat(node.id); }));
        Ask([&] { return peer_->SetMode(node.id, 0600); }).ok();
        Ask([&] { return peer_->SetOwner(node.id, 1, 1); }).ok();
        Ask([&] { return peer_->SetTimes(node.id, {1, 1}, {1, 1}); }).ok();
        Ask([&] { return peer_->SetSize(node.id, 3); }).ok();
        Ask([&] { return peer_->SetXattr(node.id, "user.k", "v"); }).ok();
        peer_->Forget(node.id);
      },
      {&files, &links});
  EXPECT_GT(files, 0);
  EXPECT_GT(links, 0) << "there was no race";
}

// what a hard link is made of.
TEST_P(PathRace, TheSourceOfALinkBecomesALink) {
  tree_.Write("served/file", "own");
  tree_.Symlink("served/link", tree_.At("beside/secret"));
  const Mischief host = Exchanging("file", "link");
  Race([&] {
    const Node node = Must(Lookup(peer_->root(), "file"));
    const ErrnoOr<Node> hard = Ask([&] { return peer_->Link(peer_->root(), "hard", node.id); });
    if (hard.ok()) {
      EXPECT_EQ(hard->ino, node.ino) << "the very file that was looked up";
      peer_->Forget(hard->id);
      Must(Ask([&] { return peer_->Unlink(peer_->root(), "hard"); }));
    }
    peer_->Forget(node.id);
  });
}

// what is renamed, and what is in the place that it goes to.
TEST_P(PathRace, BothEndsOfARename) {
  tree_.Mkdir("served/dir");
  tree_.Write("served/dir/f", "own");
  tree_.Symlink("served/link", tree_.At("beside"));
  const Mischief host = Exchanging("dir", "link");
  Race([&] {
    const Node dir = Must(Lookup(peer_->root(), "dir"));
    Ask([&] { return peer_->Rename(dir.id, "f", dir.id, "secret"); }).ok();
    Ask([&] { return peer_->Rename(dir.id, "secret", dir.id, "f", RENAME_NOREPLACE); }).ok();
    Ask([&] { return peer_->Rename(dir.id, "f", peer_->root(), "f", RENAME_EXCHANGE); }).ok();
    Ask([&] { return peer_->Rename(peer_->root(), "link", dir.id, "stolen"); }).ok();
    Ask([&] { return peer_->Rename(dir.id, "stolen", peer_->root(), "link"); }).ok();
    peer_->Forget(dir.id);
  });
}

// So few descriptors that each file's is given up and opened again by name.
class PathRaceFewDescriptors : public PathRace {
 protected:
  PathRaceFewDescriptors()
      : PathRace({.filesystem = {.max_unreferenced_dentries = 0, .max_fds = 8}}) {}
};

// the directories above what a client holds.
TEST_P(PathRaceFewDescriptors, ParentsOfHeldNodesBecomeLinks) {
  tree_.Mkdir("served/p");
  tree_.Mkdir("served/p/dir");
  tree_.Write("served/p/dir/secret", "own");
  tree_.Write("served/p/secret", "own");
  tree_.Symlink("served/link", tree_.At("beside"));
  for (int i = 0; i < 16; ++i) tree_.Write("served/f" + std::to_string(i), "");
  // Held before the race, and for all of it.
  const Node p = Must(peer_->Lookup(peer_->root(), "p"));
  const Node dir = Must(peer_->Lookup(p.id, "dir"));
  const Node secret = Must(peer_->Lookup(dir.id, "secret"));
  const Mischief host = Exchanging("p", "link");
  int served = 0;
  int stale = 0;
  int round = 0;
  Race(
      [&] {
        const std::string other = "f" + std::to_string(round++ % 16);
        const ErrnoOr<Node> pushes_out = Lookup(peer_->root(), other.c_str());
        const ErrnoOr<Node> stat = Ask([&] { return peer_->Stat(secret.id); });
        if (stat.ok()) {
          EXPECT_EQ(stat->ino, secret.ino);
          ++served;
        } else {
          EXPECT_EQ(stat.error(), Errno(ESTALE));
          ++stale;
        }
        const ErrnoOr<Peer::File> open = Ask([&] { return peer_->Open(secret, O_RDWR); });
        if (open.ok()) {
          EXPECT_EQ(Must(Ask([&] { return peer_->Read(*open, 0, 100); })), "own");
          peer_->Close(*open);
        }
        for (const Node& held : {p, dir}) {
          const ErrnoOr<Node> found = Lookup(held.id, "secret");
          if (found.ok()) peer_->Forget(found->id);
          MakeAndRemove(held.id);
          Ask([&] { return peer_->SetMode(held.id, 0755); }).ok();
        }
        if (pushes_out.ok()) peer_->Forget(pushes_out->id);
      },
      {&served});
  EXPECT_GT(served, 0);
  RecordProperty("stale", stale);
}

INSTANTIATE_OVER_CHANNEL_AND_FUSE(PathRace);
INSTANTIATE_OVER_CHANNEL_AND_FUSE(PathRaceFewDescriptors);

}  // namespace
}  // namespace gofer::testing
