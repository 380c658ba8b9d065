#include "gofer/fs/filesystem.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

using ::gofer::testing::CountOpenFds;

TEST_F(FilesystemTest, LookupFindsTheSameDentryAgain) {
  tree_.Mkdir("d");
  tree_.Write("d/f", "text");
  const Entry first = Walk("d/f");
  const Entry second = Walk("d/f");
  EXPECT_EQ(first.dentry, second.dentry);
  EXPECT_EQ(second.attr.stx_size, 4u);
  EXPECT_EQ(fs_->PathOf(*first.dentry), "/d/f");
}

TEST_F(FilesystemTest, LookupBelowAFileIsENOTDIR) {
  tree_.Write("f", "");
  EXPECT_EQ(ErrorOf(fs_->Lookup(*Walk("f").dentry, N("x"))), ENOTDIR);
}

TEST_F(FilesystemTest, ReplacedOnTheHostIsAnotherDentryAndTheOldOneGoesOn) {
  tree_.Write("f", "old");
  const Entry old_file = Walk("f");
  tree_.Write("g", "newer");
  tree_.Rename("g", "f");
  const Entry new_file = Walk("f");
  EXPECT_NE(old_file.dentry, new_file.dentry);
  EXPECT_EQ(new_file.attr.stx_size, 5u);
  EXPECT_FALSE(old_file.dentry->deleted());
  EXPECT_EQ(fs_->Stat(*old_file.dentry)->stx_size, 3u);
  EXPECT_EQ(fs_->Stat(*old_file.dentry)->stx_nlink, 0u);
}

TEST_F(FilesystemTest, RemovedOnTheHostIsENOENTAndTheOldOneGoesOn) {
  tree_.Write("f", "old");
  const Entry file = Walk("f");
  tree_.Unlink("f");
  EXPECT_EQ(ErrorOf(fs_->Lookup(fs_->root(), N("f"))), ENOENT);
  EXPECT_EQ(fs_->Stat(*file.dentry)->stx_size, 3u);
  EXPECT_FALSE(file.dentry->deleted());
}

TEST_F(FilesystemTest, HardLinksShareTheInode) {
  tree_.Write("a", "x");
  tree_.Link("a", "b");
  const Entry a = Walk("a");
  const Entry b = Walk("b");
  EXPECT_NE(a.dentry, b.dentry);
  EXPECT_EQ(&a.dentry->inode(), &b.dentry->inode());
}

TEST_F(FilesystemTest, UnlinkMarksDeletedAndFreesAnUnreferencedFileAtOnce) {
  tree_.Write("f", "text");
  const size_t base = CountOpenFds();
  Walk("f");  // cached, unreferenced
  EXPECT_EQ(CountOpenFds(), base + 1);
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("f"), 0)), 0);
  EXPECT_EQ(CountOpenFds(), base);

  tree_.Write("g", "text");
  Entry kept = Walk("g");
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("g"), 0)), 0);
  EXPECT_TRUE(kept.dentry->deleted());
  EXPECT_EQ(fs_->Stat(*kept.dentry)->stx_nlink, 0u);
  kept = {};
  EXPECT_EQ(CountOpenFds(), base);
}

TEST_F(FilesystemTest, RmdirMarksWhatIsBelowDeleted) {
  tree_.Mkdir("d");
  tree_.Write("d/f", "");
  const Entry below = Walk("d/f");
  tree_.Unlink("d/f");  // behind the server's back
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("d"), AT_REMOVEDIR)), 0);
  EXPECT_TRUE(below.dentry->deleted());
}

TEST_F(FilesystemTest, RenameMovesTheDentryAndAllBelow) {
  tree_.Mkdir("a");
  tree_.Mkdir("b");
  tree_.Mkdir("a/d");
  tree_.Write("a/d/f", "x");
  const Entry a = Walk("a");
  const Entry b = Walk("b");
  const Entry file = Walk("a/d/f");
  ASSERT_EQ(ErrorOf(fs_->Rename(*a.dentry, N("d"), *b.dentry, N("e"), 0)), 0);
  EXPECT_EQ(fs_->PathOf(*file.dentry), "/b/e/f");
  EXPECT_EQ(Walk("b/e/f").dentry, file.dentry);
  EXPECT_EQ(fs_->rename_count(), 1u);
}

