#include "gofer/server/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "gofer/sys/process.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"

namespace gofer::server {
namespace {

constexpr uint64_t Bits(std::initializer_list<int> capabilities) {
  uint64_t bits = 0;
  for (const int capability : capabilities) bits |= uint64_t{1} << capability;
  return bits;
}
constexpr uint64_t kServing = Bits({CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID});
constexpr uint64_t kSwitching = kServing | Bits({CAP_SETUID, CAP_SETGID});

uint64_t BoundingSet() {
  uint64_t bits = 0;
  for (int capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) bits |= uint64_t{1} << capability;
  }
  return bits;
}

void ExpectOnly(const CapabilityOptions& options, uint64_t expected) {
  const testing::ChildEnd end = testing::InChild([&] {
    ASSERT_TRUE(DropBoundingSet(options).ok());
    EXPECT_EQ(BoundingSet(), expected);
    const absl::Status limited = LimitCapabilities(options);
    ASSERT_TRUE(limited.ok()) << limited;
    const auto sets = sys::GetCapabilities();
    ASSERT_TRUE(sets.ok());
    EXPECT_EQ(sets->effective, expected);
    EXPECT_EQ(sets->permitted, expected);
    EXPECT_EQ(sets->inheritable, 0u);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST(Capabilities, WhatServingNeedsIsLeft) {
  if (!testing::IsPrivileged()) GTEST_SKIP() << "has no capabilities to lose";
  ExpectOnly({}, kServing);
  ExpectOnly({.switch_ids = true}, kSwitching);
}

TEST(Capabilities, WhatIsNotHeldIsNotKept) {
  if (!testing::IsPrivileged()) GTEST_SKIP() << "has no capabilities to lose";
  const testing::ChildEnd end = testing::InChild([&] {
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    EXPECT_TRUE(DropBoundingSet({}).ok()) << "a normal user cannot, and need not";
    const absl::Status limited = LimitCapabilities({});
    ASSERT_TRUE(limited.ok()) << limited;
    EXPECT_EQ(sys::GetCapabilities()->effective, 0u);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

}  // namespace
}  // namespace gofer::server
