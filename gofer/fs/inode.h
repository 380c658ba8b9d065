// Inode: one host file, and the O_PATH descriptor that holds it while it has one. InodeTable: all
//        of them, by identity. Mount: what the files of one mount have in common.
//
// Identity is device, inode number and mount id. While the descriptor is held the kernel cannot
// give the number to another file, so the key alone is exact; without one (it was given up, or the
// file has not been opened yet) the birth time is compared too before a file is trusted.
//
// Where file handles are used, identity is the handle: it contains a generation, so it is exact
// without a descriptor and without a birth time, and the file is opened by it, whatever its name
// is.
//
// There may be a million of them and few have a descriptor, so an Inode is 40 bytes: what belongs
// to a mount is in the Mount, and what belongs to a descriptor is found by its number.
//
// Owner:   an Inode is kept by the Dentries that name it; the table only finds it. Hard links share
//          one. A Mount is kept by its Inodes.
// Threads: safe. A descriptor in use is pinned; an unpinned one may be given up at any moment, see
//          PathFd.
// Locks:   InodeTable::mu_ is a leaf. Descriptors are closed outside it, since closing can block.

#ifndef GOFER_FS_INODE_H_
#define GOFER_FS_INODE_H_

#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/handle_index.h"
#include "gofer/sys/file_handle.h"
#include "gofer/sys/host_fs.h"

namespace gofer::fs {

struct InodeKey {
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t ino;
  uint64_t mnt_id;

  static InodeKey Of(const sys::Attr& attr) {
    return {attr.stx_dev_major, attr.stx_dev_minor, attr.stx_ino,
            (attr.stx_mask & STATX_MNT_ID) != 0 ? attr.stx_mnt_id : 0};
  }
  friend bool operator==(const InodeKey&, const InodeKey&) = default;
};

class DentryCache;
class Inode;
class InodeTable;

// What kind of file system a mount is of, as far as it matters here.
enum class MountKind : uint8_t {
  kUnknown,  // not asked yet
  kMemory,   // tmpfs: as kLocal, and nothing on it ever waits for a disk
  kLocal,    // a disk of this machine: a close does nothing
  kStacked,  // overlayfs: as kLocal, but a copy-up changes birth times and perhaps numbers
  kOther,    // networks, FUSE, and all that is not known to be one of the above
};

class Mount {
 public:
  MountKind kind() const { return kind_.load(std::memory_order_relaxed); }
  void SetKind(MountKind kind) { kind_.store(kind, std::memory_order_relaxed); }
  // A descriptor on the mount by which file handles are opened; invalid if there is none (yet).
  BorrowedFd fd() const { return BorrowedFd(fd_.load(std::memory_order_acquire)); }
  // Closes it if there is one already.
  void SetFd(UniqueFd fd);
  ~Mount() { const UniqueFd closing(fd_.load(std::memory_order_relaxed)); }

 private:
  friend class Inode;
  friend class InodeTable;

  Mount(InodeTable* table, const InodeKey& key)
      : table_(table), dev_major_(key.dev_major), dev_minor_(key.dev_minor), mnt_id_(key.mnt_id) {}
  bool Has(const InodeKey& key) const {
    return mnt_id_ == key.mnt_id && dev_major_ == key.dev_major && dev_minor_ == key.dev_minor;
  }

  InodeTable* const table_;
  const uint32_t dev_major_;
  const uint32_t dev_minor_;
  const uint64_t mnt_id_;
  size_t inodes_ = 0;  // InodeTable::mu_
  std::atomic<int> fd_{-1};
  std::atomic<MountKind> kind_{MountKind::kUnknown};
};

// A pinned O_PATH descriptor: stays open as long as this lives.
class PathFd {
 public:
  PathFd() = default;
  PathFd(PathFd&& other) noexcept : inode_(std::exchange(other.inode_, nullptr)) {}
  PathFd& operator=(PathFd&& other) noexcept {
    std::swap(inode_, other.inode_);
    return *this;
  }
  PathFd(const PathFd&) = delete;
  PathFd& operator=(const PathFd&) = delete;
  ~PathFd();

  operator BorrowedFd() const;  // NOLINT: lending is what it is for

 private:
  friend class Inode;
  friend class InodeTable;
  explicit PathFd(const Inode* inode) : inode_(inode) {}

