// Each system call of a save and of a restore fails once: the old image is intact or
// the new one is whole, the gofer serves on, and who asked is told why; what is restored is right
// or is not served at all. And disks that are really full.
//
// The calls fail in the shipped programs, by SystemCallTracer: a build with the fault seam would be
// another program, which CI would have to build and which nobody runs. In CI each call gets two of
// the errnos, another two in the next place; all of them: --test_env=FAULT_ALL=1.

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/checkpoint/saved_gofer.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/host_calls.h"
#include "test/support/memory_disk.h"
#include "test/support/system_call_tracer.h"

namespace gofer::testing {
namespace {

using Which = SavedGofer::Which;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kErrors[] = {EIO, ENOSPC, EINTR, EMFILE, ENOMEM, EACCES};

std::vector<int> ErrorsAt(int call) {
  if (getenv("FAULT_ALL") != nullptr) return {std::begin(kErrors), std::end(kErrors)};
  constexpr int kCount = static_cast<int>(std::size(kErrors));
  return {kErrors[(2 * call) % kCount], kErrors[(2 * call + 1) % kCount]};
}

class CkptFaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    if (!SystemCallTracer::IsSupported()) GTEST_SKIP() << "cannot trace on this machine";
  }

  SavedGofer world_;
};

// One save in which the host call number `at`, of those after `connect`, fails. The call that did,
// if there were so many.
std::optional<SystemCall> SaveWithFault(SavedGofer& world, int at, int error, int& status,
                                        std::string& said) {
  world.Begin();
  SystemCallTracer save(world.Save(),
                        [at, error, count = 0, connected = false](const SystemCall& call) mutable {
                          if (!connected) {
                            connected = call.Is("connect");
                            return Choice::Let();
                          }
                          if (!IsHostCall(call)) return Choice::Let();
                          return ++count == at ? Choice::Fail(error) : Choice::Let();
                        });
  status = save.Wait();
  said = save.CommandOutput();
  for (const SystemCall& call : save.Stop()) {
    if (call.changed) return call;
  }
  return std::nullopt;
}

TEST_F(CkptFaultTest, EachCallOfASaveFails) {
  std::map<std::string, int> failed;
  int succeeded = 0, refused = 0;
  for (int at = 1;; ++at) {
    bool reached = false;
    for (const int error : ErrorsAt(at)) {
      int status = 0;
      std::string said;
      const std::optional<SystemCall> call = SaveWithFault(world_, at, error, status, said);
      if (!call.has_value()) continue;
      reached = true;
      SCOPED_TRACE(absl::StrCat("call ", at, ", ", call->Name(), " fails with ",
                                strerrorname_np(error), "; the command ended with ", status,
                                " and said: ", said));
      ++failed[call->Name()];
      ++(status == 0 ? succeeded : refused);
      const Which image = world_.WhichImage();
      if (status == 0) {
        EXPECT_EQ(image, Which::kNew);
        // Whoever goes on all the same says that what may be lost is safe.
        EXPECT_TRUE(!call->Is("fsync") || error == EINTR);
      } else {
        EXPECT_THAT(status, AnyOf(1, 3));
        EXPECT_THAT(image, AnyOf(Which::kOld, Which::kNew));
        EXPECT_GT(said.size(), 20u) << "gives no reason";
      }
      if (!call->Is("unlinkat")) {
        EXPECT_THAT(world_.Strays(), IsEmpty());
      }
      EXPECT_TRUE(world_.Serves()) << world_.gofer().Stderr();
      if (HasFailure()) return;
    }
    if (!reached) break;
  }
  std::cout << "saves that succeeded all the same: " << succeeded << ", refused: " << refused
            << "; calls that failed:";
  for (const auto& [name, times] : failed) std::cout << " " << name << " " << times;
  std::cout << "\n";
  EXPECT_GT(refused, 20);
  for (const char* const name : {"fsync", "write", "openat", "renameat"}) {
    EXPECT_GT(failed[name], 0) << name;
  }
  EXPECT_TRUE(world_.SavesNow());
}

