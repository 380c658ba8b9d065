#include "fuse/session/handle_table.h"

#include <fcntl.h>

#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::FuseWorld;

class HandleTableTest : public ::testing::Test {
 protected:
  OpenFile Open() {
    return {.handle = *world_.filesystem->Open(world_.filesystem->root(), O_RDONLY),
            .flags = O_DIRECTORY};
  }

  FuseWorld world_;
  HandleTable table_;
};

TEST_F(HandleTableTest, AHandleBelongsToItsNode) {
  const HandleId id = *table_.Add(Open(), NodeId{5});
  EXPECT_NE(id, HandleId::kNone);
  EXPECT_EQ(table_.Find(id, NodeId{5})->flags, O_DIRECTORY);
  EXPECT_EQ(table_.Find(id, NodeId{6}).error(), EBADF);
  EXPECT_EQ(table_.Remove(id, NodeId{6}).error(), EBADF);
  EXPECT_TRUE(table_.Remove(id, NodeId{5}).ok());
  EXPECT_EQ(table_.Find(id, NodeId{5}).error(), EBADF);
  EXPECT_EQ(table_.Remove(id, NodeId{5}).error(), EBADF);
}

TEST_F(HandleTableTest, AnIdIsNeverGivenOutTwiceAndForgedOnesAreNone) {
  std::set<HandleId> seen = {HandleId::kNone};
  for (int i = 0; i < 1000; ++i) {
    const HandleId id = *table_.Add(Open(), NodeId::kRoot);
    ASSERT_TRUE(seen.insert(id).second);
    ASSERT_TRUE(table_.Remove(id, NodeId::kRoot).ok());
  }
  const auto known = static_cast<uint64_t>(*table_.Add(Open(), NodeId::kRoot));
  std::mt19937_64 random(1);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t id = i % 2 == 0 ? random() : known ^ (uint64_t{1} << (random() % 64));
    ASSERT_EQ(table_.Find(HandleId{id}, NodeId::kRoot).ok(), id == known);
  }
}

TEST_F(HandleTableTest, RestoredIdsAreKeptAndNoneIsGivenOutAgain) {
  std::set<HandleId> given;
  std::set<HandleId> kept;
  for (int i = 0; i < 400; ++i) {
    const HandleId id = *table_.Add(Open(), NodeId{7});
    given.insert(id);
    if (i % 3 == 0) {
      kept.insert(id);
    } else {
      ASSERT_TRUE(table_.Remove(id, NodeId{7}).ok());
    }
  }
  HandleTable restored;
  ASSERT_EQ(restored.Restore(table_.All(), table_.next_sequence()), std::nullopt);
  EXPECT_EQ(restored.size(), kept.size());
  for (const HandleId id : given) {
    EXPECT_EQ(restored.Find(id, NodeId{7}).ok(), kept.contains(id));
    EXPECT_FALSE(restored.Find(id, NodeId{8}).ok());
  }
  for (int i = 0; i < 400; ++i) {
    ASSERT_TRUE(given.insert(*restored.Add(Open(), NodeId{7})).second) << "given out again";
  }
  EXPECT_GE(restored.next_sequence(), table_.next_sequence());
}

TEST_F(HandleTableTest, IdsThatCannotHaveBeenGivenOutAreNotRestored) {
  const HandleId id = *table_.Add(Open(), NodeId{7});
  const HandleTable::Saved good = {.id = id, .node = NodeId{7}, .file = Open()};
  const auto refused = [&](std::vector<HandleTable::Saved> handles) {
    HandleTable restored;
    return restored.Restore(std::move(handles), table_.next_sequence()).has_value();
  };
  EXPECT_FALSE(refused({good}));
  EXPECT_TRUE(refused({good, good})) << "twice";
  for (const uint64_t bad : {uint64_t{0}, uint64_t{5}, uint64_t{1} << 33, ~uint64_t{0},
                             (uint64_t{1} << 32) + (uint64_t{1} << 30)}) {
    EXPECT_TRUE(refused({{.id = HandleId{bad}, .node = NodeId{7}, .file = Open()}})) << bad;
  }
}

TEST_F(HandleTableTest, ClosedItHoldsNothingAndTakesNothing) {
  const size_t base = world_.filesystem->open_fds();
  const HandleId id = *table_.Add(Open(), NodeId::kRoot);
  {
    const ErrnoOr<OpenFile> in_use = table_.Find(id, NodeId::kRoot);
    table_.Close();
    EXPECT_EQ(table_.Find(id, NodeId::kRoot).error(), EBADF);
    EXPECT_EQ(table_.Add(Open(), NodeId::kRoot).error(), ENODEV);
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_EQ(world_.filesystem->open_fds(), base + 1) << "who uses it can go on";
  }
  EXPECT_EQ(world_.filesystem->open_fds(), base);
}

}  // namespace
}  // namespace gofer::fuse
