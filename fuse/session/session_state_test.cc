// A session that is saved and goes on as another one, in another Filesystem on the same tree: what
// the client could name before, it can name after.

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fuse/session/session.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gofer/fs/snapshot.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/host_fs.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseDirent;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseRequest;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::ParseDirents;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const SessionOptions kWithLocks = {.posix_locks = true, .flock_locks = true};

class SessionStateTest : public ::testing::Test {
 protected:
  SessionStateTest() {
    world_.tree.Mkdir("dir");
    world_.tree.Write("dir/file", "content");
    world_.tree.Write("top", "top of the tree");
    world_.Restart(kWithLocks);
  }

  FuseClient& client() { return *world_.client; }

  void Save() {
    ASSERT_TRUE(world_.filesystem->gate().Close(absl::InfiniteFuture()));
    fs::Snapshot snapshot(*world_.filesystem, {});
    state_ = world_.session->Save(snapshot);
    const absl::Status finished = snapshot.Finish();
    world_.filesystem->gate().Open();
    ASSERT_TRUE(finished.ok()) << finished;
    files_ = snapshot.Take();
  }

  // The process that has saved ends; another one begins with what was saved.
  absl::Status Restore(const SessionOptions& options = kWithLocks) {
    world_.End();
    return RestoreBeside(options);
  }
  absl::Status RestoreBeside(const SessionOptions& options = kWithLocks) {
    client_.reset();
    session_.reset();
    filesystem_ = *fs::Filesystem::Create(world_.tree.OpenPath(), *sys::OpenProcSelfFd(), {});
    fs::TreeRestore tree(*filesystem_, files_, fs::RestoreOptions());
    findings_ = tree.Examine().findings;
    const absl::Status taken = tree.Take();
    if (!taken.ok()) return taken;
    session_ = std::make_unique<Session>(filesystem_.get(), options);
    client_ = std::make_unique<FuseClient>(*session_);
    return session_->Restore(state_, tree);
  }
  FuseClient& again() { return *client_; }

  FuseReply Lock(FuseClient& client, NodeId node, HandleId fh, uint64_t owner, uint32_t type,
                 uint64_t start, uint64_t end, uint32_t flags = 0) {
    const LkIn in = {.fh = fh,
                     .owner = owner,
                     .lk = {.start = start, .end = end, .type = type, .pid = 1},
                     .lk_flags = flags,
                     .padding = 0};
    return client.Call(Opcode::kSetlk, node, Bytes(in));
  }
  // Whether somebody else on this host can lock the file for writing, by fcntl and by flock.
  bool IsLockedForOthers(const std::string& name, off_t start, off_t length) {
    const UniqueFd fd(open(world_.tree.At(name).c_str(), O_RDWR | O_CLOEXEC));
    PCHECK(fd.valid());
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length, .l_pid = 0};
    return fcntl(fd.get(), F_OFD_SETLK, &lock) != 0;
  }
  bool IsFlocked(const std::string& name) {
    const UniqueFd fd(open(world_.tree.At(name).c_str(), O_RDWR | O_CLOEXEC));
    PCHECK(fd.valid());
    return flock(fd.get(), LOCK_EX | LOCK_NB) != 0;
  }

  FuseWorld world_;
  SessionState state_;
  fs::FilesystemState files_;
  std::unique_ptr<fs::Filesystem> filesystem_;
  std::vector<fs::Finding> findings_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<FuseClient> client_;
};

TEST_F(SessionStateTest, ClientsGoOnWithoutAnInit) {
  const NodeId dir = client().Walk("dir");
  const NodeId file = client().Walk("dir/file");
  client().Lookup(dir, "file");
  const HandleId reading = client().Open(file, O_RDONLY);
  const HandleId writing = client().Open(file, O_RDWR);
  ASSERT_EQ(client().Write(file, writing, 0, "C").error, 0);
  Save();
  ASSERT_TRUE(Restore().ok());
  EXPECT_THAT(findings_, IsEmpty());
  EXPECT_EQ(again().Read(file, reading, 0, 100).body, "Content");
  EXPECT_EQ(again().Write(file, writing, 7, "!").error, 0);
  EXPECT_EQ(world_.tree.Read("dir/file"), "Content!");
  EXPECT_EQ(again().Write(file, reading, 0, "x").error, EBADF);
  EXPECT_EQ(again().Getattr(file).As<AttrOut>().attr.ino, world_.tree.Stat("dir/file").st_ino);
  // The same file is the same node still, and each lookup counts.
  EXPECT_EQ(again().Lookup(dir, "file").nodeid, file);
  EXPECT_EQ(again().Release(file, reading).error, 0);
  EXPECT_EQ(again().Release(file, writing).error, 0);
  again().Forget(file, 2);
  EXPECT_EQ(again().Getattr(file).error, 0);
  again().Forget(file, 1);
  EXPECT_EQ(again().Getattr(file).error, EBADF);
  EXPECT_NE(again().Lookup(dir, "file").nodeid, file);
}

