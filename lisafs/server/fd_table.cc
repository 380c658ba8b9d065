#include "lisafs/server/fd_table.h"

#include <algorithm>
#include <utility>

namespace lisafs {

using gofer::Errno;
using gofer::ErrnoOr;
using gofer::RefPtr;

FdId FdTable::Add(RefPtr<ControlFd> fd) { return AddSlot({Kind::kControl, fd.Release()}); }
FdId FdTable::Add(RefPtr<OpenFd> fd) { return AddSlot({Kind::kOpen, fd.Release()}); }
FdId FdTable::Add(RefPtr<BoundSocket> fd) { return AddSlot({Kind::kBound, fd.Release()}); }

FdId FdTable::AddSlot(Slot slot) {
  absl::MutexLock lock(&mu_);
  const uint64_t id = next_++;
  if (id / kPageSize != newest_page_) DropPageLocked(std::exchange(newest_page_, id / kPageSize));
  std::unique_ptr<Page>& page = pages_[id / kPageSize];
  if (page == nullptr) page = spare_ != nullptr ? std::move(spare_) : std::make_unique<Page>();
  page->slots[id % kPageSize] = slot;
  ++page->used;
  ++size_;
  return static_cast<FdId>(id);
}

void FdTable::DropPageLocked(uint64_t number) {
  const auto page = pages_.find(number);
  if (page == pages_.end() || page->second->used > 0) return;
  spare_ = std::move(page->second);
  pages_.erase(page);
}

FdTable::Slot FdTable::FindLocked(FdId id) const {
  const auto number = static_cast<uint64_t>(id);
  const auto page = pages_.find(number / kPageSize);
  return page == pages_.end() ? Slot() : page->second->slots[number % kPageSize];
}

template <typename T>
ErrnoOr<RefPtr<T>> FdTable::Find(FdId id, Kind kind) const {
  absl::ReaderMutexLock lock(&mu_);
  const Slot slot = FindLocked(id);
  if (slot.kind != kind) return Errno(slot.kind == Kind::kNone ? EBADF : EINVAL);
  return RefPtr<T>(static_cast<T*>(slot.object));
}

ErrnoOr<RefPtr<ControlFd>> FdTable::Control(FdId id) const {
  return Find<ControlFd>(id, Kind::kControl);
}
ErrnoOr<RefPtr<OpenFd>> FdTable::Open(FdId id) const { return Find<OpenFd>(id, Kind::kOpen); }
ErrnoOr<RefPtr<BoundSocket>> FdTable::Bound(FdId id) const {
  return Find<BoundSocket>(id, Kind::kBound);
}

ErrnoOr<RefPtr<ControlFd>> FdTable::File(FdId id) const {
  absl::ReaderMutexLock lock(&mu_);
  const Slot slot = FindLocked(id);
  switch (slot.kind) {
    case Kind::kControl:
      return RefPtr<ControlFd>(static_cast<ControlFd*>(slot.object));
    case Kind::kOpen:
      return RefPtr<ControlFd>(&static_cast<OpenFd*>(slot.object)->dentry());
    case Kind::kBound:
      return Errno(EINVAL);
    case Kind::kNone:
      break;
  }
  return Errno(EBADF);
}

void FdTable::Skip(size_t count) {
  absl::MutexLock lock(&mu_);
  next_ += count;
}

std::vector<FdTable::Named> FdTable::All() const {
  std::vector<Named> all;
  {
    absl::ReaderMutexLock lock(&mu_);
    all.reserve(size_);
    std::vector<std::pair<uint64_t, const Page*>> pages;
    pages.reserve(pages_.size());
    for (const auto& [number, page] : pages_) pages.emplace_back(number, page.get());
    std::sort(pages.begin(), pages.end());
    for (const auto& [number, page] : pages) {
      for (size_t i = 0; i < kPageSize; ++i) {
        const Slot& slot = page->slots[i];
        if (slot.kind == Kind::kNone) continue;
        Named named = {.id = static_cast<FdId>(number * kPageSize + i), .kind = slot.kind};
        if (slot.kind == Kind::kControl)
          named.control = RefPtr(static_cast<ControlFd*>(slot.object));
        if (slot.kind == Kind::kOpen) named.open = RefPtr(static_cast<OpenFd*>(slot.object));
        if (slot.kind == Kind::kBound) named.bound = RefPtr(static_cast<BoundSocket*>(slot.object));
        all.push_back(std::move(named));
      }
    }
  }
  return all;
}

uint64_t FdTable::next_id() const {
  absl::ReaderMutexLock lock(&mu_);
  return next_;
}

void FdTable::SetNextId(uint64_t next) {
  absl::MutexLock lock(&mu_);
  next_ = next;
  newest_page_ = next / kPageSize;
}

bool FdTable::Put(Named named) {
  const auto id = static_cast<uint64_t>(named.id);
  absl::MutexLock lock(&mu_);
  if (id == 0 || id >= next_ || named.kind == Kind::kNone) return false;
  if (FindLocked(named.id).kind != Kind::kNone) return false;
  std::unique_ptr<Page>& page = pages_[id / kPageSize];
  if (page == nullptr) page = std::make_unique<Page>();
  Slot& slot = page->slots[id % kPageSize];
  slot.kind = named.kind;
  switch (named.kind) {
    case Kind::kControl:
      slot.object = named.control.Release();
      break;
    case Kind::kOpen:
      slot.object = named.open.Release();
      break;
    case Kind::kBound:
      slot.object = named.bound.Release();
      break;
    case Kind::kNone:
      break;
  }
  ++page->used;
  ++size_;
  return true;
}

void FdTable::Close(FdId id) {
  const auto number = static_cast<uint64_t>(id);
  Slot closing;
  {
    absl::MutexLock lock(&mu_);
    const auto page = pages_.find(number / kPageSize);
    if (page == pages_.end()) return;
    closing = std::exchange(page->second->slots[number % kPageSize], Slot());
    if (closing.kind == Kind::kNone) return;
    --size_;
    --page->second->used;
    if (page->first != newest_page_) DropPageLocked(page->first);
  }
  Drop(closing);
}

void FdTable::Clear() {
  absl::flat_hash_map<uint64_t, std::unique_ptr<Page>> pages;
  {
    absl::MutexLock lock(&mu_);
    // Not within a request: a save that is being made finds either the files here or their changes.
    for (const auto& [number, page] : pages_) {
      for (const Slot& slot : page->slots) {
        if (slot.kind == Kind::kOpen) static_cast<OpenFd*>(slot.object)->NoteChanges();
      }
    }
    pages.swap(pages_);
    size_ = 0;
  }
  for (const auto& [number, page] : pages) {
    for (const Slot& slot : page->slots) Drop(slot);
  }
}

size_t FdTable::size() const {
  absl::ReaderMutexLock lock(&mu_);
  return size_;
}

size_t FdTable::num_pages() const {
  absl::ReaderMutexLock lock(&mu_);
  return pages_.size();
}

void FdTable::Drop(Slot slot) {
  switch (slot.kind) {
    case Kind::kControl:
      static_cast<ControlFd*>(slot.object)->Unref();
      break;
    case Kind::kOpen:
      static_cast<OpenFd*>(slot.object)->Unref();
      break;
    case Kind::kBound:
      static_cast<BoundSocket*>(slot.object)->Unref();
      break;
    case Kind::kNone:
      break;
  }
}

}  // namespace lisafs
