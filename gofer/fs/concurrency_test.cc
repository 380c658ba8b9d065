// Many threads on one small tree, with budgets so tight that everything is given up and reopened
// all the time. What it asserts is little; what it is for is the thread and address sanitizers, and
// the lock order check.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/fs/filesystem.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::TempTree;

constexpr int kThreads = 4;
constexpr int kRounds = 3000;
constexpr int kDirs = 3;
constexpr int kNames = 6;

Name N(const std::string& text) {
  ErrnoOr<Name> name = Name::Parse(text);
  CHECK(name.ok());
  return *name;
}

bool IsExpected(Errno error) {
  // What a file system says when others are busy in it, and our own ESTALE for a given-up
  // descriptor whose name has been moved.
  for (const int expected : {ENOENT, EEXIST, ESTALE, ENOTDIR, ENOTEMPTY, EISDIR, EINVAL}) {
    if (error == expected) return true;
  }
  return false;
}

class Worker {
 public:
  Worker(Filesystem& fs, unsigned seed) : fs_(fs), random_(seed) {}

  void Run() {
    for (int i = 0; i < kRounds; ++i) {
      const ErrnoOr<void> result = Step();
      if (!result.ok() && !IsExpected(result.error())) {
        ADD_FAILURE() << result.error().ToString();
        return;
      }
    }
  }

 private:
  int Pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  Name AnyName() { return N(absl::StrCat("n", Pick(kNames))); }
  ErrnoOr<RefPtr<Dentry>> AnyDir() {
    ErrnoOr<Entry> entry = fs_.Lookup(fs_.root(), N(absl::StrCat("d", Pick(kDirs))));
    if (!entry.ok()) return entry.error();
    return entry->dentry;
  }
  template <typename T>
  static ErrnoOr<void> Only(const ErrnoOr<T>& result) {
    if (!result.ok()) return result.error();
    return {};
  }

  ErrnoOr<void> Step() {
    const ErrnoOr<RefPtr<Dentry>> dir = AnyDir();
    const ErrnoOr<RefPtr<Dentry>> other = AnyDir();
    if (!dir.ok()) return dir.error();
    if (!other.ok()) return other.error();
    Dentry& d = **dir;
    switch (Pick(12)) {
      case 0:
        return Only(fs_.CreateFile(d, AnyName(), 0600, {}, O_RDWR));
      case 1:
        return Only(fs_.MakeDir(d, AnyName(), 0700, {}));
      case 2:
        return fs_.Unlink(d, AnyName(), Pick(2) == 0 ? 0 : AT_REMOVEDIR);
      case 3:
        return fs_.Rename(d, AnyName(), **other, AnyName(), Pick(4) == 0 ? RENAME_EXCHANGE : 0);
      case 4: {
        const ErrnoOr<Entry> entry = fs_.Lookup(d, AnyName());
        if (!entry.ok()) return entry.error();
        if (entry->dentry->type() != S_IFREG) return {};
        return Only(fs_.MakeLink(**other, AnyName(), *entry->dentry));
      }
      case 5: {
        const ErrnoOr<Entry> entry = fs_.Lookup(d, AnyName());
        if (!entry.ok()) return entry.error();
        const ErrnoOr<RefPtr<Handle>> handle = fs_.Open(*entry->dentry, O_RDONLY);
        if (!handle.ok()) return handle.error();
        { const UniqueFd donated = (*handle)->Donate(); }
        std::byte buffer[16];
        return Only(fs_.Read(**handle, buffer, 0));
      }
      case 6: {
        const ErrnoOr<RefPtr<Handle>> handle = fs_.Open(d, O_RDONLY);
        if (!handle.ok()) return handle.error();
        size_t count = 0;
        return fs_.ReadDir(**handle, true, 4096, [&](const DirEntry&) { ++count; });
      }
      case 7:
        fs_.dentries().Purge();
        return {};
      default: {
        const ErrnoOr<Entry> entry = fs_.Lookup(d, AnyName());
        if (!entry.ok()) return entry.error();
        fs_.PathOf(*entry->dentry);
        return Only(fs_.Stat(*entry->dentry));
      }
    }
  }

  Filesystem& fs_;
  std::minstd_rand random_;
};

TEST(FilesystemConcurrency, EverythingAtOnce) {
  TempTree tree;
  for (int i = 0; i < kDirs; ++i) tree.Mkdir(absl::StrCat("d", i));
  auto created =
      Filesystem::Create(tree.OpenPath(), *sys::OpenProcSelfFd(),
                         {.max_unreferenced_dentries = 3, .max_nodes = 1000, .max_fds = 24});
  ASSERT_TRUE(created.ok()) << created.status();
  Filesystem& fs = **created;
  {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i)
      threads.emplace_back([&fs, i] { Worker(fs, i + 1).Run(); });
    for (std::thread& thread : threads) thread.join();
  }
  fs.dentries().Purge();
  EXPECT_EQ(fs.dentries().size(), 1u);
  EXPECT_EQ(fs.inodes().size(), 1u);
  EXPECT_EQ(fs.open_fds(), 1u);
}

}  // namespace
}  // namespace gofer::fs
