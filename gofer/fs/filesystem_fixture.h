// A Filesystem on a real tree, for the tests of this folder.

#ifndef GOFER_FS_FILESYSTEM_FIXTURE_H_
#define GOFER_FS_FILESYSTEM_FIXTURE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "glog/logging.h"
#include "gofer/fs/filesystem.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {

inline Name N(absl::string_view text) {
  ErrnoOr<Name> name = Name::Parse(text);
  CHECK(name.ok()) << text;
  return *name;
}

template <typename T>
int ErrorOf(const ErrnoOr<T>& result) {
  return result.ok() ? 0 : result.error().value();
}

inline std::unique_ptr<Filesystem> Serve(const testing::TempTree& tree,
                                         const FilesystemOptions& options = {}) {
  umask(0);
  ErrnoOr<UniqueFd> proc_fds = sys::OpenProcSelfFd();
  CHECK(proc_fds.ok());
  auto created = Filesystem::Create(tree.OpenPath(), *std::move(proc_fds), options);
  CHECK(created.ok()) << created.status();
  return *std::move(created);
}

class FilesystemTest : public ::testing::Test {
 protected:
  explicit FilesystemTest(const FilesystemOptions& options = {}) : fs_(Serve(tree_, options)) {}

  Entry Walk(absl::string_view path) {
    Entry at = {.dentry = RefPtr<Dentry>(&fs_->root()), .attr = {}};
    size_t begin = 0;
    while (begin < path.size()) {
      const size_t end = std::min(path.find('/', begin), path.size());
      ErrnoOr<Entry> next = fs_->Lookup(*at.dentry, N(path.substr(begin, end - begin)));
      CHECK(next.ok()) << path << ": " << next.error().ToString();
      at = *std::move(next);
      begin = end + 1;
    }
    return at;
  }

  std::vector<std::string> List(Dentry& dir, size_t budget) {
    ErrnoOr<RefPtr<Handle>> handle = fs_->Open(dir, O_RDONLY);
    CHECK(handle.ok());
    std::vector<std::string> names;
    for (bool rewind = true;; rewind = false) {
      const size_t before = names.size();
      const ErrnoOr<void> read = fs_->ReadDir(
          **handle, rewind, budget, [&](const DirEntry& entry) { names.emplace_back(entry.name); });
      CHECK(read.ok());
      if (names.size() == before) return names;
    }
  }

  testing::TempTree tree_;
  std::unique_ptr<Filesystem> fs_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_FILESYSTEM_FIXTURE_H_
