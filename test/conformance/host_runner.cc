#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "test/conformance/script.h"

namespace lisafs {
namespace {

using gofer::UniqueFd;
using gofer::testing::TempTree;

class HostRunner final : public Runner {
 public:
  explicit HostRunner(const TempTree& tree) : root_(tree.OpenPath()) {}

  Outcome Run(const Op& op) override {
    outcome_ = {};
    Do(op);
    return std::exchange(outcome_, {});
  }

 private:
  struct Place {
    UniqueFd dir;
    std::string name;
  };

  // Records a failed call; true if it went well.
  bool Ok(long result) {
    if (result < 0) outcome_.error = errno;
    return result >= 0;
  }

  // Walks to the directory of a path without following anything.
  bool Find(const std::string& path, Place& place) {
    std::vector<std::string> names = absl::StrSplit(path, '/');
    place.name = names.back();
    names.pop_back();
    place.dir = UniqueFd(dup(root_.get()));
    for (const std::string& name : names) {
      place.dir = UniqueFd(
          openat(place.dir.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC));
      if (!Ok(place.dir.get())) return false;
    }
    return true;
  }

  static bool IsDirectory(int dir, const char* name) {
    struct stat stat;
    return fstatat(dir, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(stat.st_mode);
  }

  int Slot(const Op& op) { return slots_[op.slot].get(); }

  void See(const struct stat& stat) {
    outcome_.seen =
        absl::StrCat(absl::Hex(stat.st_mode), " links ", stat.st_nlink, " owner ", stat.st_uid, ":",
                     stat.st_gid, " size ", S_ISDIR(stat.st_mode) ? 0 : stat.st_size);
  }

  void Do(const Op& op) {
    switch (op.kind) {
      case OpKind::kClose:
        slots_[op.slot].Reset();
        return;
      case OpKind::kWrite:
        Ok(pwrite(Slot(op), op.other.data(), op.other.size(), static_cast<off_t>(op.number)));
        return;
      case OpKind::kRead: {
        std::string text(op.length, '\0');
        const ssize_t size =
            pread(Slot(op), text.data(), text.size(), static_cast<off_t>(op.number));
        if (Ok(size)) outcome_.seen = text.substr(0, static_cast<size_t>(size));
        return;
      }
      case OpKind::kAllocate:
        Ok(fallocate(Slot(op), 0, static_cast<off_t>(op.number), static_cast<off_t>(op.length)));
        return;
      case OpKind::kSync:
        Ok(fsync(Slot(op)));
        return;
      case OpKind::kStatSlot: {
        struct stat stat;
        if (Ok(fstat(Slot(op), &stat))) See(stat);
        return;
      }
      default:
        DoAt(op);
    }
  }

  void DoAt(const Op& op) {
    Place at;
    if (!Find(op.path, at)) return;
    const int dir = at.dir.get();
    const char* const name = at.name.c_str();
    switch (op.kind) {
      case OpKind::kMkdir:
        Ok(mkdirat(dir, name, static_cast<mode_t>(op.number)));
        return;
      case OpKind::kCreate: {
        UniqueFd fd(openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, op.number));
        if (Ok(fd.get())) slots_[op.slot] = std::move(fd);
        return;
      }
      case OpKind::kOpen: {
        UniqueFd fd(
            openat(dir, name, static_cast<int>(op.number) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (Ok(fd.get())) slots_[op.slot] = std::move(fd);
        return;
      }
      case OpKind::kUnlink:
        Ok(unlinkat(dir, name, 0));
        return;
      case OpKind::kRmdir:
        Ok(unlinkat(dir, name, AT_REMOVEDIR));
        return;
      case OpKind::kSymlink:
        Ok(symlinkat(op.other.c_str(), dir, name));
        return;
      case OpKind::kReadLink: {
        char target[4096];
        const ssize_t size = readlinkat(dir, name, target, sizeof(target));
        if (Ok(size)) outcome_.seen.assign(target, static_cast<size_t>(size));
        return;
      }
      case OpKind::kMknod:
        Ok(mknodat(dir, name, S_IFREG | static_cast<mode_t>(op.number), 0));
        return;
      case OpKind::kRename:
      case OpKind::kLink: {
        Place to;
        if (!Find(op.other, to)) return;
        if (op.kind == OpKind::kLink && IsDirectory(dir, name)) {
          // The kernel would look at the new name first; LISAFS says EPERM before it asks the
          // kernel.
          outcome_.error = EPERM;
          return;
        }
        Ok(op.kind == OpKind::kLink ? linkat(dir, name, to.dir.get(), to.name.c_str(), 0)
                                    : renameat2(dir, name, to.dir.get(), to.name.c_str(),
                                                static_cast<unsigned>(op.number)));
        return;
      }
      case OpKind::kChmod:
        Ok(fchmodat(dir, name, static_cast<mode_t>(op.number), AT_SYMLINK_NOFOLLOW));
        return;
      case OpKind::kChown:
        Ok(fchownat(dir, name, static_cast<uid_t>(op.number), static_cast<gid_t>(op.length),
                    AT_SYMLINK_NOFOLLOW));
        return;
      case OpKind::kTruncate: {
        // By a path that cannot be a symlink's: the scripts truncate none.
        const std::string path = absl::StrCat("/proc/self/fd/", dir, "/", at.name);
        Ok(truncate(path.c_str(), static_cast<off_t>(op.number)));
        return;
      }
      case OpKind::kTimes: {
        const struct timespec times[2] = {{.tv_sec = static_cast<time_t>(op.number),
                                           .tv_nsec = static_cast<long>(op.number % 1000)},
                                          {.tv_sec = static_cast<time_t>(op.length),
                                           .tv_nsec = static_cast<long>(op.length % 1000)}};
        if (!Ok(utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW))) return;
        struct stat stat;
        if (!Ok(fstatat(dir, name, &stat, AT_SYMLINK_NOFOLLOW))) return;
        outcome_.seen = absl::StrCat(stat.st_atim.tv_sec, ".", stat.st_atim.tv_nsec, " ",
                                     stat.st_mtim.tv_sec, ".", stat.st_mtim.tv_nsec);
        return;
      }
      case OpKind::kStat: {
        struct stat stat;
        if (Ok(fstatat(dir, name, &stat, AT_SYMLINK_NOFOLLOW))) See(stat);
        return;
      }
      case OpKind::kList:
        ListAt(dir, name);
        return;
      default:
        DoXattr(op, absl::StrCat("/proc/self/fd/", dir, "/", at.name));
    }
  }

  void ListAt(int dir, const char* name) {
    const int fd =
        openat(dir, *name == '\0' ? "." : name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (!Ok(fd)) return;
    DIR* const stream = fdopendir(fd);
    std::set<std::string> names;
    while (const struct dirent* const entry = readdir(stream)) {
      const std::string entry_name = entry->d_name;
      if (entry_name != "." && entry_name != "..")
        names.insert(absl::StrCat(entry_name, ":", entry->d_type));
    }
    closedir(stream);
    outcome_.seen = absl::StrJoin(names, " ");
  }

  void DoXattr(const Op& op, const std::string& path) {
    char buffer[65536];
    switch (op.kind) {
      case OpKind::kSetXattr:
        Ok(lsetxattr(path.c_str(), op.name.c_str(), op.other.data(), op.other.size(),
                     static_cast<int>(op.number)));
        return;
      case OpKind::kGetXattr: {
        const ssize_t size = lgetxattr(path.c_str(), op.name.c_str(), buffer, op.length);
        if (Ok(size)) outcome_.seen.assign(buffer, static_cast<size_t>(size));
        return;
      }
      case OpKind::kListXattr: {
        const ssize_t size = llistxattr(path.c_str(), buffer, sizeof(buffer));
        if (!Ok(size)) return;
        const std::vector<std::string> all = absl::StrSplit(
            absl::string_view(buffer, static_cast<size_t>(size)), '\0', absl::SkipEmpty());
        outcome_.seen = absl::StrJoin(std::set<std::string>(all.begin(), all.end()), " ");
        return;
      }
      default:
        Ok(lremovexattr(path.c_str(), op.name.c_str()));
    }
  }

  const UniqueFd root_;
  std::map<int, UniqueFd> slots_;
  Outcome outcome_;
};

}  // namespace

std::unique_ptr<Runner> MakeHostRunner(const TempTree& tree) {
  return std::make_unique<HostRunner>(tree);
}

}  // namespace lisafs