TEST_F(SessionStateTest, WhatWasAgreedStaysAgreed) {
  const Granted before = world_.session->connection()->granted();
  Save();
  ASSERT_TRUE(Restore().ok());
  EXPECT_EQ(session_->connection()->granted().flags, before.flags);
  EXPECT_EQ(session_->connection()->granted().minor, before.minor);
  EXPECT_TRUE(session_->ClientCanResend());
  const NodeId file = again().Walk("top");
  EXPECT_EQ(again().Init().error, 0);
  EXPECT_EQ(again().Getattr(file).error, EBADF) << "a client that says INIT is a new one";
}

TEST_F(SessionStateTest, BeforeInitThereIsNothingToSave) {
  world_.session->Reset();
  Save();
  EXPECT_FALSE(state_.connected);
  ASSERT_TRUE(Restore().ok());
  EXPECT_EQ(again().Getattr(NodeId::kRoot).error, EIO);
  EXPECT_EQ(again().Init().error, 0);
}

TEST_F(SessionStateTest, AListingGoesOnWhereItWas) {
  for (int i = 0; i < 300; ++i) world_.tree.Write(absl::StrCat("dir/entry", i), "");
  const NodeId dir = client().Walk("dir");
  const HandleId listing = client().Opendir(dir);
  std::vector<std::string> names;
  uint64_t offset = 0;
  const auto list = [&](FuseClient& who) {
    ReadIn in = {};
    in.fh = listing;
    in.offset = offset;
    in.size = 4096;
    const FuseReply reply = who.Call(Opcode::kReaddir, dir, Bytes(in));
    CHECK_EQ(reply.error, 0);
    const std::vector<FuseDirent> entries = ParseDirents(reply.body, /*plus=*/false);
    for (const FuseDirent& entry : entries) {
      names.push_back(entry.name);
      offset = entry.dirent.off;
    }
    return !entries.empty();
  };
  list(client());
  list(client());
  ASSERT_LT(names.size(), 303u);
  Save();
  ASSERT_TRUE(Restore().ok());
  while (list(again())) {
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, SizeIs(303));  // "." and ".." and "file" too
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

TEST_F(SessionStateTest, AFileWithoutANameKeepsItsDataAndItsNode) {
  const NodeId file = client().Walk("top");
  const HandleId fh = client().Open(file, O_RDWR);
  ASSERT_EQ(client().Call(Opcode::kUnlink, NodeId::kRoot, gofer::testing::Terminated("top")).error,
            0);
  Save();
  ASSERT_TRUE(Restore().ok());
  EXPECT_EQ(again().Read(file, fh, 0, 100).body, "top of the tree");
  EXPECT_EQ(again().Write(file, fh, 0, "TOP").error, 0);
  EXPECT_EQ(again().Read(file, fh, 0, 3).body, "TOP");
  EXPECT_EQ(again().Getattr(file).As<AttrOut>().attr.nlink, 0u);
  EXPECT_FALSE(world_.tree.Exists("top"));
}

TEST_F(SessionStateTest, AReplacedFileIsStaleUntilItIsLookedUp) {
  const NodeId file = client().Walk("top");
  const HandleId fh = client().Open(file, O_RDONLY);
  ASSERT_EQ(Lock(client(), file, fh, 1, F_RDLCK, 0, 9).error, 0);
  Save();
  world_.End();
  world_.tree.Write("new", "another of them");
  world_.tree.Rename("new", "top");
  ASSERT_TRUE(RestoreBeside().ok());
  ASSERT_THAT(findings_, SizeIs(1));
  EXPECT_EQ(findings_[0].verdict, fs::Verdict::kReplaced);
  EXPECT_EQ(again().Getattr(file).error, ESTALE);
  EXPECT_EQ(again().Read(file, fh, 0, 1).error, ESTALE);
  EXPECT_FALSE(IsLockedForOthers("top", 0, 1)) << "the lock was another file's";
  const NodeId fresh = again().Lookup(NodeId::kRoot, "top").nodeid;
  EXPECT_NE(fresh, file);
  EXPECT_EQ(again().Read(fresh, again().Open(fresh, O_RDONLY), 0, 7).body, "another");
  EXPECT_EQ(again().Release(file, fh).error, 0);
}

TEST_F(SessionStateTest, LocksAreHeldOn) {
  const NodeId file = client().Walk("top");
  const NodeId other = client().Walk("dir/file");
  const HandleId fh = client().Open(file, O_RDWR);
  const HandleId whole = client().Open(other, O_RDWR);
  ASSERT_EQ(Lock(client(), file, fh, 77, F_WRLCK, 0, 9).error, 0);
  ASSERT_EQ(Lock(client(), file, fh, 77, F_UNLCK, 4, 5).error, 0);
  ASSERT_EQ(Lock(client(), file, fh, 78, F_RDLCK, 100, kLockToEnd).error, 0);
  ASSERT_EQ(Lock(client(), other, whole, 77, F_WRLCK, 0, kLockToEnd, kLkFlock).error, 0);
  Save();
  ASSERT_THAT(state_.locks, SizeIs(3));
  ASSERT_TRUE(Restore().ok());
  EXPECT_TRUE(IsLockedForOthers("top", 0, 1));
  EXPECT_FALSE(IsLockedForOthers("top", 4, 2)) << "it was given up";
  EXPECT_TRUE(IsLockedForOthers("top", 9, 1));
  EXPECT_TRUE(IsLockedForOthers("top", 1000, 1));
  EXPECT_TRUE(IsFlocked("dir/file"));
  // Its own are not in its owner's way; other owners' are.
  EXPECT_EQ(Lock(again(), file, fh, 77, F_WRLCK, 0, 20).error, 0);
  EXPECT_EQ(Lock(again(), file, fh, 77, F_WRLCK, 100, 100).error, EAGAIN);
  const FlushIn flush = {.fh = fh, .unused = 0, .padding = 0, .lock_owner = 77};
  EXPECT_EQ(again().Call(Opcode::kFlush, file, Bytes(flush)).error, 0);
  EXPECT_FALSE(IsLockedForOthers("top", 0, 20));
  EXPECT_EQ(again().Release(other, whole).error, 0);
  EXPECT_FALSE(IsFlocked("dir/file"));
}

TEST_F(SessionStateTest, LocksThatSomebodyElseHasTakenAreNamed) {
  const NodeId file = client().Walk("top");
  const NodeId other = client().Walk("dir/file");
  const HandleId fh = client().Open(file, O_RDWR);
  const HandleId whole = client().Open(other, O_RDWR);
  ASSERT_EQ(Lock(client(), file, fh, 77, F_WRLCK, 5, 9).error, 0);
  ASSERT_EQ(Lock(client(), other, whole, 77, F_WRLCK, 0, kLockToEnd, kLkFlock).error, 0);
  Save();
  const absl::Status refused = RestoreBeside();  // the first one has them still
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("/top: bytes 5 to 9"));
  EXPECT_THAT(refused.message(), HasSubstr("/dir/file: flock"));
  EXPECT_EQ(session_->connection(), nullptr);

  world_.session->LetGoOfLocks();
  ASSERT_TRUE(RestoreBeside().ok());
  const absl::Status lost = world_.session->TakeLocksAgain();
  EXPECT_THAT(lost.message(), HasSubstr("/top: bytes 5 to 9"));
  EXPECT_THAT(lost.message(), HasSubstr("/dir/file: flock"));
}

