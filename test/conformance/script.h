// Operation scripts: the same operations, once through a LISAFS client and once by plain system
// calls in a plain folder. Each operation gives an errno and what was seen; the kernel is the judge
// of both.
//
// Paths are relative; no symlink in them is followed by either side. Slots hold open files.
// Threads: none.

#ifndef TEST_CONFORMANCE_SCRIPT_H_
#define TEST_CONFORMANCE_SCRIPT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gofer/base/unique_fd.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"

namespace lisafs {

enum class OpKind {
  kMkdir,
  kCreate,
  kOpen,
  kClose,
  kWrite,
  kRead,
  kAllocate,
  kSync,
  kUnlink,
  kRmdir,
  kRename,
  kSymlink,
  kReadLink,
  kLink,
  kMknod,
  kChmod,
  kChown,
  kTruncate,
  kTimes,
  kStat,
  kStatSlot,
  kList,
  kSetXattr,
  kGetXattr,
  kListXattr,
  kRemoveXattr,
};

struct Op {
  OpKind kind;
  std::string path = "";
  std::string other = "";  // the second path, a symlink's target, a text, an attribute's value
  std::string name = "";   // an attribute's name
  uint64_t number = 0;     // mode, flags, owner, size or offset
  uint64_t length = 0;     // or group, or the modification time
  int slot = 0;
};

// The vocabulary that scripts are written in.
inline Op Mkdir(std::string path, uint64_t mode = 0755) {
  return {.kind = OpKind::kMkdir, .path = path, .number = mode};
}
inline Op Create(std::string path, int slot = 0, uint64_t mode = 0644) {
  return {.kind = OpKind::kCreate, .path = path, .number = mode, .slot = slot};
}
inline Op Open(std::string path, uint64_t flags, int slot = 0) {
  return {.kind = OpKind::kOpen, .path = path, .number = flags, .slot = slot};
}
inline Op Close(int slot = 0) { return {.kind = OpKind::kClose, .slot = slot}; }
inline Op Write(uint64_t offset, std::string text, int slot = 0) {
  return {.kind = OpKind::kWrite, .other = text, .number = offset, .slot = slot};
}
inline Op Read(uint64_t offset, uint64_t length, int slot = 0) {
  return {.kind = OpKind::kRead, .number = offset, .length = length, .slot = slot};
}
inline Op Allocate(uint64_t offset, uint64_t length, int slot = 0) {
  return {.kind = OpKind::kAllocate, .number = offset, .length = length, .slot = slot};
}
inline Op Sync(int slot = 0) { return {.kind = OpKind::kSync, .slot = slot}; }
inline Op Unlink(std::string path) { return {.kind = OpKind::kUnlink, .path = path}; }
inline Op Rmdir(std::string path) { return {.kind = OpKind::kRmdir, .path = path}; }
inline Op Rename(std::string from, std::string to, uint64_t flags = 0) {
  return {.kind = OpKind::kRename, .path = from, .other = to, .number = flags};
}
inline Op Symlink(std::string path, std::string target) {
  return {.kind = OpKind::kSymlink, .path = path, .other = target};
}
inline Op ReadLink(std::string path) { return {.kind = OpKind::kReadLink, .path = path}; }
inline Op Link(std::string from, std::string to) {
  return {.kind = OpKind::kLink, .path = from, .other = to};
}
inline Op Mknod(std::string path, uint64_t mode = 0644) {
  return {.kind = OpKind::kMknod, .path = path, .number = mode};
}
inline Op Chmod(std::string path, uint64_t mode) {
  return {.kind = OpKind::kChmod, .path = path, .number = mode};
}
inline Op Chown(std::string path, uint32_t uid, uint32_t gid) {
  return {.kind = OpKind::kChown, .path = path, .number = uid, .length = gid};
}
inline Op Truncate(std::string path, uint64_t size) {
  return {.kind = OpKind::kTruncate, .path = path, .number = size};
}
// Nanoseconds are made of the seconds, so that a mix-up shows.
inline Op Times(std::string path, uint64_t atime, uint64_t mtime) {
  return {.kind = OpKind::kTimes, .path = path, .number = atime, .length = mtime};
}
inline Op Stat(std::string path) { return {.kind = OpKind::kStat, .path = path}; }
inline Op StatSlot(int slot = 0) { return {.kind = OpKind::kStatSlot, .slot = slot}; }
inline Op List(std::string path) { return {.kind = OpKind::kList, .path = path}; }
inline Op SetXattr(std::string path, std::string name, std::string value, uint64_t flags = 0) {
  return {.kind = OpKind::kSetXattr, .path = path, .other = value, .name = name, .number = flags};
}
inline Op GetXattr(std::string path, std::string name, uint64_t size = 1024) {
  return {.kind = OpKind::kGetXattr, .path = path, .name = name, .length = size};
}
inline Op ListXattr(std::string path) { return {.kind = OpKind::kListXattr, .path = path}; }
inline Op RemoveXattr(std::string path, std::string name) {
  return {.kind = OpKind::kRemoveXattr, .path = path, .name = name};
}

// For messages: the operation as it was written.
std::string ToString(const Op& op);

struct Outcome {
  int error = 0;
  std::string seen;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
std::string ToString(const Outcome& outcome);

class Runner {
 public:
  virtual ~Runner() = default;
  virtual Outcome Run(const Op& op) = 0;
};

// By system calls, in the folder.
std::unique_ptr<Runner> MakeHostRunner(const gofer::testing::TempTree& tree);
// Through a session, whose root is the folder.
std::unique_ptr<Runner> MakeLisafsRunner(gofer::testing::Session& session);

}  // namespace lisafs

#endif  // TEST_CONFORMANCE_SCRIPT_H_
