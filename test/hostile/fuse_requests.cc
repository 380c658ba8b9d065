#include "test/hostile/fuse_requests.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "test/support/results.h"

namespace gofer::vhost {

using fuse::HandleId;
using fuse::NodeId;
using fuse::Opcode;
using testing::Must;

Files SetUpFiles(driver::FuseClient& client) {
  Files files;
  files.dir = Must(client.Mkdir(NodeId::kRoot, "dir", 0755)).nodeid;
  const auto made = Must(client.Create(files.dir, "file", O_RDWR, 0644));
  files.file = made.entry.nodeid;
  files.file_handle = made.open.fh;
  Must(client.Write(files.file, files.file_handle, 0, "some text in a file"));
  Must(client.Setxattr(files.file, "user.a", "value", 0));
  files.link = Must(client.Symlink(files.dir, "link", "file")).nodeid;
  files.dir_handle = Must(client.Opendir(files.dir)).fh;
  return files;
}

std::vector<OddRequest> EveryRequest(const Files& files) {
  std::vector<OddRequest> all;
  const auto add = [&](Opcode opcode, NodeId node, std::string arguments, size_t result,
                       size_t handle_at = std::string::npos) -> OddRequest& {
    const size_t least = arguments.size();
    all.push_back({opcode, node, std::move(arguments), least, result, handle_at});
    return all.back();
  };
  constexpr size_t kEntry = sizeof(fuse::EntryOut);
  const fuse::LkIn lock = {.fh = files.file_handle,
                           .owner = 9,
                           .lk = {.start = 0, .end = 10, .type = F_RDLCK, .pid = 0},
                           .lk_flags = 0,
                           .padding = 0};
  const fuse::ReadIn list = {.fh = files.dir_handle,
                             .offset = 0,
                             .size = 4096,
                             .read_flags = 0,
                             .lock_owner = 0,
                             .flags = 0,
                             .padding = 0};
  fuse::ReadIn read = list;
  read.fh = files.file_handle;
  const fuse::ReleaseIn release = {
      .fh = files.file_handle, .flags = 0, .release_flags = 0, .lock_owner = 0};

  add(Opcode::kLookup, files.dir, Named("file"), kEntry);
  add(Opcode::kForget, files.dir, Bytes(fuse::ForgetIn{.nlookup = 0}), 0).has_reply = false;
  add(Opcode::kGetattr, files.file, Bytes(fuse::GetattrIn{}), sizeof(fuse::AttrOut));
  add(Opcode::kSetattr, files.file, Bytes(fuse::SetattrIn{}), sizeof(fuse::AttrOut));
  add(Opcode::kReadlink, files.link, "", 4);
  add(Opcode::kSymlink, files.dir, Named("symlink") + Named("target"), kEntry);
  add(Opcode::kMknod, files.dir,
      Bytes(fuse::MknodIn{.mode = S_IFIFO | 0644, .rdev = 0, .umask = 0, .padding = 0},
            Named("node")),
      kEntry);
  add(Opcode::kMkdir, files.dir, Bytes(fuse::MkdirIn{.mode = 0755, .umask = 0}, Named("sub")),
      kEntry);
  add(Opcode::kUnlink, files.dir, Named("unlinked"), 0);
  add(Opcode::kRmdir, files.dir, Named("removed"), 0);
  add(Opcode::kRename, files.dir,
      Bytes(fuse::RenameIn{.newdir = files.dir}, Named("old"), Named("new")), 0);
  add(Opcode::kRename2, files.dir,
      Bytes(fuse::Rename2In{.newdir = files.dir, .flags = RENAME_NOREPLACE, .padding = 0},
            Named("old"), Named("new")),
      0);
  add(Opcode::kLink, files.dir, Bytes(fuse::LinkIn{.oldnodeid = files.file}, Named("hard")),
      kEntry);
  add(Opcode::kOpen, files.file, Bytes(fuse::OpenIn{.flags = O_RDONLY, .open_flags = 0}),
      sizeof(fuse::OpenOut));
  add(Opcode::kRead, files.file, Bytes(read), 0, 0);
  add(Opcode::kWrite, files.file,
      Bytes(fuse::WriteIn{.fh = files.file_handle,
                          .offset = 0,
                          .size = 4,
                          .write_flags = 0,
                          .lock_owner = 0,
                          .flags = 0,
                          .padding = 0},
            "data"),
      sizeof(fuse::WriteOut), 0);
  add(Opcode::kStatfs, files.dir, "", sizeof(fuse::KStatfs));
  add(Opcode::kFsync, files.file,
      Bytes(fuse::FsyncIn{.fh = files.file_handle, .fsync_flags = 0, .padding = 0}), 0, 0);
  add(Opcode::kSetxattr, files.file,
      Bytes(fuse::SetxattrIn{.size = 3, .flags = 0}, Named("user.b"), "abc"), 0);
  add(Opcode::kGetxattr, files.file,
      Bytes(fuse::GetxattrIn{.size = 100, .padding = 0}, Named("user.a")), 5);
  add(Opcode::kListxattr, files.file, Bytes(fuse::GetxattrIn{.size = 100, .padding = 0}), 7);
  add(Opcode::kRemovexattr, files.file, Named("user.c"), 0);
  add(Opcode::kFlush, files.file,
      Bytes(fuse::FlushIn{.fh = files.file_handle, .unused = 0, .padding = 0, .lock_owner = 0}), 0,
      0);
  add(Opcode::kOpendir, files.dir, Bytes(fuse::OpenIn{.flags = 0, .open_flags = 0}),
      sizeof(fuse::OpenOut));
  add(Opcode::kReaddir, files.dir, Bytes(list), 0, 0);
  add(Opcode::kReaddirplus, files.dir, Bytes(list), 0, 0);
  add(Opcode::kFsyncdir, files.dir,
      Bytes(fuse::FsyncIn{.fh = files.dir_handle, .fsync_flags = 0, .padding = 0}), 0, 0);
  add(Opcode::kGetlk, files.file, Bytes(lock), sizeof(fuse::LkOut), 0);
  add(Opcode::kSetlk, files.file, Bytes(lock), 0, 0);
  add(Opcode::kSetlkw, files.file, Bytes(lock), 0, 0);
  add(Opcode::kAccess, files.file, Bytes(fuse::AccessIn{.mask = R_OK, .padding = 0}), 0);
  const fuse::CreateIn create = {
      .flags = O_RDWR, .mode = S_IFREG | 0644, .umask = 0, .open_flags = 0};
  add(Opcode::kCreate, files.dir, Bytes(create, Named("created")), sizeof(fuse::CreateOut));
  add(Opcode::kTmpfile, files.dir, Bytes(create, Named("/")), sizeof(fuse::CreateOut));
  add(Opcode::kInterrupt, files.dir, Bytes(fuse::InterruptIn{.unique = 2}), 0).has_reply = false;
  add(Opcode::kBatchForget, NodeId::kNone,
      Bytes(fuse::BatchForgetIn{.count = 1, .dummy = 0},
            fuse::ForgetOne{.nodeid = files.dir, .nlookup = 0}),
      0)
      .has_reply = false;
  add(Opcode::kFallocate, files.file,
      Bytes(fuse::FallocateIn{
          .fh = files.file_handle, .offset = 0, .length = 100, .mode = 0, .padding = 0}),
      0, 0);
  add(Opcode::kLseek, files.file,
      Bytes(fuse::LseekIn{.fh = files.file_handle, .offset = 0, .whence = SEEK_DATA, .padding = 0}),
      sizeof(fuse::LseekOut), 0);
  add(Opcode::kCopyFileRange, files.file,
      Bytes(fuse::CopyFileRangeIn{.fh_in = files.file_handle,
                                  .off_in = 0,
                                  .nodeid_out = files.file,
                                  .fh_out = files.file_handle,
                                  .off_out = 100,
                                  .len = 4,
                                  .flags = 0}),
      sizeof(fuse::WriteOut), 0);
  add(Opcode::kSyncfs, files.dir, Bytes(fuse::SyncfsIn{}), 0).least = 0;  // nothing but padding
  add(Opcode::kStatx, files.file,
      Bytes(fuse::StatxIn{.getattr_flags = 0,
                          .reserved = 0,
                          .fh = HandleId::kNone,
                          .sx_flags = 0,
                          .sx_mask = STATX_BASIC_STATS}),
      sizeof(fuse::StatxOut));
  add(Opcode::kIoctl, files.file,
      Bytes(fuse::IoctlIn{.fh = files.file_handle,
                          .flags = 0,
                          .cmd = static_cast<uint32_t>(FS_IOC_GETFLAGS),
                          .arg = 0,
                          .in_size = 0,
                          .out_size = 8}),
      0, 0);
  // Last: they end what others need.
  add(Opcode::kRelease, files.file, Bytes(release), 0, 0);
  fuse::ReleaseIn release_dir = release;
  release_dir.fh = files.dir_handle;
  add(Opcode::kReleasedir, files.dir, Bytes(release_dir), 0, 0);
  return all;
}

}  // namespace gofer::vhost
