// The fixed parts of FUSE messages as they stand on the wire: little-endian, padding explicit and
// zero. Fields keep the names of <linux/fuse.h>; a struct fuse_x_in is XIn here.
//
// Peer numbers are copied into these by ByteReader and never pointed at. Names, values and
// extensions follow the fixed part without alignment: requests.h. Defined here and not taken from
// <linux/fuse.h>, since the machine's header is older than the clients; abi_test holds both against
// each other where the header has them.
//
// Units:  sizes in bytes, blocks of 512 bytes, times in seconds and nanoseconds since the epoch.
// Source: linux/fuse.h 7.41; spec/fuse.md s.1 to s.4.

#ifndef FUSE_WIRE_ABI_H_
#define FUSE_WIRE_ABI_H_

#include <cstddef>
#include <cstdint>

#include "fuse/wire/opcode.h"
#include "gofer/base/byte_reader.h"

namespace gofer::fuse {

inline constexpr uint32_t kMajor = 7;
inline constexpr uint32_t kMinor = 41;
// Older clients are refused: their structs have other sizes.
inline constexpr uint32_t kOldestMinor = 27;

// Names an inode on one connection. Given out once, never again for another file.
enum class NodeId : uint64_t { kNone = 0, kRoot = 1 };
// Names an open file on one connection. Zero is what a client sends that never opened one.
enum class HandleId : uint64_t { kNone = 0 };

// ---- headers

struct InHeader {
  uint32_t len;
  Opcode opcode;
  uint64_t unique;
  NodeId nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint16_t total_extlen;  // in units of 8 bytes
  uint16_t padding;
};
static_assert(WireStruct<InHeader> && sizeof(InHeader) == 40);
static_assert(offsetof(InHeader, unique) == 8 && offsetof(InHeader, total_extlen) == 36);

struct OutHeader {
  uint32_t len;
  int32_t error;
  uint64_t unique;
};
static_assert(WireStruct<OutHeader> && sizeof(OutHeader) == 16);

// What a client that maps ids puts into InHeader::uid and gid of a request that makes nothing.
inline constexpr uint32_t kNoClientId = 0xffffffff;

// ---- parts of several messages

struct Attr {
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint32_t blksize;
  uint32_t flags;
};
static_assert(WireStruct<Attr> && sizeof(Attr) == 88);
static_assert(offsetof(Attr, mode) == 60 && offsetof(Attr, flags) == 84);
// Attr::flags
inline constexpr uint32_t kAttrSubmount = 1 << 0;
inline constexpr uint32_t kAttrDax = 1 << 1;

struct EntryOut {
  NodeId nodeid;
  uint64_t generation;
  uint64_t entry_valid;
  uint64_t attr_valid;
  uint32_t entry_valid_nsec;
  uint32_t attr_valid_nsec;
  Attr attr;
};
static_assert(WireStruct<EntryOut> && sizeof(EntryOut) == 128 && offsetof(EntryOut, attr) == 40);

struct FileLock {
  uint64_t start;
  uint64_t end;  // the last byte; kLockToEnd: whatever comes
  uint32_t type;
  uint32_t pid;
};
static_assert(WireStruct<FileLock> && sizeof(FileLock) == 24);
inline constexpr uint64_t kLockToEnd = INT64_MAX;

// ---- INIT

struct InitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
};
static_assert(WireStruct<InitIn> && sizeof(InitIn) == 16);

// Follows InitIn when it has init::kExt.
struct InitExtIn {
  uint32_t flags2;
  uint32_t unused[11];
};
static_assert(WireStruct<InitExtIn> && sizeof(InitIn) + sizeof(InitExtIn) == 64);

struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint32_t unused[6];
};
static_assert(WireStruct<InitOut> && sizeof(InitOut) == 64 && offsetof(InitOut, flags2) == 32);

