#include "checkpoint/codec.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"

namespace gofer::checkpoint {
namespace {

constexpr uint32_t kNoBirth = 0xffffffff;
constexpr uint32_t kNsecEnd = 1'000'000'000;
constexpr int kTypeShift = 12;
constexpr uint64_t kMaxFileSize = INT64_MAX;

template <typename... Parts>
absl::Status Damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("image: ", parts...));
}

// ---- columns

// Writes seconds as differences: neighbours in a tree were often made together.
class TimeColumn {
 public:
  TimeColumn(google::protobuf::RepeatedField<int64_t>* sec,
             google::protobuf::RepeatedField<uint32_t>* nsec)
      : sec_(*sec), nsec_(*nsec) {}

  void Add(const fs::FileTime& time) {
    // Wraps like the addition in Read: times are any 64 bits.
    sec_.Add(static_cast<int64_t>(static_cast<uint64_t>(time.sec) - last_));
    nsec_.Add(time.nsec);
    last_ = static_cast<uint64_t>(time.sec);
  }

 private:
  google::protobuf::RepeatedField<int64_t>& sec_;
  google::protobuf::RepeatedField<uint32_t>& nsec_;
  uint64_t last_ = 0;
};

class TimeReader {
 public:
  TimeReader(const google::protobuf::RepeatedField<int64_t>& sec,
             const google::protobuf::RepeatedField<uint32_t>& nsec)
      : sec_(sec), nsec_(nsec) {}

  fs::FileTime Read(int row) {
    last_ += static_cast<uint64_t>(sec_[row]);
    return {.sec = static_cast<int64_t>(last_), .nsec = nsec_[row]};
  }

 private:
  const google::protobuf::RepeatedField<int64_t>& sec_;
  const google::protobuf::RepeatedField<uint32_t>& nsec_;
  uint64_t last_ = 0;
};

// Takes pieces off a column of bytes, each as long as its row says.
class BytesReader {
 public:
  BytesReader(absl::string_view column, absl::string_view bytes) : column_(column), left_(bytes) {}

  absl::StatusOr<absl::string_view> Read(int row, uint32_t size) {
    if (size > left_.size()) {
      return Damaged(column_, " of row ", row, " has ", size, " bytes, ", left_.size(),
                     " are left");
    }
    const absl::string_view piece = left_.substr(0, size);
    left_.remove_prefix(size);
    return piece;
  }
  absl::Status Finish() const {
    if (left_.empty()) return absl::OkStatus();
    return Damaged(left_.size(), " bytes of ", column_, " belong to no row");
  }

 private:
  const absl::string_view column_;
  absl::string_view left_;
};

absl::Status CheckRows(absl::string_view column, int rows, int wanted) {
  if (rows == wanted) return absl::OkStatus();
  return Damaged("column ", column, " has ", rows, " rows, its table ", wanted);
}

absl::Status CheckLimit(absl::string_view what, int rows) {
  if (static_cast<size_t>(rows) <= kMaxNodes) return absl::OkStatus();
  return Damaged(rows, " ", what, ", the limit is ", kMaxNodes);
}

// ---- inodes

