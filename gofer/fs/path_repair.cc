#include "gofer/fs/path_repair.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"

namespace gofer::fs {
namespace {

constexpr absl::string_view kDeletedMark = " (deleted)";
// Names between two reports of progress.
constexpr uint64_t kProgressStep = 1024;
// Entries of a directory that are taken at a time in a search.
constexpr size_t kBatch = 1024;
// Names in a message; more of them help nobody.
constexpr size_t kMaxNamed = 100;

// The part of `path` below `root`; none if it is not below it.
std::optional<absl::string_view> Below(absl::string_view root, absl::string_view path) {
  if (root == "/") root = "";
  if (!absl::StartsWith(path, root)) return std::nullopt;
  path.remove_prefix(root.size());
  // "/share2" is not below "/share".
  if (path.size() < 2 || path.front() != '/') return std::nullopt;
  return path.substr(1);
}

// Visits the Dentries that clients refer to, a directory before what is in it.
class InUse {
 public:
  InUse(Filesystem& filesystem, const PathWatch& watch)
      : filesystem_(filesystem), watch_(watch), total_(filesystem.dentries().size()) {}

  bool Cancelled() {
    cancelled_ =
        cancelled_ || (watch_.cancel != nullptr && watch_.cancel->load(std::memory_order_relaxed));
    return cancelled_;
  }

  template <typename Visit>
  void ForEach(Visit&& visit) {
    Report();
    Descend(filesystem_.dentries().ChildrenOf(filesystem_.root()), visit);
    // After the others, which may have got their places.
    Descend(filesystem_.dentries().Astray(), visit);
    Report();
  }

 private:
  template <typename Visit>
  void Descend(std::vector<RefPtr<Dentry>> left, Visit& visit) {
    while (!left.empty()) {
      const RefPtr<Dentry> at = std::move(left.back());
      left.pop_back();
      // What only we refer to is cached at most; what is deleted has no name; what stands for a
      // file that was not found at a restore has none either.
      if (!at->shared() || at->deleted() || at->inode().lost()) continue;
      if (Cancelled()) return;
      visit(*at);
      if (++done_ % kProgressStep == 0) Report();
      if (!at->is_directory()) continue;
      for (RefPtr<Dentry>& child : filesystem_.dentries().ChildrenOf(*at)) {
        left.push_back(std::move(child));
      }
    }
  }

  void Report() const {
    if (watch_.progress) watch_.progress(done_, std::max(done_, total_));
  }

  Filesystem& filesystem_;
  const PathWatch& watch_;
  const uint64_t total_;
  uint64_t done_ = 0;
  bool cancelled_ = false;
};

class Repair {
 public:
  Repair(Filesystem& filesystem, const PathWatch& watch, PreparedFiles* files)
      : filesystem_(filesystem), in_use_(filesystem, watch), files_(files) {}

  PathRepair Run() {
    const ErrnoOr<std::string> root = filesystem_.HostPathOf(filesystem_.root());
    if (root.ok()) root_path_ = *root;
    in_use_.ForEach([this](Dentry& dentry) { Check(dentry); });
    Search();
    SettleRest();
    result_.cancelled = in_use_.Cancelled();
    return result_;
  }

 private:
  // A Dentry whose file has yet to be found.
  struct Lost {
    RefPtr<Dentry> dentry;  // null: found
    // Where its file is, but another Dentry of it has that place.
    DentryCache::Place shared_place;
  };
  // A directory that is searched, and which of its directories are still to be.
  struct Level {
    RefPtr<Dentry> dir;
    uint64_t cookie = 0;
    bool at_end = false;
    std::vector<std::string> below = {};
  };

  void Check(Dentry& dentry) {
    ++result_.checked;
    const bool is_right = files_ != nullptr ? files_->Look(filesystem_, dentry).ok()
                                            : filesystem_.CheckPlace(dentry).ok();
    if (is_right) return;
    Lost lost = {.dentry = RefPtr<Dentry>(&dentry), .shared_place = {}};
    const ErrnoOr<std::string> path = filesystem_.HostPathOf(dentry);
    // Literally first: a name may well end like that.
    if (path.ok() && SettleAt(*path, lost)) return;
    if (path.ok() && IsDeleted(dentry, *path)) {
      if (filesystem_.SettleDeleted(dentry).ok()) ++result_.deleted;
      return;
    }
    // Looking at it may have brought it here twice: in its old place, and astray.
    if (!known_.insert(&dentry).second) return;
    if (!path.ok() || Below(root_path_, *path).has_value() || HasOtherNames(dentry)) {
      lost_by_ino_[dentry.inode().key().ino].push_back(lost_.size());
      has_lost_directory_ = has_lost_directory_ || dentry.is_directory();
    }
    lost_.push_back(std::move(lost));
  }

