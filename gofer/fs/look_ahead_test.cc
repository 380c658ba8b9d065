#include "gofer/fs/look_ahead.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/fs/dir_lock.h"
#include "gofer/fs/filesystem_fixture.h"
#include "test/support/eventually.h"

namespace gofer::fs {
namespace {

// No test is about how quick the machine is.
constexpr uint64_t kForEver = ~uint64_t{0} >> 1;

bool IsDots(absl::string_view name) { return name == "." || name == ".."; }

// A listing of the directory d, and its reader: Filesystem::ReadDirFrom without a client.
class LookAheadTest : public FilesystemTest {
 protected:
  static constexpr size_t kFiles = 300;

  LookAheadTest() {
    tree_.Mkdir("d");
    for (size_t i = 0; i < kFiles; ++i) tree_.Write(absl::StrCat("d/f", i), std::string(i, 'x'));
    dir_ = Walk("d").dentry;
    fd_ = UniqueFd(open(tree_.At("d").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ahead_ = Make(kForEver);
    cursor_.Start(0);
    Next();
  }
  ~LookAheadTest() override {
    ahead_ = nullptr;
    dir_ = nullptr;
  }

  RefPtr<LookAhead> Make(uint64_t max_age_ns) { return MakeRef<LookAhead>(*fs_, dir_, max_age_ns); }

  // The record that the cursor is at, without "." and ".."; null at the end.
  const struct dirent64* Next() {
    for (;; cursor_.Take()) {
      const ErrnoOr<const struct dirent64*> record = cursor_.Peek(fd_, {});
      CHECK(record.ok());
      if (*record == nullptr) return nullptr;
      if (!IsDots((*record)->d_name)) return *record;
    }
  }
  struct Taken {
    std::string name;
    std::optional<Entry> found;
  };
  // What the reader does with an entry, but for offering the next.
  Taken Take() {
    const struct dirent64* const record = Next();
    CHECK(record != nullptr);
    Taken taken = {record->d_name, ahead_->Take(static_cast<uint64_t>(record->d_off))};
    cursor_.Take();
    return taken;
  }
  size_t WorkAll() {
    size_t all = 0;
    while (const size_t some = ahead_->Work(LookAhead::kAtOnce)) all += some;
    return all;
  }
  void ExpectTrue(const Taken& taken) {
    ASSERT_TRUE(taken.found.has_value()) << taken.name;
    const struct stat host = tree_.Stat("d/" + taken.name);
    EXPECT_EQ(taken.found->attr.stx_ino, host.st_ino) << taken.name;
    EXPECT_EQ(taken.found->attr.stx_size, static_cast<uint64_t>(host.st_size)) << taken.name;
    EXPECT_EQ(taken.found->dentry.get(), Walk("d/" + taken.name).dentry.get()) << taken.name;
  }

  RefPtr<Dentry> dir_;
  UniqueFd fd_;
  DirCursor cursor_;
  RefPtr<LookAhead> ahead_;
};

TEST_F(LookAheadTest, FindsWhatALookupFinds) {
  size_t taken = 0;
  while (Next() != nullptr) {
    ahead_->Offer(cursor_, nullptr);
    WorkAll();
    ExpectTrue(Take());
    ++taken;
  }
  EXPECT_EQ(taken, kFiles);
  EXPECT_EQ(WorkAll(), 0u);
}

TEST_F(LookAheadTest, NeverHoldsMoreThanItsWindow) {
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), LookAhead::kWindow);
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), 0u);
  for (size_t i = 0; i < LookAhead::kWindow; ++i) ExpectTrue(Take());
  EXPECT_FALSE(Take().found.has_value());  // not offered
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), LookAhead::kWindow);
  ExpectTrue(Take());
}

TEST_F(LookAheadTest, WhatNobodyHasLookedUpIsTheReaders) {
  ahead_->Offer(cursor_, nullptr);
  EXPECT_FALSE(Take().found.has_value());
  EXPECT_EQ(ahead_->Work(3), 3u);  // the next ones, not the one that was taken
  for (int i = 0; i < 3; ++i) ExpectTrue(Take());
  EXPECT_FALSE(Take().found.has_value());
}

