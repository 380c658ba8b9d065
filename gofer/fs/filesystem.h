// Filesystem: the served tree. The one host-file-system core behind LISAFS, FUSE and restore.
//
// Clients' requests arrive as operations on Dentries, Handles and Names. Nothing is ever looked up
// by path: every operation acts on a held descriptor and at most one checked name below it. A name
// already known costs one statx, an unknown one openat2 and statx, or one statx for who does not
// need it open yet.
//
// Owner:   the server; outlives every connection and session, and everything they hold of it.
// Threads: safe; every operation may block on the host file system, and then stalls only its own
//          caller. Where a change of a name blocks, others that change names in the same directory
//          wait for it, as they would for the kernel's own lock of the directory, and so does who
//          looks there for a name that is not known yet.
// Locks:   DirState::op_mu > DentryCache::mu_ > DirState::children_mu > InodeTable::mu_. Only op_mu
//          is held across host calls, by changes of names (Create, Unlink, Rename, ...) in its
//          directory; there is no lock of the whole tree. A lookup holds none while it asks the
//          host, see dir_lock.h, and what works on one file by its descriptor takes none at all.
// Errors:  the host's errno, as the peer must see it, and
//            ENFILE  the node or descriptor budget is used up and nothing could be given up;
//            ESTALE  a file that has no descriptor (it was given up, or never opened) is not found
//                    by its name any more, or its file handle is of no file any more.
// Units:   sizes in bytes, times in nanoseconds since the epoch.
// Source:  spec/security.md s.2 and s.5; spec/lisafs.md s.4 to s.6.

#ifndef GOFER_FS_FILESYSTEM_H_
#define GOFER_FS_FILESYSTEM_H_

#include <sys/statfs.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/request_gate.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/client_changes.h"
#include "gofer/fs/client_numbers.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/entry.h"
#include "gofer/fs/handle.h"
#include "gofer/fs/inode.h"
#include "gofer/fs/look_ahead.h"
#include "gofer/sys/file_handle.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/socket.h"
#include "gofer/sys/thread_identity.h"

struct fsxattr;  // linux/fs.h

namespace gofer::fs {

// An owner that is not to be set, or changed.
inline constexpr uint32_t kKeepId = 0xffffffff;

// Whether files are held by file handles instead of descriptors: then a client may know any number
// of them, none is kept from being released, and a file is found whatever becomes of its name. A
// file that is removed while it is not open is gone for who had looked it up. Needs
// CAP_DAC_READ_SEARCH.
enum class FileHandles {
  kNever,
  kPrefer,     // where the file system has them
  kMandatory,  // a file without one cannot be used: EOPNOTSUPP
};

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
  FileHandles file_handles = FileHandles::kNever;
};

// Whether what was found in `dir` is mounted there: the root of another file system, or of a bind
// mount. Such a name can be neither removed nor moved.
bool IsMountedIn(const Dentry& dir, const sys::Attr& child);
// The same, or of a subvolume: what has another device.
bool CrossesMount(const Dentry& dir, const sys::Attr& child);

struct OpenEntry {
  Entry entry;
  RefPtr<Handle> handle;
};

struct BoundEntry {
  Entry entry;
  UniqueFd socket;
  UniqueFd copy;  // of the same, for the client
};

struct Owner {
  uint32_t uid = kKeepId;
  uint32_t gid = kKeepId;
};

// A file to be made for a FUSE client, as the client asked for it: what comes out is what the host
// itself would have made of it for that user, set-group-ID directories and default ACLs included.
struct Creation {
  uint32_t mode = 0;   // permission and set-id bits
  uint32_t umask = 0;  // taken off the mode, unless the directory has a default ACL instead
  Owner owner = {};
  uint32_t group = kKeepId;  // the owner's supplementary group that counts here; kKeepId: none
  // The thread becomes the owner for the call, instead of giving the file away afterwards.
  bool switch_credentials = false;
  // With switch_credentials: the owner's other groups are not known, and the client has checked
  // that it may write to the directory.
  bool trust_permissions = false;
};