// InitIn::flags, and from bit 32 on InitExtIn::flags2.
namespace init {
inline constexpr uint64_t kAsyncRead = 1ull << 0;
inline constexpr uint64_t kPosixLocks = 1ull << 1;
inline constexpr uint64_t kFileOps = 1ull << 2;
inline constexpr uint64_t kAtomicOTrunc = 1ull << 3;
inline constexpr uint64_t kExportSupport = 1ull << 4;
inline constexpr uint64_t kBigWrites = 1ull << 5;
inline constexpr uint64_t kDontMask = 1ull << 6;
inline constexpr uint64_t kFlockLocks = 1ull << 10;
inline constexpr uint64_t kHasIoctlDir = 1ull << 11;
inline constexpr uint64_t kAutoInvalData = 1ull << 12;
inline constexpr uint64_t kDoReaddirplus = 1ull << 13;
inline constexpr uint64_t kReaddirplusAuto = 1ull << 14;
inline constexpr uint64_t kAsyncDio = 1ull << 15;
inline constexpr uint64_t kWritebackCache = 1ull << 16;
inline constexpr uint64_t kNoOpenSupport = 1ull << 17;
inline constexpr uint64_t kParallelDirops = 1ull << 18;
inline constexpr uint64_t kHandleKillpriv = 1ull << 19;
inline constexpr uint64_t kPosixAcl = 1ull << 20;
inline constexpr uint64_t kAbortError = 1ull << 21;
inline constexpr uint64_t kMaxPages = 1ull << 22;
inline constexpr uint64_t kCacheSymlinks = 1ull << 23;
inline constexpr uint64_t kNoOpendirSupport = 1ull << 24;
inline constexpr uint64_t kExplicitInvalData = 1ull << 25;
inline constexpr uint64_t kMapAlignment = 1ull << 26;
inline constexpr uint64_t kSubmounts = 1ull << 27;
inline constexpr uint64_t kHandleKillprivV2 = 1ull << 28;
inline constexpr uint64_t kSetxattrExt = 1ull << 29;
inline constexpr uint64_t kExt = 1ull << 30;
inline constexpr uint64_t kSecurityCtx = 1ull << 32;
inline constexpr uint64_t kHasInodeDax = 1ull << 33;
inline constexpr uint64_t kCreateSuppGroup = 1ull << 34;
inline constexpr uint64_t kHasExpireOnly = 1ull << 35;
inline constexpr uint64_t kDirectIoAllowMmap = 1ull << 36;
inline constexpr uint64_t kPassthrough = 1ull << 37;
inline constexpr uint64_t kNoExportSupport = 1ull << 38;
inline constexpr uint64_t kHasResend = 1ull << 39;
inline constexpr uint64_t kAllowIdmap = 1ull << 40;
}  // namespace init

// ---- nodes

struct ForgetIn {
  uint64_t nlookup;
};
static_assert(WireStruct<ForgetIn> && sizeof(ForgetIn) == 8);

struct ForgetOne {
  NodeId nodeid;
  uint64_t nlookup;
};
static_assert(WireStruct<ForgetOne> && sizeof(ForgetOne) == 16);

struct BatchForgetIn {
  uint32_t count;
  uint32_t dummy;
};
static_assert(WireStruct<BatchForgetIn> && sizeof(BatchForgetIn) == 8);

// ---- attributes

struct GetattrIn {
  uint32_t getattr_flags;
  uint32_t dummy;
  HandleId fh;
};
static_assert(WireStruct<GetattrIn> && sizeof(GetattrIn) == 16);
// GetattrIn::getattr_flags and StatxIn::getattr_flags
inline constexpr uint32_t kGetattrFh = 1 << 0;

struct AttrOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t dummy;
  Attr attr;
};
static_assert(WireStruct<AttrOut> && sizeof(AttrOut) == 104);

