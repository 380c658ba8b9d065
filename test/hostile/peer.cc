#include "test/hostile/peer.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <span>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "fuse/session/session.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "test/support/fuse_client.h"
#include "test/support/session.h"

namespace gofer::testing {
namespace {

class LisafsPeer final : public Peer {
 public:
  LisafsPeer(TestServer& server, Via via) : session_(server, via) {}

  uint64_t root() const override { return static_cast<uint64_t>(session_.root()); }

  ErrnoOr<Node> Lookup(uint64_t dir, absl::string_view name) override {
    lisafs::Inode inode;
    ASSIGN_OR_RETURN(const lisafs::WalkResult walk,
                     calls().Walk(FdId{dir}, {name}, std::span(&inode, 1)));
    if (walk.status == lisafs::WalkStatus::kComponentSymlink) return Errno(ELOOP);
    if (walk.count != 1) return Errno(ENOENT);
    return ToNode(inode);
  }
  ErrnoOr<Node> Stat(uint64_t node) override {
    ASSIGN_OR_RETURN(const lisafs::Statx stat, calls().FStat(FdId{node}));
    return ToNode({.control_fd = FdId{node}, .stat = stat});
  }
  void Forget(uint64_t node) override { Must(calls().Close({FdId{node}})); }

  ErrnoOr<File> Open(const Node& node, uint32_t flags) override {
    ASSIGN_OR_RETURN(const lisafs::OpenResult open, calls().OpenAt(FdId{node.id}, flags));
    return File{
        .node = node.id, .id = static_cast<uint64_t>(open.fd), .is_directory = S_ISDIR(node.mode)};
  }
  void Close(const File& file) override { Must(calls().Close({FdId{file.id}})); }
  ErrnoOr<std::string> Read(const File& file, uint64_t offset, uint32_t size) override {
    std::string text(size, '\0');
    ASSIGN_OR_RETURN(const size_t got,
                     calls().PRead(FdId{file.id}, std::as_writable_bytes(std::span(text)), offset));
    text.resize(got);
    return text;
  }
  ErrnoOr<size_t> Write(const File& file, uint64_t offset, absl::string_view data) override {
    return calls().PWrite(FdId{file.id}, std::as_bytes(std::span(data.data(), data.size())),
                          offset);
  }
  ErrnoOr<void> Allocate(const File& file, uint64_t mode, uint64_t offset,
                         uint64_t length) override {
    return calls().FAllocate(FdId{file.id}, mode, offset, length);
  }
  ErrnoOr<std::vector<std::string>> List(const File& dir, uint32_t bytes) override {
    std::vector<std::string> names;
    auto count = -static_cast<int32_t>(bytes);
    for (;;) {
      ASSIGN_OR_RETURN(const size_t got, calls().Getdents64(FdId{dir.id}, count,
                                                            [&](const lisafs::DirentView& entry) {
                                                              names.emplace_back(entry.name);
                                                            }));
      if (got == 0) return names;
      count = static_cast<int32_t>(bytes);
    }
  }