// What a write, a truncation or an open with O_TRUNC does to set-id bits. File capabilities go
// anyway. Dropping costs nothing for a file that had none when its attributes were last looked at:
// a bit that somebody else on the host sets after that is not noticed.
enum class SetIdBits { kKeep, kDrop };

struct LockRange {
  short type;  // F_RDLCK, F_WRLCK or F_UNLCK
  uint64_t start;
  uint64_t end;  // the last byte; INT64_MAX: the end of the file, wherever it is
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
  // Whether file handles work is tried on the root: with kPrefer they are not used if they do not,
  // with kMandatory that is an error.
  static absl::StatusOr<std::unique_ptr<Filesystem>> Create(UniqueFd root, UniqueFd proc_fds,
                                                            const FilesystemOptions& options);
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;
  ~Filesystem();

  Dentry& root() const { return *root_; }

  // ---- looking

  // One name below a directory. ENOENT also if the directory is deleted; ENOTDIR if it is none.
  ErrnoOr<Entry> Lookup(Dentry& dir, const Name& name);
  // The same, but a file that is not known yet is not opened: that is one statx, and no descriptor.
  // It is opened by name, and verified, when something first needs it: ESTALE if the name leads
  // elsewhere by then.
  ErrnoOr<Entry> LookupUnopened(Dentry& dir, const Name& name);
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
  ErrnoOr<void> Truncate(Dentry& dentry, uint64_t size, SetIdBits set_id = SetIdBits::kKeep);

  // The same by an open file of it.
  ErrnoOr<sys::Attr> Stat(Handle& handle);
  ErrnoOr<void> ChangeMode(Handle& handle, uint32_t mode);
  ErrnoOr<void> ChangeOwner(Handle& handle, Owner owner);
  ErrnoOr<void> SetTimes(Handle& handle, const struct timespec times[2]);
  ErrnoOr<void> Truncate(Handle& handle, uint64_t size, SetIdBits set_id = SetIdBits::kKeep);

  // ---- open files

  // Opens the very file of the Dentry, whatever its name leads to by now. `flags` is an access mode
  // and O_TRUNC. Never blocks on a FIFO or a lease. Only regular files and directories, unless the
  // caller's policy has allowed the type.
  ErrnoOr<RefPtr<Handle>> Open(Dentry& dentry, int flags);
  // Up to `to.size()` bytes; fewer mean the end of the file.
  ErrnoOr<size_t> Read(Handle& handle, std::span<std::byte> to, uint64_t offset);
  ErrnoOr<size_t> Write(Handle& handle, std::span<const std::byte> from, uint64_t offset);
  ErrnoOr<void> Sync(Handle& handle);
  ErrnoOr<void> SyncData(Handle& handle);
  ErrnoOr<void> Allocate(Handle& handle, int mode, uint64_t offset, uint64_t length);
  // Hands the next entries of a directory to `sink`, without "." and "..", until their host
  // records, (24 + name) rounded up to 8, would exceed `budget` bytes. With `rewind` from the first
  // entry on.
  ErrnoOr<void> ReadDir(Handle& handle, bool rewind, size_t budget,
                        absl::FunctionRef<void(const DirEntry&)> sink);

  // ---- open files, for FUSE

