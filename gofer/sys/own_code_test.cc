#include "gofer/sys/own_code.h"

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

constexpr size_t kPage = 4096;
// Constants that nothing else touches, and a variable that has been changed.
extern const uint8_t kConstants[64 * kPage];
const uint8_t kConstants[64 * kPage] = {3, 1, 4, 1, 5, 9, 2, 6};
int g_variable = 1;

uint64_t SumOfConstants() {
  const volatile uint8_t* const bytes = kConstants;
  uint64_t sum = 0;
  for (size_t i = 0; i < sizeof(kConstants); ++i) sum += bytes[i];
  return sum;
}

// KiB of file pages that this process has mapped in.
size_t FileKiB() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "RssFile:") continue;
    size_t size = 0;
    status >> size;
    return size;
  }
  return 0;
}

TEST(ReleaseOwnCode, ThePagesGoAndComeBackTheSame) {
  g_variable = 42;
  const uint64_t sum = SumOfConstants();
  const size_t before = FileKiB();
  ReleaseOwnCode();
  EXPECT_LT(FileKiB() + 200, before) << "at least most of the constants are gone";
  EXPECT_EQ(SumOfConstants(), sum);
  EXPECT_EQ(g_variable, 42);
}

}  // namespace
}  // namespace gofer::sys
