// FilesystemState: a plain copy of what must survive of a served tree: the names and files that
// clients refer to, and what is open.
//
// Values only. It is made by Snapshot, and untrusted until RestoreTree has accepted it. Indices
// refer to positions in the lists of the same state; a parent comes before its children.
//
// Source: spec/security.md s.6; the design's section on checkpoints.

#ifndef GOFER_FS_STATE_H_
#define GOFER_FS_STATE_H_

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gofer::fs {

// The most files, and the most names, that a process may be told to know: what an image can hold.
inline constexpr size_t kMaxNodes = 2'000'000;

inline constexpr uint32_t kNoIndex = 0xffffffff;

// As statx gives it: int64 nanoseconds would not reach the times that files can have.
struct FileTime {
  int64_t sec = 0;
  uint32_t nsec = 0;
  friend bool operator==(const FileTime&, const FileTime&) = default;
};

// What tells a file from every other one, and one content from another.
struct InodeState {
  uint32_t type = 0;  // S_IFREG, S_IFDIR, ...
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  uint64_t ino = 0;
  std::optional<FileTime> birth;
  // What name_to_handle_at gave: the handle's type and its bytes, without the mount. Compared,
  // never opened. Empty: the host file system has none, or nobody asked.
  int32_t handle_type = 0;
  std::string handle;
  uint64_t size = 0;  // of a regular file
  FileTime mtime;
  FileTime ctime;
  // What clients know it by; after an earlier restore not what the host calls it.
  uint32_t client_dev_major = 0;
  uint32_t client_dev_minor = 0;
  uint64_t client_ino = 0;
  friend bool operator==(const InodeState&, const InodeState&) = default;
};

struct DentryState {
  uint32_t parent = kNoIndex;  // kNoIndex: the root, which is the first
  uint32_t inode = 0;
  std::string name;  // 1 to 255 bytes; of the root: empty
  // It has no name in the tree any more: its clients have removed it, and `name` is its last, or it
  // never had one, and that is empty.
  bool deleted = false;
  // The name led elsewhere already when it was saved, and the file was not found: it is to be known
  // by its identity alone.
  bool astray = false;
  friend bool operator==(const DentryState&, const DentryState&) = default;
};

// A stretch of a file's content; between them are holes.
struct Extent {
  uint64_t offset = 0;
  std::string data;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// A regular file that is open and has no name left: it exists only here.
struct DeletedFileState {
  uint32_t inode = 0;
  uint32_t mode = 0;  // permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<Extent> extents;
  friend bool operator==(const DeletedFileState&, const DeletedFileState&) = default;
};

// What an open file is opened with again. The rest concerned the moment of opening (O_TRUNC), or is
// the same for all (O_CLOEXEC).
inline constexpr uint32_t kSavedHandleFlags = O_ACCMODE | O_DIRECT | O_SYNC | O_NOATIME;

// What a FIFO may hold to be saved: the largest pipe that a user may make.
inline constexpr size_t kMaxUnreadBytes = 1 << 20;

struct HandleState {
  uint32_t dentry = 0;
  uint32_t flags = 0;  // of kSavedHandleFlags
  // Of a directory: the host's cookie of the entry to be read next.
  uint64_t position = 0;
  // Of a FIFO open for reading: what had been written and not yet read. Of several that are open
  // the first has it.
  std::string unread;
  friend bool operator==(const HandleState&, const HandleState&) = default;
};

struct FilesystemState {
  std::vector<InodeState> inodes;
  std::vector<DentryState> dentries;
  std::vector<HandleState> handles;
  std::vector<DeletedFileState> deleted_files;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_STATE_H_
