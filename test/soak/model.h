// Model: what a tree must be after what was done to it, and what whoever did it must be told.
//
// A verb says which errors it may fail with; with none it must succeed, and the model has done it
// too. There may be several where more than one thing is wrong: which is seen first is the kernel's
// affair.
//
// It knows regular files, directories and symlinks, with their content, permissions, hard links and
// inode numbers. No path may lead through a symlink, and none may be written to, resized or
// chmod'ed: clients differ in whether they follow it.
//
// Owner:   the caller. Nodes live on while somebody holds them, as open files do.
// Threads: one at a time.
// Source:  rename(2), link(2), unlink(2), rmdir(2), path_resolution(7); Linux fs/namei.c.

#ifndef TEST_SOAK_MODEL_H_
#define TEST_SOAK_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace gofer::soak {

class Model {
 public:
  struct Node {
    uint32_t mode = 0;    // S_IFMT and permissions
    uint32_t links = 1;   // of what is no directory
    std::string content;  // of a file; where a symlink points
    uint64_t ino = 0;     // 0: nobody has seen it yet
    std::map<std::string, std::shared_ptr<Node>> children;

    bool is_directory() const;
    bool is_file() const;
    bool is_symlink() const;
  };
  using NodePtr = std::shared_ptr<Node>;
  using Errors = std::set<int>;

  Model();

  Errors Create(absl::string_view path, absl::string_view text);
  Errors Mkdir(absl::string_view path);
  Errors Symlink(absl::string_view target, absl::string_view path);
  Errors Link(absl::string_view from, absl::string_view to);
  Errors Rename(absl::string_view from, absl::string_view to);
  Errors Unlink(absl::string_view path);
  Errors Rmdir(absl::string_view path);
  Errors Chmod(absl::string_view path, uint32_t permissions);
  Errors Truncate(absl::string_view path, uint64_t size);
  // From the start of a file.
  Errors Write(absl::string_view path, absl::string_view text);
  // Looking for what is there, of any kind.
  Errors Look(absl::string_view path) const;

  // Null: there is nothing. "" is the tree itself.
  NodePtr Find(absl::string_view path) const;
  // Whether a symlink stands before the end of the path.
  bool LeadsThroughSymlink(absl::string_view path) const;
  // Everything but the tree itself, those above before those below.
  std::vector<std::string> Paths() const;
  // How many names are below each other, at most; 0 for what has no children.
  static size_t Height(const Node& node);

  static void Write(Node& file, absl::string_view text);

 private:
  // Where a path leads: to a name in a directory, and perhaps to something under it.
  struct Place {
    NodePtr directory;
    std::string name;
    NodePtr node;
    int error = 0;  // there is no such directory
  };

  Place Resolve(absl::string_view path) const;
  Errors Add(absl::string_view path, NodePtr node);
  // What is there, or why there is nothing that can be changed.
  Errors FindFile(absl::string_view path, NodePtr& file) const;

  NodePtr root_;
};

}  // namespace gofer::soak

#endif  // TEST_SOAK_MODEL_H_