TEST_F(FilesystemTest, RenameDeletesWhatItReplaces) {
  tree_.Write("a", "a");
  tree_.Write("b", "bb");
  const Entry a = Walk("a");
  const Entry b = Walk("b");
  ASSERT_EQ(ErrorOf(fs_->Rename(fs_->root(), N("a"), fs_->root(), N("b"), 0)), 0);
  EXPECT_TRUE(b.dentry->deleted());
  EXPECT_FALSE(a.dentry->deleted());
  EXPECT_EQ(fs_->PathOf(*a.dentry), "/b");
  EXPECT_EQ(fs_->Stat(*b.dentry)->stx_size, 2u);
}

TEST_F(FilesystemTest, RenameBetweenNamesOfOneFileKeepsBoth) {
  tree_.Write("a", "a");
  tree_.Link("a", "b");
  const Entry a = Walk("a");
  const Entry b = Walk("b");
  ASSERT_EQ(ErrorOf(fs_->Rename(fs_->root(), N("a"), fs_->root(), N("b"), 0)), 0);
  EXPECT_FALSE(b.dentry->deleted());
  EXPECT_EQ(fs_->PathOf(*a.dentry), "/a");
  EXPECT_TRUE(tree_.Exists("a"));
}

TEST_F(FilesystemTest, ExchangeSwapsPlaces) {
  tree_.Mkdir("d");
  tree_.Write("d/a", "a");
  tree_.Write("b", "bb");
  const Entry a = Walk("d/a");
  const Entry b = Walk("b");
  const Entry d = Walk("d");
  ASSERT_EQ(ErrorOf(fs_->Rename(*d.dentry, N("a"), fs_->root(), N("b"), RENAME_EXCHANGE)), 0);
  EXPECT_EQ(fs_->PathOf(*a.dentry), "/b");
  EXPECT_EQ(fs_->PathOf(*b.dentry), "/d/a");
  EXPECT_FALSE(a.dentry->deleted() || b.dentry->deleted());
}

TEST_F(FilesystemTest, CreateIsExclusiveAndGivesModeAndOwner) {
  ErrnoOr<OpenEntry> made =
      fs_->CreateFile(fs_->root(), N("f"), 0640, {.uid = 7, .gid = 8}, O_RDWR);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const struct stat stat = tree_.Stat("f");
  EXPECT_EQ(stat.st_mode, S_IFREG | 0640u);
  EXPECT_EQ(stat.st_uid, 7u);
  EXPECT_EQ(stat.st_gid, 8u);
  EXPECT_EQ(made->entry.attr.stx_uid, 7u);
  EXPECT_EQ(ErrorOf(fs_->CreateFile(fs_->root(), N("f"), 0640, {}, O_RDWR)), EEXIST);
}

// chown takes set-id bits away; a new file must not differ by whether it had to be given its owner.
TEST_F(FilesystemTest, NewFilesLoseSetIdBitsAsByChown) {
  for (const Owner owner : {Owner{}, Owner{.uid = 1000, .gid = 1001}}) {
    const std::string name = absl::StrCat("f", owner.uid);
    ASSERT_TRUE(fs_->MakeFile(fs_->root(), N(name), 06751, owner).ok());
    EXPECT_EQ(tree_.Stat(name).st_mode & 07777, 0751u);
    // Without group execution the set-group-ID bit is no set-id bit.
    ASSERT_TRUE(fs_->MakeFile(fs_->root(), N(name + "g"), 02640, owner).ok());
    EXPECT_EQ(tree_.Stat(name + "g").st_mode & 07777, 02640u);
  }
}

TEST_F(FilesystemTest, DirectoriesInheritTheSetGroupIdBit) {
  tree_.Mkdir("d");
  ASSERT_EQ(chown(tree_.At("d").c_str(), 0, 77), 0);
  ASSERT_EQ(chmod(tree_.At("d").c_str(), 02775), 0);
  const Entry d = Walk("d");
  ASSERT_TRUE(fs_->MakeDir(*d.dentry, N("own"), 0755, {}).ok());
  ASSERT_TRUE(fs_->MakeDir(*d.dentry, N("given"), 01755, {.uid = 5, .gid = 6}).ok());
  EXPECT_EQ(tree_.Stat("d/own").st_mode & 07777, 02755u);
  EXPECT_EQ(tree_.Stat("d/own").st_gid, 77u);
  EXPECT_EQ(tree_.Stat("d/given").st_mode & 07777, 03755u);
  EXPECT_EQ(tree_.Stat("d/given").st_gid, 6u);
}

