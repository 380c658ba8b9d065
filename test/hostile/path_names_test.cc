// Names that are none, in every name of every message: refused, and nothing at all happens to any
// tree. Attacks.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;
using std::string_literals::operator""s;

class PathNames : public HostileTest {};

TEST_F(PathNames, EveryNameOfEveryMessage) {
  tree_.Mkdir("served/dir");
  tree_.Write("served/file", "text");
  const std::vector<std::pair<std::string, int>> names = {
      {"", EINVAL},
      {".", EINVAL},
      {"..", EINVAL},
      {"/", EINVAL},
      {"../beside", EINVAL},
      {"../beside/secret", EINVAL},
      {"dir/../..", EINVAL},
      {tree_.At("beside/secret"), EINVAL},
      {"/proc/self/root", EINVAL},
      {"file/", EINVAL},
      {"file\0x"s, EINVAL},
      {"\0"s, EINVAL},
      {std::string(256, 'n'), ENAMETOOLONG},
      {std::string(4096, 'n'), ENAMETOOLONG},
      {std::string(65535, 'n'), ENAMETOOLONG},
      {absl::StrCat(std::string(300, 'n'), "/x"), EINVAL},
  };
  const auto before = tree_.StrictSnapshot();
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via);
    Calls& calls = session.calls();
    const FdId root = session.root();
    const FdId file = session.Walk("file").control_fd;
    for (const auto& [name, error] : names) {
      SCOPED_TRACE(testing::PrintToString(name.substr(0, 40)));
      Inode inodes[2];
      Statx stats[2];
      EXPECT_EQ(ErrorOf(calls.Walk(root, {name}, inodes)), error);
      EXPECT_EQ(ErrorOf(calls.Walk(root, {"dir", name}, inodes)), error);
      EXPECT_EQ(ErrorOf(calls.WalkStat(root, {"dir", name}, stats)), error);
      EXPECT_EQ(ErrorOf(calls.WalkStat(root, {name}, stats)), name.empty() ? 0 : error);
      EXPECT_EQ(ErrorOf(calls.OpenCreateAt(root, name, 0644, kNobody, 2)), error);
      EXPECT_EQ(ErrorOf(calls.MkdirAt(root, name, 0755, kNobody)), error);
      EXPECT_EQ(ErrorOf(calls.MknodAt(root, name, S_IFREG | 0644, kNobody, 0, 0)), error);
      EXPECT_EQ(ErrorOf(calls.SymlinkAt(root, name, "target", kNobody)), error);
      EXPECT_EQ(ErrorOf(calls.LinkAt(root, file, name)), error);
      EXPECT_EQ(ErrorOf(calls.UnlinkAt(root, name, 0)), error);
      EXPECT_EQ(ErrorOf(calls.UnlinkAt(root, name, AT_REMOVEDIR)), error);
      EXPECT_EQ(ErrorOf(calls.RenameAt(root, name, root, "new")), error);
      EXPECT_EQ(ErrorOf(calls.RenameAt(root, "file", root, name)), error);
      EXPECT_EQ(ErrorOf(calls.RenameAt2(root, name, root, "new", 0)), error);
      EXPECT_EQ(ErrorOf(calls.RenameAt2(root, "file", root, name, 2)), error);
      EXPECT_EQ(ErrorOf(calls.BindAt(root, name, SOCK_STREAM, S_IFSOCK | 0755, kNobody)), error);
    }
    EXPECT_EQ(ErrorOf(calls.SymlinkAt(root, "new", ""s, kNobody)), ENOENT);
    EXPECT_EQ(ErrorOf(calls.SymlinkAt(root, "new", "a\0b"s, kNobody)), EINVAL);
    EXPECT_EQ(ErrorOf(calls.SymlinkAt(root, "new", std::string(4096, 't'), kNobody)), ENAMETOOLONG);
  }
  EXPECT_EQ(tree_.StrictSnapshot(), before);
}

}  // namespace
}  // namespace lisafs
