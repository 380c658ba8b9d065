#include "gofer/fs/dir_lock.h"

#include <fcntl.h>
#include <linux/fs.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"

namespace gofer::fs {
namespace {

class DirLockTest : public FilesystemTest {
 protected:
  DirLockTest() {
    tree_.Mkdir("a");
    tree_.Mkdir("b");
    a_ = Walk("a").dentry;
    b_ = Walk("b").dentry;
  }

  RefPtr<Dentry> a_;
  RefPtr<Dentry> b_;
};

TEST_F(DirLockTest, AnAnswerIsTakenIfNothingHasChanged) {
  { const DirChange before(*a_); }
  DirLook<DirHold> look(*a_);
  { const DirChange elsewhere(*b_); }
  EXPECT_TRUE(look.Take());
  EXPECT_TRUE(look.Take()) << "it is held";
}

TEST_F(DirLockTest, AnAnswerIsNotTakenIfANameHasChanged) {
  DirLook<DirHold> look(*a_);
  { const DirChange change(*b_, *a_); }
  EXPECT_FALSE(look.Take());
  EXPECT_TRUE(look.Take()) << "the second answer";
}

TEST_F(DirLockTest, AChangeThatWasUnderWayCountsToo) {
  std::optional<DirChange> change(std::in_place, *a_);
  DirLook<DirHold> look(*a_);
  change.reset();
  EXPECT_FALSE(look.Take());
}

TEST_F(DirLockTest, ItComesToAnEndHoweverManyChanges) {
  DirLook<DirHold> look(*a_);
  for (int tries = 1; tries < DirLook<DirHold>::kTries; ++tries) {
    { const DirChange change(*a_); }
    ASSERT_FALSE(look.Take()) << tries;
  }
  // From now on nobody changes anything.
  EXPECT_FALSE(a_->dir().op_mu.TryLock());
  EXPECT_TRUE(look.Take());
}

TEST_F(DirLockTest, NothingIsHeldBeforeTheAnswer) {
  DirLook<DirChange> look(*a_, *b_);
  { const DirChange change(*b_); }
  EXPECT_TRUE(look.Take()) << "no name in the first has changed";
  EXPECT_FALSE(b_->dir().op_mu.ReaderTryLock());
}

TEST_F(DirLockTest, AnAnswerThatCannotBeUntrueIsTakenAnyway) {
  DirLook<DirChange> look(*a_);
  { const DirChange change(*a_); }
  look.TakeAnyway();
  EXPECT_TRUE(look.Take());
}

TEST_F(DirLockTest, TwoDirectoriesAreLockedInOneOrder) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([this, i] {
      for (int round = 0; round < 10'000; ++round) {
        const DirChange change(i == 0 ? *a_ : *b_, i == 0 ? *b_ : *a_);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  { const DirChange twice(*a_, *a_); }
  EXPECT_EQ(a_->dir().changes.load(), 20'001u);
  EXPECT_EQ(b_->dir().changes.load(), 20'000u);
}

// Names that are looked up while they are made, removed and moved. Nobody else changes the tree, so
// whoever got a Dentry has one that was removed, or one that the host and the tree have in one
// place.
class TrueTreeTest : public DirLockTest, public ::testing::WithParamInterface<int> {
 protected:
  static constexpr int kNames = 3;
  static constexpr int kRounds = 4000;
  using Random = std::minstd_rand;

  static Name AnyName(Random& random) { return N(absl::StrCat("n", random() % kNames)); }
  Dentry& AnyDir(Random& random) { return random() % 2 == 0 ? *a_ : *b_; }

  void Change(unsigned seed) {
    Random random(seed);
    for (int i = 0; i < kRounds; ++i) {
      Dentry& dir = AnyDir(random);
      const Name name = AnyName(random);
      switch (random() % 6) {
        case 0:
          (void)fs_->MakeFile(dir, name, 0600, {}).ok();
          break;
        case 1:
          (void)fs_->Unlink(dir, name, 0).ok();
          break;
        case 2: {
          const ErrnoOr<Entry> target = fs_->LookupUnopened(AnyDir(random), AnyName(random));
          if (target.ok()) (void)fs_->MakeLink(dir, name, *target->dentry).ok();
          break;
        }
        case 3:
          (void)fs_->Rename(dir, name, AnyDir(random), AnyName(random), RENAME_EXCHANGE).ok();
          break;
        default:
          (void)fs_->Rename(dir, name, AnyDir(random), AnyName(random), 0).ok();
      }
    }
  }

  ErrnoOr<Entry> LookUp(Dentry& dir, const Name& name) {
    return GetParam() == 0 ? fs_->Lookup(dir, name) : fs_->LookupUnopened(dir, name);
  }

  std::vector<RefPtr<Dentry>> Look(unsigned seed, const std::atomic<bool>& stop) {
    Random random(seed);
    std::vector<RefPtr<Dentry>> found(64);
    while (!stop) {
      Dentry& dir = AnyDir(random);
      const Name name = AnyName(random);
      ErrnoOr<Entry> entry = LookUp(dir, name);
      if (entry.ok()) found[random() % found.size()] = std::move(entry->dentry);
      // The next has to ask the host.
      if (random() % 4 == 0) fs_->dentries().Purge();
    }
    return found;
  }

  // Every name, each once, made where it is missing. For when nobody else is at work.
  std::vector<RefPtr<Dentry>> FindAll() {
    std::vector<RefPtr<Dentry>> found;
    for (Dentry* const dir : {a_.get(), b_.get()}) {
      for (int i = 0; i < kNames; ++i) {
        const Name name = N(absl::StrCat("n", i));
        if (ErrorOf(LookUp(*dir, name)) == ENOENT) {
          EXPECT_EQ(ErrorOf(fs_->MakeFile(*dir, name, 0600, {})), 0);
        }
        ErrnoOr<Entry> entry = LookUp(*dir, name);
        EXPECT_EQ(ErrorOf(entry), 0) << fs_->PathOf(*dir) << "/n" << i;
        if (entry.ok()) found.push_back(std::move(entry->dentry));
      }
    }
    return found;
  }
};

TEST_P(TrueTreeTest, LookupsPutNothingInItThatIsNot) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> lookers;
  std::vector<std::vector<RefPtr<Dentry>>> found(2);
  for (unsigned i = 0; i < found.size(); ++i) {
    lookers.emplace_back([&, i] { found[i] = Look(i + 1, stop); });
  }
  std::vector<std::thread> changers;
  for (unsigned i = 0; i < 2; ++i) changers.emplace_back([this, i] { Change(i + 11); });
  for (std::thread& thread : changers) thread.join();
  stop = true;
  for (std::thread& thread : lookers) thread.join();
  // However the changers' moves have ended: every name is there now, and found as the race has left
  // it in the tree.
  found.push_back(FindAll());
  size_t in_place = 0;
  for (const std::vector<RefPtr<Dentry>>& some : found) {
    for (const RefPtr<Dentry>& dentry : some) {
      if (!dentry || dentry->deleted()) continue;
      ++in_place;
      const ErrnoOr<sys::Attr> held = fs_->CheckPlace(*dentry);
      EXPECT_EQ(ErrorOf(held), 0) << fs_->PathOf(*dentry);
      EXPECT_TRUE(dentry->findable()) << fs_->PathOf(*dentry);
    }
  }
  EXPECT_GE(in_place, size_t{2 * kNames});
  EXPECT_TRUE(fs_->dentries().Astray().empty());
  found.clear();
  fs_->dentries().Purge();
  EXPECT_EQ(fs_->dentries().size(), 3u) << "the root and the two directories";
}

INSTANTIATE_TEST_SUITE_P(Lookups, TrueTreeTest, ::testing::Values(0, 1),
                         [](const auto& info) { return info.param == 0 ? "Opened" : "Unopened"; });

}  // namespace
}  // namespace gofer::fs
