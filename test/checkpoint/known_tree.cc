#include "test/checkpoint/known_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"

namespace gofer::testing {
namespace {

// Above the users of a machine.
constexpr FileId kFirstFile = 100'000;
constexpr time_t kLongAgo = 1'500'000'000;

struct stat Lstat(const std::string& path) {
  struct stat stat;
  PCHECK(lstat(path.c_str(), &stat) == 0) << absl::CHexEscape(path);
  return stat;
}

bool IsMount(const std::string& path) {
  struct statx attr;
  PCHECK(statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &attr) == 0);
  return (attr.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

uint32_t TypeOf(const struct stat& stat) { return stat.st_mode & S_IFMT; }

bool IsDirectory(const Scan::value_type& entry) { return S_ISDIR(entry.second.stat.st_mode); }
bool IsRegular(const Scan::value_type& entry) { return S_ISREG(entry.second.stat.st_mode); }
bool IsAnything(const Scan::value_type&) { return true; }

// Whether `path` is `directory` or in it.
bool IsWithin(absl::string_view path, absl::string_view directory) {
  return absl::ConsumePrefix(&path, directory) && (path.empty() || path.front() == '/');
}

void ScanInto(const std::string& root, const std::string& path, Scan& scan) {
  const std::string at = root + path;
  const struct stat stat = Lstat(at);
  scan.emplace(path, Seen{.file = stat.st_uid, .stat = stat, .is_mount = IsMount(at)});
  if (!S_ISDIR(stat.st_mode)) return;
  DIR* const dir = opendir(at.c_str());
  PCHECK(dir != nullptr) << absl::CHexEscape(at);
  while (const struct dirent* const entry = readdir(dir)) {
    const absl::string_view name = entry->d_name;
    if (name != "." && name != "..") ScanInto(root, absl::StrCat(path, "/", name), scan);
  }
  closedir(dir);
}

// Not only text: names are bytes.
std::string NameNumber(uint64_t number, uint64_t kind) {
  switch (kind) {
    case 0:
      return absl::StrCat("\xff\xfe\x80 ", number);
    case 1:
      return absl::StrCat("new\nline\t", number);
    case 2:
      return absl::StrCat("-rf * '\"\\", number);
    case 3:
      return absl::StrCat(std::string(200, 'l'), number);
    case 4:
      return absl::StrCat(".", number, " (deleted)");
    default:
      return absl::StrCat("f", number);
  }
}

}  // namespace

KnownTree::KnownTree(std::string root, std::mt19937_64& random)
    : root_(std::move(root)), random_(random), next_file_(kFirstFile) {
  PCHECK(lchown(root_.c_str(), next_file_, 0) == 0) << root_;
  content_[next_file_++] = "";
  for (uint64_t left = Below(6); left > 0; --left) Make(FreshPath(Look()), S_IFDIR, 0);
  constexpr size_t kSizes[] = {0, 100, 100, 5000};
  for (uint64_t left = 4 + Below(12); left > 0; --left) {
    Make(FreshPath(Look()), S_IFREG, kSizes[Below(std::size(kSizes))]);
  }
  for (uint64_t left = Below(3); left > 0; --left) Make(FreshPath(Look()), S_IFLNK, 0);
  for (uint64_t left = Below(3); left > 0; --left) Make(FreshPath(Look()), S_IFIFO, 0);
  for (uint64_t left = Below(4); left > 0; --left) {
    const Scan scan = Look();
    const Entry* const target = Pick(scan, IsRegular);
    PCHECK(link(At(target->first).c_str(), At(FreshPath(scan)).c_str()) == 0);
  }
}

Scan KnownTree::Look() const {
  Scan scan;
  ScanInto(root_, "", scan);
  return scan;
}

std::string KnownTree::FreshPath(const Scan& scan) {
  std::vector<absl::string_view> directories;
  for (const Entry& entry : scan) {
    if (IsDirectory(entry)) directories.push_back(entry.first);
  }
  return absl::StrCat(directories[Below(directories.size())], "/",
                      NameNumber(names_made_++, Below(20)));
}

template <typename Predicate>
const KnownTree::Entry* KnownTree::Pick(const Scan& scan, Predicate&& predicate) {
  std::vector<const Entry*> found;
  for (const Entry& entry : scan) {
    if (!entry.first.empty() && predicate(entry)) found.push_back(&entry);
  }
  return found.empty() ? nullptr : found[Below(found.size())];
}

// ---- making files

std::string KnownTree::NewContent(FileId file, size_t size) {
  // Begins with the number, however short it is cut.
  std::string content;
  const std::string word = absl::StrCat(file, ".", random_() % 1000, " ");
  while (content.size() < size) content += word;
  content.resize(size);
  return content;
}

void KnownTree::Write(const std::string& path, FileId file, const std::string& content) {
  const UniqueFd fd(open(At(path).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  PCHECK(fd.valid()) << absl::CHexEscape(path);
  PCHECK(write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  content_[file] = content;
}

void KnownTree::SetTime(const std::string& path, const struct timespec& mtime) {
  const struct timespec times[] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, mtime};
  PCHECK(utimensat(AT_FDCWD, At(path).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

FileId KnownTree::Make(const std::string& path, uint32_t type, size_t size) {
  const FileId file = next_file_++;
  const std::string at = At(path);
  content_[file] = "";
  if (type == S_IFREG) {
    Write(path, file, NewContent(file, size));
  } else if (type == S_IFDIR) {
    PCHECK(mkdir(at.c_str(), 0755) == 0);
  } else if (type == S_IFLNK) {
    content_[file] = absl::StrCat("../to ", file);
    PCHECK(symlink(content_[file].c_str(), at.c_str()) == 0);
  } else {
    PCHECK(mkfifo(at.c_str(), 0644) == 0);
  }
  PCHECK(lchown(at.c_str(), file, 0) == 0);
  // Few different ones, so that many files differ in nothing that a restore looks at but
  // themselves.
  SetTime(path, {.tv_sec = kLongAgo + static_cast<time_t>(Below(2)), .tv_nsec = 123'456'789});
  return file;
}

void KnownTree::MakeLike(const std::string& path, const Entry& other) {
  const struct stat& stat = other.second.stat;
  const size_t size = S_ISREG(stat.st_mode) ? static_cast<size_t>(stat.st_size) : 0;
  Make(path, TypeOf(stat), size);
  SetTime(path, stat.st_mtim);
}

void KnownTree::Remove(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(At(path), error);
  CHECK(!error) << absl::CHexEscape(path) << ": " << error.message();
}

bool KnownTree::ReuseNumber(const std::string& path) {
  constexpr int kTries = 40;
  const Scan scan = Look();
  const Entry& old = *scan.find(path);
  PCHECK(unlink(At(path).c_str()) == 0);
  // In its own directory: another one's files may get their numbers elsewhere.
  const std::string trial = path.substr(0, path.rfind('/')) + "/.trial";
  bool is_reused = false;
  int made = 0;
  while (made < kTries && !is_reused) {
    const std::string name = absl::StrCat(At(trial), made++);
    const UniqueFd fd(open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    PCHECK(fd.valid());
    is_reused = Lstat(name).st_ino == old.second.stat.st_ino;
    if (is_reused) PCHECK(rename(name.c_str(), At(path).c_str()) == 0);
  }
  // The last one is the file by now, if that is the one.
  for (int i = 0; i < made - (is_reused ? 1 : 0); ++i) Remove(absl::StrCat(trial, i));
  if (!is_reused) {
    MakeLike(path, old);
    return false;
  }
  const FileId file = next_file_++;
  Write(path, file, NewContent(file, static_cast<size_t>(old.second.stat.st_size)));
  PCHECK(lchown(At(path).c_str(), file, 0) == 0);
  SetTime(path, old.second.stat.st_mtim);
  return true;
}

// ---- what a host does

std::string KnownTree::Did(absl::string_view what, const std::string& path,
                           const std::string& other) {
  ++done_[std::string(what)];
  return absl::StrCat(what, " ", absl::CHexEscape(path), other.empty() ? "" : " ",
                      absl::CHexEscape(other));
}

std::string KnownTree::Mutate() {
  using Mutation = std::string (KnownTree::*)(const Scan&);
  constexpr Mutation kAll[] = {&KnownTree::Rename,   &KnownTree::Rename,   &KnownTree::Replace,
                               &KnownTree::Replace,  &KnownTree::Recreate, &KnownTree::Recreate,
                               &KnownTree::Exchange, &KnownTree::Exchange, &KnownTree::Resize,
                               &KnownTree::Rewrite,  &KnownTree::Touch,    &KnownTree::ChangeMode,
                               &KnownTree::Delete,   &KnownTree::Relink,   &KnownTree::MountOver};
  return (this->*kAll[Below(std::size(kAll))])(Look());
}

std::string KnownTree::MutateVisibly() {
  const Scan scan = Look();
  switch (Below(4)) {
    case 0:
      return Resize(scan);
    case 1:
      return Touch(scan);
    case 2:
      return ChangeMode(scan);
    default: {
      const Entry* const entry = Pick(scan, IsRegular);
      if (entry == nullptr) return "";
      const std::string to = FreshPath(scan);
      PCHECK(rename(At(entry->first).c_str(), At(to).c_str()) == 0);
      return Did("rename", entry->first, to);
    }
  }
}

std::string KnownTree::Rename(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsAnything);
  if (entry == nullptr) return "";
  const std::string to = FreshPath(scan);
  if (IsWithin(to, entry->first)) return "";
  if (rename(At(entry->first).c_str(), At(to).c_str()) != 0) {
    PCHECK(errno == EXDEV || errno == EBUSY);  // a mount is in between
    return "";
  }
  return Did(IsDirectory(*entry) ? "move directory" : "rename", entry->first, to);
}

std::string KnownTree::Replace(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsAnything);
  if (entry == nullptr) return "";
  const std::string made = absl::StrCat(entry->first, "~");
  if (entry->first.size() - entry->first.rfind('/') > 250) return "";
  MakeLike(made, *entry);
  if (rename(At(made).c_str(), At(entry->first).c_str()) != 0) {
    PCHECK(errno == ENOTEMPTY || errno == EXDEV || errno == EBUSY || errno == EEXIST);
    Remove(made);
    return "";
  }
  return Did("replace", entry->first);
}

std::string KnownTree::Recreate(const Scan& scan) {
  const Entry* const entry = Pick(scan, [](const Entry& candidate) {
    return IsRegular(candidate) && candidate.second.stat.st_nlink == 1 &&
           !candidate.second.is_mount;
  });
  if (entry == nullptr) return "";
  return Did(ReuseNumber(entry->first) ? "recreate with its number" : "recreate", entry->first);
}

std::string KnownTree::Exchange(const Scan& scan) {
  const Entry* const one = Pick(scan, IsAnything);
  const Entry* const other = Pick(scan, IsAnything);
  if (one == nullptr || one == other) return "";
  if (renameat2(AT_FDCWD, At(one->first).c_str(), AT_FDCWD, At(other->first).c_str(),
                RENAME_EXCHANGE) != 0) {
    PCHECK(errno == EINVAL || errno == EXDEV || errno == EBUSY);
    return "";
  }
  const bool are_links = one->second.stat.st_nlink > 1 && IsRegular(*one);
  return Did(are_links ? "exchange link" : "exchange", one->first, other->first);
}

std::string KnownTree::Resize(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsRegular);
  if (entry == nullptr) return "";
  std::string content = content_.at(entry->second.file);
  const bool appends = content.empty() || Chance(50);
  if (appends) {
    content += "appended";
  } else {
    content.resize(Below(content.size()));
  }
  Write(entry->first, entry->second.file, content);
  if (Chance(50)) SetTime(entry->first, entry->second.stat.st_mtim);
  return Did(appends ? "append" : "truncate", entry->first);
}

std::string KnownTree::Rewrite(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsRegular);
  if (entry == nullptr) return "";
  const FileId file = entry->second.file;
  Write(entry->first, file, NewContent(file, content_.at(file).size()));
  if (Chance(50)) SetTime(entry->first, entry->second.stat.st_mtim);
  return Did("rewrite", entry->first);
}

std::string KnownTree::Touch(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsRegular);
  if (entry == nullptr) return "";
  struct timespec mtime = entry->second.stat.st_mtim;
  ++(Chance(50) ? mtime.tv_sec : mtime.tv_nsec);
  SetTime(entry->first, mtime);
  return Did("touch", entry->first);
}

std::string KnownTree::ChangeMode(const Scan& scan) {
  const Entry* const entry =
      Pick(scan, [](const Entry& candidate) { return !S_ISLNK(candidate.second.stat.st_mode); });
  if (entry == nullptr) return "";
  PCHECK(chmod(At(entry->first).c_str(), static_cast<mode_t>(0600 | Below(0200))) == 0);
  return Did("chmod", entry->first);
}

std::string KnownTree::Delete(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsAnything);
  if (entry == nullptr) return "";
  const auto is_in_the_way = [entry](const Entry& other) {
    return other.second.is_mount && IsWithin(other.first, entry->first);
  };
  if (std::any_of(scan.begin(), scan.end(), is_in_the_way)) return "";
  Remove(entry->first);
  return Did("delete", entry->first);
}

std::string KnownTree::Relink(const Scan& scan) {
  const Entry* const entry = Pick(scan, IsRegular);
  if (entry == nullptr) return "";
  const std::string to = FreshPath(scan);
  if (link(At(entry->first).c_str(), At(to).c_str()) != 0) {
    PCHECK(errno == EXDEV);
    return "";
  }
  if (unlink(At(entry->first).c_str()) != 0) PCHECK(errno == EBUSY);
  return Did("relink", entry->first, to);
}

std::string KnownTree::MountOver(const Scan& scan) {
  const Entry* const what = Pick(scan, IsAnything);
  if (what == nullptr || S_ISLNK(what->second.stat.st_mode)) return "";
  const Entry* const over = Pick(scan, [&](const Entry& candidate) {
    return IsDirectory(candidate) == IsDirectory(*what) &&
           !S_ISLNK(candidate.second.stat.st_mode) && !IsWithin(what->first, candidate.first) &&
           !IsWithin(candidate.first, what->first);
  });
  if (over == nullptr) return "";
  if (mount(At(what->first).c_str(), At(over->first).c_str(), nullptr, MS_BIND, nullptr) != 0) {
    PCHECK(errno == ENOENT);  // only a mount keeps it, its names are all gone
    return "";
  }
  return Did("mount", what->first, over->first);
}

void KnownTree::MoveToCopy(std::string root) {
  const Scan scan = Look();
  root_ = std::move(root);
  std::map<FileId, std::string> copied;
  for (const auto& [path, seen] : scan) {
    if (S_ISREG(seen.stat.st_mode)) {
      const auto [first, is_new] = copied.try_emplace(seen.file, path);
      if (!is_new) {
        PCHECK(link(At(first->second).c_str(), At(path).c_str()) == 0);
        continue;
      }
      Write(path, seen.file, content_.at(seen.file));
      PCHECK(chmod(At(path).c_str(), seen.stat.st_mode & 07777) == 0);
    } else if (S_ISDIR(seen.stat.st_mode)) {
      if (!path.empty()) PCHECK(mkdir(At(path).c_str(), 0755) == 0);
    } else if (S_ISLNK(seen.stat.st_mode)) {
      PCHECK(symlink(content_.at(seen.file).c_str(), At(path).c_str()) == 0);
    } else {
      PCHECK(mkfifo(At(path).c_str(), 0644) == 0);
    }
    PCHECK(lchown(At(path).c_str(), seen.file, 0) == 0);
    SetTime(path, seen.stat.st_mtim);
  }
  (void)Did("copy the tree", "");
}

}  // namespace gofer::testing