  bool IsDeleted(Dentry& dentry, absl::string_view path) {
    const ErrnoOr<sys::Attr> attr = filesystem_.Stat(dentry);
    if (!attr.ok()) return false;
    // Some file systems keep the link count of a removed directory, but it has one name only.
    return attr->stx_nlink == 0 || (dentry.is_directory() && absl::EndsWith(path, kDeletedMark));
  }

  bool HasOtherNames(Dentry& dentry) {
    if (dentry.is_directory()) return false;
    const ErrnoOr<sys::Attr> attr = filesystem_.Stat(dentry);
    return !attr.ok() || attr->stx_nlink > 1;
  }

  // Where the kernel says that it is.
  bool SettleAt(absl::string_view path, Lost& lost) {
    const std::optional<absl::string_view> below = Below(root_path_, path);
    if (!below.has_value()) return false;
    RefPtr<Dentry> dir(&filesystem_.root());
    std::vector<absl::string_view> names = absl::StrSplit(*below, '/');
    const absl::string_view last = names.back();
    names.pop_back();
    for (const absl::string_view component : names) {
      const ErrnoOr<Name> name = Name::Parse(component);
      if (!name.ok()) return false;
      ErrnoOr<Entry> entry = filesystem_.LookupUnopened(*dir, *name);
      if (!entry.ok()) return false;
      dir = std::move(entry->dentry);
    }
    return Settle(lost, *dir, last);
  }

  bool Settle(Lost& lost, Dentry& dir, absl::string_view last) {
    const ErrnoOr<Name> name = Name::Parse(last);
    if (!name.ok()) return false;
    const ErrnoOr<void> settled =
        filesystem_.Resettle(*lost.dentry, dir, *name, /*share_place=*/false);
    if (settled.ok()) {
      ++result_.repaired;
    } else if (settled.error() == EEXIST) {
      lost.shared_place = {.parent = RefPtr<Dentry>(&dir), .name = std::string(last)};
    }
    return settled.ok();
  }

  // ---- the search of the whole tree

  bool AllFound() const { return lost_by_ino_.empty(); }

  void Search() {
    std::vector<Level> levels;
    levels.push_back({.dir = RefPtr<Dentry>(&filesystem_.root())});
    while (!levels.empty() && !AllFound() && !in_use_.Cancelled()) {
      Level& level = levels.back();
      if (!level.below.empty()) {
        const std::string name = std::move(level.below.back());
        level.below.pop_back();
        if (RefPtr<Dentry> dir = DirectoryAt(*level.dir, name); dir) {
          levels.push_back({.dir = std::move(dir)});
        }
      } else if (level.at_end) {
        levels.pop_back();
      } else {
        SearchBatch(level);
      }
    }
  }

  RefPtr<Dentry> DirectoryAt(Dentry& dir, absl::string_view component) {
    const ErrnoOr<Name> name = Name::Parse(component);
    if (!name.ok()) return nullptr;
    ErrnoOr<Entry> entry = filesystem_.LookupUnopened(dir, *name);
    if (!entry.ok() || !entry->dentry->is_directory()) return nullptr;
    return std::move(entry->dentry);
  }

