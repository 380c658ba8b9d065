#include "gofer/base/name.h"

#include <string>

#include "gtest/gtest.h"

namespace gofer {
namespace {

using std::string_literals::operator""s;

TEST(Name, RefusesWhatIsNoComponent) {
  for (const std::string& bad : {""s, "."s, ".."s, "/"s, "a/b"s, "/abs"s, "a/"s, "a\0b"s, "\0"s}) {
    EXPECT_EQ(Name::Parse(bad).error(), EINVAL) << testing::PrintToString(bad);
    EXPECT_EQ(Name::CheckBytes(bad).error(), EINVAL) << testing::PrintToString(bad);
  }
}

TEST(Name, LengthEndsAt255) {
  EXPECT_TRUE(Name::Parse(std::string(255, 'x')).ok());
  EXPECT_EQ(Name::Parse(std::string(256, 'x')).error(), ENAMETOOLONG);
  EXPECT_EQ(Name::Parse(std::string(65535, 'x')).error(), ENAMETOOLONG);
}

TEST(Name, LongNameWithASlashIsInvalidRatherThanLong) {
  EXPECT_EQ(Name::Parse(std::string(300, 'x') + "/").error(), EINVAL);
}

TEST(Name, TakesEveryOtherByte) {
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/') continue;
    const std::string bytes = {'x', static_cast<char>(byte)};
    const ErrnoOr<Name> name = Name::Parse(bytes);
    ASSERT_TRUE(name.ok()) << byte;
    EXPECT_EQ(name->view(), bytes);
  }
  EXPECT_TRUE(Name::Parse("...").ok());
  EXPECT_TRUE(Name::Parse(".a").ok());
}

TEST(Name, KeepsItsOwnTerminatedCopy) {
  std::string changing = "first";
  const ErrnoOr<Name> name = Name::Parse(changing);
  ASSERT_TRUE(name.ok());
  changing = "../..";
  EXPECT_STREQ(name->c_str(), "first");
  Name copy = *name;
  const Name& itself = copy;
  copy = itself;
  EXPECT_STREQ(copy.c_str(), "first");
}

TEST(SymlinkTarget, HoldsAnythingButNul) {
  EXPECT_STREQ(SymlinkTarget::Parse("../../etc/passwd")->c_str(), "../../etc/passwd");
  EXPECT_EQ(SymlinkTarget::Parse("").error(), ENOENT);
  EXPECT_EQ(SymlinkTarget::Parse("a\0b"s).error(), EINVAL);
  EXPECT_TRUE(SymlinkTarget::Parse(std::string(4095, 't')).ok());
  EXPECT_EQ(SymlinkTarget::Parse(std::string(4096, 't')).error(), ENAMETOOLONG);
}

}  // namespace
}  // namespace gofer
