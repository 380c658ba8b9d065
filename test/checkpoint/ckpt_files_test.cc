// The files of an image and what lies around them: links that somebody planted at
// its name or at one of its temporary names, what else may be there, who may read it, and secrets,
// which nothing but the image has.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/checkpoint/saved_gofer.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using Which = SavedGofer::Which;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kImage[] = "gofer.img";

class CkptFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    world_.Begin();
    victim_.Write("file", "keep me", 0644);
    before_ = victim_.StrictSnapshot();
  }
  const TempTree& images() const { return world_.images(); }

  SavedGofer world_;
  TempTree victim_;
  std::map<std::string, std::string> before_;
};

TEST_F(CkptFilesTest, ALinkInItsPlaceIsReplacedAndNotFollowed) {
  images().Unlink(kImage);
  images().Symlink(kImage, victim_.At("file"));
  EXPECT_TRUE(world_.SavesNow());
  EXPECT_TRUE(S_ISREG(images().Stat(kImage).st_mode));
  EXPECT_EQ(victim_.StrictSnapshot(), before_);
}

TEST_F(CkptFilesTest, AHardLinkInItsPlaceKeepsItsContent) {
  images().Unlink(kImage);
  images().Write("other name", "keep me too");
  images().Link("other name", kImage);
  GoferProcess save({.arguments = world_.SaveArguments()});
  EXPECT_EQ(save.Wait(), 0) << save.Stderr();
  EXPECT_EQ(images().Read("other name"), "keep me too");
  EXPECT_EQ(world_.WhichImage(), Which::kNew);
  EXPECT_EQ(images().Stat(kImage).st_nlink, 1u);
}

TEST_F(CkptFilesTest, ADirectoryInItsPlaceStaysAndTheSaveFails) {
  images().Unlink(kImage);
  images().Mkdir(kImage);
  GoferProcess save({.arguments = world_.SaveArguments()});
  EXPECT_EQ(save.Wait(), 1);
  EXPECT_THAT(save.Stderr(), HasSubstr("Is a directory"));
  EXPECT_THAT(world_.Strays(), IsEmpty());
  EXPECT_TRUE(world_.Serves());
  images().Rmdir(kImage);
}

TEST_F(CkptFilesTest, LinksAtTemporaryNamesAreRemovedAndNotFollowed) {
  images().Symlink(".gofer.img.0123456789abcdef", victim_.At("file"));
  images().Symlink(".gofer.img.gone", "/nowhere");
  images().Fifo(".gofer.img.fifo");
  EXPECT_TRUE(world_.SavesNow());
  EXPECT_EQ(victim_.StrictSnapshot(), before_);
}

TEST_F(CkptFilesTest, ADirectoryOfImagesThatIsALinkIsRefused) {
  const TempTree links;
  links.Symlink("images", images().path());
  std::vector<std::string> arguments = world_.SaveArguments();
  arguments[2] = "--image_path=" + links.At("images");
  GoferProcess save({.arguments = arguments});
  EXPECT_EQ(save.Wait(), 1);
  EXPECT_EQ(world_.WhichImage(), Which::kOld);
}

TEST_F(CkptFilesTest, WhatIsNoFileIsNotRead) {
  for (const bool is_fifo : {true, false}) {
    images().Unlink(kImage);
    is_fifo ? images().Fifo(kImage) : images().Symlink(kImage, victim_.At("file"));
    GoferProcess inspect({.arguments = {"inspect", images().path()}});
    EXPECT_EQ(inspect.Wait(), 1) << inspect.Stderr();
    EXPECT_THAT(inspect.Stderr(), HasSubstr("image: "));
  }
}

TEST_F(CkptFilesTest, ItIsItsOwnersWhateverTheMaskIs) {
  for (const mode_t mask : {0, 077, 0777}) {
    const mode_t kept = umask(mask);
    EXPECT_TRUE(world_.SavesNow());
    umask(kept);
    const struct stat stat = images().Stat(kImage);
    // More would be for others, and less than the owner's is what a mask can ask for.
    EXPECT_EQ(stat.st_mode & 07777 & ~0600u, 0u) << mask;
    EXPECT_EQ(stat.st_uid, geteuid());
  }
}

std::string CommandLineOf(pid_t process) {
  std::ifstream file(absl::StrCat("/proc/", process, "/cmdline"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST_F(CkptFilesTest, SecretsAreInTheImageAlone) {
  constexpr absl::string_view kSecret = "correct horse battery staple";
  victim_.Write("key", kSecret);
  std::vector<std::string> arguments = world_.SaveArguments();
  arguments.push_back("--image_key_file=" + victim_.At("key"));
  GoferProcess save({.arguments = arguments});
  EXPECT_EQ(save.Wait(), 0) << save.Stderr();
  GoferProcess wrong({.arguments = {"inspect", images().path()}});
  EXPECT_EQ(wrong.Wait(), 1);
  GoferProcess right({.arguments = {"inspect", images().path(), "--tree",
                                    "--image_key_file=" + victim_.At("key")}});
  EXPECT_EQ(right.Wait(), 0) << right.Stderr();
  for (const std::string& said :
       {save.Stdout(), save.Stderr(), wrong.Stdout(), wrong.Stderr(), right.Stdout(),
        right.Stderr(), world_.gofer().Stderr(), world_.gofer().Stdout(),
        CommandLineOf(world_.gofer().pid()), images().Read(kImage)}) {
    EXPECT_THAT(said, Not(HasSubstr(std::string(kSecret))));
  }
  // Nor does the log say what the clients have and what is in it.
  for (const char* const private_text : {"deleted and open", "below", "another"}) {
    EXPECT_THAT(world_.gofer().Stderr(), Not(HasSubstr(private_text)));
  }
}

}  // namespace
}  // namespace gofer::testing
