#include "gofer/sys/program.h"

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

Program Shell(const std::string& script) {
  return {.path = "/bin/sh",
          .arguments = {"sh", "-c", script},
          .environment = {"PATH=/bin", "NAME=value"}};
}

TEST(RunProgram, InputEnvironmentAndStatus) {
  const testing::TempTree tree;
  Program program = Shell("{ cat; echo $NAME; } > " + tree.At("out") + "; exit 7");
  program.input = std::string(200'000, 'i');  // more than a pipe holds
  const ErrnoOr<int> status = RunProgram(program);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(*status, 7);
  EXPECT_EQ(tree.Read("out"), program.input + "value\n");
}

TEST(RunProgram, WithoutArgumentsItsNameIsItsPath) {
  EXPECT_EQ(*RunProgram({.path = "/bin/true"}), 0);
}

TEST(RunProgram, ASignal) { EXPECT_EQ(*RunProgram(Shell("kill -9 $$")), 128 + 9); }

TEST(RunProgram, NoSuchProgram) {
  EXPECT_EQ(RunProgram({.path = "/no/such/program"}).error(), Errno(ENOENT));
}

TEST(RunProgram, TooLong) {
  Program program = Shell("exec sleep 100");
  program.timeout = absl::Milliseconds(50);
  const absl::Time before = absl::Now();
  EXPECT_EQ(RunProgram(program).error(), Errno(ETIMEDOUT));
  EXPECT_LT(absl::Now() - before, absl::Seconds(60)) << "it was not waited for";
  program = Shell("exit 3");
  program.timeout = absl::Seconds(60);
  EXPECT_EQ(*RunProgram(program), 3);
}

}  // namespace
}  // namespace gofer::sys
