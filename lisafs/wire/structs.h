// The fixed parts of LISAFS messages as they stand on the wire: packed, little-endian, padding
// explicit and zero. Fields keep the names of the reference.
//
// Peer numbers are copied into these by ByteReader and never pointed at. Variable parts (strings,
// arrays) follow the fixed part without alignment; requests.h and responses.h put both together.
//
// Units:  sizes in bytes, blocks of 512 bytes, times in seconds and nanoseconds since the epoch.
// Source: spec/lisafs.md s.2.2, s.2.5, s.3 and s.5; offsets are checked against
// spec/lisafs-golden.json.

#ifndef LISAFS_WIRE_STRUCTS_H_
#define LISAFS_WIRE_STRUCTS_H_

#include <cstddef>
#include <cstdint>

#include "gofer/base/byte_reader.h"
#include "lisafs/wire/message_id.h"

namespace lisafs {

// Names something on one connection: a counter from 1, never reused, never a pointer. 0 is never
// valid.
enum class FdId : uint64_t { kInvalid = 0 };

// "None" as an owner in creations, "leave unchanged" in SetStat.
inline constexpr uint32_t kNoId = 0xffffffff;

// The largest payload that either side may send, announced by Mount: 2 MiB less one page.
inline constexpr uint32_t kMaxMessageSize = 0x1ff000;
// One window of a channel: packet header, channel header and the largest payload, up to a whole
// page.
inline constexpr size_t kWindowSize = 0x200000;
inline constexpr size_t kMaxChannels = 4;

// ---- transport headers

struct SocketHeader {
  uint32_t payload_len;
  MessageId message;
  uint16_t pad;
};
static_assert(gofer::WireStruct<SocketHeader> && sizeof(SocketHeader) == 8);

struct PacketHeader {
  uint32_t connection_state;
  uint32_t data_len;
  uint64_t reserved;
};
static_assert(gofer::WireStruct<PacketHeader> && sizeof(PacketHeader) == 16);

struct ChannelHeader {
  MessageId message;
  uint8_t num_fds;
  uint8_t pad;
};
static_assert(gofer::WireStruct<ChannelHeader> && sizeof(ChannelHeader) == 4);

// ---- parts of several messages

struct StatxTimestamp {
  int64_t sec;
  uint32_t nsec;
  int32_t pad;
};
static_assert(gofer::WireStruct<StatxTimestamp> && sizeof(StatxTimestamp) == 16);

// struct statx of the kernel, up to and including the device.
struct Statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t pad;
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  StatxTimestamp atime;
  StatxTimestamp btime;
  StatxTimestamp ctime;
  StatxTimestamp mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
};
static_assert(gofer::WireStruct<Statx> && sizeof(Statx) == 144);
static_assert(offsetof(Statx, mode) == 28 && offsetof(Statx, ino) == 32);
static_assert(offsetof(Statx, atime) == 64 && offsetof(Statx, rdev_major) == 128);

// A new ControlFd that the client now owns, and its attributes at that moment.
struct Inode {
  FdId control_fd;
  Statx stat;
};
static_assert(gofer::WireStruct<Inode> && sizeof(Inode) == 152);

struct Timespec {
  int64_t sec;
  int64_t nsec;
};
static_assert(gofer::WireStruct<Timespec> && sizeof(Timespec) == 16);

// How OpenCreateAt, MkdirAt, MknodAt and BindAt begin.
struct CreateCommon {
  FdId dir_fd;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t pad0;
  uint32_t pad1;
};
static_assert(gofer::WireStruct<CreateCommon> && sizeof(CreateCommon) == 24);

struct StatFS {
  uint64_t type;
  int64_t block_size;
  uint64_t blocks;
  uint64_t blocks_free;
  uint64_t blocks_available;
  uint64_t files;
  uint64_t files_free;
  uint64_t name_length;
};
static_assert(gofer::WireStruct<StatFS> && sizeof(StatFS) == 64);

// ---- requests

// FStat, FStatFS, ReadLinkAt, Flush and Accept are one id.
struct StatReq {
  FdId fd;
};
static_assert(gofer::WireStruct<StatReq> && sizeof(StatReq) == 8);

struct SetStatReq {
  FdId fd;
  uint32_t mask;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint64_t size;
  Timespec atime;
  Timespec mtime;
};
static_assert(gofer::WireStruct<SetStatReq> && sizeof(SetStatReq) == 64);

struct OpenAtReq {
  FdId fd;
  uint32_t flags;
  uint32_t pad;
};
static_assert(gofer::WireStruct<OpenAtReq> && sizeof(OpenAtReq) == 16);

struct [[gnu::packed]] OpenCreateAtReqFixed {
  CreateCommon create_common;
  uint32_t flags;
};
static_assert(gofer::WireStruct<OpenCreateAtReqFixed> && sizeof(OpenCreateAtReqFixed) == 28);

struct [[gnu::packed]] PWriteReqFixed {
  uint64_t offset;
  FdId fd;
  uint32_t num_bytes;
};
static_assert(gofer::WireStruct<PWriteReqFixed> && sizeof(PWriteReqFixed) == 20);

struct PReadReq {
  uint64_t offset;
  FdId fd;
  uint32_t count;
  uint32_t pad;
};
static_assert(gofer::WireStruct<PReadReq> && sizeof(PReadReq) == 24);

struct MknodAtReqFixed {
  CreateCommon create_common;
  uint32_t minor;  // minor before major, here and in a dirent
  uint32_t major;
};
static_assert(gofer::WireStruct<MknodAtReqFixed> && sizeof(MknodAtReqFixed) == 32);

