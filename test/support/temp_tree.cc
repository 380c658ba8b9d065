#include "test/support/temp_tree.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"

namespace gofer::testing {
namespace {

size_t CountEntries(const char* directory) {
  std::error_code error;
  const std::filesystem::directory_iterator entries(directory, error);
  CHECK(!error) << directory << ": " << error.message();
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

std::string ReadLink(const std::string& path) {
  char target[4096];
  const ssize_t size = readlink(path.c_str(), target, sizeof(target));
  PCHECK(size >= 0) << path;
  return std::string(target, static_cast<size_t>(size));
}

// Of a thread's folder in /proc: whether it is about to go. Who has joined the thread may still see
// it.
bool IsEnding(const std::filesystem::path& task) {
  constexpr uint64_t kExiting = 4;  // PF_EXITING of include/linux/sched.h
  // "pid (name) state ppid pgrp session tty tpgid flags ..."; the name may be anything.
  constexpr size_t kFlags = 6;
  const std::string stat = ReadFile(task / "stat");
  const std::vector<absl::string_view> words =
      absl::StrSplit(absl::string_view(stat).substr(stat.rfind(')') + 1), ' ', absl::SkipEmpty());
  uint64_t flags = 0;
  return words.size() <= kFlags || !absl::SimpleAtoi(words[kFlags], &flags) ||
         (flags & kExiting) != 0;
}

int64_t Nanoseconds(const struct timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::string Describe(const std::string& path, const struct stat& stat, bool strict) {
  std::string line = absl::StrFormat("%06o %d:%d", stat.st_mode, stat.st_uid, stat.st_gid);
  if (!S_ISDIR(stat.st_mode))
    absl::StrAppend(&line, " links ", stat.st_nlink, " size ", stat.st_size);
  if (S_ISREG(stat.st_mode) && stat.st_size <= 4096)
    absl::StrAppend(&line, " '", ReadFile(path), "'");
  if (S_ISLNK(stat.st_mode)) absl::StrAppend(&line, " -> ", ReadLink(path));
  if (strict) {
    absl::StrAppend(&line, " ino ", stat.st_ino, " mtime ", Nanoseconds(stat.st_mtim), " ctime ",
                    Nanoseconds(stat.st_ctim));
  }
  return line;
}

int RemoveOne(const char* path, const struct stat*, int, struct FTW*) { return remove(path); }

}  // namespace

TempTree::TempTree() {
  // Not in TEST_TMPDIR: after the names of all of Bazel's folders, that of a socket in the tree
  // would be longer than an address may be. Not in /tmp, which may be a tmpfs without extended
  // attributes.
  path_ = "/var/tmp/gofer-test.XXXXXX";
  PCHECK(mkdtemp(path_.data()) != nullptr) << path_;
  PCHECK(chmod(path_.c_str(), 0755) == 0);
}

TempTree::~TempTree() { nftw(path_.c_str(), RemoveOne, 16, FTW_DEPTH | FTW_PHYS); }

std::string TempTree::At(absl::string_view name) const {
  return name.empty() ? path_ : absl::StrCat(path_, "/", name);
}

void TempTree::Mkdir(absl::string_view name, uint32_t mode) const {
  PCHECK(mkdir(At(name).c_str(), mode) == 0) << name;
  PCHECK(chmod(At(name).c_str(), mode) == 0) << name;
}

void TempTree::Write(absl::string_view name, absl::string_view content, uint32_t mode) const {
  const UniqueFd file(
      open(At(name).c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, mode));
  PCHECK(file.valid()) << name;
  PCHECK(fchmod(file.get(), mode) == 0) << name;
  while (!content.empty()) {
    const ssize_t size = write(file.get(), content.data(), content.size());
    PCHECK(size > 0) << name;
    content.remove_prefix(static_cast<size_t>(size));
  }
}

void TempTree::Symlink(absl::string_view name, absl::string_view target) const {
  PCHECK(symlink(std::string(target).c_str(), At(name).c_str()) == 0) << name;
}

void TempTree::Fifo(absl::string_view name, uint32_t mode) const {
  PCHECK(mkfifo(At(name).c_str(), mode) == 0) << name;
  PCHECK(chmod(At(name).c_str(), mode) == 0) << name;
}

void TempTree::Link(absl::string_view from, absl::string_view to) const {
  PCHECK(link(At(from).c_str(), At(to).c_str()) == 0) << from << " to " << to;
}

void TempTree::Rename(absl::string_view from, absl::string_view to) const {
  PCHECK(rename(At(from).c_str(), At(to).c_str()) == 0) << from << " to " << to;
}

void TempTree::Unlink(absl::string_view name) const {
  PCHECK(unlink(At(name).c_str()) == 0) << name;
}
void TempTree::Rmdir(absl::string_view name) const { PCHECK(rmdir(At(name).c_str()) == 0) << name; }

std::string TempTree::Read(absl::string_view name) const { return ReadFile(At(name)); }

bool TempTree::Exists(absl::string_view name) const {
  struct stat stat;
  return lstat(At(name).c_str(), &stat) == 0;
}

struct stat TempTree::Stat(absl::string_view name) const {
  struct stat stat;
  PCHECK(lstat(At(name).c_str(), &stat) == 0) << name;
  return stat;
}

UniqueFd TempTree::OpenPath(absl::string_view name) const {
  UniqueFd fd(open(At(name).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  PCHECK(fd.valid()) << name;
  return fd;
}

std::map<std::string, std::string> TempTree::Snapshot() const { return Take(/*strict=*/false); }
std::map<std::string, std::string> TempTree::StrictSnapshot() const {
  return Take(/*strict=*/true);
}

std::map<std::string, std::string> TempTree::Take(bool strict) const {
  std::map<std::string, std::string> lines;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
    const std::string path = entry.path().string();
    struct stat stat;
    if (lstat(path.c_str(), &stat) != 0) continue;
    lines[path.substr(path_.size() + 1)] = Describe(path, stat, strict);
  }
  return lines;
}

size_t CountOpenFds() { return CountEntries("/proc/self/fd"); }
size_t CountThreads() {
#ifdef GOFER_SANITIZER
  // ThreadSanitizer starts one of its own with a process's first, for good.
  [[maybe_unused]] static const bool started = [] {
    std::thread([] {}).join();
    return true;
  }();
#endif
  std::error_code error;
  const std::filesystem::directory_iterator tasks("/proc/self/task", error);
  CHECK(!error) << error.message();
  return static_cast<size_t>(
      std::count_if(begin(tasks), end(tasks),
                    [](const std::filesystem::directory_entry& task) { return !IsEnding(task); }));
}

}  // namespace gofer::testing