TEST_F(LookAheadTest, WhatIsNotThereIsTheReadersToo) {
  const std::string gone = Next()->d_name;
  tree_.Unlink("d/" + gone);
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  EXPECT_FALSE(Take().found.has_value());
  ExpectTrue(Take());
}

TEST_F(LookAheadTest, AChangeMakesAllThatWasFoundBeforeItStale) {
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  ExpectTrue(Take());
  fs_->client_changes().Note();
  EXPECT_FALSE(Take().found.has_value());
  EXPECT_FALSE(Take().found.has_value());
  // This client changes things while it lists: no more of this listing.
  EXPECT_EQ(WorkAll(), 0u);
  for (size_t i = 0; i < LookAhead::kWindow; ++i) EXPECT_FALSE(Take().found.has_value());
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), 0u);
  EXPECT_FALSE(Take().found.has_value());

  cursor_.Start(0);
  ahead_->Restart();
  Next();
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), LookAhead::kWindow);
  ExpectTrue(Take());
}

TEST_F(LookAheadTest, WhatIsTooOldIsStale) {
  ahead_ = Make(0);
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  EXPECT_FALSE(Take().found.has_value());
}

TEST_F(LookAheadTest, DropsWhatAListingOfNamesHasPassed) {
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  ExpectTrue(Take());
  for (int i = 0; i < 5; ++i) {
    Next();
    cursor_.Take();
  }
  EXPECT_FALSE(Take().found.has_value());
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  ExpectTrue(Take());
}

TEST_F(LookAheadTest, DropsWhatWasInABufferThatIsFilledAnew) {
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  const uint64_t here = static_cast<uint64_t>(Next()->d_off);
  tree_.Write("d/new", "");
  EXPECT_FALSE(cursor_.Start(here));
  Next();
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  ExpectTrue(Take());
}

TEST_F(LookAheadTest, HoldsNoDentryOfWhatItHasDropped) {
  const size_t before = fs_->dentries().size() - fs_->dentries().unreferenced();
  const auto held = [&] {
    return fs_->dentries().size() - fs_->dentries().unreferenced() - before;
  };
  ahead_->Offer(cursor_, nullptr);
  WorkAll();
  EXPECT_EQ(held(), LookAhead::kWindow);
  Take();
  EXPECT_EQ(held(), LookAhead::kWindow - 1);
  ahead_->Restart();
  EXPECT_EQ(held(), 0u);
}

TEST_F(LookAheadTest, AsksOnceForHelpAndAgainWhenThatHasEnded) {
  struct Counting final : LookAhead::Helpers {
    void Ask(RefPtr<LookAhead> ahead) override { asked.push_back(std::move(ahead)); }
    std::vector<RefPtr<LookAhead>> asked;
  } helpers;
  ahead_->Offer(cursor_, &helpers);
  ASSERT_EQ(helpers.asked.size(), 1u);
  EXPECT_EQ(helpers.asked[0].get(), ahead_.get());
  for (size_t i = 0; i < LookAhead::kWindow; ++i) Take();
  ahead_->Offer(cursor_, &helpers);
  EXPECT_EQ(helpers.asked.size(), 1u);
  ahead_->Helped();
  for (size_t i = 0; i < LookAhead::kWindow; ++i) Take();
  ahead_->Offer(cursor_, &helpers);
  EXPECT_EQ(helpers.asked.size(), 1u);  // too little is left
  ahead_->Restart();
  cursor_.Start(0);
  Next();
  ahead_->Offer(cursor_, &helpers);
  EXPECT_EQ(helpers.asked.size(), 2u);
  helpers.asked.clear();
}