  // Opens a regular file or directory with the flags that the client asks for: an access mode,
  // O_TRUNC, O_DIRECT, O_SYNC, O_DSYNC, O_NOATIME, O_NONBLOCK and O_DIRECTORY count, others are
  // dropped. EBADF for any other type, ELOOP for a symlink.
  ErrnoOr<RefPtr<Handle>> OpenWith(Dentry& dentry, int flags, SetIdBits set_id = SetIdBits::kKeep);
  // Fewer bytes than `to` holds mean the end of the file, always. Where it may not block: EAGAIN if
  // that cannot be had at once, and then `to` may hold anything.
  ErrnoOr<size_t> ReadV(Handle& handle, std::span<const struct iovec> to, uint64_t offset,
                        bool may_block);
  // Fewer bytes mean that an error kept the rest from being written. `append`: at the end of the
  // file, whatever the offset is.
  ErrnoOr<size_t> WriteV(Handle& handle, std::span<const struct iovec> from, uint64_t offset,
                         bool append, SetIdBits set_id = SetIdBits::kKeep);
  // SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA or SEEK_HOLE of a regular file; EINVAL for others.
  ErrnoOr<uint64_t> Seek(Handle& handle, uint64_t offset, int whence);
  // Copies up to `size` bytes, in one call of bounded length.
  ErrnoOr<size_t> CopyRange(Handle& from, uint64_t from_offset, Handle& to, uint64_t to_offset,
                            uint64_t size);
  // What a close of the client means to the host: NFS and its kind write back and report errors.
  // Free on local file systems.
  ErrnoOr<void> Flush(Handle& handle);
  // Writes back the whole file system that a regular file or directory is on.
  ErrnoOr<void> SyncFs(Dentry& dentry);
  // Hands the entries of a directory from a host cookie on (0: the first; else DirEntry::off of the
  // last one that was taken) to `sink`, "." and ".." included, until it returns false: that entry
  // was not taken. All are told to be on the directory's device.
  ErrnoOr<void> ReadDirFrom(Handle& handle, uint64_t cookie,
                            absl::FunctionRef<bool(const DirEntry&)> sink);
  // In the `sink` of ReadDirFrom: as LookupUnopened of the entry that it was given, or what was found
  // ahead. A long listing is looked up ahead from then on, by whom LookAheadOf is given to, and by
  // `helpers` if there are any.
  ErrnoOr<Entry> LookupListed(Handle& handle, const DirEntry& entry, const Name& name,
                              LookAhead::Helpers* helpers);
  // Null: there is nothing to look up ahead, or somebody is reading the listing.
  RefPtr<LookAhead> LookAheadOf(Handle& handle);
  // To be told of every change by a client whose listings are looked up ahead.
  ClientChanges& client_changes() { return client_changes_; }
  // flock(2) of the open file: F_RDLCK, F_WRLCK or F_UNLCK. EAGAIN if another holds it; never
  // waits.
  ErrnoOr<void> FLock(Handle& handle, short type);
  // An open file whose byte-range locks are one owner's alone, for PosixLocks: they end when it is
  // closed. EBADF but for regular files and directories.
  ErrnoOr<RefPtr<Handle>> OpenForLocks(Dentry& dentry);
  // The lock that is in the way; its type is F_UNLCK if there is none.
  ErrnoOr<LockRange> TestLock(Handle& handle, const LockRange& range);
  // EAGAIN if another holds one that is in the way; never waits.
  ErrnoOr<void> SetLock(Handle& handle, const LockRange& range);
  // Inode flags of ioctl_iflags(2). ENOTTY where the file system has none.
  ErrnoOr<uint32_t> GetInodeFlags(Handle& handle);
  ErrnoOr<void> SetInodeFlags(Handle& handle, uint32_t flags);
  ErrnoOr<uint32_t> GetInodeVersion(Handle& handle);
  ErrnoOr<struct fsxattr> GetFsxattr(Handle& handle);
  ErrnoOr<void> SetFsxattr(Handle& handle, const struct fsxattr& attributes);

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

  // ---- names, for FUSE: who makes a file is told by a Creation

  // Makes a regular file that must not exist, and opens it with flags as for OpenWith.
  ErrnoOr<OpenEntry> CreateFile(Dentry& dir, const Name& name, int flags, const Creation& creation);
  // The same without a name (O_TMPFILE); with O_EXCL in `flags` it can never be given one. Its
  // Dentry is a deleted one from the start, for MakeLink.
  ErrnoOr<OpenEntry> CreateUnnamed(Dentry& dir, int flags, const Creation& creation);
  ErrnoOr<Entry> MakeDir(Dentry& dir, const Name& name, const Creation& creation);
  ErrnoOr<Entry> MakeSymlink(Dentry& dir, const Name& name, const SymlinkTarget& target,
                             const Creation& creation);
  // `type` is S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR or S_IFBLK; `device` is as in stat(2). Whether
  // the client may make devices is for the caller to decide.
  ErrnoOr<Entry> MakeNode(Dentry& dir, const Name& name, uint32_t type, uint64_t device,
                          const Creation& creation);
  // With RENAME_WHITEOUT, whose whiteout it is.
  ErrnoOr<void> Rename(Dentry& old_dir, const Name& old_name, Dentry& new_dir, const Name& new_name,
                       unsigned flags, const Creation& creation);

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

