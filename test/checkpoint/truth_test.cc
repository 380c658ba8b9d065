// The truth campaign: a random tree with random open state is saved, the host changes it behind the
// gofer's back, and it is restored. Whatever has happened, a client that goes on with its ids gets
// the file that it had, or is told that it does not; never another one. And what is said of each
// file is what is true of it, told beforehand as at the restore.
//
// Each round is a function of its number and the seed (but for which inode numbers the host gives),
// so that a failure is made again by them. More rounds, or others:
//   bazel test //test/checkpoint:truth_test --test_env=TRUTH_ROUNDS=20000 --test_env=TRUTH_SEED=7

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "checkpoint/load.h"
#include "checkpoint/report.h"
#include "checkpoint/save.h"
#include "gmock/gmock.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/host_fs.h"
#include "gtest/gtest.h"
#include "test/checkpoint/known_tree.h"
#include "test/checkpoint/life.h"
#include "test/support/environment.h"
#include "test/support/forked.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using fs::Verdict;
using lisafs::FdId;

UniqueFd OpenRoot(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  PCHECK(fd.valid()) << path;
  return fd;
}

// What a client holds, and of which file.
struct Held {
  FdId id;
  FileId file;
  bool is_open;
};

// How often something happened in all rounds, so that a campaign that tests nothing is seen.
struct Counts {
  std::map<std::string, uint64_t> verdicts;
  uint64_t served = 0;
  uint64_t stale = 0;
  uint64_t refused_saves = 0;
  uint64_t second_lives = 0;
  std::map<std::string, uint64_t> mutations;  // as KnownTree calls them
};

// Where the trees of the rounds are: a disk, which uses inode numbers again, and a memory file
// system. Each round's is a mount of its own, so that all mounts in it go with it.
class Places {
 public:
  Places() {
    PCHECK(unshare(CLONE_NEWNS) == 0);
    PCHECK(mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0);
    PCHECK(mount("truth", memory_.path().c_str(), "tmpfs", 0, nullptr) == 0);
  }
  ~Places() { umount2(memory_.path().c_str(), MNT_DETACH); }

  const TempTree& disk() const { return disk_; }
  const TempTree& memory() const { return memory_; }

 private:
  const TempTree disk_;
  const TempTree memory_;
};