void EncodeInodes(const std::vector<fs::InodeState>& inodes, Inodes& message) {
  // The host's number, and that for clients.
  using Numbers = std::tuple<uint32_t, uint32_t, uint32_t, uint32_t>;
  absl::flat_hash_map<Numbers, uint32_t> devices;
  TimeColumn births(message.mutable_birth_sec(), message.mutable_birth_nsec());
  TimeColumn mtimes(message.mutable_mtime_sec(), message.mutable_mtime_nsec());
  TimeColumn ctimes(message.mutable_ctime_sec(), message.mutable_ctime_nsec());
  std::string handles;
  for (size_t row = 0; row < inodes.size(); ++row) {
    const fs::InodeState& inode = inodes[row];
    const auto [device, is_new] = devices.try_emplace(
        Numbers(inode.dev_major, inode.dev_minor, inode.client_dev_major, inode.client_dev_minor),
        static_cast<uint32_t>(devices.size()));
    if (is_new) {
      Device* const added = message.add_devices();
      added->set_major(inode.dev_major);
      added->set_minor(inode.dev_minor);
      if (inode.client_dev_major != inode.dev_major || inode.client_dev_minor != inode.dev_minor) {
        added->set_client_major(inode.client_dev_major);
        added->set_client_minor(inode.client_dev_minor);
      }
    }
    message.add_type(inode.type >> kTypeShift);
    message.add_device(device->second);
    message.add_ino(inode.ino);
    births.Add(inode.birth.value_or(fs::FileTime{.sec = 0, .nsec = kNoBirth}));
    message.add_size(inode.size);
    mtimes.Add(inode.mtime);
    ctimes.Add(inode.ctime);
    message.add_handle_size(static_cast<uint32_t>(inode.handle.size()));
    message.add_handle_type(inode.handle_type);
    handles += inode.handle;
    if (inode.client_ino != inode.ino) {
      message.add_renumbered_row(static_cast<uint32_t>(row));
      message.add_renumbered_ino(inode.client_ino);
    }
  }
  message.set_handle(std::move(handles));
}

absl::Status CheckColumns(const Inodes& message) {
  const int rows = message.type_size();
  RETURN_IF_ERROR(CheckLimit("files", rows));
  RETURN_IF_ERROR(CheckRows("device", message.device_size(), rows));
  RETURN_IF_ERROR(CheckRows("ino", message.ino_size(), rows));
  RETURN_IF_ERROR(CheckRows("birth_sec", message.birth_sec_size(), rows));
  RETURN_IF_ERROR(CheckRows("birth_nsec", message.birth_nsec_size(), rows));
  RETURN_IF_ERROR(CheckRows("size", message.size_size(), rows));
  RETURN_IF_ERROR(CheckRows("mtime_sec", message.mtime_sec_size(), rows));
  RETURN_IF_ERROR(CheckRows("mtime_nsec", message.mtime_nsec_size(), rows));
  RETURN_IF_ERROR(CheckRows("ctime_sec", message.ctime_sec_size(), rows));
  RETURN_IF_ERROR(CheckRows("ctime_nsec", message.ctime_nsec_size(), rows));
  RETURN_IF_ERROR(CheckRows("handle_size", message.handle_size_size(), rows));
  RETURN_IF_ERROR(CheckRows("handle_type", message.handle_type_size(), rows));
  return CheckRows("renumbered_ino", message.renumbered_ino_size(), message.renumbered_row_size());
}

bool IsFileType(uint32_t type) {
  switch (type) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      return true;
    default:
      return false;
  }
}

