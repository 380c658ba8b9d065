#include "test/bench/virtiofs_operations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fuse/wire/opcode.h"
#include "glog/logging.h"

namespace gofer::bench {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using fuse::Opcode;
using vhost::driver::FuseClient;
using vhost::driver::Slot;

constexpr size_t kDataBytes = 64 << 20;
constexpr size_t kListedEntries = 10000;
constexpr uint32_t kStatxMask = STATX_BASIC_STATS | STATX_BTIME;

std::string SmallName(size_t i) { return absl::StrCat("file-", i % kSmallFiles); }

template <typename T>
T Must(ErrnoOr<T> result, const char* what) {
  CHECK(result.ok()) << what << ": " << result.error().ToString();
  return *std::move(result);
}

int MustFd(int fd, const char* what) {
  PCHECK(fd >= 0) << what;
  return fd;
}

// ---- over virtio-fs

void ExpectDone(const Slot& slot, const char* what) {
  CHECK_EQ(slot.error(), 0) << what << ": " << Errno(slot.error()).ToString();
}

// Names with their NUL, made beforehand.
std::vector<std::string> SmallNames() {
  std::vector<std::string> names;
  for (size_t i = 0; i < kSmallFiles; ++i) {
    names.push_back(SmallName(i));
    names.back().push_back('\0');
  }
  return names;
}

// Streams begin at different files, so that they do not meet at one.
size_t FirstFile(size_t stream) { return stream * (kSmallFiles / kMaxDepth); }

class LookupStream final : public Stream {
 public:
  LookupStream(const Mounted& mounted, size_t stream)
      : dir_(mounted.small_dir), next_(FirstFile(stream)) {}
  bool Step(FuseClient& client, Slot& slot, bool first) override {
    if (!first) {
      ExpectDone(slot, "LOOKUP");
      return false;
    }
    static const std::vector<std::string> names = SmallNames();
    slot.Arguments().WriteBytes(names[next_++ % kSmallFiles]);
    client.Submit(slot, Opcode::kLookup, dir_, {.result = sizeof(fuse::EntryOut)});
    return true;
  }

 private:
  const NodeId dir_;
  size_t next_;
};

class GetattrStream final : public Stream {
 public:
  GetattrStream(const Mounted& mounted, size_t stream)
      : files_(mounted.small_files), next_(FirstFile(stream)) {}
  bool Step(FuseClient& client, Slot& slot, bool first) override {
    if (!first) {
      ExpectDone(slot, "GETATTR");
      return false;
    }
    slot.Arguments().Write(fuse::GetattrIn{});
    client.Submit(slot, Opcode::kGetattr, files_[next_++ % kSmallFiles],
                  {.result = sizeof(fuse::AttrOut)});
    return true;
  }

 private:
  const std::vector<NodeId>& files_;
  size_t next_;
};

class OpenStream final : public Stream {
 public:
  OpenStream(const Mounted& mounted, size_t stream)
      : files_(mounted.small_files), next_(FirstFile(stream)) {}
  bool Step(FuseClient& client, Slot& slot, bool first) override {
    if (first) {
      file_ = files_[next_++ % kSmallFiles];
      opened_ = false;
      slot.Arguments().Write(fuse::OpenIn{.flags = O_RDONLY, .open_flags = 0});
      client.Submit(slot, Opcode::kOpen, file_, {.result = sizeof(fuse::OpenOut)});
      return true;
    }
    ExpectDone(slot, opened_ ? "RELEASE" : "OPEN");
    if (std::exchange(opened_, true)) return false;
    const HandleId fh = slot.Result<fuse::OpenOut>().fh;
    slot.Arguments().Write(
        fuse::ReleaseIn{.fh = fh, .flags = O_RDONLY, .release_flags = 0, .lock_owner = 0});
    client.Submit(slot, Opcode::kRelease, file_, {});
    return true;
  }

 private:
  const std::vector<NodeId>& files_;
  size_t next_;
  NodeId file_ = NodeId::kNone;
  bool opened_ = false;
};

template <size_t kBytes, bool kWrites>
class TransferStream final : public Stream {
 public:
  TransferStream(const Mounted& mounted, size_t stream)
      : file_(mounted.data_file),
        handle_(mounted.data_handle),
        offset_(stream * (kDataBytes / kMaxDepth)) {}
  bool Step(FuseClient& client, Slot& slot, bool first) override {
    if (!first) {
      ExpectDone(slot, kWrites ? "WRITE" : "READ");
      CHECK_EQ(kWrites ? slot.Result<fuse::WriteOut>().size : slot.data_bytes(), kBytes);
      return false;
    }
    const uint64_t offset = std::exchange(offset_, (offset_ + kBytes) % kDataBytes);
    if constexpr (kWrites) {
      slot.Arguments().Write(fuse::WriteIn{.fh = handle_,
                                           .offset = offset,
                                           .size = kBytes,
                                           .write_flags = 0,
                                           .lock_owner = 0,
                                           .flags = O_RDWR,
                                           .padding = 0});
      client.Submit(slot, Opcode::kWrite, file_,
                    {.data_in = kBytes, .result = sizeof(fuse::WriteOut)});
    } else {
      slot.Arguments().Write(fuse::ReadIn{.fh = handle_,
                                          .offset = offset,
                                          .size = kBytes,
                                          .read_flags = 0,
                                          .lock_owner = 0,
                                          .flags = O_RDWR,
                                          .padding = 0});
      client.Submit(slot, Opcode::kRead, file_, {.data_out = kBytes});
    }
    return true;
  }

