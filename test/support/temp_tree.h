// A directory on disk for one test: filled by verbs, looked at as the host sees it, removed at the
// end.
//
// Names are relative to the tree's root. What fails ends the test at once: a test cannot go on
// without its tree.
//
// Owner:   removes everything below path() on destruction.
// Threads: safe as far as the host's calls are.

#ifndef TEST_SUPPORT_TEMP_TREE_H_
#define TEST_SUPPORT_TEMP_TREE_H_

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "gofer/base/unique_fd.h"

namespace gofer::testing {

class TempTree {
 public:
  TempTree();
  ~TempTree();
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  const std::string& path() const { return path_; }
  std::string At(absl::string_view name) const;

  void Mkdir(absl::string_view name, uint32_t mode = 0755) const;
  void Write(absl::string_view name, absl::string_view content, uint32_t mode = 0644) const;
  void Symlink(absl::string_view name, absl::string_view target) const;
  void Fifo(absl::string_view name, uint32_t mode = 0644) const;
  void Link(absl::string_view from, absl::string_view to) const;
  void Rename(absl::string_view from, absl::string_view to) const;
  void Unlink(absl::string_view name) const;
  void Rmdir(absl::string_view name) const;

  std::string Read(absl::string_view name) const;
  bool Exists(absl::string_view name) const;
  // A symlink's own attributes.
  struct stat Stat(absl::string_view name) const;
  // An O_PATH descriptor of the root, or of a name in it.
  UniqueFd OpenPath(absl::string_view name = "") const;

  // What can be seen of the tree: a line per name with type, mode, owner, link count, size (not of
  // directories) and content or target. Two trees that went through the same operations have the
  // same snapshot.
  std::map<std::string, std::string> Snapshot() const;
  // As Snapshot, with inode numbers and all three times too: nothing at all has touched a tree
  // whose two are the same.
  std::map<std::string, std::string> StrictSnapshot() const;

 private:
  std::map<std::string, std::string> Take(bool strict) const;

  std::string path_;
};

// The descriptors of this process, and its threads without those that are about to end: what a test
// holds against its base when it looks for leaks.
size_t CountOpenFds();
size_t CountThreads();

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_TEMP_TREE_H_
