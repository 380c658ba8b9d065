#include "gofer/sys/own_records.h"

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"
#include "gofer/sys/process.h"

namespace gofer::sys {
namespace {

using internal::Call;

// A tree of a thousand mounts has about 200 KiB.
constexpr size_t kMaxRecordBytes = size_t{16} << 20;

ErrnoOr<UniqueFd> Open(BorrowedFd dir, const char* name, int flags) {
  UniqueFd file(Call("openat", [&] { return ::openat(dir.get(), name, flags | O_CLOEXEC); }));
  if (!file.valid()) return Errno::Last();
  return file;
}

ErrnoOr<std::string> ReadOnce(BorrowedFd dir, const char* name) {
  ASSIGN_OR_RETURN(const UniqueFd file, Open(dir, name, O_RDONLY));
  return ReadToEnd(file, kMaxRecordBytes);
}

}  // namespace

ErrnoOr<UniqueFd> OpenProcSelf() {
  UniqueFd directory(
      Call("open", [] { return ::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC); }));
  if (!directory.valid()) return Errno::Last();
  return directory;
}

std::vector<NamespaceId> NamespacesOf(BorrowedFd proc_process) {
  std::vector<NamespaceId> namespaces;
  for (const char* const kind : {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
    char target[64];  // such as mnt:[4026531841]
    const std::string link = absl::StrCat("ns/", kind);
    const ssize_t size = Call("readlinkat", [&] {
      return ::readlinkat(proc_process.get(), link.c_str(), target, sizeof(target));
    });
    if (size <= 0) continue;
    absl::string_view text(target, static_cast<size_t>(size));
    NamespaceId found = {.kind = kind};
    if (absl::ConsumePrefix(&text, absl::StrCat(kind, ":[")) && absl::ConsumeSuffix(&text, "]") &&
        absl::SimpleAtoi(text, &found.id)) {
      namespaces.push_back(std::move(found));
    }
  }
  return namespaces;
}

ErrnoOr<OwnRecords> OwnRecords::Open(BorrowedFd proc_self) {
  OwnRecords records;
  ASSIGN_OR_RETURN(records.status_, sys::Open(proc_self, "status", O_RDONLY));
  ASSIGN_OR_RETURN(records.limits_, sys::Open(proc_self, "limits", O_RDONLY));
  ASSIGN_OR_RETURN(records.mounts_, sys::Open(proc_self, "mountinfo", O_RDONLY));
  ASSIGN_OR_RETURN(records.uid_map_, ReadOnce(proc_self, "uid_map"));
  ASSIGN_OR_RETURN(records.gid_map_, ReadOnce(proc_self, "gid_map"));
  records.namespaces_ = NamespacesOf(proc_self);
  return records;
}

ErrnoOr<std::string> OwnRecords::Status() const { return ReadToEnd(status_, kMaxRecordBytes); }
ErrnoOr<std::string> OwnRecords::Limits() const { return ReadToEnd(limits_, kMaxRecordBytes); }
ErrnoOr<std::string> OwnRecords::Mounts() const { return ReadToEnd(mounts_, kMaxRecordBytes); }

}  // namespace gofer::sys