  const Inode* inode_ = nullptr;
};

class Inode {
 public:
  InodeKey key() const { return {mount_->dev_major_, mount_->dev_minor_, ino_, mount_->mnt_id_}; }
  // S_IFREG, S_IFDIR, ...; never changes.
  uint32_t type() const { return uint32_t{type_} << 12; }
  bool is_directory() const { return type() == S_IFDIR; }
  Mount& mount() const { return *mount_; }
  InodeTable& table() const { return *mount_->table_; }

  // Pins the descriptor if there is one; the caller keeps the Inode alive meanwhile.
  std::optional<PathFd> TryPin() const;
  // From now on the descriptor is never given up: the file has lost its last name, or is the root.
  void KeepFd() const { Set(kKeepFd); }
  // Whether `attr` is of this very file. If so, what of it is remembered is brought up to date.
  bool Matches(const sys::Attr& attr) const;
  // Stands for a file that is not there, see InodeTable::MakeLost.
  bool lost() const { return ino_ == 0; }

  // It has a file handle, see InodeTable::HandleOf.
  bool has_handle() const { return Is(kHasHandle); }
  // Whether it had a set-id bit when last looked at or changed by us. Others on the host may have
  // set one since.
  bool may_have_set_id() const { return Is(kSetId); }
  void NoteMode(uint32_t mode) const;

  // ---- what a save relies on, see PreparedFiles

  // A save is about to look at it, and will hold what it sees for true until NoteChange. Both are
  // atomic updates of one byte, so that one of the two is first: if it is this, the change is
  // noted; if it is the other, the save sees what was changed.
  void ExpectChanges() const { marks_.fetch_or(kAsSeen, std::memory_order_acq_rel); }
  // A client may have changed the file. After the host call, whatever came of it.
  void NoteChange() const {
    marks_.fetch_and(static_cast<uint8_t>(~kAsSeen), std::memory_order_acq_rel);
  }
  bool unchanged() const { return Is(kAsSeen); }

  void Ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() const;

 private:
  friend class InodeTable;
  friend class PathFd;

  // Values of pins_ below zero: no descriptor.
  static constexpr int32_t kNoFd = -1;
  // Bits of marks_.
  static constexpr uint8_t kKeepFd = 1;
  static constexpr uint8_t kUsed = 2;        // since the clock hand of InodeTable passed
  static constexpr uint8_t kSetId = 4;       // may_have_set_id
  static constexpr uint8_t kApart = 8;       // not in the table; InodeTable::mu_
  static constexpr uint8_t kHasHandle = 16;  // in the index of handles; set once, under mu_
  static constexpr uint8_t kAsSeen = 32;     // unchanged
  static constexpr int64_t kNoBirth = std::numeric_limits<int64_t>::min();

  Inode(Mount* mount, const sys::Attr& attr);
  ~Inode() = default;

  bool Is(uint8_t mark) const { return (marks_.load(std::memory_order_relaxed) & mark) != 0; }
  // Written only if it changes: the line is shared with all who use the Inode.
  void Set(uint8_t mark) const {
    if (!Is(mark)) marks_.fetch_or(mark, std::memory_order_relaxed);
  }
  void Clear(uint8_t mark) const {
    if (Is(mark)) marks_.fetch_and(static_cast<uint8_t>(~mark), std::memory_order_relaxed);
  }
  static int64_t BirthOf(const sys::Attr& attr);
  void Unpin() const { pins_.fetch_sub(1, std::memory_order_release); }

  Mount* const mount_;
  const uint64_t ino_;
  mutable std::atomic<int64_t> birth_ns_;
  mutable std::atomic<uint32_t> refs_{1};
  // Users of fd_, or kNoFd. fd_ is written before this turns from kNoFd to zero, and closed after
  // it turned back.
  mutable std::atomic<int32_t> pins_{kNoFd};
  int fd_ = -1;
  const uint8_t type_;  // the type's bits of a mode, without the twelve below
  mutable std::atomic<uint8_t> marks_{0};
};

// Around a host call that changes a file: notes the change when it is done, or has failed half-way.
class [[nodiscard]] ScopedChange {
 public:
  // Who makes it keeps the Inode alive.
  explicit ScopedChange(const Inode& inode) : inode_(inode) {}
  ScopedChange(const ScopedChange&) = delete;
  ScopedChange& operator=(const ScopedChange&) = delete;
  ~ScopedChange() { inode_.NoteChange(); }

