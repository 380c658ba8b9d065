// A LISAFS client's ids outlive the server: what it could name before the save it can name after
// the restore, in another Filesystem behind another socket.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "gmock/gmock.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/own_directory.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/server/state.h"
#include "test/checkpoint/life.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using lisafs::FdId;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LisafsRestoreTest : public ::testing::Test {
 protected:
  LisafsRestoreTest() {
    umask(0);
    tree_.Mkdir("dir");
    tree_.Write("dir/file", "content");
    tree_.Write("top", "top of the tree");
    before_ = std::make_unique<Life>(tree_.OpenPath(), options_);
    before_->Start();
  }

  // Puts everything that the client can name into an image, and takes it out again.
  void Save(const checkpoint::SaveOptions& options = {.leave_running = true}) {
    const UniqueFd directory = Must(sys::OpenOwnDirectory(images_.path().c_str()));
    const absl::StatusOr<checkpoint::SaveResult> saved = TrySave(options);
    ASSERT_TRUE(saved.ok()) << saved.status();
    saved_ = *saved;
    EXPECT_EQ(saved->clients, 1u);
    absl::StatusOr<checkpoint::Loaded> loaded = checkpoint::Load(directory, {});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->configuration.root(), "tree");
    EXPECT_EQ(loaded->files.handles.size(), saved->open_files);
    server_state_ = loaded->lisafs;
    files_ = loaded->files;
  }
  absl::StatusOr<checkpoint::SaveResult> TrySave(const checkpoint::SaveOptions& options) {
    const UniqueFd directory = Must(sys::OpenOwnDirectory(images_.path().c_str()));
    return checkpoint::Save(
        {.filesystem = before_->filesystem(), .lisafs = before_->server(), .root = "tree"}, options,
        [&](absl::string_view payload) { return checkpoint::StoreImage(directory, payload, {}); });
  }
  void EndFirst() {
    if (before_ == nullptr) return;
    before_->filesystem().gate().Open();  // where the save has left it closed
    before_.reset();
  }
  void Restore(const fs::RestoreOptions& options = {}) { RestoreAt(tree_, options); }
  void RestoreAt(const TempTree& tree, const fs::RestoreOptions& options) {
    EndFirst();
    after_ = std::make_unique<Life>(tree.OpenPath(), options_);
    const absl::Status restored = after_->Restore(files_, server_state_, options);
    ASSERT_TRUE(restored.ok()) << restored;
  }

  TempTree tree_;
  TempTree images_;
  lisafs::ServerOptions options_ = {
      .host_uds = lisafs::HostUds::kAll, .host_fifo_open = true, .donate_fds = false};
  std::unique_ptr<Life> before_;
  checkpoint::SaveResult saved_;
  lisafs::ServerState server_state_;
  fs::FilesystemState files_;
  std::unique_ptr<Life> after_;
};

TEST_F(LisafsRestoreTest, IdsNameWhatTheyNamed) {
  Life& before = *before_;
  const FdId dir = before.Walk(before.root(), "dir");
  const FdId file = before.Walk(dir, "file");
  const FdId reading = Must(before->OpenAt(file, O_RDONLY)).fd;
  const FdId writing = Must(before->OpenAt(file, O_RDWR)).fd;
  ASSERT_EQ(before.Write(writing, "C"), 1u);
  Save();
  Restore();
  EXPECT_THAT(after_->report().findings, IsEmpty());
  Life& after = *after_;
  EXPECT_EQ(after.Read(reading, 100), "Content");
  EXPECT_EQ(after.Write(writing, "!", 7), 1u);
  EXPECT_EQ(tree_.Read("dir/file"), "Content!");
  EXPECT_EQ(ErrorOf(after->PWrite(reading, {}, 0)), EBADF);
  EXPECT_EQ(Must(after->FStat(file)).ino, tree_.Stat("dir/file").st_ino);
  // A walk from a restored directory, and ids that go on where they were.
  const FdId again = after.Walk(dir, "file");
  EXPECT_GT(static_cast<uint64_t>(again), static_cast<uint64_t>(writing));
}

TEST_F(LisafsRestoreTest, AnIdThatWasClosedStaysClosed) {
  const FdId file = before_->Walk(before_->root(), "top");
  Must((*before_)->Close({file}));
  Save();
  Restore();
  EXPECT_EQ(ErrorOf((*after_)->FStat(file)), EBADF);
}

