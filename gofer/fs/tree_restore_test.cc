// A tree is saved, changed behind the gofer's back, and restored into a new Filesystem.

#include "gofer/fs/tree_restore.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gofer/fs/snapshot.h"

namespace gofer::fs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class TreeRestoreTest : public FilesystemTest {
 protected:
  TreeRestoreTest() {
    tree_.Mkdir("dir");
    tree_.Write("dir/file", "content");
    tree_.Write("dir/other", "another");
    tree_.Write("top", "top");
    tree_.Symlink("dir/link", "file");
    snapshot_ = std::make_unique<Snapshot>(*fs_, SnapshotOptions());
  }

  uint32_t Add(absl::string_view path) { return snapshot_->Add(*Walk(path).dentry); }
  uint32_t AddOpen(absl::string_view path, int flags) {
    return snapshot_->Add(**fs_->OpenWith(*Walk(path).dentry, flags));
  }

  // Ends the Filesystem; from now on the tree is changed by whatever the test does.
  void Save() {
    const absl::Status finished = snapshot_->Finish();
    ASSERT_TRUE(finished.ok()) << finished;
    state_ = snapshot_->Take();
    snapshot_.reset();
    fs_.reset();
  }

  const RestoreReport& Examine(const RestoreOptions& options = {}) {
    return ExamineAt(tree_, options);
  }
  const RestoreReport& ExamineAt(const testing::TempTree& tree, const RestoreOptions& options) {
    auto created = Filesystem::Create(tree.OpenPath(), *sys::OpenProcSelfFd(), FilesystemOptions());
    CHECK(created.ok());
    fs_ = *std::move(created);
    restore_ = std::make_unique<TreeRestore>(*fs_, state_, options);
    return restore_->Examine();
  }

  // "path verdict[ found at]" of every finding.
  std::vector<std::string> Findings(const RestoreOptions& options = {}) {
    std::vector<std::string> lines;
    for (const Finding& finding : Examine(options).findings) {
      lines.push_back(absl::StrCat(finding.path, " ", VerdictName(finding.verdict),
                                   finding.found_path.empty() ? "" : " ", finding.found_path));
    }
    return lines;
  }

  void TearDown() override {
    restore_.reset();
    snapshot_.reset();
  }

  std::unique_ptr<Snapshot> snapshot_;
  FilesystemState state_;
  std::unique_ptr<TreeRestore> restore_;
};

TEST_F(TreeRestoreTest, AnUntouchedTreeComesBack) {
  const uint32_t file = Add("dir/file");
  const uint32_t link = Add("dir/link");
  const uint32_t handle = AddOpen("dir/other", O_RDWR);
  Save();
  EXPECT_THAT(state_.dentries, SizeIs(5));  // with the root and the directory
  const RestoreReport& report = Examine();
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_FALSE(report.relocated);
  EXPECT_EQ(report.same, 5u);
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_EQ(fs_->PathOf(*restore_->dentry(file)), "/dir/file");
  EXPECT_EQ(restore_->dentry(link)->type(), S_IFLNK);
  std::string text(7, '\0');
  EXPECT_EQ(*fs_->Read(*restore_->handle(handle), std::as_writable_bytes(std::span(text)), 0), 7u);
  EXPECT_EQ(text, "another");
  EXPECT_TRUE(restore_->handle(handle)->writable());
}