 private:
  const NodeId file_;
  const HandleId handle_;
  uint64_t offset_;
};

class CreateStream final : public Stream {
 public:
  CreateStream(const Mounted& mounted, size_t stream)
      : dir_(mounted.new_dir), name_(absl::StrCat("new-", stream, absl::string_view("\0", 1))) {}
  bool Step(FuseClient& client, Slot& slot, bool first) override {
    if (first) {
      state_ = State::kCreating;
      ByteWriter& arguments = slot.Arguments();
      arguments.Write(
          fuse::CreateIn{.flags = O_RDWR, .mode = S_IFREG | 0644, .umask = 022, .open_flags = 0});
      arguments.WriteBytes(name_);
      client.Submit(slot, Opcode::kCreate, dir_, {.result = sizeof(fuse::CreateOut)});
      return true;
    }
    switch (state_) {
      case State::kCreating: {
        ExpectDone(slot, "CREATE");
        const auto made = slot.Result<fuse::CreateOut>();
        file_ = made.entry.nodeid;
        slot.Arguments().Write(fuse::ReleaseIn{
            .fh = made.open.fh, .flags = O_RDWR, .release_flags = 0, .lock_owner = 0});
        client.Submit(slot, Opcode::kRelease, file_, {});
        state_ = State::kReleasing;
        return true;
      }
      case State::kReleasing:
        ExpectDone(slot, "RELEASE");
        slot.Arguments().WriteBytes(name_);
        client.Submit(slot, Opcode::kUnlink, dir_, {});
        state_ = State::kUnlinking;
        return true;
      case State::kUnlinking:
        ExpectDone(slot, "UNLINK");
        slot.Arguments().Write(fuse::ForgetIn{.nlookup = 1});
        client.Submit(slot, Opcode::kForget, file_, {.reply = false});
        state_ = State::kForgetting;
        return true;
      case State::kForgetting:
        return false;
    }
    return false;
  }

 private:
  enum class State { kCreating, kReleasing, kUnlinking, kForgetting };

  const NodeId dir_;
  const std::string name_;
  State state_ = State::kCreating;
  NodeId file_ = NodeId::kNone;
};

template <size_t kBytes>
class ListingStream final : public Stream {
 public:
  ListingStream(const Mounted& mounted, size_t) : dir_(mounted.listed_dir), buffer_(kBytes) {}
  bool Step(FuseClient& client, Slot& slot, bool first) override {
    if (first) {
      opened_ = ended_ = false;
      entries_ = 0;
      slot.Arguments().Write(fuse::OpenIn{.flags = O_RDONLY | O_DIRECTORY, .open_flags = 0});
      client.Submit(slot, Opcode::kOpendir, dir_, {.result = sizeof(fuse::OpenOut)});
      return true;
    }
    if (ended_) {
      ExpectDone(slot, "RELEASEDIR");
      CHECK_EQ(entries_, kListedEntries + 2);
      return false;
    }
    uint64_t offset = 0;
    if (!std::exchange(opened_, true)) {
      ExpectDone(slot, "OPENDIR");
      handle_ = slot.Result<fuse::OpenOut>().fh;
    } else {
      ExpectDone(slot, "READDIRPLUS");
      offset = LastOffset(slot);
    }
    if (ended_) {
      slot.Arguments().Write(
          fuse::ReleaseIn{.fh = handle_, .flags = O_RDONLY, .release_flags = 0, .lock_owner = 0});
      client.Submit(slot, Opcode::kReleasedir, dir_, {});
      return true;
    }
    slot.Arguments().Write(fuse::ReadIn{.fh = handle_,
                                        .offset = offset,
                                        .size = kBytes,
                                        .read_flags = 0,
                                        .lock_owner = 0,
                                        .flags = O_RDONLY,
                                        .padding = 0});
    client.Submit(slot, Opcode::kReaddirplus, dir_, {.data_out = kBytes});
    return true;
  }