 private:
  const Inode& inode_;
};

class InodeTable {
 public:
  // `dentries` is where the Dentries of the Inodes are kept, for Dentry's own use.
  explicit InodeTable(DentryCache* dentries = nullptr) : dentries_(dentries) {}
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;
  ~InodeTable();

  // The Inode of an opened file: the one known by its identity, or a new one. Takes the descriptor
  // over (and closes it when it is not needed). `handle` is the file's handle, or null.
  RefPtr<Inode> Intern(UniqueFd fd, const sys::Attr& attr, const sys::FileHandle* handle = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The same for a file that is not open. Null where its identity would not be exact without a
  // descriptor, or nothing could be opened by its handle: then it has to be opened.
  RefPtr<Inode> InternUnopened(const sys::Attr& attr, const sys::FileHandle* handle = nullptr)
      ABSL_LOCKS_EXCLUDED(mu_);
  // None if it has none.
  std::optional<sys::FileHandle> HandleOf(const Inode& inode) const ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing can be opened by it: from now on the Inode is one without a handle.
  void ForgetHandle(const Inode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // Closes its descriptor if nobody uses it. It can be opened again by its handle.
  void CloseFd(const Inode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // Stands for a file that is not there: it has no descriptor, and no file matches it.
  RefPtr<Inode> MakeLost(uint32_t type) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives an Inode without descriptor a new one, pinned. The caller has checked Matches on it.
  PathFd Restore(const Inode& inode, UniqueFd fd) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the descriptors of up to `count` Inodes that nobody uses, least recently used first (a
  // clock), and returns how many were closed.
  size_t GiveUpFds(size_t count) ABSL_LOCKS_EXCLUDED(mu_);

  DentryCache* dentries() const { return dentries_; }
  size_t open_fds() const { return open_fds_.load(std::memory_order_relaxed); }
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Inode;

  struct Identity {
    const Mount* mount;
    uint64_t ino;
  };
  struct HashOf {
    using is_transparent = void;
    size_t operator()(const Identity& id) const { return absl::HashOf(id.mount, id.ino); }
    size_t operator()(const Inode* inode) const { return absl::HashOf(inode->mount_, inode->ino_); }
  };
  struct SameIdentity {
    using is_transparent = void;
    bool operator()(const Inode* a, const Inode* b) const { return a == b; }
    bool operator()(const Inode* a, const Identity& b) const {
      return a->ino_ == b.ino && a->mount_ == b.mount;
    }
    bool operator()(const Identity& a, const Inode* b) const { return (*this)(b, a); }
  };

  void Release(Inode* inode) ABSL_LOCKS_EXCLUDED(mu_);
  Mount* FindMountLocked(const InodeKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Mount& MountLocked(const InodeKey& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The Inode that `attr` is of, or null. One of a file that is gone, whose number has been given
  // anew, is taken out: its Dentries keep it until they notice.
  Inode* FindLocked(const Mount& mount, const sys::Attr& attr, const sys::FileHandle* handle)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Inode* AddLocked(Mount& mount, const sys::Attr& attr, const sys::FileHandle* handle)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The Mount if nothing is on it any more, to be ended after the lock.
  std::unique_ptr<Mount> DropMountLocked(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void InstallLocked(Inode& inode, UniqueFd fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UninstallLocked(Inode& inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  DentryCache* const dentries_;
  mutable absl::Mutex mu_;
  absl::flat_hash_set<Inode*, HashOf, SameIdentity> inodes_ ABSL_GUARDED_BY(mu_);
  HandleIndex handles_ ABSL_GUARDED_BY(mu_);
  // Few; the one that was asked for last is asked for again, mostly.
  std::vector<std::unique_ptr<Mount>> mounts_ ABSL_GUARDED_BY(mu_);
  Mount* last_mount_ ABSL_GUARDED_BY(mu_) = nullptr;
  // Whose each descriptor number is: what the clock hand goes round.
  std::vector<Inode*> by_fd_ ABSL_GUARDED_BY(mu_);
  size_t clock_hand_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<size_t> open_fds_{0};
};

}  // namespace gofer::fs

#endif  // GOFER_FS_INODE_H_
