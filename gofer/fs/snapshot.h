// Snapshot: collects what clients refer to, and makes a FilesystemState of it.
//
//   fs::Snapshot snapshot(filesystem, options);
//   const uint32_t row = snapshot.Add(dentry);   // the front ends, for everything they have ids for
//   ASSIGN_OR_RETURN(FilesystemState state, snapshot.Finish());
//
// What nobody adds is not saved: a cached name may not be there any more later.
//
// Owner:   a save; keeps what was added. Threads: one, while the gate of requests is closed.
// Errors:  Finish: kFailedPrecondition names every file that cannot be saved, and why.
// Source:  the design's section on checkpoints; spec/security.md s.6.

#ifndef GOFER_FS_SNAPSHOT_H_
#define GOFER_FS_SNAPSHOT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/handle.h"
#include "gofer/fs/state.h"

namespace gofer::fs {

struct SnapshotOptions {
  // Data of open files without a name, all together. Beyond it the save is refused.
  uint64_t max_deleted_bytes = uint64_t{64} << 20;
};

class Snapshot {
 public:
  Snapshot(Filesystem& filesystem, const SnapshotOptions& options);
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // The row of a name; its directories get rows too. The same name has the same row always.
  uint32_t Add(Dentry& dentry);
  // The row of an open file, likewise.
  uint32_t Add(Handle& handle);

  // Asks the host what all files are now.
  absl::StatusOr<FilesystemState> Finish() &&;

 private:
  uint32_t RowOf(Inode& inode);
  // Fills a row of inodes by one of its names.
  void Record(Dentry& dentry, uint32_t inode_row);
  ErrnoOr<void> SaveDeletedFile(Dentry& dentry, uint32_t inode_row, const sys::Attr& attr);
  void Refuse(const Dentry& dentry, absl::string_view why);

  Filesystem& filesystem_;
  const SnapshotOptions options_;
  FilesystemState state_;
  std::vector<RefPtr<Dentry>> dentries_;  // by row
  std::vector<RefPtr<Handle>> handles_;
  absl::flat_hash_map<const Dentry*, uint32_t> dentry_rows_;
  absl::flat_hash_map<const Handle*, uint32_t> handle_rows_;
  absl::flat_hash_map<const Inode*, uint32_t> inode_rows_;
  uint64_t deleted_bytes_ = 0;
  std::vector<std::string> refused_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_SNAPSHOT_H_
