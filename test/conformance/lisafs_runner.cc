#include <fcntl.h>
#include <sys/stat.h>

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "test/conformance/script.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Session;

// No owner asked for: what the kernel gives a new file stays.
constexpr Owner kNobody = {.uid = kNoId, .gid = kNoId};

class LisafsRunner final : public Runner {
 public:
  explicit LisafsRunner(Session& session) : session_(session) {}

  Outcome Run(const Op& op) override {
    outcome_ = {};
    Do(op);
    session_->Close(walked_).ok();
    walked_.clear();
    return std::exchange(outcome_, {});
  }

 private:
  struct Place {
    FdId dir;
    std::string name;
  };

  template <typename T>
  bool Ok(const gofer::ErrnoOr<T>& result) {
    outcome_.error = ErrorOf(result);
    return result.ok();
  }

  // Walks to a path; a symlink in the way is the next component's ENOTDIR, as for the host.
  bool Walk(const std::string& path, FdId& found) {
    if (path.empty()) {
      found = session_.root();
      is_directory_ = true;
      return true;
    }
    const std::vector<absl::string_view> names = absl::StrSplit(path, '/');
    std::vector<Inode> inodes(names.size());
    const auto walk = session_->Walk(session_.root(), names, inodes);
    if (!Ok(walk)) return false;
    for (size_t i = 0; i < walk->count; ++i) walked_.push_back(inodes[i].control_fd);
    if (walk->count != names.size()) {
      outcome_.error = walk->status == WalkStatus::kComponentSymlink ? ENOTDIR : ENOENT;
      return false;
    }
    found = inodes.back().control_fd;
    is_directory_ = S_ISDIR(inodes.back().stat.mode);
    return true;
  }

  bool Find(const std::string& path, Place& place) {
    const size_t slash = path.rfind('/');
    place.name = slash == std::string::npos ? path : path.substr(slash + 1);
    if (!Walk(slash == std::string::npos ? "" : path.substr(0, slash), place.dir)) return false;
    // The host runner finds both directories of a call before it makes it; so does this one.
    if (!is_directory_) outcome_.error = ENOTDIR;
    return is_directory_;
  }

  FdId Slot(const Op& op) { return slots_[op.slot]; }

  void See(const Statx& stat) {
    outcome_.seen = absl::StrCat(absl::Hex(stat.mode), " links ", stat.nlink, " owner ", stat.uid,
                                 ":", stat.gid, " size ", S_ISDIR(stat.mode) ? 0 : stat.size);
  }

  void Keep(int slot, FdId fd) {
    DropSlot(slot);
    slots_[slot] = fd;
  }
  void DropSlot(int slot) {
    if (const auto found = slots_.find(slot); found != slots_.end()) {
      session_->Close({found->second}).ok();
      slots_.erase(found);
    }
  }

  void Do(const Op& op) {
    switch (op.kind) {
      case OpKind::kClose:
        DropSlot(op.slot);
        return;
      case OpKind::kWrite:
        Ok(session_->PWrite(Slot(op), std::as_bytes(std::span(op.other)), op.number));
        return;
      case OpKind::kRead: {
        std::string text(op.length, '\0');
        const auto size =
            session_->PRead(Slot(op), std::as_writable_bytes(std::span(text)), op.number);
        if (Ok(size)) outcome_.seen = text.substr(0, *size);
        return;
      }
      case OpKind::kAllocate:
        Ok(session_->FAllocate(Slot(op), 0, op.number, op.length));
        return;
      case OpKind::kSync:
        Ok(session_->FSync({Slot(op)}));
        return;
      case OpKind::kStatSlot: {
        const auto stat = session_->FStat(Slot(op));
        if (Ok(stat)) See(*stat);
        return;
      }
      case OpKind::kMkdir:
      case OpKind::kCreate:
      case OpKind::kUnlink:
      case OpKind::kRmdir:
      case OpKind::kRename:
      case OpKind::kSymlink:
      case OpKind::kLink:
      case OpKind::kMknod:
        DoInDirectory(op);
        return;
      default:
        DoOnFile(op);
    }
  }

  void DoInDirectory(const Op& op) {
    Place at;
    if (!Find(op.path, at)) return;
    const auto mode = static_cast<uint16_t>(op.number);
    switch (op.kind) {
      case OpKind::kMkdir:
        Release(session_->MkdirAt(at.dir, at.name, mode, kNobody));
        return;
      case OpKind::kCreate: {
        const auto created = session_->OpenCreateAt(at.dir, at.name, mode, kNobody, O_RDWR);
        if (!Ok(created)) return;
        walked_.push_back(created->child.control_fd);
        Keep(op.slot, created->fd);
        return;
      }
      case OpKind::kMknod:
        Release(session_->MknodAt(at.dir, at.name, S_IFREG | mode, kNobody, 0, 0));
        return;
      case OpKind::kSymlink:
        Release(session_->SymlinkAt(at.dir, at.name, op.other, kNobody));
        return;
      case OpKind::kUnlink:
        Ok(session_->UnlinkAt(at.dir, at.name, 0));
        return;
      case OpKind::kRmdir:
        Ok(session_->UnlinkAt(at.dir, at.name, AT_REMOVEDIR));
        return;
      case OpKind::kRename: {
        Place to;
        if (!Find(op.other, to)) return;
        if (op.number == 0) {
          Ok(session_->RenameAt(at.dir, at.name, to.dir, to.name));
        } else {
          Ok(session_->RenameAt2(at.dir, at.name, to.dir, to.name,
                                 static_cast<uint32_t>(op.number)));
        }
        return;
      }
      default: {
        Place to;
        if (!Find(op.other, to)) return;
        FdId target;
        if (!Walk(op.path, target)) return;
        Release(session_->LinkAt(to.dir, target, to.name));
      }
    }
  }

