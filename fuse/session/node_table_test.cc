#include "fuse/session/node_table.h"

#include <atomic>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::FuseWorld;

class NodeTableTest : public ::testing::Test {
 protected:
  NodeTableTest() : table_(world_.filesystem->root()) {}

  RefPtr<fs::Dentry> Look(const std::string& name) {
    ErrnoOr<Name> parsed = Name::Parse(name);
    CHECK(parsed.ok());
    ErrnoOr<fs::Entry> entry =
        world_.filesystem->LookupUnopened(world_.filesystem->root(), *parsed);
    CHECK(entry.ok()) << name;
    return std::move(entry->dentry);
  }
  NodeId Remember(const std::string& name) { return *table_.Remember(Look(name)); }

  FuseWorld world_;
  NodeTable table_;
};

TEST_F(NodeTableTest, OneNodePerInode) {
  world_.tree.Write("a", "");
  world_.tree.Link("a", "b");
  world_.tree.Write("c", "");
  const NodeId a = Remember("a");
  EXPECT_EQ(Remember("a"), a);
  EXPECT_EQ(Remember("b"), a);
  EXPECT_NE(Remember("c"), a);
  EXPECT_EQ(table_.size(), 2u);
  EXPECT_EQ(table_.lookups(), 4u);
  EXPECT_EQ(*table_.Find(a), Look("b")) << "the newest name";
}

TEST_F(NodeTableTest, CountsAreExactAndForgettingTooMuchIsHarmless) {
  world_.tree.Write("a", "");
  world_.tree.Write("b", "");
  const NodeId a = Remember("a");
  const NodeId b = Remember("b");
  Remember("a");
  table_.Forget(a, 1);
  EXPECT_TRUE(table_.Find(a).ok());
  table_.Forget(a, 0);
  EXPECT_TRUE(table_.Find(a).ok());
  table_.Forget(a, UINT64_MAX);
  EXPECT_EQ(table_.Find(a).error(), EBADF);
  table_.Forget(a, 5);
  EXPECT_EQ(table_.lookups(), 1u);
  EXPECT_TRUE(table_.Find(b).ok());
}

TEST_F(NodeTableTest, RestoredNodesGoOnUnderTheirIds) {
  std::vector<std::string> names;
  for (int i = 0; i < 200; ++i) world_.tree.Write(names.emplace_back("f" + std::to_string(i)), "");
  std::set<NodeId> given;
  for (const std::string& name : names) {
    const NodeId id = Remember(name);
    given.insert(id);
    table_.Forget(id, 1);
  }
  // From the other end, so that slots have changed hands.
  std::vector<NodeId> ids;
  for (size_t i = names.size(); i-- > 0;) ids.push_back(Remember(names[i]));
  given.insert(ids.begin(), ids.end());
  Remember(names[199]);

  // Another process has its inodes elsewhere; another filesystem of this one has too.
  FuseWorld other("");
  std::vector<NodeTable::Saved> saved = table_.All();
  ASSERT_EQ(saved.size(), 200u);
  for (int i = 0; i < 200; ++i) other.tree.Write(names[static_cast<size_t>(i)], "");
  const auto look = [&](const std::string& name) {
    return other.filesystem->LookupUnopened(other.filesystem->root(), *Name::Parse(name))->dentry;
  };
  for (NodeTable::Saved& node : saved) {
    node.dentry = look(world_.filesystem->dentries().PlaceOf(*node.dentry).name);
  }
  NodeTable restored(other.filesystem->root());
  ASSERT_EQ(restored.Restore(std::move(saved), table_.next_sequence()), std::nullopt);
  EXPECT_EQ(restored.size(), 200u);
  EXPECT_EQ(restored.lookups(), 201u);
  for (size_t i = 0; i < names.size(); ++i) {
    const NodeId id = ids[names.size() - 1 - i];
    EXPECT_EQ(*restored.Find(id), look(names[i]));
    EXPECT_EQ(*restored.Remember(look(names[i])), id);
    restored.Forget(id, i == 199 ? 2 : 1);
    EXPECT_TRUE(restored.Find(id).ok());
    restored.Forget(id, 1);
    EXPECT_FALSE(restored.Find(id).ok());
  }
  EXPECT_EQ(restored.size(), 0u);
  for (const std::string& name : names) {
    EXPECT_TRUE(given.insert(*restored.Remember(look(name))).second) << "given out again";
  }
}

TEST_F(NodeTableTest, TwoNodesThatAreOneFileNowAreTwoStill) {
  world_.tree.Write("a", "");
  world_.tree.Write("b", "");
  const NodeId a = Remember("a");
  const NodeId b = Remember("b");
  NodeTable restored(world_.filesystem->root());
  ASSERT_EQ(restored.Restore({{.id = a, .dentry = Look("a"), .lookups = 1},
                              {.id = b, .dentry = Look("a"), .lookups = 1}},
                             table_.next_sequence()),
            std::nullopt);
  const NodeId known = *restored.Remember(Look("a"));
  EXPECT_EQ(known, a);
  restored.Forget(b, 1);
  EXPECT_EQ(*restored.Remember(Look("a")), a);
  restored.Forget(a, 3);
  EXPECT_EQ(restored.size(), 0u);
}

