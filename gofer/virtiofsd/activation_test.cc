#include "gofer/virtiofsd/activation.h"

#include "gtest/gtest.h"

namespace gofer::virtiofsd {
namespace {

TEST(ActivationSocket, IsTheThirdDescriptorOfTheProcessItIsMeantFor) {
  EXPECT_EQ(*ActivationSocket("42", "1", 42), 3);
  EXPECT_EQ(*ActivationSocket("41", "1", 42), std::nullopt);
  EXPECT_EQ(*ActivationSocket(nullptr, "1", 42), std::nullopt);
  EXPECT_EQ(*ActivationSocket("42", nullptr, 42), std::nullopt);
  EXPECT_EQ(*ActivationSocket("42", "0", 42), std::nullopt);
  EXPECT_EQ(*ActivationSocket("42", "-1", 42), std::nullopt);
  EXPECT_EQ(*ActivationSocket("42", "x", 42), std::nullopt);
  EXPECT_EQ(*ActivationSocket("", "", 42), std::nullopt);
}

TEST(ActivationSocket, SeveralAreOneTooMany) {
  EXPECT_EQ(ActivationSocket("42", "2", 42).status().message(),
            "LISTEN_FDS=2: one socket is served; name it with --fd");
}

}  // namespace
}  // namespace gofer::virtiofsd
