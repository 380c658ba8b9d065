// Locks and leases that clients take and do not give back: those who want them too are refused or
// wait by themselves, no thread waits with them, and they end with their holder. Attack A-36.
//
// What a holder of a donated descriptor does with it is in donation_test too.
//
// Source: spec/security.md s.4 and s.10; spec/fuse.md s.9.

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "test/hostile/hostile.h"
#include "test/hostile/hostile_fuse.h"
#include "test/support/session.h"
#include "test/support/stopwatch.h"

namespace gofer::fuse {
namespace {

using testing::Bytes;
using testing::FuseClient;
using testing::FuseRequest;

class FileLocks : public HostileFuseTest {
 protected:
  static LkIn Lock(HandleId fh, uint64_t owner, uint32_t type, uint64_t start, uint64_t end) {
    return {.fh = fh,
            .owner = owner,
            .lk = {.start = start, .end = end, .type = type, .pid = 1},
            .lk_flags = 0,
            .padding = 0};
  }
};

TEST_F(FileLocks, ManyThatWaitForOneHoldUpNobody) {
  constexpr size_t kWaiting = 2000;
  const NodeId node = client().Walk("d/f");
  const HandleId fh = client().Open(node, O_RDWR);
  ASSERT_EQ(client().Call(Opcode::kSetlk, node, Bytes(Lock(fh, 1, F_WRLCK, 0, kLockToEnd))).error,
            0);
  std::vector<std::unique_ptr<FuseRequest>> waiting;
  const size_t threads = testing::CountThreads();
  for (size_t i = 0; i < kWaiting; ++i) {
    waiting.push_back(std::make_unique<FuseRequest>(
        client().Message(Opcode::kSetlkw, node, Bytes(Lock(fh, i + 2, F_WRLCK, i, i))), 64));
    const Outcome outcome =
        world_.session->Serve(*waiting.back(), Serving::kInline, client().scratch());
    if (outcome.kind != Outcome::Kind::kDeferred) {
      waiting.pop_back();  // refused: there is an end to them
      break;
    }
  }
  EXPECT_GT(waiting.size(), 0u);
  EXPECT_LE(testing::CountThreads(), threads + 1) << "they wait without threads";
  const testing::Stopwatch watch;
  EXPECT_EQ(client().Getattr(node).error, 0);
  EXPECT_EQ(client().Call(Opcode::kSetlk, node, Bytes(Lock(fh, 1, F_UNLCK, 0, 0))).error, 0);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  world_.session->CancelDeferred();
  for (const auto& request : waiting) request->Wait();
  client().Release(node, fh);
}

TEST_F(FileLocks, EndWithTheirHolder) {
  const NodeId node = client().Walk("d/f");
  const HandleId fh = client().Open(node, O_RDWR);
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(client().Call(Opcode::kSetlk, node, Bytes(Lock(fh, i, F_WRLCK, 2 * i, 2 * i))).error,
              0);
  }
  Session honest(world_.filesystem.get(), Permissive());
  FuseClient other(honest);
  ASSERT_EQ(other.Init().error, 0);
  const NodeId same = other.Walk("d/f");
  const HandleId handle = other.Open(same, O_RDWR);
  const auto try_all = [&] {
    return other.Call(Opcode::kSetlk, same, Bytes(Lock(handle, 1, F_WRLCK, 0, kLockToEnd))).error;
  };
  EXPECT_EQ(try_all(), EAGAIN);
  world_.Restart(Permissive());
  EXPECT_EQ(try_all(), 0);
}

TEST_F(FileLocks, RangesAndTypesThatAreNone) {
  const NodeId node = client().Walk("d/f");
  const HandleId fh = client().Open(node, O_RDWR);
  for (const Opcode opcode : {Opcode::kSetlk, Opcode::kGetlk}) {
    for (const uint32_t type : {3u, 4u, 0x7fffu, 0x10000u, UINT32_MAX}) {
      EXPECT_EQ(client().Call(opcode, node, Bytes(Lock(fh, 1, type, 0, 1))).error, EINVAL) << type;
    }
    EXPECT_EQ(client().Call(opcode, node, Bytes(Lock(fh, 1, F_WRLCK, 2, 1))).error, EINVAL);
    EXPECT_EQ(client()
                  .Call(opcode, node, Bytes(Lock(fh, 1, F_WRLCK, uint64_t{1} << 63, UINT64_MAX)))
                  .error,
              EINVAL);
    EXPECT_EQ(client().Call(opcode, node, Bytes(Lock(HandleId{99}, 1, F_WRLCK, 0, 1))).error,
              EBADF);
  }
  client().Release(node, fh);
}

}  // namespace
}  // namespace gofer::fuse

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class FileLeases : public HostileTest {};

// Somebody who opens the file for writing has the kernel ask for the lease back, for 45 s.
TEST_F(FileLeases, OfADonatedDescriptor) {
  Session session(server_, Via::kChannel);
  const Inode file = session.Create("f", "text");
  const OpenResult open = Must(session->OpenAt(file.control_fd, O_RDONLY));
  signal(SIGIO, SIG_IGN);  // how a holder is told that its lease breaks
  ASSERT_TRUE(open.host_fd.valid());
  if (fcntl(open.host_fd.get(), F_SETLEASE, F_RDLCK) != 0) {
    // The gofer's own descriptor for the same id is a second one, and no obstacle to a read lease.
    ASSERT_EQ(errno, EAGAIN);
  }
  ASSERT_EQ(flock(open.host_fd.get(), LOCK_EX), 0);
  Session honest(server_, Via::kChannel);
  const gofer::testing::Stopwatch watch;
  const Inode same = honest.Walk("f");
  const int error = ErrorOf(honest->OpenAt(same.control_fd, O_RDWR | O_TRUNC));
  EXPECT_TRUE(error == 0 || error == EAGAIN) << error;
  EXPECT_EQ(ErrorOf(honest->SetStat({.fd = same.control_fd,
                                     .mask = STATX_SIZE,
                                     .mode = 0,
                                     .uid = 0,
                                     .gid = 0,
                                     .size = 2,
                                     .atime = {},
                                     .mtime = {}})),
            0);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
}

}  // namespace
}  // namespace lisafs