TEST_F(SessionStateTest, LocksThatNobodyHasTakenAreTakenAgain) {
  const NodeId file = client().Walk("top");
  const HandleId fh = client().Open(file, O_RDWR);
  ASSERT_EQ(Lock(client(), file, fh, 77, F_WRLCK, 5, 9).error, 0);
  ASSERT_EQ(Lock(client(), file, fh, 77, F_WRLCK, 0, kLockToEnd, kLkFlock).error, 0);
  world_.session->LetGoOfLocks();
  EXPECT_FALSE(IsLockedForOthers("top", 5, 5));
  EXPECT_FALSE(IsFlocked("top"));
  EXPECT_TRUE(world_.session->TakeLocksAgain().ok());
  EXPECT_TRUE(IsLockedForOthers("top", 5, 5));
  EXPECT_TRUE(IsFlocked("top"));
  EXPECT_TRUE(world_.session->TakeLocksAgain().ok()) << "once is enough";
}

TEST_F(SessionStateTest, WhatAClientReliesOnHasToBeOn) {
  world_.Restart({.writeback = true, .posix_acl = true, .posix_locks = true});
  Save();
  const absl::Status refused = Restore({.readdirplus = false});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.message(), HasSubstr("--writeback, --posix-acl, locks of byte ranges"));
  EXPECT_EQ(RestoreBeside({.readonly = true, .writeback = true, .posix_acl = true}).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(RestoreBeside({.writeback = true, .posix_acl = true, .posix_locks = true}).ok());
}

