#include "gofer/runsc/path.h"

#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

TEST(CleanPath, AsGoDoesIt) {
  const struct {
    const char* path;
    const char* clean;
  } kCases[] = {
      {"", "."},
      {".", "."},
      {"/", "/"},
      {"//", "/"},
      {"a", "a"},
      {"a/", "a"},
      {"/a/", "/a"},
      {"a//b", "a/b"},
      {"./a", "a"},
      {"a/./b", "a/b"},
      {"a/..", "."},
      {"a/../b", "b"},
      {"..", ".."},
      {"../a", "../a"},
      {"../../a", "../../a"},
      {"a/../..", ".."},
      {"/..", "/"},
      {"/../a", "/a"},
      {"/a/../..", "/"},
      {"/a/b/../c", "/a/c"},
      {"../a/../b", "../b"},
      {"/a/b/../../..", "/"},
      {"...", "..."},
      {"/a/...", "/a/..."},
  };
  for (const auto& c : kCases) EXPECT_EQ(CleanPath(c.path), c.clean) << "path \"" << c.path << "\"";
}

}  // namespace
}  // namespace gofer::runsc