  ErrnoOr<Node> Create(uint64_t dir, absl::string_view name, uint32_t mode) override {
    ASSIGN_OR_RETURN(
        const lisafs::CreateResult made,
        calls().OpenCreateAt(FdId{dir}, name, static_cast<uint16_t>(mode), owner(), O_RDWR));
    Must(calls().Close({made.fd}));
    return ToNode(made.child);
  }
  ErrnoOr<Node> Mkdir(uint64_t dir, absl::string_view name, uint32_t mode) override {
    ASSIGN_OR_RETURN(const lisafs::Inode made,
                     calls().MkdirAt(FdId{dir}, name, static_cast<uint16_t>(mode), owner()));
    return ToNode(made);
  }
  ErrnoOr<Node> Mknod(uint64_t dir, absl::string_view name, uint32_t mode, uint32_t major,
                      uint32_t minor) override {
    ASSIGN_OR_RETURN(
        const lisafs::Inode made,
        calls().MknodAt(FdId{dir}, name, static_cast<uint16_t>(mode), owner(), minor, major));
    return ToNode(made);
  }
  ErrnoOr<Node> Symlink(uint64_t dir, absl::string_view name, absl::string_view target) override {
    ASSIGN_OR_RETURN(const lisafs::Inode made, calls().SymlinkAt(FdId{dir}, name, target, owner()));
    return ToNode(made);
  }
  ErrnoOr<Node> Link(uint64_t dir, absl::string_view name, uint64_t node) override {
    ASSIGN_OR_RETURN(const lisafs::Inode made, calls().LinkAt(FdId{dir}, FdId{node}, name));
    return ToNode(made);
  }
  ErrnoOr<void> Unlink(uint64_t dir, absl::string_view name) override {
    return calls().UnlinkAt(FdId{dir}, name, 0);
  }
  ErrnoOr<void> Rmdir(uint64_t dir, absl::string_view name) override {
    return calls().UnlinkAt(FdId{dir}, name, AT_REMOVEDIR);
  }
  ErrnoOr<void> Rename(uint64_t old_dir, absl::string_view old_name, uint64_t new_dir,
                       absl::string_view new_name, uint32_t flags) override {
    return calls().RenameAt2(FdId{old_dir}, old_name, FdId{new_dir}, new_name, flags);
  }
  ErrnoOr<std::string> ReadLink(uint64_t node) override { return calls().ReadLinkAt(FdId{node}); }

  ErrnoOr<void> SetMode(uint64_t node, uint32_t mode) override {
    lisafs::SetStatReq request = {};
    request.mask = STATX_MODE;
    request.mode = mode;
    return Set(node, request);
  }
  ErrnoOr<void> SetOwner(uint64_t node, uint32_t uid, uint32_t gid) override {
    lisafs::SetStatReq request = {};
    request.mask = STATX_UID | STATX_GID;
    request.uid = uid;
    request.gid = gid;
    return Set(node, request);
  }
  ErrnoOr<void> SetSize(uint64_t node, uint64_t size) override {
    lisafs::SetStatReq request = {};
    request.mask = STATX_SIZE;
    request.size = size;
    return Set(node, request);
  }
  ErrnoOr<void> SetTimes(uint64_t node, const struct timespec& atime,
                         const struct timespec& mtime) override {
    lisafs::SetStatReq request = {};
    request.mask = STATX_ATIME | STATX_MTIME;
    request.atime = {.sec = atime.tv_sec, .nsec = atime.tv_nsec};
    request.mtime = {.sec = mtime.tv_sec, .nsec = mtime.tv_nsec};
    return Set(node, request);
  }

  ErrnoOr<std::string> GetXattr(uint64_t node, absl::string_view name, uint32_t size) override {
    return calls().FGetXattr(FdId{node}, name, size);
  }
  ErrnoOr<void> SetXattr(uint64_t node, absl::string_view name, absl::string_view value) override {
    return calls().FSetXattr(FdId{node}, name, value, 0);
  }
  ErrnoOr<std::vector<std::string>> ListXattr(uint64_t node) override {
    return calls().FListXattr(FdId{node}, 65536);
  }
  ErrnoOr<void> RemoveXattr(uint64_t node, absl::string_view name) override {
    return calls().FRemoveXattr(FdId{node}, name);
  }

 private:
  using FdId = lisafs::FdId;

  lisafs::Calls& calls() { return session_.calls(); }
  lisafs::Owner owner() const { return {.uid = uid, .gid = gid}; }
  static Node ToNode(const lisafs::Inode& inode) {
    return {.id = static_cast<uint64_t>(inode.control_fd),
            .ino = inode.stat.ino,
            .size = inode.stat.size,
            .mode = inode.stat.mode,
            .uid = inode.stat.uid,
            .gid = inode.stat.gid,
            .nlink = inode.stat.nlink};
  }
  ErrnoOr<void> Set(uint64_t node, lisafs::SetStatReq request) {
    request.fd = FdId{node};
    ASSIGN_OR_RETURN(const lisafs::SetStatResp set, calls().SetStat(request));
    if (set.failure_mask != 0) return Errno(static_cast<int>(set.failure_errno));
    return {};
  }

  Session session_;
};

class FusePeer final : public Peer {
 public:
  FusePeer(fs::Filesystem* filesystem, const fuse::SessionOptions& options)
      : session_(filesystem, options) {
    CHECK_EQ(client_.Init().error, 0);
  }

