// Snapshot: collects what clients refer to, and makes a FilesystemState of it.
//
//   fs::Snapshot snapshot(filesystem, options, std::move(prepared));
//   const uint32_t row = snapshot.Add(dentry);   // the front ends, for everything they have ids for
//   RETURN_IF_ERROR(snapshot.Finish());          // from here on clients may be served again
//   const FilesystemState state = snapshot.Take();
//   RETURN_IF_ERROR(snapshot.WriteBack());       // before the state is kept anywhere
//   TakeUnread(filesystem, snapshot.unread());   // when it is, and the clients will go on with it
//
// Names are those of the tree when they are added. Of files the host is asked what they are: while
// clients are served of as many as possible (PreparedFiles), in Finish of those that clients have
// open or may have changed since, and of those whose names are gone.
//
// What nobody adds is not saved: a cached name may not be there any more later. Dentries that have
// one place (see Filesystem::Resettle) are saved as one; so are all of one directory, which has one
// place, whatever the names are by which clients have come to it while the host moved it.
//
// Owner:   a save; keeps what was added.
// Threads: one; Add and Finish while the gate of requests is closed, the rest at any time.
// Errors:  Finish and WriteBack: kFailedPrecondition names every file that cannot be saved, and
//          why.
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
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/handle.h"
#include "gofer/fs/inode.h"
#include "gofer/fs/prepared_files.h"
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
  Snapshot(Filesystem& filesystem, const SnapshotOptions& options, PreparedFiles prepared = {});
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // The row of a name; its directories get rows too. The same name has the same row always.
  uint32_t Add(Dentry& dentry);
  // The row of an open file, likewise.
  uint32_t Add(Handle& handle);

  // Asks the host what is still to be asked, and completes the record. Once.
  absl::Status Finish();
  // The record. Once, after Finish.
  FilesystemState Take();
  // Waits until the content of the regular files that clients have open for writing is on their
  // disks, as far as it was written before this is called: a state that is kept is of files that
  // are kept. By fsync of each file; where there are many on one local file system, by one syncfs,
  // which waits for what anybody else has written there too.
  absl::Status WriteBack();
  const std::vector<UnreadFifo>& unread() const { return unread_; }

 private:
  // A row of inodes, until Take.
  struct InodeRow {
    uint32_t dentry = kNoIndex;    // one of its names; one that is not deleted, if there is one
    uint32_t prepared = kNoIndex;  // of prepared_
    uint32_t asked = kNoIndex;     // of asked_, which counts then
    bool is_open = false;
    // Neither a name that clients know leads to it nor a descriptor of ours: whoever uses it gets
    // ESTALE, now and after a restore.
    bool is_out_of_reach = false;
    bool has_no_name = false;  // the host says so
  };

  // The row of the file of a name.
  uint32_t RowOf(const Inode& inode, uint32_t dentry_row);
  // Whether it is known already what the file is.
  bool IsKnown(const InodeRow& row) const;
  // The row of a name below a directory that has one.
  uint32_t AddName(RefPtr<Dentry> dentry, const Dentry* dir, uint32_t parent, std::string name);
  // That of a directory by a name that is not deleted; kNoIndex if it has none.
  uint32_t RowOfDirectory(const Inode& inode) const;
  // Gives the row of a directory the place of another Dentry of it, if that is where it is by now
  // and the row's own is not.
  void Correct(uint32_t row, Dentry& dentry, uint32_t parent, std::string name);
  // That of another Dentry which has the same place and file; kNoIndex if there is none.
  uint32_t RowOfTwin(const Dentry& dentry, uint32_t parent, const std::string& name);
  void RefuseSharedNames();
  void SaveFifo(Dentry& dentry, uint32_t handle_row);
  // What is out of reach has no names any more; nor has what was not found where it was and has no
  // name at all.
  void NoteLostNames();
  absl::Status Refused() const;
  // What the host says of a file, by one of its names. Of what is deleted, not open and no regular
  // file nothing else is kept: whoever still knows it gets ESTALE after a restore.
  InodeState Ask(Dentry& dentry, uint32_t inode_row);
  ErrnoOr<void> SaveDeletedFile(Dentry& dentry, uint32_t inode_row, const sys::Attr& attr);
  void Refuse(const Dentry& dentry, absl::string_view why);

  Filesystem& filesystem_;
  const SnapshotOptions options_;
  PreparedFiles prepared_;
  FilesystemState state_;  // inodes: by Take
  std::vector<InodeRow> inodes_;
  std::vector<InodeState> asked_;
  std::vector<RefPtr<Dentry>> dentries_;  // by row
  std::vector<RefPtr<Handle>> handles_;
  absl::flat_hash_map<const Dentry*, uint32_t> dentry_rows_;
  absl::flat_hash_map<const Handle*, uint32_t> handle_rows_;
  std::vector<uint32_t> prepared_rows_;  // of inodes, by number in prepared_; kNoIndex: none
  absl::flat_hash_map<const Inode*, uint32_t> other_rows_;  // of those that are not in prepared_
  // Those that lookups do not find, by the place that they believe to have.
  absl::flat_hash_map<std::pair<uint32_t, std::string>, uint32_t> astray_;
  std::vector<std::pair<uint32_t, uint32_t>> contested_;  // rows of one such place
  std::vector<UnreadFifo> unread_;
  uint64_t saved_bytes_ = 0;  // of options_.max_deleted_bytes
  std::vector<std::string> refused_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_SNAPSHOT_H_