struct SetattrIn {
  uint32_t valid;
  uint32_t padding;
  HandleId fh;
  uint64_t size;
  uint64_t lock_owner;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t unused4;
  uint32_t uid;
  uint32_t gid;
  uint32_t unused5;
};
static_assert(WireStruct<SetattrIn> && sizeof(SetattrIn) == 88 && offsetof(SetattrIn, uid) == 76);
// SetattrIn::valid
namespace setattr {
inline constexpr uint32_t kMode = 1 << 0;
inline constexpr uint32_t kUid = 1 << 1;
inline constexpr uint32_t kGid = 1 << 2;
inline constexpr uint32_t kSize = 1 << 3;
inline constexpr uint32_t kAtime = 1 << 4;
inline constexpr uint32_t kMtime = 1 << 5;
inline constexpr uint32_t kFh = 1 << 6;
inline constexpr uint32_t kAtimeNow = 1 << 7;
inline constexpr uint32_t kMtimeNow = 1 << 8;
inline constexpr uint32_t kLockOwner = 1 << 9;
inline constexpr uint32_t kCtime = 1 << 10;
inline constexpr uint32_t kKillSuidgid = 1 << 11;
}  // namespace setattr

struct SxTime {
  int64_t tv_sec;
  uint32_t tv_nsec;
  int32_t reserved;
};
static_assert(WireStruct<SxTime> && sizeof(SxTime) == 16);

// The bytes of the kernel's struct statx.
struct Statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0;
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  SxTime atime;
  SxTime btime;
  SxTime ctime;
  SxTime mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t spare2[14];
};
static_assert(WireStruct<Statx> && sizeof(Statx) == 256);
static_assert(offsetof(Statx, mode) == 28 && offsetof(Statx, atime) == 64);
static_assert(offsetof(Statx, rdev_major) == 128);

struct StatxIn {
  uint32_t getattr_flags;
  uint32_t reserved;
  HandleId fh;
  uint32_t sx_flags;
  uint32_t sx_mask;
};
static_assert(WireStruct<StatxIn> && sizeof(StatxIn) == 24);

struct StatxOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  Statx stat;
};
static_assert(WireStruct<StatxOut> && sizeof(StatxOut) == 288);

struct AccessIn {
  uint32_t mask;
  uint32_t padding;
};
static_assert(WireStruct<AccessIn> && sizeof(AccessIn) == 8);

struct KStatfs {
  uint64_t blocks;
  uint64_t bfree;
  uint64_t bavail;
  uint64_t files;
  uint64_t ffree;
  uint32_t bsize;
  uint32_t namelen;
  uint32_t frsize;
  uint32_t padding;
  uint32_t spare[6];
};
static_assert(WireStruct<KStatfs> && sizeof(KStatfs) == 80);

// ---- names

struct MknodIn {
  uint32_t mode;
  uint32_t rdev;
  uint32_t umask;
  uint32_t padding;
};
static_assert(WireStruct<MknodIn> && sizeof(MknodIn) == 16);

struct MkdirIn {
  uint32_t mode;
  uint32_t umask;
};
static_assert(WireStruct<MkdirIn> && sizeof(MkdirIn) == 8);

struct RenameIn {
  NodeId newdir;
};
static_assert(WireStruct<RenameIn> && sizeof(RenameIn) == 8);

struct Rename2In {
  NodeId newdir;
  uint32_t flags;
  uint32_t padding;
};
static_assert(WireStruct<Rename2In> && sizeof(Rename2In) == 16);

// The header's node is the new parent.
struct LinkIn {
  NodeId oldnodeid;
};
static_assert(WireStruct<LinkIn> && sizeof(LinkIn) == 8);

// ---- open files

struct OpenIn {
  uint32_t flags;
  uint32_t open_flags;
};
static_assert(WireStruct<OpenIn> && sizeof(OpenIn) == 8);
// OpenIn::open_flags and CreateIn::open_flags
inline constexpr uint32_t kOpenKillSuidgid = 1 << 0;

struct CreateIn {
  uint32_t flags;
  uint32_t mode;
  uint32_t umask;
  uint32_t open_flags;
};
static_assert(WireStruct<CreateIn> && sizeof(CreateIn) == 16);

