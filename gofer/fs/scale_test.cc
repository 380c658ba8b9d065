// Large trees: what a looked-up file costs in memory, and how few descriptors a walk needs.

#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::CountOpenFds;

constexpr int kDirs = 60;
constexpr int kFilesPerDir = 1000;
constexpr size_t kMaxFds = 256;

std::string FileName(int number) { return absl::StrFormat("file-%07d.dat", number); }

class ScaleTest : public ::testing::Test {
 protected:
  // One tree for all tests: making and removing it is most of the work.
  static void SetUpTestSuite() {
    tree_ = new testing::TempTree;
    for (int d = 0; d < kDirs; ++d) {
      const std::string dir = absl::StrCat("d", d);
      tree_->Mkdir(dir);
      const UniqueFd dir_fd(open(tree_->At(dir).c_str(), O_PATH));
      for (int f = 0; f < kFilesPerDir; ++f) {
        const int fd = openat(dir_fd.get(), FileName(f).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
        CHECK_GE(fd, 0);
        close(fd);
      }
    }
  }
  static void TearDownTestSuite() { delete tree_; }

  // Holds every file, as a client does that has looked at all of them.
  std::vector<Entry> WalkAll(bool opened) {
    std::vector<Entry> held;
    held.reserve(kDirs * (kFilesPerDir + 1));
    for (int d = 0; d < kDirs; ++d) {
      const Name dir_name = N(absl::StrCat("d", d));
      ErrnoOr<Entry> dir = fs_->LookupUnopened(fs_->root(), dir_name);
      CHECK(dir.ok()) << dir.error().ToString();
      for (int f = 0; f < kFilesPerDir; ++f) {
        const Name name = N(FileName(f));
        ErrnoOr<Entry> file =
            opened ? fs_->Lookup(*dir->dentry, name) : fs_->LookupUnopened(*dir->dentry, name);
        CHECK(file.ok()) << d << "/" << f << ": " << file.error().ToString();
        held.push_back(*std::move(file));
      }
      held.push_back(*std::move(dir));
    }
    return held;
  }

  static testing::TempTree* tree_;
  const std::unique_ptr<Filesystem> fs_ = Serve(
      *tree_, {.max_unreferenced_dentries = 1024, .max_nodes = 1'000'000, .max_fds = kMaxFds});
};

testing::TempTree* ScaleTest::tree_ = nullptr;

TEST_F(ScaleTest, AnyTreeIsWalkedWithFewDescriptors) {
  const size_t base = CountOpenFds();
  for (const bool opened : {false, true}) {
    const std::vector<Entry> held = WalkAll(opened);
    EXPECT_LE(fs_->open_fds(), kMaxFds);
    // All of them can be used: looked at, opened, asked for attributes.
    for (size_t i = 0; i < held.size(); i += 7) {
      const ErrnoOr<sys::Attr> attr = fs_->Stat(*held[i].dentry);
      ASSERT_TRUE(attr.ok()) << i << ": " << attr.error().ToString();
      ASSERT_EQ(attr->stx_ino, held[i].attr.stx_ino);
      const ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(*held[i].dentry, O_RDONLY);
      ASSERT_TRUE(handle.ok()) << i << ": " << handle.error().ToString();
      ASSERT_LE(fs_->open_fds(), kMaxFds);
    }
    EXPECT_LE(CountOpenFds(), base + kMaxFds);
  }
}

TEST_F(ScaleTest, OpenFilesPushOutWhatIsOnlyCached) {
  const std::vector<Entry> held = WalkAll(/*opened=*/true);
  std::vector<RefPtr<Handle>> handles;
  // All but the root and the file that is being opened; the lookup below needs its directory.
  for (size_t i = 0; i < kMaxFds - 2; ++i) {
    ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(*held[i].dentry, O_RDONLY);
    ASSERT_TRUE(handle.ok()) << i << ": " << handle.error().ToString();
    handles.push_back(*std::move(handle));
  }
  EXPECT_TRUE(fs_->LookupUnopened(fs_->root(), N("d1")).ok());
}

#ifndef GOFER_SANITIZER
TEST_F(ScaleTest, ALookedUpFileIsSmall) {
  struct Usage {
    size_t heap;
    size_t resident;
  };
  const auto usage = [] {
    malloc_trim(0);
    const struct mallinfo2 info = mallinfo2();
    FILE* const file = fopen("/proc/self/statm", "r");
    size_t total = 0;
    size_t resident = 0;
    CHECK_EQ(fscanf(file, "%zu %zu", &total, &resident), 2);
    fclose(file);
    return Usage{info.uordblks + info.hblkhd, resident * static_cast<size_t>(getpagesize())};
  };
  std::vector<RefPtr<Dentry>> held(kDirs * kFilesPerDir);
  std::vector<RefPtr<Dentry>> dirs;
  for (int d = 0; d < kDirs; ++d) {
    dirs.push_back(fs_->LookupUnopened(fs_->root(), N(absl::StrCat("d", d)))->dentry);
  }
  const Usage before = usage();
  for (int i = 0; i < kDirs * kFilesPerDir; ++i) {
    ErrnoOr<Entry> file =
        fs_->LookupUnopened(*dirs[i / kFilesPerDir], N(FileName(i % kFilesPerDir)));
    ASSERT_TRUE(file.ok());
    held[i] = std::move(file->dentry);
  }
  const Usage after = usage();
  const double heap = double(after.heap - before.heap) / (kDirs * kFilesPerDir);
  const double resident = double(after.resident - before.resident) / (kDirs * kFilesPerDir);
  printf("%.1f bytes of heap, %.1f resident, for a file with a name of %zu bytes\n", heap, resident,
         FileName(0).size());
  RecordProperty("heap_bytes_per_file", absl::StrCat(heap));
  RecordProperty("resident_bytes_per_file", absl::StrCat(resident));
  // With a session's node, 30 bytes, a client may look at 100 000 files for 20 MB.
  EXPECT_LE(heap, 160);
  EXPECT_LE(resident, 170);
}
#endif

}  // namespace
}  // namespace gofer::fs