// The restored gofer, and the client that goes on with it.
TEST_F(CkptFaultTest, EachCallOfARestoreFails) {
  world_.Begin();
  std::map<std::string, int> failed;
  int served = 0, refused = 0;
  for (int at = 1;; ++at) {
    bool reached = false;
    for (const int error : ErrorsAt(at)) {
      SocketPair pair = StreamPair();
      Pipe ready = MakePipe();
      std::vector<std::string> command = world_.RestoreArguments();
      command.insert(command.begin(), GoferBinary());
      // From the first call after the image was opened to the byte that says that it is ready.
      SystemCallTracer restore(
          {.command = command, .fds = {{7, pair.theirs.get()}, {9, ready.write.get()}}},
          [at, error, count = 0, is_open = false, done = false](const SystemCall& call) mutable {
            if (call.Is("write") && call.args[0] == 9) done = true;
            if (!is_open)
              is_open = call.Is("openat") && (call.args[2] & O_NOFOLLOW) != 0 &&
                        (call.args[2] & O_NONBLOCK) != 0;
            if (!is_open || done || !IsHostCall(call)) return Choice::Let();
            return ++count == at ? Choice::Fail(error) : Choice::Let();
          });
      ready.write.Reset();
      pair.theirs.Reset();
      const bool is_ready = ReadPipe(ready.read) == "\n";
      std::string trace = absl::StrCat("call ", at, " fails with ", strerrorname_np(error));
      bool right = false;
      if (is_ready) {
        lisafs::Client client(std::move(pair.ours));
        right = world_.Serves(client);
      }
      pair.ours.Reset();
      const int status = restore.Wait();
      const std::string said = restore.CommandOutput();
      const std::vector<SystemCall>& calls = restore.Stop();
      const auto call = std::find_if(calls.begin(), calls.end(),
                                     [](const SystemCall& seen) { return seen.changed; });
      if (call == calls.end()) {
        EXPECT_TRUE(is_ready && right) << said;
        continue;
      }
      reached = true;
      SCOPED_TRACE(
          absl::StrCat(trace, ", ", call->Name(), "; it ended with ", status, " and said: ", said));
      ++failed[call->Name()];
      if (is_ready) {
        EXPECT_TRUE(right) << "what is served is not what was saved";
        ++served;
      } else {
        EXPECT_THAT(status, AnyOf(1, 3));
        EXPECT_GT(said.size(), 20u) << "gives no reason";
        ++refused;
      }
      EXPECT_EQ(world_.WhichImage(), Which::kOld);
      if (HasFailure()) return;
    }
    if (!reached) break;
  }
  std::cout << "restores that serve all the same: " << served << ", refused: " << refused
            << "; calls that failed:";
  for (const auto& [name, times] : failed) std::cout << " " << name << " " << times;
  std::cout << "\n";
  EXPECT_GT(refused, 20);
  EXPECT_TRUE(world_.Serves());
}

// ---- disks that are full

TEST_F(CkptFaultTest, ADiskWithoutSpaceKeepsTheOldImage) {
  const MemoryDisk disk(world_.images(), "size=64k");
  world_.Begin();
  const UniqueFd filler(
      open(world_.images().At("filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::string block(4096, 'x');
  while (write(filler.get(), block.data(), block.size()) > 0) continue;
  ASSERT_EQ(errno, ENOSPC);
  GoferProcess save({.arguments = world_.SaveArguments()});
  EXPECT_EQ(save.Wait(), 1);
  EXPECT_THAT(save.Stderr(), HasSubstr("No space left on device"));
  EXPECT_EQ(world_.WhichImage(), Which::kOld);
  EXPECT_THAT(world_.Strays(), ::testing::ElementsAre("filler"));
  EXPECT_TRUE(world_.Serves());
  world_.images().Unlink("filler");
  ASSERT_EQ(ftruncate(filler.get(), 0), 0);
  EXPECT_TRUE(world_.SavesNow());
}

TEST_F(CkptFaultTest, ADiskWithoutInodesKeepsTheOldImage) {
  const MemoryDisk disk(world_.images(), "nr_inodes=3");
  world_.Begin();
  world_.images().Write("filler", "");
  GoferProcess save({.arguments = world_.SaveArguments()});
  EXPECT_EQ(save.Wait(), 1);
  EXPECT_THAT(save.Stderr(), HasSubstr("No space left on device"));
  EXPECT_EQ(world_.WhichImage(), Which::kOld);
  EXPECT_TRUE(world_.Serves());
  world_.images().Unlink("filler");
  EXPECT_TRUE(world_.SavesNow());
}

}  // namespace
}  // namespace gofer::testing
