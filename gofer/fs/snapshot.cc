#include "gofer/fs/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "glog/logging.h"
#include "gofer/base/status_macros.h"

namespace gofer::fs {
namespace {

// Names in a message; more of them help nobody.
constexpr size_t kMaxNamed = 100;
// Files of one file system that are written back one by one. With more the sum of their waits for
// the disk is longer than one wait for everything.
constexpr size_t kSyncEach = 16;

}  // namespace

void TakeUnread(Filesystem& filesystem, std::span<const UnreadFifo> unread) {
  for (const UnreadFifo& saved : unread) {
    if (saved.size == 0) continue;
    if (const ErrnoOr<void> taken = filesystem.SkipFifo(*saved.fifo, saved.size); !taken.ok()) {
      // Who has opened it meanwhile was given some of it. It is saved all the same.
      LOG(WARNING) << "checkpoint: a FIFO has changed while it was saved: "
                   << taken.error().ToString();
    }
  }
}

Snapshot::Snapshot(Filesystem& filesystem, const SnapshotOptions& options, PreparedFiles prepared)
    : filesystem_(filesystem),
      options_(options),
      prepared_(std::move(prepared)),
      prepared_rows_(prepared_.size(), kNoIndex) {
  // Not to be done while clients wait.
  const size_t expected = filesystem.dentries().size();
  state_.dentries.reserve(expected);
  dentries_.reserve(expected);
  dentry_rows_.reserve(expected);
  inodes_.reserve(expected);
  Add(filesystem.root());
}

uint32_t Snapshot::RowOf(const Inode& inode, uint32_t dentry_row) {
  const uint32_t prepared = prepared_.NumberOf(inode);
  uint32_t& row = prepared != kNoIndex ? prepared_rows_[prepared]
                                       : other_rows_.try_emplace(&inode, kNoIndex).first->second;
  if (row == kNoIndex) {
    row = static_cast<uint32_t>(inodes_.size());
    inodes_.push_back({.dentry = dentry_row, .prepared = prepared});
  } else if (state_.dentries[inodes_[row].dentry].deleted) {
    inodes_[row].dentry = dentry_row;
  }
  return row;
}

uint32_t Snapshot::Add(Dentry& dentry) {
  // Up to the first ancestor that has a row, then down again. No recursion: how deep the tree is
  // was the client's choice.
  struct Step {
    RefPtr<Dentry> dentry;
    RefPtr<Dentry> dir;
    std::string name;
  };
  absl::InlinedVector<Step, 4> steps;
  uint32_t row = kNoIndex;
  for (RefPtr<Dentry> at(&dentry); at;) {
    if (const auto known = dentry_rows_.find(at.get()); known != dentry_rows_.end()) {
      row = known->second;
      break;
    }
    DentryCache::Place place = filesystem_.dentries().PlaceOf(*at);
    steps.push_back({std::move(at), place.parent, std::move(place.name)});
    at = std::move(place.parent);
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    row = AddName(std::move(step->dentry), step->dir.get(), row, std::move(step->name));
  }
  return row;
}

uint32_t Snapshot::AddName(RefPtr<Dentry> dentry, const Dentry* dir, uint32_t parent,
                           std::string name) {
  const auto row = static_cast<uint32_t>(dentries_.size());
  const bool is_found =
      parent == kNoIndex || (dentry->findable() && dir == dentries_[parent].get());
  // What was not found at an earlier restore has no name to be found by at the next one either.
  const bool is_gone = dentry->deleted() || dentry->inode().lost();
  if (dentry->is_directory() && !is_gone) {
    if (const uint32_t known = RowOfDirectory(dentry->inode()); known != kNoIndex) {
      dentry_rows_.emplace(dentry.get(), known);
      if (is_found) Correct(known, *dentry, parent, std::move(name));
      return known;
    }
  }
  if (!is_found && !is_gone) {
    if (const uint32_t twin = RowOfTwin(*dentry, parent, name); twin != kNoIndex) {
      dentry_rows_.emplace(dentry.get(), twin);
      return twin;
    }
    const auto [first, is_first] = astray_.try_emplace(std::pair(parent, name), row);
    if (!is_first) contested_.emplace_back(first->second, row);
  }
  // RowOfTwin has added none.
  dentry_rows_.emplace(dentry.get(), row);
  state_.dentries.push_back({.parent = parent,
                             .inode = RowOf(dentry->inode(), row),
                             .name = std::move(name),
                             .deleted = is_gone,
                             .astray = !is_found && !is_gone});
  dentries_.push_back(std::move(dentry));
  return row;
}

uint32_t Snapshot::RowOfDirectory(const Inode& inode) const {
  uint32_t row = kNoIndex;
  if (const uint32_t prepared = prepared_.NumberOf(inode); prepared != kNoIndex) {
    row = prepared_rows_[prepared];
  } else if (const auto other = other_rows_.find(&inode); other != other_rows_.end()) {
    row = other->second;
  }
  if (row == kNoIndex) return kNoIndex;
  const uint32_t dentry = inodes_[row].dentry;
  return state_.dentries[dentry].deleted ? kNoIndex : dentry;
}

void Snapshot::Correct(uint32_t row, Dentry& dentry, uint32_t parent, std::string name) {
  // A directory has its row before what is in it. dentries_[row] stays: the rows of what is in it
  // are of what that Dentry has.
  if (parent >= row) return;
  if (filesystem_.CheckPlace(*dentries_[row]).ok() || !filesystem_.CheckPlace(dentry).ok()) return;
  DentryState& saved = state_.dentries[row];
  // Another row may have believed to be there first.
  const auto believed = astray_.find(std::pair(saved.parent, saved.name));
  if (believed != astray_.end() && believed->second == row) astray_.erase(believed);
  saved.parent = parent;
  saved.name = std::move(name);
  saved.astray = false;
}

uint32_t Snapshot::RowOfTwin(const Dentry& dentry, uint32_t parent, const std::string& name) {
  const RefPtr<Dentry> present = filesystem_.dentries().Find(*dentries_[parent], name);
  // Its directory has a row, so this ends here.
  if (present && &present->inode() == &dentry.inode()) return Add(*present);
  const auto astray = astray_.find(std::pair(parent, name));
  if (astray == astray_.end()) return kNoIndex;
  return &dentries_[astray->second]->inode() == &dentry.inode() ? astray->second : kNoIndex;
}

void Snapshot::RefuseSharedNames() {
  for (const auto& [first, second] : contested_) {
    if (!state_.dentries[first].astray || !state_.dentries[second].astray) continue;
    Refuse(*dentries_[second],
           "another file in use has had this name too, and it was not found elsewhere");
  }
  for (const auto& [place, row] : astray_) {
    if (!state_.dentries[row].astray) continue;
    const RefPtr<Dentry> present =
        filesystem_.dentries().Find(*dentries_[place.first], place.second);
    if (present && dentry_rows_.contains(present.get())) {
      Refuse(*dentries_[row],
             "another file in use has this name now, and it was not found elsewhere");
    }
  }
}

uint32_t Snapshot::Add(Handle& handle) {
  if (const auto known = handle_rows_.find(&handle); known != handle_rows_.end()) {
    return known->second;
  }
  const auto row = static_cast<uint32_t>(handles_.size());
  HandleState state;
  state.dentry = Add(handle.dentry());
  state.flags = static_cast<uint32_t>(handle.flags()) & kSavedHandleFlags;
  inodes_[state_.dentries[state.dentry].inode].is_open = true;
  state_.handles.push_back(std::move(state));
  handle_rows_.emplace(&handle, row);
  handles_.emplace_back(&handle);
  return row;
}

void Snapshot::Refuse(const Dentry& dentry, absl::string_view why) {
  refused_.push_back(absl::StrCat(absl::CHexEscape(filesystem_.PathOf(dentry)), ": ", why));
}

bool Snapshot::IsKnown(const InodeRow& row) const {
  if (row.prepared == kNoIndex || row.is_open) return false;
  const DentryState& name = state_.dentries[row.dentry];
  return !name.deleted && !name.astray && dentries_[row.dentry]->inode().unchanged();
}

InodeState Snapshot::Ask(Dentry& dentry, uint32_t inode_row) {
  InodeState state;
  state.type = dentry.type();
  if (dentry.inode().lost()) return state;
  const ErrnoOr<sys::Attr> attr = filesystem_.Stat(dentry);
  if (!attr.ok() && attr.error() == ESTALE && !inodes_[inode_row].is_open) {
    inodes_[inode_row].is_out_of_reach = true;
    return state;
  }
  if (!attr.ok()) {
    Refuse(dentry, absl::StrCat("cannot be looked at: ", attr.error().ToString()));
    return state;
  }
  state = StateOf(filesystem_, *attr);
  inodes_[inode_row].has_no_name = attr->stx_nlink == 0;
  if (attr->stx_nlink > 0) {
    if (dentry.deleted()) Refuse(dentry, "was removed, and none of its other names is in use");
    return state;
  }
  if (dentry.type() != S_IFREG) {
    // Known to a client that has not forgotten it yet, and no more: ESTALE is as good as ENOENT.
    if (inodes_[inode_row].is_open) Refuse(dentry, "is deleted, still open, and no regular file");
    return state;
  }
  if (const ErrnoOr<void> saved = SaveDeletedFile(dentry, inode_row, *attr); !saved.ok()) {
    Refuse(dentry, saved.error() == EFBIG
                       ? absl::StrCat("is deleted and still in use; with its data there are more "
                                      "than the ",
                                      options_.max_deleted_bytes, " bytes of --max_deleted_bytes")
                       : absl::StrCat("is deleted and still in use; its data cannot be read: ",
                                      saved.error().ToString()));
  }
  return state;
}

ErrnoOr<void> Snapshot::SaveDeletedFile(Dentry& dentry, uint32_t inode_row, const sys::Attr& attr) {
  DeletedFileState file;
  file.inode = inode_row;
  file.mode = attr.stx_mode & 07777u;
  file.uid = attr.stx_uid;
  file.gid = attr.stx_gid;
  ASSIGN_OR_RETURN(const RefPtr<Handle> handle, filesystem_.OpenWith(dentry, O_RDONLY));
  for (uint64_t offset = 0; offset < attr.stx_size;) {
    const ErrnoOr<uint64_t> data = filesystem_.Seek(*handle, offset, SEEK_DATA);
    if (!data.ok()) {
      if (data.error() == ENXIO) break;  // a hole up to the end
      return data.error();
    }
    ASSIGN_OR_RETURN(uint64_t hole, filesystem_.Seek(*handle, *data, SEEK_HOLE));
    hole = std::min<uint64_t>(hole, attr.stx_size);
    if (*data >= hole) break;
    if (hole - *data > options_.max_deleted_bytes - saved_bytes_) return Errno(EFBIG);
    Extent extent;
    extent.offset = *data;
    extent.data.resize(hole - *data);
    ASSIGN_OR_RETURN(
        const size_t got,
        filesystem_.Read(*handle, std::as_writable_bytes(std::span(extent.data)), extent.offset));
    extent.data.resize(got);
    saved_bytes_ += got;
    if (got > 0) file.extents.push_back(std::move(extent));
    offset = hole;
  }
  state_.deleted_files.push_back(std::move(file));
  return {};
}

void Snapshot::SaveFifo(Dentry& dentry, uint32_t handle_row) {
  const auto is_same = [&](const UnreadFifo& other) {
    return &other.fifo->inode() == &dentry.inode();
  };
  if (std::any_of(unread_.begin(), unread_.end(), is_same)) return;
  const uint64_t left = options_.max_deleted_bytes - saved_bytes_;
  ErrnoOr<std::string> unread =
      filesystem_.PeekFifo(dentry, std::min<uint64_t>(left, kMaxUnreadBytes));
  if (!unread.ok()) {
    Refuse(dentry,
           unread.error() == EFBIG
               ? absl::StrCat("is a FIFO with more to read than the ", kMaxUnreadBytes,
                              " bytes that are saved, or what is left of the ",
                              options_.max_deleted_bytes, " of --max_deleted_bytes")
               : absl::StrCat("is a FIFO that cannot be read: ", unread.error().ToString()));
    return;
  }
  saved_bytes_ += unread->size();
  unread_.push_back({.fifo = RefPtr<Dentry>(&dentry), .size = unread->size()});
  state_.handles[handle_row].unread = *std::move(unread);
}

absl::Status Snapshot::WriteBack() {
  absl::flat_hash_set<const Inode*> seen;
  absl::flat_hash_map<const Mount*, std::vector<Handle*>> by_mount;
  for (const RefPtr<Handle>& handle : handles_) {
    const Inode& inode = handle->dentry().inode();
    if (inode.type() != S_IFREG || !handle->writable() || inode.lost()) continue;
    if (seen.insert(&inode).second) by_mount[&inode.mount()].push_back(handle.get());
  }
  for (const auto& [mount, handles] : by_mount) {
    // If that fails, each file says whether it was one of these.
    if (handles.size() > kSyncEach && filesystem_.WriteBackMount(*handles.front()).ok()) continue;
    for (Handle* const handle : handles) {
      if (const ErrnoOr<void> written = filesystem_.WriteBack(*handle); !written.ok()) {
        Refuse(handle->dentry(),
               absl::StrCat("what was written to it cannot be brought to its disk: ",
                            written.error().ToString()));
      }
    }
  }
  return Refused();
}

FilesystemState Snapshot::Take() {
  state_.inodes.reserve(inodes_.size());
  for (const InodeRow& row : inodes_) {
    state_.inodes.push_back(
        std::move(row.asked != kNoIndex ? asked_[row.asked] : prepared_.at(row.prepared)));
  }
  return std::move(state_);
}

absl::Status Snapshot::Finish() {
  for (uint32_t row = 0; row < inodes_.size(); ++row) {
    if (IsKnown(inodes_[row])) continue;
    inodes_[row].asked = static_cast<uint32_t>(asked_.size());
    asked_.push_back(Ask(*dentries_[inodes_[row].dentry], row));
  }
  for (size_t row = 0; row < handles_.size(); ++row) {
    Dentry& dentry = handles_[row]->dentry();
    if (dentry.type() == S_IFIFO && handles_[row]->readable() && !dentry.inode().lost()) {
      SaveFifo(dentry, static_cast<uint32_t>(row));
    }
    if (dentry.type() != S_IFDIR || dentry.inode().lost()) continue;
    const ErrnoOr<uint64_t> position = filesystem_.PositionOf(*handles_[row]);
    if (!position.ok()) {
      Refuse(handles_[row]->dentry(), absl::StrCat("the position in its listing is not to be had: ",
                                                   position.error().ToString()));
      continue;
    }
    state_.handles[row].position = *position;
  }
  NoteLostNames();
  RefuseSharedNames();
  return Refused();
}

void Snapshot::NoteLostNames() {
  const auto lost_one = [](const InodeRow& row) { return row.is_out_of_reach || row.has_no_name; };
  if (std::none_of(inodes_.begin(), inodes_.end(), lost_one)) return;
  for (uint32_t row = 1; row < state_.dentries.size(); ++row) {
    DentryState& name = state_.dentries[row];
    const InodeRow& file = inodes_[name.inode];
    if (file.is_out_of_reach || (file.has_no_name && name.astray)) {
      name.deleted = true;
      name.astray = false;
    } else if (!name.deleted && state_.dentries[name.parent].deleted) {
      Refuse(*dentries_[row], "lies in a directory that is not to be found any more");
    }
  }
}

absl::Status Snapshot::Refused() const {
  if (refused_.empty()) return absl::OkStatus();
  const size_t named = std::min(refused_.size(), kMaxNamed);
  return absl::FailedPreconditionError(absl::StrCat(
      refused_.size(), " files cannot be saved: ",
      absl::StrJoin(refused_.begin(), refused_.begin() + static_cast<ptrdiff_t>(named), "; "),
      named < refused_.size() ? "; ..." : ""));
}

}  // namespace gofer::fs
