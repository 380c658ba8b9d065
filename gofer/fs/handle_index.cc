#include "gofer/fs/handle_index.h"

#include <cstring>
#include <new>

namespace gofer::fs {
namespace {

absl::string_view BytesOf(const sys::FileHandle& handle) {
  return {reinterpret_cast<const char*>(handle.bytes), handle.size};
}

}  // namespace

HandleIndex::~HandleIndex() {
  for (Entry* const entry : by_handle_) ::operator delete(entry);
}

Inode* HandleIndex::Find(const Mount& mount, const sys::FileHandle& handle) const {
  const auto found = by_handle_.find(Key{&mount, handle.type, BytesOf(handle)});
  return found == by_handle_.end() ? nullptr : (*found)->inode;
}

std::optional<sys::FileHandle> HandleIndex::Of(const Inode& inode) const {
  const auto found = by_inode_.find(&inode);
  if (found == by_inode_.end()) return std::nullopt;
  const Entry& entry = *found->second;
  sys::FileHandle handle;
  handle.type = entry.type;
  handle.size = entry.size;
  std::memcpy(handle.bytes, entry.bytes().data(), entry.size);
  return handle;
}

void HandleIndex::Add(Inode& inode, const Mount& mount, const sys::FileHandle& handle) {
  void* const memory = ::operator new(sizeof(Entry) + handle.size);
  auto* const entry = new (memory)
      Entry{.inode = &inode, .mount = &mount, .type = handle.type, .size = handle.size};
  std::memcpy(entry + 1, handle.bytes, handle.size);
  by_handle_.insert(entry);
  by_inode_.emplace(&inode, entry);
}

void HandleIndex::Remove(const Inode& inode) {
  const auto found = by_inode_.find(&inode);
  if (found == by_inode_.end()) return;
  Entry* const entry = found->second;
  by_inode_.erase(found);
  by_handle_.erase(entry);
  ::operator delete(entry);
}

}  // namespace gofer::fs
