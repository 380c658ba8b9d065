// GETLK, SETLK, SETLKW, INTERRUPT, and the ends of locks: FLUSH, RELEASE, cancelling, a new INIT.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/session/session.h"
#include "gofer/base/unique_fd.h"
#include "gofer/stats/request_stats.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseRequest;
using ::gofer::testing::FuseWorld;

constexpr uint64_t kAnna = 0x1111;
constexpr uint64_t kBert = 0x2222;

class OpsLockTest : public ::testing::Test {
 protected:
  OpsLockTest() {
    world_.tree.Write("f", "text");
    world_.Restart({.posix_locks = true, .flock_locks = true});
    node_ = client().Walk("f");
    fh_ = client().Open(node_, O_RDWR);
  }
  FuseClient& client() { return *world_.client; }
  LkIn Lock(uint64_t owner, uint32_t type, uint64_t start = 0, uint64_t end = kLockToEnd) {
    return {.fh = fh_,
            .owner = owner,
            .lk = {.start = start, .end = end, .type = type, .pid = 1},
            .lk_flags = 0,
            .padding = 0};
  }
  static LkIn Whole(HandleId fh, uint32_t type) {
    return {.fh = fh,
            .owner = 1,
            .lk = {.start = 0, .end = kLockToEnd, .type = type, .pid = 1},
            .lk_flags = kLkFlock,
            .padding = 0};
  }
  int Set(const LkIn& in) { return client().Call(Opcode::kSetlk, node_, Bytes(in)).error; }
  FileLock Get(const LkIn& in) {
    return client().Call(Opcode::kGetlk, node_, Bytes(in)).As<LkOut>().lk;
  }
  void Flush(uint64_t owner) {
    FlushIn in = {};
    in.fh = fh_;
    in.lock_owner = owner;
    EXPECT_EQ(client().Call(Opcode::kFlush, node_, Bytes(in)).error, 0);
  }

  // A SETLKW that is under way.
  struct Waiting {
    std::unique_ptr<FuseRequest> request;
    uint64_t unique;
  };
  Waiting StartWaiting(const LkIn& in) {
    Waiting waiting = {.request = std::make_unique<FuseRequest>(
                           client().Message(Opcode::kSetlkw, node_, Bytes(in)), 64),
                       .unique = client().last_unique()};
    const Outcome outcome =
        world_.session->Serve(*waiting.request, Serving::kInline, client().scratch());
    EXPECT_EQ(outcome.kind, Outcome::Kind::kDeferred);
    return waiting;
  }
  static int ErrorOf(Waiting& waiting) {
    const size_t written = waiting.request->Wait();
    EXPECT_EQ(written, sizeof(OutHeader));
    OutHeader header;
    memcpy(&header, waiting.request->reply(written).data(), sizeof(header));
    EXPECT_EQ(header.unique, waiting.unique);
    EXPECT_TRUE(waiting.request->GuardIntact());
    return -header.error;
  }
  static void ExpectStillWaiting(const Waiting& waiting) {
    absl::SleepFor(absl::Milliseconds(20));
    EXPECT_FALSE(waiting.request->completed());
  }

  FuseWorld world_;
  NodeId node_ = NodeId::kNone;
  HandleId fh_ = HandleId::kNone;
};

TEST_F(OpsLockTest, OffTheyAreTheClientsOwn) {
  world_.Restart({});
  node_ = client().Walk("f");
  fh_ = client().Open(node_, O_RDWR);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), ENOSYS);
  EXPECT_EQ(Set(Whole(fh_, F_WRLCK)), ENOSYS);
  EXPECT_EQ(client().Call(Opcode::kGetlk, node_, Bytes(Lock(kAnna, F_WRLCK))).error, ENOSYS);
  EXPECT_EQ(client().Call(Opcode::kSetlkw, node_, Bytes(Lock(kAnna, F_WRLCK))).error, ENOSYS);
}

TEST_F(OpsLockTest, TwoOwnersOfOneFile) {
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK, 10, 19)), 0);
  EXPECT_EQ(Set(Lock(kBert, F_WRLCK, 15, 30)), EAGAIN);
  EXPECT_EQ(Set(Lock(kBert, F_WRLCK, 20, 30)), 0);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK, 10, 19)), 0) << "her own";
  const FileLock found = Get(Lock(kBert, F_RDLCK, 0, 100));
  EXPECT_EQ(found.type, uint32_t{F_WRLCK});
  EXPECT_EQ(found.start, 10u);
  EXPECT_EQ(found.end, 19u);
  EXPECT_EQ(found.pid, 0u);
  EXPECT_EQ(Get(Lock(kAnna, F_WRLCK, 0, 19)).type, uint32_t{F_UNLCK});
  EXPECT_EQ(Set(Lock(kAnna, F_UNLCK, 10, 14)), 0);
  EXPECT_EQ(Set(Lock(kBert, F_WRLCK, 10, 14)), 0);
  EXPECT_EQ(Set(Lock(kBert, F_WRLCK, 15, 15)), EAGAIN);
  EXPECT_EQ(Set(Lock(kAnna, F_RDLCK, 15, 19)), 0);
  EXPECT_EQ(Set(Lock(kBert, F_RDLCK, 15, 19)), 0) << "readers share";
}

