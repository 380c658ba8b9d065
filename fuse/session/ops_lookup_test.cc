// LOOKUP, FORGET, BATCH_FORGET and what entries say.

#include <fcntl.h>
#include <sys/stat.h>

#include <string>

#include "fuse/session/session.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::Terminated;

class OpsLookupTest : public ::testing::Test {
 protected:
  OpsLookupTest() { world_.Restart({}); }
  FuseClient& client() { return *world_.client; }
  FuseReply Lookup(NodeId parent, absl::string_view name) {
    return client().Call(Opcode::kLookup, parent, Terminated(name));
  }
  uint64_t Lookups() { return world_.session->connection()->nodes().lookups(); }

  FuseWorld world_;
};

TEST_F(OpsLookupTest, TellsWhatTheHostHas) {
  world_.tree.Mkdir("d", 0750);
  world_.tree.Write("d/f", "text", 0640);
  const EntryOut d = client().Lookup(NodeId::kRoot, "d");
  const EntryOut f = client().Lookup(d.nodeid, "f");
  const struct stat stat = world_.tree.Stat("d/f");
  EXPECT_EQ(f.attr.ino, stat.st_ino);
  EXPECT_EQ(f.attr.size, 4u);
  EXPECT_EQ(f.attr.mode, S_IFREG | 0640u);
  EXPECT_EQ(f.attr.nlink, 1u);
  EXPECT_EQ(f.attr.blksize, static_cast<uint32_t>(stat.st_blksize));
  EXPECT_EQ(f.attr.mtime, static_cast<uint64_t>(stat.st_mtim.tv_sec));
  EXPECT_EQ(f.attr.mtimensec, static_cast<uint32_t>(stat.st_mtim.tv_nsec));
  EXPECT_EQ(f.generation, 0u);
  EXPECT_EQ(d.attr.mode, S_IFDIR | 0750u);
  EXPECT_EQ(d.attr.flags, 0u);
}

TEST_F(OpsLookupTest, HardLinksAreOneNode) {
  world_.tree.Write("a", "");
  world_.tree.Mkdir("d");
  world_.tree.Link("a", "d/b");
  const NodeId a = client().Walk("a");
  EXPECT_EQ(client().Walk("d/b"), a);
  EXPECT_EQ(client().Lookup(NodeId::kRoot, "a").attr.nlink, 2u);
  EXPECT_EQ(Lookups(), 4u);
  // Whichever of its names go, the node stays.
  EXPECT_EQ(client().Call(Opcode::kUnlink, NodeId::kRoot, Terminated("a")).error, 0);
  EXPECT_EQ(client().Getattr(a).As<AttrOut>().attr.nlink, 1u);
  EXPECT_EQ(client().Call(Opcode::kUnlink, client().Walk("d"), Terminated("b")).error, 0);
  EXPECT_EQ(client().Getattr(a).As<AttrOut>().attr.nlink, 0u);
}

TEST_F(OpsLookupTest, NamesAreChecked) {
  world_.tree.Mkdir("d");
  const NodeId d = client().Walk("d");
  for (const char* name : {"", ".", "..", "/", "a/b", "/etc", "d/"}) {
    EXPECT_EQ(Lookup(d, name).error, EINVAL) << name;
  }
  EXPECT_EQ(Lookup(d, std::string(255, 'x')).error, ENOENT);
  for (const size_t size : {256, 1024, 4000}) {
    EXPECT_EQ(Lookup(d, std::string(size, 'x')).error, ENAMETOOLONG);
  }
  EXPECT_EQ(client().Call(Opcode::kLookup, d, std::string("a\0b\0", 4)).error, EINVAL);
  EXPECT_EQ(client().Call(Opcode::kLookup, d, "no end").error, EINVAL);
}

TEST_F(OpsLookupTest, BelowWhatIsNoDirectory) {
  world_.tree.Write("f", "");
  EXPECT_EQ(Lookup(client().Walk("f"), "x").error, ENOTDIR);
  EXPECT_EQ(Lookup(NodeId{77}, "x").error, EBADF);
  EXPECT_EQ(Lookup(NodeId::kNone, "x").error, EBADF);
}

