// FileJudge: says whether the file that is found where one was saved is that one.
//
// Identity is inode number, birth time and, where both sides have one, file handle, on the device
// that took the place of the saved one: device numbers are the host's and change with a reboot, so
// which is which is learned from the first file of each that matches. If the root itself is another
// directory than the saved one, the tree was copied or another one was chosen: then no number can
// match, and names, types, sizes and modification times are all there is.
//
// Owner:   one per restore. Threads: one.
// Source:  spec/security.md s.6; the design's section on checkpoints.

#ifndef GOFER_FS_FILE_JUDGE_H_
#define GOFER_FS_FILE_JUDGE_H_

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "gofer/fs/state.h"
#include "gofer/sys/host_fs.h"

namespace gofer::fs {

enum class Verdict {
  kSame,
  kMoved,         // found under another name
  kReplaced,      // its name leads to another file
  kChanged,       // the same file, with another size or modification time
  kMissing,       // its name leads nowhere, or its directory is missing
  kUnverifiable,  // the host would not tell
};
// "same", "moved", ...
absl::string_view VerdictName(Verdict verdict);

// What the host says of a file now. Without a file handle, which costs a call of its own.
InodeState InodeStateOf(const sys::Attr& attr);

struct Validation {
  bool sizes = true;  // of regular files
  bool mtimes = true;
};

class FileJudge {
 public:
  // `saved` and `found` are the roots.
  FileJudge(const InodeState& saved, const InodeState& found, Validation validation);

  // The root is another directory than the saved one.
  bool relocated() const { return relocated_; }

  // Whether both are the same file, whatever is in it. Never, if the tree is relocated.
  bool SameFile(const InodeState& saved, const InodeState& found);
  // kSame, kReplaced or kChanged.
  Verdict Judge(const InodeState& saved, const InodeState& found);

 private:
  using Device = std::pair<uint32_t, uint32_t>;

  const Validation validation_;
  bool relocated_ = false;
  absl::flat_hash_map<Device, Device> devices_;  // saved to found
};

}  // namespace gofer::fs

#endif  // GOFER_FS_FILE_JUDGE_H_
