#include "gofer/virtiofsd/descriptor_limit.h"

#include <string>

#include "gtest/gtest.h"

namespace gofer::virtiofsd {
namespace {

constexpr SystemLimits kUsual = {.soft = 1024, .hard = 524'288, .most = 1'048'576};

TEST(PlanDescriptorLimit, AMillionUnlessThereAreMoreOrFewerToHave) {
  LimitPlan plan = *PlanDescriptorLimit(std::nullopt, kUsual);
  EXPECT_EQ(plan.set, 1'000'000u);
  EXPECT_TRUE(plan.may_fail);
  plan = *PlanDescriptorLimit(std::nullopt, {.soft = 1024, .hard = 4096, .most = 65'536});
  EXPECT_EQ(plan.set, 65'536u);
  plan =
      *PlanDescriptorLimit(std::nullopt, {.soft = 1'000'000, .hard = 2'000'000, .most = 2'000'000});
  EXPECT_FALSE(plan.set.has_value()) << "somebody has seen to it";
  plan =
      *PlanDescriptorLimit(std::nullopt, {.soft = 999'999, .hard = 2'000'000, .most = 2'000'000});
  EXPECT_EQ(plan.set, 1'000'000u);
}

TEST(PlanDescriptorLimit, WhatIsWantedIsHadOrAnError) {
  EXPECT_FALSE(PlanDescriptorLimit(0, kUsual)->set.has_value());
  const LimitPlan plan = *PlanDescriptorLimit(4096, kUsual);
  EXPECT_EQ(plan.set, 4096u);
  EXPECT_FALSE(plan.may_fail);
  EXPECT_EQ(PlanDescriptorLimit(1'048'576, kUsual)->set, 1'048'576u);
  EXPECT_EQ(PlanDescriptorLimit(1'048'577, kUsual).status().message(),
            "--rlimit-nofile=1048577: is more than fs.nr_open, which is 1048576");
}

TEST(CheckDescriptorLimit, LeavesSomethingForTheGuest) {
  EXPECT_TRUE(CheckDescriptorLimit(610, 0).ok());
  EXPECT_TRUE(CheckDescriptorLimit(625, 16).ok());
  EXPECT_EQ(CheckDescriptorLimit(609, 0).message(),
            "the limit of open descriptors is 609, and has to be 610 at least");
  EXPECT_EQ(CheckDescriptorLimit(624, 16).message(),
            "the limit of open descriptors is 624, and has to be 625 at least");
}

}  // namespace
}  // namespace gofer::virtiofsd
