#include "gofer/sys/own_records.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

OwnRecords MustOpen() {
  ErrnoOr<UniqueFd> self = OpenProcSelf();
  EXPECT_TRUE(self.ok());
  ErrnoOr<OwnRecords> records = OwnRecords::Open(*self);
  EXPECT_TRUE(records.ok());
  return *std::move(records);
}

TEST(OwnRecords, TellWhatIsNowAndNotWhatWas) {
  const testing::ChildEnd end = testing::InChild([] {
    const OwnRecords records = MustOpen();
    EXPECT_TRUE(absl::StrContains(*records.Status(), "\nNoNewPrivs:\t0\n"));
    ASSERT_TRUE(SetNoNewPrivileges().ok());
    EXPECT_TRUE(absl::StrContains(*records.Status(), "\nNoNewPrivs:\t1\n"));
    ASSERT_TRUE(SetLimit(RLIMIT_CORE, {.soft = 0, .hard = 4096}).ok());
    ASSERT_TRUE(SetNotDumpable().ok());
    EXPECT_TRUE(absl::StrContains(*records.Limits(),
                                  "Max core file size        0                    4096 "))
        << *records.Limits();
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST(OwnRecords, NamespacesAsTheirLinksSay) {
  const OwnRecords records = MustOpen();
  EXPECT_EQ(records.namespaces().size(), 7u);
  for (const NamespaceId& one : records.namespaces()) {
    struct stat link;
    ASSERT_EQ(stat(absl::StrCat("/proc/self/ns/", one.kind).c_str(), &link), 0) << one.kind;
    EXPECT_EQ(link.st_ino, one.id) << one.kind;
  }
}

TEST(OwnRecords, MountsAreThoseOfTheNewRoot) {
  if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make mounts";
  const testing::TempTree tree;
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    const ErrnoOr<UniqueFd> self = OpenProcSelf();
    ErrnoOr<UniqueFd> copy = CloneTree(tree.OpenPath(), Recursive::kNo);
    ASSERT_TRUE(self.ok() && copy.ok());
    ASSERT_TRUE(AttachTree(*copy, tree.OpenPath()).ok());
    ASSERT_TRUE(PivotInto(*copy).ok());
    const ErrnoOr<OwnRecords> records = OwnRecords::Open(*self);
    ASSERT_TRUE(records.ok()) << records.error().ToString();
    const std::string mounts = *records->Mounts();
    EXPECT_EQ(std::count(mounts.begin(), mounts.end(), '\n'), 1) << mounts;
    EXPECT_TRUE(absl::StrContains(mounts, " / ")) << mounts;
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

}  // namespace
}  // namespace gofer::sys
