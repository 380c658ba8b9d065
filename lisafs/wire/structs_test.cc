// Offsets of all fixed parts are checked against the golden file in //test/golden; here are the
// traps that a compiler or a careless reader could fall into.

#include "lisafs/wire/structs.h"

#include <linux/stat.h>
#include <sys/stat.h>

#include <cstddef>

#include "gtest/gtest.h"

namespace lisafs {
namespace {

TEST(Structs, StatxIsTheKernelsUpToTheDevice) {
  static_assert(offsetof(Statx, dev_minor) == offsetof(struct ::statx, stx_dev_minor));
  static_assert(offsetof(Statx, mtime) == offsetof(struct ::statx, stx_mtime));
  static_assert(offsetof(Statx, attributes_mask) == offsetof(struct ::statx, stx_attributes_mask));
  EXPECT_EQ(sizeof(Statx), offsetof(struct ::statx, stx_dev_minor) + 4);
  EXPECT_GT(sizeof(struct ::statx), sizeof(Statx)) << "the kernel's goes on, the wire does not";
}

TEST(Structs, NumbersOfDevicesComeInTwoOrders) {
  EXPECT_LT(offsetof(MknodAtReqFixed, minor), offsetof(MknodAtReqFixed, major));
  EXPECT_LT(offsetof(Dirent64Fixed, dev_minor), offsetof(Dirent64Fixed, dev_major));
  EXPECT_LT(offsetof(Statx, dev_major), offsetof(Statx, dev_minor));
}

TEST(Structs, OffsetStandsBeforeTheId) {
  EXPECT_EQ(offsetof(PReadReq, offset), 0u);
  EXPECT_EQ(offsetof(PWriteReqFixed, offset), 0u);
  EXPECT_EQ(offsetof(PWriteReqFixed, num_bytes), 16u);
}

TEST(Structs, WindowHoldsTheLargestMessage) {
  EXPECT_GE(kWindowSize, sizeof(PacketHeader) + sizeof(ChannelHeader) + kMaxMessageSize);
}

}  // namespace
}  // namespace lisafs
