#include "test/bench/operations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace gofer::bench {
namespace {

using lisafs::Calls;
using lisafs::FdId;

constexpr size_t kFileBytes = 4 << 20;
constexpr int kListedEntries = 10000;
constexpr uint32_t kListingBytes = 65536;  // what a sentry asks for at once
constexpr size_t kHeldBackCloses = 100;    // a sentry closes what it no longer needs in such arrays
constexpr const char* kDeepPath[] = {"a", "b", "c", "d", "e"};
constexpr uint32_t kStatxMask = STATX_BASIC_STATS | STATX_BTIME;
constexpr uint32_t kSetMode = STATX_MODE;

std::string ThreadDir(int thread) { return absl::StrCat("t", thread); }

template <typename T>
T Must(ErrnoOr<T> result, const char* what) {
  CHECK(result.ok()) << what << ": " << result.error().ToString();
  return std::move(result).value();
}
void Must(ErrnoOr<void> result, const char* what) {
  CHECK(result.ok()) << what << ": " << result.error().ToString();
}

int MustFd(int fd, const char* what) {
  PCHECK(fd >= 0) << what;
  return fd;
}

// ---- over LISAFS

class LisafsWorker : public Worker {
 public:
  LisafsWorker(Calls calls, FdId root, int thread) : calls_(calls) {
    dir_ = WalkOne(root, ThreadDir(thread));
  }
  ~LisafsWorker() override {
    Drop(dir_);
    FlushCloses();
  }

 protected:
  FdId WalkOne(FdId dir, absl::string_view name) {
    lisafs::Inode inode;
    const lisafs::WalkResult walk = Must(calls_.Walk(dir, {name}, {&inode, 1}), "Walk");
    CHECK_EQ(walk.count, 1u) << name;
    return inode.control_fd;
  }
  // Closes later, many at once, as a sentry does.
  void Drop(FdId fd) {
    dropped_[num_dropped_++] = fd;
    if (num_dropped_ == dropped_.size()) FlushCloses();
  }
  void FlushCloses() {
    if (num_dropped_ > 0)
      Must(calls_.Close({dropped_.data(), std::exchange(num_dropped_, 0)}), "Close");
  }

  Calls calls_;
  FdId dir_;  // the thread's own

 private:
  std::array<FdId, kHeldBackCloses> dropped_;
  size_t num_dropped_ = 0;
};

// On the thread's data file.
class FileWorker : public LisafsWorker {
 public:
  FileWorker(Calls calls, FdId root, int thread)
      : LisafsWorker(calls, root, thread), file_(WalkOne(dir_, "f")) {}
  ~FileWorker() override { Drop(file_); }

 protected:
  FdId file_;
};

class FStatWorker final : public FileWorker {
 public:
  using FileWorker::FileWorker;
  void Once() override { CHECK_EQ(Must(calls_.FStat(file_), "FStat").size, kFileBytes); }
};

class WalkWorker final : public LisafsWorker {
 public:
  using LisafsWorker::LisafsWorker;
  void Once() override { Drop(WalkOne(dir_, "f")); }
};

class WalkStatWorker final : public LisafsWorker {
 public:
  using LisafsWorker::LisafsWorker;
  void Once() override {
    constexpr absl::string_view path[] = {"a", "b", "c", "d", "e"};
    std::array<lisafs::Statx, 5> stats;
    CHECK_EQ(Must(calls_.WalkStat(dir_, path, stats), "WalkStat"), 5u);
  }
};

class OpenCloseWorker final : public FileWorker {
 public:
  using FileWorker::FileWorker;
  void Once() override {
    const lisafs::OpenResult open = Must(calls_.OpenAt(file_, O_RDONLY), "OpenAt");
    CHECK(open.host_fd.valid()) << "no descriptor was donated";
    Must(calls_.Close({open.fd}), "Close");
  }
};

class OpenCloseDirWorker final : public LisafsWorker {
 public:
  using LisafsWorker::LisafsWorker;
  void Once() override {
    const lisafs::OpenResult open = Must(calls_.OpenAt(dir_, O_RDONLY), "OpenAt");
    CHECK(!open.host_fd.valid()) << "a directory was donated";
    Must(calls_.Close({open.fd}), "Close");
  }
};

template <size_t kBytes, bool kWrites>
class TransferWorker final : public FileWorker {
 public:
  TransferWorker(Calls calls, FdId root, int thread)
      : FileWorker(calls, root, thread),
        open_(Must(calls.OpenAt(file_, O_RDWR), "OpenAt").fd),
        buffer_(kBytes) {}
  ~TransferWorker() override { Drop(open_); }
  void Once() override {
    const size_t done = kWrites ? Must(calls_.PWrite(open_, buffer_, offset_), "PWrite")
                                : Must(calls_.PRead(open_, buffer_, offset_), "PRead");
    CHECK_EQ(done, kBytes);
    offset_ = (offset_ + kBytes) % kFileBytes;
  }