TEST_F(SessionStateTest, AStateThatLiesIsRefused) {
  const NodeId file = client().Walk("top");
  const HandleId fh = client().Open(file, O_RDWR);
  ASSERT_EQ(Lock(client(), file, fh, 77, F_WRLCK, 5, 9).error, 0);
  Save();
  world_.End();
  const SessionState honest = state_;
  const auto refused = [&](auto lie) {
    state_ = honest;
    lie(state_);
    const absl::Status status = RestoreBeside();
    EXPECT_EQ(session_->connection(), nullptr);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  };
  refused([](SessionState& s) { s.minor = 1; });
  refused([](SessionState& s) { s.nodes[0].row = 1000; });
  refused([](SessionState& s) { s.nodes[0].lookups = 0; });
  refused([](SessionState& s) { s.nodes[0].id = 1; });
  refused([](SessionState& s) { s.nodes.push_back(s.nodes[0]); });
  refused([](SessionState& s) { s.next_node_sequence = 1; });
  refused([](SessionState& s) { s.files[0].row = 1000; });
  refused([](SessionState& s) { s.files[0].id = 0; });
  refused([](SessionState& s) {
    s.files.push_back(s.files[0]);
    s.files[1].id += 16;
  });
  refused([](SessionState& s) { s.next_file_sequence = 1; });
  refused([](SessionState& s) { s.locks[0].row = 1000; });
  refused([](SessionState& s) { s.locks[0].end = 1; });
  refused([](SessionState& s) { s.locks[0].end = uint64_t{1} << 63; });
  state_ = honest;
  EXPECT_TRUE(RestoreBeside().ok());
}

// A request that waits for a lock keeps no save waiting, and is not answered by it.
TEST_F(SessionStateTest, AWaitingLockIsLeftToTheTransport) {
  const NodeId file = client().Walk("top");
  const HandleId fh = client().Open(file, O_RDWR);
  ASSERT_EQ(Lock(client(), file, fh, 1, F_WRLCK, 0, 9).error, 0);
  const LkIn in = {.fh = fh,
                   .owner = 2,
                   .lk = {.start = 0, .end = 9, .type = F_WRLCK, .pid = 1},
                   .lk_flags = 0,
                   .padding = 0};
  FuseRequest waiting(client().Message(Opcode::kSetlkw, file, Bytes(in)), 4096);
  ASSERT_EQ(world_.session->Serve(waiting, Serving::kWorker, client().scratch()).kind,
            Outcome::Kind::kDeferred);
  Save();
  EXPECT_THAT(state_.locks, SizeIs(1));
  EXPECT_FALSE(waiting.completed());
  world_.session->DropDeferred();
  EXPECT_EQ(waiting.Wait(), 0u) << "without a reply";
}

// With the gate closed no lock is taken for one that waits, though it is free.
TEST_F(SessionStateTest, NoWaitingLockIsTakenDuringASave) {
  const NodeId file = client().Walk("top");
  const HandleId fh = client().Open(file, O_RDWR);
  UniqueFd holder(open(world_.tree.At("top").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(holder.get(), LOCK_EX), 0);
  const LkIn in = {.fh = fh,
                   .owner = 2,
                   .lk = {.start = 0, .end = kLockToEnd, .type = F_WRLCK, .pid = 1},
                   .lk_flags = kLkFlock,
                   .padding = 0};
  FuseRequest waiting(client().Message(Opcode::kSetlkw, file, Bytes(in)), 4096);
  ASSERT_EQ(world_.session->Serve(waiting, Serving::kWorker, client().scratch()).kind,
            Outcome::Kind::kDeferred);
  ASSERT_TRUE(world_.filesystem->gate().Close(absl::InfiniteFuture()));
  holder.Reset();
  absl::SleepFor(absl::Milliseconds(120));  // longer than the waiter ever pauses
  EXPECT_FALSE(IsFlocked("top"));
  EXPECT_FALSE(waiting.completed());
  world_.filesystem->gate().Open();
  EXPECT_EQ(waiting.Wait(), sizeof(OutHeader));
  EXPECT_TRUE(IsFlocked("top"));
}

}  // namespace
}  // namespace gofer::fuse
