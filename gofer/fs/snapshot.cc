#include "gofer/fs/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/file_judge.h"

namespace gofer::fs {
namespace {

// Names in a message; more of them help nobody.
constexpr size_t kMaxNamed = 100;

}  // namespace

Snapshot::Snapshot(Filesystem& filesystem, const SnapshotOptions& options)
    : filesystem_(filesystem), options_(options) {
  Add(filesystem.root());
}

uint32_t Snapshot::RowOf(Inode& inode) {
  const auto [known, is_new] =
      inode_rows_.try_emplace(&inode, static_cast<uint32_t>(state_.inodes.size()));
  if (is_new) state_.inodes.emplace_back();
  return known->second;
}

uint32_t Snapshot::Add(Dentry& dentry) {
  // Up to the first ancestor that has a row, then down again. No recursion: how deep the tree is was
  // the client's choice.
  struct Step {
    RefPtr<Dentry> dentry;
    std::string name;
  };
  std::vector<Step> steps;
  uint32_t row = kNoIndex;
  for (RefPtr<Dentry> at(&dentry); at;) {
    if (const auto known = dentry_rows_.find(at.get()); known != dentry_rows_.end()) {
      row = known->second;
      break;
    }
    DentryCache::Place place = filesystem_.dentries().PlaceOf(*at);
    steps.push_back({std::move(at), std::move(place.name)});
    at = std::move(place.parent);
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const uint32_t parent = std::exchange(row, static_cast<uint32_t>(dentries_.size()));
    dentry_rows_.emplace(step->dentry.get(), row);
    state_.dentries.push_back({.parent = parent,
                               .inode = RowOf(step->dentry->inode()),
                               .name = std::move(step->name),
                               .deleted = step->dentry->deleted()});
    dentries_.push_back(std::move(step->dentry));
  }
  return row;
}

uint32_t Snapshot::Add(Handle& handle) {
  if (const auto known = handle_rows_.find(&handle); known != handle_rows_.end()) {
    return known->second;
  }
  const auto row = static_cast<uint32_t>(handles_.size());
  HandleState state;
  state.dentry = Add(handle.dentry());
  state.flags = static_cast<uint32_t>(handle.flags()) & kSavedHandleFlags;
  state_.handles.push_back(std::move(state));
  handle_rows_.emplace(&handle, row);
  handles_.emplace_back(&handle);
  return row;
}

void Snapshot::Refuse(const Dentry& dentry, absl::string_view why) {
  refused_.push_back(absl::StrCat(absl::CHexEscape(filesystem_.PathOf(dentry)), ": ", why));
}

void Snapshot::Record(Dentry& dentry, uint32_t inode_row) {
  const ErrnoOr<sys::Attr> attr = filesystem_.Stat(dentry);
  if (!attr.ok()) {
    Refuse(dentry, absl::StrCat("cannot be looked at: ", attr.error().ToString()));
    return;
  }
  state_.inodes[inode_row] = InodeStateOf(*attr);
  if (attr->stx_nlink > 0) return;
  if (dentry.type() != S_IFREG) {
    Refuse(dentry, "is deleted, still in use, and no regular file");
    return;
  }
  if (const ErrnoOr<void> saved = SaveDeletedFile(dentry, inode_row, *attr); !saved.ok()) {
    Refuse(dentry, saved.error() == EFBIG
                       ? absl::StrCat("is deleted and still in use; with its data there are more "
                                      "than the ",
                                      options_.max_deleted_bytes, " bytes of --max_deleted_bytes")
                       : absl::StrCat("is deleted and still in use; its data cannot be read: ",
                                      saved.error().ToString()));
  }
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
    if (hole - *data > options_.max_deleted_bytes - deleted_bytes_) return Errno(EFBIG);
    Extent extent;
    extent.offset = *data;
    extent.data.resize(hole - *data);
    ASSIGN_OR_RETURN(
        const size_t got,
        filesystem_.Read(*handle, std::as_writable_bytes(std::span(extent.data)), extent.offset));
    extent.data.resize(got);
    deleted_bytes_ += got;
    if (got > 0) file.extents.push_back(std::move(extent));
    offset = hole;
  }
  state_.deleted_files.push_back(std::move(file));
  return {};
}

absl::StatusOr<FilesystemState> Snapshot::Finish() && {
  std::vector<bool> recorded(state_.inodes.size());
  for (size_t row = 0; row < dentries_.size(); ++row) {
    const uint32_t inode_row = state_.dentries[row].inode;
    // Of several names one that is not deleted is the better way to look at a file; the root and
    // most files have just one.
    if (recorded[inode_row]) continue;
    recorded[inode_row] = true;
    Record(*dentries_[row], inode_row);
  }
  for (size_t row = 0; row < handles_.size(); ++row) {
    if (handles_[row]->dentry().type() != S_IFDIR) continue;
    const ErrnoOr<uint64_t> position = filesystem_.PositionOf(*handles_[row]);
    if (!position.ok()) {
      Refuse(handles_[row]->dentry(), absl::StrCat("the position in its listing is not to be had: ",
                                                   position.error().ToString()));
      continue;
    }
    state_.handles[row].position = *position;
  }
  if (refused_.empty()) return std::move(state_);
  const size_t named = std::min(refused_.size(), kMaxNamed);
  return absl::FailedPreconditionError(absl::StrCat(
      refused_.size(), " files cannot be saved: ",
      absl::StrJoin(refused_.begin(), refused_.begin() + static_cast<ptrdiff_t>(named), "; "),
      named < refused_.size() ? "; ..." : ""));
}

}  // namespace gofer::fs