class MountedDirectory {
 public:
  MountedDirectory(const TempTree& place, absl::string_view name) : path_(place.At(name)) {
    place.Mkdir(name);
    PCHECK(mount(path_.c_str(), path_.c_str(), nullptr, MS_BIND, nullptr) == 0);
  }
  ~MountedDirectory() {
    PCHECK(umount2(path_.c_str(), MNT_DETACH) == 0);
    std::filesystem::remove_all(path_);
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// Whether a file may have changed behind the back of who knows only size and modification time.
bool LooksUnchanged(const fs::InodeState& saved, const struct stat& now) {
  return saved.type != S_IFREG ||
         (saved.size == static_cast<uint64_t>(now.st_size) &&
          saved.mtime.sec == now.st_mtim.tv_sec && saved.mtime.nsec == now.st_mtim.tv_nsec);
}

class Round {
 public:
  Round(uint64_t seed, uint64_t number, const Places& places, Counts& counts)
      : random_(seed * 1'000'003 + number),
        is_copied_(random_() % 8 == 0),
        on_disk_(random_() % 3 == 0),
        directory_(on_disk_ ? places.disk() : places.memory(), "tree"),
        elsewhere_(on_disk_ ? places.memory() : places.disk(), "copy"),
        tree_(directory_.path(), random_),
        counts_(counts) {}
  ~Round() {
    for (const auto& [what, times] : tree_.done()) counts_.mutations[what] += times;
  }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  void Run() {
    Live();
    SCOPED_TRACE(absl::StrJoin(history_, "; "));
    if (const absl::Status saved = Save(*before_); !saved.ok()) return CheckRefused(saved);
    KnowRows();
    before_.reset();
    ChangeTheTree();
    SCOPED_TRACE(absl::StrJoin(history_, "; "));
    now_ = tree_.Look();
    options_.follow_moved = Chance(50);
    const fs::RestoreReport predicted = Predict();
    Restore();
    if (::testing::Test::HasFatalFailure()) return;
    EXPECT_EQ(checkpoint::ReportAsText(after_->report()), checkpoint::ReportAsText(predicted));
    EXPECT_EQ(checkpoint::ReportAsJson(after_->report()), checkpoint::ReportAsJson(predicted));
    CheckReport(predicted);
    CheckClient();
    if (Chance(25)) LiveOn();
  }

 private:
  bool Chance(unsigned percent) { return random_() % 100 < percent; }

  // ---- before

  // A client that holds and opens some of the tree, and removes and renames in it.
  void Live() {
    before_ = std::make_unique<Life>(OpenRoot(tree_.root()), server_options_);
    before_->Start();
    const Scan scan = tree_.Look();
    held_.push_back({.id = before_->root(), .file = scan.at("").file, .is_open = false});
    std::map<std::string, FdId> ids = {{"", before_->root()}};
    for (const auto& [path, seen] : scan) {
      const size_t slash = path.rfind('/');
      if (path.empty() || !ids.contains(path.substr(0, slash))) continue;
      if (!S_ISDIR(seen.stat.st_mode) && Chance(30)) continue;
      const FdId id = before_->Walk(ids.at(path.substr(0, slash)), path.substr(slash + 1));
      ids[path] = id;
      held_.push_back({.id = id, .file = seen.file, .is_open = false});
      held_by_path_[path] = seen.file;
      Open(id, seen);
    }
    Leave(ids, scan);
    // What moves before the save is no news to the restore.
    if (Chance(30)) history_.push_back(absl::StrCat("before the save: ", tree_.Mutate()));
    before_save_ = tree_.Look();
  }

  void Open(FdId id, const Seen& seen) {
    if (!S_ISREG(seen.stat.st_mode) && !S_ISDIR(seen.stat.st_mode)) return;
    // Those open for writing are brought to their disk, which takes its time.
    const bool writes = S_ISREG(seen.stat.st_mode) && Chance(on_disk_ ? 5 : 30);
    for (int left = static_cast<int>(random_() % 3); left > 0; --left) {
      const FdId open_file = Must((*before_)->OpenAt(id, writes ? O_RDWR : O_RDONLY)).fd;
      held_.push_back({.id = open_file, .file = seen.file, .is_open = true});
    }
  }

  // Removes a file that has no other name.
  void Leave(const std::map<std::string, FdId>& ids, const Scan& scan) {
    for (const auto& [path, seen] : scan) {
      if (!ids.contains(path) || !S_ISREG(seen.stat.st_mode) || seen.stat.st_nlink > 1) continue;
      if (!Chance(8)) continue;
      const size_t slash = path.rfind('/');
      Must((*before_)->UnlinkAt(ids.at(path.substr(0, slash)), path.substr(slash + 1), 0));
    }
  }

  absl::Status Save(Life& life) {
    std::string payload;
    const absl::StatusOr<checkpoint::SaveResult> saved = checkpoint::Save(
        {.filesystem = life.filesystem(), .lisafs = life.server(), .root = tree_.root()},
        {.leave_running = true}, [&](absl::string_view made) {
          payload = std::string(made);
          return absl::OkStatus();
        });
    if (!saved.ok()) return saved.status();
    absl::StatusOr<checkpoint::Loaded> loaded = checkpoint::Decode(payload);
    EXPECT_TRUE(loaded.ok()) << "an image that nobody can read: " << loaded.status();
    if (loaded.ok()) image_ = *std::move(loaded);
    return loaded.status();
  }

  // What exists only for clients that have it open, and is no regular file, cannot be saved: it is
  // named, and they are served on.
  void CheckRefused(const absl::Status& saved) {
    ASSERT_EQ(saved.code(), absl::StatusCode::kFailedPrecondition) << saved;
    EXPECT_NE(held_by_path_.size(), 0u);
    const auto is_named = [&](const auto& held) {
      return absl::StrContains(saved.message(), absl::CHexEscape(held.first)) &&
             PlacesOf(held.second, before_save_).empty();
    };
    EXPECT_TRUE(std::any_of(held_by_path_.begin(), held_by_path_.end(), is_named)) << saved;
    for (const Held& held : held_) EXPECT_EQ(Must((*before_)->FStat(held.id)).uid, held.file);
    ++counts_.refused_saves;
  }

  // Which file each row is. The client holds all that it has walked through, so there is no row
  // that nobody holds.
  void KnowRows() {
    const auto& names = image_.files.dentries;
    paths_.assign(1, "");
    for (uint32_t row = 1; row < names.size(); ++row) {
      paths_.push_back(absl::StrCat(paths_[names[row].parent], "/", names[row].name));
    }
    files_.assign(names.size(), 0);
    row_of_.clear();
    for (const lisafs::FdState& fd : image_.lisafs.connections.at(0).fds) {
      row_of_[fd.id] =
          fd.kind == lisafs::FdKind::kOpen ? image_.files.handles[fd.row].dentry : fd.row;
    }
    for (const Held& held : held_) {
      const uint32_t row = row_of_.at(static_cast<uint64_t>(held.id));
      EXPECT_TRUE(files_[row] == 0 || files_[row] == held.file);
      files_[row] = held.file;
    }
    EXPECT_EQ(std::count(files_.begin(), files_.end(), 0), 0);
    for (uint32_t row = 1; row < names.size(); ++row) {
      if (names[row].deleted || IsHidden(row)) continue;
      const auto seen = before_save_.find(paths_[row]);
      EXPECT_TRUE(seen != before_save_.end() && seen->second.file == files_[row])
          << absl::CHexEscape(paths_[row]) << " was saved as the name of another file";
    }
  }

  // Whether a save cannot know where it is: it is outside the tree, or below a mount.
  bool IsHidden(uint32_t row) const {
    if (row == 0) return false;
    return PlacesOf(files_[row], before_save_).empty() ||
           IsHidden(image_.files.dentries[row].parent);
  }

  // ---- in between

  void ChangeTheTree() {
    if (is_copied_) {
      tree_.MoveToCopy(elsewhere_.path());
    }
    for (uint64_t left = random_() % 8; left > 0; --left) {
      history_.push_back(is_copied_ ? tree_.MutateVisibly() : tree_.Mutate());
    }
  }

  // ---- after

  fs::RestoreReport Predict() {
    auto filesystem =
        fs::Filesystem::Create(OpenRoot(tree_.root()), Must(sys::OpenProcSelfFd()), {});
    CHECK(filesystem.ok()) << filesystem.status();
    fs::TreeRestore restore(**filesystem, image_.files, options_);
    return restore.Examine();
  }

  void Restore() {
    after_ = std::make_unique<Life>(OpenRoot(tree_.root()), server_options_);
    const absl::Status restored = after_->Restore(image_.files, image_.lisafs, options_);
    ASSERT_TRUE(restored.ok()) << restored;
  }

  // Where a row's file is by now, if that is where its name leads to.
  const Seen* AtItsPlace(uint32_t row) const {
    if (row == 0) return &now_.at("");
    const fs::DentryState& name = image_.files.dentries[row];
    if (AtItsPlace(name.parent) == nullptr) return nullptr;
    const auto seen = now_.find(paths_[row]);
    if (seen == now_.end()) return nullptr;
    // In a copy a name is all that there is, unless it was of another file when it was saved.
    if (seen->second.file == files_[row] || (is_copied_ && !IsHidden(row))) return &seen->second;
    return nullptr;
  }
  // Where a file is found by who looks through the tree for its inode number: a listing does not
  // say what is mounted on a name, and only directories are looked into all the same.
  static std::vector<std::string> PlacesOf(FileId file, const Scan& scan) {
    std::vector<std::string> places;
    for (const auto& [path, seen] : scan) {
      const bool is_listed = !seen.is_mount || S_ISDIR(seen.stat.st_mode);
      if (seen.file == file && is_listed) places.push_back(path);
    }
    return places;
  }

  // What is true of a row.
  std::set<Verdict> Truth(uint32_t row) const {
    const fs::DentryState& name = image_.files.dentries[row];
    const Seen* const seen = AtItsPlace(row);
    if (name.deleted) return {Verdict::kSame};
    const fs::InodeState& saved = image_.files.inodes[name.inode];
    if (seen != nullptr) {
      if (saved.type != (seen->stat.st_mode & S_IFMT)) return {Verdict::kReplaced};
      return {LooksUnchanged(saved, seen->stat) ? Verdict::kSame : Verdict::kChanged};
    }
    const auto is_it = [&](const auto& entry) { return entry.second.file == files_[row]; };
    const auto elsewhere = std::find_if(now_.begin(), now_.end(), is_it);
    if (is_copied_ || elsewhere == now_.end()) return NameOf(row);
    const Verdict found =
        LooksUnchanged(saved, elsewhere->second.stat) ? Verdict::kMoved : Verdict::kChanged;
    if (!PlacesOf(files_[row], now_).empty()) return {found};
    std::set<Verdict> verdicts = NameOf(row);
    verdicts.insert(found);
    return verdicts;
  }
  // What has become of the name of a row whose file is nowhere.
  std::set<Verdict> NameOf(uint32_t row) const {
    const fs::DentryState& name = image_.files.dentries[row];
    std::vector<std::string> parents;
    if (AtItsPlace(name.parent) != nullptr) {
      parents = {paths_[name.parent]};
    } else if (options_.follow_moved && !is_copied_) {
      parents = PlacesOf(files_[name.parent], now_);
    }
    std::set<Verdict> verdicts;
    for (const std::string& parent : parents) {
      verdicts.insert(now_.contains(absl::StrCat(parent, "/", name.name)) ? Verdict::kReplaced
                                                                          : Verdict::kMissing);
    }
    if (verdicts.empty()) verdicts.insert(Verdict::kMissing);
    return verdicts;
  }

  void CheckReport(const fs::RestoreReport& report) {
    verdicts_.assign(paths_.size(), Verdict::kSame);
    for (const fs::Finding& finding : report.findings) verdicts_[finding.dentry] = finding.verdict;
    for (uint32_t row = 0; row < paths_.size(); ++row) {
      EXPECT_TRUE(Truth(row).contains(verdicts_[row]))
          << absl::CHexEscape(paths_[row]) << " is said to be " << fs::VerdictName(verdicts_[row]);
      ++counts_.verdicts[std::string(fs::VerdictName(verdicts_[row]))];
    }
    EXPECT_EQ(report.relocated, is_copied_);
    // A line for each, with its path and a reason; the last has the totals.
    std::vector<std::string> lines =
        absl::StrSplit(checkpoint::ReportAsText(report), '\n', absl::SkipEmpty());
    ASSERT_EQ(lines.size(), report.findings.size() + 1);
    for (size_t i = 0; i < report.findings.size(); ++i) {
      const fs::Finding& finding = report.findings[i];
      const std::string begin = absl::StrCat(fs::VerdictName(finding.verdict), "  ",
                                             absl::CHexEscape(finding.path), ": ");
      EXPECT_TRUE(absl::StartsWith(lines[i], begin)) << lines[i];
      EXPECT_GT(lines[i].size(), begin.size()) << lines[i] << " gives no reason";
    }
  }

  // Removed before the save, and neither open nor a regular file: nothing was saved of it.
  bool IsForgotten(uint32_t row) const {
    const auto& names = image_.files.dentries;
    const uint32_t inode = names[row].inode;
    return image_.files.inodes[inode].type != S_IFREG &&
           std::all_of(names.begin(), names.end(), [&](const fs::DentryState& name) {
             return name.inode != inode || name.deleted;
           });
  }
  // Whether the client must get the file of a row.
  bool IsServed(uint32_t row) const {
    if (IsForgotten(row)) return false;
    return verdicts_[row] == Verdict::kSame ||
           (verdicts_[row] == Verdict::kMoved && options_.follow_moved);
  }

  void CheckClient() {
    for (const Held& held : held_) {
      const uint32_t row = row_of_.at(static_cast<uint64_t>(held.id));
      SCOPED_TRACE(absl::StrCat(absl::CHexEscape(paths_[row]), " is ",
                                fs::VerdictName(verdicts_[row]), held.is_open ? ", open" : ""));
      const ErrnoOr<lisafs::Statx> attr = (*after_)->FStat(held.id);
      if (IsServed(row)) {
        EXPECT_EQ(ErrorOf(attr), 0);
        if (attr.ok()) CheckServed(held, *attr);
        ++counts_.served;
      } else {
        EXPECT_EQ(ErrorOf(attr), ESTALE);
        CheckStale(held);
        ++counts_.stale;
      }
    }
    CheckFreshWalks();
  }

  void CheckServed(const Held& held, const lisafs::Statx& attr) {
    // A copy's directories are told by nothing but their names.
    if (is_copied_ && !S_ISREG(attr.mode)) return;
    EXPECT_EQ(attr.uid, held.file) << "the wrong file is served";
    const std::string& content = tree_.ContentOf(held.file);
    if (S_ISREG(attr.mode)) {
      const FdId open_file = held.is_open ? held.id : Must((*after_)->OpenAt(held.id, O_RDONLY)).fd;
      EXPECT_EQ(after_->Read(open_file, content.size() + 10), content);
      if (!held.is_open) Must((*after_)->Close({open_file}));
    } else if (S_ISLNK(attr.mode)) {
      EXPECT_EQ(Must((*after_)->ReadLinkAt(held.id)), content);
    }
  }

  void CheckStale(const Held& held) {
    if (!held.is_open) {
      EXPECT_FALSE((*after_)->OpenAt(held.id, O_RDONLY).ok());
      return;
    }
    std::byte byte;
    EXPECT_FALSE((*after_)->PRead(held.id, std::span(&byte, 1), 0).ok());
  }

  // Whatever was restored: from the root on, names lead to what is there now.
  void CheckFreshWalks() {
    if (verdicts_[0] != Verdict::kSame) return;
    for (const auto& [path, seen] : now_) {
      std::vector<absl::string_view> names = absl::StrSplit(path, '/', absl::SkipEmpty());
      std::vector<lisafs::Inode> inodes(names.size());
      if (names.empty() || names.size() > 8) continue;
      const auto walked = (*after_)->Walk(held_[0].id, names, std::span(inodes));
      ASSERT_EQ(ErrorOf(walked), 0) << absl::CHexEscape(path);
      ASSERT_EQ(walked->count, names.size()) << absl::CHexEscape(path);
      EXPECT_EQ(inodes.back().stat.uid, seen.file) << absl::CHexEscape(path);
      for (const lisafs::Inode& inode : inodes) Must((*after_)->Close({inode.control_fd}));
    }
  }

  // Saved once more and restored once more: what was served is, what was stale is.
  void LiveOn() {
    std::vector<int> errors;
    for (const Held& held : held_) errors.push_back(ErrorOf((*after_)->FStat(held.id)));
    const absl::Status saved = Save(*after_);
    if (!saved.ok()) {
      // A mount keeps what has no name any more.
      const auto is_nameless = [](const auto& entry) { return entry.second.stat.st_nlink == 0; };
      ASSERT_TRUE(std::any_of(now_.begin(), now_.end(), is_nameless)) << saved;
      return;
    }
    after_.reset();
    Restore();
    if (::testing::Test::HasFatalFailure()) return;
    EXPECT_EQ(checkpoint::ReportAsText(fs::RestoreReport{.relocated = false,
                                                         .same = after_->report().same,
                                                         .findings = after_->report().findings}),
              absl::StrCat(image_.files.dentries.size(), " same\n"));
    for (size_t i = 0; i < held_.size(); ++i) {
      const ErrnoOr<lisafs::Statx> attr = (*after_)->FStat(held_[i].id);
      EXPECT_EQ(ErrorOf(attr), errors[i]);
      if (attr.ok()) CheckServed(held_[i], *attr);
    }
    ++counts_.second_lives;
  }

  std::mt19937_64 random_;
  const bool is_copied_;
  const bool on_disk_;
  const MountedDirectory directory_;
  const MountedDirectory elsewhere_;
  KnownTree tree_;
  Counts& counts_;
  const lisafs::ServerOptions server_options_ = {.donate_fds = false};
  fs::RestoreOptions options_;
  std::unique_ptr<Life> before_;
  std::unique_ptr<Life> after_;
  std::vector<Held> held_;
  std::map<std::string, FileId> held_by_path_;
  Scan before_save_;
  Scan now_;
  std::vector<std::string> history_;
  checkpoint::Loaded image_;
  // Of each row of the image's names.
  std::vector<std::string> paths_;
  std::vector<FileId> files_;
  std::vector<Verdict> verdicts_;
  absl::flat_hash_map<uint64_t, uint32_t> row_of_;  // of an id of the client
};

TEST(TruthTest, NoClientGetsAWrongFile) {
  if (!IsPrivileged()) GTEST_SKIP() << "needs to give files owners, and to mount";
  umask(0);
  const uint64_t rounds = FromEnvironment("TRUTH_ROUNDS", 500);
  const uint64_t seed = FromEnvironment("TRUTH_SEED", 1);
  const Places places;
  Counts counts;
  for (uint64_t number = FromEnvironment("TRUTH_FIRST", 0); number < rounds; ++number) {
    SCOPED_TRACE(absl::StrCat("TRUTH_SEED=", seed, " TRUTH_FIRST=", number));
    Round(seed, number, places, counts).Run();
    if (HasFailure()) return;  // one tells enough
  }
  const auto table = [](const std::map<std::string, uint64_t>& column) {
    return absl::StrJoin(column, ", ", absl::PairFormatter(" "));
  };
  std::cout << rounds << " rounds, no wrong file: " << counts.served << " files served, "
            << counts.stale << " stale, " << counts.refused_saves << " saves refused, "
            << counts.second_lives << " saved twice\nverdicts: " << table(counts.verdicts)
            << "\nthe host did: " << table(counts.mutations) << "\n";
  if (rounds < 100) return;
  for (const Verdict verdict : {Verdict::kSame, Verdict::kMoved, Verdict::kReplaced,
                                Verdict::kChanged, Verdict::kMissing}) {
    EXPECT_GT(counts.verdicts[std::string(fs::VerdictName(verdict))], rounds / 10);
  }
  for (const char* const mutation :
       {"rename", "move directory", "replace", "recreate with its number", "exchange",
        "exchange link", "relink", "append", "truncate", "rewrite", "touch", "chmod", "delete",
        "mount", "copy the tree"}) {
    EXPECT_GE(counts.mutations[mutation], rounds / 50) << mutation;
  }
  EXPECT_GT(counts.second_lives, 0u);
}

}  // namespace
}  // namespace gofer::testing
