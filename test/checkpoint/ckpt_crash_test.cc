// The gofer, or the command that saves it, is killed at every system call of a save, and at random
// there is the old image or the new one, whole; a gofer that lives
// serves on; what is left behind is one file at most, and only when the command was killed, which
// nobody can help: the next save removes it. And the order of the calls by which the same holds
// when the machine stops.
//
// More kills at random times: --test_env=CRASH_ROUNDS=1000.

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/checkpoint/saved_gofer.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/system_call_tracer.h"

namespace gofer::testing {
namespace {

using Which = SavedGofer::Which;
using ::testing::AnyOf;
using ::testing::IsEmpty;

// Calls from the one by which the command reaches the gofer; before, there is no save.
class SinceConnect {
 public:
  // How many there have been with this one; 0 before.
  int Count(const SystemCall& call) {
    if (count_ > 0 || call.Is("connect")) ++count_;
    return count_;
  }

 private:
  int count_ = 0;
};

class CkptCrashTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    if (!SystemCallTracer::IsSupported()) GTEST_SKIP() << "cannot trace on this machine";
  }

  // After a death. `command_died`: of the two it was the command.
  void ExpectWhole(bool command_died) {
    EXPECT_THAT(world_.WhichImage(), AnyOf(Which::kOld, Which::kNew));
    if (!command_died) {
      EXPECT_THAT(world_.Strays(), IsEmpty());
      return;
    }
    EXPECT_LE(world_.Strays().size(), 1u);
    ASSERT_TRUE(world_.Running());
    EXPECT_TRUE(world_.Serves());
    // The gofer finds out that nobody waits for the image, which may take it a moment.
    EXPECT_TRUE(Eventually([&] { return world_.SavesNow(); }));
  }

  // A gofer that had been told that the image is in its place ends by that; one that had not can be
  // saved again.
  bool HasEndedAsTold() {
    bool ended = false;
    EXPECT_TRUE(Eventually([&] {
      ended = world_.gofer().Wait(absl::ZeroDuration()) == 0;
      return ended || world_.SavesNow();
    }));
    return ended;
  }

  SavedGofer world_;
};

TEST_F(CkptCrashTest, TheOrderOfCallsIsOneThatSurvivesAPowerCut) {
  world_.Begin();
  SystemCallTracer save(world_.Save(), [](const SystemCall&) { return Choice::Let(); });
  ASSERT_EQ(save.Wait(), 0) << save.CommandOutput();
  const std::vector<SystemCall>& calls = save.Stop();
  EXPECT_EQ(world_.WhichImage(), Which::kNew);

  const auto next = [&](auto from, auto&& predicate) {
    return std::find_if(from, calls.end(), predicate);
  };
  const auto is = [](const char* name) {
    return [name](const SystemCall& call) { return call.Is(name); };
  };
  const auto connected = next(calls.begin(), is("connect"));
  ASSERT_NE(connected, calls.end());
  const pid_t command = connected->process;
  const auto created = next(connected, [&](const SystemCall& call) {
    return call.process == command && (call.Is("openat") || call.Is("openat2")) &&
           (call.args[2] & O_EXCL) != 0;
  });
  ASSERT_NE(created, calls.end()) << "the image is not made under a name of its own";
  const auto renamed = next(calls.begin(), [](const SystemCall& call) {
    return call.Is("renameat2") || call.Is("renameat") || call.Is("rename");
  });
  ASSERT_NE(renamed, calls.end());
  // Before it gets its name the gofer has written it, and writes no more when it has synced it.
  // Other syncs are of what clients have written.
  const auto is_sync = [&](const SystemCall& call) {
    return call.process != command && call.Is("fsync") && call.result == 0;
  };
  const auto synced = std::find_if(std::make_reverse_iterator(renamed), calls.rend(), is_sync);
  ASSERT_NE(synced, calls.rend());
  const auto is_write = [&](const SystemCall& call) {
    return call.process == synced->process && call.args[0] == synced->args[0] &&
           (call.Is("write") || call.Is("writev") || call.Is("pwrite64"));
  };
  EXPECT_GE(std::count_if(created, synced.base(), is_write), 1);
  EXPECT_EQ(next(synced.base(), is_write), calls.end());
  EXPECT_EQ(renamed->process, command);
  const auto directory_synced = next(renamed, is("fsync"));
  ASSERT_NE(directory_synced, calls.end());
  EXPECT_EQ(directory_synced->process, command);
  EXPECT_EQ(directory_synced->args[0], renamed->args[2]) << "another directory was synced";
}

// Whether the gofer is to serve on, or to end when it has been saved.
class CkptCrashAtEveryCallTest : public CkptCrashTest,
                                 public ::testing::WithParamInterface<bool> {};

TEST_P(CkptCrashAtEveryCallTest, IsWhole) {
  const bool leave_running = GetParam();
  int killed_commands = 0;
  int killed_gofers = 0;
  int new_images = 0;
  int at = 1;
  for (;; ++at) {
    world_.Begin();
    SystemCallTracer save(world_.Save(leave_running),
                          [at, since = SinceConnect()](const SystemCall& call) mutable {
                            return since.Count(call) == at ? Choice::Kill() : Choice::Let();
                          });
    const int status = save.Wait();
    // The gofer may be about to end: what it does to that end is part of the save.
    if (!leave_running && status == 0) world_.gofer().Wait();
    const std::vector<SystemCall>& calls = save.Stop();
    const auto last = std::find_if(calls.begin(), calls.end(),
                                   [](const SystemCall& call) { return call.changed; });
    if (last == calls.end()) {
      EXPECT_EQ(status, 0) << save.CommandOutput();
      break;
    }
    const bool command_died = status == -SIGKILL;
    SCOPED_TRACE(absl::StrCat("killed ", command_died ? "the command" : "the gofer", " at call ",
                              at, ", ", last->Name()));
    ++(command_died ? killed_commands : killed_gofers);
    const Which image = world_.WhichImage();
    if (image == Which::kNew) ++new_images;
    if (!command_died) world_.gofer().Wait();
    if (command_died && !leave_running && image == Which::kNew && HasEndedAsTold()) continue;
    ExpectWhole(command_died);
    if (HasFailure()) return;
  }
  std::cout << "killed at each of " << at - 1 << " calls: " << killed_commands << " commands, "
            << killed_gofers << " gofers; the new image was in place " << new_images
            << " times, the old one else\n";
  EXPECT_GT(killed_commands, 10);
  EXPECT_GT(killed_gofers, 20);
  EXPECT_GT(new_images, 0);
}

INSTANTIATE_TEST_SUITE_P(Each, CkptCrashAtEveryCallTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "ThatServesOn" : "ThatEnds"; });

TEST_F(CkptCrashTest, KilledAtRandomTimes) {
  int rounds = 40;
  if (const char* const text = getenv("CRASH_ROUNDS")) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &rounds));
  }
  std::mt19937 random(1);
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    world_.Begin();
    GoferProcess save({.arguments = world_.SaveArguments()});
    absl::SleepFor(absl::Microseconds(random() % 25'000));
    const bool command_dies = random() % 2 == 0;
    (command_dies ? save : world_.gofer()).Signal(SIGKILL);
    save.Wait();
    if (!command_dies) world_.gofer().Wait();
    ExpectWhole(command_dies);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace gofer::testing
