// A guest's state goes from one device to another as a monitor takes it: SET_DEVICE_STATE_FD on the
// source when its rings have been stopped, on the destination before they start. Each side has a
// Filesystem of its own on the same tree, and the guest sends no INIT to the second.

#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/device_state.h"
#include "fuse/session/options.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/device_state_stream.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_server.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::testing {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using ::testing::SizeIs;
using vhost::driver::DirentView;
using vhost::driver::Frontend;
using vhost::driver::FuseClient;
using vhost::driver::Machine;
using vhost::driver::Slot;
using vhost::user::MessageId;

const fuse::SessionOptions kWithLocks = {.posix_locks = true, .flock_locks = true};

// A monitor with its guest, on a device of its own process, as it were.
class Host {
 public:
  explicit Host(const TempTree& tree, const checkpoint::DeviceStateOptions& options = {})
      : server_(tree, "", kWithLocks, {}, options),
        machine_(Must(Machine::Attach(server_.Connect(), {}))) {}

  void Start() {
    Must(machine_->Start());
    // A driver of its own; what it knows of the device is what the guest has always known.
    if (client_ == nullptr) {
      client_ = std::make_unique<FuseClient>(machine_.get(),
                                             vhost::driver::FuseClientOptions{.depth = 32});
    }
  }
  void Stop() { Must(machine_->Stop()); }

  FuseClient* operator->() { return client_.get(); }
  Machine& machine() { return *machine_; }

  std::optional<std::string> Save() { return SaveDeviceState(*machine_); }
  bool Load(const std::string& state) { return LoadDeviceState(*machine_, state); }
  void SetFeatures(uint64_t features) {
    Must(machine_->frontend().Tell(MessageId::kSetFeatures, features, Frontend::Ack::kWanted));
  }

 private:
  VhostServer server_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> client_;
};

class VhostMigrationTest : public ::testing::Test {
 protected:
  VhostMigrationTest() {
    tree_.Mkdir("dir");
    tree_.Write("top", "top of the tree");
    source_ = std::make_unique<Host>(tree_);
    source_->Start();
    Must((*source_)->Init());
  }

  // To a new host; the old one stays, stopped, until the test ends it.
  std::unique_ptr<Host> Migrate(Host& from, const checkpoint::DeviceStateOptions& options = {}) {
    from.Stop();
    const std::optional<std::string> state = from.Save();
    CHECK(state.has_value());
    auto to = std::make_unique<Host>(tree_, options);
    CHECK(to->Load(*state));
    to->Start();
    return to;
  }

  bool IsLocked(const std::string& name) {
    const UniqueFd fd(open(tree_.At(name).c_str(), O_RDWR | O_CLOEXEC));
    PCHECK(fd.valid());
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    return fcntl(fd.get(), F_OFD_SETLK, &lock) != 0;
  }
  static fuse::LkIn LockOf(HandleId fh, uint64_t owner, uint32_t type) {
    return {.fh = fh,
            .owner = owner,
            .lk = {.start = 0, .end = fuse::kLockToEnd, .type = type, .pid = 1},
            .lk_flags = 0,
            .padding = 0};
  }

  TempTree tree_;
  std::unique_ptr<Host> source_;
};

TEST_F(VhostMigrationTest, OpenFilesAreReadAndWrittenOn) {
  Host& before = *source_;
  const fuse::EntryOut top = Must(before->Lookup(NodeId::kRoot, "top"));
  const fuse::CreateOut made = Must(before->Create(NodeId::kRoot, "made", O_RDWR, 0644));
  const HandleId gone = Must(before->Open(top.nodeid, O_RDWR)).fh;
  EXPECT_EQ(Must(before->Write(made.entry.nodeid, made.open.fh, 0, "before")), 6u);
  Must(before->Unlink(NodeId::kRoot, "top"));
  const std::unique_ptr<Host> to = Migrate(before);
  Host& after = *to;
  EXPECT_EQ(Must(after->Write(made.entry.nodeid, made.open.fh, 6, " and after")), 10u);
  EXPECT_EQ(tree_.Read("made"), "before and after");
  EXPECT_EQ(Must(after->Getattr(made.entry.nodeid)).attr.ino, tree_.Stat("made").st_ino);
  EXPECT_EQ(Must(after->Read(top.nodeid, gone, 0, 100)), "top of the tree") << "without a name";
  Must(after->Release(top.nodeid, gone));
  Must(after->Release(made.entry.nodeid, made.open.fh));
  EXPECT_EQ(Must(after->Lookup(NodeId::kRoot, "made")).nodeid, made.entry.nodeid);
}

