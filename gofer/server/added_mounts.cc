#include "gofer/server/added_mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/mount_api.h"

namespace gofer::server {
namespace {

std::string AsGiven(const AddedMount& mount) {
  return absl::StrCat("--mounts=", mount.source, ":", mount.path, mount.read_only ? ":ro" : "");
}

absl::StatusOr<bool> IsDirectory(BorrowedFd file, absl::string_view what) {
  ASSIGN_OR_RETURN(const sys::Attr attr, ToStatus(sys::Statx(file), what));
  return S_ISDIR(attr.stx_mode);
}

// ELOOP: there is a symbolic link in the path, or at its end.
ErrnoOr<UniqueFd> OpenBelow(BorrowedFd root, absl::string_view path) {
  UniqueFd held;
  BorrowedFd file = root;
  for (const absl::string_view component : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(const Name name, Name::Parse(component));
    ASSIGN_OR_RETURN(held, sys::OpenPath(file, name));
    ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(held));
    if (S_ISLNK(attr.stx_mode)) return Errno(ELOOP);
    file = held;
  }
  return held;
}

absl::Status Attach(BorrowedFd root, const AddedMount& mount, BorrowedFd tree, bool is_directory) {
  const std::string what = AsGiven(mount);
  ErrnoOr<UniqueFd> target = OpenBelow(root, mount.path);
  if (!target.ok() && target.error() == ENOENT) {
    return absl::NotFoundError(absl::StrCat(what, ": there is no ", mount.path,
                                            " below the root; make it there, it will be covered"));
  }
  if (!target.ok()) return ToStatus(target.error(), absl::StrCat(what, ": open ", mount.path));
  ASSIGN_OR_RETURN(const bool onto_directory, IsDirectory(*target, what));
  if (onto_directory != is_directory) {
    const auto kind = [](bool directory) { return directory ? "a directory" : "not a directory"; };
    return absl::InvalidArgumentError(absl::StrCat(what, ": ", mount.source, " is ",
                                                   kind(is_directory), ", ", mount.path, " is ",
                                                   kind(onto_directory)));
  }
  RETURN_IF_ERROR(ToStatus(sys::AttachTree(tree, *target), absl::StrCat(what, ": attach")));
  if (!mount.read_only) return absl::OkStatus();
  return ToStatus(sys::RestrictMount(tree, MOUNT_ATTR_RDONLY, sys::Recursive::kYes),
                  absl::StrCat(what, ": make it read-only"));
}

}  // namespace

absl::StatusOr<AddedMounts> AddedMounts::Clone(std::span<const AddedMount> mounts) {
  AddedMounts added;
  for (const AddedMount& mount : mounts) {
    const std::string what = AsGiven(mount);
    ASSIGN_OR_RETURN(const UniqueFd file, ToStatus(sys::OpenLocation(mount.source.c_str()), what));
    ASSIGN_OR_RETURN(const bool is_directory, IsDirectory(file, what));
    ASSIGN_OR_RETURN(UniqueFd tree, ToStatus(sys::CloneTree(file, sys::Recursive::kYes),
                                             absl::StrCat(what, ": clone the mounts")));
    added.sources_.push_back(
        {.mount = mount, .tree = std::move(tree), .is_directory = is_directory});
  }
  return added;
}

absl::Status AddedMounts::AttachBelow(BorrowedFd root) {
  for (const Source& source : sources_) {
    RETURN_IF_ERROR(Attach(root, source.mount, source.tree, source.is_directory));
  }
  sources_.clear();
  return absl::OkStatus();
}

}  // namespace gofer::server