 private:
  uint64_t LastOffset(const Slot& slot) {
    const size_t size = slot.data_bytes();
    ended_ = size == 0;
    slot.ReadData(std::span(buffer_).first(size));
    uint64_t offset = 0;
    for (size_t at = 0; at < size; ++entries_) {
      fuse::Direntplus record;
      CHECK_LE(sizeof(record), size - at);
      std::memcpy(&record, buffer_.data() + at, sizeof(record));
      offset = record.dirent.off;
      at += (sizeof(record) + record.dirent.namelen + 7) & ~size_t{7};
    }
    return offset;
  }

  const NodeId dir_;
  std::vector<std::byte> buffer_;
  HandleId handle_ = HandleId::kNone;
  size_t entries_ = 0;
  bool opened_ = false;
  bool ended_ = false;
};

// ---- bare system calls

class HostSmall : public Worker {
 public:
  explicit HostSmall(BorrowedFd root)
      : dir_(MustFd(openat(root.get(), "small", O_PATH | O_CLOEXEC), "small")) {
    for (size_t i = 0; i < kSmallFiles; ++i) names_.push_back(SmallName(i));
  }

 protected:
  const char* NextName() { return names_[next_++ % kSmallFiles].c_str(); }

  const UniqueFd dir_;

 private:
  std::vector<std::string> names_;
  size_t next_ = 0;
};

class HostLookup final : public HostSmall {
 public:
  using HostSmall::HostSmall;
  void Once() override {
    struct statx stat;
    PCHECK(statx(dir_.get(), NextName(), AT_SYMLINK_NOFOLLOW, kStatxMask, &stat) == 0);
  }
};

class HostGetattr final : public HostSmall {
 public:
  explicit HostGetattr(BorrowedFd root) : HostSmall(root) {
    for (size_t i = 0; i < kSmallFiles; ++i) {
      fds_.emplace_back(MustFd(openat(dir_.get(), NextName(), O_PATH | O_CLOEXEC), "small file"));
    }
  }
  void Once() override {
    struct statx stat;
    PCHECK(statx(fds_[next_++ % fds_.size()].get(), "", AT_EMPTY_PATH, kStatxMask, &stat) == 0);
  }

 private:
  std::vector<UniqueFd> fds_;
  size_t next_ = 0;
};

class HostOpen final : public HostSmall {
 public:
  using HostSmall::HostSmall;
  void Once() override {
    const UniqueFd fd(MustFd(openat(dir_.get(), NextName(), O_RDONLY | O_CLOEXEC), "small file"));
  }
};

template <size_t kBytes, bool kWrites>
class HostTransfer final : public Worker {
 public:
  explicit HostTransfer(BorrowedFd root)
      : file_(MustFd(openat(root.get(), "data", O_RDWR | O_CLOEXEC), "data")), buffer_(kBytes) {}
  void Once() override {
    const ssize_t done = kWrites ? pwrite(file_.get(), buffer_.data(), kBytes, offset_)
                                 : pread(file_.get(), buffer_.data(), kBytes, offset_);
    PCHECK(done == static_cast<ssize_t>(kBytes));
    offset_ = (offset_ + static_cast<off_t>(kBytes)) % static_cast<off_t>(kDataBytes);
  }

