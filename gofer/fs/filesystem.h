// Filesystem: the served tree. The one host-file-system core behind LISAFS, FUSE and restore.
//
// Clients' requests arrive as operations on Dentries, Handles and Names. Nothing is ever looked up
// by path: every operation acts on a held descriptor and at most one checked name below it. A name
// already known costs one statx, an unknown one openat2 and statx.
//
// Owner:   the server; outlives every connection and session, and everything they hold of it.
// Threads: safe; every operation may block on the host file system, and then stalls only its own
//          caller and those who want to change names in the same directory.
// Locks:   DirState::op_mu > DentryCache::mu_ > DirState::children_mu > InodeTable::mu_. Only op_mu
//          is held across host calls, so that a host file system that hangs in one directory stalls
//          nobody in another: there is no lock of the whole tree. An operation is a read (op_mu
//          shared: Lookup), a write (op_mu of the directory: Create, Unlink, ...) or a rename,
//          which holds those of both directories, the one with the lower address first. What works
//          on one file by its descriptor takes no lock at all.
// Errors:  the host's errno, as the peer must see it, and
//            ENFILE  the node or descriptor budget is used up and nothing could be given up;
//            ESTALE  an inode's descriptor had been given up and its name does not lead to it any
//                    more.
// Units:   sizes in bytes, times in nanoseconds since the epoch.
// Source:  spec/security.md s.2 and s.5; spec/lisafs.md s.4 to s.6.

#ifndef GOFER_FS_FILESYSTEM_H_
#define GOFER_FS_FILESYSTEM_H_

#include <sys/statfs.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/handle.h"
#include "gofer/fs/inode.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/socket.h"

namespace gofer::fs {

// An owner that is not to be set, or changed.
inline constexpr uint32_t kKeepId = 0xffffffff;

struct FilesystemOptions {
  // Dentries that nobody refers to, kept for the next lookup. Each holds its file open by O_PATH,
  // which delays the release of a file that the host deletes, so this is a bound on that too.
  size_t max_unreferenced_dentries = 1024;
  // All Dentries.
  size_t max_nodes = 1'000'000;
  // Descriptors of Inodes and Handles together. Past it, those of Inodes that are least recently
  // used are given up, and when Handles hold all of them, opening fails. What the process may have
  // above it is the reserve for its sockets and windows.
  size_t max_fds = 65'536 - 1024;
};

// A name found or made: its Dentry, and the attributes at that moment.
struct Entry {
  RefPtr<Dentry> dentry;
  sys::Attr attr;
};

struct OpenEntry {
  Entry entry;
  RefPtr<Handle> handle;
};

struct BoundEntry {
  Entry entry;
  UniqueFd socket;
};

struct Owner {
  uint32_t uid = kKeepId;
  uint32_t gid = kKeepId;
};

struct DirEntry {
  uint64_t ino;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t off;  // the host's cookie
  uint8_t type;  // DT_*
  absl::string_view name;
};

class Filesystem {
 public:
  // `root` is an O_PATH descriptor of what is served, a directory or a single file; `proc_fds` the
  // directory of this process's descriptors (sys::OpenProcSelfFd). The process's umask must be 0.
  static absl::StatusOr<std::unique_ptr<Filesystem>> Create(UniqueFd root, UniqueFd proc_fds,
                                                            const FilesystemOptions& options);
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;
  ~Filesystem();

  Dentry& root() const { return *root_; }

  // ---- looking

  // One name below a directory. ENOENT also if the directory is deleted; ENOTDIR if it is none.
  ErrnoOr<Entry> Lookup(Dentry& dir, const Name& name);
  // Attributes of one name below a directory, when no Dentry is wanted.
  ErrnoOr<sys::Attr> StatChild(Dentry& dir, const Name& name);
  ErrnoOr<sys::Attr> Stat(Dentry& dentry);
  ErrnoOr<struct statfs> StatFs(Dentry& dentry);
  // EINVAL if it is no symlink.
  ErrnoOr<absl::string_view> ReadLink(Dentry& dentry, std::span<char> buffer);

  // ---- attributes. Work on deleted files too.

  ErrnoOr<void> ChangeMode(Dentry& dentry, uint32_t mode);
  ErrnoOr<void> ChangeOwner(Dentry& dentry, Owner owner);
  ErrnoOr<void> SetTimes(Dentry& dentry, const struct timespec times[2]);
  // EISDIR for a directory, EINVAL for what is no regular file.
  ErrnoOr<void> Truncate(Dentry& dentry, uint64_t size);

  // ---- open files

  // Opens the very file of the Dentry, whatever its name leads to by now. `flags` is an access mode
  // and O_TRUNC. Never blocks on a FIFO or a lease. Only regular files and directories, unless the
  // caller's policy has allowed the type.
  ErrnoOr<RefPtr<Handle>> Open(Dentry& dentry, int flags);
  // Up to `to.size()` bytes; fewer mean the end of the file.
  ErrnoOr<size_t> Read(Handle& handle, std::span<std::byte> to, uint64_t offset);
  ErrnoOr<size_t> Write(Handle& handle, std::span<const std::byte> from, uint64_t offset);
  ErrnoOr<void> Sync(Handle& handle);
  ErrnoOr<void> Allocate(Handle& handle, int mode, uint64_t offset, uint64_t length);
  // Hands the next entries of a directory to `sink`, without "." and "..", until their host
  // records, (24 + name) rounded up to 8, would exceed `budget` bytes. With `rewind` from the first
  // entry on.
  ErrnoOr<void> ReadDir(Handle& handle, bool rewind, size_t budget,
                        absl::FunctionRef<void(const DirEntry&)> sink);

  // ---- names. All or nothing: what fails half-way leaves nothing behind. EEXIST if the name is
  // there.

