#include "test/bench/tree_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "test/bench/server_process.h"

namespace gofer::bench {
namespace {

using fuse::NodeId;
using vhost::driver::DirentView;
using vhost::driver::FuseClient;

// What Linux asks for at once.
constexpr size_t kListingBytes = 4096;

// Depth first, as find goes. The error of what failed, empty if nothing did.
std::string Walk(FuseClient& client, NodeId dir, uint64_t& entries) {
  const auto open = client.Opendir(dir, O_RDONLY | O_DIRECTORY);
  if (!open.ok()) return absl::StrCat("OPENDIR: ", open.error().ToString());
  std::vector<NodeId> dirs;
  uint64_t offset = 0;
  for (;;) {
    const auto count =
        client.Readdirplus(dir, open->fh, offset, kListingBytes, [&](const DirentView& view) {
          offset = view.fixed.off;
          if (view.name == "." || view.name == "..") return;
          // A server that has no room left for a node gives the name alone.
          if (view.entry.nodeid != NodeId::kNone) ++entries;
          if (S_ISDIR(view.entry.attr.mode)) dirs.push_back(view.entry.nodeid);
        });
    if (!count.ok()) return absl::StrCat("READDIRPLUS: ", count.error().ToString());
    if (*count == 0) break;
  }
  if (const auto closed = client.Releasedir(dir, open->fh); !closed.ok()) {
    return absl::StrCat("RELEASEDIR: ", closed.error().ToString());
  }
  for (const NodeId child : dirs) {
    if (std::string error = Walk(client, child, entries); !error.empty()) return error;
  }
  return "";
}

void WalkDir(int parent, const char* name, uint64_t& entries) {
  const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  PCHECK(fd >= 0) << name;
  DIR* const dir = fdopendir(fd);
  PCHECK(dir != nullptr) << name;
  std::vector<std::string> dirs;
  while (const dirent* const entry = readdir(dir)) {
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    struct statx stat;
    PCHECK(statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stat) == 0) << child;
    ++entries;
    if (S_ISDIR(stat.stx_mode)) dirs.push_back(child);
  }
  for (const std::string& child : dirs) WalkDir(fd, child.c_str(), entries);
  closedir(dir);
}

}  // namespace

void MakeWalkedTree(const std::string& dir) {
  const std::string tree = absl::StrCat(dir, "/tree");
  PCHECK(mkdir(tree.c_str(), 0755) == 0) << tree;
  for (int i = 0; i < kWalkedDirs; ++i) {
    const std::string sub = absl::StrCat(tree, "/directory-", i);
    PCHECK(mkdir(sub.c_str(), 0755) == 0) << sub;
    for (int k = 0; k < kWalkedFilesPerDir; ++k) {
      const std::string file = absl::StrCat(sub, "/file-", k);
      PCHECK(mknod(file.c_str(), S_IFREG | 0644, 0) == 0) << file;
    }
  }
}

WalkSample WalkWithDaemon(const Contender& contender, const std::string& dir) {
  Daemon daemon(contender, dir, {});
  WalkSample sample;
  const auto tree = daemon.client().Lookup(NodeId::kRoot, "tree");
  CHECK(tree.ok()) << contender.name << ": " << tree.error().ToString();
  const uint64_t memory = daemon.AnonymousKib();
  const uint64_t cpu = daemon.CpuNs();
  const uint64_t begin = NowNs();
  uint64_t entries = 0;
  sample.error = Walk(daemon.client(), tree->nodeid, entries);
  sample.seconds = static_cast<double>(NowNs() - begin) / 1e9;
  sample.server_cpu_s = static_cast<double>(daemon.CpuNs() - cpu) / 1e9;
  sample.entries = static_cast<double>(entries);
  sample.bytes_per_entry =
      static_cast<double>(daemon.AnonymousKib() - memory) * 1024 / sample.entries;
  sample.fds = static_cast<double>(daemon.OpenFds());
  return sample;
}

WalkSample WalkBare(const std::string& dir) {
  WalkSample sample;
  const uint64_t begin = NowNs();
  uint64_t entries = 0;
  WalkDir(AT_FDCWD, absl::StrCat(dir, "/tree").c_str(), entries);
  sample.seconds = static_cast<double>(NowNs() - begin) / 1e9;
  sample.entries = static_cast<double>(entries);
  return sample;
}

}  // namespace gofer::bench
