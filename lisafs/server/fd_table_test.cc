#include "lisafs/server/fd_table.h"

#include <utility>
#include <vector>

#include "glog/logging.h"
#include "gofer/fs/filesystem.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace lisafs {
namespace {

class FdTableTest : public ::testing::Test {
 protected:
  FdTableTest() {
    auto created =
        gofer::fs::Filesystem::Create(tree_.OpenPath(), *gofer::sys::OpenProcSelfFd(), {});
    CHECK(created.ok()) << created.status();
    filesystem_ = *std::move(created);
  }

  gofer::RefPtr<ControlFd> Root() { return gofer::RefPtr<ControlFd>(&filesystem_->root()); }
  FdId AddOpen() { return table_.Add(*filesystem_->Open(filesystem_->root(), 0)); }

  gofer::testing::TempTree tree_;
  std::unique_ptr<gofer::fs::Filesystem> filesystem_;
  FdTable table_;
};

TEST_F(FdTableTest, IdsCountFromOneAndAreNeverUsedAgain) {
  EXPECT_EQ(table_.Add(Root()), FdId{1});
  EXPECT_EQ(table_.Add(Root()), FdId{2});
  table_.Close(FdId{2});
  EXPECT_EQ(table_.Add(Root()), FdId{3});
  table_.Skip(5);
  EXPECT_EQ(table_.Add(Root()), FdId{9});
}

TEST_F(FdTableTest, UnknownIsEBADFAndTheWrongKindEINVAL) {
  const FdId control = table_.Add(Root());
  const FdId open = AddOpen();
  EXPECT_EQ(table_.Control(open).error(), EINVAL);
  EXPECT_EQ(table_.Open(control).error(), EINVAL);
  EXPECT_EQ(table_.Bound(control).error(), EINVAL);
  EXPECT_EQ(table_.Control(FdId::kInvalid).error(), EBADF);
  EXPECT_EQ(table_.Control(FdId{77}).error(), EBADF);
  EXPECT_EQ(table_.Control(FdId{UINT64_MAX}).error(), EBADF);
  EXPECT_EQ(table_.File(FdId{77}).error(), EBADF);
  EXPECT_EQ(table_.File(open)->get(), &filesystem_->root());
  table_.Close(control);
  EXPECT_EQ(table_.Control(control).error(), EBADF);
  table_.Close(control);  // again: nothing
}

TEST_F(FdTableTest, AReferenceOutlivesClose) {
  const FdId open = AddOpen();
  auto handle = table_.Open(open);
  ASSERT_TRUE(handle.ok());
  table_.Close(open);
  EXPECT_EQ((*handle)->access(), 0);
}

// Pages come and go as ids do; what is left behind by ids that were skipped is let go too.
TEST_F(FdTableTest, ManyIdsOverManyPages) {
  std::vector<FdId> kept;
  for (int round = 0; round < 3000; ++round) {
    const FdId id = table_.Add(Root());
    if (round % 100 == 0) {
      kept.push_back(id);
    } else {
      table_.Close(id);
    }
    if (round % 7 == 0) table_.Skip(300);
  }
  EXPECT_EQ(table_.size(), kept.size());
  for (const FdId id : kept) EXPECT_TRUE(table_.Control(id).ok());
  EXPECT_LE(table_.num_pages(), kept.size() + 1);
  table_.Clear();
  EXPECT_EQ(table_.size(), 0u);
  for (const FdId id : kept) EXPECT_EQ(table_.Control(id).error(), EBADF);
}

}  // namespace
}  // namespace lisafs