  uint64_t root() const override { return static_cast<uint64_t>(fuse::NodeId::kRoot); }

  ErrnoOr<Node> Lookup(uint64_t dir, absl::string_view name) override {
    return Entry(Call(fuse::Opcode::kLookup, dir, Terminated(name)));
  }
  ErrnoOr<Node> Stat(uint64_t node) override {
    const FuseReply reply = client_.Getattr(fuse::NodeId{node});
    if (reply.error != 0) return Errno(reply.error);
    return ToNode(node, reply.As<fuse::AttrOut>().attr);
  }
  void Forget(uint64_t node) override { client_.Forget(fuse::NodeId{node}, 1); }

  ErrnoOr<File> Open(const Node& node, uint32_t flags) override {
    const bool is_directory = S_ISDIR(node.mode);
    const FuseReply reply = Call(is_directory ? fuse::Opcode::kOpendir : fuse::Opcode::kOpen,
                                 node.id, Bytes(fuse::OpenIn{.flags = flags, .open_flags = 0}));
    if (reply.error != 0) return Errno(reply.error);
    return File{.node = node.id,
                .id = static_cast<uint64_t>(reply.As<fuse::OpenOut>().fh),
                .is_directory = is_directory};
  }
  void Close(const File& file) override {
    fuse::ReleaseIn in = {};
    in.fh = fuse::HandleId{file.id};
    CHECK_EQ(Call(file.is_directory ? fuse::Opcode::kReleasedir : fuse::Opcode::kRelease, file.node,
                  Bytes(in))
                 .error,
             0);
  }
  ErrnoOr<std::string> Read(const File& file, uint64_t offset, uint32_t size) override {
    FuseReply reply = client_.Read(fuse::NodeId{file.node}, fuse::HandleId{file.id}, offset, size);
    if (reply.error != 0) return Errno(reply.error);
    return std::move(reply.body);
  }
  ErrnoOr<size_t> Write(const File& file, uint64_t offset, absl::string_view data) override {
    const FuseReply reply =
        client_.Write(fuse::NodeId{file.node}, fuse::HandleId{file.id}, offset, data);
    if (reply.error != 0) return Errno(reply.error);
    return reply.As<fuse::WriteOut>().size;
  }
  ErrnoOr<void> Allocate(const File& file, uint64_t mode, uint64_t offset,
                         uint64_t length) override {
    fuse::FallocateIn in = {};
    in.fh = fuse::HandleId{file.id};
    in.offset = offset;
    in.length = length;
    in.mode = static_cast<uint32_t>(mode);
    return Done(Call(fuse::Opcode::kFallocate, file.node, Bytes(in)));
  }
  ErrnoOr<std::vector<std::string>> List(const File& dir, uint32_t bytes) override {
    std::vector<std::string> names;
    fuse::ReadIn in = {};
    in.fh = fuse::HandleId{dir.id};
    in.size = bytes;
    for (;;) {
      const FuseReply reply = Call(fuse::Opcode::kReaddir, dir.node, Bytes(in));
      if (reply.error != 0) return Errno(reply.error);
      if (reply.body.empty()) return names;
      for (const FuseDirent& entry : ParseDirents(reply.body, /*plus=*/false)) {
        in.offset = entry.dirent.off;
        if (entry.name != "." && entry.name != "..") names.push_back(entry.name);
      }
    }
  }