TEST_F(OpsLockTest, TheHostAndTheClientSeeEachOthers) {
  const UniqueFd host(open(world_.tree.At("f").c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_len = 5;
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK, 0, 4)), 0);
  EXPECT_EQ(fcntl(host.get(), F_OFD_SETLK, &lock), -1);
  EXPECT_EQ(Set(Lock(kAnna, F_UNLCK)), 0);
  EXPECT_EQ(fcntl(host.get(), F_OFD_SETLK, &lock), 0);
  EXPECT_EQ(Set(Lock(kAnna, F_RDLCK, 4, 4)), EAGAIN);
  EXPECT_EQ(Set(Lock(kAnna, F_RDLCK, 5, 5)), 0);
}

// It counts when it is answered, with all the time that it has waited, and once.
TEST_F(OpsLockTest, OneThatWaitsIsCountedWhenItIsAnswered) {
  const auto counted = [&]() -> std::optional<stats::Operation> {
    for (const stats::Operation& operation : world_.session->requests().Read()) {
      if (operation.name == "SETLKW") return operation;
    }
    return std::nullopt;
  };
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
  Waiting granted = StartWaiting(Lock(kBert, F_WRLCK));
  Waiting cancelled = StartWaiting(Lock(kBert, F_RDLCK));
  ExpectStillWaiting(granted);
  EXPECT_FALSE(counted().has_value());
  client().Call(Opcode::kInterrupt, NodeId::kNone, Bytes(InterruptIn{cancelled.unique}));
  EXPECT_EQ(ErrorOf(cancelled), EINTR);
  EXPECT_EQ(Set(Lock(kAnna, F_UNLCK)), 0);
  EXPECT_EQ(ErrorOf(granted), 0);
  const std::optional<stats::Operation> operation = counted();
  ASSERT_TRUE(operation.has_value());
  EXPECT_EQ(operation->requests, 2u);
  ASSERT_EQ(operation->errors.size(), 1u);
  EXPECT_EQ(operation->errors[0].error, EINTR);
  EXPECT_EQ(operation->errors[0].count, 1u);
  EXPECT_GE(operation->total_ns, 2 * 19'000'000u);
}

TEST_F(OpsLockTest, ClosingEndsAnOwnersLocks) {
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
  Flush(kBert);
  EXPECT_EQ(Set(Lock(kBert, F_WRLCK)), EAGAIN);
  Flush(kAnna);
  EXPECT_EQ(Set(Lock(kBert, F_WRLCK)), 0);
  ReleaseIn release = {};
  release.fh = fh_;
  release.release_flags = kReleaseFlush;
  release.lock_owner = kBert;
  EXPECT_EQ(client().Call(Opcode::kRelease, node_, Bytes(release)).error, 0);
  fh_ = client().Open(node_, O_RDWR);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
}

TEST_F(OpsLockTest, LocksThatAreNone) {
  for (const uint32_t type : {3u, 4u, UINT32_MAX}) EXPECT_EQ(Set(Lock(kAnna, type)), EINVAL);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK, 5, 4)), EINVAL);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK, 0, UINT64_MAX)), EINVAL);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK, UINT64_MAX, UINT64_MAX)), EINVAL);
  LkIn forged = Lock(kAnna, F_WRLCK);
  forged.fh = HandleId{5};
  EXPECT_EQ(Set(forged), EBADF);
  fh_ = client().Open(node_, O_RDONLY);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), EBADF);
  EXPECT_EQ(Set(Lock(kAnna, F_RDLCK)), 0);
}

TEST_F(OpsLockTest, WaitingEndsWithTheLock) {
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
  Waiting bert = StartWaiting(Lock(kBert, F_WRLCK));
  ExpectStillWaiting(bert);
  EXPECT_EQ(Set(Lock(kAnna, F_UNLCK)), 0);
  EXPECT_EQ(ErrorOf(bert), 0);
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), EAGAIN) << "it is his";
}