TEST_F(OpsLookupTest, MissingNamesAreToldByThePolicy) {
  EXPECT_EQ(Lookup(NodeId::kRoot, "x").error, ENOENT);
  for (const CachePolicy policy : {CachePolicy::kMetadata, CachePolicy::kAlways}) {
    world_.Restart({.cache = policy});
    const FuseReply reply = Lookup(NodeId::kRoot, "x");
    EXPECT_EQ(reply.error, 0);
    EXPECT_EQ(reply.As<EntryOut>().nodeid, NodeId::kNone);
    EXPECT_EQ(reply.As<EntryOut>().entry_valid, 86400u);
    EXPECT_EQ(Lookups(), 0u);
  }
  world_.Restart({.cache = CachePolicy::kNever});
  EXPECT_EQ(Lookup(NodeId::kRoot, "x").error, ENOENT);
}

TEST_F(OpsLookupTest, TimeoutsFollowThePolicy) {
  world_.tree.Write("f", "");
  const std::pair<CachePolicy, uint64_t> kTable[] = {{CachePolicy::kNever, 0},
                                                     {CachePolicy::kMetadata, 86400},
                                                     {CachePolicy::kAuto, 1},
                                                     {CachePolicy::kAlways, 86400}};
  for (const auto& row : kTable) {
    world_.Restart({.cache = row.first});
    const EntryOut entry = client().Lookup(NodeId::kRoot, "f");
    EXPECT_EQ(entry.entry_valid, row.second);
    EXPECT_EQ(entry.attr_valid, row.second);
    EXPECT_EQ(client().Getattr(entry.nodeid).As<AttrOut>().attr_valid, row.second);
  }
}

TEST_F(OpsLookupTest, BatchForgetTakesAllOrNothingOfAMalformedOne) {
  constexpr uint32_t kFiles = 200;
  std::string batch;
  for (uint32_t i = 0; i < kFiles; ++i) {
    const std::string name = "f" + std::to_string(i);
    world_.tree.Write(name, "");
    batch += Bytes(ForgetOne{.nodeid = client().Walk(name), .nlookup = 1});
  }
  EXPECT_EQ(Lookups(), kFiles);
  for (const uint32_t lie : {kFiles + 1, UINT32_MAX}) {
    client().Call(Opcode::kBatchForget, NodeId::kNone,
                  Bytes(BatchForgetIn{.count = lie, .dummy = 0}) + batch);
    EXPECT_EQ(Lookups(), kFiles);
  }
  client().cut = 7;
  const FuseReply reply = client().Call(Opcode::kBatchForget, NodeId::kNone,
                                        Bytes(BatchForgetIn{.count = kFiles, .dummy = 0}) + batch);
  EXPECT_EQ(reply.written, 0u);
  EXPECT_EQ(Lookups(), 0u);
}

TEST_F(OpsLookupTest, EverythingAClientForgetsIsGivenBack) {
  world_.tree.Mkdir("a");
  world_.tree.Mkdir("a/b");
  world_.tree.Write("a/b/c", "");
  const size_t base = world_.filesystem->open_fds();
  const NodeId a = client().Walk("a");
  const NodeId b = client().Walk("a/b");
  const NodeId c = client().Walk("a/b/c");
  client().Getattr(c);
  client().Forget(a, 3);
  client().Forget(b, 2);
  client().Forget(c, 1);
  EXPECT_EQ(world_.session->connection()->nodes().size(), 0u);
  world_.filesystem->dentries().Purge();
  EXPECT_EQ(world_.filesystem->dentries().size(), 1u);
  EXPECT_EQ(world_.filesystem->open_fds(), base);
}

TEST_F(OpsLookupTest, OwnersAreTranslated) {
  world_.tree.Write("f", "");
  ASSERT_EQ(chown(world_.tree.At("f").c_str(), 1000, 2000), 0);
  SessionOptions options;
  ASSERT_TRUE(options.uid_map.Add("map:5:1000:1").ok());
  ASSERT_TRUE(options.gid_map.Add("host:2000:6:1").ok());
  world_.Restart(options);
  const EntryOut entry = client().Lookup(NodeId::kRoot, "f");
  EXPECT_EQ(entry.attr.uid, 5u);
  EXPECT_EQ(entry.attr.gid, 6u);
  const StatxOut out = client().Call(Opcode::kStatx, entry.nodeid, Bytes(StatxIn{})).As<StatxOut>();
  EXPECT_EQ(out.stat.uid, 5u);
  EXPECT_EQ(out.stat.gid, 6u);
}

}  // namespace
}  // namespace gofer::fuse