TEST_F(TreeRestoreTest, ADirectoryGoesOnWhereItWas) {
  for (int i = 0; i < 100; ++i) tree_.Write(absl::StrCat("dir/n", i), "");
  RefPtr<Handle> listing = *fs_->OpenWith(*Walk("dir").dentry, O_RDONLY | O_DIRECTORY);
  std::vector<std::string> names;
  const auto collect = [&](const DirEntry& entry) { names.emplace_back(entry.name); };
  ASSERT_TRUE(fs_->ReadDir(*listing, true, 1024, collect).ok());
  ASSERT_LT(names.size(), 100u);
  const uint32_t row = snapshot_->Add(*listing);
  listing = nullptr;
  Save();
  ASSERT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  for (size_t before = 0; before != names.size();) {
    before = names.size();
    ASSERT_TRUE(fs_->ReadDir(*restore_->handle(row), false, 1024, collect).ok());
  }
  EXPECT_THAT(names, SizeIs(103));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

// Clients have come to a directory by two names while the host moved it. It has one place, and an
// image that said otherwise could not be restored.
class DirectoryOfTwoNamesTest : public TreeRestoreTest {
 protected:
  DirectoryOfTwoNamesTest() {
    tree_.Mkdir("new");
    old_ = Walk("dir").dentry;
    old_file_ = Walk("dir/file").dentry;
    tree_.Rename("dir", "new/dir");
    new_ = Walk("new/dir").dentry;
    new_file_ = Walk("new/dir/file").dentry;
    CHECK(old_ != new_ && &old_->inode() == &new_->inode());
  }
  void ExpectOneOf(const RefPtr<Dentry>& first, const RefPtr<Dentry>& second, size_t names) {
    const uint32_t row = snapshot_->Add(*first);
    EXPECT_EQ(snapshot_->Add(*second), row);
    EXPECT_EQ(snapshot_->Add(*old_), snapshot_->Add(*new_));
    Release();
    Save();
    EXPECT_THAT(state_.dentries, SizeIs(names));
    const auto is_dir = [&](const DentryState& name) {
      return name.inode == state_.dentries[row].inode;
    };
    EXPECT_EQ(std::count_if(state_.dentries.begin(), state_.dentries.end(), is_dir), 1);
  }
  void Release() { old_ = old_file_ = new_ = new_file_ = nullptr; }

  RefPtr<Dentry> old_, old_file_, new_, new_file_;
};

TEST_F(DirectoryOfTwoNamesTest, IsOneInTheRecord) {
  ExpectOneOf(old_, new_, 3);
  // The old name came first, and is where the record has it.
  EXPECT_THAT(Findings({.follow_moved = true}), ElementsAre("/dir moved /new/dir"));
}

TEST_F(DirectoryOfTwoNamesTest, IsSavedByTheNameThatLeadsThere) {
  snapshot_->Add(*Walk("new").dentry);
  ExpectOneOf(old_, new_, 3);
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(DirectoryOfTwoNamesTest, SoIsOneThatNoLookupFinds) {
  fs_->dentries().Forget(*old_);
  snapshot_->Add(*Walk("new").dentry);
  ExpectOneOf(old_, new_, 3);
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(DirectoryOfTwoNamesTest, AndWhatIsInIt) {
  snapshot_->Add(*Walk("new").dentry);
  ExpectOneOf(old_file_, new_file_, 4);
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(DirectoryOfTwoNamesTest, TheRightNameIsNotGivenUp) {
  ExpectOneOf(new_file_, old_file_, 4);
  EXPECT_THAT(Findings(), IsEmpty());
}

struct Mutation {
  const char* what;
  std::function<void(const testing::TempTree&)> apply;
  std::vector<std::string> findings;
};

class MutationTest : public TreeRestoreTest, public ::testing::WithParamInterface<Mutation> {};

TEST_P(MutationTest, IsFoundAndNamed) {
  const uint32_t row = Add("dir/file");
  Add("dir/other");
  Add("top");
  Save();
  GetParam().apply(tree_);
  EXPECT_EQ(Findings(), GetParam().findings);
  // What the finding is of is not served, and nothing else is in its place.
  ASSERT_TRUE(restore_->Take().ok());
  const bool is_file = GetParam().findings.front().find("/dir/file ") == 0;
  if (is_file) {
    EXPECT_EQ(ErrorOf(fs_->Stat(*restore_->dentry(row))), ESTALE);
    EXPECT_EQ(ErrorOf(fs_->OpenWith(*restore_->dentry(row), O_RDONLY)), ESTALE);
  }
}

// A file of the same size and time in place of another: only its identity tells.
void Replace(const testing::TempTree& tree, const char* name) {
  const struct stat before = tree.Stat(name);
  const std::string content = tree.Read(name);
  tree.Write("replacement", content);
  const struct timespec times[] = {before.st_atim, before.st_mtim};
  CHECK_EQ(utimensat(AT_FDCWD, tree.At("replacement").c_str(), times, 0), 0);
  tree.Rename("replacement", name);
}

const Mutation kMutations[] = {
    {"removed", [](const auto& tree) { tree.Unlink("dir/file"); }, {"/dir/file missing"}},
    {"renamed",
     [](const auto& tree) { tree.Rename("dir/file", "elsewhere"); },
     {"/dir/file moved /elsewhere"}},
    {"replaced", [](const auto& tree) { Replace(tree, "dir/file"); }, {"/dir/file replaced"}},
    {"appended",
     [](const auto& tree) {
       const UniqueFd fd(open(tree.At("dir/file").c_str(), O_WRONLY | O_APPEND));
       CHECK_EQ(write(fd.get(), "x", 1), 1);
     },
     {"/dir/file changed"}},
    {"truncated",
     [](const auto& tree) { CHECK_EQ(truncate(tree.At("dir/file").c_str(), 1), 0); },
     {"/dir/file changed"}},
    {"touched",
     [](const auto& tree) {
       const struct timespec times[] = {{0, UTIME_OMIT}, {1, 1}};
       CHECK_EQ(utimensat(AT_FDCWD, tree.At("dir/file").c_str(), times, 0), 0);
     },
     {"/dir/file changed"}},
    {"became_directory",
     [](const auto& tree) {
       tree.Unlink("dir/file");
       tree.Mkdir("dir/file");
     },
     {"/dir/file replaced"}},
    {"swapped",
     [](const auto& tree) {
       tree.Rename("dir/file", "tmp");
       tree.Rename("dir/other", "dir/file");
       tree.Rename("tmp", "dir/other");
     },
     {"/dir/file moved /dir/other", "/dir/other moved /dir/file"}},
    {"directory_moved",
     [](const auto& tree) { tree.Rename("dir", "moved"); },
     {"/dir moved /moved", "/dir/file moved /moved/file", "/dir/other moved /moved/other"}},
    {"chmod", [](const auto& tree) { CHECK_EQ(chmod(tree.At("dir/file").c_str(), 0600), 0); }, {}},
};

INSTANTIATE_TEST_SUITE_P(All, MutationTest,
                         ::testing::ValuesIn(kMutations, kMutations + std::size(kMutations) - 1),
                         [](const auto& info) { return std::string(info.param.what); });

TEST_F(TreeRestoreTest, PermissionsAreNotContent) {
  Add("dir/file");
  Save();
  kMutations[std::size(kMutations) - 1].apply(tree_);
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(TreeRestoreTest, AMovedFileIsFollowedWhereThatIsAskedFor) {
  const uint32_t row = Add("dir/file");
  const uint32_t handle = AddOpen("dir/other", O_RDONLY);
  Save();
  tree_.Rename("dir", "moved");
  tree_.Rename("moved/file", "elsewhere");
  EXPECT_THAT(Findings({.follow_moved = true}),
              ::testing::ElementsAre("/dir moved /moved", "/dir/file moved /elsewhere",
                                     "/dir/other moved /moved/other"));
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_EQ(fs_->PathOf(*restore_->dentry(row)), "/elsewhere");
  EXPECT_EQ(fs_->PathOf(restore_->handle(handle)->dentry()), "/moved/other");
}

TEST_F(TreeRestoreTest, AStaleNameIsGoodAgainWhenItIsLookedUpAfresh) {
  const uint32_t row = Add("dir/file");
  Save();
  Replace(tree_, "dir/file");
  Examine();
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_EQ(ErrorOf(fs_->Stat(*restore_->dentry(row))), ESTALE);
  const Entry fresh = Walk("dir/file");
  EXPECT_TRUE(fs_->Stat(*fresh.dentry).ok());
  EXPECT_NE(fresh.dentry, restore_->dentry(row));
}

TEST_F(TreeRestoreTest, ACopiedTreeIsJudgedByNameSizeAndTime) {
  Add("dir/file");
  Add("top");
  Save();
  const testing::TempTree copy;
  ASSERT_EQ(system(absl::StrCat("cp -a ", tree_.path(), "/. ", copy.path()).c_str()), 0);
  const RestoreReport& report = ExamineAt(copy, {});
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_TRUE(report.relocated);
}

TEST_F(TreeRestoreTest, ADeletedFileIsMadeAnewWithItsHoles) {
  RefPtr<Handle> handle = *fs_->OpenWith(*Walk("top").dentry, O_RDWR);
  const std::string far = "behind a hole";
  ASSERT_TRUE(fs_->Write(*handle, std::as_bytes(std::span(far)), 1 << 20).ok());
  ASSERT_TRUE(fs_->Truncate(*handle, 4 << 20).ok());
  ASSERT_TRUE(fs_->Unlink(fs_->root(), N("top"), 0).ok());
  const uint32_t row = snapshot_->Add(*handle);
  handle = nullptr;
  Save();
  ASSERT_THAT(state_.deleted_files, SizeIs(1));
  ASSERT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  Handle& restored = *restore_->handle(row);
  std::string text(far.size(), '\0');
  ASSERT_TRUE(fs_->Read(restored, std::as_writable_bytes(std::span(text)), 1 << 20).ok());
  EXPECT_EQ(text, far);
  const sys::Attr attr = *fs_->Stat(restored);
  EXPECT_EQ(attr.stx_size, 4u << 20);
  EXPECT_EQ(attr.stx_nlink, 0u);
  EXPECT_LT(attr.stx_blocks * 512, 1u << 20);
  EXPECT_FALSE(tree_.Exists("top"));
}

TEST_F(TreeRestoreTest, TooMuchDeletedDataRefusesTheSave) {
  snapshot_ = std::make_unique<Snapshot>(*fs_, SnapshotOptions{.max_deleted_bytes = 2});
  const RefPtr<Handle> handle = *fs_->OpenWith(*Walk("top").dentry, O_RDWR);
  ASSERT_TRUE(fs_->Unlink(fs_->root(), N("top"), 0).ok());
  snapshot_->Add(*handle);
  const absl::Status refused = snapshot_->Finish();
  EXPECT_THAT(refused.message(), HasSubstr("/top: is deleted"));
  EXPECT_THAT(refused.message(), HasSubstr("2 bytes of --max_deleted_bytes"));
}

// ---- numbers

TEST_F(TreeRestoreTest, ClientsSeeTheNumbersThatTheyHad) {
  const uint32_t file = Add("dir/file");
  const uint32_t top = Add("top");
  Save();
  const InodeState saved = state_.inodes[state_.dentries[file].inode];
  ASSERT_EQ(saved.client_ino, saved.ino);
  // Three lives on, each in a copy of the tree whose numbers are others.
  std::vector<std::unique_ptr<testing::TempTree>> copies;
  for (int life = 0; life < 3; ++life) {
    copies.push_back(std::make_unique<testing::TempTree>());
    const testing::TempTree& copy = *copies.back();
    ASSERT_EQ(system(absl::StrCat("cp -a ", tree_.path(), "/. ", copy.path()).c_str()), 0);
    restore_.reset();
    snapshot_.reset();
    ASSERT_THAT(ExamineAt(copy, {}).findings, IsEmpty());
    ASSERT_TRUE(restore_->Take().ok());
    const sys::Attr attr = *fs_->Stat(*restore_->dentry(file));
    ASSERT_NE(attr.stx_ino, saved.ino);
    EXPECT_EQ(attr.stx_ino, copy.Stat("dir/file").st_ino) << "inside they are the host's";
    const FileNumber number = fs_->ClientNumberOf(attr);
    EXPECT_EQ(number.ino, saved.ino);
    EXPECT_EQ(number.dev_major, saved.dev_major);
    EXPECT_EQ(number.dev_minor, saved.dev_minor);
    // One that nobody had is none of those.
    EXPECT_NE(fs_->ClientNumberOf(Walk("dir/other").attr).ino, saved.ino);

    snapshot_ = std::make_unique<Snapshot>(*fs_, SnapshotOptions());
    ASSERT_EQ(snapshot_->Add(*restore_->dentry(file)), file);
    ASSERT_EQ(snapshot_->Add(*restore_->dentry(top)), top);
    restore_.reset();
    Save();
    const InodeState& again = state_.inodes[state_.dentries[file].inode];
    EXPECT_EQ(again.ino, attr.stx_ino);
    EXPECT_EQ(again.client_ino, saved.ino);
  }
}

TEST_F(TreeRestoreTest, AFileMadeAnewHasTheNumberOfTheOldOne) {
  RefPtr<Handle> handle = *fs_->OpenWith(*Walk("top").dentry, O_RDWR);
  ASSERT_TRUE(fs_->Unlink(fs_->root(), N("top"), 0).ok());
  const uint64_t ino = fs_->Stat(*handle)->stx_ino;
  const uint32_t row = snapshot_->Add(*handle);
  handle = nullptr;
  Save();
  tree_.Write("takes the number", "");  // where file systems give it anew
  ASSERT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  const sys::Attr attr = *fs_->Stat(*restore_->handle(row));
  EXPECT_EQ(fs_->ClientNumberOf(attr).ino, ino);
  EXPECT_NE(fs_->ClientNumberOf(Walk("takes the number").attr).ino, ino);
}

TEST_F(TreeRestoreTest, OthersWhoUseTheTreeKeepTheirs) {
  const uint32_t file = Add("dir/file");
  Save();
  state_.inodes[state_.dentries[file].inode].client_ino += 1'000'000;
  Examine({.keep_numbers = false});
  ASSERT_TRUE(restore_->Take().ok());
  const sys::Attr attr = *fs_->Stat(*restore_->dentry(file));
  EXPECT_EQ(fs_->ClientNumberOf(attr).ino, attr.stx_ino);
}

// ---- FIFOs

class FifoRestoreTest : public TreeRestoreTest {
 protected:
  FifoRestoreTest() {
    tree_.Fifo("fifo");
    // Somebody else on the host who has both ends.
    other_ = UniqueFd(open(tree_.At("fifo").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  }
  void Put(absl::string_view text) {
    ASSERT_EQ(write(other_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // As a client does with the descriptor that it is given.
  static std::string ReadAll(Filesystem& fs, Dentry& fifo) {
    const UniqueFd fd = (*fs.Open(fifo, O_RDONLY))->Donate();
    std::string text(100, '\0');
    const ssize_t got = read(fd.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return text;
  }

  UniqueFd other_;
};

TEST_F(FifoRestoreTest, WhatWasNotReadIsReadFirst) {
  RefPtr<Dentry> fifo = Walk("fifo").dentry;
  RefPtr<Handle> reader = *fs_->Open(*fifo, O_RDONLY);
  RefPtr<Handle> second = *fs_->Open(*fifo, O_RDONLY);
  RefPtr<Handle> writer = *fs_->Open(*fifo, O_WRONLY);
  Put("saved ");
  const uint32_t write_row = snapshot_->Add(*writer);
  const uint32_t row = snapshot_->Add(*reader);
  const uint32_t second_row = snapshot_->Add(*second);
  const absl::Status finished = snapshot_->Finish();
  ASSERT_TRUE(finished.ok()) << finished;
  state_ = snapshot_->Take();
  EXPECT_EQ(state_.handles[row].unread, "saved ");
  EXPECT_EQ(state_.handles[second_row].unread, "");
  EXPECT_EQ(state_.handles[write_row].unread, "");
  TakeUnread(*fs_, snapshot_->unread());
  reader = second = writer = nullptr;
  fifo = nullptr;
  snapshot_.reset();
  Put("later");
  ASSERT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_TRUE(restore_->handle(write_row)->writable());
  EXPECT_EQ(ReadAll(*fs_, restore_->handle(row)->dentry()), "saved later");
}

TEST_F(FifoRestoreTest, ASaveAloneTakesNothing) {
  const RefPtr<Dentry> fifo = Walk("fifo").dentry;
  const RefPtr<Handle> reader = *fs_->Open(*fifo, O_RDONLY);
  Put("still here");
  snapshot_->Add(*reader);
  ASSERT_TRUE(snapshot_->Finish().ok());
  EXPECT_EQ(ReadAll(*fs_, *fifo), "still here");
}

TEST_F(FifoRestoreTest, ItLastsWithoutAnybodyElse) {
  RefPtr<Handle> reader = *fs_->Open(*Walk("fifo").dentry, O_RDONLY);
  Put("alone");
  const uint32_t row = snapshot_->Add(*reader);
  reader = nullptr;
  Save();
  other_.Reset();  // with the last of them the kernel drops what is in it
  ASSERT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_EQ(ReadAll(*fs_, restore_->handle(row)->dentry()), "alone");
}

TEST_F(FifoRestoreTest, TooMuchInItRefusesTheSave) {
  snapshot_ = std::make_unique<Snapshot>(*fs_, SnapshotOptions{.max_deleted_bytes = 3});
  const RefPtr<Handle> reader = *fs_->Open(*Walk("fifo").dentry, O_RDONLY);
  Put("four");
  snapshot_->Add(*reader);
  EXPECT_THAT(snapshot_->Finish().message(), HasSubstr("/fifo: is a FIFO with more"));
}

// ---- names that changed before the save

TEST_F(TreeRestoreTest, DentriesOfOnePlaceAreSavedAsOne) {
  tree_.Link("dir/file", "dir/link2");
  RefPtr<Dentry> file = Walk("dir/file").dentry;
  RefPtr<Dentry> link = Walk("dir/link2").dentry;
  tree_.Unlink("dir/file");
  ASSERT_TRUE(fs_->Resettle(*file, *Walk("dir").dentry, N("link2"), /*share_place=*/true).ok());
  ASSERT_FALSE(file->findable());
  const uint32_t row = snapshot_->Add(*file);
  EXPECT_EQ(snapshot_->Add(*link), row);
  EXPECT_EQ(snapshot_->Add(*file), row);
  file = link = nullptr;
  Save();
  EXPECT_THAT(Examine().findings, IsEmpty());
}

TEST_F(TreeRestoreTest, TwoFilesOfOneNameAreNoImage) {
  const testing::TempTree outside;
  const RefPtr<Dentry> old = Walk("top").dentry;
  ASSERT_EQ(rename(tree_.At("top").c_str(), outside.At("top").c_str()), 0);
  tree_.Write("top", "another one");
  const RefPtr<Dentry> present = Walk("top").dentry;
  ASSERT_NE(old, present);
  snapshot_->Add(*old);
  snapshot_->Add(*present);
  EXPECT_THAT(snapshot_->Finish().message(), HasSubstr("/top: another file in use"));
}

TEST_F(TreeRestoreTest, AFileThatTheHostHasReplacedIsSavedBesideTheNewOne) {
  RefPtr<Dentry> old = Walk("top").dentry;
  Replace(tree_, "top");
  RefPtr<Dentry> present = Walk("top").dentry;
  ASSERT_NE(old, present);
  const uint32_t old_row = snapshot_->Add(*old);
  const uint32_t present_row = snapshot_->Add(*present);
  old = present = nullptr;
  Save();
  EXPECT_THAT(state_.deleted_files, SizeIs(1));
  EXPECT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_EQ(fs_->Stat(*restore_->dentry(old_row))->stx_nlink, 0u);
  EXPECT_EQ(restore_->dentry(present_row).get(), Walk("top").dentry.get());
}

TEST_F(TreeRestoreTest, AFileRemovedByOneOfItsNamesIsKeptByAnother) {
  ASSERT_TRUE(fs_->MakeLink(fs_->root(), N("other"), *Walk("top").dentry).ok());
  RefPtr<Handle> handle = *fs_->OpenWith(*Walk("top").dentry, O_RDWR);
  ASSERT_TRUE(fs_->Unlink(fs_->root(), N("top"), 0).ok());
  const uint32_t row = snapshot_->Add(*handle);
  const uint32_t other = Add("other");
  handle = nullptr;
  Save();
  EXPECT_THAT(state_.deleted_files, IsEmpty());
  ASSERT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  Dentry& removed = restore_->handle(row)->dentry();
  EXPECT_TRUE(removed.deleted());
  EXPECT_EQ(&removed.inode(), &restore_->dentry(other)->inode());
  EXPECT_TRUE(fs_->Write(*restore_->handle(row), std::as_bytes(std::span("TOP", 3)), 0).ok());
  EXPECT_EQ(tree_.Read("other"), "TOP");
}

TEST_F(TreeRestoreTest, AFileWhoseOnlyNameInUseIsGoneIsRefusedIfItHasOthers) {
  tree_.Link("top", "other");
  const RefPtr<Handle> handle = *fs_->OpenWith(*Walk("top").dentry, O_RDWR);
  ASSERT_TRUE(fs_->Unlink(fs_->root(), N("top"), 0).ok());
  snapshot_->Add(*handle);
  EXPECT_THAT(snapshot_->Finish().message(), HasSubstr("/top: was removed"));
}

// As a guest knows many: by a listing, without a descriptor of ours.
TEST_F(TreeRestoreTest, FilesThatTheHostHasTakenAwayFromUnderAClientAreStaleForGood) {
  RefPtr<Dentry> removed = fs_->LookupUnopened(fs_->root(), N("top"))->dentry;
  RefPtr<Dentry> replaced = fs_->LookupUnopened(*Walk("dir").dentry, N("file"))->dentry;
  tree_.Unlink("top");
  Replace(tree_, "dir/file");
  ASSERT_EQ(ErrorOf(fs_->Stat(*removed)), ESTALE);
  ASSERT_EQ(ErrorOf(fs_->Stat(*replaced)), ESTALE);
  const uint32_t rows[] = {snapshot_->Add(*removed), snapshot_->Add(*replaced)};
  removed = replaced = nullptr;
  Save();
  EXPECT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  for (const uint32_t row : rows) {
    EXPECT_EQ(ErrorOf(fs_->Stat(*restore_->dentry(row))), ESTALE);
  }
  EXPECT_TRUE(fs_->Stat(*Walk("dir/file").dentry).ok())
      << "what has the name now is as good as any";
}

TEST_F(TreeRestoreTest, WhatIsStaleStaysSoThroughAnotherSave) {
  const uint32_t row = Add("dir/file");
  const uint32_t open_row = AddOpen("top", O_RDONLY);
  Save();
  Replace(tree_, "dir/file");
  tree_.Unlink("top");
  Examine();
  ASSERT_TRUE(restore_->Take().ok());
  auto again = std::make_unique<Snapshot>(*fs_, SnapshotOptions());
  const uint32_t row2 = again->Add(*restore_->dentry(row));
  again->Add(*Walk("dir/file").dentry);  // looked up afresh
  const uint32_t open_row2 = again->Add(*restore_->handle(open_row));
  const absl::Status finished = again->Finish();
  ASSERT_TRUE(finished.ok()) << finished;
  state_ = again->Take();
  again.reset();
  restore_.reset();
  EXPECT_THAT(Examine().findings, IsEmpty());
  ASSERT_TRUE(restore_->Take().ok());
  EXPECT_EQ(ErrorOf(fs_->Stat(*restore_->dentry(row2))), ESTALE);
  std::byte byte;
  EXPECT_EQ(ErrorOf(fs_->Read(*restore_->handle(open_row2), std::span(&byte, 1), 0)), ESTALE);
}

}  // namespace
}  // namespace gofer::fs
