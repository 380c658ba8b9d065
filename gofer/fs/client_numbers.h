// ClientNumbers: by which device and inode number clients know the files of a tree.
//
// Those of the host, until a restore finds that the host calls files otherwise by now: another
// device after a reboot, another inode number in a copied tree or for a file that had to be made
// anew. Then the files that clients had keep their numbers, and as two files may not have the same
// one, others change theirs. All of it is one permutation of the numbers that there can be: where
// file A keeps the number that the host gives to B, and B's own is not kept, B gets one that the
// host gives to a file which has kept another. So no two files ever have the same number, whatever
// the host makes later; a file's number is the same as long as the host's is; and nothing has to be
// remembered but what was kept.
//
// Owner:   Filesystem. Threads: never changes once it is made.
// Source:  the design's section on checkpoints.

#ifndef GOFER_FS_CLIENT_NUMBERS_H_
#define GOFER_FS_CLIENT_NUMBERS_H_

#include <cstdint>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace gofer::fs {

struct FileNumber {
  uint32_t dev_major = 0;
  uint32_t dev_minor = 0;
  uint64_t ino = 0;

  friend bool operator==(const FileNumber&, const FileNumber&) = default;
  template <typename H>
  friend H AbslHashValue(H hash, const FileNumber& number) {
    return H::combine(std::move(hash), number.dev_major, number.dev_minor, number.ino);
  }
};

class ClientNumbers {
 public:
  struct Kept {
    FileNumber host;
    FileNumber client;
  };

  // What cannot be kept is not: a number of two files is the first one's, and 0 is none.
  explicit ClientNumbers(std::span<const Kept> kept);

  FileNumber Of(const FileNumber& host) const;
  // Both numbers are the host's, always.
  bool is_identity() const { return devices_.empty() && files_.empty(); }

  // The same, but that the two files of each pair, one pair after the other, have changed their
  // numbers: a file that was made anew has that of the one in whose place it is.
  ClientNumbers WithSwapped(std::span<const std::pair<FileNumber, FileNumber>> pairs) const;

 private:
  using Device = std::pair<uint32_t, uint32_t>;

  void Swap(const FileNumber& a, const FileNumber& b);
  FileNumber OnClientDevice(const FileNumber& host) const;

  // Permutations, without what stays as it is. The second is of what the first comes to.
  absl::flat_hash_map<Device, Device> devices_;
  absl::flat_hash_map<FileNumber, FileNumber> files_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_CLIENT_NUMBERS_H_
