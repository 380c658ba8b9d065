// Inode: one host file, and the O_PATH descriptor that holds it. InodeTable: all of them, by
//        identity.
//
// Identity is device, inode number and mount id. While the descriptor is held the kernel cannot
// give the number to another file, so the key alone is exact; when it was given up (descriptors are
// a budget) the birth time is compared too before the file is trusted again.
//
// Owner:   an Inode is kept by the Dentries that name it; the table only finds it. Hard links share
//          one.
// Threads: safe. A descriptor in use is pinned; an unpinned one may be given up at any moment, see
//          PathFd.
// Locks:   InodeTable::mu_ is a leaf. Descriptors are closed outside it, since closing can block.

#ifndef GOFER_FS_INODE_H_
#define GOFER_FS_INODE_H_

#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
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
  template <typename H>
  friend H AbslHashValue(H h, const InodeKey& key) {
    return H::combine(std::move(h), key.dev_major, key.dev_minor, key.ino, key.mnt_id);
  }
};

class Inode;
class InodeTable;

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
  const InodeKey& key() const { return key_; }
  // S_IFREG, S_IFDIR, ...; never changes.
  uint32_t type() const { return type_; }
  bool is_directory() const { return type_ == S_IFDIR; }

  // Pins the descriptor if there is one; the caller keeps the Inode alive meanwhile.
  std::optional<PathFd> TryPin() const;
  // From now on the descriptor is never given up: the file has lost its last name, or is the root.
  void KeepFd() const { keep_fd_.store(true, std::memory_order_relaxed); }
  // Whether `attr` is of this very file.
  bool Matches(const sys::Attr& attr) const;

  void Ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() const;

 private:
  friend class InodeTable;
  friend class PathFd;

  // Values of pins_ below zero: no descriptor.
  static constexpr int32_t kNoFd = -1;

  Inode(InodeTable* table, const sys::Attr& attr);
  ~Inode() = default;

  bool BirthDiffers(const sys::Attr& attr) const;
  void Unpin() const { pins_.fetch_sub(1, std::memory_order_release); }

  InodeTable* const table_;
  const InodeKey key_;
  const int64_t btime_sec_;
  const uint32_t btime_nsec_;
  const uint16_t type_;
  const bool has_btime_;
  mutable std::atomic<bool> keep_fd_{false};
  mutable std::atomic<bool> used_{false};  // since the clock hand of InodeTable passed
  bool in_table_ = true;                   // InodeTable::mu_
  mutable std::atomic<uint32_t> refs_{1};
  // Users of fd_, or kNoFd. fd_ is written before this turns from kNoFd to zero, and closed after
  // it turned back.
  mutable std::atomic<int32_t> pins_{kNoFd};
  int fd_ = -1;
  Inode* next_ = nullptr;  // ring of those with a descriptor; InodeTable::mu_
  Inode* prev_ = nullptr;
};

class InodeTable {
 public:
  InodeTable() = default;
  InodeTable(const InodeTable&) = delete;
  InodeTable& operator=(const InodeTable&) = delete;
  ~InodeTable();

  // The Inode of an opened file: the one known by its identity, or a new one. Takes the descriptor
  // over (and closes it when it is not needed).
  RefPtr<Inode> Intern(UniqueFd fd, const sys::Attr& attr) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives an Inode without descriptor a new one, pinned. The caller has checked Matches on it.
  PathFd Restore(const Inode& inode, UniqueFd fd) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the descriptors of up to `count` Inodes that nobody uses, least recently used first (a
  // clock), and returns how many were closed.
  size_t GiveUpFds(size_t count) ABSL_LOCKS_EXCLUDED(mu_);

  size_t open_fds() const { return open_fds_.load(std::memory_order_relaxed); }
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Inode;

  void Release(Inode* inode) ABSL_LOCKS_EXCLUDED(mu_);
  void InstallLocked(Inode& inode, UniqueFd fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnlinkLocked(Inode& inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  absl::flat_hash_map<InodeKey, Inode*> inodes_ ABSL_GUARDED_BY(mu_);
  Inode* clock_hand_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::atomic<size_t> open_fds_{0};
};

}  // namespace gofer::fs

#endif  // GOFER_FS_INODE_H_