 private:
  FdId open_;
  std::vector<std::byte> buffer_;
  uint64_t offset_ = 0;
};

class ListingWorker final : public LisafsWorker {
 public:
  ListingWorker(Calls calls, FdId root, int thread) : LisafsWorker(calls, root, thread) {
    listed_ = WalkOne(root, "listed");
    open_ = Must(calls_.OpenAt(listed_, O_RDONLY), "OpenAt").fd;
  }
  ~ListingWorker() override {
    Drop(open_);
    Drop(listed_);
  }
  void Once() override {
    size_t entries = 0;
    for (auto count = -static_cast<int32_t>(kListingBytes);; count = kListingBytes) {
      const size_t got =
          Must(calls_.Getdents64(open_, count, [](const lisafs::DirentView&) {}), "Getdents64");
      if (got == 0) break;
      entries += got;
    }
    CHECK_EQ(entries, size_t{kListedEntries});
  }

 private:
  FdId listed_;
  FdId open_;
};

class CreateWorker final : public LisafsWorker {
 public:
  using LisafsWorker::LisafsWorker;
  void Once() override {
    const lisafs::CreateResult made =
        Must(calls_.OpenCreateAt(dir_, "new", 0644, {.uid = 0, .gid = 0}, O_RDWR), "OpenCreateAt");
    Must(calls_.UnlinkAt(dir_, "new", 0), "UnlinkAt");
    Must(calls_.Close({made.fd, made.child.control_fd}), "Close");
  }
};

class SetStatWorker final : public FileWorker {
 public:
  using FileWorker::FileWorker;
  void Once() override {
    mode_ ^= 0044;
    const lisafs::SetStatReq request = {.fd = file_,
                                        .mask = kSetMode,
                                        .mode = mode_,
                                        .uid = lisafs::kNoId,
                                        .gid = lisafs::kNoId,
                                        .size = 0,
                                        .atime = {},
                                        .mtime = {}};
    CHECK_EQ(Must(calls_.SetStat(request), "SetStat").failure_mask, 0u);
  }

 private:
  uint32_t mode_ = 0644;
};

// ---- bare system calls

class HostWorker : public Worker {
 public:
  HostWorker(BorrowedFd root, int thread)
      : dir_(MustFd(openat(root.get(), ThreadDir(thread).c_str(), O_PATH | O_CLOEXEC),
                    "thread's directory")) {}

 protected:
  // As a server must look a name up: nothing followed, attributes of what was opened.
  static UniqueFd LookUp(int dir, const char* name) {
    UniqueFd fd(MustFd(openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), name));
    Stat(fd.get());
    return fd;
  }
  static void Stat(int fd) {
    struct statx stat;
    PCHECK(statx(fd, "", AT_EMPTY_PATH, kStatxMask, &stat) == 0);
  }

  UniqueFd dir_;
};

class HostFile : public HostWorker {
 public:
  HostFile(BorrowedFd root, int thread)
      : HostWorker(root, thread), file_(MustFd(openat(dir_.get(), "f", O_RDWR | O_CLOEXEC), "f")) {}

 protected:
  UniqueFd file_;
};

class HostFStat final : public HostFile {
 public:
  using HostFile::HostFile;
  void Once() override { Stat(file_.get()); }
};

class HostWalk final : public HostWorker {
 public:
  using HostWorker::HostWorker;
  void Once() override { const UniqueFd found = LookUp(dir_.get(), "f"); }
};

class HostWalkStat final : public HostWorker {
 public:
  using HostWorker::HostWorker;
  void Once() override {
    UniqueFd parent;
    for (const char* name : kDeepPath)
      parent = LookUp(parent.valid() ? parent.get() : dir_.get(), name);
  }
};

class HostOpenClose final : public HostWorker {
 public:
  using HostWorker::HostWorker;
  void Once() override {
    const UniqueFd fd(MustFd(openat(dir_.get(), "f", O_RDONLY | O_CLOEXEC), "f"));
  }
};

class HostOpenCloseDir final : public HostWorker {
 public:
  using HostWorker::HostWorker;
  void Once() override {
    const UniqueFd fd(MustFd(openat(dir_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "."));
  }
};

template <size_t kBytes, bool kWrites>
class HostTransfer final : public HostFile {
 public:
  HostTransfer(BorrowedFd root, int thread) : HostFile(root, thread), buffer_(kBytes) {}
  void Once() override {
    const ssize_t done = kWrites ? pwrite(file_.get(), buffer_.data(), kBytes, offset_)
                                 : pread(file_.get(), buffer_.data(), kBytes, offset_);
    PCHECK(done == static_cast<ssize_t>(kBytes));
    offset_ = (offset_ + static_cast<off_t>(kBytes)) % static_cast<off_t>(kFileBytes);
  }