TEST_F(FilesystemTest, OpenReachesTheFileWhateverItsNameLeadsTo) {
  tree_.Write("f", "mine");
  const Entry file = Walk("f");
  tree_.Rename("f", "elsewhere");
  tree_.Symlink("f", "/etc/passwd");
  ErrnoOr<RefPtr<Handle>> handle = fs_->Open(*file.dentry, O_RDONLY);
  ASSERT_TRUE(handle.ok());
  std::byte buffer[16];
  EXPECT_EQ(*fs_->Read(**handle, buffer, 0), 4u);
}

TEST_F(FilesystemTest, ADonatedHandleOpensItsOwnDescriptorWhenItNeedsOne) {
  tree_.Write("f", "text");
  const Entry file = Walk("f");
  ErrnoOr<RefPtr<Handle>> handle = fs_->Open(*file.dentry, O_RDWR);
  ASSERT_TRUE(handle.ok());
  const size_t base = fs_->open_fds();
  {
    const UniqueFd donated = (*handle)->Donate();
    EXPECT_EQ(fs_->open_fds(), base - 1);
    // What the holder does to its description is not seen by ours.
    ASSERT_EQ(fcntl(donated.get(), F_SETFL, O_APPEND), 0);
  }
  const std::byte x{'X'};
  EXPECT_EQ(*fs_->Write(**handle, std::span(&x, 1), 0), 1u);
  EXPECT_EQ(tree_.Read("f"), "Xext");
  EXPECT_EQ(fs_->open_fds(), base);
}

TEST_F(FilesystemTest, OpeningAFifoDoesNotBlock) {
  tree_.Fifo("p");
  const Entry fifo = Walk("p");
  EXPECT_TRUE(fs_->Open(*fifo.dentry, O_RDONLY).ok());
  EXPECT_EQ(ErrorOf(fs_->Open(*fifo.dentry, O_WRONLY)), ENXIO);
}

TEST_F(FilesystemTest, TruncateIsForRegularFiles) {
  tree_.Write("f", "text");
  tree_.Mkdir("d");
  tree_.Fifo("p");
  EXPECT_EQ(ErrorOf(fs_->Truncate(*Walk("f").dentry, 2)), 0);
  EXPECT_EQ(tree_.Read("f"), "te");
  EXPECT_EQ(ErrorOf(fs_->Truncate(*Walk("d").dentry, 2)), EISDIR);
  EXPECT_EQ(ErrorOf(fs_->Truncate(*Walk("p").dentry, 2)), EINVAL);
  EXPECT_EQ(ErrorOf(fs_->Truncate(*Walk("f").dentry, uint64_t{1} << 63)), EINVAL);
}

TEST_F(FilesystemTest, ReadDirListsEachEntryOnceWhateverTheBudget) {
  tree_.Mkdir("d");
  std::set<std::string> expected;
  for (int i = 0; i < 300; ++i) {
    const std::string name = absl::StrCat("file", std::string(i % 200, 'x'), i);
    tree_.Write(absl::StrCat("d/", name), "");
    expected.insert(name);
  }
  const Entry dir = Walk("d");
  for (const size_t budget : {280, 1000, 65536, 1 << 20}) {
    const std::vector<std::string> names = List(*dir.dentry, budget);
    EXPECT_EQ(names.size(), expected.size()) << budget;
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected) << budget;
  }
}

