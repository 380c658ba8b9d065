#include "fuse/session/handle_table.h"

#include <fcntl.h>

#include <random>
#include <set>

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
