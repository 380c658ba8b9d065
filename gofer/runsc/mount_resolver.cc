#include "gofer/runsc/mount_resolver.h"

#include <sys/stat.h>

#include <array>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/path.h"
#include "gofer/sys/host_fs.h"

namespace gofer::runsc {

// The walk itself: a Place under construction and what is left of the symlink budget.
class Resolver {
 public:
  Resolver(BorrowedFd root, absl::string_view path) : place_(root), path_(path) {}

  absl::StatusOr<Place> Run() && {
    RETURN_IF_ERROR(Walk(path_));
    return std::move(place_);
  }

 private:
  // runsc's own limit, more than the kernel's 40.
  static constexpr int kMaxSymlinks = 255;

  absl::Status Error(Errno error) const {
    return ToStatus(error, absl::StrCat("resolve ", path_, " in the root, at ", place_.Path()));
  }

  // Recursive by the nesting of symlinks, at most kMaxSymlinks deep.
  absl::Status Walk(absl::string_view path) {
    if (absl::StartsWith(path, "/")) place_.steps_.clear();
    for (const absl::string_view part : absl::StrSplit(CleanPath(path), '/', absl::SkipEmpty())) {
      if (part == ".") continue;
      if (part == "..") {
        if (!place_.steps_.empty()) place_.steps_.pop_back();
        continue;
      }
      RETURN_IF_ERROR(Descend(part));
    }
    return absl::OkStatus();
  }

  absl::Status Descend(absl::string_view part) {
    const ErrnoOr<Name> name = Name::Parse(part);
    if (!name.ok()) return Error(name.error());
    UniqueFd file;
    if (place_.Exists()) {
      ErrnoOr<UniqueFd> opened = sys::OpenPath(place_.file(), *name);
      if (opened.ok()) {
        file = *std::move(opened);
      } else if (!(opened.error() == ENOENT)) {
        return Error(opened.error());
      }
    }
    if (file.valid()) {
      const ErrnoOr<sys::Attr> attr = sys::Statx(file);
      if (!attr.ok()) return Error(attr.error());
      if (S_ISLNK(attr->stx_mode)) return Follow(file);
    }
    place_.steps_.push_back({.name = *name, .file = std::move(file)});
    return absl::OkStatus();
  }

  absl::Status Follow(BorrowedFd link) {
    if (++symlinks_ > kMaxSymlinks) return Error(Errno(ELOOP));
    std::array<char, kMaxSymlinkTargetBytes> buffer;
    const ErrnoOr<absl::string_view> target = sys::ReadLink(link, buffer);
    if (!target.ok()) return Error(target.error());
    return Walk(std::string(*target));
  }

  Place place_;
  const std::string path_;
  int symlinks_ = 0;
};

std::string Place::Path() const {
  if (steps_.empty()) return "/";
  std::string path;
  for (const Step& step : steps_) absl::StrAppend(&path, "/", step.name.view());
  return path;
}

absl::StatusOr<bool> Place::IsDirectory() const {
  const ErrnoOr<sys::Attr> attr = sys::Statx(file());
  if (!attr.ok()) return ToStatus(attr.error(), absl::StrCat("stat ", Path(), " in the root"));
  return S_ISDIR(attr->stx_mode);
}

absl::Status Place::MakeDirectories(size_t count, uint32_t mode) {
  for (size_t i = 0; i < count; ++i) {
    if (steps_[i].file.valid()) continue;
    // Somebody else may have made it meanwhile, as whatever: what counts is what is there
    // afterwards.
    const ErrnoOr<void> made = sys::Mkdir(Parent(i), steps_[i].name, mode);
    ErrnoOr<UniqueFd> opened = sys::OpenPath(Parent(i), steps_[i].name);
    if (!opened.ok()) {
      const Errno error = made.ok() ? opened.error() : made.error();
      return ToStatus(error, absl::StrCat("make directory ", Path(), " in the root, at ",
                                          steps_[i].name.view()));
    }
    steps_[i].file = *std::move(opened);
  }
  return absl::OkStatus();
}

absl::Status Place::MakeDirectory(uint32_t mode) {
  RETURN_IF_ERROR(MakeDirectories(steps_.size(), mode));
  ASSIGN_OR_RETURN(const bool directory, IsDirectory());
  if (directory) return absl::OkStatus();
  return ToStatus(Errno(ENOTDIR),
                  absl::StrCat("make directory ", Path(), " in the root: a file is there"));
}

absl::Status Place::MakeFile(uint32_t mode) {
  if (!Exists()) {
    RETURN_IF_ERROR(MakeDirectories(steps_.size() - 1, mode));
    Step& last = steps_.back();
    const BorrowedFd parent = Parent(steps_.size() - 1);
    const ErrnoOr<UniqueFd> made = sys::CreateExclusive(parent, last.name, O_RDONLY, mode);
    if (!made.ok() && !(made.error() == EEXIST)) {
      return ToStatus(made.error(), absl::StrCat("make file ", Path(), " in the root"));
    }
    ErrnoOr<UniqueFd> opened = sys::OpenPath(parent, last.name);
    if (!opened.ok())
      return ToStatus(opened.error(), absl::StrCat("open ", Path(), " in the root"));
    last.file = *std::move(opened);
  }
  ASSIGN_OR_RETURN(const bool directory, IsDirectory());
  if (!directory) return absl::OkStatus();
  return ToStatus(Errno(EISDIR),
                  absl::StrCat("make file ", Path(), " in the root: a directory is there"));
}

absl::StatusOr<Place> ResolveInRoot(BorrowedFd root, absl::string_view path) {
  return Resolver(root, path).Run();
}

}  // namespace gofer::runsc
