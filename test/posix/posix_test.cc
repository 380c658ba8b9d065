// The same cases on a plain folder and through a mount that `gofer serve` answers: what programs
// see, and the trees that are left on disk, may not differ.
//
// The tables of paths, permissions and modes are cut in three, a part for each cache policy, since
// caching has no say in them; all else is run with each.

#include <signal.h>
#include <unistd.h>

#include <map>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer {
namespace {

using testing::GoferProcess;
using testing::TempTree;

using Results = std::map<std::string, std::string>;

// What Linux's FUSE client does by itself, with any server.
struct Known {
  const char* name;      // of the case, or how its name begins
  const char* instead;   // in the result on a plain folder...
  const char* expected;  // ...and through the mount
  const char* why;
};
constexpr Known kKnown[] = {
    {"mode/change/write/by_bob/2666", "f f 0666", "f f 2666",
     "fuse_setattr drops setgid only from what the group may execute"},
    {"mode/change/append/by_bob/2666", "f f 0666", "f f 2666", "the same"},
    {"mode/change/truncate/by_bob/2666", "f f 0666", "f f 2666", "the same"},
    {"mode/change/truncate_to_same/by_bob/2666", "f f 0666", "f f 2666", "the same"},
    {"mode/change/ftruncate/by_bob/2666", "f f 0666", "f f 2666", "the same"},
    {"mode/change/open_trunc/by_bob/2666", "f f 0666", "f f 2666", "the same"},
    {"mode/change/fallocate/by_bob/2666", "f f 0666", "f f 2666", "the same"},
    {"mode/change/chown_minus_one/by_bob/2666", "chown=EPERM", "chown=ok",
     "it clears nothing, and what asks for nothing is not refused"},
    {"mode/change/write/by_alice/2666", "f f 2666", "f f 0666",
     "with direct I/O the server is told to drop privileges, and is not in the file's group"},
    {"mode/change/append/by_alice/2666", "f f 2666", "f f 0666", "the same"},
};
constexpr Known kKnownOfKillpriv[] = {
    {"mode/change/truncate/by_alice/2666", "f f 2666", "f f 0666",
     "the server drops privileges, and is not in the file's group"},
    {"mode/change/truncate_to_same/by_alice/2666", "f f 2666", "f f 0666", "the same"},
    {"mode/change/ftruncate/by_alice/2666", "f f 2666", "f f 0666", "the same"},
    {"mode/change/open_trunc/by_alice/2666", "f f 2666", "f f 0666", "the same"},
};
constexpr Known kKnownOfWriteback[] = {
    {"time/moved_by/truncate_to_same", "file=mc", "file=still",
     "the client has the times, and a size that stays is no change to it"},
    {"time/set/file/far_future", "mtime=15032385535.0", "mtime=99999999999.0",
     "the client believes its own time, not what the file system can store"},
    {"time/set/file/far_past", "mtime=-2147483648.0", "mtime=-99999999999.0", "the same"},
};

// Everything but the tables, and a third of those.
std::vector<std::string> PartOf(int third) {
  return {"--skip=path,permission,mode",
          absl::StrCat("--only=path,permission,mode --shard=", third, "/3")};
}

Results RunCases(const std::string& dir, const std::vector<std::string>& parts) {
  Results results;
  for (const std::string& flags : parts) {
    const std::string command =
        absl::StrCat("test/posix/cases/posix_cases ", dir, " --keep ", flags);
    FILE* const output = popen(command.c_str(), "r");
    PCHECK(output != nullptr) << command;
    std::string text;
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof(buffer), output)) > 0;) text.append(buffer, n);
    CHECK_EQ(pclose(output), 0) << command << " failed";
    for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> halves =
          absl::StrSplit(line, absl::MaxSplits(": ", 1));
      results.emplace(halves.first, halves.second);
    }
  }
  return results;
}

class PosixTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to mount, and to act as several users";
    for (const char* const dir : {"plain", "served", "mnt"}) tree_.Mkdir(dir, 0755);
  }

  // On the plain folder, and through a mount that is served with the flags.
  void Run(const std::vector<std::string>& parts, const std::vector<std::string>& flags) {
    testing::Pipe ready = testing::MakePipe();
    std::vector<std::string> arguments = {"serve",
                                          absl::StrCat("--root=", tree_.At("served")),
                                          absl::StrCat("--fuse_mountpoint=", tree_.At("mnt")),
                                          "--ready_fd=9",
                                          "--allow_other",
                                          "--xattr",
                                          "--posix_acl",
                                          "--make_devices",
                                          "--file_capabilities",
                                          "--modcaps=+sys_admin",  // trusted.*, security.*
                                          "--preserve_noatime"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    GoferProcess gofer({.arguments = std::move(arguments), .fds = {{9, ready.write.get()}}});
    ready.write.Reset();
    ASSERT_EQ(testing::ReadPipe(ready.read), "\n") << gofer.Stderr();
    std::thread beside([&] { plain_ = RunCases(tree_.At("plain"), parts); });
    mounted_ = RunCases(tree_.At("mnt"), parts);
    beside.join();
    gofer.Signal(SIGTERM);
    EXPECT_EQ(gofer.Wait(), 0) << gofer.Stderr();
  }

  void ExpectSame(std::span<const Known> also_known = {}) {
    EXPECT_EQ(plain_.size(), mounted_.size());
    std::set<std::string> differ;  // folders of cases
    for (const auto& [name, plain] : plain_) {
      const std::string& mounted = mounted_[name];
      if (plain == mounted) continue;
      differ.insert(absl::StrReplaceAll(name, {{"/", "."}}));
      if (IsKnown(kKnown, name, plain, mounted)) continue;
      if (IsKnown(also_known, name, plain, mounted)) continue;
      ADD_FAILURE() << name << "\n  plain folder: " << plain << "\n  mounted:      " << mounted;
    }
    ExpectSameTrees(differ);
  }

  // As the host sees them, but for the folders of cases that are known to differ.
  void ExpectSameTrees(const std::set<std::string>& differ) {
    std::map<std::string, std::string> trees[2];
    for (const auto& [path, what] : tree_.Snapshot()) {
      const std::vector<std::string> parts = absl::StrSplit(path, absl::MaxSplits('/', 1));
      if (parts.size() < 2) continue;
      const std::string folder(parts[1], 0, parts[1].find('/'));
      if (differ.count(folder) == 0) trees[parts[0] == "served"][parts[1]] = what;
    }
    EXPECT_GT(trees[0].size(), plain_.size());
    for (const auto& [path, what] : trees[0]) EXPECT_EQ(trees[1][path], what) << path;
    EXPECT_EQ(trees[0].size(), trees[1].size());
  }

  static bool IsKnown(std::span<const Known> table, const std::string& name,
                      const std::string& plain, const std::string& mounted) {
    for (const Known& known : table) {
      if (name == known.name &&
          absl::StrReplaceAll(plain, {{known.instead, known.expected}}) == mounted) {
        return true;
      }
    }
    return false;
  }

  const TempTree tree_;
  Results plain_;
  Results mounted_;
};

TEST_F(PosixTest, CacheAuto) {
  Run(PartOf(0), {"--cache=auto"});
  ExpectSame();
}

TEST_F(PosixTest, CacheNever) {
  Run(PartOf(1), {"--cache=never", "--allow_mmap"});
  ExpectSame();
}

TEST_F(PosixTest, CacheAlwaysWithWriteback) {
  Run(PartOf(2), {"--cache=always", "--writeback"});
  ExpectSame(kKnownOfWriteback);
}

// Of locks that are the host's a client is not told who has them, and a circle of waiting is seen
// by nobody.
TEST_F(PosixTest, HostsLocks) {
  Run({"--only=sharing/lock"}, {"--posix_locks", "--flock_locks"});
  for (auto& [name, result] : plain_) {
    result = absl::StrReplaceAll(result, {{",parent", ",somebody"}, {"EDEADLK", "EINTR"}});
  }
  ExpectSame();
}

TEST_F(PosixTest, CredentialsSwitched) {
  Run({"--only=permission,mode,acl --shard=1/8"}, {"--creds=switch"});
  ExpectSame();
}

TEST_F(PosixTest, PrivilegesDroppedByTheServer) {
  // Of these two calls the client does not say who makes them, and drops nothing itself any more.
  Run({"--only=mode/change --skip=mode/change/chown_minus_one,mode/change/fallocate"},
      {"--killpriv_v2"});
  ExpectSame(kKnownOfKillpriv);
}

}  // namespace
}  // namespace gofer
