// PreparedFiles: what files were when a save looked at them while clients were still served. In the
// moment in which nobody is served, only those are asked for again that may be otherwise by then.
//
//   fs::PreparedFiles files(filesystem);
//   fs::RepairPaths(filesystem, watch, &files);          // looks at every name in use anyway
//   fs::Snapshot snapshot(filesystem, options, std::move(files));
//
// Which those are is known as far as clients are concerned. Each operation of a Filesystem that
// changes a file notes it on the Inode when it is done (ScopedChange); that is one atomic update of
// a byte, and reading and writing do not even make that: what is open is asked for again anyway,
// and a Handle that could write notes it when it ends. So what is written by a descriptor or a
// mapping that the client was given is covered as long as the client has the file open.
//
// What others on the host do to a file, or a client with a descriptor that it should have closed,
// is noted by nobody. Such a file is saved as it was when it was looked at, and if it is another by
// then, the restore says so: that it has changed, or is missing. It is never taken for unchanged.
//
// Owner:   a save, from its preparation to its record. One at a time has a Filesystem: another one
//          that is made meanwhile keeps nothing, and then everything is asked for.
// Threads: one. Clients may be served, and change files.
// Memory:  an InodeState for each file in use.

#ifndef GOFER_FS_PREPARED_FILES_H_
#define GOFER_FS_PREPARED_FILES_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gofer/base/errno.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/inode.h"
#include "gofer/fs/state.h"
#include "gofer/sys/host_fs.h"

namespace gofer::fs {

// What a save keeps of a file, which clients know by their number of it.
InodeState StateOf(const Filesystem& filesystem, const sys::Attr& attr);

class PreparedFiles {
 public:
  // Of no file, forever.
  PreparedFiles() = default;
  // Of no file yet.
  explicit PreparedFiles(Filesystem& filesystem);

  // CheckPlace; keeps what it says of the file.
  ErrnoOr<void> Look(Filesystem& filesystem, Dentry& dentry);

  // Those that were looked at, numbered from 0.
  size_t size() const { return states_.size(); }
  // The number of a file; kNoIndex if it was not looked at. Only one that is unchanged() is still
  // what was seen.
  uint32_t NumberOf(const Inode& inode) const;
  InodeState& at(uint32_t number) { return states_[number]; }

 private:
  struct EndClaim {
    void operator()(std::atomic<bool>* claim) const { claim->store(false); }
  };

  std::unique_ptr<std::atomic<bool>, EndClaim> claim_;  // null: keeps nothing
  // By address alone: an Inode that has got that of another was made later, and is not unchanged().
  absl::flat_hash_map<const Inode*, uint32_t> numbers_;
  std::vector<InodeState> states_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_PREPARED_FILES_H_