TEST_F(LisafsRestoreTest, AListingGoesOnWhereItWas) {
  for (int i = 0; i < 300; ++i) tree_.Write(absl::StrCat("dir/entry", i), "");
  const FdId dir = Must((*before_)->OpenAt(before_->Walk(before_->root(), "dir"), O_RDONLY)).fd;
  std::vector<std::string> names;
  for (const lisafs::Dirent& entry : Must((*before_)->Getdents64(dir, 2000))) {
    names.push_back(entry.name);
  }
  ASSERT_LT(names.size(), 301u);
  Save();
  Restore();
  for (;;) {
    const std::vector<lisafs::Dirent> more = Must((*after_)->Getdents64(dir, 2000));
    if (more.empty()) break;
    for (const lisafs::Dirent& entry : more) names.push_back(entry.name);
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, SizeIs(301));
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

TEST_F(LisafsRestoreTest, AFileWithoutANameKeepsItsData) {
  const FdId file = before_->Walk(before_->root(), "top");
  const FdId open_file = Must((*before_)->OpenAt(file, O_RDWR)).fd;
  Must((*before_)->UnlinkAt(before_->root(), "top", 0));
  Save();
  Restore();
  EXPECT_EQ(after_->Read(open_file, 100), "top of the tree");
  EXPECT_EQ(after_->Write(open_file, "TOP"), 3u);
  EXPECT_EQ(after_->Read(open_file, 3), "TOP");
  EXPECT_FALSE(tree_.Exists("top"));
}

TEST_F(LisafsRestoreTest, AReplacedFileIsStaleUntilItIsWalkedToAgain) {
  const FdId file = before_->Walk(before_->root(), "top");
  const FdId open_file = Must((*before_)->OpenAt(file, O_RDONLY)).fd;
  Save();
  EndFirst();
  tree_.Write("new", "top of the tree");
  tree_.Rename("new", "top");
  Restore();
  ASSERT_THAT(after_->report().findings, SizeIs(1));
  EXPECT_EQ(after_->report().findings[0].verdict, fs::Verdict::kReplaced);
  EXPECT_EQ(ErrorOf((*after_)->FStat(file)), ESTALE);
  std::byte byte;
  EXPECT_EQ(ErrorOf((*after_)->PRead(open_file, std::span(&byte, 1), 0)), ESTALE);
  const FdId root{server_state_.connections[0].fds[0].id};
  EXPECT_EQ(after_->Read(Must((*after_)->OpenAt(after_->Walk(root, "top"), O_RDONLY)).fd, 3),
            "top");
}

TEST_F(LisafsRestoreTest, ABoundSocketIsBoundAnew) {
  const lisafs::BindResult bound =
      Must((*before_)->BindAt(before_->root(), "socket", SOCK_STREAM, 0640, {}));
  Must((*before_)->Listen(bound.fd, 5));
  Save();
  Restore();
  const UniqueFd host(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  tree_.At("socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(connect(host.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0)
      << strerror(errno);
  const UniqueFd accepted = Must((*after_)->Accept(bound.fd));
  ASSERT_EQ(write(host.get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(accepted.get(), &byte, 1), 1);
  EXPECT_EQ(tree_.Stat("socket").st_mode & 07777, 0640u);
  EXPECT_EQ(ErrorOf((*after_)->FStat(bound.child.control_fd)), 0);
}

TEST_F(LisafsRestoreTest, ASaveThatFailsLeavesTheClientServed) {
  const FdId open_file = Must((*before_)->OpenAt(before_->Walk(before_->root(), "top"), O_RDWR)).fd;
  Must((*before_)->UnlinkAt(before_->root(), "top", 0));
  const absl::Status refused =
      checkpoint::Save({.filesystem = before_->filesystem(), .lisafs = before_->server()},
                       {.max_deleted_bytes = 1},
                       [](absl::string_view) {
                         ADD_FAILURE() << "there is nothing to store";
                         return absl::OkStatus();
                       })
          .status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
  EXPECT_EQ(before_->Read(open_file, 3), "top");
  const absl::Status not_stored =
      checkpoint::Save({.filesystem = before_->filesystem(), .lisafs = before_->server()}, {},
                       [](absl::string_view) { return absl::DataLossError("a full disk"); })
          .status();
  EXPECT_EQ(not_stored, absl::DataLossError("a full disk"));
  EXPECT_EQ(before_->Read(open_file, 3), "top");
}

TEST_F(LisafsRestoreTest, AfterASaveThatEndsTheGoferNobodyIsServed) {
  ASSERT_TRUE(checkpoint::Save({.filesystem = before_->filesystem(), .lisafs = before_->server()},
                               {.leave_running = false},
                               [](absl::string_view) { return absl::OkStatus(); })
                  .ok());
  std::atomic<bool> answered{false};
  std::thread client([&] {
    EXPECT_TRUE((*before_)->FStat(before_->root()).ok());
    answered = true;
  });
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(answered);
  before_->filesystem().gate().Open();
  client.join();
}

TEST_F(LisafsRestoreTest, WhatMovedBehindOurBackIsSavedWhereItIs) {
  const FdId file = before_->Walk(before_->Walk(before_->root(), "dir"), "file");
  const FdId reading = Must((*before_)->OpenAt(file, O_RDONLY)).fd;
  const FdId top = before_->Walk(before_->root(), "top");
  tree_.Rename("dir/file", "elsewhere");
  tree_.Unlink("top");
  std::vector<uint64_t> progress;
  Save({.leave_running = true,
        .confirm_paths = true,
        .watch = {.progress = [&](uint64_t done, uint64_t) { progress.push_back(done); }}});
  EXPECT_EQ(saved_.paths.repaired, 1u);
  EXPECT_EQ(saved_.paths.deleted, 1u);
  EXPECT_EQ(saved_.paths.not_found, 0u);
  EXPECT_EQ(saved_.deleted_files, 1u);
  EXPECT_GE(progress.size(), 2u);
  Restore();
  EXPECT_THAT(after_->report().findings, IsEmpty());
  EXPECT_EQ(after_->Read(reading, 100), "content");
  EXPECT_EQ(Must((*after_)->FStat(top)).nlink, 0u);
}

TEST_F(LisafsRestoreTest, APathThatDoesNotHoldFailsAConfirmedSave) {
  const FdId file = before_->Walk(before_->Walk(before_->root(), "dir"), "file");
  const TempTree outside;
  ASSERT_EQ(rename(tree_.At("dir/file").c_str(), outside.At("file").c_str()), 0);
  const absl::Status refused = TrySave({.leave_running = true, .confirm_paths = true}).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("/dir/file: its name leads nowhere"));
  EXPECT_TRUE((*before_)->FStat(file).ok());
  EXPECT_FALSE(images_.Exists(checkpoint::kImageName));
  // Without, the restore says so.
  Save();
  EXPECT_EQ(saved_.paths.not_found, 1u);
  Restore();
  ASSERT_THAT(after_->report().findings, SizeIs(1));
  EXPECT_EQ(after_->report().findings[0].verdict, fs::Verdict::kMissing);
}

TEST_F(LisafsRestoreTest, ACancelledSaveLeavesEverythingAsItWas) {
  const FdId file = before_->Walk(before_->root(), "top");
  const std::atomic<bool> cancel{true};
  EXPECT_EQ(TrySave({.watch = {.cancel = &cancel}}).status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE((*before_)->FStat(file).ok());
  EXPECT_FALSE(images_.Exists(checkpoint::kImageName));
}

TEST_F(LisafsRestoreTest, AFifoIsReadOnWhereItWasLeft) {
  const auto read_all = [](const UniqueFd& fd) {
    std::string text(100, '\0');
    text.resize(static_cast<size_t>(std::max<ssize_t>(read(fd.get(), text.data(), 100), 0)));
    return text;
  };
  tree_.Fifo("fifo");
  const FdId fifo = before_->Walk(before_->root(), "fifo");
  lisafs::OpenResult reading = Must((*before_)->OpenAt(fifo, O_RDONLY));
  lisafs::OpenResult writing = Must((*before_)->OpenAt(fifo, O_WRONLY));
  ASSERT_EQ(write(writing.host_fd.get(), "12345678", 8), 8);
  std::string first(3, '\0');
  ASSERT_EQ(read(reading.host_fd.get(), first.data(), first.size()), 3);
  Save({.leave_running = true});
  // A save that is not the end has taken nothing.
  EXPECT_EQ(read_all(reading.host_fd), "45678");
  ASSERT_EQ(write(writing.host_fd.get(), "9", 1), 1);
  Save({.leave_running = false});
  checkpoint::LetGo({.filesystem = before_->filesystem(), .lisafs = before_->server()}, saved_);
  saved_.unread.clear();
  EXPECT_EQ(read_all(reading.host_fd), "") << "it would be read twice";
  reading.host_fd.Reset();
  writing.host_fd.Reset();
  Restore();
  ASSERT_THAT(after_->report().findings, IsEmpty());
  const lisafs::OpenResult again = Must((*after_)->OpenAt(fifo, O_RDONLY));
  EXPECT_EQ(read_all(again.host_fd), "9");
}

TEST_F(LisafsRestoreTest, InACopiedTreeFilesHaveTheNumbersTheyHad) {
  const FdId dir = before_->Walk(before_->root(), "dir");
  const FdId file = before_->Walk(dir, "file");
  const uint64_t ino = Must((*before_)->FStat(file)).ino;
  tree_.Write("dir/unknown", "");
  Save();
  const TempTree copy;
  ASSERT_EQ(system(absl::StrCat("cp -a ", tree_.path(), "/. ", copy.path()).c_str()), 0);
  RestoreAt(copy, {});
  ASSERT_NE(copy.Stat("dir/file").st_ino, ino);
  Life& after = *after_;
  EXPECT_EQ(Must(after->FStat(file)).ino, ino);
  EXPECT_EQ(Must(after->FStat(after.Walk(dir, "file"))).ino, ino);
  const lisafs::Statx unknown = Must(after->FStat(after.Walk(dir, "unknown")));
  EXPECT_NE(unknown.ino, ino);
  const FdId listing = Must(after->OpenAt(dir, O_RDONLY)).fd;
  size_t seen = 0;
  for (const lisafs::Dirent& entry : Must(after->Getdents64(listing, 2000))) {
    EXPECT_EQ(entry.ino, entry.name == "file" ? ino : unknown.ino) << entry.name;
    EXPECT_EQ(entry.dev_minor, unknown.dev_minor);
    ++seen;
  }
  EXPECT_EQ(seen, 2u);
}

TEST_F(LisafsRestoreTest, ASocketThatIsBoundAnewHasTheNumberOfTheOldOne) {
  const lisafs::BindResult bound =
      Must((*before_)->BindAt(before_->root(), "socket", SOCK_STREAM, 0640, {}));
  const uint64_t ino = Must((*before_)->FStat(bound.child.control_fd)).ino;
  Save();
  tree_.Link("socket", "holds the number");
  Restore();
  ASSERT_NE(tree_.Stat("socket").st_ino, ino);
  EXPECT_EQ(Must((*after_)->FStat(bound.child.control_fd)).ino, ino);
}

TEST_F(LisafsRestoreTest, AStateThatLiesIsRefused) {
  const FdId file = before_->Walk(before_->root(), "top");
  Save();
  EndFirst();
  const lisafs::ServerState honest = server_state_;
  const auto refused = [&](const lisafs::FdState& fd, uint64_t next_id) {
    lisafs::ServerState state = honest;
    state.connections[0].fds.push_back(fd);
    state.connections[0].next_id = next_id;
    Life life(tree_.OpenPath(), options_);
    const absl::Status status = life.Restore(files_, state);
    return status.code() == absl::StatusCode::kDataLoss;
  };
  const uint64_t next = honest.connections[0].next_id;
  const auto control = lisafs::FdKind::kControl;
  EXPECT_TRUE(refused({.id = static_cast<uint64_t>(file), .kind = control}, next)) << "twice";
  EXPECT_TRUE(refused({.id = 0, .kind = control}, next)) << "no id";
  EXPECT_TRUE(refused({.id = next, .kind = control}, next)) << "not given out yet";
  EXPECT_TRUE(refused({.id = next, .kind = control, .row = 1000}, next + 1)) << "no such name";
  EXPECT_TRUE(refused({.id = next, .kind = lisafs::FdKind::kOpen}, next + 1))
      << "no such open file";
  EXPECT_TRUE(refused({.id = next, .kind = lisafs::FdKind::kNone}, next + 1)) << "of no kind";
}

}  // namespace
}  // namespace gofer::testing
