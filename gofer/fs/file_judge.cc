#include "gofer/fs/file_judge.h"

#include <sys/stat.h>

namespace gofer::fs {
namespace {

// All but the device.
bool SameNumbers(const InodeState& saved, const InodeState& found) {
  if (saved.type != found.type || saved.ino != found.ino) return false;
  if (saved.birth.has_value() && found.birth.has_value() && *saved.birth != *found.birth) {
    return false;
  }
  if (saved.handle.empty() || found.handle.empty()) return true;
  return saved.handle_type == found.handle_type && saved.handle == found.handle;
}

FileTime TimeOf(const struct statx_timestamp& time) {
  return {.sec = time.tv_sec, .nsec = time.tv_nsec};
}

}  // namespace

absl::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSame:
      return "same";
    case Verdict::kMoved:
      return "moved";
    case Verdict::kReplaced:
      return "replaced";
    case Verdict::kChanged:
      return "changed";
    case Verdict::kMissing:
      return "missing";
    case Verdict::kUnverifiable:
      return "unverifiable";
  }
  return "?";
}

InodeState InodeStateOf(const sys::Attr& attr) {
  InodeState state;
  state.type = attr.stx_mode & S_IFMT;
  state.dev_major = attr.stx_dev_major;
  state.dev_minor = attr.stx_dev_minor;
  state.ino = attr.stx_ino;
  state.client_dev_major = attr.stx_dev_major;
  state.client_dev_minor = attr.stx_dev_minor;
  state.client_ino = attr.stx_ino;
  if ((attr.stx_mask & STATX_BTIME) != 0) state.birth = TimeOf(attr.stx_btime);
  // A directory's size is the host's affair.
  if (S_ISREG(attr.stx_mode)) state.size = attr.stx_size;
  state.mtime = TimeOf(attr.stx_mtime);
  state.ctime = TimeOf(attr.stx_ctime);
  return state;
}

FileJudge::FileJudge(const InodeState& saved, const InodeState& found, Validation validation)
    : validation_(validation), relocated_(!SameNumbers(saved, found)) {
  if (!relocated_) {
    devices_[Device(saved.dev_major, saved.dev_minor)] = Device(found.dev_major, found.dev_minor);
  }
}

bool FileJudge::SameFile(const InodeState& saved, const InodeState& found) {
  if (relocated_ || !SameNumbers(saved, found)) return false;
  const Device device(found.dev_major, found.dev_minor);
  const auto [known, is_new] =
      devices_.try_emplace(Device(saved.dev_major, saved.dev_minor), device);
  return is_new || known->second == device;
}

Verdict FileJudge::Judge(const InodeState& saved, const InodeState& found) {
  if (saved.type != found.type) return Verdict::kReplaced;
  if (!relocated_ && !SameFile(saved, found)) return Verdict::kReplaced;
  if (saved.type != S_IFREG) return Verdict::kSame;
  const bool changed = (validation_.sizes && saved.size != found.size) ||
                       (validation_.mtimes && saved.mtime != found.mtime);
  return changed ? Verdict::kChanged : Verdict::kSame;
}

}  // namespace gofer::fs