absl::Status CheckInode(int row, const fs::InodeState& inode) {
  if (!IsFileType(inode.type))
    return Damaged("file ", row, " has type ", inode.type, ", which is none");
  for (const fs::FileTime& time :
       {inode.birth.value_or(fs::FileTime()), inode.mtime, inode.ctime}) {
    if (time.nsec >= kNsecEnd) {
      return Damaged("file ", row, " has a time with ", time.nsec, " ns, the bound is ", kNsecEnd);
    }
  }
  if (inode.size > kMaxFileSize) {
    return Damaged("file ", row, " has ", inode.size, " bytes, the bound is ", kMaxFileSize);
  }
  if (inode.handle.size() > kMaxFileHandleBytes) {
    return Damaged("file ", row, " has a handle of ", inode.handle.size(), " bytes, the bound is ",
                   kMaxFileHandleBytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<fs::InodeState>> DecodeInodes(const Inodes& message) {
  RETURN_IF_ERROR(CheckColumns(message));
  TimeReader births(message.birth_sec(), message.birth_nsec());
  TimeReader mtimes(message.mtime_sec(), message.mtime_nsec());
  TimeReader ctimes(message.ctime_sec(), message.ctime_nsec());
  BytesReader handles("file handles", message.handle());
  std::vector<fs::InodeState> inodes(static_cast<size_t>(message.type_size()));
  for (int row = 0; row < message.type_size(); ++row) {
    fs::InodeState& inode = inodes[static_cast<size_t>(row)];
    const uint32_t device = message.device(row);
    if (device >= static_cast<uint32_t>(message.devices_size())) {
      return Damaged("file ", row, " is on device ", device, " of ", message.devices_size());
    }
    const Device& numbers = message.devices(static_cast<int>(device));
    inode.dev_major = numbers.major();
    inode.dev_minor = numbers.minor();
    const bool is_renumbered = numbers.client_major() != 0 || numbers.client_minor() != 0;
    inode.client_dev_major = is_renumbered ? numbers.client_major() : inode.dev_major;
    inode.client_dev_minor = is_renumbered ? numbers.client_minor() : inode.dev_minor;
    if (message.type(row) > S_IFMT >> kTypeShift) {
      return Damaged("file ", row, " has type ", message.type(row), ", which is none");
    }
    inode.type = message.type(row) << kTypeShift;
    inode.ino = message.ino(row);
    inode.client_ino = inode.ino;
    if (const fs::FileTime birth = births.Read(row); birth.nsec != kNoBirth) inode.birth = birth;
    inode.size = message.size(row);
    inode.mtime = mtimes.Read(row);
    inode.ctime = ctimes.Read(row);
    inode.handle_type = message.handle_type(row);
    ASSIGN_OR_RETURN(const absl::string_view handle, handles.Read(row, message.handle_size(row)));
    inode.handle = std::string(handle);
    RETURN_IF_ERROR(CheckInode(row, inode));
  }
  RETURN_IF_ERROR(handles.Finish());
  for (int i = 0; i < message.renumbered_row_size(); ++i) {
    const uint32_t row = message.renumbered_row(i);
    if (row >= inodes.size()) return Damaged("renumbered file ", row, " of ", inodes.size());
    inodes[row].client_ino = message.renumbered_ino(i);
  }
  return inodes;
}

// ---- dentries

void EncodeDentries(const std::vector<fs::DentryState>& dentries, Dentries& message) {
  std::string names;
  for (uint32_t row = 0; row < dentries.size(); ++row) {
    const fs::DentryState& dentry = dentries[row];
    message.add_parent_distance(dentry.parent == fs::kNoIndex ? 0 : row - dentry.parent);
    message.add_inode(dentry.inode);
    message.add_name_size(static_cast<uint32_t>(dentry.name.size()));
    names += dentry.name;
    if (dentry.deleted) message.add_deleted_row(row);
    if (dentry.astray) message.add_astray_row(row);
  }
  message.set_name(std::move(names));
}

absl::Status CheckPlace(uint32_t row, const fs::DentryState& dentry,
                        const fs::FilesystemState& state) {
  if (dentry.inode >= state.inodes.size()) {
    return Damaged("name ", row, " leads to file ", dentry.inode, " of ", state.inodes.size());
  }
  if (row == 0) {
    if (dentry.parent == fs::kNoIndex && dentry.name.empty()) return absl::OkStatus();
    return Damaged("the first name is not the root");
  }
  if (dentry.parent == fs::kNoIndex) return Damaged("name ", row, " is a second root");
  const bool never_had_one = dentry.deleted && dentry.name.empty();
  if (const ErrnoOr<Name> name = Name::Parse(dentry.name); !name.ok() && !never_had_one) {
    return Damaged("name ", row, " of ", dentry.name.size(), " bytes: ", name.error().ToString());
  }
  const uint32_t parent_type = state.inodes[state.dentries[dentry.parent].inode].type;
  if (parent_type != S_IFDIR) return Damaged("name ", row, " lies in what is no directory");
  return absl::OkStatus();
}

absl::Status DecodeDentries(const Dentries& message, fs::FilesystemState& state) {
  const int rows = message.inode_size();
  RETURN_IF_ERROR(CheckLimit("names", rows));
  RETURN_IF_ERROR(CheckRows("parent_distance", message.parent_distance_size(), rows));
  RETURN_IF_ERROR(CheckRows("name_size", message.name_size_size(), rows));
  if (rows == 0) return Damaged("there is no root");
  for (const uint32_t row : message.deleted_row()) {
    if (row == 0 || row >= static_cast<uint32_t>(rows)) {
      return Damaged("deleted name ", row, " of ", rows);
    }
  }
  for (const uint32_t row : message.astray_row()) {
    if (row == 0 || row >= static_cast<uint32_t>(rows)) {
      return Damaged("astray name ", row, " of ", rows);
    }
  }
  BytesReader names("names", message.name());
  state.dentries.resize(static_cast<size_t>(rows));
  for (const uint32_t row : message.deleted_row()) state.dentries[row].deleted = true;
  for (const uint32_t row : message.astray_row()) state.dentries[row].astray = true;
  absl::flat_hash_set<std::pair<uint32_t, absl::string_view>> taken;
  absl::flat_hash_set<uint32_t> directories;
  taken.reserve(static_cast<size_t>(rows));
  for (uint32_t row = 0; row < static_cast<uint32_t>(rows); ++row) {
    fs::DentryState& dentry = state.dentries[row];
    const uint32_t distance = message.parent_distance(static_cast<int>(row));
    if (distance > row) return Damaged("name ", row, " comes ", distance, " behind its parent");
    dentry.parent = distance == 0 ? fs::kNoIndex : row - distance;
    dentry.inode = message.inode(static_cast<int>(row));
    ASSIGN_OR_RETURN(const absl::string_view name,
                     names.Read(static_cast<int>(row), message.name_size(static_cast<int>(row))));
    dentry.name = std::string(name);
    RETURN_IF_ERROR(CheckPlace(row, dentry, state));
    if (dentry.deleted) continue;
    if (row > 0 && state.dentries[dentry.parent].deleted) {
      return Damaged("name ", row, " lies in a deleted directory and is not deleted");
    }
    if (!taken.emplace(dentry.parent, name).second) return Damaged("name ", row, " is there twice");
    // A directory has one place; two would let a tree contain itself.
    if (state.inodes[dentry.inode].type == S_IFDIR && !directories.insert(dentry.inode).second) {
      return Damaged("name ", row, " is a second one of directory ", dentry.inode);
    }
  }
  RETURN_IF_ERROR(names.Finish());
  if (const uint64_t bytes = PathBytes(state); bytes > kMaxPathBytes) {
    return Damaged("its names are so deep that their paths have ", bytes, " bytes, the limit is ",
                   kMaxPathBytes);
  }
  return absl::OkStatus();
}

// ---- handles and deleted files

void EncodeHandles(const std::vector<fs::HandleState>& handles, Filesystem& message) {
  for (const fs::HandleState& handle : handles) {
    Handle* const added = message.add_handles();
    added->set_dentry(handle.dentry);
    added->set_flags(handle.flags);
    added->set_position(handle.position);
    added->set_unread(handle.unread);
  }
}

absl::Status DecodeHandles(const Filesystem& message, fs::FilesystemState& state) {
  RETURN_IF_ERROR(CheckLimit("open files", message.handles_size()));
  state.handles.reserve(static_cast<size_t>(message.handles_size()));
  for (int row = 0; row < message.handles_size(); ++row) {
    const Handle& from = message.handles(row);
    if (from.dentry() >= state.dentries.size()) {
      return Damaged("open file ", row, " is name ", from.dentry(), " of ", state.dentries.size());
    }
    if ((from.flags() & ~fs::kSavedHandleFlags) != 0) {
      return Damaged("open file ", row, " has flags 0", absl::Hex(from.flags()), ", known are 0",
                     absl::Hex(fs::kSavedHandleFlags));
    }
    if (from.unread().size() > fs::kMaxUnreadBytes) {
      return Damaged("open file ", row, " has ", from.unread().size(),
                     " unread bytes, the bound is ", fs::kMaxUnreadBytes);
    }
    const uint32_t type = state.inodes[state.dentries[from.dentry()].inode].type;
    if (!from.unread().empty() && type != S_IFIFO) {
      return Damaged("open file ", row, " has unread bytes and is no FIFO");
    }
    state.handles.push_back({.dentry = from.dentry(),
                             .flags = from.flags(),
                             .position = from.position(),
                             .unread = from.unread()});
  }
  return absl::OkStatus();
}

void EncodeDeletedFiles(const std::vector<fs::DeletedFileState>& files, Filesystem& message) {
  for (const fs::DeletedFileState& file : files) {
    DeletedFile* const added = message.add_deleted_files();
    added->set_inode(file.inode);
    added->set_mode(file.mode);
    added->set_uid(file.uid);
    added->set_gid(file.gid);
    for (const fs::Extent& extent : file.extents) {
      Extent* const to = added->add_extents();
      to->set_offset(extent.offset);
      to->set_data(extent.data);
    }
  }
}

absl::Status CheckExtents(int row, const fs::DeletedFileState& file, uint64_t size) {
  uint64_t end = 0;
  for (const fs::Extent& extent : file.extents) {
    if (extent.offset < end || extent.data.empty() || extent.offset > size ||
        extent.data.size() > size - extent.offset) {
      return Damaged("deleted file ", row, " of ", size, " bytes has an extent of ",
                     extent.data.size(), " at ", extent.offset, ", after one that ends at ", end);
    }
    end = extent.offset + extent.data.size();
  }
  return absl::OkStatus();
}

absl::Status DecodeDeletedFiles(const Filesystem& message, fs::FilesystemState& state) {
  RETURN_IF_ERROR(CheckLimit("deleted files", message.deleted_files_size()));
  absl::flat_hash_set<uint32_t> seen;
  for (int row = 0; row < message.deleted_files_size(); ++row) {
    const DeletedFile& from = message.deleted_files(row);
    if (from.inode() >= state.inodes.size()) {
      return Damaged("deleted file ", row, " is file ", from.inode(), " of ", state.inodes.size());
    }
    const fs::InodeState& inode = state.inodes[from.inode()];
    if (inode.type != S_IFREG) return Damaged("deleted file ", row, " is no regular file");
    if (!seen.insert(from.inode()).second) return Damaged("deleted file ", row, " is there twice");
    if (from.mode() > 07777) return Damaged("deleted file ", row, " has mode ", from.mode());
    fs::DeletedFileState file = {.inode = from.inode(),
                                 .mode = from.mode(),
                                 .uid = from.uid(),
                                 .gid = from.gid(),
                                 .extents = {}};
    for (const Extent& extent : from.extents()) {
      file.extents.push_back({.offset = extent.offset(), .data = extent.data()});
    }
    RETURN_IF_ERROR(CheckExtents(row, file, inode.size));
    state.deleted_files.push_back(std::move(file));
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t PathBytes(const fs::FilesystemState& state) {
  uint64_t total = 0;
  std::vector<uint64_t> sizes(state.dentries.size());
  for (size_t row = 1; row < sizes.size(); ++row) {
    const fs::DentryState& name = state.dentries[row];
    sizes[row] = sizes[name.parent] + 1 + name.name.size();
    total += sizes[row];
  }
  return total;
}

Filesystem Encode(const fs::FilesystemState& state) {
  Filesystem message;
  EncodeInodes(state.inodes, *message.mutable_inodes());
  EncodeDentries(state.dentries, *message.mutable_dentries());
  EncodeHandles(state.handles, message);
  EncodeDeletedFiles(state.deleted_files, message);
  return message;
}

absl::StatusOr<fs::FilesystemState> Decode(const Filesystem& message) {
  fs::FilesystemState state;
  ASSIGN_OR_RETURN(state.inodes, DecodeInodes(message.inodes()));
  RETURN_IF_ERROR(DecodeDentries(message.dentries(), state));
  RETURN_IF_ERROR(DecodeHandles(message, state));
  RETURN_IF_ERROR(DecodeDeletedFiles(message, state));
  return state;
}

}  // namespace gofer::checkpoint
