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
#include "gofer/fs/posix_locks.h"
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
  for (const int expected :
       {ENOENT, EEXIST, ESTALE, ENOTDIR, ENOTEMPTY, EISDIR, EINVAL, EAGAIN, EBADF}) {
    if (error == expected) return true;
  }
  return false;
}

class Worker {
 public:
  Worker(Filesystem& fs, PosixLocks& locks, unsigned seed)
      : fs_(fs), locks_(locks), random_(seed) {}

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
    switch (Pick(20)) {
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
      case 8:
        return Only(
            fs_.CreateFile(d, AnyName(), O_RDWR, {.mode = 0600, .owner = {.uid = 0, .gid = 0}}));
      case 9: {
        const ErrnoOr<OpenEntry> unnamed = fs_.CreateUnnamed(d, O_RDWR, {.mode = 0600});
        if (!unnamed.ok()) return unnamed.error();
        return Only(fs_.MakeLink(**other, AnyName(), *unnamed->entry.dentry));
      }
      case 10:
      case 11: {
        const ErrnoOr<Entry> entry = fs_.LookupUnopened(d, AnyName());
        if (!entry.ok()) return entry.error();
        const ErrnoOr<RefPtr<Handle>> handle = fs_.OpenWith(*entry->dentry, O_RDWR);
        if (!handle.ok()) return handle.error();
        char text[16] = "text";
        const struct iovec part = {text, sizeof(text)};
        const ErrnoOr<size_t> put = fs_.WriteV(**handle, {&part, 1}, 0, false, SetIdBits::kDrop);
        if (!put.ok()) return put.error();
        return Only(fs_.ReadV(**handle, {&part, 1}, 0, Pick(2) == 0));
      }
      case 12: {
        const ErrnoOr<RefPtr<Handle>> handle = fs_.OpenWith(d, O_RDONLY | O_DIRECTORY);
        if (!handle.ok()) return handle.error();
        return fs_.ReadDirFrom(**handle, 0, [&](const DirEntry& entry) {
          const ErrnoOr<Name> name = Name::Parse(entry.name);
          if (name.ok()) (void)fs_.LookupUnopened(d, *name).ok();
          return true;
        });
      }
      case 13:
      case 14: {
        const ErrnoOr<Entry> entry = fs_.LookupUnopened(d, AnyName());
        if (!entry.ok()) return entry.error();
        // What was locked when it was removed stays open until its owner is gone.
        if (locks_.size() > 6) locks_.Clear();
        const auto owner = static_cast<uint64_t>(Pick(3));
        if (Pick(3) == 0) {
          locks_.Release(*entry->dentry, owner);
          return {};
        }
        return locks_.Set(*entry->dentry, owner, {F_WRLCK, 0, 10});
      }
      case 15:
      case 16: {
        const ErrnoOr<Entry> entry = fs_.LookupUnopened(d, AnyName());
        if (!entry.ok()) return entry.error();
        return Only(fs_.Stat(*entry->dentry));
      }
      default: {
        const ErrnoOr<Entry> entry = fs_.Lookup(d, AnyName());
        if (!entry.ok()) return entry.error();
        fs_.PathOf(*entry->dentry);
        return Only(fs_.Stat(*entry->dentry));
      }
    }
  }

  Filesystem& fs_;
  PosixLocks& locks_;
  std::minstd_rand random_;
};

void EverythingAtOnce(FileHandles file_handles) {
  TempTree tree;
  for (int i = 0; i < kDirs; ++i) tree.Mkdir(absl::StrCat("d", i));
  auto created = Filesystem::Create(tree.OpenPath(), *sys::OpenProcSelfFd(),
                                    {.max_unreferenced_dentries = 3,
                                     .max_nodes = 1000,
                                     .max_fds = 40,
                                     .file_handles = file_handles});
  ASSERT_TRUE(created.ok()) << created.status();
  Filesystem& fs = **created;
  {
    PosixLocks locks(&fs);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i)
      threads.emplace_back([&fs, &locks, i] { Worker(fs, locks, i + 1).Run(); });
    for (std::thread& thread : threads) thread.join();
  }
  fs.dentries().Purge();
  EXPECT_EQ(fs.dentries().size(), 1u);
  EXPECT_EQ(fs.inodes().size(), 1u);
  EXPECT_EQ(fs.open_fds(), 1u);
}

TEST(FilesystemConcurrency, EverythingAtOnce) { EverythingAtOnce(FileHandles::kNever); }

TEST(FilesystemConcurrency, EverythingAtOnceByHandle) { EverythingAtOnce(FileHandles::kPrefer); }

// What lookups of one name do while the host puts one file and then another there: each finds what
// the others have found before, and puts its own in the place of that, just when they let go of it.
TEST(FilesystemConcurrency, TwoFilesTakeTurnsForOneName) {
  TempTree tree;
  tree.Write("a", "");
  tree.Write("b", "");
  auto created =
      Filesystem::Create(tree.OpenPath(), *sys::OpenProcSelfFd(), {.max_unreferenced_dentries = 1});
  ASSERT_TRUE(created.ok()) << created.status();
  Filesystem& fs = **created;
  {
    const ErrnoOr<Entry> a = fs.Lookup(fs.root(), N("a"));
    const ErrnoOr<Entry> b = fs.Lookup(fs.root(), N("b"));
    ASSERT_TRUE(a.ok() && b.ok());
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&fs, file = RefPtr<Inode>(&(i % 2 == 0 ? a : b)->dentry->inode())] {
        for (int turn = 0; turn < 10 * kRounds; ++turn) {
          const RefPtr<Dentry> here = fs.dentries().Add(fs.root(), "x", file);
          ASSERT_EQ(&here->inode(), file.get());
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  fs.dentries().Purge();
  EXPECT_EQ(fs.dentries().size(), 1u);
  EXPECT_EQ(fs.inodes().size(), 1u);
}

}  // namespace
}  // namespace gofer::fs
