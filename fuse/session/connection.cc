#include "fuse/session/connection.h"

#include <fcntl.h>
#include <linux/magic.h>

namespace gofer::fuse {
namespace {

// File systems of this machine, which do nothing when a file is closed.
bool IsQuiet(const struct statfs& statfs) {
  switch (static_cast<uint64_t>(statfs.f_type)) {
    case EXT4_SUPER_MAGIC:
    case 0x58465342:  // XFS
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool Connection::ClosesQuietly(fs::Dentry& dentry) {
  const uint64_t mount = dentry.inode().key().mnt_id << 1;
  const uint64_t known = quiet_mount_.load(std::memory_order_relaxed);
  if ((known & ~uint64_t{1}) == mount) return (known & 1) != 0;
  const ErrnoOr<struct statfs> statfs = filesystem_.StatFs(dentry);
  if (!statfs.ok()) return false;
  const bool quiet = IsQuiet(*statfs);
  quiet_mount_.store(mount | (quiet ? 1 : 0), std::memory_order_relaxed);
  return quiet;
}

void Connection::Close() {
  closed_.store(true, std::memory_order_seq_cst);
  locks_.Clear();
  {
    std::vector<std::pair<RefPtr<fs::Handle>, short>> closing;  // after the lock
    const absl::MutexLock lock(&flocks_mu_);
    closing.swap(flocks_let_go_);
  }
  handles_.Close();
  nodes_.Close();
}

ErrnoOr<void> Connection::SetLock(fs::Dentry& dentry, uint64_t owner, const fs::LockRange& range) {
  const ErrnoOr<void> result = locks_.Set(dentry, owner, range);
  // Closing clears the locks once: one that is set after that is taken back by who has set it.
  if (closed_.load(std::memory_order_seq_cst)) {
    locks_.Release(dentry, owner);
    return Errno(ENODEV);
  }
  return result;
}

ErrnoOr<fs::LockRange> Connection::TestLock(fs::Dentry& dentry, uint64_t owner,
                                            const fs::LockRange& range) {
  return locks_.Test(dentry, owner, range);
}

void Connection::ReleaseLocks(fs::Dentry& dentry, uint64_t owner) {
  if (!granted_.Has(init::kPosixLocks)) return;
  waiter_.Cancel([&](const LockWaiter::Waiting& waiting) {
    return !waiting.flock && waiting.owner == owner &&
           &waiting.handle->dentry().inode() == &dentry.inode();
  });
  locks_.Release(dentry, owner);
  waiter_.Kick();
}

void Connection::LetGoOfFlocks() {
  std::vector<HandleTable::Saved> all = handles_.All();  // what is in it ends after the lock
  const absl::MutexLock lock(&flocks_mu_);
  for (HandleTable::Saved& saved : all) {
    const short type = saved.file.handle->flock();
    if (type == F_UNLCK) continue;
    (void)filesystem_.FLock(*saved.file.handle, F_UNLCK).ok();
    flocks_let_go_.emplace_back(std::move(saved.file.handle), type);
  }
}

std::vector<RefPtr<fs::Handle>> Connection::TakeFlocksAgain() {
  std::vector<RefPtr<fs::Handle>> lost;
  std::vector<std::pair<RefPtr<fs::Handle>, short>> let_go;  // what is in it ends after the lock
  const absl::MutexLock lock(&flocks_mu_);
  let_go.swap(flocks_let_go_);
  for (auto& [handle, type] : let_go) {
    if (!filesystem_.FLock(*handle, type).ok()) lost.push_back(std::move(handle));
  }
  return lost;
}

}  // namespace gofer::fuse
