// TreeRestore: finds the files of a FilesystemState again, says which are not what they were, and
// puts the names and open files back for those who have ids of them.
//
//   fs::TreeRestore restore(filesystem, std::move(state), options);
//   const fs::RestoreReport& report = restore.Examine();   // changes nothing
//   if (report.findings.empty()) RETURN_IF_ERROR(restore.Take());
//   session->Restore(session_state, restore);              // dentry(row), handle(row)
//
// Every file is looked at, so that one run reports everything. What Take is left with after a bad
// report (a moved file that may not be followed, a replaced, changed or missing one) becomes stale:
// its ids stay, every use is ESTALE, and looking its name up gives a new file and a new id.
//
// Owner:   a restore. Threads: one, before anything is served.
// Errors:  Examine has none: what the host refuses is a finding. Take: absl::Status, for what has
//          to be made anew (open files that had been deleted).
// Source:  the design's section on checkpoints; spec/security.md s.6.

#ifndef GOFER_FS_TREE_RESTORE_H_
#define GOFER_FS_TREE_RESTORE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/file_judge.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/handle.h"
#include "gofer/fs/state.h"

namespace gofer::fs {

struct RestoreOptions {
  Validation validation = {};
  // A file that is found under another name is taken from there.
  bool follow_moved = false;
  // Clients see the device and inode numbers that they had. Not for who restores into a tree that
  // others are using: what they use would get other numbers.
  bool keep_numbers = true;
};

// One name that does not lead to the file it led to, or an open file that does not open.
struct Finding {
  uint32_t dentry = 0;  // its row
  std::string path;     // as it was saved
  Verdict verdict = Verdict::kSame;
  InodeState saved;
  std::optional<InodeState> found;  // what its name leads to now
  std::string found_path;           // kMoved: where it is
  std::optional<Errno> error;       // kUnverifiable: why
};

struct RestoreReport {
  // The root is another directory than the saved one: files were judged without their numbers.
  bool relocated = false;
  uint64_t same = 0;
  std::vector<Finding> findings;  // all others
};

class TreeRestore {
 public:
  TreeRestore(Filesystem& filesystem, FilesystemState state, const RestoreOptions& options);
  TreeRestore(const TreeRestore&) = delete;
  TreeRestore& operator=(const TreeRestore&) = delete;

  // Looks at every file and opens what was open. Once.
  const RestoreReport& Examine();
  // Makes what has to be made, and stands in for what was not found. Once, after Examine.
  absl::Status Take();

  const FilesystemState& state() const { return state_; }
  // After Take; of every row.
  const RefPtr<Dentry>& dentry(uint32_t row) const { return rows_[row].dentry; }
  const RefPtr<Handle>& handle(uint32_t row) const { return handles_[row]; }
  // Other files have taken the places of some: sockets that had to be bound anew. By row.
  void Replace(std::span<const std::pair<uint32_t, RefPtr<Dentry>>> made);

 private:
  struct Row {
    RefPtr<Dentry> dentry;  // null: not found, or not to be used
    Verdict verdict = Verdict::kSame;
    bool examined = false;
    std::optional<InodeState> found;
    std::string found_path;
    std::optional<Errno> error;
  };
  struct OpenFailure {
    uint32_t dentry;
    Errno error;
  };

  std::string PathOf(uint32_t row) const;
  void ExamineName(uint32_t row);
  // Those whose directory has been found by now, if it had not been.
  void ExamineNames();
  // What was removed by one of its names is what it is by another: of the same file, if there is
  // one.
  void JudgeRemovedNames();
  // Searches the whole tree for files whose names do not lead to them any more.
  void FindMoved();
  // Whether what stands in the way of a search of one directory matters is for the findings to say:
  // what is behind it stays missing.
  void SearchDirectory(Dentry& dir, std::vector<RefPtr<Dentry>>& below);
  void Meet(Dentry& dir, absl::string_view name, const Entry& entry);
  void OpenHandles();
  ErrnoOr<RefPtr<Handle>> Reopen(const HandleState& state);
  void KeepNumbers();
  // A file that was removed by one of its names is taken by another. By inode.
  void AddFilesWithOtherNames(std::vector<RefPtr<Dentry>>& nameless) const;
  // What had not been read of FIFOs is read first again.
  absl::Status RefillFifos();
  // By inode; null where it is none of these.
  absl::StatusOr<std::vector<RefPtr<Dentry>>> MakeDeletedFiles();
  absl::StatusOr<RefPtr<Dentry>> MakeDeletedFile(const DeletedFileState& file);
  absl::Status ReopenDeletedFiles();
  absl::Status DeletedFileFailed(uint32_t inode, Errno error) const;

  Filesystem& filesystem_;
  const FilesystemState state_;
  const RestoreOptions options_;
  std::optional<FileJudge> judge_;
  std::vector<Row> rows_;
  std::vector<RefPtr<Handle>> handles_;
  std::vector<OpenFailure> open_failures_;
  // Rows to be searched for, by inode number.
  absl::flat_hash_map<uint64_t, absl::InlinedVector<uint32_t, 1>> wanted_;
  RestoreReport report_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_TREE_RESTORE_H_