// The host answers for one name only when the test lets it: a lookup of a name that is not known
// waits for who changes names.
class HangingLookupTest : public LookAheadTest {
 protected:
  // The name number `hanging` in the listing is the one; all others are known.
  void Know(size_t hanging) {
    Next();
    DirCursor::Place place = cursor_.place();
    for (size_t i = 0; const struct dirent64* const record = cursor_.Kept(place);) {
      if (IsDots(record->d_name)) continue;
      if (i++ != hanging) known_.push_back(Walk(absl::StrCat("d/", record->d_name)).dentry);
    }
    ahead_->Offer(cursor_, nullptr);
  }
  // A thread that looks up the next name, and hangs when this returns.
  std::thread Hang() {
    change_.emplace(*dir_);
    std::thread worker([this] {
      worker_id_ = gettid();
      EXPECT_EQ(ahead_->Work(1), 1u);
    });
    EXPECT_TRUE(testing::Eventually([this] { return IsAsleep(worker_id_); }));
    return worker;
  }
  void LetGo() { change_.reset(); }

 private:
  static bool IsAsleep(pid_t thread) {
    if (thread == 0) return false;
    const std::string path = absl::StrCat("/proc/self/task/", thread, "/stat");
    std::string stat(256, '\0');
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    stat.resize(static_cast<size_t>(std::max<ssize_t>(0, read(fd.get(), stat.data(), 256))));
    return stat.find(") S ") != std::string::npos;
  }

  std::vector<RefPtr<Dentry>> known_;
  std::optional<DirChange> change_;
  std::atomic<pid_t> worker_id_ = 0;
};

TEST_F(HangingLookupTest, KeepsTheReaderFromNothing) {
  Know(0);
  std::thread worker = Hang();
  EXPECT_FALSE(Take().found.has_value());
  for (size_t i = 1; i < LookAhead::kWindow; ++i) ExpectTrue(Take());
  // Its place is not given to another name meanwhile.
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), 0u);
  EXPECT_FALSE(Take().found.has_value());
  LetGo();
  worker.join();
  ahead_->Offer(cursor_, nullptr);
  EXPECT_EQ(WorkAll(), LookAhead::kWindow);
  ExpectTrue(Take());
}

// Neither when nothing is worth looking up ahead any more.
TEST_F(HangingLookupTest, KeepsTheReaderFromNothingInVainEither) {
  Know(1);
  EXPECT_EQ(ahead_->Work(1), 1u);
  std::thread worker = Hang();
  fs_->client_changes().Note();
  for (size_t i = 0; i < LookAhead::kWindow; ++i) EXPECT_FALSE(Take().found.has_value());
  LetGo();
  worker.join();
}

TEST_F(LookAheadTest, AnyNumberOfThreadsWorkOnOneListing) {
  std::map<std::string, uint64_t> inodes;
  for (size_t i = 0; i < kFiles; ++i) {
    const std::string name = absl::StrCat("f", i);
    inodes[name] = tree_.Stat("d/" + name).st_ino;
  }
  std::atomic<bool> done = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      while (!done) ahead_->Work(LookAhead::kAtOnce);
    });
  }
  others.emplace_back([&] {
    while (!done) {
      fs_->client_changes().Note();
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 20; ++round) {
    cursor_.Start(0);
    ahead_->Restart();
    std::set<std::string> names;
    while (Next() != nullptr) {
      ahead_->Offer(cursor_, nullptr);
      const Taken taken = Take();
      EXPECT_TRUE(names.insert(taken.name).second) << taken.name;
      if (taken.found.has_value()) {
        EXPECT_EQ(taken.found->attr.stx_ino, inodes[taken.name]) << taken.name;
      }
    }
    EXPECT_EQ(names.size(), kFiles);
  }
  done = true;
  for (std::thread& other : others) other.join();
}

TEST(ClientChangesTest, AreCountedWhileSomebodyWatches) {
  ClientChanges changes;
  changes.Note();
  EXPECT_EQ(changes.count(), 0u);
  {
    const ClientChanges::Watch watch(changes);
    const ClientChanges::Watch another(changes);
    changes.Note();
    EXPECT_EQ(changes.count(), 1u);
  }
  changes.Note();
  EXPECT_EQ(changes.count(), 1u);
}

}  // namespace
}  // namespace gofer::fs