TEST_F(VhostMigrationTest, ListingsGoOnWhereTheyWere) {
  for (int i = 0; i < 200; ++i) tree_.Write(absl::StrCat("dir/entry", i), "");
  const NodeId dir = Must((*source_)->Lookup(NodeId::kRoot, "dir")).nodeid;
  const HandleId listing = Must((*source_)->Opendir(dir)).fh;
  std::vector<std::string> names;
  uint64_t offset = 0;
  const auto list = [&](Host& host) {
    return Must(host->Readdir(dir, listing, offset, 2048, [&](const DirentView& entry) {
      names.emplace_back(entry.name);
      offset = entry.fixed.off;
    }));
  };
  list(*source_);
  ASSERT_LT(names.size(), 202u);
  const std::unique_ptr<Host> after = Migrate(*source_);
  while (list(*after) > 0) {
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, SizeIs(202));
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

TEST_F(VhostMigrationTest, LocksGoAlong) {
  const NodeId top = Must((*source_)->Lookup(NodeId::kRoot, "top")).nodeid;
  const HandleId fh = Must((*source_)->Open(top, O_RDWR)).fh;
  Must((*source_)->Setlk(top, LockOf(fh, 7, F_WRLCK), /*wait=*/false));
  const std::unique_ptr<Host> after = Migrate(*source_);  // both are alive
  EXPECT_TRUE(IsLocked("top"));
  EXPECT_EQ(ErrorOf((*after)->Setlk(top, LockOf(fh, 8, F_RDLCK), /*wait=*/false)), EAGAIN);
  source_.reset();
  EXPECT_TRUE(IsLocked("top"));
  Must((*after)->Setlk(top, LockOf(fh, 7, F_UNLCK), /*wait=*/false));
  EXPECT_FALSE(IsLocked("top"));
}

TEST_F(VhostMigrationTest, TheTenthMigrationIsLikeTheFirst) {
  const fuse::CreateOut log = Must((*source_)->Create(NodeId::kRoot, "log", O_RDWR, 0644));
  std::string expected;
  for (int i = 0; i < 10; ++i) {
    const std::string line = absl::StrCat("host ", i, "\n");
    Must((*source_)->Write(log.entry.nodeid, log.open.fh, expected.size(), line));
    expected += line;
    source_ = Migrate(*source_);
    const NodeId made = Must((*source_)->Mkdir(NodeId::kRoot, absl::StrCat("d", i), 0755)).nodeid;
    EXPECT_EQ(Must((*source_)->Lookup(NodeId::kRoot, absl::StrCat("d", i))).nodeid, made);
    for (int k = 0; k < i; ++k) Must((*source_)->Lookup(NodeId::kRoot, absl::StrCat("d", k)));
  }
  EXPECT_EQ(Must((*source_)->Read(log.entry.nodeid, log.open.fh, 0, 1000)), expected);
}

// What has been begun when the rings stop is answered; the rest waits in the ring.
TEST_F(VhostMigrationTest, RequestsInFlightAreDoneOnceWhenTheMigrationIsCancelled) {
  Host& before = *source_;
  constexpr int kRequests = 32;
  for (int i = 0; i < kRequests; ++i) {
    Slot* const slot = before->Acquire();
    ASSERT_NE(slot, nullptr);
    const std::string name = absl::StrCat("made", i);
    ByteWriter& arguments = slot->Arguments();
    arguments.Write(fuse::MkdirIn{.mode = 0755, .umask = 0});
    arguments.WriteBytes(absl::string_view(name.c_str(), name.size() + 1));
    before->Submit(*slot, fuse::Opcode::kMkdir, NodeId::kRoot, {.result = sizeof(fuse::EntryOut)});
  }
  before.Stop();
  ASSERT_TRUE(before.Save().has_value());
  before.Start();
  std::vector<NodeId> nodes;
  while (before->in_flight() > 0) {
    Slot* const done = Must(before->Next());
    EXPECT_EQ(done->error(), 0);
    nodes.push_back(done->Result<fuse::EntryOut>().nodeid);
    before->Release(*done);
  }
  ASSERT_THAT(nodes, SizeIs(kRequests));
  for (const NodeId node : nodes) Must(before->Getattr(node));
}

TEST_F(VhostMigrationTest, TheSourceGoesOnWhenTheDestinationFails) {
  const NodeId top = Must((*source_)->Lookup(NodeId::kRoot, "top")).nodeid;
  const HandleId fh = Must((*source_)->Open(top, O_RDWR)).fh;
  Must((*source_)->Setlk(top, LockOf(fh, 7, F_WRLCK), /*wait=*/false));
  source_->Stop();
  const std::optional<std::string> state = source_->Save();
  ASSERT_TRUE(state.has_value());
  EXPECT_FALSE(IsLocked("top")) << "it is the destination's to take";
  Host destination(tree_);
  EXPECT_FALSE(destination.Load(state->substr(0, state->size() - 1)));
  EXPECT_FALSE(destination.Load(""));
  tree_.Write("new", "another of them");
  tree_.Rename("new", "top");
  EXPECT_FALSE(destination.Load(*state));
  destination.Start();
  EXPECT_EQ(ErrorOf(destination->Getattr(NodeId::kRoot)), EIO) << "as after a reset";

  source_->Start();
  EXPECT_EQ(Must((*source_)->Read(top, fh, 0, 3)), "top");
  EXPECT_EQ(ErrorOf((*source_)->Setlk(top, LockOf(fh, 8, F_RDLCK), /*wait=*/false)), EAGAIN);
}

TEST_F(VhostMigrationTest, WhatIsMarkedIsStaleUntilItIsLookedUp) {
  const NodeId top = Must((*source_)->Lookup(NodeId::kRoot, "top")).nodeid;
  const HandleId fh = Must((*source_)->Open(top, O_RDONLY)).fh;
  source_->Stop();
  const std::optional<std::string> state = source_->Save();
  ASSERT_TRUE(state.has_value());
  source_.reset();
  tree_.Write("new", "another of them");
  tree_.Rename("new", "top");
  Host after(tree_, {.mark_mismatches = true});
  ASSERT_TRUE(after.Load(*state));
  after.Start();
  EXPECT_EQ(ErrorOf(after->Getattr(top)), ESTALE);
  EXPECT_EQ(ErrorOf(after->Read(top, fh, 0, 1)), ESTALE);
  EXPECT_NE(Must(after->Lookup(NodeId::kRoot, "top")).nodeid, top);
}

TEST_F(VhostMigrationTest, AFileThatMovedBetweenTheTwoIsFollowedWhereThatIsAskedFor) {
  const NodeId top = Must((*source_)->Lookup(NodeId::kRoot, "top")).nodeid;
  const HandleId fh = Must((*source_)->Open(top, O_RDONLY)).fh;
  source_->Stop();
  const std::optional<std::string> state = source_->Save();
  ASSERT_TRUE(state.has_value());
  source_.reset();
  tree_.Rename("top", "dir/elsewhere");
  Host by_name(tree_);
  EXPECT_FALSE(by_name.Load(*state));
  Host after(tree_, {.restore = {.follow_moved = true}});
  ASSERT_TRUE(after.Load(*state));
  after.Start();
  EXPECT_EQ(Must(after->Read(top, fh, 0, 100)), "top of the tree");
  const NodeId dir = Must(after->Lookup(NodeId::kRoot, "dir")).nodeid;
  EXPECT_EQ(Must(after->Lookup(dir, "elsewhere")).nodeid, top);
}

TEST_F(VhostMigrationTest, ALoadEndsAPreparation) {
  const NodeId top = Must((*source_)->Lookup(NodeId::kRoot, "top")).nodeid;
  source_->Stop();
  const std::optional<std::string> state = source_->Save();
  ASSERT_TRUE(state.has_value());
  Host after(tree_);
  after.SetFeatures(after.machine().features() | vhost::user::kFeatureLogAll);
  ASSERT_TRUE(after.Load(*state));
  after.Start();
  EXPECT_EQ(Must(after->Getattr(top)).attr.size, 15u);
}

TEST_F(VhostMigrationTest, AnnouncedCancelledAndAnnouncedAgain) {
  tree_.Write("dir/file", "content");
  const NodeId dir = Must((*source_)->Lookup(NodeId::kRoot, "dir")).nodeid;
  const NodeId file = Must((*source_)->Lookup(dir, "file")).nodeid;
  const uint64_t features = source_->machine().features();
  for (int i = 0; i < 3; ++i) {
    source_->SetFeatures(features | vhost::user::kFeatureLogAll);
    EXPECT_EQ(Must((*source_)->Getattr(file)).attr.size, 7u);
    source_->SetFeatures(features);
  }
  // What was moved behind our back is found before it is saved, and so after it.
  tree_.Rename("dir/file", "elsewhere");
  source_->SetFeatures(features | vhost::user::kFeatureLogAll);
  source_->Stop();
  const std::optional<std::string> state = source_->Save();
  ASSERT_TRUE(state.has_value());
  Host after(tree_);
  ASSERT_TRUE(after.Load(*state));
  after.Start();
  EXPECT_EQ(Must(after->Getattr(file)).attr.size, 7u);
  EXPECT_EQ(Must(after->Lookup(NodeId::kRoot, "elsewhere")).nodeid, file);
  // A snapshot: the source goes on as well.
  source_->SetFeatures(features);
  source_->Start();
  EXPECT_EQ(Must((*source_)->Getattr(file)).attr.size, 7u);
  source_->Stop();
  EXPECT_TRUE(source_->Save().has_value()) << "again";
}

TEST_F(VhostMigrationTest, WhatCannotBeSavedFailsTheSaveAlone) {
  Host small(tree_, {.max_deleted_bytes = 3});
  small.Start();
  Must(small->Init());
  const NodeId node = Must(small->Lookup(NodeId::kRoot, "top")).nodeid;
  const HandleId fh = Must(small->Open(node, O_RDWR)).fh;
  Must(small->Unlink(NodeId::kRoot, "top"));
  small.Stop();
  EXPECT_FALSE(small.Save().has_value());
  small.Start();
  EXPECT_EQ(Must(small->Read(node, fh, 0, 3)), "top");
}

}  // namespace
}  // namespace gofer::testing