TEST_F(NodeTableTest, IdsThatCannotHaveBeenGivenOutAreNotRestored) {
  world_.tree.Write("a", "");
  const NodeId a = Remember("a");
  const auto refused = [&](const std::vector<NodeId>& ids, uint64_t lookups = 1) {
    NodeTable restored(world_.filesystem->root());
    std::vector<NodeTable::Saved> nodes;
    for (const NodeId id : ids) {
      nodes.push_back({.id = id, .dentry = Look("a"), .lookups = lookups});
    }
    return restored.Restore(std::move(nodes), table_.next_sequence()).has_value();
  };
  EXPECT_FALSE(refused({a}));
  EXPECT_TRUE(refused({a, a})) << "twice";
  EXPECT_TRUE(refused({a}, 0)) << "forgotten";
  for (const uint64_t bad : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 33, ~uint64_t{0},
                             (uint64_t{1} << 32) + (1u << 30)}) {
    EXPECT_TRUE(refused({NodeId{bad}})) << bad;
  }
}

TEST_F(NodeTableTest, TheRootIsAlwaysThere) {
  for (const uint64_t count : {uint64_t{1}, UINT64_MAX}) table_.Forget(NodeId::kRoot, count);
  EXPECT_EQ(table_.Find(NodeId::kRoot)->get(), &world_.filesystem->root());
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(NodeTableTest, AnIdIsNeverGivenOutTwice) {
  world_.tree.Write("a", "");
  std::set<NodeId> seen = {NodeId::kNone, NodeId::kRoot};
  for (int i = 0; i < 10000; ++i) {
    const NodeId id = Remember("a");
    ASSERT_TRUE(seen.insert(id).second);
    table_.Forget(id, 1);
    ASSERT_EQ(table_.Find(id).error(), EBADF);
  }
}

TEST_F(NodeTableTest, ForgedIdsAreNoNodes) {
  world_.tree.Write("a", "");
  const auto known = static_cast<uint64_t>(Remember("a"));
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    uint64_t id = random();
    if (i % 2 == 0) id = known ^ (uint64_t{1} << (id % 64)) ^ (uint64_t{1} << (id / 64 % 64));
    if (id == known || id == 1) continue;
    ASSERT_EQ(table_.Find(NodeId{id}).error(), EBADF) << id;
    table_.Forget(NodeId{id}, 1);
  }
  for (const uint64_t id : {uint64_t{0}, uint64_t{2}, UINT64_MAX, uint64_t{1} << 32}) {
    EXPECT_EQ(table_.Find(NodeId{id}).ok(), id == known);
  }
  EXPECT_TRUE(table_.Find(NodeId{known}).ok());
}

TEST_F(NodeTableTest, ManyNodesAreFoundAndGivenBack) {
  constexpr int kFiles = 3000;
  std::vector<NodeId> ids;
  for (int i = 0; i < kFiles; ++i) {
    const std::string name = "f" + std::to_string(i);
    world_.tree.Write(name, "");
    ids.push_back(Remember(name));
  }
  EXPECT_EQ(table_.size(), size_t{kFiles});
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(Remember("f" + std::to_string(i)), ids[i]);
    table_.Forget(ids[i], 2);
  }
  EXPECT_EQ(table_.size(), 0u);
  world_.filesystem->dentries().Purge();
  EXPECT_EQ(world_.filesystem->dentries().size(), 1u);
}

TEST_F(NodeTableTest, ClosedItHoldsNothingAndTakesNothing) {
  world_.tree.Write("a", "");
  const NodeId a = Remember("a");
  table_.Close();
  EXPECT_EQ(table_.Find(a).error(), EBADF);
  EXPECT_EQ(table_.Remember(Look("a")).error(), ENODEV);
  table_.Forget(a, 1);
  EXPECT_TRUE(table_.Find(NodeId::kRoot).ok());
  EXPECT_EQ(table_.size(), 0u);
  world_.filesystem->dentries().Purge();
  EXPECT_EQ(world_.filesystem->dentries().size(), 1u);
}

// Lookups and forgets of the same few files at once: nothing comes back from the dead, and at the
// end every count is accounted for.
TEST_F(NodeTableTest, LookupsAndForgetsAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20000;
  constexpr int kFiles = 3;
  for (int i = 0; i < kFiles; ++i) world_.tree.Write("f" + std::to_string(i), "");
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      std::minstd_rand random(static_cast<unsigned>(t) + 1);
      for (int i = 0; i < kRounds; ++i) {
        const NodeId id = Remember("f" + std::to_string(random() % kFiles));
        CHECK(table_.Find(id).ok()) << "we hold a lookup of it";
        table_.Forget(id, 1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table_.size(), 0u);
  EXPECT_EQ(table_.lookups(), 0u);
}

}  // namespace
}  // namespace gofer::fuse