  void Release(const gofer::ErrnoOr<Inode>& made) {
    if (Ok(made)) walked_.push_back(made->control_fd);
  }

  void Set(SetStatReq request, FdId file) {
    request.fd = file;
    const auto set = session_->SetStat(request);
    if (Ok(set) && set->failure_mask != 0) outcome_.error = static_cast<int>(set->failure_errno);
  }

  void DoOnFile(const Op& op) {
    FdId file;
    if (!Walk(op.path, file)) return;
    SetStatReq set = {};
    switch (op.kind) {
      case OpKind::kOpen: {
        const auto open = session_->OpenAt(file, static_cast<uint32_t>(op.number));
        if (Ok(open)) Keep(op.slot, open->fd);
        return;
      }
      case OpKind::kReadLink: {
        const auto target = session_->ReadLinkAt(file);
        if (Ok(target)) outcome_.seen = *target;
        return;
      }
      case OpKind::kChmod:
        set.mask = STATX_MODE;
        set.mode = static_cast<uint32_t>(op.number);
        return Set(set, file);
      case OpKind::kChown:
        set.mask = STATX_UID | STATX_GID;
        set.uid = static_cast<uint32_t>(op.number);
        set.gid = static_cast<uint32_t>(op.length);
        return Set(set, file);
      case OpKind::kTruncate:
        set.mask = STATX_SIZE;
        set.size = op.number;
        return Set(set, file);
      case OpKind::kTimes: {
        set.mask = STATX_ATIME | STATX_MTIME;
        set.atime = {.sec = static_cast<int64_t>(op.number),
                     .nsec = static_cast<int64_t>(op.number % 1000)};
        set.mtime = {.sec = static_cast<int64_t>(op.length),
                     .nsec = static_cast<int64_t>(op.length % 1000)};
        Set(set, file);
        if (outcome_.error != 0) return;
        const auto stat = session_->FStat(file);
        if (!Ok(stat)) return;
        outcome_.seen = absl::StrCat(stat->atime.sec, ".", stat->atime.nsec, " ", stat->mtime.sec,
                                     ".", stat->mtime.nsec);
        return;
      }
      case OpKind::kStat: {
        const auto stat = session_->FStat(file);
        if (Ok(stat)) See(*stat);
        return;
      }
      case OpKind::kList:
        return ListOf(file);
      default:
        DoXattr(op, file);
    }
  }

  void ListOf(FdId dir) {
    const auto open = session_->OpenAt(dir, 0);
    if (!Ok(open)) return;
    walked_.push_back(open->fd);
    std::set<std::string> names;
    for (int32_t count = -4096;; count = 4096) {
      const auto dirents = session_->Getdents64(open->fd, count);
      if (!Ok(dirents) || dirents->empty()) break;
      for (const Dirent& dirent : *dirents)
        names.insert(absl::StrCat(dirent.name, ":", dirent.type));
    }
    if (outcome_.error == 0) outcome_.seen = absl::StrJoin(names, " ");
  }

  void DoXattr(const Op& op, FdId file) {
    switch (op.kind) {
      case OpKind::kSetXattr:
        Ok(session_->FSetXattr(file, op.name, op.other, static_cast<uint32_t>(op.number)));
        return;
      case OpKind::kGetXattr: {
        const auto value = session_->FGetXattr(file, op.name, static_cast<uint32_t>(op.length));
        if (Ok(value)) outcome_.seen = *value;
        return;
      }
      case OpKind::kListXattr: {
        const auto names = session_->FListXattr(file, 0);
        if (Ok(names))
          outcome_.seen = absl::StrJoin(std::set<std::string>(names->begin(), names->end()), " ");
        return;
      }
      default:
        Ok(session_->FRemoveXattr(file, op.name));
    }
  }

  Session& session_;
  std::map<int, FdId> slots_;
  std::vector<FdId> walked_;   // closed after each operation
  bool is_directory_ = false;  // what Walk found last
  Outcome outcome_;
};

}  // namespace

std::unique_ptr<Runner> MakeLisafsRunner(Session& session) {
  return std::make_unique<LisafsRunner>(session);
}

std::string ToString(const Op& op) {
  static const char* const kNames[] = {
      "Mkdir", "Create",   "Open",     "Close",     "Write",      "Read",     "Allocate",
      "Sync",  "Unlink",   "Rmdir",    "Rename",    "Symlink",    "ReadLink", "Link",
      "Mknod", "Chmod",    "Chown",    "Truncate",  "Times",      "Stat",     "StatSlot",
      "List",  "SetXattr", "GetXattr", "ListXattr", "RemoveXattr"};
  return absl::StrCat(kNames[static_cast<int>(op.kind)], "(", op.path, ", ", op.other, ", ",
                      op.name, ", ", op.number, ", ", op.length, ", slot ", op.slot, ")");
}

std::string ToString(const Outcome& outcome) {
  return outcome.error == 0 ? absl::StrCat("'", outcome.seen, "'")
                            : gofer::Errno(outcome.error).ToString();
}

}  // namespace lisafs