  ErrnoOr<Node> Create(uint64_t dir, absl::string_view name, uint32_t mode) override {
    const fuse::CreateIn in = {
        .flags = O_RDWR | O_EXCL, .mode = S_IFREG | mode, .umask = 0, .open_flags = 0};
    const FuseReply reply = Call(fuse::Opcode::kCreate, dir, Bytes(in) + Terminated(name));
    if (reply.error != 0) return Errno(reply.error);
    const auto out = reply.As<fuse::CreateOut>();
    const auto node = static_cast<uint64_t>(out.entry.nodeid);
    Close({.node = node, .id = static_cast<uint64_t>(out.open.fh), .is_directory = false});
    return ToNode(node, out.entry.attr);
  }
  ErrnoOr<Node> Mkdir(uint64_t dir, absl::string_view name, uint32_t mode) override {
    const fuse::MkdirIn in = {.mode = mode, .umask = 0};
    return Entry(Call(fuse::Opcode::kMkdir, dir, Bytes(in) + Terminated(name)));
  }
  ErrnoOr<Node> Mknod(uint64_t dir, absl::string_view name, uint32_t mode, uint32_t major,
                      uint32_t minor) override {
    const fuse::MknodIn in = {.mode = mode,
                              .rdev = (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12),
                              .umask = 0,
                              .padding = 0};
    return Entry(Call(fuse::Opcode::kMknod, dir, Bytes(in) + Terminated(name)));
  }
  ErrnoOr<Node> Symlink(uint64_t dir, absl::string_view name, absl::string_view target) override {
    return Entry(Call(fuse::Opcode::kSymlink, dir, Terminated(name) + Terminated(target)));
  }
  ErrnoOr<Node> Link(uint64_t dir, absl::string_view name, uint64_t node) override {
    const fuse::LinkIn in = {fuse::NodeId{node}};
    return Entry(Call(fuse::Opcode::kLink, dir, Bytes(in) + Terminated(name)));
  }
  ErrnoOr<void> Unlink(uint64_t dir, absl::string_view name) override {
    return Done(Call(fuse::Opcode::kUnlink, dir, Terminated(name)));
  }
  ErrnoOr<void> Rmdir(uint64_t dir, absl::string_view name) override {
    return Done(Call(fuse::Opcode::kRmdir, dir, Terminated(name)));
  }
  ErrnoOr<void> Rename(uint64_t old_dir, absl::string_view old_name, uint64_t new_dir,
                       absl::string_view new_name, uint32_t flags) override {
    const fuse::Rename2In in = {.newdir = fuse::NodeId{new_dir}, .flags = flags, .padding = 0};
    return Done(Call(fuse::Opcode::kRename2, old_dir,
                     Bytes(in) + Terminated(old_name) + Terminated(new_name)));
  }
  ErrnoOr<std::string> ReadLink(uint64_t node) override {
    FuseReply reply = Call(fuse::Opcode::kReadlink, node, "");
    if (reply.error != 0) return Errno(reply.error);
    return std::move(reply.body);
  }

  ErrnoOr<void> SetMode(uint64_t node, uint32_t mode) override {
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kMode;
    in.mode = mode;
    return Set(node, in);
  }
  ErrnoOr<void> SetOwner(uint64_t node, uint32_t uid, uint32_t gid) override {
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kUid | fuse::setattr::kGid;
    in.uid = uid;
    in.gid = gid;
    return Set(node, in);
  }
  ErrnoOr<void> SetSize(uint64_t node, uint64_t size) override {
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kSize;
    in.size = size;
    return Set(node, in);
  }
  ErrnoOr<void> SetTimes(uint64_t node, const struct timespec& atime,
                         const struct timespec& mtime) override {
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kAtime | fuse::setattr::kMtime;
    in.atime = static_cast<uint64_t>(atime.tv_sec);
    in.atimensec = static_cast<uint32_t>(atime.tv_nsec);
    in.mtime = static_cast<uint64_t>(mtime.tv_sec);
    in.mtimensec = static_cast<uint32_t>(mtime.tv_nsec);
    return Set(node, in);
  }

  ErrnoOr<std::string> GetXattr(uint64_t node, absl::string_view name, uint32_t size) override {
    FuseReply reply = Call(fuse::Opcode::kGetxattr, node,
                           Bytes(fuse::GetxattrIn{.size = size, .padding = 0}) + Terminated(name));
    if (reply.error != 0) return Errno(reply.error);
    return std::move(reply.body);
  }
  ErrnoOr<void> SetXattr(uint64_t node, absl::string_view name, absl::string_view value) override {
    const fuse::SetxattrIn in = {.size = static_cast<uint32_t>(value.size()), .flags = 0};
    return Done(
        Call(fuse::Opcode::kSetxattr, node, absl::StrCat(Bytes(in), Terminated(name), value)));
  }
  ErrnoOr<std::vector<std::string>> ListXattr(uint64_t node) override {
    const FuseReply reply =
        Call(fuse::Opcode::kListxattr, node, Bytes(fuse::GetxattrIn{.size = 65536, .padding = 0}));
    if (reply.error != 0) return Errno(reply.error);
    return std::vector<std::string>(absl::StrSplit(reply.body, '\0', absl::SkipEmpty()));
  }
  ErrnoOr<void> RemoveXattr(uint64_t node, absl::string_view name) override {
    return Done(Call(fuse::Opcode::kRemovexattr, node, Terminated(name)));
  }

