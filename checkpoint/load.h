// An image's content, checked as far as that goes without looking at a file.
//
// Threads: safe. Errors: absl::Status, those of LoadImage and of the codecs.
// Source:  spec/security.md s.6.

#ifndef CHECKPOINT_LOAD_H_
#define CHECKPOINT_LOAD_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/image.pb.h"
#include "checkpoint/image_file.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/state.h"
#include "lisafs/server/state.h"

namespace gofer::checkpoint {

struct Loaded {
  Configuration configuration;
  fs::FilesystemState files;
  lisafs::ServerState lisafs;
  // In the order in which they were saved, see FuseClientState.
  std::vector<FuseClientState> fuse;
};

absl::StatusOr<Loaded> Load(BorrowedFd directory, const ImageKey& key);
// The same of a payload that came another way.
absl::StatusOr<Loaded> Decode(absl::string_view payload);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_LOAD_H_