  // The same for any name and any type of file, symlinks and special files too: which of them a
  // client may see is for the caller to decide. Nothing is opened for its content.
  ErrnoOr<size_t> GetAnyXattr(Dentry& dentry, absl::string_view name, std::span<std::byte> value);
  ErrnoOr<void> SetAnyXattr(Dentry& dentry, absl::string_view name,
                            std::span<const std::byte> value, int flags);
  ErrnoOr<size_t> ListAnyXattr(Dentry& dentry, std::span<char> names);
  ErrnoOr<void> RemoveAnyXattr(Dentry& dentry, absl::string_view name);

  // ---- saving and restoring; in filesystem_state.cc

  // Every request of a client that works on the tree passes it; a save closes it.
  RequestGate& gate() { return gate_; }
  // Held by the one PreparedFiles that there may be.
  std::atomic<bool>& preparation() { return is_prepared_; }
  // Whether the name of a Dentry leads to its file, and what that is now: ENOENT if to none, ESTALE
  // if to another, or if its directory cannot be reached.
  ErrnoOr<sys::Attr> CheckPlace(Dentry& dentry);
  // By which path this process sees the file of a Dentry, see sys::ProcFds::PathOf.
  ErrnoOr<std::string> HostPathOf(const Dentry& dentry);
  // Gives the Dentry the place that its file has on the host by now, as a rename by a client would.
  // ESTALE if that name leads to another file, EEXIST if another Dentry of the same file is in use
  // there (and `share_place` is false), ELOOP if the place is below the Dentry itself, EAGAIN if a
  // client has renamed it meanwhile.
  ErrnoOr<void> Resettle(Dentry& dentry, Dentry& dir, const Name& name, bool share_place);
  // Marks a Dentry deleted whose file nothing names any more, as an unlink by a client would.
  // EEXIST if something does.
  ErrnoOr<void> SettleDeleted(Dentry& dentry);
  // By which numbers clients know a file, which is how a front end names it to them. Everything
  // else here, attributes and listings too, is in the host's numbers.
  FileNumber ClientNumberOf(const FileNumber& host) const {
    const ClientNumbers* const numbers = numbers_.load(std::memory_order_acquire);
    if (numbers == nullptr) [[likely]]
      return host;
    return numbers->Of(host);
  }
  FileNumber ClientNumberOf(const sys::Attr& attr) const {
    return ClientNumberOf(FileNumber{
        .dev_major = attr.stx_dev_major, .dev_minor = attr.stx_dev_minor, .ino = attr.stx_ino});
  }
  FileNumber ClientNumberOf(const DirEntry& entry) const {
    return ClientNumberOf(
        FileNumber{.dev_major = entry.dev_major, .dev_minor = entry.dev_minor, .ino = entry.ino});
  }
  // From now on clients know files by these. Before there are clients.
  void KeepNumbers(ClientNumbers numbers) ABSL_LOCKS_EXCLUDED(numbers_mu_);
  // The second of each pair has taken the place of the first, and its number. Costs a copy of all
  // numbers, and its memory for good: in one go.
  void PassNumbersOn(std::span<const std::pair<const Inode*, const Inode*>> pairs)
      ABSL_LOCKS_EXCLUDED(numbers_mu_);
  // What is in a FIFO that a client has open for reading; it stays there. EFBIG if more than
  // `limit` bytes.
  ErrnoOr<std::string> PeekFifo(Dentry& fifo, size_t limit);
  // Takes the first `size` bytes out of it.
  ErrnoOr<void> SkipFifo(Dentry& fifo, size_t size);
  // Puts bytes before what is in it. They last as long as somebody has it open.
  ErrnoOr<void> RefillFifo(Dentry& fifo, absl::string_view bytes);
  // Waits until what was written to an open file is on its disk, where there is one.
  ErrnoOr<void> WriteBack(Handle& handle);
  // The same for all files of its mount, open or not. EOPNOTSUPP where syncfs(2) does not promise
  // that: on networks, FUSE, and all that is not known.
  ErrnoOr<void> WriteBackMount(Handle& handle);
  // Where ReadDir goes on in a directory: a cookie of the host.
  ErrnoOr<uint64_t> PositionOf(Handle& handle);
  ErrnoOr<void> SetPosition(Handle& handle, uint64_t cookie);
  // What stands in for a file that is not there any more, or not the one it was: every use of it is
  // ESTALE, and no lookup finds it.
  RefPtr<Dentry> AddStale(Dentry& dir, absl::string_view name, uint32_t type);
  // One more Dentry of the file of `other`, by a name that it does not have any more.
  RefPtr<Dentry> AddDeleted(Dentry& dir, absl::string_view last_name, Dentry& other);
  // An open file that opens itself when it is first used.
  RefPtr<Handle> MakeUnopened(Dentry& dentry, int flags);

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