 private:
  FuseReply Call(fuse::Opcode opcode, uint64_t node, absl::string_view arguments) {
    client_.uid = uid;
    client_.gid = gid;
    return client_.Call(opcode, fuse::NodeId{node}, arguments);
  }
  static ErrnoOr<void> Done(const FuseReply& reply) {
    if (reply.error != 0) return Errno(reply.error);
    return {};
  }
  static Node ToNode(uint64_t id, const fuse::Attr& attr) {
    return {.id = id,
            .ino = attr.ino,
            .size = attr.size,
            .mode = attr.mode,
            .uid = attr.uid,
            .gid = attr.gid,
            .nlink = attr.nlink};
  }
  static ErrnoOr<Node> Entry(const FuseReply& reply) {
    if (reply.error != 0) return Errno(reply.error);
    const auto out = reply.As<fuse::EntryOut>();
    // A name that is not there may be said so as a node without a number.
    if (out.nodeid == fuse::NodeId::kNone) return Errno(ENOENT);
    return ToNode(static_cast<uint64_t>(out.nodeid), out.attr);
  }
  ErrnoOr<void> Set(uint64_t node, const fuse::SetattrIn& in) {
    return Done(Call(fuse::Opcode::kSetattr, node, Bytes(in)));
  }

  fuse::Session session_;
  FuseClient client_{session_};
};

}  // namespace

PeerTest::PeerTest(const PeerOptions& options)
    : lisafs::HostileTest(options.server, options.filesystem), session_options_(options.session) {}

std::unique_ptr<Peer> PeerTest::Connect() { return Connect(session_options_); }

std::unique_ptr<Peer> PeerTest::Connect(const fuse::SessionOptions& session) {
  switch (GetParam()) {
    case WayIn::kSocket:
      return std::make_unique<LisafsPeer>(server_, Via::kSocket);
    case WayIn::kChannel:
      return std::make_unique<LisafsPeer>(server_, Via::kChannel);
    case WayIn::kFuse:
      return std::make_unique<FusePeer>(&server_.filesystem(), session);
  }
  return nullptr;
}

uint32_t PeerTest::ModeOfNew(uint32_t mode) const {
  mode &= 07777;
  if (IsFuse()) return mode;
  mode &= ~uint32_t{S_ISUID};
  return (mode & S_IXGRP) != 0 ? mode & ~uint32_t{S_ISGID} : mode;
}

int RaceOperations() {
  const char* const wanted = getenv("GOFER_RACE_OPERATIONS");
#ifdef GOFER_SANITIZER
  int operations = 2'000;
#else
  int operations = 20'000;
#endif
  if (wanted != nullptr) CHECK(absl::SimpleAtoi(wanted, &operations) && operations > 0) << wanted;
  return operations;
}

absl::Time Slowest::Now() { return absl::Now(); }

// The only descriptor of the child; the other end is read to its end.
constexpr int kBegun = 0;

pid_t Mischief::Fork() {
  int begun[2];
  PCHECK(pipe2(begun, O_CLOEXEC) == 0);
  UniqueFd reader(begun[0]);
  UniqueFd writer(begun[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  PCHECK(pid >= 0);
  if (pid != 0) {
    writer.Reset();
    char nothing;
    PCHECK(read(reader.get(), &nothing, 1) == 0);
    return pid;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  (void)reader.Release();
  PCHECK(dup2(writer.Release(), kBegun) == kBegun);
  syscall(SYS_close_range, kBegun + 1, ~0u, 0);
  return 0;
}

void Mischief::Begun() { close(kBegun); }

Mischief::~Mischief() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace gofer::testing
