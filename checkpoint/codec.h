// Encodes states into an image's message, and decodes them again.
//
// What Decode accepts is consistent with itself: indices lie inside their lists, parents come
// before children, names obey Name's rules, types are file types, every dentry but the first has a
// parent that is a directory, nobody is named twice. Whether it is true is for the restore to find
// out.
//
// Threads: safe. Errors: absl::Status, kDataLoss with the row, the value and its bound.
// Source:  spec/security.md s.6.

#ifndef CHECKPOINT_CODEC_H_
#define CHECKPOINT_CODEC_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/image.pb.h"
#include "gofer/fs/state.h"

namespace gofer::checkpoint {

// Of dentries, and of inodes.
inline constexpr size_t kMaxNodes = fs::kMaxNodes;
// name_to_handle_at's bound.
inline constexpr size_t kMaxFileHandleBytes = 128;

// Of the paths of all names, together: whoever reports on files writes them out, and a chain of
// names has paths that grow with the square of its bytes.
inline constexpr uint64_t kMaxPathBytes = uint64_t{512} << 20;

// Those of a state, whose parents come before their children.
uint64_t PathBytes(const fs::FilesystemState& state);

Filesystem Encode(const fs::FilesystemState& state);
absl::StatusOr<fs::FilesystemState> Decode(const Filesystem& message);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_CODEC_H_
