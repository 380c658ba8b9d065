// Snapshot: collects what clients refer to, and makes a FilesystemState of it.
//
//   fs::Snapshot snapshot(filesystem, options);
//   const uint32_t row = snapshot.Add(dentry);   // the front ends, for everything they have ids for
//   ASSIGN_OR_RETURN(FilesystemState state, snapshot.Finish());
//   RETURN_IF_ERROR(snapshot.WriteBack());       // before the state is kept anywhere
//   TakeUnread(filesystem, snapshot.unread());   // when it is, and the clients will go on with it
//
// What nobody adds is not saved: a cached name may not be there any more later. Dentries that have one
// place (see Filesystem::Resettle) are saved as one.
//
// Owner:   a save; keeps what was added.
// Threads: one; Add and Finish while the gate of requests is closed.
// Errors:  Finish and WriteBack: kFailedPrecondition names every file that cannot be saved, and why.
// Source:  the design's section on checkpoints; spec/security.md s.6.

#ifndef GOFER_FS_SNAPSHOT_H_
#define GOFER_FS_SNAPSHOT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
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
  // Data of open files without a name and of FIFOs, all together. Beyond it the save is refused.
  uint64_t max_deleted_bytes = uint64_t{64} << 20;
};

// What was saved of a FIFO, and is still in it.
struct UnreadFifo {
  RefPtr<Dentry> fifo;
  size_t size = 0;
};

// Takes out of FIFOs what was saved of them, so that it is not there twice for who goes on with the
// state while others keep the FIFO open. Only by who serves nobody any more.
void TakeUnread(Filesystem& filesystem, std::span<const UnreadFifo> unread);

class Snapshot {
 public:
  Snapshot(Filesystem& filesystem, const SnapshotOptions& options);
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // The row of a name; its directories get rows too. The same name has the same row always.
  uint32_t Add(Dentry& dentry);
  // The row of an open file, likewise.
  uint32_t Add(Handle& handle);

  // Asks the host what all files are now. Once.
  absl::StatusOr<FilesystemState> Finish();
  // Writes back what clients have open for writing: a state that is kept is of files that are kept.
  absl::Status WriteBack();
  const std::vector<UnreadFifo>& unread() const { return unread_; }

 private:
  uint32_t RowOf(Inode& inode);
  // The row of a name below a directory that has one.
  uint32_t AddName(RefPtr<Dentry> dentry, const Dentry* dir, uint32_t parent, std::string name);
  // That of another Dentry which has the same place and file; kNoIndex if there is none.
  uint32_t RowOfTwin(const Dentry& dentry, uint32_t parent, const std::string& name);
  void RefuseSharedNames();
  void SaveFifo(Dentry& dentry, uint32_t handle_row);
  absl::Status Refused() const;
  // Fills a row of inodes by one of its names. Of what is deleted, not open and no regular file
  // nothing is kept: whoever still knows it gets ESTALE after a restore.
  void Record(Dentry& dentry, uint32_t inode_row);
  // Whether a handle that is saved is one of it.
  bool IsOpen(const Inode& inode) const;
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
  // Those that lookups do not find, by the place that they believe to have.
  absl::flat_hash_map<std::pair<uint32_t, std::string>, uint32_t> astray_;
  std::vector<UnreadFifo> unread_;
  uint64_t saved_bytes_ = 0;  // of options_.max_deleted_bytes
  std::vector<std::string> refused_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_SNAPSHOT_H_