TEST_F(FilesystemTest, XattrsOfUserOnly) {
  tree_.Write("f", "");
  tree_.Symlink("ln", "f");
  const Entry f = Walk("f");
  const std::byte value{'v'};
  EXPECT_EQ(ErrorOf(fs_->SetXattr(*f.dentry, "user.k", std::span(&value, 1), 0)), 0);
  for (const absl::string_view name : {"trusted.k", "security.selinux", "system.posix_acl_access",
                                       "security.capability", "user.overlay.opaque"}) {
    EXPECT_EQ(ErrorOf(fs_->SetXattr(*f.dentry, name, std::span(&value, 1), 0)), EOPNOTSUPP) << name;
  }
  std::byte buffer[8];
  EXPECT_EQ(*fs_->GetXattr(*f.dentry, "user.k", buffer), 1u);
  EXPECT_EQ(ErrorOf(fs_->GetXattr(*f.dentry, "security.capability", buffer)), ENODATA);
  EXPECT_EQ(ErrorOf(fs_->GetXattr(*f.dentry, "user.none", buffer)), ENODATA);
  EXPECT_EQ(ErrorOf(fs_->GetXattr(*f.dentry, "", buffer)), ERANGE);
  const Entry link = Walk("ln");
  EXPECT_EQ(ErrorOf(fs_->GetXattr(*link.dentry, "user.k", buffer)), ENODATA);
  EXPECT_EQ(ErrorOf(fs_->SetXattr(*link.dentry, "user.k", std::span(&value, 1), 0)), EPERM);
  char names[64];
  EXPECT_EQ(*fs_->ListXattr(*link.dentry, names), 0u);
  EXPECT_EQ(absl::string_view(names, *fs_->ListXattr(*f.dentry, names)),
            absl::string_view("user.k\0", 7));
  EXPECT_EQ(ErrorOf(fs_->RemoveXattr(*f.dentry, "user.k")), 0);
}

// A budget of few descriptors.
class TightFilesystemTest : public FilesystemTest {
 protected:
  TightFilesystemTest()
      : FilesystemTest({.max_unreferenced_dentries = 4, .max_nodes = 400, .max_fds = 20}) {}
};

TEST_F(TightFilesystemTest, DescriptorsAreGivenUpAndReopenedByName) {
  std::vector<Entry> held;
  for (int i = 0; i < 200; ++i) {
    tree_.Write(absl::StrCat("f", i), absl::StrCat(i));
    held.push_back(Walk(absl::StrCat("f", i)));
    EXPECT_LE(fs_->open_fds(), 21u);
  }
  for (int i = 0; i < 200; ++i) {
    const ErrnoOr<sys::Attr> attr = fs_->Stat(*held[i].dentry);
    ASSERT_TRUE(attr.ok()) << i << ": " << attr.error().ToString();
    EXPECT_EQ(attr->stx_ino, held[i].attr.stx_ino);
  }
}

TEST_F(TightFilesystemTest, AGivenUpFileThatWasReplacedIsESTALE) {
  tree_.Write("victim", "old");
  const Entry victim = Walk("victim");
  std::vector<Entry> held;
  for (int i = 0; i < 100; ++i) {
    tree_.Write(absl::StrCat("f", i), "");
    held.push_back(Walk(absl::StrCat("f", i)));
  }
  tree_.Write("other", "new");
  tree_.Rename("other", "victim");
  EXPECT_EQ(ErrorOf(fs_->Stat(*victim.dentry)), ESTALE);
  // Looked up afresh, the name leads to the new file.
  EXPECT_EQ(fs_->Stat(*Walk("victim").dentry)->stx_size, 3u);
}

TEST_F(TightFilesystemTest, AnUnlinkedFileStaysReachable) {
  tree_.Write("victim", "text");
  const Entry victim = Walk("victim");
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("victim"), 0)), 0);
  std::vector<Entry> held;
  for (int i = 0; i < 100; ++i) {
    tree_.Write(absl::StrCat("f", i), "");
    held.push_back(Walk(absl::StrCat("f", i)));
  }
  EXPECT_EQ(fs_->Stat(*victim.dentry)->stx_size, 4u);
}

TEST_F(TightFilesystemTest, ADeepPathIsReopenedStepByStep) {
  std::string path = "d";
  tree_.Mkdir(path);
  for (int i = 0; i < 100; ++i) tree_.Mkdir(path += "/d");
  const Entry deepest = Walk(path);
  std::vector<Entry> held;
  for (int i = 0; i < 100; ++i) {
    tree_.Write(absl::StrCat("f", i), "");
    held.push_back(Walk(absl::StrCat("f", i)));
  }
  EXPECT_EQ(fs_->Stat(*deepest.dentry)->stx_ino, deepest.attr.stx_ino);
}

