#include "gofer/fs/dir_lock.h"

#include <functional>
#include <utility>

namespace gofer::fs {

DirChange::DirChange(const Dentry& dir, const Dentry& other)
    : first_(&dir.dir()), second_(&other.dir()) {
  if (first_ == second_) second_ = nullptr;
  if (second_ != nullptr && std::less<>()(second_, first_)) std::swap(first_, second_);
  first_->op_mu.Lock();
  if (second_ != nullptr) second_->op_mu.Lock();
}

DirChange::~DirChange() {
  for (DirState* const dir : {second_, first_}) {
    if (dir == nullptr) continue;
    dir->changes.fetch_add(1, std::memory_order_release);
    dir->op_mu.Unlock();
  }
}

DirHold::DirHold(const Dentry& dir) : dir_(dir.dir()) { dir_.op_mu.ReaderLock(); }

DirHold::~DirHold() { dir_.op_mu.ReaderUnlock(); }

}  // namespace gofer::fs
