// What the cases of posix_cases are made of: a folder of its own for each, users to act as, and the
// line that says what happened.
//
// A case does its calls in the working directory, which is its own folder and empty at first, and
// notes what they gave. The folder's tree at the end belongs to the result too. A result holds
// nothing that another disk, machine or moment would change: no inode numbers, no times, no sizes
// of directories. So the results on two folders can be compared as text.
//
// Threads: one; a case may fork. Needs root. Depends on the C library alone, so that the program
//          runs in a guest that has nothing else.

#ifndef TEST_POSIX_CASES_HARNESS_H_
#define TEST_POSIX_CASES_HARNESS_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace posix_cases {

struct User {
  const char* name;
  uid_t uid;
  gid_t gid;
  std::vector<gid_t> groups;
};
// Alice and Bob have the group kShared in common, and each a group of their own.
constexpr gid_t kShared = 2000;
extern const User kRoot, kAlice, kBob;

class Result {
 public:
  // "call=ok", or "call=ENOENT" for a result below zero; gives the result back.
  long Try(std::string_view call, long result);
  // "what=value"
  void Note(std::string_view what, std::string_view value);
  void Note(std::string_view what, long long value);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct Case {
  std::string name;  // group/what; the groups are what --only selects
  std::function<void(Result&)> body;
  // Whether the tree that is left belongs to the result.
  bool tree = true;
};
using Cases = std::vector<Case>;

// Each adds its own.
void AddPathCases(Cases& cases);        // calls x what a path can lead to
void AddPermissionCases(Cases& cases);  // calls x directories x owners x callers
void AddModeCases(Cases& cases);        // umask, setgid, sticky, who may change what
void AddTimeCases(Cases& cases);
void AddDataCases(Cases& cases);
void AddSharingCases(Cases& cases);  // two processes: appending, mappings, locks
void AddXattrCases(Cases& cases);
void AddTreeCases(Cases& cases);  // big directories, many files, renames of trees

// Acts as the user until the end of the scope: ids, groups and what they imply.
class As {
 public:
  explicit As(const User& user);
  ~As();
  As(const As&) = delete;
  As& operator=(const As&) = delete;
};

// Runs `body` in a child process. Its result; -1 if a signal ended it.
int InChild(const std::function<int()>& body);

// ---- small tools; setting up fails loudly, as a case without its files says nothing

[[noreturn]] void Die(const std::string& what);
void MakeFile(const std::string& path, std::string_view content, mode_t mode = 0644);
void MakeDirectory(const std::string& path, mode_t mode = 0755);
void MakeSymlink(const std::string& target, const std::string& path);
void Own(const std::string& path, uid_t uid, gid_t gid);  // a symlink's own
void SetMode(const std::string& path, mode_t mode);       // whatever the umask says
std::string ReadFile(const std::string& path);

std::string ErrnoName(int error);
std::string Octal(unsigned value);
// "f 0644 1001:1001 n1 s5": type, mode, owner, links, size (not of a directory).
std::string Describe(const struct stat& st);
// A checksum as text.
std::string Checksum(std::string_view data);
// The tree below the working directory: one entry per name, sorted.
std::string DescribeTree();
void RemoveTree(const std::string& path);

// A descriptor until the end of the scope.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Fd();
  Fd& operator=(Fd&& other) noexcept;
  int get() const { return fd_; }
  operator int() const { return fd_; }

 private:
  int fd_;
};

}  // namespace posix_cases

#endif  // TEST_POSIX_CASES_HARNESS_H_