 private:
  std::vector<std::byte> buffer_;
  off_t offset_ = 0;
};

class HostListing final : public HostWorker {
 public:
  HostListing(BorrowedFd root, int thread)
      : HostWorker(root, thread),
        listed_(MustFd(openat(root.get(), "listed", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "listed")),
        buffer_(kListingBytes) {}
  void Once() override {
    PCHECK(lseek(listed_.get(), 0, SEEK_SET) == 0);
    while (true) {
      const long got = syscall(SYS_getdents64, listed_.get(), buffer_.data(), buffer_.size());
      PCHECK(got >= 0) << "getdents64";
      if (got == 0) return;
    }
  }

 private:
  UniqueFd listed_;
  std::vector<std::byte> buffer_;
};

class HostCreate final : public HostWorker {
 public:
  using HostWorker::HostWorker;
  void Once() override {
    UniqueFd fd(
        MustFd(openat(dir_.get(), "new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644), "new"));
    PCHECK(unlinkat(dir_.get(), "new", 0) == 0);
  }
};

class HostSetStat final : public HostFile {
 public:
  using HostFile::HostFile;
  void Once() override {
    mode_ ^= 0044;
    PCHECK(fchmod(file_.get(), mode_) == 0);
  }

 private:
  mode_t mode_ = 0644;
};

// ---- the table

template <typename W>
std::unique_ptr<Worker> OverLisafs(Calls calls, FdId root, int thread) {
  return std::make_unique<W>(calls, root, thread);
}
template <typename W>
std::unique_ptr<Worker> OnHost(BorrowedFd root, int thread) {
  return std::make_unique<W>(root, thread);
}

template <size_t kBytes, bool kWrites>
constexpr Operation Transfer(const char* name) {
  return {name,
          kBytes >= 65536 ? OperationClass::kBulk : OperationClass::kSmall,
          kWrites ? "PWrite" : "PRead",
          kWrites ? "pwrite" : "pread",
          OverLisafs<TransferWorker<kBytes, kWrites>>,
          OnHost<HostTransfer<kBytes, kWrites>>};
}

constexpr Operation kOperations[] = {
    {"FStat", OperationClass::kSmall, "FStat of a file", "statx", OverLisafs<FStatWorker>,
     OnHost<HostFStat>},
    {"Walk 1", OperationClass::kSmall, "Walk of one name; every 100, Close of 100",
     "openat O_PATH, statx, close", OverLisafs<WalkWorker>, OnHost<HostWalk>},
    {"WalkStat 5", OperationClass::kSmall, "WalkStat of five names",
     "five times openat O_PATH, statx, close", OverLisafs<WalkStatWorker>, OnHost<HostWalkStat>},
    {"OpenAt+Close file", OperationClass::kSmall, "OpenAt of a file, descriptor donated; Close",
     "openat, close", OverLisafs<OpenCloseWorker>, OnHost<HostOpenClose>},
    {"OpenAt+Close dir", OperationClass::kSmall,
     "OpenAt of a directory, which neither server donates; Close", "openat, close",
     OverLisafs<OpenCloseDirWorker>, OnHost<HostOpenCloseDir>},
    Transfer<4096, false>("PRead 4K"),
    Transfer<65536, false>("PRead 64K"),
    Transfer<1048576, false>("PRead 1M"),
    Transfer<4096, true>("PWrite 4K"),
    Transfer<65536, true>("PWrite 64K"),
    Transfer<1048576, true>("PWrite 1M"),
    {"Getdents64 10k", OperationClass::kListing,
     "Getdents64 of 65536 bytes until empty, from the start",
     "lseek, getdents64 of 65536 bytes until empty", OverLisafs<ListingWorker>,
     OnHost<HostListing>},
    {"create+unlink", OperationClass::kSmall, "OpenCreateAt, descriptor donated; UnlinkAt; Close",
     "openat O_CREAT, unlinkat, close", OverLisafs<CreateWorker>, OnHost<HostCreate>},
    {"SetStat", OperationClass::kSmall, "SetStat of the mode", "fchmod", OverLisafs<SetStatWorker>,
     OnHost<HostSetStat>},
};

void MakeFile(int dir, const char* name, size_t bytes) {
  const UniqueFd file(
      MustFd(openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), name));
  const std::vector<std::byte> data(bytes, std::byte{'x'});
  PCHECK(write(file.get(), data.data(), bytes) == static_cast<ssize_t>(bytes)) << name;
}

UniqueFd MakeDir(int parent, const std::string& name) {
  PCHECK(mkdirat(parent, name.c_str(), 0755) == 0) << name;
  return UniqueFd(
      MustFd(openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), name.c_str()));
}

}  // namespace

std::span<const Operation> AllOperations() { return kOperations; }

void MakeTree(const std::string& dir) {
  const UniqueFd root(MustFd(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), dir.c_str()));
  for (int thread = 0; thread < kMaxThreads; ++thread) {
    UniqueFd at = MakeDir(root.get(), ThreadDir(thread));
    MakeFile(at.get(), "f", kFileBytes);
    for (const char* name : kDeepPath) at = MakeDir(at.get(), name);
  }
  const UniqueFd listed = MakeDir(root.get(), "listed");
  for (int i = 0; i < kListedEntries; ++i)
    MakeFile(listed.get(), absl::StrCat("entry-", i).c_str(), 0);
  sync();  // what the tree's making left behind is not written during the first rounds
}

}  // namespace gofer::bench
