#include "gofer/runsc/go_flags.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

struct Fixture {
  Fixture() {
    flags.Bool("debug", &debug).Int("n", &n).Ints("io-fds", &ints).String("bundle", &bundle);
  }
  // What is left, joined; or the error's text.
  std::string Parse(std::vector<std::string> arguments) {
    const auto rest = flags.Parse(arguments);
    if (!rest.ok()) return std::string(rest.status().message());
    std::string joined;
    for (const std::string& word : *rest) joined += word + ";";
    return joined;
  }

  GoFlags flags;
  bool debug = false;
  int n = -1;
  std::vector<int> ints;
  std::string bundle;
};

TEST(GoFlags, OneAndTwoDashesAreTheSame) {
  Fixture f;
  EXPECT_EQ(f.Parse({"-n=1", "--n=2", "-n", "3", "--n", "4"}), "");
  EXPECT_EQ(f.n, 4) << "the last one wins";
}

TEST(GoFlags, ABooleanTakesNoNextArgument) {
  Fixture f;
  EXPECT_EQ(f.Parse({"--debug", "gofer", "--n=1"}), "gofer;--n=1;");
  EXPECT_TRUE(f.debug);
  EXPECT_EQ(f.Parse({"--debug=false"}), "");
  EXPECT_FALSE(f.debug);
  EXPECT_EQ(f.Parse({"--debug=T"}), "");
  EXPECT_TRUE(f.debug);
  EXPECT_EQ(f.Parse({"--debug=yes"}), "flag --debug: \"yes\" is not a boolean");
}

TEST(GoFlags, ListsAddUp) {
  Fixture f;
  EXPECT_EQ(f.Parse({"--io-fds=6", "--io-fds=7,8", "--io-fds", "9"}), "");
  EXPECT_EQ(f.ints, (std::vector<int>{6, 7, 8, 9}));
  EXPECT_EQ(f.Parse({"--io-fds=1,,2"}), "flag --io-fds: \"\" is not a number");
}

TEST(GoFlags, EndsAtTwoDashesAndAtWords) {
  Fixture f;
  EXPECT_EQ(f.Parse({"--n=1", "--", "--n=2"}), "--n=2;");
  EXPECT_EQ(f.n, 1);
  EXPECT_EQ(f.Parse({"-", "--n=2"}), "-;--n=2;") << "a single dash is a word";
}

TEST(GoFlags, AValueMayLookLikeAFlag) {
  Fixture f;
  EXPECT_EQ(f.Parse({"--bundle", "--n=2"}), "");
  EXPECT_EQ(f.bundle, "--n=2");
  EXPECT_EQ(f.Parse({"--bundle="}), "");
  EXPECT_EQ(f.bundle, "");
  EXPECT_EQ(f.Parse({"--bundle=a=b"}), "");
  EXPECT_EQ(f.bundle, "a=b");
}

TEST(GoFlags, Errors) {
  Fixture f;
  EXPECT_EQ(f.Parse({"---n=1"}), "bad flag syntax: ---n=1");
  EXPECT_EQ(f.Parse({"--=1"}), "bad flag syntax: --=1");
  EXPECT_EQ(f.Parse({"--bundle"}), "flag --bundle needs a value");
  EXPECT_EQ(f.Parse({"--n=x"}), "flag --n: \"x\" is not a number");
  EXPECT_EQ(f.Parse({"--new"}), "unknown flag --new");
}

TEST(GoFlags, UnknownFlagsGoToTheHandler) {
  Fixture f;
  std::string seen;
  f.flags.OnUnknown([&](absl::string_view name, absl::string_view value) {
    seen += std::string(name) + "=" + std::string(value) + ";";
    return absl::OkStatus();
  });
  EXPECT_EQ(f.Parse({"--platform=ptrace", "--new", "gofer"}), "gofer;");
  EXPECT_EQ(seen, "platform=ptrace;new=;");
}

TEST(GoFlags, SetByName) {
  Fixture f;
  EXPECT_TRUE(f.flags.Set("n", "7").ok());
  EXPECT_EQ(f.n, 7);
  EXPECT_EQ(f.flags.Set("nothing", "7").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace gofer::runsc