  ErrnoOr<OpenEntry> CreateFile(Dentry& dir, const Name& name, uint32_t mode, Owner owner,
                                int access);
  // A regular file that is not opened.
  ErrnoOr<Entry> MakeFile(Dentry& dir, const Name& name, uint32_t mode, Owner owner);
  ErrnoOr<Entry> MakeDir(Dentry& dir, const Name& name, uint32_t mode, Owner owner);
  ErrnoOr<Entry> MakeWhiteout(Dentry& dir, const Name& name, uint32_t mode, Owner owner);
  ErrnoOr<Entry> MakeSymlink(Dentry& dir, const Name& name, const SymlinkTarget& target,
                             Owner owner);
  // Links the target's very inode, also a symlink. ENOENT if its last name is gone.
  ErrnoOr<Entry> MakeLink(Dentry& dir, const Name& name, Dentry& target);
  // Binds a non-blocking socket of `type` to the name.
  ErrnoOr<BoundEntry> Bind(Dentry& dir, const Name& name, int type, uint32_t mode, Owner owner);
  // `flags` is 0 or AT_REMOVEDIR; the kernel judges others.
  ErrnoOr<void> Unlink(Dentry& dir, const Name& name, int flags);
  // `flags` are renameat2's.
  ErrnoOr<void> Rename(Dentry& old_dir, const Name& old_name, Dentry& new_dir, const Name& new_name,
                       unsigned flags);

  // ---- host sockets

  ErrnoOr<UniqueFd> Connect(Dentry& socket, int type, const sys::Credentials* creds);

  // ---- extended attributes: of regular files and directories. Others have none: ENODATA, EPERM to
  // set.

  // The value's size, or with an empty buffer the size it needs. ERANGE if it does not fit.
  ErrnoOr<size_t> GetXattr(Dentry& dentry, absl::string_view name, std::span<std::byte> value);
  ErrnoOr<void> SetXattr(Dentry& dentry, absl::string_view name, std::span<const std::byte> value,
                         int flags);
  // Names, each with a NUL behind it, as flistxattr(2) gives them; only those that GetXattr answers
  // for.
  ErrnoOr<size_t> ListXattr(Dentry& dentry, std::span<char> names);
  ErrnoOr<void> RemoveXattr(Dentry& dentry, absl::string_view name);

  // ---- the caches

  // Counts renames that were done. A walk of several names that sees it change may have crossed a
  // rename.
  uint64_t rename_count() const { return rename_count_.load(std::memory_order_acquire); }
  std::string PathOf(const Dentry& dentry) { return dentries_.PathOf(dentry); }
  DentryCache& dentries() { return dentries_; }
  const InodeTable& inodes() const { return inodes_; }
  // Host descriptors held now, by Inodes and by Handles.
  size_t open_fds() const {
    return inodes_.open_fds() + handle_fds_.load(std::memory_order_relaxed);
  }

 private:
  Filesystem(UniqueFd proc_fds, const FilesystemOptions& options);

  // The Dentry's O_PATH descriptor, reopened by name and verified if it had been given up.
  ErrnoOr<PathFd> Pin(const Dentry& dentry);
  ErrnoOr<PathFd> PinSlow(const Dentry& dentry);
  ErrnoOr<PathFd> ReopenByName(const Dentry& dentry, BorrowedFd parent, const std::string& name);
  // The Handle's own host descriptor, opened now if the first was donated.
  ErrnoOr<BorrowedFd> FdOf(Handle& handle);
  // A descriptor of a regular file or directory for a call that wants one that is not O_PATH.
  ErrnoOr<UniqueFd> OpenForXattr(const Dentry& dentry);

  // Opens a name that is not known yet (or not any more) and puts it into the tree.
  ErrnoOr<Entry> OpenChild(Dentry& dir, BorrowedFd dir_fd, const Name& name);
  Entry AddChild(Dentry& dir, const Name& name, UniqueFd fd, const sys::Attr& attr);
  // Makes room for one more Dentry, or one more descriptor.
  ErrnoOr<void> ReserveNode();
  ErrnoOr<void> ReserveFd();
  // Whether `error` was a lack of descriptors and some could be given up: then the call is worth a
  // second try.
  bool GaveUpFdsAfter(Errno error);
  // Runs a call that opens a descriptor; when there is none left, gives up cached ones and tries
  // once more.
  template <typename F>
  std::invoke_result_t<F> WithFdsToSpare(F&& open) {
    auto result = open();
    if (!result.ok() && GaveUpFdsAfter(result.error())) return open();
    return result;
  }

  struct NewFile {
    UniqueFd fd;       // open with the access asked for
    UniqueFd path_fd;  // O_PATH of the same
    sys::Attr attr;
  };
  ErrnoOr<NewFile> CreateHostFile(BorrowedFd dir, const Name& name, uint32_t mode, Owner owner,
                                  int access);
  // Gives what was just made below `dir` its owner; opens, verifies the type, and adds it to the
  // tree.
  ErrnoOr<Entry> Adopt(Dentry& dir, BorrowedFd dir_fd, const Name& name, uint32_t type, Owner owner,
                       int undo_flags);
  bool IsOwn(Owner owner) const;
  // Keeps the file of a Dentry reachable for its clients when its name goes.
  void KeepReachable(const Dentry& dentry);

  const sys::ProcFds proc_fds_;
  const FilesystemOptions options_;
  const uint32_t own_uid_;
  const uint32_t own_gid_;
  std::atomic<size_t> handle_fds_{0};
  InodeTable inodes_;
  DentryCache dentries_;
  RefPtr<Dentry> root_;
  std::atomic<uint64_t> rename_count_{0};
};

}  // namespace gofer::fs

#endif  // GOFER_FS_FILESYSTEM_H_
