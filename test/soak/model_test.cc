// The model is what the kernel does: one actor on a plain folder, with no gofer in between.

#include <iostream>
#include <string>

#include "gtest/gtest.h"
#include "test/one_tree/view.h"
#include "test/soak/actor.h"
#include "test/support/temp_tree.h"

namespace gofer::soak {
namespace {

TEST(Model, IsWhatAPlainFolderDoes) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const testing::TempTree tree;
    tree.Mkdir("dir");
    Region region("dir");
    one_tree::FolderView view("folder", tree.path());
    Actor actor({{.region = &region}}, seed);
    actor.Use(&view);
    for (int i = 0; i < 4000; ++i) {
      ASSERT_EQ(actor.Step(), "") << "seed " << seed << ", step " << i;
    }
    EXPECT_EQ(actor.LetGo(), "");
    EXPECT_EQ(Differences(view, region), "") << "seed " << seed;
  }
}

// A difference is seen: what the host does behind the model's back.
TEST(Model, SeesWhatIsNotAsItWas) {
  const testing::TempTree tree;
  tree.Mkdir("dir");
  Region region("dir");
  one_tree::FolderView view("folder", tree.path());
  {
    const absl::MutexLock lock(&region.mu);
    ASSERT_TRUE(region.model.Create("f", "text").empty());
    ASSERT_TRUE(region.model.Mkdir("d").empty());
  }
  tree.Write("dir/f", "text");
  tree.Mkdir("dir/d");
  ASSERT_EQ(Differences(view, region), "");
  tree.Write("dir/f", "TEXT");
  EXPECT_NE(Differences(view, region), "");
  tree.Write("dir/f", "text");
  ASSERT_EQ(Differences(view, region), "");
  tree.Write("dir/d/new", "");
  EXPECT_NE(Differences(view, region), "");
  tree.Unlink("dir/d/new");
  tree.Write("dir/other", "text");
  tree.Rename("dir/other", "dir/f");
  EXPECT_NE(Differences(view, region), "") << "another file with the same content";
}

}  // namespace
}  // namespace gofer::soak