  // The Dentry's O_PATH descriptor, opened by name and verified if there is none.
  ErrnoOr<PathFd> Pin(const Dentry& dentry);
  ErrnoOr<PathFd> PinSlow(const Dentry& dentry);
  ErrnoOr<PathFd> PinByName(const Dentry& dentry);
  ErrnoOr<PathFd> PinByHandle(const Inode& inode);
  // Attributes of a file without a descriptor, which it goes on without.
  ErrnoOr<sys::Attr> StatByName(const Dentry& dentry);
  // Does it again as long as it comes to ESTALE because of a rename by us.
  template <typename F>
  std::invoke_result_t<F> DespiteRenames(F&& by_name);
  ErrnoOr<PathFd> ReopenByName(const Dentry& dentry, BorrowedFd parent, const std::string& name);
  // The Handle's own host descriptor, opened now if the first was donated.
  ErrnoOr<BorrowedFd> FdOf(Handle& handle);
  // For one call: that, or one that is not kept if it was donated.
  ErrnoOr<void> WithFdFor(Handle& handle, absl::FunctionRef<ErrnoOr<void>(BorrowedFd)> call);
  // For one call, and not kept: a FIFO that is open behaves differently to others.
  ErrnoOr<UniqueFd> OpenFifo(Dentry& fifo, int flags);
  // A descriptor of a regular file or directory for a call that wants one that is not O_PATH.
  ErrnoOr<UniqueFd> OpenForXattr(const Dentry& dentry);

  // What the host says of a name that is not known, or not any more. Not in the tree yet.
  struct Found {
    RefPtr<Inode> inode;
    sys::Attr attr;
  };
  ErrnoOr<Found> OpenNew(BorrowedFd dir_fd, const Name& name);
  // The same, where it has been asked for the attributes already, without opening what is found, if
  // its identity is exact without a descriptor.
  ErrnoOr<Found> TakeNew(BorrowedFd dir_fd, const Name& name, const sys::Attr& attr);
  ErrnoOr<Entry> Attach(Dentry& dir, const Name& name, Found found);
  // The Inode of an opened file. Asks what kind of file system it is on, if nobody has yet.
  ErrnoOr<RefPtr<Inode>> Intern(UniqueFd fd, const sys::Attr& attr);
  // Whether a name that has these attributes leads to the Inode.
  bool LeadsTo(const Inode& inode, BorrowedFd dir_fd, const Name& name, const sys::Attr& attr);

  // File handles; see filesystem_handles.cc.
  absl::Status TryHandles();
  ErrnoOr<std::optional<sys::FileHandle>> HandleOf(BorrowedFd fd, const sys::Attr& attr);
  ErrnoOr<std::optional<sys::FileHandle>> NoHandle(Errno error, uint64_t mnt_id);
  RefPtr<Inode> InternByHandle(BorrowedFd dir_fd, const Name& name, const sys::Attr& attr);
  bool MakeMountFd(const Inode& inode);

  ErrnoOr<Entry> AddChild(Dentry& dir, const Name& name, UniqueFd fd, const sys::Attr& attr);
  // Makes room for one more Dentry, or one more descriptor.
  ErrnoOr<void> ReserveNode();
  ErrnoOr<void> ReserveFd();
  size_t GiveUpBatch() const;
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

