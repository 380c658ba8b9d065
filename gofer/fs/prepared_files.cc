#include "gofer/fs/prepared_files.h"

#include "gofer/fs/client_numbers.h"
#include "gofer/fs/file_judge.h"

namespace gofer::fs {

InodeState StateOf(const Filesystem& filesystem, const sys::Attr& attr) {
  InodeState state = InodeStateOf(attr);
  const FileNumber number = filesystem.ClientNumberOf(attr);
  state.client_dev_major = number.dev_major;
  state.client_dev_minor = number.dev_minor;
  state.client_ino = number.ino;
  return state;
}

PreparedFiles::PreparedFiles(Filesystem& filesystem) {
  if (filesystem.preparation().exchange(true)) return;
  claim_.reset(&filesystem.preparation());
  const size_t expected = filesystem.dentries().size();
  numbers_.reserve(expected);
  states_.reserve(expected);
}

ErrnoOr<void> PreparedFiles::Look(Filesystem& filesystem, Dentry& dentry) {
  const Inode& inode = dentry.inode();
  if (claim_ != nullptr) inode.ExpectChanges();
  const ErrnoOr<sys::Attr> attr = filesystem.CheckPlace(dentry);
  if (!attr.ok()) {
    inode.NoteChange();
    return attr.error();
  }
  if (claim_ == nullptr) return {};
  const auto [known, is_new] = numbers_.try_emplace(&inode, static_cast<uint32_t>(states_.size()));
  if (is_new) {
    states_.push_back(StateOf(filesystem, *attr));
  } else {
    states_[known->second] = StateOf(filesystem, *attr);
  }
  return {};
}

uint32_t PreparedFiles::NumberOf(const Inode& inode) const {
  const auto known = numbers_.find(&inode);
  return known == numbers_.end() ? kNoIndex : known->second;
}

}  // namespace gofer::fs