TEST_F(TightFilesystemTest, PastTheNodeLimitLookupsFailAndRecover) {
  std::vector<Entry> held;
  for (int i = 0; i < 399; ++i) {
    tree_.Write(absl::StrCat("f", i), "");
    held.push_back(Walk(absl::StrCat("f", i)));
  }
  tree_.Write("one_more", "");
  EXPECT_EQ(ErrorOf(fs_->Lookup(fs_->root(), N("one_more"))), ENFILE);
  EXPECT_EQ(ErrorOf(fs_->MakeFile(fs_->root(), N("made"), 0600, {})), ENFILE);
  EXPECT_FALSE(tree_.Exists("made"));
  held.clear();
  EXPECT_TRUE(fs_->Lookup(fs_->root(), N("one_more")).ok());
}

TEST_F(TightFilesystemTest, HandlesMayNotUseUpEverything) {
  tree_.Write("f", "");
  const Entry file = Walk("f");
  std::vector<RefPtr<Handle>> handles;
  ErrnoOr<RefPtr<Handle>> handle = fs_->Open(*file.dentry, O_RDONLY);
  while (handle.ok()) {
    handles.push_back(*std::move(handle));
    ASSERT_LE(handles.size(), 30u);
    handle = fs_->Open(*file.dentry, O_RDONLY);
  }
  EXPECT_EQ(handle.error(), ENFILE);
  handles.clear();
  EXPECT_TRUE(fs_->Open(*file.dentry, O_RDONLY).ok());
}

TEST_F(TightFilesystemTest, TheCacheOfUnreferencedDentriesIsBounded) {
  for (int i = 0; i < 50; ++i) {
    tree_.Write(absl::StrCat("f", i), "");
    Walk(absl::StrCat("f", i));
    EXPECT_LE(fs_->dentries().unreferenced(), 4u);
  }
  fs_->dentries().Purge();
  EXPECT_EQ(fs_->dentries().size(), 1u);  // the root
}

// One whole chain dies at once: by a loop, as its depth was the client's choice.
TEST_F(FilesystemTest, ADeepChainIsReleasedWithoutRecursion) {
  Entry at = {.dentry = RefPtr<Dentry>(&fs_->root()), .attr = {}};
  std::vector<Entry> chain;
  constexpr int kDepth = 2000;
  for (int i = 0; i < kDepth; ++i) {
    ErrnoOr<Entry> next = fs_->MakeDir(*at.dentry, N("d"), 0755, {});
    ASSERT_TRUE(next.ok());
    at = *next;
    chain.push_back(*std::move(next));
  }
  at = {};
  for (int i = kDepth - 1; i >= 0; --i) {
    Dentry& parent = i == 0 ? fs_->root() : *chain[i - 1].dentry;
    ASSERT_EQ(ErrorOf(fs_->Unlink(parent, N("d"), AT_REMOVEDIR)), 0);
  }
  const Entry last = chain.back();
  chain.clear();
  EXPECT_EQ(fs_->dentries().size(), size_t{kDepth} + 1);
}

// ---- names that are looked up without being opened

class UnopenedTest : public FilesystemTest {
 protected:
  Entry Find(Dentry& dir, absl::string_view name) {
    ErrnoOr<Entry> found = fs_->LookupUnopened(dir, N(name));
    CHECK(found.ok()) << name << ": " << found.error().ToString();
    return *std::move(found);
  }
};

TEST_F(UnopenedTest, ALookupTakesNoDescriptorAndTheFileIsOpenedWhenNeeded) {
  tree_.Write("f", "text");
  const size_t base = CountOpenFds();
  const Entry file = Find(fs_->root(), "f");
  EXPECT_EQ(file.attr.stx_size, 4u);
  EXPECT_EQ(CountOpenFds(), base);
  EXPECT_EQ(Find(fs_->root(), "f").dentry, file.dentry);
  EXPECT_EQ(fs_->Stat(*file.dentry)->stx_size, 4u);
  const ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(*file.dentry, O_RDONLY);
  ASSERT_TRUE(handle.ok());
  EXPECT_EQ(fs_->Lookup(fs_->root(), N("f"))->dentry, file.dentry);
}