 private:
  const UniqueFd file_;
  std::vector<std::byte> buffer_;
  off_t offset_ = 0;
};

class HostCreate final : public Worker {
 public:
  explicit HostCreate(BorrowedFd root)
      : dir_(MustFd(openat(root.get(), "new", O_PATH | O_CLOEXEC), "new")) {}
  void Once() override {
    {
      const UniqueFd fd(
          MustFd(openat(dir_.get(), "new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644), "new"));
      struct statx stat;
      PCHECK(statx(fd.get(), "", AT_EMPTY_PATH, kStatxMask, &stat) == 0);
    }
    PCHECK(unlinkat(dir_.get(), "new", 0) == 0);
  }

 private:
  const UniqueFd dir_;
};

class HostListing final : public Worker {
 public:
  explicit HostListing(BorrowedFd root)
      : root_(MustFd(openat(root.get(), "listed", O_PATH | O_CLOEXEC), "listed")) {}
  void Once() override {
    const UniqueFd dir(
        MustFd(openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "listed"));
    struct Record {
      uint64_t ino;
      int64_t off;
      uint16_t size;
      uint8_t type;
      char name[];
    };
    for (;;) {
      const long got = syscall(SYS_getdents64, dir.get(), buffer_.data(), buffer_.size());
      PCHECK(got >= 0) << "getdents64";
      if (got == 0) return;
      for (long at = 0; at < got;) {
        const auto* const record = reinterpret_cast<const Record*>(buffer_.data() + at);
        struct statx stat;
        PCHECK(statx(dir.get(), record->name, AT_SYMLINK_NOFOLLOW, kStatxMask, &stat) == 0);
        at += record->size;
      }
    }
  }

 private:
  const UniqueFd root_;
  alignas(8) std::array<char, 65536> buffer_;
};

// ---- the table

template <typename S>
std::unique_ptr<Stream> OverVirtiofs(const Mounted& mounted, size_t stream) {
  return std::make_unique<S>(mounted, stream);
}
template <typename W>
std::unique_ptr<Worker> OnHost(BorrowedFd root) {
  return std::make_unique<W>(root);
}

template <size_t kBytes, bool kWrites>
constexpr VirtiofsOperation Transfer(const char* name) {
  return {name,
          kBytes >= 131072 ? VirtiofsClass::kBulk : VirtiofsClass::kSmall,
          kWrites ? "WRITE" : "READ",
          kWrites ? "pwrite" : "pread",
          false,
          OverVirtiofs<TransferStream<kBytes, kWrites>>,
          OnHost<HostTransfer<kBytes, kWrites>>};
}

template <size_t kBytes>
constexpr VirtiofsOperation Listing(const char* name, const char* requests) {
  return {name,
          VirtiofsClass::kListing,
          requests,
          "open, getdents64 of 64 KiB and a statx for each entry, close",
          true,
          OverVirtiofs<ListingStream<kBytes>>,
          OnHost<HostListing>};
}

constexpr VirtiofsOperation kOperations[] = {
    {"LOOKUP", VirtiofsClass::kSmall, "LOOKUP of a name that is known, one of 1024",
     "statx by name", false, OverVirtiofs<LookupStream>, OnHost<HostLookup>},
    {"GETATTR", VirtiofsClass::kSmall, "GETATTR of one of 1024 files", "statx of a descriptor",
     false, OverVirtiofs<GetattrStream>, OnHost<HostGetattr>},
    {"OPEN+RELEASE", VirtiofsClass::kSmall, "OPEN of one of 1024 files for reading, RELEASE",
     "openat, close", false, OverVirtiofs<OpenStream>, OnHost<HostOpen>},
    Transfer<4096, false>("READ 4K"),
    Transfer<4096, true>("WRITE 4K"),
    {"CREATE+UNLINK", VirtiofsClass::kSmall, "CREATE, RELEASE, UNLINK, FORGET",
     "openat O_CREAT, statx, close, unlinkat", false, OverVirtiofs<CreateStream>,
     OnHost<HostCreate>},
    Transfer<131072, false>("READ 128K"),
    Transfer<131072, true>("WRITE 128K"),
    Transfer<1048576, false>("READ 1M"),
    Transfer<1048576, true>("WRITE 1M"),
    Listing<4096>("READDIRPLUS 10k", "OPENDIR, READDIRPLUS of 4 KiB until empty, RELEASEDIR"),
    Listing<131072>("READDIRPLUS 10k/128K",
                    "OPENDIR, READDIRPLUS of 128 KiB until empty, RELEASEDIR"),
};

UniqueFd MakeDir(int parent, const char* name) {
  PCHECK(mkdirat(parent, name, 0755) == 0) << name;
  return UniqueFd(MustFd(openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC), name));
}

void MakeFile(int dir, const std::string& name, size_t bytes) {
  const UniqueFd file(MustFd(
      openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), name.c_str()));
  const std::vector<std::byte> data(bytes, std::byte{'x'});
  PCHECK(write(file.get(), data.data(), bytes) == static_cast<ssize_t>(bytes)) << name;
}

}  // namespace

std::span<const VirtiofsOperation> AllVirtiofsOperations() { return kOperations; }

Mounted::Mounted(FuseClient& client) {
  const auto walk = [&](NodeId dir, const std::string& name) {
    return Must(client.Lookup(dir, name), name.c_str()).nodeid;
  };
  small_dir = walk(NodeId::kRoot, "small");
  for (size_t i = 0; i < kSmallFiles; ++i) small_files.push_back(walk(small_dir, SmallName(i)));
  new_dir = walk(NodeId::kRoot, "new");
  listed_dir = walk(NodeId::kRoot, "listed");
  data_file = walk(NodeId::kRoot, "data");
  data_handle = Must(client.Open(data_file, O_RDWR), "OPEN").fh;
}

void MakeVirtiofsTree(const std::string& dir) {
  const UniqueFd root(MustFd(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), dir.c_str()));
  const UniqueFd small = MakeDir(root.get(), "small");
  for (size_t i = 0; i < kSmallFiles; ++i) MakeFile(small.get(), SmallName(i), 4096);
  PCHECK(mkdirat(root.get(), "new", 0755) == 0);
  MakeFile(root.get(), "data", kDataBytes);
  const UniqueFd listed = MakeDir(root.get(), "listed");
  for (size_t i = 0; i < kListedEntries; ++i) MakeFile(listed.get(), absl::StrCat("entry-", i), 0);
  sync();  // what the tree's making left behind is not written during the first rounds
}

}  // namespace gofer::bench
