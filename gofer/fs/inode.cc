#include "gofer/fs/inode.h"

#include <algorithm>

#include "glog/logging.h"

namespace gofer::fs {

PathFd::~PathFd() {
  if (inode_ != nullptr) inode_->Unpin();
}

PathFd::operator BorrowedFd() const { return BorrowedFd(inode_->fd_); }

Inode::Inode(InodeTable* table, const sys::Attr& attr)
    : table_(table),
      key_(InodeKey::Of(attr)),
      btime_sec_(attr.stx_btime.tv_sec),
      btime_nsec_(attr.stx_btime.tv_nsec),
      type_(static_cast<uint16_t>(attr.stx_mode & S_IFMT)),
      has_btime_((attr.stx_mask & STATX_BTIME) != 0) {}

std::optional<PathFd> Inode::TryPin() const {
  int32_t pins = pins_.load(std::memory_order_relaxed);
  while (pins >= 0) {
    if (pins_.compare_exchange_weak(pins, pins + 1, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      if (!used_.load(std::memory_order_relaxed)) used_.store(true, std::memory_order_relaxed);
      return PathFd(this);
    }
  }
  return std::nullopt;
}

bool Inode::BirthDiffers(const sys::Attr& attr) const {
  return has_btime_ && (attr.stx_mask & STATX_BTIME) != 0 &&
         (attr.stx_btime.tv_sec != btime_sec_ || attr.stx_btime.tv_nsec != btime_nsec_);
}

bool Inode::Matches(const sys::Attr& attr) const {
  if (InodeKey::Of(attr) != key_ || (attr.stx_mode & S_IFMT) != type_) return false;
  // With the descriptor held the number cannot have been given to another file. A birth time that
  // differs is then the work of a stacked file system (overlayfs's copy-up), not another file.
  return pins_.load(std::memory_order_relaxed) >= 0 || !BirthDiffers(attr);
}

void Inode::Unref() const {
  // The last reference goes under the table's lock, where Intern could otherwise find an Inode that
  // is dying.
  uint32_t refs = refs_.load(std::memory_order_relaxed);
  while (refs > 1) {
    if (refs_.compare_exchange_weak(refs, refs - 1, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      return;
    }
  }
  table_->Release(const_cast<Inode*>(this));
}

InodeTable::~InodeTable() {
  CHECK(inodes_.empty()) << inodes_.size() << " inodes outlive their table";
}

void InodeTable::InstallLocked(Inode& inode, UniqueFd fd) {
  inode.fd_ = fd.Release();
  if (clock_hand_ == nullptr) {
    inode.next_ = inode.prev_ = clock_hand_ = &inode;
  } else {  // just behind the hand: looked at last
    inode.next_ = clock_hand_;
    inode.prev_ = clock_hand_->prev_;
    inode.prev_->next_ = inode.next_->prev_ = &inode;
  }
  open_fds_.fetch_add(1, std::memory_order_relaxed);
}

void InodeTable::UnlinkLocked(Inode& inode) {
  if (inode.next_ == &inode) {
    clock_hand_ = nullptr;
  } else {
    inode.prev_->next_ = inode.next_;
    inode.next_->prev_ = inode.prev_;
    if (clock_hand_ == &inode) clock_hand_ = inode.next_;
  }
  inode.next_ = inode.prev_ = nullptr;
  open_fds_.fetch_sub(1, std::memory_order_relaxed);
}

RefPtr<Inode> InodeTable::Intern(UniqueFd fd, const sys::Attr& attr) {
  UniqueFd surplus;  // closed after the lock
  absl::MutexLock lock(&mu_);
  Inode*& slot = inodes_[InodeKey::Of(attr)];
  if (slot != nullptr && slot->Matches(attr)) {
    slot->Ref();
    if (slot->pins_.load(std::memory_order_relaxed) >= 0) {
      surplus = std::move(fd);
    } else {
      InstallLocked(*slot, std::move(fd));
      slot->pins_.store(0, std::memory_order_release);
    }
    return RefPtr<Inode>::Adopt(slot);
  }
  // An entry that does not match is of a file that is gone, whose number has been given anew. Its
  // Dentries keep it until they notice.
  if (slot != nullptr) slot->in_table_ = false;
  slot = new Inode(this, attr);
  InstallLocked(*slot, std::move(fd));
  slot->pins_.store(0, std::memory_order_release);
  return RefPtr<Inode>::Adopt(slot);
}

PathFd InodeTable::Restore(const Inode& inode, UniqueFd fd) {
  UniqueFd surplus;  // closed after the lock
  absl::MutexLock lock(&mu_);
  if (std::optional<PathFd> pinned = inode.TryPin(); pinned.has_value()) {
    surplus = std::move(fd);  // another thread was first
    return *std::move(pinned);
  }
  InstallLocked(const_cast<Inode&>(inode), std::move(fd));
  inode.pins_.store(1, std::memory_order_release);
  return PathFd(&inode);
}

size_t InodeTable::GiveUpFds(size_t count) {
  std::vector<UniqueFd> closing;  // closed after the lock
  absl::MutexLock lock(&mu_);
  // Two rounds at most: the first may only clear the marks of use.
  for (size_t looked = 0, limit = 2 * open_fds(); looked < limit && closing.size() < count;
       ++looked) {
    Inode* const inode = clock_hand_;
    if (inode == nullptr) break;
    clock_hand_ = inode->next_;
    if (inode->keep_fd_.load(std::memory_order_relaxed)) continue;
    if (inode->used_.exchange(false, std::memory_order_relaxed)) continue;
    int32_t unused = 0;
    if (!inode->pins_.compare_exchange_strong(unused, Inode::kNoFd, std::memory_order_acquire))
      continue;
    UnlinkLocked(*inode);
    closing.emplace_back(std::exchange(inode->fd_, -1));
  }
  return closing.size();
}

void InodeTable::Release(Inode* inode) {
  UniqueFd closing;  // closed after the lock
  {
    absl::MutexLock lock(&mu_);
    if (inode->refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (inode->in_table_) inodes_.erase(inode->key_);
    if (inode->pins_.load(std::memory_order_acquire) >= 0) {
      UnlinkLocked(*inode);
      closing = UniqueFd(inode->fd_);
    }
  }
  delete inode;
}

size_t InodeTable::size() const {
  absl::MutexLock lock(&mu_);
  return inodes_.size();
}

}  // namespace gofer::fs
