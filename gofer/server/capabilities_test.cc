#include "gofer/server/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <string>
#include <vector>

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
  ExpectOnly({.make_devices = true, .set_file_capabilities = true, .open_by_handle = true},
             kServing | Bits({CAP_MKNOD, CAP_SETFCAP, CAP_DAC_READ_SEARCH}));
  ExpectOnly({.added = {CAP_SYS_ADMIN, CAP_CHOWN}, .removed = {CAP_FSETID}},
             (kServing | Bits({CAP_SYS_ADMIN})) & ~Bits({CAP_FSETID}));
}

TEST(DropAllCapabilities, NoneIsLeft) {
  const testing::ChildEnd end = testing::InChild([&] {
    ASSERT_TRUE(DropAllCapabilities().ok());
    const auto sets = sys::GetCapabilities();
    EXPECT_EQ(sets->effective | sets->permitted | sets->inheritable, 0u);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST(ModifyCapabilities, TheLastWordCounts) {
  CapabilityOptions options;
  ASSERT_TRUE(ModifyCapabilities("+sys_admin:-CHOWN:+Mknod:-mknod:-fowner:+fowner", options).ok());
  EXPECT_EQ(options.added, (std::vector<int>{CAP_SYS_ADMIN, CAP_FOWNER}));
  EXPECT_EQ(options.removed, (std::vector<int>{CAP_CHOWN, CAP_MKNOD}));
}

TEST(ModifyCapabilities, WhatIsNoList) {
  const auto error = [](absl::string_view list, CapabilityOptions options = {}) {
    return std::string(ModifyCapabilities(list, options).message());
  };
  EXPECT_EQ(error(""), "--modcaps=: an element is empty");
  EXPECT_EQ(error("+chown:"), "--modcaps=+chown:: an element is empty");
  EXPECT_EQ(error("chown"), "--modcaps=chown: \"chown\" does not begin with + or -");
  EXPECT_EQ(error("+chown:=mknod"),
            "--modcaps=+chown:=mknod: \"=mknod\" does not begin with + or -");
  EXPECT_EQ(error("+cap_chown"), "--modcaps=+cap_chown: there is no capability \"cap_chown\"");
  EXPECT_EQ(error("+"), "--modcaps=+: there is no capability \"\"");
  EXPECT_EQ(error("-dac_read_search", {.open_by_handle = true}),
            "--modcaps=-dac_read_search: --inode-file-handles needs dac_read_search");
  EXPECT_EQ(error("-dac_read_search"), "");
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
