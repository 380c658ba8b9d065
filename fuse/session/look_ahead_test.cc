// READDIRPLUS of long directories, whose entries are looked up before they are asked for: the client
// must not be able to tell.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "fuse/session/session.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseDirent;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::ParseDirents;
using ::gofer::testing::Terminated;

constexpr int kFiles = 400;
constexpr uint32_t kPiece = 4096;

std::string NameOf(int file) { return absl::StrCat("f", file); }

// One open directory and how far it has been listed.
class Listing {
 public:
  Listing(FuseClient& client, NodeId node)
      : client_(client), node_(node), handle_(client.Opendir(node)) {}
  ~Listing() { client_.Release(node_, handle_); }

  // The next piece without "." and ".."; empty at the end.
  std::vector<FuseDirent> Next() {
    std::vector<FuseDirent> entries;
    while (entries.empty()) {
      ReadIn in = {};
      in.fh = handle_;
      in.offset = offset_;
      in.size = kPiece;
      const FuseReply reply = client_.Call(Opcode::kReaddirplus, node_, Bytes(in));
      EXPECT_EQ(reply.error, 0);
      if (reply.body.empty()) return {};
      for (FuseDirent& entry : ParseDirents(reply.body, /*plus=*/true)) {
        offset_ = entry.dirent.off;
        if (entry.name != "." && entry.name != "..") entries.push_back(std::move(entry));
      }
    }
    return entries;
  }
  std::vector<FuseDirent> All() {
    std::vector<FuseDirent> all;
    for (;;) {
      const std::vector<FuseDirent> some = Next();
      if (some.empty()) return all;
      all.insert(all.end(), some.begin(), some.end());
    }
  }

 private:
  FuseClient& client_;
  const NodeId node_;
  const HandleId handle_;
  uint64_t offset_ = 0;
};

class LookAheadTest : public ::testing::Test {
 protected:
  LookAheadTest() {
    world_.Restart({});
    client().scratch().LookAhead(nullptr);
    world_.tree.Mkdir("d");
    for (int i = 0; i < kFiles; ++i) world_.tree.Write("d/" + NameOf(i), "");
    d_ = client().Walk("d");
  }
  FuseClient& client() { return *world_.client; }
  Session& session() { return *world_.session; }
  // As a transport does while it has nothing to serve.
  void BeIdle(FuseClient& client) {
    session().LookAhead(client.scratch(), [] { return false; });
  }
  uint64_t Lookups() { return session().connection()->nodes().lookups(); }
  FuseReply ChangeMode(FuseClient& client, NodeId node, uint32_t mode) {
    SetattrIn in = {};
    in.valid = setattr::kMode;
    in.mode = S_IFREG | mode;
    return client.Setattr(node, in);
  }

  FuseWorld world_;
  NodeId d_ = NodeId::kNone;
};

TEST_F(LookAheadTest, EveryEntryIsToldAndCountedOnce) {
  const uint64_t before = Lookups();
  std::map<std::string, FuseDirent> told;
  Listing listing(client(), d_);
  for (;;) {
    const std::vector<FuseDirent> piece = listing.Next();
    if (piece.empty()) break;
    BeIdle(client());
    for (const FuseDirent& entry : piece) {
      EXPECT_TRUE(told.emplace(entry.name, entry).second) << entry.name;
    }
  }
  ASSERT_EQ(told.size(), size_t{kFiles});
  EXPECT_EQ(Lookups(), before + kFiles);
  for (const auto& [name, entry] : told) {
    const struct stat host = world_.tree.Stat("d/" + name);
    EXPECT_EQ(entry.entry.attr.ino, host.st_ino) << name;
    EXPECT_EQ(entry.entry.attr.mode, host.st_mode) << name;
    EXPECT_EQ(client().Lookup(d_, name).nodeid, entry.entry.nodeid) << name;
    client().Forget(entry.entry.nodeid, 2);
  }
  EXPECT_EQ(Lookups(), before);
}

TEST_F(LookAheadTest, WhatIsLookedUpAndNeverAskedForIsNoLookup) {
  const uint64_t before = Lookups();
  size_t told = 0;
  {
    Listing listing(client(), d_);
    told = listing.Next().size();
    const size_t known = world_.filesystem->dentries().size();
    BeIdle(client());
    EXPECT_GT(world_.filesystem->dentries().size(), known);
    EXPECT_EQ(Lookups(), before + told);
  }
  EXPECT_EQ(Lookups(), before + told);
}

