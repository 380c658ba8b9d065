#include "gofer/fs/inode.h"

#include <algorithm>

#include "glog/logging.h"

namespace gofer::fs {

PathFd::~PathFd() {
  if (inode_ != nullptr) inode_->Unpin();
}

PathFd::operator BorrowedFd() const { return BorrowedFd(inode_->fd_); }

void Mount::SetFd(UniqueFd fd) {
  int none = -1;
  if (fd_.compare_exchange_strong(none, fd.get(), std::memory_order_acq_rel)) (void)fd.Release();
}

Inode::Inode(Mount* mount, const sys::Attr& attr)
    : mount_(mount),
      ino_(attr.stx_ino),
      birth_ns_(BirthOf(attr)),
      type_(static_cast<uint8_t>(attr.stx_mode >> 12)) {
  static_assert(sizeof(Inode) <= 40, "a million of them are held");
  NoteMode(attr.stx_mode);
}

// Unsigned, so that a time out of all bounds is another time and no undefined one.
int64_t Inode::BirthOf(const sys::Attr& attr) {
  if ((attr.stx_mask & STATX_BTIME) == 0) return kNoBirth;
  return static_cast<int64_t>(static_cast<uint64_t>(attr.stx_btime.tv_sec) * 1'000'000'000 +
                              attr.stx_btime.tv_nsec);
}

void Inode::NoteMode(uint32_t mode) const {
  if ((mode & (S_ISUID | S_ISGID)) != 0) {
    Set(kSetId);
  } else {
    Clear(kSetId);
  }
}

std::optional<PathFd> Inode::TryPin() const {
  int32_t pins = pins_.load(std::memory_order_relaxed);
  while (pins >= 0) {
    if (pins_.compare_exchange_weak(pins, pins + 1, std::memory_order_acquire,
                                    std::memory_order_relaxed)) {
      Set(kUsed);
      return PathFd(this);
    }
  }
  return std::nullopt;
}

bool Inode::Matches(const sys::Attr& attr) const {
  if (attr.stx_ino != ino_ || (attr.stx_mode & S_IFMT) != type() ||
      !mount_->Has(InodeKey::Of(attr)) || lost()) {
    return false;
  }
  const int64_t found = BirthOf(attr);
  const int64_t known = birth_ns_.load(std::memory_order_relaxed);
  if (found != known && found != kNoBirth && known != kNoBirth) {
    // With the descriptor held the number cannot have been given to another file. A birth time that
    // differs is then the work of a stacked file system (overlayfs's copy-up), not another file.
    if (pins_.load(std::memory_order_relaxed) < 0) return false;
    birth_ns_.store(found, std::memory_order_relaxed);
  }
  NoteMode(attr.stx_mode);
  return true;
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
  table().Release(const_cast<Inode*>(this));
}

InodeTable::~InodeTable() {
  CHECK(inodes_.empty()) << inodes_.size() << " inodes outlive their table";
}

Mount* InodeTable::FindMountLocked(const InodeKey& key) {
  if (last_mount_ != nullptr && last_mount_->Has(key)) return last_mount_;
  for (const std::unique_ptr<Mount>& mount : mounts_) {
    if (mount->Has(key)) return last_mount_ = mount.get();
  }
  return nullptr;
}

Mount& InodeTable::MountLocked(const InodeKey& key) {
  if (Mount* const known = FindMountLocked(key); known != nullptr) return *known;
  last_mount_ = mounts_.emplace_back(new Mount(this, key)).get();
  return *last_mount_;
}

Inode* InodeTable::FindLocked(const Mount& mount, const sys::Attr& attr,
                              const sys::FileHandle* handle) {
  if (handle != nullptr) {
    if (Inode* const found = handles_.Find(mount, *handle); found != nullptr) {
      found->NoteMode(attr.stx_mode);
      return found;
    }
  }
  const auto found = inodes_.find(Identity{&mount, attr.stx_ino});
  if (found == inodes_.end()) return nullptr;
  Inode& known = **found;
  // One that is held by its handle alone has not kept its number. One whose handle is another is
  // another.
  const bool may_lie =
      known.has_handle() &&
      (handle != nullptr || known.pins_.load(std::memory_order_relaxed) == Inode::kNoFd);
  if (!may_lie && known.Matches(attr)) return &known;
  known.Set(Inode::kApart);
  inodes_.erase(found);
  return nullptr;
}

Inode* InodeTable::AddLocked(Mount& mount, const sys::Attr& attr, const sys::FileHandle* handle) {
  auto* const inode = new Inode(&mount, attr);
  ++mount.inodes_;
  inodes_.insert(inode);
  if (handle != nullptr) {
    handles_.Add(*inode, mount, *handle);
    inode->Set(Inode::kHasHandle);
  }
  return inode;
}

std::unique_ptr<Mount> InodeTable::DropMountLocked(Mount& mount) {
  if (--mount.inodes_ > 0) return nullptr;
  if (last_mount_ == &mount) last_mount_ = nullptr;
  const auto found = std::find_if(mounts_.begin(), mounts_.end(),
                                  [&mount](const auto& other) { return other.get() == &mount; });
  std::unique_ptr<Mount> dropped = std::move(*found);
  mounts_.erase(found);
  return dropped;
}

void InodeTable::InstallLocked(Inode& inode, UniqueFd fd) {
  const auto number = static_cast<size_t>(fd.get());
  if (number >= by_fd_.size()) by_fd_.resize(std::max(number + 1, by_fd_.size() * 2));
  by_fd_[number] = &inode;
  inode.fd_ = fd.Release();
  inode.Set(Inode::kUsed);
  open_fds_.fetch_add(1, std::memory_order_relaxed);
}

void InodeTable::UninstallLocked(Inode& inode) {
  by_fd_[static_cast<size_t>(inode.fd_)] = nullptr;
  open_fds_.fetch_sub(1, std::memory_order_relaxed);
}

RefPtr<Inode> InodeTable::Intern(UniqueFd fd, const sys::Attr& attr,
                                 const sys::FileHandle* handle) {
  UniqueFd surplus;  // closed after the lock
  absl::MutexLock lock(&mu_);
  Mount& mount = MountLocked(InodeKey::Of(attr));
  Inode* inode = FindLocked(mount, attr, handle);
  if (inode != nullptr) {
    inode->Ref();
    if (inode->pins_.load(std::memory_order_relaxed) >= 0) {
      surplus = std::move(fd);
      return RefPtr<Inode>::Adopt(inode);
    }
  } else {
    inode = AddLocked(mount, attr, handle);
  }
  InstallLocked(*inode, std::move(fd));
  inode->pins_.store(0, std::memory_order_release);
  return RefPtr<Inode>::Adopt(inode);
}

RefPtr<Inode> InodeTable::InternUnopened(const sys::Attr& attr, const sys::FileHandle* handle) {
  absl::MutexLock lock(&mu_);
  Mount* const mount = FindMountLocked(InodeKey::Of(attr));
  if (mount == nullptr) return nullptr;
  if (handle != nullptr && !mount->fd().valid()) return nullptr;
  Inode* const inode = FindLocked(*mount, attr, handle);
  if (inode != nullptr) return RefPtr<Inode>(inode);
  // Without its birth time a number would be any file that ever has it. On a stacked file system
  // the numbers of directories may last only as long as somebody holds them.
  const bool is_directory = (attr.stx_mode & S_IFMT) == S_IFDIR;
  const bool is_exact =
      handle != nullptr ||
      ((attr.stx_mask & STATX_BTIME) != 0 && mount->kind() != MountKind::kUnknown &&
       !(mount->kind() == MountKind::kStacked && is_directory));
  if (!is_exact) return nullptr;
  return RefPtr<Inode>::Adopt(AddLocked(*mount, attr, handle));
}

std::optional<sys::FileHandle> InodeTable::HandleOf(const Inode& inode) const {
  if (!inode.has_handle()) return std::nullopt;
  absl::MutexLock lock(&mu_);
  return handles_.Of(inode);
}

void InodeTable::ForgetHandle(const Inode& inode) {
  absl::MutexLock lock(&mu_);
  handles_.Remove(inode);
  inode.Clear(Inode::kHasHandle);
}

void InodeTable::CloseFd(const Inode& inode) {
  UniqueFd closing;  // closed after the lock
  absl::MutexLock lock(&mu_);
  int32_t unused = 0;
  if (!inode.pins_.compare_exchange_strong(unused, Inode::kNoFd, std::memory_order_acquire)) return;
  auto& mine = const_cast<Inode&>(inode);
  UninstallLocked(mine);
  closing = UniqueFd(std::exchange(mine.fd_, -1));
}

RefPtr<Inode> InodeTable::MakeLost(uint32_t type) {
  sys::Attr nothing = {};  // no file has number 0
  nothing.stx_mode = static_cast<uint16_t>(type);
  absl::MutexLock lock(&mu_);
  Mount& mount = MountLocked(InodeKey::Of(nothing));
  auto* const inode = new Inode(&mount, nothing);
  ++mount.inodes_;
  inode->Set(Inode::kApart);
  return RefPtr<Inode>::Adopt(inode);
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
  for (size_t looked = 0, limit = 2 * by_fd_.size(); looked < limit && closing.size() < count;
       ++looked) {
    if (++clock_hand_ >= by_fd_.size()) clock_hand_ = 0;
    Inode* const inode = by_fd_[clock_hand_];
    if (inode == nullptr || inode->Is(Inode::kKeepFd)) continue;
    if (inode->Is(Inode::kUsed)) {
      inode->Clear(Inode::kUsed);
      continue;
    }
    int32_t unused = 0;
    if (!inode->pins_.compare_exchange_strong(unused, Inode::kNoFd, std::memory_order_acquire))
      continue;
    UninstallLocked(*inode);
    closing.emplace_back(std::exchange(inode->fd_, -1));
  }
  return closing.size();
}

void InodeTable::Release(Inode* inode) {
  UniqueFd closing;  // both end after the lock
  std::unique_ptr<Mount> mount;
  {
    absl::MutexLock lock(&mu_);
    if (inode->refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    if (!inode->Is(Inode::kApart)) inodes_.erase(inode);
    if (inode->pins_.load(std::memory_order_acquire) >= 0) {
      UninstallLocked(*inode);
      closing = UniqueFd(inode->fd_);
    }
    if (inode->has_handle()) handles_.Remove(*inode);
    mount = DropMountLocked(*inode->mount_);
  }
  delete inode;
}

size_t InodeTable::size() const {
  absl::MutexLock lock(&mu_);
  return inodes_.size();
}

}  // namespace gofer::fs
