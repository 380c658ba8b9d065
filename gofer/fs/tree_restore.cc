#include "gofer/fs/tree_restore.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"

namespace gofer::fs {
namespace {

bool IsGone(Errno error) { return error == ENOENT || error == ENOTDIR; }

}  // namespace

TreeRestore::TreeRestore(Filesystem& filesystem, FilesystemState state,
                         const RestoreOptions& options)
    : filesystem_(filesystem),
      state_(std::move(state)),
      options_(options),
      rows_(state_.dentries.size()),
      handles_(state_.handles.size()) {}

std::string TreeRestore::PathOf(uint32_t row) const {
  std::vector<absl::string_view> names;
  for (uint32_t at = row; state_.dentries[at].parent != kNoIndex; at = state_.dentries[at].parent) {
    names.push_back(state_.dentries[at].name);
  }
  return absl::StrCat("/", absl::StrJoin(names.rbegin(), names.rend(), "/"));
}

const RestoreReport& TreeRestore::Examine() {
  const ErrnoOr<sys::Attr> root = filesystem_.Stat(filesystem_.root());
  const InodeState& saved = state_.inodes[state_.dentries[0].inode];
  judge_.emplace(saved, root.ok() ? InodeStateOf(*root) : InodeState(), options_.validation);
  report_.relocated = judge_->relocated();
  rows_[0].dentry = RefPtr<Dentry>(&filesystem_.root());
  rows_[0].examined = true;
  if (!root.ok()) {
    rows_[0].verdict = Verdict::kUnverifiable;
    rows_[0].error = root.error();
  } else if (saved.type != rows_[0].dentry->type()) {
    rows_[0].verdict = Verdict::kReplaced;
  }
  ExamineNames();
  if (!judge_->relocated()) FindMoved();
  JudgeRemovedNames();
  OpenHandles();

  for (uint32_t row = 0; row < rows_.size(); ++row) {
    const Row& examined = rows_[row];
    if (examined.verdict == Verdict::kSame) {
      ++report_.same;
      continue;
    }
    report_.findings.push_back({.dentry = row,
                                .path = PathOf(row),
                                .verdict = examined.verdict,
                                .saved = state_.inodes[state_.dentries[row].inode],
                                .found = examined.found,
                                .found_path = examined.found_path,
                                .error = examined.error});
  }
  for (const OpenFailure& failure : open_failures_) {
    report_.findings.push_back({.dentry = failure.dentry,
                                .path = PathOf(failure.dentry),
                                .verdict = Verdict::kUnverifiable,
                                .saved = state_.inodes[state_.dentries[failure.dentry].inode],
                                .found = std::nullopt,
                                .found_path = "",
                                .error = failure.error});
  }
  return report_;
}

void TreeRestore::ExamineNames() {
  for (uint32_t row = 1; row < rows_.size(); ++row) {
    // What clients had removed has no name to be found by.
    if (!rows_[row].examined && !state_.dentries[row].deleted) ExamineName(row);
  }
}

void TreeRestore::ExamineName(uint32_t row) {
  const DentryState& saved = state_.dentries[row];
  Row& result = rows_[row];
  const Row& parent = rows_[saved.parent];
  if (!parent.dentry) {
    result.verdict = Verdict::kMissing;
    return;  // looked at again if the directory is found elsewhere
  }
  result.examined = true;
  const ErrnoOr<Name> name = Name::Parse(saved.name);
  const ErrnoOr<Entry> entry =
      name.ok() ? filesystem_.LookupUnopened(*parent.dentry, *name) : ErrnoOr<Entry>(name.error());
  if (!entry.ok()) {
    result.verdict = IsGone(entry.error()) ? Verdict::kMissing : Verdict::kUnverifiable;
    result.error = entry.error();
    return;
  }
  result.found = InodeStateOf(entry->attr);
  if (saved.astray && judge_->relocated()) {
    result.verdict = Verdict::kReplaced;  // no more is known of it than that it is not this one
    return;
  }
  result.verdict = judge_->Judge(state_.inodes[saved.inode], *result.found);
  if (result.verdict == Verdict::kSame) result.dentry = entry->dentry;
}

void TreeRestore::JudgeRemovedNames() {
  std::vector<uint32_t> named(state_.inodes.size(), kNoIndex);
  for (uint32_t row = 1; row < rows_.size(); ++row) {
    uint32_t& known = named[state_.dentries[row].inode];
    if (state_.dentries[row].deleted || (known != kNoIndex && rows_[known].dentry)) continue;
    known = row;
  }
  for (uint32_t row = 1; row < rows_.size(); ++row) {
    if (!state_.dentries[row].deleted) continue;
    const uint32_t other = named[state_.dentries[row].inode];
    if (other == kNoIndex || rows_[other].dentry) continue;
    rows_[row] = rows_[other];
  }
}

void TreeRestore::FindMoved() {
  for (uint32_t row = 1; row < rows_.size(); ++row) {
    const Row& lost = rows_[row];
    if (lost.verdict != Verdict::kMissing && lost.verdict != Verdict::kReplaced) continue;
    wanted_[state_.inodes[state_.dentries[row].inode].ino].push_back(row);
  }
  std::vector<RefPtr<Dentry>> directories;
  if (!wanted_.empty()) directories.emplace_back(&filesystem_.root());
  while (!directories.empty() && !wanted_.empty()) {
    const RefPtr<Dentry> dir = std::move(directories.back());
    directories.pop_back();
    SearchDirectory(*dir, directories);
  }
  // What else is named below a directory that is followed.
  ExamineNames();
}

void TreeRestore::SearchDirectory(Dentry& dir, std::vector<RefPtr<Dentry>>& below) {
  const ErrnoOr<RefPtr<Handle>> listing =
      filesystem_.OpenWith(dir, O_RDONLY | O_DIRECTORY | O_NOATIME);
  if (!listing.ok()) return;
  std::vector<std::string> candidates;  // looked up after the listing, which holds a lock
  (void)filesystem_
      .ReadDirFrom(
          **listing, 0,
          [&](const DirEntry& entry) {
            if (entry.name == "." || entry.name == "..") return true;
            // A mount has another number than the directory under it, which is listed.
            if (entry.type == DT_DIR || entry.type == DT_UNKNOWN || wanted_.contains(entry.ino)) {
              candidates.emplace_back(entry.name);
            }
            return true;
          })
      .ok();
  for (const std::string& candidate : candidates) {
    const ErrnoOr<Name> name = Name::Parse(candidate);
    if (!name.ok()) continue;
    const ErrnoOr<Entry> entry = filesystem_.LookupUnopened(dir, *name);
    if (!entry.ok()) continue;
    Meet(dir, candidate, *entry);
    if (entry->dentry->is_directory()) below.push_back(entry->dentry);
  }
}

void TreeRestore::Meet(Dentry& dir, absl::string_view name, const Entry& entry) {
  const auto wanted = wanted_.find(entry.attr.stx_ino);
  if (wanted == wanted_.end()) return;
  const InodeState found = InodeStateOf(entry.attr);
  auto& rows = wanted->second;
  rows.erase(std::remove_if(rows.begin(), rows.end(),
                            [&](uint32_t row) {
                              const InodeState& saved = state_.inodes[state_.dentries[row].inode];
                              if (!judge_->SameFile(saved, found)) return false;
                              Row& result = rows_[row];
                              result.examined = true;
                              result.verdict = Verdict::kMoved;
                              result.found = found;
                              const std::string parent = filesystem_.PathOf(dir);
                              result.found_path =
                                  absl::StrCat(parent == "/" ? "" : parent, "/", name);
                              // Followed only with the content that it had.
                              const bool same = judge_->Judge(saved, found) == Verdict::kSame;
                              if (options_.follow_moved && same) result.dentry = entry.dentry;
                              if (!same) result.verdict = Verdict::kChanged;
                              return true;
                            }),
             rows.end());
  if (rows.empty()) wanted_.erase(wanted);
}

void TreeRestore::OpenHandles() {
  // Readers of FIFOs before writers: without a reader, opening to write is ENXIO.
  std::vector<uint32_t> order(handles_.size());
  for (uint32_t row = 0; row < order.size(); ++row) order[row] = row;
  std::stable_partition(order.begin(), order.end(), [&](uint32_t row) {
    const HandleState& handle = state_.handles[row];
    return state_.inodes[state_.dentries[handle.dentry].inode].type != S_IFIFO ||
           (handle.flags & O_ACCMODE) != O_WRONLY;
  });
  for (const uint32_t row : order) {
    const HandleState& saved = state_.handles[row];
    if (!rows_[saved.dentry].dentry) continue;  // Take sees to it
    ErrnoOr<RefPtr<Handle>> handle = Reopen(saved);
    if (handle.ok()) {
      handles_[row] = *std::move(handle);
    } else {
      open_failures_.push_back({saved.dentry, handle.error()});
    }
  }
}

ErrnoOr<RefPtr<Handle>> TreeRestore::Reopen(const HandleState& state) {
  Dentry& dentry = *rows_[state.dentry].dentry;
  const auto flags = static_cast<int>(state.flags);
  if (dentry.type() != S_IFREG && dentry.type() != S_IFDIR) return filesystem_.Open(dentry, flags);
  ASSIGN_OR_RETURN(RefPtr<Handle> handle, filesystem_.OpenWith(dentry, flags));
  if (dentry.is_directory()) {
    RETURN_IF_ERROR(filesystem_.SetPosition(*handle, state.position));
  }
  return handle;
}

absl::Status TreeRestore::Take() {
  ASSIGN_OR_RETURN(std::vector<RefPtr<Dentry>> nameless, MakeDeletedFiles());
  AddFilesWithOtherNames(nameless);
  for (uint32_t row = 1; row < rows_.size(); ++row) {
    if (rows_[row].dentry) continue;
    const DentryState& saved = state_.dentries[row];
    Dentry& dir = *rows_[saved.parent].dentry;
    const RefPtr<Dentry>& file = nameless[saved.inode];
    rows_[row].dentry =
        saved.deleted && file
            ? filesystem_.AddDeleted(dir, saved.name, *file)
            : filesystem_.AddStale(dir, saved.name, state_.inodes[saved.inode].type);
  }
  RETURN_IF_ERROR(ReopenDeletedFiles());
  for (uint32_t row = 0; row < handles_.size(); ++row) {
    if (handles_[row]) continue;
    const HandleState& saved = state_.handles[row];
    handles_[row] =
        filesystem_.MakeUnopened(*rows_[saved.dentry].dentry, static_cast<int>(saved.flags));
  }
  if (options_.keep_numbers) KeepNumbers();
  return RefillFifos();
}

void TreeRestore::KeepNumbers() {
  std::vector<ClientNumbers::Kept> kept;
  for (uint32_t row = 0; row < rows_.size(); ++row) {
    if (rows_[row].dentry->inode().lost()) continue;
    const InodeKey key = rows_[row].dentry->inode().key();
    const InodeState& saved = state_.inodes[state_.dentries[row].inode];
    kept.push_back(
        {.host = {.dev_major = key.dev_major, .dev_minor = key.dev_minor, .ino = key.ino},
         .client = {.dev_major = saved.client_dev_major,
                    .dev_minor = saved.client_dev_minor,
                    .ino = saved.client_ino}});
  }
  filesystem_.KeepNumbers(ClientNumbers(kept));
}

void TreeRestore::Replace(std::span<const std::pair<uint32_t, RefPtr<Dentry>>> made) {
  std::vector<RefPtr<Dentry>> gone;  // kept for their numbers
  std::vector<std::pair<const Inode*, const Inode*>> pairs;
  for (const auto& [row, dentry] : made) {
    gone.push_back(std::exchange(rows_[row].dentry, dentry));
    pairs.emplace_back(&gone.back()->inode(), &dentry->inode());
  }
  if (options_.keep_numbers && !pairs.empty()) filesystem_.PassNumbersOn(pairs);
}

void TreeRestore::AddFilesWithOtherNames(std::vector<RefPtr<Dentry>>& nameless) const {
  for (uint32_t row = 1; row < rows_.size(); ++row) {
    const DentryState& saved = state_.dentries[row];
    if (rows_[row].dentry && !saved.deleted) nameless[saved.inode] = rows_[row].dentry;
  }
}

absl::Status TreeRestore::RefillFifos() {
  for (uint32_t row = 0; row < handles_.size(); ++row) {
    const HandleState& saved = state_.handles[row];
    Dentry& fifo = handles_[row]->dentry();
    if (saved.unread.empty() || fifo.inode().lost()) continue;
    // They last: the handle is open.
    if (const ErrnoOr<void> refilled = filesystem_.RefillFifo(fifo, saved.unread); !refilled.ok()) {
      return ToStatus(refilled.error(),
                      absl::StrCat(absl::CHexEscape(PathOf(saved.dentry)), ": putting back ",
                                   saved.unread.size(), " bytes that had not been read"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RefPtr<Dentry>>> TreeRestore::MakeDeletedFiles() {
  std::vector<RefPtr<Dentry>> made(state_.inodes.size());
  for (const DeletedFileState& file : state_.deleted_files) {
    ASSIGN_OR_RETURN(made[file.inode], MakeDeletedFile(file));
  }
  return made;
}

absl::Status TreeRestore::DeletedFileFailed(uint32_t inode, Errno error) const {
  const auto names_it = [inode](const DentryState& name) { return name.inode == inode; };
  const auto name = std::find_if(state_.dentries.begin(), state_.dentries.end(), names_it);
  const std::string path = name == state_.dentries.end()
                               ? ""
                               : PathOf(static_cast<uint32_t>(name - state_.dentries.begin()));
  return ToStatus(error,
                  absl::StrCat(absl::CHexEscape(path), ": was deleted and open; making it anew"));
}

absl::StatusOr<RefPtr<Dentry>> TreeRestore::MakeDeletedFile(const DeletedFileState& file) {
  const InodeState& inode = state_.inodes[file.inode];
  const auto failed = [&](Errno error) { return DeletedFileFailed(file.inode, error); };
  const Creation creation = {.mode = file.mode, .owner = {.uid = file.uid, .gid = file.gid}};
  ErrnoOr<OpenEntry> made = filesystem_.CreateUnnamed(filesystem_.root(), O_RDWR, creation);
  if (!made.ok()) return failed(made.error());
  Handle& handle = *made->handle;
  for (const Extent& extent : file.extents) {
    const ErrnoOr<size_t> put = filesystem_.Write(
        handle, std::as_bytes(std::span(extent.data.data(), extent.data.size())), extent.offset);
    if (!put.ok()) return failed(put.error());
    if (*put < extent.data.size()) return failed(Errno(ENOSPC));
  }
  if (const ErrnoOr<void> cut = filesystem_.Truncate(handle, inode.size); !cut.ok()) {
    return failed(cut.error());
  }
  const struct timespec times[2] = {
      {.tv_sec = 0, .tv_nsec = UTIME_OMIT},
      {.tv_sec = inode.mtime.sec, .tv_nsec = static_cast<long>(inode.mtime.nsec)}};
  if (const ErrnoOr<void> set = filesystem_.SetTimes(handle, times); !set.ok()) {
    return failed(set.error());
  }
  return made->entry.dentry;
}

absl::Status TreeRestore::ReopenDeletedFiles() {
  absl::flat_hash_set<uint32_t> made;
  for (const DeletedFileState& file : state_.deleted_files) made.insert(file.inode);
  for (uint32_t row = 0; row < handles_.size(); ++row) {
    const HandleState& saved = state_.handles[row];
    const uint32_t inode = state_.dentries[saved.dentry].inode;
    if (!made.contains(inode)) continue;
    Dentry& dentry = *rows_[saved.dentry].dentry;
    ErrnoOr<RefPtr<Handle>> reopened = filesystem_.OpenWith(dentry, static_cast<int>(saved.flags));
    if (!reopened.ok()) return DeletedFileFailed(inode, reopened.error());
    handles_[row] = *std::move(reopened);
  }
  return absl::OkStatus();
}

}  // namespace gofer::fs
