#include "gofer/server/user_namespace.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "gofer/sys/process.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

constexpr uint32_t kNobody = 65534;

std::string ErrorOf(absl::string_view range) {
  return std::string(ParseIdRange(range).status().message());
}

std::string Content(const char* path) {
  std::ifstream file(path);
  std::string words, word;
  while (file >> word) words += (words.empty() ? "" : " ") + word;
  return words;
}

TEST(ParseIdRange, AnyDelimiter) {
  for (const char* const text : {":0:100000:65536:", "/0/100000/65536/", " 0 100000 65536 ",
                                 "-0-100000-65536-", "_0_100000_65536_"}) {
    const absl::StatusOr<IdRange> range = ParseIdRange(text);
    ASSERT_TRUE(range.ok()) << range.status();
    EXPECT_EQ(range->inside, 0u);
    EXPECT_EQ(range->outside, 100000u);
    EXPECT_EQ(range->count, 65536u);
  }
}

TEST(ParseIdRange, WhatIsNone) {
  for (const char* const text : {"", ":", "0:1:2:", ":0:1:2", "x0x1x2x", ":0:1:2/"}) {
    EXPECT_EQ(ErrorOf(text),
              std::string("range \"") + text +
                  "\": does not begin and end with one delimiter, as in :0:100000:65536:");
  }
  EXPECT_EQ(ErrorOf(":0:1:"), "range \":0:1:\": has 2 numbers, not 3 (inside, outside, count)");
  EXPECT_EQ(ErrorOf("::"), "range \"::\": has 1 numbers, not 3 (inside, outside, count)");
  EXPECT_EQ(ErrorOf(":0::1:"), "range \":0::1:\": \"\" is not a number from 0 to 4294967295");
  EXPECT_EQ(ErrorOf(":0:-1:1:"), "range \":0:-1:1:\": \"-1\" is not a number from 0 to 4294967295");
  EXPECT_EQ(ErrorOf(":4294967296:0:1:"),
            "range \":4294967296:0:1:\": \"4294967296\" is not a number from 0 to 4294967295");
}

class UserNamespaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to become another user";
  }
  // A program that somebody who is not root starts owns its files in /proc.
  static void BecomeNobody() {
    ASSERT_TRUE(sys::DropSupplementaryGroups().ok());
    ASSERT_TRUE(sys::SetIds(kNobody, kNobody).ok());
    ASSERT_EQ(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
  }
  static void Enter(const std::vector<std::string>& users, const std::vector<std::string>& groups) {
    BecomeNobody();
    const absl::StatusOr<UserNamespace> plan = UserNamespace::Prepare(users, groups);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::Status entered = plan->Enter();
    ASSERT_TRUE(entered.ok()) << entered;
    EXPECT_NE(sys::GetCapabilities()->effective & uint64_t{1} << CAP_SYS_ADMIN, 0u);
  }
};

TEST_F(UserNamespaceTest, OneselfAsOneself) {
  const testing::ChildEnd end = testing::InChild([] {
    Enter({}, {});
    EXPECT_EQ(Content("/proc/self/uid_map"), "65534 65534 1");
    EXPECT_EQ(Content("/proc/self/gid_map"), "65534 65534 1");
    EXPECT_EQ(Content("/proc/self/setgroups"), "deny");
    EXPECT_EQ(geteuid(), kNobody);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(UserNamespaceTest, OneselfAsRoot) {
  const testing::ChildEnd end = testing::InChild([] {
    Enter({":0:65534:1:"}, {"/0/65534/1/"});
    EXPECT_EQ(Content("/proc/self/uid_map"), "0 65534 1");
    EXPECT_EQ(getuid(), 0u);
    EXPECT_EQ(getegid(), 0u);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(UserNamespaceTest, RangesAreForTheTwoProgramsInThePath) {
  // Stand-ins that note what they were asked, and do it: in this test's child, newuidmap's own
  // files would be the host's.
  const testing::TempTree tree;
  ASSERT_EQ(chmod(tree.path().c_str(), 0777), 0);
  for (const char* const name : {"newuidmap", "newgidmap"}) {
    tree.Write(name, "#!/bin/sh\necho \"$@\" >> \"${0%/*}/asked\"\nexit 1\n", 0755);
  }
  const testing::ChildEnd end = testing::InChild([&] {
    ASSERT_EQ(setenv("PATH", ("/nowhere:" + tree.path()).c_str(), 1), 0);
    ASSERT_TRUE(sys::DropSupplementaryGroups().ok());
    ASSERT_TRUE(sys::SetIds(kNobody, kNobody).ok());
    const std::vector<std::string> ranges = {":0:100000:1000:", ":5000:65534:1:"};
    const absl::StatusOr<UserNamespace> plan = UserNamespace::Prepare(ranges, {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::Status entered = plan->Enter();
    EXPECT_EQ(entered.message(),
              "--uid-map, --gid-map: newuidmap or newgidmap refused; its own words are above, and "
              "/etc/subuid and /etc/subgid say what it allows");
    EXPECT_EQ(Content(tree.At("asked").c_str()),
              std::to_string(getpid()) + " 0 100000 1000 5000 65534 1");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(UserNamespaceTest, WithoutThePrograms) {
  const testing::ChildEnd end = testing::InChild([] {
    ASSERT_EQ(setenv("PATH", "/nowhere", 1), 0);
    BecomeNobody();
    const std::vector<std::string> ranges = {":0:100000:1000:"};
    EXPECT_EQ(UserNamespace::Prepare({}, ranges).status().message(),
              "newgidmap: is in no directory of PATH; it is needed to map other ids than one's "
              "own");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

}  // namespace
}  // namespace gofer::server
