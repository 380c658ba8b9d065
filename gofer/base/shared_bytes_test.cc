#include "gofer/base/shared_bytes.h"

#include <array>
#include <cstdint>

#include "gtest/gtest.h"

namespace gofer {
namespace {

TEST(SharedBytes, CopiesOutWhatIsInside) {
  std::array<std::byte, 8> memory;
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<std::byte>(i);
  const SharedBytes shared{std::span(memory)};
  std::array<std::byte, 3> copy = {};
  ASSERT_TRUE(shared.CopyOut(5, copy));
  memory[5] = std::byte{99};  // the peer writes on; the copy stays
  EXPECT_EQ(copy[0], std::byte{5});
  EXPECT_EQ(copy[2], std::byte{7});
}

TEST(SharedBytes, RefusesWhatReachesOutside) {
  std::array<std::byte, 8> memory = {};
  const SharedBytes shared{std::span(memory)};
  std::array<std::byte, 4> copy;
  copy.fill(std::byte{42});
  EXPECT_FALSE(shared.CopyOut(5, copy));
  EXPECT_FALSE(shared.CopyOut(9, std::span<std::byte>()));
  EXPECT_FALSE(shared.CopyOut(SIZE_MAX, copy)) << "offset + size wraps";
  EXPECT_TRUE(shared.CopyOut(8, std::span<std::byte>()));
  for (const std::byte byte : copy) EXPECT_EQ(byte, std::byte{42});
}

TEST(SharedBytes, BulkStaysInside) {
  std::array<std::byte, 8> memory = {};
  const SharedBytes shared{std::span(memory)};
  EXPECT_EQ(shared.bulk(6, 2).data(), memory.data() + 6);
  EXPECT_TRUE(shared.bulk(6, 3).empty());
  EXPECT_TRUE(shared.bulk(SIZE_MAX, 2).empty());
}

}  // namespace
}  // namespace gofer
