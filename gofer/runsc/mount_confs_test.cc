#include "gofer/runsc/mount_confs.h"

#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

TEST(ParseMountConfs, LowerAndUpper) {
  const auto confs = ParseMountConfs("lisafs:self,lisafs:none,none:memory,erofs:anon:size=10");
  ASSERT_TRUE(confs.ok()) << confs.status();
  ASSERT_EQ(confs->size(), 4u);
  EXPECT_TRUE((*confs)[0].Served());
  EXPECT_TRUE((*confs)[0].ReadOnly()) << "writes stay in the layer above";
  EXPECT_TRUE((*confs)[1].Served());
  EXPECT_FALSE((*confs)[1].ReadOnly());
  EXPECT_FALSE((*confs)[2].Served());
  EXPECT_FALSE((*confs)[2].ReadOnly()) << "there is nothing below";
  EXPECT_FALSE((*confs)[3].Served());
  EXPECT_EQ((*confs)[3].lower, MountConf::Lower::kErofs);
  EXPECT_TRUE((*confs)[3].ReadOnly());
}

TEST(ParseMountConfs, WhatIsNoConf) {
  for (const char* const text :
       {"", "lisafs", "lisafs:", ":none", "none:none", "p9:none", "lisafs:disk", "lisafs:none,",
        "lisafs:none:10", "lisafs:none:size=1:2"}) {
    EXPECT_FALSE(ParseMountConfs(text).ok()) << "\"" << text << "\"";
  }
}

}  // namespace
}  // namespace gofer::runsc