TEST_F(OpsLockTest, WaitingForTheHost) {
  const UniqueFd host(open(world_.tree.At("f").c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(host.get(), F_OFD_SETLK, &lock), 0);
  Waiting anna = StartWaiting(Lock(kAnna, F_RDLCK));
  ExpectStillWaiting(anna);
  lock.l_type = F_UNLCK;
  ASSERT_EQ(fcntl(host.get(), F_OFD_SETLK, &lock), 0);
  EXPECT_EQ(ErrorOf(anna), 0);
}

TEST_F(OpsLockTest, WaitingCanBeInterrupted) {
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
  Waiting one = StartWaiting(Lock(kBert, F_WRLCK, 0, 4));
  Waiting other = StartWaiting(Lock(kBert, F_WRLCK, 5, 9));
  const auto interrupt = [&](uint64_t unique) {
    const FuseReply reply =
        client().Call(Opcode::kInterrupt, NodeId::kNone, Bytes(InterruptIn{unique}));
    EXPECT_EQ(reply.written, 0u);
  };
  interrupt(12345678);
  ExpectStillWaiting(one);
  interrupt(one.unique);
  EXPECT_EQ(ErrorOf(one), EINTR);
  ExpectStillWaiting(other);
  Flush(kBert);
  EXPECT_EQ(ErrorOf(other), EINTR) << "its owner has closed the file";
}

TEST_F(OpsLockTest, WaitingEndsWithTheConnection) {
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
  Waiting cancelled = StartWaiting(Lock(kBert, F_WRLCK));
  world_.session->CancelDeferred();
  EXPECT_TRUE(cancelled.request->completed()) << "when it returns they have ended";
  EXPECT_EQ(ErrorOf(cancelled), EINTR);
  Waiting reset = StartWaiting(Lock(kBert, F_WRLCK));
  world_.session->Reset();
  EXPECT_EQ(ErrorOf(reset), EINTR);
  // And the locks with it.
  const UniqueFd host(open(world_.tree.At("f").c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  EXPECT_EQ(fcntl(host.get(), F_OFD_SETLK, &lock), 0);
}

TEST_F(OpsLockTest, HowManyMayWaitIsBounded) {
  EXPECT_EQ(Set(Lock(kAnna, F_WRLCK)), 0);
  std::vector<Waiting> all;
  for (size_t i = 0; i < LockWaiter::kMaxWaiting; ++i) {
    all.push_back(StartWaiting(Lock(kBert, F_WRLCK)));
  }
  // The one that is being tried does not count, so one or two more may get in.
  int refused = 0;
  for (int i = 0; i < 10 && refused == 0; ++i) {
    auto request = std::make_unique<FuseRequest>(
        client().Message(Opcode::kSetlkw, node_, Bytes(Lock(kBert, F_WRLCK))), 64);
    const uint64_t unique = client().last_unique();
    const Outcome outcome = world_.session->Serve(*request, Serving::kInline, client().scratch());
    if (outcome.kind == Outcome::Kind::kDeferred) {
      all.push_back({.request = std::move(request), .unique = unique});
      continue;
    }
    OutHeader header;
    memcpy(&header, request->reply(outcome.written).data(), sizeof(header));
    refused = -header.error;
  }
  EXPECT_EQ(refused, ENOLCK);
  world_.session->CancelDeferred();
  for (Waiting& waiting : all) EXPECT_EQ(ErrorOf(waiting), EINTR);
}

TEST_F(OpsLockTest, FlockIsOfTheOpenFile) {
  const HandleId other = client().Open(node_, O_RDONLY);
  EXPECT_EQ(Set(Whole(fh_, F_WRLCK)), 0);
  EXPECT_EQ(Set(Whole(other, F_RDLCK)), EAGAIN);
  EXPECT_EQ(Set(Whole(fh_, F_RDLCK)), 0);
  EXPECT_EQ(Set(Whole(other, F_RDLCK)), 0);
  EXPECT_EQ(Set(Whole(fh_, F_UNLCK)), 0);
  EXPECT_EQ(Set(Whole(other, F_WRLCK)), 0) << "also of a file that was opened for reading";
  Waiting waiting = StartWaiting(Whole(fh_, F_WRLCK));
  ExpectStillWaiting(waiting);
  EXPECT_EQ(client().Release(node_, other).error, 0);
  EXPECT_EQ(ErrorOf(waiting), 0);
  EXPECT_EQ(client().Call(Opcode::kGetlk, node_, Bytes(Whole(fh_, F_RDLCK))).error, EINVAL);
}

TEST_F(OpsLockTest, ClosingTheFileEndsWaitingForIt) {
  const HandleId other = client().Open(node_, O_RDWR);
  EXPECT_EQ(Set(Whole(fh_, F_WRLCK)), 0);
  Waiting waiting = StartWaiting(Whole(other, F_WRLCK));
  EXPECT_EQ(client().Release(node_, other).error, 0);
  EXPECT_EQ(ErrorOf(waiting), EINTR);
}

// Owners take and give one lock by turns, from many threads.
TEST_F(OpsLockTest, ManyOwnersByTurns) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  int inside = 0;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, &inside] {
      FuseClient owner(*world_.session);
      for (int i = 0; i < kRounds; ++i) {
        EXPECT_EQ(owner.Call(Opcode::kSetlkw, node_, Bytes(Lock(t + 1, F_WRLCK))).error, 0);
        EXPECT_EQ(__atomic_add_fetch(&inside, 1, __ATOMIC_RELAXED), 1);
        __atomic_sub_fetch(&inside, 1, __ATOMIC_RELAXED);
        EXPECT_EQ(owner.Call(Opcode::kSetlk, node_, Bytes(Lock(t + 1, F_UNLCK))).error, 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace gofer::fuse