TEST_F(UnopenedTest, HardLinksShareTheInode) {
  tree_.Write("a", "x");
  tree_.Link("a", "b");
  const Entry a = Find(fs_->root(), "a");
  const Entry b = Find(fs_->root(), "b");
  EXPECT_EQ(&a.dentry->inode(), &b.dentry->inode());
}

TEST_F(UnopenedTest, WhatWasReplacedOnTheHostIsESTALEAndFoundAnew) {
  tree_.Write("f", "old");
  const Entry old_file = Find(fs_->root(), "f");
  tree_.Write("g", "newer");
  tree_.Rename("g", "f");
  EXPECT_EQ(ErrorOf(fs_->Stat(*old_file.dentry)), ESTALE);
  EXPECT_EQ(ErrorOf(fs_->OpenWith(*old_file.dentry, O_RDONLY)), ESTALE);
  const Entry new_file = Find(fs_->root(), "f");
  EXPECT_NE(new_file.dentry, old_file.dentry);
  tree_.Unlink("f");
  EXPECT_EQ(ErrorOf(fs_->LookupUnopened(fs_->root(), N("f"))), ENOENT);
}

// Until a file that is made has a later birth time: those of the host are no finer than its tick,
// which comes when it comes.
void AwaitTickAfter(const struct statx_timestamp& birth) {
  struct timespec now;
  do {
    usleep(1000);
    ASSERT_EQ(clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
  } while (std::pair(int64_t{now.tv_sec}, int64_t{now.tv_nsec}) <=
           std::pair(int64_t{birth.tv_sec}, int64_t{birth.tv_nsec}));
}

// The number of a file that is gone may be another's at once.
TEST_F(UnopenedTest, AReusedInodeNumberIsAnotherFile) {
  // Somebody else on this file system may be quicker to get it.
  for (int i = 0; i < 1000; ++i) {
    tree_.Write("f", "old");
    const Entry old_file = Find(fs_->root(), "f");
    tree_.Unlink("f");
    AwaitTickAfter(old_file.attr.stx_btime);
    tree_.Write("f", "new");
    const Entry new_file = Find(fs_->root(), "f");
    if (new_file.attr.stx_ino != old_file.attr.stx_ino) continue;
    EXPECT_NE(&new_file.dentry->inode(), &old_file.dentry->inode());
    EXPECT_EQ(ErrorOf(fs_->Stat(*old_file.dentry)), ESTALE);
    return;
  }
  GTEST_SKIP() << "this file system does not give a number twice";
}

TEST_F(UnopenedTest, AnUnlinkedFileStaysReachable) {
  tree_.Write("f", "text");
  tree_.Mkdir("d");
  const Entry file = Find(fs_->root(), "f");
  const Entry dir = Find(fs_->root(), "d");
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("f"), 0)), 0);
  ASSERT_EQ(ErrorOf(fs_->Unlink(fs_->root(), N("d"), AT_REMOVEDIR)), 0);
  EXPECT_EQ(fs_->Stat(*file.dentry)->stx_size, 4u);
  EXPECT_EQ(fs_->Stat(*dir.dentry)->stx_nlink, 0u);
  EXPECT_EQ(ErrorOf(fs_->LookupUnopened(*dir.dentry, N("x"))), ENOENT);
}

TEST_F(UnopenedTest, RenamedByUsItIsStillFound) {
  tree_.Mkdir("d");
  tree_.Write("f", "text");
  const Entry file = Find(fs_->root(), "f");
  const Entry dir = Find(fs_->root(), "d");
  ASSERT_EQ(ErrorOf(fs_->Rename(fs_->root(), N("f"), *dir.dentry, N("g"), 0)), 0);
  EXPECT_EQ(fs_->Stat(*file.dentry)->stx_size, 4u);
  EXPECT_EQ(Find(*dir.dentry, "g").dentry, file.dentry);
}

TEST_F(UnopenedTest, NothingOfThisTreeCrossesAMount) {
  tree_.Mkdir("d");
  EXPECT_FALSE(CrossesMount(fs_->root(), Find(fs_->root(), "d").attr));
}

}  // namespace
}  // namespace gofer::fs
