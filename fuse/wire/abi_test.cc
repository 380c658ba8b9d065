// Our structs against the machine's <linux/fuse.h>, where it has them: it is older than ours.

#include "fuse/wire/abi.h"

#include <linux/fuse.h>

#include "gtest/gtest.h"

namespace gofer::fuse {
namespace {

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(struct theirs))
#define SAME_OFFSET(ours, theirs, field) \
  static_assert(offsetof(ours, field) == offsetof(struct theirs, field))

SAME_SIZE(InHeader, fuse_in_header);
SAME_OFFSET(InHeader, fuse_in_header, total_extlen);
SAME_SIZE(OutHeader, fuse_out_header);
SAME_OFFSET(OutHeader, fuse_out_header, unique);
SAME_SIZE(Attr, fuse_attr);
SAME_OFFSET(Attr, fuse_attr, mode);
SAME_OFFSET(Attr, fuse_attr, rdev);
SAME_OFFSET(Attr, fuse_attr, flags);
SAME_SIZE(EntryOut, fuse_entry_out);
SAME_OFFSET(EntryOut, fuse_entry_out, attr_valid);
SAME_OFFSET(EntryOut, fuse_entry_out, attr);
SAME_SIZE(FileLock, fuse_file_lock);
SAME_OFFSET(FileLock, fuse_file_lock, type);
static_assert(sizeof(InitIn) + sizeof(InitExtIn) == sizeof(struct fuse_init_in));
static_assert(offsetof(struct fuse_init_in, flags2) == sizeof(InitIn));
SAME_SIZE(InitOut, fuse_init_out);
SAME_OFFSET(InitOut, fuse_init_out, max_write);
SAME_OFFSET(InitOut, fuse_init_out, max_pages);
SAME_OFFSET(InitOut, fuse_init_out, flags2);
SAME_SIZE(ForgetIn, fuse_forget_in);
SAME_SIZE(ForgetOne, fuse_forget_one);
SAME_SIZE(BatchForgetIn, fuse_batch_forget_in);
SAME_SIZE(GetattrIn, fuse_getattr_in);
SAME_SIZE(AttrOut, fuse_attr_out);
SAME_OFFSET(AttrOut, fuse_attr_out, attr);
SAME_SIZE(SetattrIn, fuse_setattr_in);
SAME_OFFSET(SetattrIn, fuse_setattr_in, atimensec);
SAME_OFFSET(SetattrIn, fuse_setattr_in, mode);
SAME_OFFSET(SetattrIn, fuse_setattr_in, gid);
SAME_SIZE(AccessIn, fuse_access_in);
SAME_SIZE(KStatfs, fuse_kstatfs);
SAME_OFFSET(KStatfs, fuse_kstatfs, namelen);
SAME_SIZE(MknodIn, fuse_mknod_in);
SAME_OFFSET(MknodIn, fuse_mknod_in, umask);
SAME_SIZE(MkdirIn, fuse_mkdir_in);
SAME_SIZE(RenameIn, fuse_rename_in);
SAME_SIZE(Rename2In, fuse_rename2_in);
SAME_SIZE(LinkIn, fuse_link_in);
SAME_SIZE(OpenIn, fuse_open_in);
SAME_SIZE(CreateIn, fuse_create_in);
SAME_OFFSET(CreateIn, fuse_create_in, open_flags);
SAME_SIZE(OpenOut, fuse_open_out);
SAME_SIZE(ReleaseIn, fuse_release_in);
SAME_OFFSET(ReleaseIn, fuse_release_in, lock_owner);
SAME_SIZE(FlushIn, fuse_flush_in);
SAME_OFFSET(FlushIn, fuse_flush_in, lock_owner);
SAME_SIZE(FsyncIn, fuse_fsync_in);
SAME_SIZE(ReadIn, fuse_read_in);
SAME_OFFSET(ReadIn, fuse_read_in, size);
SAME_SIZE(WriteIn, fuse_write_in);
SAME_OFFSET(WriteIn, fuse_write_in, flags);
SAME_SIZE(WriteOut, fuse_write_out);
SAME_SIZE(FallocateIn, fuse_fallocate_in);
SAME_SIZE(LseekIn, fuse_lseek_in);
SAME_SIZE(LseekOut, fuse_lseek_out);
SAME_SIZE(CopyFileRangeIn, fuse_copy_file_range_in);
SAME_OFFSET(CopyFileRangeIn, fuse_copy_file_range_in, fh_out);
SAME_SIZE(SyncfsIn, fuse_syncfs_in);
SAME_SIZE(Dirent, fuse_dirent);
SAME_OFFSET(Dirent, fuse_dirent, namelen);
SAME_SIZE(Direntplus, fuse_direntplus);
static_assert(sizeof(SetxattrIn) == FUSE_COMPAT_SETXATTR_IN_SIZE);
static_assert(sizeof(SetxattrIn) + sizeof(SetxattrExtIn) == sizeof(struct fuse_setxattr_in));
SAME_SIZE(GetxattrIn, fuse_getxattr_in);
SAME_SIZE(GetxattrOut, fuse_getxattr_out);
SAME_SIZE(LkIn, fuse_lk_in);
SAME_OFFSET(LkIn, fuse_lk_in, lk_flags);
SAME_SIZE(LkOut, fuse_lk_out);
SAME_SIZE(InterruptIn, fuse_interrupt_in);
SAME_SIZE(IoctlIn, fuse_ioctl_in);
SAME_OFFSET(IoctlIn, fuse_ioctl_in, in_size);
SAME_SIZE(IoctlOut, fuse_ioctl_out);
SAME_SIZE(ExtHeader, fuse_ext_header);
SAME_SIZE(SecurityContext, fuse_secctx);

TEST(Abi, OpcodesAreTheKernels) {
  const std::pair<Opcode, uint32_t> kPairs[] = {
      {Opcode::kLookup, FUSE_LOOKUP},
      {Opcode::kForget, FUSE_FORGET},
      {Opcode::kGetattr, FUSE_GETATTR},
      {Opcode::kSetattr, FUSE_SETATTR},
      {Opcode::kReadlink, FUSE_READLINK},
      {Opcode::kSymlink, FUSE_SYMLINK},
      {Opcode::kMknod, FUSE_MKNOD},
      {Opcode::kMkdir, FUSE_MKDIR},
      {Opcode::kUnlink, FUSE_UNLINK},
      {Opcode::kRmdir, FUSE_RMDIR},
      {Opcode::kRename, FUSE_RENAME},
      {Opcode::kLink, FUSE_LINK},
      {Opcode::kOpen, FUSE_OPEN},
      {Opcode::kRead, FUSE_READ},
      {Opcode::kWrite, FUSE_WRITE},
      {Opcode::kStatfs, FUSE_STATFS},
      {Opcode::kRelease, FUSE_RELEASE},
      {Opcode::kFsync, FUSE_FSYNC},
      {Opcode::kSetxattr, FUSE_SETXATTR},
      {Opcode::kGetxattr, FUSE_GETXATTR},
      {Opcode::kListxattr, FUSE_LISTXATTR},
      {Opcode::kRemovexattr, FUSE_REMOVEXATTR},
      {Opcode::kFlush, FUSE_FLUSH},
      {Opcode::kInit, FUSE_INIT},
      {Opcode::kOpendir, FUSE_OPENDIR},
      {Opcode::kReaddir, FUSE_READDIR},
      {Opcode::kReleasedir, FUSE_RELEASEDIR},
      {Opcode::kFsyncdir, FUSE_FSYNCDIR},
      {Opcode::kGetlk, FUSE_GETLK},
      {Opcode::kSetlk, FUSE_SETLK},
      {Opcode::kSetlkw, FUSE_SETLKW},
      {Opcode::kAccess, FUSE_ACCESS},
      {Opcode::kCreate, FUSE_CREATE},
      {Opcode::kInterrupt, FUSE_INTERRUPT},
      {Opcode::kBmap, FUSE_BMAP},
      {Opcode::kDestroy, FUSE_DESTROY},
      {Opcode::kIoctl, FUSE_IOCTL},
      {Opcode::kPoll, FUSE_POLL},
      {Opcode::kNotifyReply, FUSE_NOTIFY_REPLY},
      {Opcode::kBatchForget, FUSE_BATCH_FORGET},
      {Opcode::kFallocate, FUSE_FALLOCATE},
      {Opcode::kReaddirplus, FUSE_READDIRPLUS},
      {Opcode::kRename2, FUSE_RENAME2},
      {Opcode::kLseek, FUSE_LSEEK},
      {Opcode::kCopyFileRange, FUSE_COPY_FILE_RANGE},
      {Opcode::kSetupmapping, FUSE_SETUPMAPPING},
      {Opcode::kRemovemapping, FUSE_REMOVEMAPPING},
      {Opcode::kSyncfs, FUSE_SYNCFS},
      {Opcode::kTmpfile, FUSE_TMPFILE},
  };
  for (const auto& [ours, theirs] : kPairs) {
    EXPECT_EQ(static_cast<uint32_t>(ours), theirs) << OpcodeName(ours);
    EXPECT_LT(static_cast<size_t>(ours), kNumOpcodes);
    EXPECT_NE(OpcodeName(ours), "?");
  }
  EXPECT_EQ(OpcodeName(Opcode{7}), "?");
  EXPECT_EQ(OpcodeName(Opcode{kNumOpcodes}), "?");
}

TEST(Abi, FlagsAreTheKernels) {
  const std::pair<uint64_t, uint64_t> kPairs[] = {
      {init::kAsyncRead, FUSE_ASYNC_READ},
      {init::kPosixLocks, FUSE_POSIX_LOCKS},
      {init::kAtomicOTrunc, FUSE_ATOMIC_O_TRUNC},
      {init::kBigWrites, FUSE_BIG_WRITES},
      {init::kDontMask, FUSE_DONT_MASK},
      {init::kFlockLocks, FUSE_FLOCK_LOCKS},
      {init::kHasIoctlDir, FUSE_HAS_IOCTL_DIR},
      {init::kAutoInvalData, FUSE_AUTO_INVAL_DATA},
      {init::kDoReaddirplus, FUSE_DO_READDIRPLUS},
      {init::kReaddirplusAuto, FUSE_READDIRPLUS_AUTO},
      {init::kAsyncDio, FUSE_ASYNC_DIO},
      {init::kWritebackCache, FUSE_WRITEBACK_CACHE},
      {init::kNoOpenSupport, FUSE_NO_OPEN_SUPPORT},
      {init::kParallelDirops, FUSE_PARALLEL_DIROPS},
      {init::kHandleKillpriv, FUSE_HANDLE_KILLPRIV},
      {init::kPosixAcl, FUSE_POSIX_ACL},
      {init::kMaxPages, FUSE_MAX_PAGES},
      {init::kCacheSymlinks, FUSE_CACHE_SYMLINKS},
      {init::kNoOpendirSupport, FUSE_NO_OPENDIR_SUPPORT},
      {init::kSubmounts, FUSE_SUBMOUNTS},
      {init::kHandleKillprivV2, FUSE_HANDLE_KILLPRIV_V2},
      {init::kSetxattrExt, FUSE_SETXATTR_EXT},
      {init::kExt, FUSE_INIT_EXT},
      {init::kSecurityCtx, FUSE_SECURITY_CTX},
      {init::kHasInodeDax, FUSE_HAS_INODE_DAX},
      {fopen::kDirectIo, FOPEN_DIRECT_IO},
      {fopen::kKeepCache, FOPEN_KEEP_CACHE},
      {fopen::kCacheDir, FOPEN_CACHE_DIR},
      {fopen::kStream, FOPEN_STREAM},
      {fopen::kNoflush, FOPEN_NOFLUSH},
      {fopen::kParallelDirectWrites, FOPEN_PARALLEL_DIRECT_WRITES},
      {setattr::kMode, FATTR_MODE},
      {setattr::kUid, FATTR_UID},
      {setattr::kGid, FATTR_GID},
      {setattr::kSize, FATTR_SIZE},
      {setattr::kAtime, FATTR_ATIME},
      {setattr::kMtime, FATTR_MTIME},
      {setattr::kFh, FATTR_FH},
      {setattr::kAtimeNow, FATTR_ATIME_NOW},
      {setattr::kMtimeNow, FATTR_MTIME_NOW},
      {setattr::kLockOwner, FATTR_LOCKOWNER},
      {setattr::kCtime, FATTR_CTIME},
      {setattr::kKillSuidgid, FATTR_KILL_SUIDGID},
      {kGetattrFh, FUSE_GETATTR_FH},
      {kReleaseFlush, FUSE_RELEASE_FLUSH},
      {kReleaseFlockUnlock, FUSE_RELEASE_FLOCK_UNLOCK},
      {kWriteCache, FUSE_WRITE_CACHE},
      {kWriteLockowner, FUSE_WRITE_LOCKOWNER},
      {kWriteKillSuidgid, FUSE_WRITE_KILL_SUIDGID},
      {kFsyncFdatasync, FUSE_FSYNC_FDATASYNC},
      {kLkFlock, FUSE_LK_FLOCK},
      {kOpenKillSuidgid, FUSE_OPEN_KILL_SUIDGID},
      {kSetxattrAclKillSgid, FUSE_SETXATTR_ACL_KILL_SGID},
      {kAttrSubmount, FUSE_ATTR_SUBMOUNT},
      {kIoctlCompat, FUSE_IOCTL_COMPAT},
      {kIoctlUnrestricted, FUSE_IOCTL_UNRESTRICTED},
      {kIoctlDir, FUSE_IOCTL_DIR},
      {kMaxSecurityContexts, FUSE_MAX_NR_SECCTX},
      {static_cast<uint64_t>(NodeId::kRoot), FUSE_ROOT_ID},
      {kMajor, FUSE_KERNEL_VERSION},
  };
  for (const auto& [ours, theirs] : kPairs) EXPECT_EQ(ours, theirs);
}

}  // namespace
}  // namespace gofer::fuse
