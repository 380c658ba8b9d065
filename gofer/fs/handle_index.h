// HandleIndex: which Inode a file handle is of, and which handle an Inode has.
//
// It goes before the index by inode numbers: an Inode that is held by its handle alone does not
// keep its number from being given to another file.
//
// Owner:   InodeTable. Threads: none of its own; all under InodeTable::mu_.
// Source:  spec/virtiofsd-parity.md H.

#ifndef GOFER_FS_HANDLE_INDEX_H_
#define GOFER_FS_HANDLE_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "gofer/sys/file_handle.h"

namespace gofer::fs {

class Inode;
class Mount;

class HandleIndex {
 public:
  HandleIndex() = default;
  HandleIndex(const HandleIndex&) = delete;
  HandleIndex& operator=(const HandleIndex&) = delete;
  ~HandleIndex();

  // The Inode that has this handle on the mount, or null.
  Inode* Find(const Mount& mount, const sys::FileHandle& handle) const;
  std::optional<sys::FileHandle> Of(const Inode& inode) const;
  // Neither the Inode nor the handle on that mount has an entry yet.
  void Add(Inode& inode, const Mount& mount, const sys::FileHandle& handle);
  void Remove(const Inode& inode);

  size_t size() const { return by_inode_.size(); }

 private:
  // Allocated with the bytes behind it: most handles are short.
  struct Entry {
    Inode* inode;
    const Mount* mount;
    int32_t type;
    uint32_t size;
    absl::string_view bytes() const { return {reinterpret_cast<const char*>(this + 1), size}; }
  };
  struct Key {
    const Mount* mount;
    int32_t type;
    absl::string_view bytes;
    friend bool operator==(const Key&, const Key&) = default;
  };
  static Key KeyOf(const Entry* entry) { return {entry->mount, entry->type, entry->bytes()}; }
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Key& key) const { return absl::HashOf(key.mount, key.type, key.bytes); }
    size_t operator()(const Entry* entry) const { return (*this)(KeyOf(entry)); }
  };
  struct Same {
    using is_transparent = void;
    bool operator()(const Entry* a, const Entry* b) const { return a == b; }
    bool operator()(const Entry* a, const Key& b) const { return KeyOf(a) == b; }
    bool operator()(const Key& a, const Entry* b) const { return a == KeyOf(b); }
  };

  absl::flat_hash_set<Entry*, Hash, Same> by_handle_;
  absl::flat_hash_map<const Inode*, Entry*> by_inode_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_HANDLE_INDEX_H_
