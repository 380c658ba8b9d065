// KnownTree: a random tree of files of which each is known by a number of its own, and what a host
// may do to it behind a gofer's back.
//
// The number is the file's owner: it stays with the file wherever it goes and whatever is written
// to it, no other file ever gets it, and a client can see it. What was last written to a file is
// known too. So whoever is handed a file can say which one it is, without a look at names, inode
// numbers or times, which are what the gofer under test goes by.
//
// Owner:   of nothing on the disk: the directory is the caller's, a mount of its own that goes with
//          those that were made in it.
// Threads: one.
// Errors:  what fails ends the test at once.
// Needs:   root, for owners and mounts; a mount namespace of its own.

#ifndef TEST_CHECKPOINT_KNOWN_TREE_H_
#define TEST_CHECKPOINT_KNOWN_TREE_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace gofer::testing {

// Which file it is: its owner.
using FileId = uint32_t;

// A name, as the host sees it.
struct Seen {
  FileId file;
  struct stat stat;
  bool is_mount;  // something is mounted there
};
// By path below the root, with a "/" before each name; "" is the root.
using Scan = std::map<std::string, Seen>;

class KnownTree {
 public:
  // Fills the empty directory `root`. What happens next is a function of `random` alone, but for
  // which inode numbers the host gives.
  KnownTree(std::string root, std::mt19937_64& random);

  const std::string& root() const { return root_; }
  Scan Look() const;
  // What a regular file contains, or where a symlink points. Empty for others.
  const std::string& ContentOf(FileId file) const { return content_.at(file); }

  // Does one thing to something in the tree; says what.
  std::string Mutate();
  // Only what can be told by name, type, size and modification time, of regular files: whatever
  // else becomes of a copy of a tree, nobody can see.
  std::string MutateVisibly();
  // Removes a regular file, and makes others until one of them has its inode number; that one takes
  // its name, size and modification time. False if the host gave other numbers.
  bool ReuseNumber(const std::string& path);
  // Puts a copy of all into the empty directory `root`, on whatever file system that is, and goes
  // on there: names, owners, modes, times, hard links.
  void MoveToCopy(std::string root);

  // How often each thing was done, by the words that Mutate says it with.
  const std::map<std::string, uint64_t>& done() const { return done_; }

 private:
  using Entry = Scan::value_type;

  std::string At(const std::string& path) const { return root_ + path; }
  bool Chance(unsigned percent) { return random_() % 100 < percent; }
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  // A name that is not there yet, in a directory.
  std::string FreshPath(const Scan& scan);
  // Anything but the root that satisfies it; null if there is none.
  template <typename Predicate>
  const Entry* Pick(const Scan& scan, Predicate&& predicate);

  // Makes a file of a type at a path; its number.
  FileId Make(const std::string& path, uint32_t type, size_t size);
  void MakeLike(const std::string& path, const Entry& other);
  void Write(const std::string& path, FileId file, const std::string& content);
  std::string NewContent(FileId file, size_t size);
  void SetTime(const std::string& path, const struct timespec& mtime);
  void Remove(const std::string& path);

  std::string Did(absl::string_view what, const std::string& path, const std::string& other = "");
  // What Mutate does; each says what it did, or nothing if there was nothing to do it to.
  std::string Rename(const Scan& scan);
  std::string Replace(const Scan& scan);
  std::string Recreate(const Scan& scan);
  std::string Exchange(const Scan& scan);
  std::string Resize(const Scan& scan);
  std::string Rewrite(const Scan& scan);
  std::string Touch(const Scan& scan);
  std::string ChangeMode(const Scan& scan);
  std::string Delete(const Scan& scan);
  std::string Relink(const Scan& scan);
  std::string MountOver(const Scan& scan);

  std::string root_;
  std::mt19937_64& random_;
  absl::flat_hash_map<FileId, std::string> content_;
  FileId next_file_;
  uint64_t names_made_ = 0;
  std::map<std::string, uint64_t> done_;
};

}  // namespace gofer::testing

#endif  // TEST_CHECKPOINT_KNOWN_TREE_H_
