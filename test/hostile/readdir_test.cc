// Directories that change while they are listed, asked for in the oddest pieces and from the oddest
// places. What stays is listed, once; sizes do not wrap, and a directory can be listed again
// afterwards. Attacks.
//
// Source: spec/security.md s.3 and s.10; spec/lisafs.md s.5, Getdents64; spec/fuse.md s.4.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile_fuse.h"
#include "test/hostile/peer.h"
#include "test/support/eventually.h"
#include "test/support/results.h"
#include "test/support/session.h"

namespace gofer::testing {
namespace {

constexpr int kStable = 200;

void MakeStable(const TempTree& tree, const std::string& dir) {
  for (int i = 0; i < kStable; ++i) tree.Write(absl::StrCat(dir, "/stable", i), "");
}

class Readdir : public PeerTest {};

TEST_P(Readdir, ChurnWhileListing) {
  tree_.Mkdir("served/dir");
  MakeStable(tree_, "served/dir");
  std::vector<std::string> passing;
  for (int i = 0; i < 64; ++i) passing.push_back(tree_.At(absl::StrCat("served/dir/passing", i)));
  size_t next = 0;
  const std::unique_ptr<Peer> peer = Connect();
  const Peer::Node node = Must(peer->Lookup(peer->root(), "dir"));
  const Peer::File dir = Must(peer->Open(node, O_RDONLY));
  {
    const Mischief host([passing, next]() mutable {
      const std::string& path = passing[next++ % passing.size()];
      if (mknod(path.c_str(), S_IFREG | 0600, 0) != 0) unlink(path.c_str());
    });
    int passing_seen = 0;
    const absl::Time deadline = absl::Now() + kPatience;
    const auto goes_on = [&](int listed) {
      return listed < RaceOperations() / 10 || (passing_seen == 0 && absl::Now() < deadline);
    };
    for (int listed = 0; goes_on(listed); listed += kStable) {
      for (const uint32_t piece : {512u, 4096u, 65536u}) {
        std::map<std::string, int> seen;
        for (const std::string& name : Must(peer->List(dir, piece))) ++seen[name];
        int stable = 0;
        for (const auto& [name, times] : seen) {
          if (absl::StartsWith(name, "passing")) ++passing_seen;
          if (!absl::StartsWith(name, "stable")) continue;
          ++stable;
          EXPECT_EQ(times, 1) << name;
        }
        ASSERT_EQ(stable, kStable) << "in pieces of " << piece;
      }
    }
    EXPECT_GT(passing_seen, 0) << "nothing changed meanwhile";
  }
  peer->Close(dir);
}

// Every position of a listing is a client's to keep; the directory that it is of may be gone.
TEST_P(Readdir, TheDirectoryIsRemoved) {
  tree_.Mkdir("served/dir");
  tree_.Write("served/dir/f", "");
  const std::unique_ptr<Peer> peer = Connect();
  const Peer::Node node = Must(peer->Lookup(peer->root(), "dir"));
  const Peer::File dir = Must(peer->Open(node, O_RDONLY));
  EXPECT_EQ(Must(peer->List(dir, 4096)), std::vector<std::string>{"f"});
  Must(peer->Unlink(node.id, "f"));
  Must(peer->Rmdir(peer->root(), "dir"));
  const auto listed = peer->List(dir, 4096);
  EXPECT_TRUE(!listed.ok() || listed->empty());
  EXPECT_TRUE(listed.ok() || listed.error() == EINVAL || listed.error() == ENOENT);
  peer->Close(dir);
}

INSTANTIATE_OVER_EACH_WAY_IN(Readdir);

using lisafs::FdId;

class ReaddirCounts : public lisafs::HostileTest {};

// Over LISAFS a count is signed, and its sign means more than less.
TEST_F(ReaddirCounts, CountsAtTheirExtremes) {
  tree_.Mkdir("served/dir");
  MakeStable(tree_, "served/dir");
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via);
    const FdId dir = session.Open(session.Walk("dir").control_fd, O_RDONLY);
    for (const int32_t count : {INT32_MIN, INT32_MIN + 1, -65537, -4096, -2, -1, 0, 1, 2, 23, 24,
                                25, 4096, 65537, INT32_MAX - 1, INT32_MAX}) {
      SCOPED_TRACE(count);
      const auto listed = session->Getdents64(dir, count);
      if (!listed.ok()) {
        EXPECT_EQ(listed.error(), Errno(EINVAL)) << "no entry fits";
      } else {
        EXPECT_LE(listed->size(), static_cast<size_t>(kStable));
        if (count < -65536) {
          EXPECT_EQ(listed->size(), static_cast<size_t>(kStable)) << "rewound, and all at once";
        }
      }
      EXPECT_EQ(session.List(dir).size(), static_cast<size_t>(kStable));
    }
  }
}

