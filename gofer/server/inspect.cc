#include "gofer/server/inspect.h"

#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/describe.h"
#include "checkpoint/image_file.h"
#include "checkpoint/load.h"
#include "checkpoint/report.h"
#include "gofer/base/errno.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/server/restoration.h"
#include "gofer/server/sandbox.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/own_directory.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

absl::StatusOr<std::string> ReadPayload(const std::string& image, const checkpoint::ImageKey& key) {
  const ErrnoOr<UniqueFd> directory = sys::OpenOwnDirectory(image.c_str());
  if (directory.ok()) return checkpoint::LoadImage(*directory, key);
  if (directory.error() != ENOTDIR) return ToStatus(directory.error(), image);
  const ErrnoOr<std::string> file = sys::ReadFile(image.c_str(), checkpoint::kMaxImageBytes);
  if (!file.ok()) return ToStatus(file.error(), image);
  ASSIGN_OR_RETURN(const absl::string_view payload, checkpoint::PayloadOf(*file, key));
  return std::string(payload);
}

// Does what a restore does up to the first change.
absl::Status Verify(const CommandFlags& flags, fs::FilesystemState files) {
  ErrnoOr<UniqueFd> root = sys::OpenRootPath(flags.root.c_str());
  if (!root.ok()) return ToStatus(root.error(), absl::StrCat("--root=", flags.root));
  ErrnoOr<UniqueFd> descriptors = sys::OpenProcSelfFd();
  if (!descriptors.ok()) return ToStatus(descriptors.error(), "open /proc/self/fd");
  ASSIGN_OR_RETURN(const uint64_t limit, RaiseDescriptorLimit(std::nullopt));
  ASSIGN_OR_RETURN(const std::unique_ptr<fs::Filesystem> filesystem,
                   fs::Filesystem::Create(*std::move(root), *std::move(descriptors),
                                          {.max_fds = DescriptorsForFiles(limit)}));
  fs::TreeRestore restore(
      *filesystem, std::move(files),
      {.validation = {.sizes = flags.validate_file_sizes, .mtimes = flags.validate_mtimes},
       .follow_moved = flags.follow_moved});
  const fs::RestoreReport& report = restore.Examine();
  std::cout << (flags.json ? checkpoint::ReportAsJson(report) : checkpoint::ReportAsText(report))
            << std::flush;
  return MismatchOf(report, flags.follow_moved);
}

}  // namespace

absl::Status Inspect(const CommandFlags& flags, const std::string& image) {
  if (flags.verify != !flags.root.empty()) {
    return absl::InvalidArgumentError(
        flags.verify ? "inspect: --verify needs --root, the tree to compare with"
                     : "inspect: --root is for --verify alone");
  }
  ASSIGN_OR_RETURN(const checkpoint::ImageKey key, ReadImageKey(flags.image_key_file));
  ASSIGN_OR_RETURN(const std::string payload, ReadPayload(image, key));
  ASSIGN_OR_RETURN(checkpoint::Loaded loaded, checkpoint::Decode(payload));
  if (flags.verify) return Verify(flags, std::move(loaded.files));
  const checkpoint::DescribeOptions options = {
      .tree = flags.tree, .image_bytes = payload.size() + checkpoint::kImageHeaderSize};
  std::cout << (flags.json ? checkpoint::DescribeAsJson(loaded, options)
                           : checkpoint::DescribeAsText(loaded, options))
            << std::flush;
  return absl::OkStatus();
}

}  // namespace gofer::server
