#include "lisafs/wire/message_id.h"

#include "gtest/gtest.h"

namespace lisafs {
namespace {

TEST(MessageName, FollowsTheNumbers) {
  EXPECT_EQ(MessageName(MessageId::kError), "Error");
  EXPECT_EQ(MessageName(MessageId::kWalkStat), "WalkStat");
  EXPECT_EQ(MessageName(MessageId::kFStatFS), "FStatFS");
  EXPECT_EQ(MessageName(MessageId::kBindAt), "BindAt");
  EXPECT_EQ(MessageName(MessageId::kRenameAt2), "RenameAt2");
  EXPECT_EQ(static_cast<int>(MessageId::kRenameAt2), 33);
}

TEST(MessageName, OfANumberThatIsNoMessage) {
  EXPECT_EQ(MessageName(MessageId{34}), "Unknown");
  EXPECT_EQ(MessageName(MessageId{65535}), "Unknown");
}

}  // namespace
}  // namespace lisafs
