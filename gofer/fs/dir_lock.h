// DirChange, DirLook: how names in a directory are changed and looked at, so that who waits for the
//                     host keeps nobody else waiting.
//
// A request may wait for the host for ever, so a lookup holds no lock meanwhile. What it was told
// may be out of date by then, and must not get into the tree. Of the tree this is always true:
//
//   The Dentry that Find finds under a name has the Inode that the host had under that name at a
//   moment since when we have changed nothing about it. What we have removed or moved is not found
//   under its old name again.
//
// (Others on the host change names as well. The next lookup notices.)
//
// Changes: who makes, removes or moves a name holds op_mu exclusively, across the host's change and
// that of the tree, and counts it in DirState::changes before letting go. The kernel holds the
// directory's lock across that host call too, so where it hangs other changes in the directory
// would in any case.
//
// Lookups: read the count, ask the host, take op_mu shared and read the count again. If it is the
// same the answer may go into the tree: a change that had counted before the first reading was over
// when the host was asked; one that has not counted yet would hold op_mu; none has counted in
// between. If not, the host is asked once more; what is thrown away was no Dentry yet, so nobody
// has counted it. The last of kTries is made with op_mu held, so that it comes to an end however
// busy the directory is.
//
// No lock at all is needed for
//   - an answer that is not put into the tree, such as an error;
//   - a name that is known, and leads to the file of its Dentry: it had that place when it was
//   found;
//   - what is mounted on a name: the host lets nobody remove or move such a name (EBUSY), so no
//     change of ours can have made the answer untrue. Hence who asks with op_mu held asks the
//     directory's own file system, and if that hangs, so do those who wait to change a name in it.
//
// Owner:   the stack of one operation of Filesystem. Threads: one.
// Locks:   op_mu of one directory, or of two, the one with the lower address first. Nobody else
//          holds two.
// Source:  spec/security.md s.4.

#ifndef GOFER_FS_DIR_LOCK_H_
#define GOFER_FS_DIR_LOCK_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "gofer/fs/dentry.h"

namespace gofer::fs {

// Held while names in a directory, or in two, are made, removed or moved. The two may be the same.
// Which locks these are is known only when running: no analysis.
class [[nodiscard]] DirChange {
 public:
  explicit DirChange(const Dentry& dir) : DirChange(dir, dir) {}
  DirChange(const Dentry& dir, const Dentry& other) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  DirChange(const DirChange&) = delete;
  DirChange& operator=(const DirChange&) = delete;
  ~DirChange() ABSL_NO_THREAD_SAFETY_ANALYSIS;

 private:
  DirState* first_;
  DirState* second_;  // null: there is only one
};

// Held while what the host has said about a name in a directory is put into the tree.
class [[nodiscard]] DirHold {
 public:
  explicit DirHold(const Dentry& dir) ABSL_NO_THREAD_SAFETY_ANALYSIS;
  DirHold(const DirHold&) = delete;
  DirHold& operator=(const DirHold&) = delete;
  ~DirHold() ABSL_NO_THREAD_SAFETY_ANALYSIS;

 private:
  DirState& dir_;
};

//   for (DirLook<DirHold> look(dir);;) {
//     ...ask the host about a name in `dir`...
//     if (look.Take()) return ...what puts the answer into the tree...;
//   }
//
// Hold is how op_mu is held then: by DirHold; or by DirChange where names change with it, those in
// `other` too.
template <typename Hold>
class DirLook {
 public:
  static constexpr int kTries = 4;

  explicit DirLook(const Dentry& dir) : dir_(dir), other_(dir) {}
  DirLook(const Dentry& dir, const Dentry& other) requires std::same_as<Hold, DirChange>
      : dir_(dir), other_(other) {}
  DirLook(const DirLook&) = delete;
  DirLook& operator=(const DirLook&) = delete;

  // Whether the answer is still true of all that we have done. Then op_mu is held from now on,
  // until the end of this. Otherwise the next try has begun.
  bool Take() {
    if (hold_.has_value()) return true;
    Lock();
    if (Changes() == changes_) return true;
    if (++tries_ == kTries) return false;  // the lock stays for this one
    hold_.reset();
    changes_ = Changes();
    return false;
  }
  // The same for an answer that no change of ours can have made untrue.
  void TakeAnyway() {
    if (!hold_.has_value()) Lock();
  }

 private:
  void Lock() {
    if constexpr (std::same_as<Hold, DirChange>) {
      hold_.emplace(dir_, other_);
    } else {
      hold_.emplace(dir_);
    }
  }
  uint64_t Changes() const { return dir_.dir().changes.load(std::memory_order_acquire); }

  const Dentry& dir_;
  const Dentry& other_;
  uint64_t changes_ = Changes();
  int tries_ = 1;
  std::optional<Hold> hold_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_DIR_LOCK_H_