  void SearchBatch(Level& level) {
    // What cannot be read is passed over: what lies behind it is not found.
    level.at_end = true;
    ErrnoOr<RefPtr<Handle>> listing =
        filesystem_.OpenWith(*level.dir, O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (!listing.ok()) listing = filesystem_.OpenWith(*level.dir, O_RDONLY | O_DIRECTORY);
    if (!listing.ok()) return;
    // Elsewhere a listing may tell other numbers than the files have.
    const MountKind kind = level.dir->inode().mount().kind();
    const bool are_exact = kind == MountKind::kLocal || kind == MountKind::kMemory;
    std::vector<std::string> candidates;  // looked at after the listing, which holds a lock
    size_t taken = 0;
    (void)filesystem_
        .ReadDirFrom(**listing, level.cookie,
                     [&](const DirEntry& entry) {
                       if (taken++ == kBatch) {
                         level.at_end = false;
                         return false;
                       }
                       level.cookie = entry.off;
                       if (entry.name == "." || entry.name == "..") return true;
                       const bool may_be_dir = entry.type == DT_DIR || entry.type == DT_UNKNOWN;
                       if (may_be_dir) level.below.emplace_back(entry.name);
                       // A mount has another number than the directory under it, which is listed.
                       if (!are_exact || (may_be_dir && has_lost_directory_) ||
                           lost_by_ino_.contains(entry.ino)) {
                         candidates.emplace_back(entry.name);
                       }
                       return true;
                     })
        .ok();
    for (const std::string& name : candidates) Meet(*level.dir, name);
  }

  // One name of the tree, which may be of a file that is looked for.
  void Meet(Dentry& dir, absl::string_view candidate) {
    const ErrnoOr<Name> name = Name::Parse(candidate);
    if (!name.ok()) return;
    const ErrnoOr<sys::Attr> attr = filesystem_.StatChild(dir, *name);
    if (!attr.ok()) return;
    const auto found = lost_by_ino_.find(attr->stx_ino);
    if (found == lost_by_ino_.end()) return;
    auto& rows = found->second;
    // A name is one Dentry's.
    const auto settled = std::find_if(
        rows.begin(), rows.end(), [&](size_t row) { return Settle(lost_[row], dir, candidate); });
    if (settled == rows.end()) return;
    lost_[*settled].dentry = nullptr;
    rows.erase(settled);
    if (rows.empty()) lost_by_ino_.erase(found);
  }

  // What is left gets a name that another Dentry of the same file has too, if there is one.
  void SettleRest() {
    for (const Lost& lost : lost_) {
      if (!lost.dentry) continue;
      if (TakeSharedPlace(lost)) {
        ++result_.repaired;
      } else if (!lost.dentry->deleted() && !filesystem_.CheckPlace(*lost.dentry).ok()) {
        // And no client has renamed or removed it meanwhile. A save sees that its name is none.
        filesystem_.dentries().Forget(*lost.dentry);
        ++result_.not_found;
      }
    }
  }

  bool TakeSharedPlace(const Lost& lost) {
    if (!lost.shared_place.parent) return false;
    const ErrnoOr<Name> name = Name::Parse(lost.shared_place.name);
    if (!name.ok()) return false;
    return filesystem_
        .Resettle(*lost.dentry, *lost.shared_place.parent, *name, /*share_place=*/true)
        .ok();
  }

  Filesystem& filesystem_;
  InUse in_use_;
  PreparedFiles* const files_;
  std::string root_path_ = "/";
  std::vector<Lost> lost_;
  absl::flat_hash_set<const Dentry*> known_;  // of lost_
  // What the search is for, as rows of lost_.
  absl::flat_hash_map<uint64_t, absl::InlinedVector<size_t, 1>> lost_by_ino_;
  bool has_lost_directory_ = false;
  PathRepair result_;
};

std::string WhyNot(Errno error) {
  if (error == ENOENT) return "its name leads nowhere";
  if (error == ESTALE) return "its name leads to another file";
  return absl::StrCat("its name cannot be looked at: ", error.ToString());
}

}  // namespace

PathRepair RepairPaths(Filesystem& filesystem, const PathWatch& watch, PreparedFiles* files) {
  return Repair(filesystem, watch, files).Run();
}

absl::Status ConfirmPaths(Filesystem& filesystem, const PathWatch& watch) {
  InUse in_use(filesystem, watch);
  size_t wrong = 0;
  std::vector<std::string> named;
  in_use.ForEach([&](Dentry& dentry) {
    const ErrnoOr<sys::Attr> held = filesystem.CheckPlace(dentry);
    if (held.ok()) return;
    if (++wrong > kMaxNamed) return;
    named.push_back(
        absl::StrCat(absl::CHexEscape(filesystem.PathOf(dentry)), ": ", WhyNot(held.error())));
  });
  if (in_use.Cancelled()) return absl::CancelledError("confirming paths: cancelled");
  if (wrong == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      wrong, " paths do not hold: ", absl::StrJoin(named, "; "), wrong > kMaxNamed ? "; ..." : ""));
}

}  // namespace gofer::fs
