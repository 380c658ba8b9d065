#include "checkpoint/image_file.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gofer/base/errno.h"
#include "gofer/sys/own_directory.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::checkpoint {
namespace {

using ::testing::HasSubstr;
using testing::TempTree;

std::string WholeImage(absl::string_view payload, const ImageKey& key = {}) {
  const ImageHeader header = MakeImageHeader(payload, key);
  return absl::StrCat(absl::string_view(header.data(), header.size()), payload);
}

class ImageFileTest : public ::testing::Test {
 protected:
  ImageFileTest() : directory_(*sys::OpenOwnDirectory(tree_.path().c_str())) {}

  TempTree tree_;
  UniqueFd directory_;
};

// A reader of another version, or another program, finds these bytes.
TEST(ImageHeaderTest, HasTheseBytes) {
  const std::string image = WholeImage("payload");
  EXPECT_EQ(image.substr(0, 32), absl::string_view("GOFERIMG\1\0\0\0\1\0\0\0"
                                                   "\0\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0",
                                                   32));
  EXPECT_EQ(image.substr(32, 32), std::string(32, '\0'));
  EXPECT_EQ(image.substr(96), "payload");
}

TEST(ImageHeaderTest, EveryFlippedBitIsSeen) {
  for (const ImageKey& key : {ImageKey{}, ImageKey{.secret = "a key"}}) {
    const std::string whole = WholeImage("some payload", key);
    ASSERT_TRUE(PayloadOf(whole, key).ok());
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      EXPECT_FALSE(PayloadOf(flipped, key).ok()) << "bit " << bit;
    }
  }
}

TEST(ImageHeaderTest, EveryPrefixIsTorn) {
  const std::string whole = WholeImage("some payload");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_EQ(PayloadOf(whole.substr(0, size), {}).status().code(), absl::StatusCode::kDataLoss)
        << size;
  }
  EXPECT_EQ(PayloadOf(whole + "x", {}).status().code(), absl::StatusCode::kDataLoss);
}

TEST(ImageHeaderTest, AnotherFormatHasItsOwnError) {
  for (const size_t offset : {8u, 16u}) {  // major, features
    std::string image = WholeImage("payload");
    image[offset] = 2;
    EXPECT_EQ(PayloadOf(image, {}).status().code(), absl::StatusCode::kFailedPrecondition);
  }
}

TEST(ImageHeaderTest, TheKeyDecides) {
  const ImageKey key = {.secret = "one"};
  const std::string image = WholeImage("payload", key);
  EXPECT_EQ(*PayloadOf(image, key), "payload");
  EXPECT_THAT(PayloadOf(image, {.secret = "other"}).status().message(),
              HasSubstr("the key is another one"));
  EXPECT_THAT(PayloadOf(image, {}).status().message(), HasSubstr("none was given"));
  EXPECT_THAT(PayloadOf(WholeImage("payload"), key).status().message(), HasSubstr("one was given"));
}

TEST_F(ImageFileTest, WhatIsStoredIsLoaded) {
  ASSERT_TRUE(StoreImage(directory_, "first", {}).ok());
  EXPECT_EQ(*LoadImage(directory_, {}), "first");
  ASSERT_TRUE(StoreImage(directory_, "second", {}).ok());
  EXPECT_EQ(*LoadImage(directory_, {}), "second");
  EXPECT_EQ(tree_.Stat(kImageName).st_mode & 07777, 0600u);
  EXPECT_EQ(sys::ListNames(directory_)->size(), 1u);
}

TEST_F(ImageFileTest, AnImageIsThereWhenItIsCommittedAndNotBefore) {
  ASSERT_TRUE(StoreImage(directory_, "old", {}).ok());
  {
    absl::StatusOr<PendingImage> given_up = PendingImage::Create(directory_);
    ASSERT_TRUE(given_up.ok()) << given_up.status();
    ASSERT_TRUE(WriteImage(given_up->file(), "new", {}).ok());
    EXPECT_EQ(*LoadImage(directory_, {}), "old");
  }
  EXPECT_EQ(sys::ListNames(directory_)->size(), 1u);
  absl::StatusOr<PendingImage> image = PendingImage::Create(directory_);
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_TRUE(WriteImage(image->file(), "new", {}).ok());
  ASSERT_TRUE((*std::move(image)).Commit().ok());
  EXPECT_EQ(*LoadImage(directory_, {}), "new");
  EXPECT_EQ(sys::ListNames(directory_)->size(), 1u);
}

TEST_F(ImageFileTest, NoImageIsNotFound) {
  EXPECT_EQ(LoadImage(directory_, {}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ImageFileTest, APlantedLinkIsNeitherReadNorWritten) {
  tree_.Write("elsewhere", WholeImage("forged"));
  tree_.Symlink(kImageName, "elsewhere");
  EXPECT_FALSE(LoadImage(directory_, {}).ok());
  ASSERT_TRUE(StoreImage(directory_, "mine", {}).ok());
  EXPECT_EQ(*LoadImage(directory_, {}), "mine");
  EXPECT_EQ(tree_.Read("elsewhere"), WholeImage("forged"));
}

TEST_F(ImageFileTest, AFifoInItsPlaceBlocksNobody) {
  tree_.Fifo(kImageName);
  EXPECT_EQ(ErrnoFrom(LoadImage(directory_, {}).status()).value(), EINVAL);
}

TEST_F(ImageFileTest, WhatACrashLeftBehindIsRemoved) {
  tree_.Write(".gofer.img.0123456789abcdef", "torn");
  tree_.Write(".gofer.img.fedcba9876543210", "");
  tree_.Write("gofer.img.mine", "not ours");
  ASSERT_TRUE(StoreImage(directory_, "image", {}).ok());
  EXPECT_EQ(*RemoveStrayImages(directory_), 2);
  EXPECT_TRUE(tree_.Exists("gofer.img.mine"));
  EXPECT_TRUE(tree_.Exists(kImageName));
}

}  // namespace
}  // namespace gofer::checkpoint
