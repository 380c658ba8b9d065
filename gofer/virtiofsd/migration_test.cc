// A guest that migrates from one process under the name of virtiofsd to the next, both confined as
// they are by default, with the options that are about it.

#include <fcntl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/support/device_state_stream.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_daemon.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::virtiofsd {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::Must;
using vhost::driver::FuseClient;
using vhost::driver::Machine;

// A daemon, and the monitor and the guest that it is for.
class Host {
 public:
  Host(const testing::TempTree& tree, absl::string_view options)
      : daemon_(absl::StrCat(testing::GoferBinary(),
                             " virtiofsd --shared-dir={dir} --socket-path={socket} ", options),
                tree.path()),
        machine_(Must(Machine::Attach(daemon_.TakeSocket(), {}))) {}
  ~Host() {
    guest_.reset();
    machine_.reset();
    EXPECT_EQ(daemon_.Wait(testing::kPatience), 0) << daemon_.Stderr();
  }

  void Start() {
    Must(machine_->Start());
    guest_ = std::make_unique<FuseClient>(machine_.get());
  }
  std::optional<std::string> Save() {
    Must(machine_->Stop());  // once more is no harm
    return testing::SaveDeviceState(*machine_);
  }
  bool Load(const std::string& state) { return testing::LoadDeviceState(*machine_, state); }

  FuseClient* operator->() { return guest_.get(); }
  std::string Stderr() const { return daemon_.Stderr(); }

 private:
  testing::VhostDaemon daemon_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> guest_;
};

class MigrationTest : public ::testing::Test {
 protected:
  MigrationTest() {
    tree_.Mkdir("dir");
    tree_.Write("file", "content");
    tree_.Write("dir/other", "another content");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  // A guest with `file` and `dir/other` open, on a daemon with these options.
  std::unique_ptr<Host> Boot(absl::string_view options) {
    auto host = std::make_unique<Host>(tree_, options);
    host->Start();
    Must((*host)->Init());
    file_ = Must((*host)->Lookup(NodeId::kRoot, "file")).nodeid;
    open_ = Must((*host)->Open(file_, O_RDWR)).fh;
    other_ =
        Must((*host)->Lookup(Must((*host)->Lookup(NodeId::kRoot, "dir")).nodeid, "other")).nodeid;
    open_other_ = Must((*host)->Open(other_, O_RDONLY)).fh;
    return host;
  }

  testing::TempTree tree_;
  NodeId file_{};
  NodeId other_{};
  HandleId open_{};
  HandleId open_other_{};
};

TEST_F(MigrationTest, InEachModeOpenFilesGoOnWithoutAnInit) {
  for (const absl::string_view options :
       {"", "--migration-mode=find-paths --migration-verify-handles --migration-confirm-paths",
        "--migration-mode=file-handles", "--inode-file-handles=prefer --modcaps=+dac_read_search",
        "--sandbox=chroot"}) {
    SCOPED_TRACE(options);
    tree_.Write("file", "content");
    const std::unique_ptr<Host> source = Boot(options);
    const std::optional<std::string> state = source->Save();
    ASSERT_TRUE(state.has_value()) << source->Stderr();
    Host destination(tree_, options);
    ASSERT_TRUE(destination.Load(*state)) << destination.Stderr();
    destination.Start();
    EXPECT_EQ(Must(destination->Write(file_, open_, 0, "CON")), 3u);
    EXPECT_EQ(tree_.Read("file"), "CONtent");
    EXPECT_EQ(Must(destination->Read(other_, open_other_, 8, 100)), "content");
  }
}

TEST_F(MigrationTest, AFileThatIsNotFoundFailsTheMigrationOrIsStale) {
  const std::unique_ptr<Host> source = Boot("");
  const std::optional<std::string> state = source->Save();
  ASSERT_TRUE(state.has_value());
  tree_.Unlink("file");
  tree_.Write("file", "content");
  {
    Host destination(tree_, "--migration-on-error=abort");
    EXPECT_FALSE(destination.Load(*state));
    EXPECT_THAT(destination.Stderr(), HasSubstr("/file"));
  }
  Host destination(tree_, "--migration-on-error=guest-error");
  ASSERT_TRUE(destination.Load(*state)) << destination.Stderr();
  destination.Start();
  EXPECT_EQ(ErrorOf(destination->Read(file_, open_, 0, 1)), ESTALE);
  EXPECT_EQ(Must(destination->Read(other_, open_other_, 8, 100)), "content");
  EXPECT_NE(Must(destination->Lookup(NodeId::kRoot, "file")).nodeid, file_);
}

TEST_F(MigrationTest, AFileThatWasMovedIsFollowed) {
  const std::unique_ptr<Host> source = Boot("--migration-mode=file-handles");
  const std::optional<std::string> state = source->Save();
  ASSERT_TRUE(state.has_value());
  tree_.Rename("dir/other", "moved");
  Host destination(tree_, "");
  ASSERT_TRUE(destination.Load(*state)) << destination.Stderr();
  destination.Start();
  EXPECT_EQ(Must(destination->Read(other_, open_other_, 8, 100)), "content");
}

TEST_F(MigrationTest, APathThatDoesNotHoldFailsAConfirmedSave) {
  const std::unique_ptr<Host> source = Boot("--migration-confirm-paths");
  testing::TempTree outside;
  // Out of the shared directory: there is no path to it any more.
  ASSERT_EQ(rename(tree_.At("file").c_str(), outside.At("file").c_str()), 0);
  EXPECT_EQ(source->Save(), std::nullopt);
  ASSERT_EQ(rename(outside.At("file").c_str(), tree_.At("file").c_str()), 0);
  EXPECT_TRUE(source->Save().has_value()) << source->Stderr();
}

TEST_F(MigrationTest, WhatTheGuestReliesOnHasToBeOnAtTheDestination) {
  const std::unique_ptr<Host> source = Boot("--writeback");
  const std::optional<std::string> state = source->Save();
  ASSERT_TRUE(state.has_value());
  Host destination(tree_, "");
  EXPECT_FALSE(destination.Load(*state));
  EXPECT_THAT(destination.Stderr(), HasSubstr("--writeback"));
}

}  // namespace
}  // namespace gofer::virtiofsd