  // How a file for a FUSE client is made; see filesystem_create.cc.
  struct Plan;
  ErrnoOr<Plan> PlanCreation(BorrowedFd dir_fd, const Creation& creation);
  ErrnoOr<sys::Attr> GiveAway(BorrowedFd fd, const Plan& plan, const Creation& creation);
  ErrnoOr<OpenEntry> AddOpened(Dentry& dir, const Name& name, UniqueFd fd, int flags,
                               const Plan& plan, const Creation& creation);
  template <typename Make>
  ErrnoOr<Entry> MakeByName(Dentry& dir, const Name& name, uint32_t type, const Creation& creation,
                            Make&& make);

  struct NewFile {
    UniqueFd fd;       // open with the access asked for
    UniqueFd path_fd;  // O_PATH of the same
    sys::Attr attr;
  };
  ErrnoOr<NewFile> CreateHostFile(BorrowedFd dir, const Name& name, uint32_t mode, Owner owner,
                                  int access);
  // Opens what was just made below `dir`, verifies the type, gives it its owner, then its mode if
  // that is not what it was made with, and adds it to the tree: it is found there when it is
  // complete.
  ErrnoOr<Entry> Adopt(Dentry& dir, BorrowedFd dir_fd, const Name& name, uint32_t type, Owner owner,
                       std::optional<uint32_t> mode = std::nullopt);
  bool IsOwn(Owner owner) const;
  // What keeps set-id bits from outliving a change of the content of the file, if they shall not
  // and it has any.
  ErrnoOr<std::optional<sys::ScopedNoSetId>> GuardSetId(SetIdBits set_id, const Dentry& dentry,
                                                        BorrowedFd fd);
  // What the host says of the place of a Dentry.
  struct PlaceSeen {
    ErrnoOr<sys::Attr> attr = Errno(ESTALE);  // of the Dentry's file, if that is there
    bool is_mounted = false;                  // what is there, see IsMountedIn
  };
  PlaceSeen LookAt(const Dentry& dentry, Dentry& dir, const Name& name);
  // A name that is about to go, whose file is to stay reachable for those who hold its Dentry.
  struct Removal {
    RefPtr<Dentry> dentry;         // null: nobody knows the name
    std::optional<PathFd> pinned;  // of its Inode, which it keeps
  };
  Removal PrepareRemoval(const Dentry& dir, RefPtr<Dentry> dentry);
  // With a DirChange held: of what has the name by now. If that is another, it was changed a moment
  // ago, so it is on the directory's own file system, and no other is asked.
  void Renew(Removal& removal, const Dentry& dir, const Name& name);
  // When the name has gone.
  void Finish(const Removal& removal);

  RequestGate gate_;
  std::atomic<bool> is_prepared_{false};
  const sys::ProcFds proc_fds_;
  const FilesystemOptions options_;
  bool use_handles_ = false;  // set once, by Create
  absl::Mutex complaints_mu_;
  absl::flat_hash_set<uint64_t> complaints_ ABSL_GUARDED_BY(complaints_mu_);  // mounts, by id
  const uint32_t own_uid_;
  const uint32_t own_gid_;
  std::atomic<size_t> handle_fds_{0};
  ClientChanges client_changes_;
  InodeTable inodes_;
  DentryCache dentries_;
  RefPtr<Dentry> root_;
  std::atomic<const ClientNumbers*> numbers_{nullptr};  // null: the host's
  absl::Mutex numbers_mu_;
  // The last is in force; somebody may still look at those before.
  std::vector<std::unique_ptr<const ClientNumbers>> all_numbers_ ABSL_GUARDED_BY(numbers_mu_);
  std::atomic<uint64_t> rename_count_{0};
  // Renames between the host's change of the names and ours, and how many have been through that.
  std::atomic<uint32_t> renames_running_{0};
  std::atomic<uint64_t> renames_done_{0};
};

}  // namespace gofer::fs

#endif  // GOFER_FS_FILESYSTEM_H_
