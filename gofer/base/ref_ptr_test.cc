#include "gofer/base/ref_ptr.h"

#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace gofer {
namespace {

class Tracked : public RefCounted<Tracked> {
 public:
  explicit Tracked(int* alive) : alive_(alive) { ++*alive_; }
  ~Tracked() { --*alive_; }

 private:
  int* const alive_;
};

TEST(RefPtr, LastReferenceDeletes) {
  int alive = 0;
  RefPtr<Tracked> first = MakeRef<Tracked>(&alive);
  RefPtr<Tracked> second = first;
  EXPECT_EQ(first, second);
  first = nullptr;
  EXPECT_EQ(alive, 1);
  second = nullptr;
  EXPECT_EQ(alive, 0);
}

TEST(RefPtr, MoveLeavesNothingBehind) {
  int alive = 0;
  RefPtr<Tracked> from = MakeRef<Tracked>(&alive);
  RefPtr<Tracked> to = MakeRef<Tracked>(&alive);
  to = std::move(from);
  EXPECT_EQ(alive, 1);
  EXPECT_FALSE(from);
  EXPECT_TRUE(to);
}

TEST(RefPtr, AssigningItselfKeepsTheObject) {
  int alive = 0;
  RefPtr<Tracked> self = MakeRef<Tracked>(&alive);
  RefPtr<Tracked>& alias = self;
  self = alias;
  EXPECT_EQ(alive, 1);
}

TEST(RefPtr, ReleaseAndAdoptPassTheReferenceOn) {
  int alive = 0;
  RefPtr<Tracked> from = MakeRef<Tracked>(&alive);
  RefPtr<Tracked> to = RefPtr<Tracked>::Adopt(from.Release());
  EXPECT_EQ(alive, 1);
  to = nullptr;
  EXPECT_EQ(alive, 0);
}

TEST(RefPtr, CountsAcrossThreads) {
  int alive = 0;
  RefPtr<Tracked> object = MakeRef<Tracked>(&alive);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = object]() mutable {
      for (int round = 0; round < 10000; ++round) RefPtr<Tracked> another = copy;
      copy = nullptr;
    });
  }
  object = nullptr;
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace gofer
