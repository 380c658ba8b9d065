#include "gofer/sys/own_code.h"

#include <array>
#include <cstdint>
#include <fstream>
#include <numeric>
#include <string>

#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

constexpr size_t kPage = 4096;
// Code and constants that nothing else touches, and a variable that has been changed.
constexpr std::array<uint8_t, 64 * kPage> kConstants = [] {
  std::array<uint8_t, 64 * kPage> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i % 251);
  return bytes;
}();
int g_variable = 1;

uint64_t SumOfConstants() {
  const volatile uint8_t* const bytes = kConstants.data();
  uint64_t sum = 0;
  for (size_t i = 0; i < kConstants.size(); ++i) sum += bytes[i];
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