struct SymlinkAtReqFixed {
  FdId dir_fd;
  uint32_t uid;
  uint32_t gid;
};
static_assert(gofer::WireStruct<SymlinkAtReqFixed> && sizeof(SymlinkAtReqFixed) == 16);

struct LinkAtReqFixed {
  FdId dir_fd;
  FdId target_fd;
};
static_assert(gofer::WireStruct<LinkAtReqFixed> && sizeof(LinkAtReqFixed) == 16);

struct FAllocateReq {
  FdId fd;
  uint64_t mode;
  uint64_t offset;
  uint64_t length;
};
static_assert(gofer::WireStruct<FAllocateReq> && sizeof(FAllocateReq) == 32);

struct ConnectReq {
  FdId fd;
  uint32_t sock_type;
  uint32_t pad;
};
static_assert(gofer::WireStruct<ConnectReq> && sizeof(ConnectReq) == 16);

struct ConnectWithCredsReq {
  FdId fd;
  uint32_t sock_type;
  uint32_t pad;
  uint32_t uid;
  uint32_t gid;
};
static_assert(gofer::WireStruct<ConnectWithCredsReq> && sizeof(ConnectWithCredsReq) == 24);

struct [[gnu::packed]] UnlinkAtReqFixed {
  FdId dir_fd;
  uint32_t flags;
};
static_assert(gofer::WireStruct<UnlinkAtReqFixed> && sizeof(UnlinkAtReqFixed) == 12);

struct RenameAtReqFixed {
  FdId old_dir;
  FdId new_dir;
};
static_assert(gofer::WireStruct<RenameAtReqFixed> && sizeof(RenameAtReqFixed) == 16);

struct Getdents64Req {
  FdId dir_fd;
  int32_t count;  // negative: rewind first, then its absolute value
  uint32_t pad;
};
static_assert(gofer::WireStruct<Getdents64Req> && sizeof(Getdents64Req) == 16);

struct [[gnu::packed]] FGetXattrReqFixed {
  FdId fd;
  uint32_t buf_size;
};
static_assert(gofer::WireStruct<FGetXattrReqFixed> && sizeof(FGetXattrReqFixed) == 12);

struct [[gnu::packed]] FSetXattrReqFixed {
  FdId fd;
  uint32_t flags;
};
static_assert(gofer::WireStruct<FSetXattrReqFixed> && sizeof(FSetXattrReqFixed) == 12);

struct FListXattrReq {
  FdId fd;
  uint64_t size;
};
static_assert(gofer::WireStruct<FListXattrReq> && sizeof(FListXattrReq) == 16);

struct FRemoveXattrReqFixed {
  FdId fd;
};
static_assert(gofer::WireStruct<FRemoveXattrReqFixed> && sizeof(FRemoveXattrReqFixed) == 8);

struct [[gnu::packed]] BindAtReqFixed {
  CreateCommon create_common;
  uint32_t sock_type;
};
static_assert(gofer::WireStruct<BindAtReqFixed> && sizeof(BindAtReqFixed) == 28);

struct ListenReq {
  FdId fd;
  int32_t backlog;
  uint32_t pad;
};
static_assert(gofer::WireStruct<ListenReq> && sizeof(ListenReq) == 16);

// ---- replies

struct ErrorResp {
  uint32_t errno_value;
};
static_assert(gofer::WireStruct<ErrorResp> && sizeof(ErrorResp) == 4);

struct [[gnu::packed]] MountRespFixed {
  Inode root;
  uint32_t max_message_size;
};
static_assert(gofer::WireStruct<MountRespFixed> && sizeof(MountRespFixed) == 156);

struct ChannelResp {
  int64_t data_offset;
  uint64_t data_length;
};
static_assert(gofer::WireStruct<ChannelResp> && sizeof(ChannelResp) == 16);

struct SetStatResp {
  uint32_t failure_mask;
  uint32_t failure_errno;
};
static_assert(gofer::WireStruct<SetStatResp> && sizeof(SetStatResp) == 8);

enum class WalkStatus : uint8_t {
  kSuccess = 0,
  kComponentDoesNotExist = 1,
  kComponentSymlink = 2,
};

struct [[gnu::packed]] WalkRespFixed {
  WalkStatus status;
  uint16_t num_inodes;
};
static_assert(gofer::WireStruct<WalkRespFixed> && sizeof(WalkRespFixed) == 3);

struct OpenAtResp {
  FdId open_fd;
};
static_assert(gofer::WireStruct<OpenAtResp> && sizeof(OpenAtResp) == 8);

struct OpenCreateAtResp {
  Inode child;
  FdId open_fd;
};
static_assert(gofer::WireStruct<OpenCreateAtResp> && sizeof(OpenCreateAtResp) == 160);

struct BindAtResp {
  Inode child;
  FdId bound_socket_fd;
};
static_assert(gofer::WireStruct<BindAtResp> && sizeof(BindAtResp) == 160);

struct PWriteResp {
  uint64_t count;
};
static_assert(gofer::WireStruct<PWriteResp> && sizeof(PWriteResp) == 8);

struct PReadRespFixed {
  uint64_t num_bytes;
};
static_assert(gofer::WireStruct<PReadRespFixed> && sizeof(PReadRespFixed) == 8);

struct [[gnu::packed]] Dirent64Fixed {
  uint64_t ino;
  uint32_t dev_minor;
  uint32_t dev_major;
  uint64_t off;  // the host's cookie, opaque
  uint8_t type;  // DT_*
  uint16_t name_len;
};
static_assert(gofer::WireStruct<Dirent64Fixed> && sizeof(Dirent64Fixed) == 27);

}  // namespace lisafs

#endif  // LISAFS_WIRE_STRUCTS_H_
