#include "gofer/sys/fault.h"

#include <cerrno>
#include <string>
#include <vector>

#include "gofer/sys/call.h"
#include "gtest/gtest.h"

#ifndef GOFER_FAULT_INJECTION
#error "this test is about what the seam does in a build that has it"
#endif

namespace gofer::sys {
namespace {

class FaultTest : public ::testing::Test {
 protected:
  ~FaultTest() override { SetFaultHook({}); }

  // A call that succeeds with 7 and counts how often it was made.
  int Made() {
    return internal::Call("made", [this] {
      ++calls_;
      return 7;
    });
  }

  int calls_ = 0;
};

TEST_F(FaultTest, WithoutAHookCallsAreMade) {
  EXPECT_EQ(Made(), 7);
  EXPECT_EQ(calls_, 1);
}

TEST_F(FaultTest, TheOneThatIsToFailIsNotMade) {
  std::vector<std::string> names;
  SetFaultHook([&](const char* name) {
    names.emplace_back(name);
    return names.size() == 2 ? ENOSPC : 0;
  });
  EXPECT_EQ(Made(), 7);
  EXPECT_EQ(Made(), -1);
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(Made(), 7);
  EXPECT_EQ(calls_, 2);
  EXPECT_EQ(names, (std::vector<std::string>{"made", "made", "made"}));
}

TEST_F(FaultTest, AnInterruptedCallIsMadeAgain) {
  int storm = 100;
  SetFaultHook([&](const char*) { return storm-- > 0 ? EINTR : 0; });
  EXPECT_EQ(Made(), 7);
  EXPECT_EQ(calls_, 1);
}

}  // namespace
}  // namespace gofer::sys