struct OpenOut {
  HandleId fh;
  uint32_t open_flags;
  int32_t backing_id;
};
static_assert(WireStruct<OpenOut> && sizeof(OpenOut) == 16);
// OpenOut::open_flags
namespace fopen {
inline constexpr uint32_t kDirectIo = 1 << 0;
inline constexpr uint32_t kKeepCache = 1 << 1;
inline constexpr uint32_t kNonseekable = 1 << 2;
inline constexpr uint32_t kCacheDir = 1 << 3;
inline constexpr uint32_t kStream = 1 << 4;
inline constexpr uint32_t kNoflush = 1 << 5;
inline constexpr uint32_t kParallelDirectWrites = 1 << 6;
}  // namespace fopen

struct CreateOut {
  EntryOut entry;
  OpenOut open;
};
static_assert(WireStruct<CreateOut> && sizeof(CreateOut) == 144);

struct ReleaseIn {
  HandleId fh;
  uint32_t flags;
  uint32_t release_flags;
  uint64_t lock_owner;
};
static_assert(WireStruct<ReleaseIn> && sizeof(ReleaseIn) == 24);
// ReleaseIn::release_flags
inline constexpr uint32_t kReleaseFlush = 1 << 0;
inline constexpr uint32_t kReleaseFlockUnlock = 1 << 1;

struct FlushIn {
  HandleId fh;
  uint32_t unused;
  uint32_t padding;
  uint64_t lock_owner;
};
static_assert(WireStruct<FlushIn> && sizeof(FlushIn) == 24);

struct FsyncIn {
  HandleId fh;
  uint32_t fsync_flags;
  uint32_t padding;
};
static_assert(WireStruct<FsyncIn> && sizeof(FsyncIn) == 16);
// FsyncIn::fsync_flags
inline constexpr uint32_t kFsyncFdatasync = 1 << 0;