// Each changes something about a file that comes next, as a client of its own would.
TEST_F(LookAheadTest, WhatTheClientHasChangedShowsInThePieceThatItAsksForNext) {
  const std::map<std::string, std::function<void(NodeId, const std::string&)>> changes = {
      {"SETATTR",
       [&](NodeId node, const std::string&) {
         EXPECT_EQ(ChangeMode(client(), node, 0640).error, 0);
       }},
      {"WRITE",
       [&](NodeId node, const std::string&) {
         const HandleId fh = client().Open(node, O_WRONLY);
         EXPECT_EQ(client().Write(node, fh, 0, "text").error, 0);
         client().Release(node, fh);
       }},
      {"LINK",
       [&](NodeId node, const std::string& name) {
         EXPECT_EQ(client()
                       .Call(Opcode::kLink, NodeId::kRoot,
                             Bytes(LinkIn{node}) + Terminated(name + "link"))
                       .error,
                   0);
       }},
      {"RENAME over it",
       [&](NodeId, const std::string& name) {
         world_.tree.Write("other", "another file");
         EXPECT_EQ(client()
                       .Call(Opcode::kRename, NodeId::kRoot,
                             Bytes(RenameIn{d_}) + Terminated("other") + Terminated(name))
                       .error,
                   0);
       }},
  };
  for (const auto& [what, change] : changes) {
    std::vector<std::string> order;
    for (const FuseDirent& entry : Listing(client(), d_).All()) order.push_back(entry.name);
    Listing listing(client(), d_);
    const size_t told = listing.Next().size();
    BeIdle(client());
    const std::string& changed = order[told + 3];
    change(client().Lookup(d_, changed).nodeid, changed);
    const std::vector<FuseDirent> next = listing.Next();
    ASSERT_GT(next.size(), 3u);
    ASSERT_EQ(next[3].name, changed);
    const struct stat host = world_.tree.Stat("d/" + changed);
    EXPECT_EQ(next[3].entry.attr.ino, host.st_ino) << what;
    EXPECT_EQ(next[3].entry.attr.mode, host.st_mode) << what;
    EXPECT_EQ(next[3].entry.attr.size, static_cast<uint64_t>(host.st_size)) << what;
    EXPECT_EQ(next[3].entry.attr.nlink, host.st_nlink) << what;
    EXPECT_EQ(next[3].entry.attr.ctimensec, static_cast<uint64_t>(host.st_ctim.tv_nsec)) << what;
  }
}

TEST_F(LookAheadTest, ARemovedFileIsListedWithoutANode) {
  std::vector<std::string> order;
  for (const FuseDirent& entry : Listing(client(), d_).All()) order.push_back(entry.name);
  Listing listing(client(), d_);
  const size_t told = listing.Next().size();
  BeIdle(client());
  const std::string& removed = order[told];
  EXPECT_EQ(client().Call(Opcode::kUnlink, d_, Terminated(removed)).error, 0);
  const std::vector<FuseDirent> next = listing.Next();
  ASSERT_FALSE(next.empty());
  ASSERT_EQ(next[0].name, removed);  // the host had given its name before
  EXPECT_EQ(next[0].entry.nodeid, NodeId::kNone);
}

// Whoever is told to rely on nothing is told what is true when it asks, of changes on the host too.
TEST_F(LookAheadTest, WithoutACacheNothingIsLookedUpAhead) {
  SessionOptions options;
  options.cache = CachePolicy::kNever;
  world_.Restart(options);
  client().scratch().LookAhead(nullptr);
  d_ = client().Walk("d");
  std::vector<std::string> order;
  for (const FuseDirent& entry : Listing(client(), d_).All()) order.push_back(entry.name);
  Listing listing(client(), d_);
  const size_t told = listing.Next().size();
  BeIdle(client());
  const std::string& changed = order[told + 1];
  ASSERT_EQ(chmod(world_.tree.At("d/" + changed).c_str(), 0604), 0);
  const std::vector<FuseDirent> next = listing.Next();
  ASSERT_GT(next.size(), 1u);
  ASSERT_EQ(next[1].name, changed);
  EXPECT_EQ(next[1].entry.attr.mode, uint32_t{S_IFREG | 0604});
}

