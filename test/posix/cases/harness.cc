#include "test/posix/cases/harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace posix_cases {

const User kRoot = {"root", 0, 0, {}};
const User kAlice = {"alice", 1001, 1001, {kShared}};
const User kBob = {"bob", 1002, 1002, {kShared}};

long Result::Try(std::string_view call, long result) {
  Note(call, result < 0 ? ErrnoName(errno) : "ok");
  return result;
}

void Result::Note(std::string_view what, std::string_view value) {
  if (!text_.empty()) text_ += ' ';
  text_.append(what).append("=").append(value);
}

void Result::Note(std::string_view what, long long value) { Note(what, std::to_string(value)); }

As::As(const User& user) {
  if (setgroups(user.groups.size(), user.groups.data()) != 0 || setegid(user.gid) != 0 ||
      seteuid(user.uid) != 0) {
    Die(std::string("act as ") + user.name);
  }
}

As::~As() {
  if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(0, nullptr) != 0) Die("act as root again");
}

int InChild(const std::function<int()>& body) {
  fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) Die("fork");
  if (pid == 0) _exit(body());
  int status = 0;
  if (waitpid(pid, &status, 0) != pid) Die("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Die(const std::string& what) {
  fprintf(stderr, "posix_cases: cannot %s: %s\n", what.c_str(), strerror(errno));
  _exit(3);
}

void MakeFile(const std::string& path, std::string_view content, mode_t mode) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
  if (fd < 0) Die("make file " + path);
  if (write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
      fchmod(fd, mode) != 0) {
    Die("fill " + path);
  }
}

void MakeDirectory(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), 0700) != 0) Die("make directory " + path);
  SetMode(path, mode);
}

void MakeSymlink(const std::string& target, const std::string& path) {
  if (symlink(target.c_str(), path.c_str()) != 0) Die("make symlink " + path);
}

void Own(const std::string& path, uid_t uid, gid_t gid) {
  if (lchown(path.c_str(), uid, gid) != 0) Die("give away " + path);
}

void SetMode(const std::string& path, mode_t mode) {
  if (chmod(path.c_str(), mode) != 0) Die("set the mode of " + path);
}

std::string ReadFile(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return "unreadable: " + ErrnoName(errno);
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0) return "unreadable: " + ErrnoName(errno);
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
  }
}

std::string ErrnoName(int error) {
  const char* const name = strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

std::string Octal(unsigned value) {
  char text[16];
  snprintf(text, sizeof(text), "%04o", value);
  return text;
}

std::string Describe(const struct stat& st) {
  const char type = S_ISDIR(st.st_mode)    ? 'd'
                    : S_ISREG(st.st_mode)  ? 'f'
                    : S_ISLNK(st.st_mode)  ? 'l'
                    : S_ISFIFO(st.st_mode) ? 'p'
                    : S_ISSOCK(st.st_mode) ? 's'
                    : S_ISCHR(st.st_mode)  ? 'c'
                    : S_ISBLK(st.st_mode)  ? 'b'
                                           : '?';
  std::string text(1, type);
  text += ' ' + Octal(st.st_mode & 07777) + ' ' + std::to_string(st.st_uid) + ':' +
          std::to_string(st.st_gid) + " n" + std::to_string(st.st_nlink);
  if (type == 'f' || type == 'l') text += " s" + std::to_string(st.st_size);
  if (type == 'c' || type == 'b') text += " r" + std::to_string(st.st_rdev);
  return text;
}

std::string Checksum(std::string_view data) {  // FNV-1a
  uint64_t sum = 14695981039346656037u;
  for (const char c : data) {
    sum ^= static_cast<unsigned char>(c);
    sum *= 1099511628211u;
  }
  char text[17];
  snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(sum));
  return text;
}

namespace {

constexpr size_t kShownContent = 24;
constexpr size_t kShownTree = 2000;

std::string Short(std::string_view text) {
  std::string shown;
  if (text.size() > kShownContent) return "#" + Checksum(text);
  for (const char c : text) shown += c >= ' ' && c < 127 ? c : '.';
  return '"' + shown + '"';
}

std::vector<std::string> List(const std::string& path) {
  std::vector<std::string> names;
  DIR* const dir = opendir(path.c_str());
  if (dir == nullptr) Die("list " + path);
  while (const dirent* const entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

void DescribeBelow(const std::string& dir, const std::string& shown_dir, std::string& text) {
  for (const std::string& name : List(dir)) {
    const std::string path = dir + "/" + name;
    const std::string shown =
        shown_dir + (name.size() > 40 ? std::to_string(name.size()) + " bytes" : name);
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) {
      text += "; " + shown + " " + ErrnoName(errno);
      continue;
    }
    text += "; " + shown + " " + Describe(st);
    if (S_ISREG(st.st_mode)) text += " " + Short(ReadFile(path));
    if (S_ISLNK(st.st_mode)) {
      std::string target(4096, '\0');
      const ssize_t n = readlink(path.c_str(), target.data(), target.size());
      text += " -> " + (n < 0 ? ErrnoName(errno) : Short(target.substr(0, static_cast<size_t>(n))));
    }
    if (S_ISDIR(st.st_mode)) DescribeBelow(path, shown + "/", text);
  }
}

}  // namespace

std::string DescribeTree() {
  struct stat st;
  if (stat(".", &st) != 0) return ErrnoName(errno);
  std::string text = ". " + Describe(st);
  DescribeBelow(".", "", text);
  return text.size() <= kShownTree ? text : "tree #" + Checksum(text);
}

void RemoveTree(const std::string& path) {
  for (const std::string& name : List(path)) {
    const std::string below = path + "/" + name;
    struct stat st;
    if (lstat(below.c_str(), &st) != 0) Die("look at " + below);
    if (S_ISDIR(st.st_mode)) {
      RemoveTree(below);
    } else if (unlink(below.c_str()) != 0) {
      Die("remove " + below);
    }
  }
  if (rmdir(path.c_str()) != 0) Die("remove " + path);
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace posix_cases