// READ, READDIR and READDIRPLUS.
struct ReadIn {
  HandleId fh;
  uint64_t offset;
  uint32_t size;
  uint32_t read_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(WireStruct<ReadIn> && sizeof(ReadIn) == 40);

struct WriteIn {
  HandleId fh;
  uint64_t offset;
  uint32_t size;
  uint32_t write_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(WireStruct<WriteIn> && sizeof(WriteIn) == 40);
// WriteIn::write_flags
inline constexpr uint32_t kWriteCache = 1 << 0;
inline constexpr uint32_t kWriteLockowner = 1 << 1;
inline constexpr uint32_t kWriteKillSuidgid = 1 << 2;

// WRITE and COPY_FILE_RANGE.
struct WriteOut {
  uint32_t size;
  uint32_t padding;
};
static_assert(WireStruct<WriteOut> && sizeof(WriteOut) == 8);

struct FallocateIn {
  HandleId fh;
  uint64_t offset;
  uint64_t length;
  uint32_t mode;
  uint32_t padding;
};
static_assert(WireStruct<FallocateIn> && sizeof(FallocateIn) == 32);

struct LseekIn {
  HandleId fh;
  uint64_t offset;
  uint32_t whence;
  uint32_t padding;
};
static_assert(WireStruct<LseekIn> && sizeof(LseekIn) == 24);

struct LseekOut {
  uint64_t offset;
};
static_assert(WireStruct<LseekOut> && sizeof(LseekOut) == 8);

struct CopyFileRangeIn {
  HandleId fh_in;
  uint64_t off_in;
  NodeId nodeid_out;
  HandleId fh_out;
  uint64_t off_out;
  uint64_t len;
  uint64_t flags;
};
static_assert(WireStruct<CopyFileRangeIn> && sizeof(CopyFileRangeIn) == 56);

struct SyncfsIn {
  uint64_t padding;
};
static_assert(WireStruct<SyncfsIn> && sizeof(SyncfsIn) == 8);

// ---- directories. A record is this, the name without NUL, and zeroes up to the next 8 bytes.

struct Dirent {
  uint64_t ino;
  uint64_t off;  // what to ask for to get the next one
  uint32_t namelen;
  uint32_t type;  // DT_*
};
static_assert(WireStruct<Dirent> && sizeof(Dirent) == 24);

struct Direntplus {
  EntryOut entry_out;
  Dirent dirent;
};
static_assert(WireStruct<Direntplus> && sizeof(Direntplus) == 152);

// ---- extended attributes

struct SetxattrIn {
  uint32_t size;
  uint32_t flags;
};
static_assert(WireStruct<SetxattrIn> && sizeof(SetxattrIn) == 8);

// Follows SetxattrIn when init::kSetxattrExt was granted.
struct SetxattrExtIn {
  uint32_t setxattr_flags;
  uint32_t padding;
};
static_assert(WireStruct<SetxattrExtIn> && sizeof(SetxattrExtIn) == 8);
// SetxattrExtIn::setxattr_flags
inline constexpr uint32_t kSetxattrAclKillSgid = 1 << 0;

// GETXATTR and LISTXATTR.
struct GetxattrIn {
  uint32_t size;  // zero asks for the size alone
  uint32_t padding;
};
static_assert(WireStruct<GetxattrIn> && sizeof(GetxattrIn) == 8);

struct GetxattrOut {
  uint32_t size;
  uint32_t padding;
};
static_assert(WireStruct<GetxattrOut> && sizeof(GetxattrOut) == 8);

// ---- locks, interruption

struct LkIn {
  HandleId fh;
  uint64_t owner;
  FileLock lk;
  uint32_t lk_flags;
  uint32_t padding;
};
static_assert(WireStruct<LkIn> && sizeof(LkIn) == 48);
// LkIn::lk_flags
inline constexpr uint32_t kLkFlock = 1 << 0;

struct LkOut {
  FileLock lk;
};
static_assert(WireStruct<LkOut> && sizeof(LkOut) == 24);

struct InterruptIn {
  uint64_t unique;
};
static_assert(WireStruct<InterruptIn> && sizeof(InterruptIn) == 8);

// ---- ioctl

struct IoctlIn {
  HandleId fh;
  uint32_t flags;
  uint32_t cmd;
  uint64_t arg;
  uint32_t in_size;
  uint32_t out_size;
};
static_assert(WireStruct<IoctlIn> && sizeof(IoctlIn) == 32);
// IoctlIn::flags
inline constexpr uint32_t kIoctlCompat = 1 << 0;
inline constexpr uint32_t kIoctlUnrestricted = 1 << 1;
inline constexpr uint32_t kIoctlDir = 1 << 4;

struct IoctlOut {
  int32_t result;
  uint32_t flags;
  uint32_t in_iovs;
  uint32_t out_iovs;
};
static_assert(WireStruct<IoctlOut> && sizeof(IoctlOut) == 16);

// ---- extensions of creating requests: after the last name, unaligned

// A group of extensions begins with its own size, this header included.
struct ExtHeader {
  uint32_t size;
  uint32_t type;  // up to kMaxSecurityContexts: that many contexts
};
static_assert(WireStruct<ExtHeader> && sizeof(ExtHeader) == 8);
inline constexpr uint32_t kMaxSecurityContexts = 31;
inline constexpr uint32_t kExtGroups = 32;

// Followed by its name with a NUL, and `size` bytes of value.
struct SecurityContext {
  uint32_t size;
  uint32_t padding;
};
static_assert(WireStruct<SecurityContext> && sizeof(SecurityContext) == 8);

// ---- limits

// The data of one READ or WRITE.
inline constexpr uint32_t kMaxData = 1 << 20;
inline constexpr uint32_t kMaxPages = kMaxData / 4096;
// A message: data, and room for the headers before it.
inline constexpr uint32_t kMaxMessage = kMaxData + 4096;

}  // namespace gofer::fuse

#endif  // FUSE_WIRE_ABI_H_