TEST_F(LookAheadTest, ClosingTheDirectoryAndTheConnectionIsTheEndOfIt) {
  const size_t held =
      world_.filesystem->dentries().size() - world_.filesystem->dentries().unreferenced();
  {
    Listing listing(client(), d_);
    for (const FuseDirent& entry : listing.Next()) client().Forget(entry.entry.nodeid, 1);
  }
  BeIdle(client());
  EXPECT_EQ(world_.filesystem->dentries().size() - world_.filesystem->dentries().unreferenced(),
            held);
  Listing listing(client(), d_);
  listing.Next();
  EXPECT_EQ(client().Init().error, 0);
  BeIdle(client());
  EXPECT_EQ(Lookups(), 0u);
}

// Whose thread is never idle, a worker or a reader of /dev/fuse, keeps nothing of what it has listed.
TEST_F(LookAheadTest, NotInAThreadThatDoesNotSayThatItLooksAhead) {
  const auto held = [&] {
    return world_.filesystem->dentries().size() - world_.filesystem->dentries().unreferenced();
  };
  const size_t before = held();
  FuseClient busy(session());
  {
    Listing listing(busy, d_);
    for (const FuseDirent& entry : listing.Next()) busy.Forget(entry.entry.nodeid, 1);
    EXPECT_EQ(held(), before);
    BeIdle(busy);
    EXPECT_EQ(held(), before);
  }
  EXPECT_EQ(held(), before);
}

// A save sees a tree that nobody is changing.
TEST_F(LookAheadTest, NothingIsLookedUpWhileTheGateIsClosed) {
  Listing listing(client(), d_);
  listing.Next();
  const size_t before = world_.filesystem->dentries().size();
  ASSERT_TRUE(session().gate().Close(absl::InfiniteFuture()));
  BeIdle(client());
  EXPECT_EQ(world_.filesystem->dentries().size(), before);
  session().gate().Open();
}

// One client changes files and notes what it has been told to be done, another lists, and threads
// with nothing else to do look ahead for it: no entry is older than what was done when it was asked
// for.
TEST_F(LookAheadTest, NoEntryIsOlderThanTheQuestion) {
  std::array<std::atomic<uint32_t>, kFiles> done;
  for (std::atomic<uint32_t>& mode : done) mode = 0;
  std::vector<NodeId> nodes;
  for (int i = 0; i < kFiles; ++i) {
    nodes.push_back(client().Lookup(d_, NameOf(i)).nodeid);
    ASSERT_EQ(ChangeMode(client(), nodes.back(), 0).error, 0);
  }
  std::atomic<bool> over = false;
  RefPtr<fs::LookAhead> listed;
  absl::Mutex listed_mu;
  struct Helper final : fs::LookAhead::Helpers {
    Helper(absl::Mutex& mu, RefPtr<fs::LookAhead>& listed) : mu(mu), listed(listed) {}
    void Ask(RefPtr<fs::LookAhead> ahead) override {
      const absl::MutexLock lock(&mu);
      std::swap(listed, ahead);
    }
    absl::Mutex& mu;
    RefPtr<fs::LookAhead>& listed;
  } helper(listed_mu, listed);
  std::thread helping([&] {
    while (!over) {
      RefPtr<fs::LookAhead> ahead;
      {
        const absl::MutexLock lock(&listed_mu);
        std::swap(listed, ahead);
      }
      if (!ahead) {
        std::this_thread::yield();
        continue;
      }
      while (session().LookAhead(*ahead)) {
      }
      ahead->Helped();
    }
  });
  std::thread changing([&] {
    FuseClient other(session());
    unsigned state = 4711;
    for (uint32_t mode = 1; mode < 0777 && !over; ++mode) {
      // Some seldom and some often, so that some of what was found ahead is still true.
      for (int i = 0; i < 3; ++i) {
        const auto file = static_cast<size_t>(rand_r(&state) % kFiles);
        EXPECT_EQ(ChangeMode(other, nodes[file], mode).error, 0);
        done[file] = mode;
      }
      usleep(500);
    }
    over = true;
  });
  FuseClient reader(session());
  reader.scratch().LookAhead(&helper);
  while (!over) {
    Listing listing(reader, d_);
    for (;;) {
      std::array<uint32_t, kFiles> before;
      for (size_t i = 0; i < kFiles; ++i) before[i] = done[i];
      const std::vector<FuseDirent> piece = listing.Next();
      if (piece.empty()) break;
      for (const FuseDirent& entry : piece) {
        int file = 0;
        ASSERT_TRUE(absl::SimpleAtoi(entry.name.substr(1), &file));
        EXPECT_GE(entry.entry.attr.mode & 0777, before[static_cast<size_t>(file)]) << entry.name;
      }
      BeIdle(reader);
    }
  }
  changing.join();
  helping.join();
}

}  // namespace
}  // namespace gofer::fuse