// As much as fits a reply, at once. At night more than one can say, which is 65 535 entries.
TEST_F(ReaddirCounts, ManyEntries) {
  const int many = RaceOperations() < 200'000 ? 2'000 : 70'000;
  tree_.Mkdir("served/dir");
  const UniqueFd dir_fd = tree_.OpenPath("served/dir");
  for (int i = 0; i < many; ++i) {
    ASSERT_EQ(mknodat(dir_fd.get(), std::to_string(i).c_str(), S_IFREG | 0600, 0), 0);
  }
  Session session(server_, Via::kChannel);
  const FdId dir = session.Open(session.Walk("dir").control_fd, O_RDONLY);
  std::set<std::string> names;
  size_t largest = 0;
  int32_t count = INT32_MIN;
  for (;;) {
    const std::vector<lisafs::Dirent> some = Must(session->Getdents64(dir, count));
    if (some.empty()) break;
    largest = std::max(largest, some.size());
    for (const lisafs::Dirent& entry : some) EXPECT_TRUE(names.insert(entry.name).second);
    count = INT32_MAX;
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(many));
  EXPECT_LE(largest, size_t{UINT16_MAX});
  for (int i = 0; i < many; ++i) unlinkat(dir_fd.get(), std::to_string(i).c_str(), 0);
}

class ReaddirCookies : public fuse::HostileFuseTest {};

// Over FUSE a client says where to go on.
TEST_F(ReaddirCookies, CookiesAndSizesAtTheirExtremes) {
  world_.tree.Mkdir("served/dir");
  MakeStable(world_.tree, "served/dir");
  const fuse::NodeId node = client().Walk("dir");
  const fuse::HandleId dir = client().Opendir(node);
  const auto read = [&](fuse::Opcode opcode, uint64_t offset, uint32_t size) {
    fuse::ReadIn in = {};
    in.fh = dir;
    in.offset = offset;
    in.size = size;
    const FuseReply reply = client().Call(opcode, node, Bytes(in));
    EXPECT_LE(reply.body.size(), size);
    return reply;
  };
  const auto list = [&] {
    std::set<std::string> names;
    uint64_t offset = 0;
    for (;;) {
      const FuseReply reply = read(fuse::Opcode::kReaddir, offset, 4096);
      EXPECT_EQ(reply.error, 0);
      if (reply.body.empty()) return names;
      for (const FuseDirent& entry : ParseDirents(reply.body, /*plus=*/false)) {
        EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
        offset = entry.dirent.off;
      }
    }
  };
  const auto all = list();
  EXPECT_GE(all.size(), static_cast<size_t>(kStable));
  for (const fuse::Opcode opcode : {fuse::Opcode::kReaddir, fuse::Opcode::kReaddirplus}) {
    const bool plus = opcode == fuse::Opcode::kReaddirplus;
    for (const uint64_t offset :
         {uint64_t{0}, uint64_t{1}, uint64_t{2}, uint64_t{kStable + 100}, uint64_t{1} << 31,
          uint64_t{1} << 32, uint64_t{INT64_MAX} - 1, uint64_t{INT64_MAX}, uint64_t{1} << 63,
          UINT64_MAX - 1, UINT64_MAX}) {
      for (const uint32_t size : {0u, 1u, 23u, 24u, 32u, 4096u, 1u << 20, 1u << 31, UINT32_MAX}) {
        SCOPED_TRACE(absl::StrCat(plus ? "plus " : "", offset, " ", size));
        const FuseReply reply = read(opcode, offset, size);
        EXPECT_TRUE(reply.error == 0 || reply.error == EINVAL || reply.error == ENOMEM ||
                    reply.error == ENOENT)
            << reply.error;
        for (const FuseDirent& entry : ParseDirents(reply.body, plus)) {
          EXPECT_TRUE(entry.name == "." || entry.name == ".." ||
                      absl::StartsWith(entry.name, "stable"))
              << entry.name;
          if (plus && entry.entry.nodeid != fuse::NodeId::kNone) {
            client().Forget(entry.entry.nodeid, 1);
          }
        }
      }
    }
    EXPECT_EQ(list(), all) << "as if nothing had been";
  }
}

}  // namespace
}  // namespace gofer::testing
