#include "fuse/session/op_table.h"

#include <array>

#include "fuse/session/ops.h"
#include "fuse/wire/abi.h"

namespace gofer::fuse {
namespace {

using enum Opcode;
using Ops = std::array<Op, kNumOpcodes>;

constexpr Op& Row(Ops& ops, Opcode opcode) { return ops[static_cast<size_t>(opcode)]; }

// Not here, as no client needs them of us: BMAP (for block devices), POLL (files are always ready),
// NOTIFY_REPLY (we notify nobody), SETUPMAPPING and REMOVEMAPPING (no window for DAX).
constexpr Ops AllOps() {
  Ops ops{};
  Row(ops, kLookup) = {.handler = OnLookup, .reply_size = sizeof(EntryOut), .looks = true};
  Row(ops, kForget) = {.handler = OnForget, .looks = true, .silent = true};
  Row(ops, kBatchForget) = {
      .handler = OnBatchForget, .looks = true, .silent = true, .max_args = sizeof(BatchForgetIn)};
  Row(ops, kGetattr) = {.handler = OnGetattr, .reply_size = sizeof(AttrOut), .looks = true};
  // Read-only mounts too, when there is nothing to set.
  Row(ops, kSetattr) = {.handler = OnSetattr, .reply_size = sizeof(AttrOut)};
  Row(ops, kStatx) = {.handler = OnStatx, .reply_size = sizeof(StatxOut), .looks = true};
  Row(ops, kAccess) = {.handler = OnAccess, .looks = true};
  Row(ops, kStatfs) = {.handler = OnStatfs, .reply_size = sizeof(KStatfs), .looks = true};
  // OPEN is no writer: whether it writes is in its flags. CREATE answers by what is there.
  Row(ops, kOpen) = {.handler = OnOpen, .reply_size = sizeof(OpenOut)};
  Row(ops, kOpendir) = {.handler = OnOpendir, .reply_size = sizeof(OpenOut), .looks = true};
  Row(ops, kCreate) = {.handler = OnCreate, .reply_size = sizeof(CreateOut)};
  Row(ops, kTmpfile) = {.handler = OnTmpfile, .reply_size = sizeof(CreateOut), .writes = true};
  Row(ops, kFlush) = {.handler = OnFlush};
  Row(ops, kRelease) = {.handler = OnRelease};
  Row(ops, kReleasedir) = {.handler = OnRelease, .looks = true};
  Row(ops, kRead) = {.handler = OnRead};
  Row(ops, kWrite) = {.handler = OnWrite,
                      .reply_size = sizeof(WriteOut),
                      .writes = true,
                      .max_args = sizeof(WriteIn)};
  Row(ops, kFsync) = {.handler = OnFsync, .blocks = true};
  Row(ops, kFsyncdir) = {.handler = OnFsync, .blocks = true};
  Row(ops, kFallocate) = {.handler = OnFallocate, .writes = true, .blocks = true};
  Row(ops, kLseek) = {.handler = OnLseek, .reply_size = sizeof(LseekOut)};
  Row(ops, kCopyFileRange) = {
      .handler = OnCopyFileRange, .reply_size = sizeof(WriteOut), .writes = true, .blocks = true};
  Row(ops, kSyncfs) = {.handler = OnSyncfs, .blocks = true};
  Row(ops, kReaddir) = {.handler = OnReaddir, .looks = true};
  Row(ops, kReaddirplus) = {.handler = OnReaddirplus, .looks = true};
  Row(ops, kMkdir) = {.handler = OnMkdir, .reply_size = sizeof(EntryOut), .writes = true};
  Row(ops, kMknod) = {.handler = OnMknod, .reply_size = sizeof(EntryOut), .writes = true};
  Row(ops, kUnlink) = {.handler = OnUnlink, .writes = true};
  Row(ops, kRmdir) = {.handler = OnRmdir, .writes = true};
  Row(ops, kRename) = {.handler = OnRename, .writes = true};
  Row(ops, kRename2) = {.handler = OnRename2, .writes = true};
  Row(ops, kReadlink) = {.handler = OnReadlink};
  Row(ops, kSymlink) = {.handler = OnSymlink, .reply_size = sizeof(EntryOut), .writes = true};
  Row(ops, kLink) = {.handler = OnLink, .reply_size = sizeof(EntryOut), .writes = true};
  // These four tell by themselves whether there are attributes at all, which comes first.
  Row(ops, kSetxattr) = {.handler = OnSetxattr};
  Row(ops, kGetxattr) = {.handler = OnGetxattr, .looks = true};
  Row(ops, kListxattr) = {.handler = OnListxattr, .looks = true};
  Row(ops, kRemovexattr) = {.handler = OnRemovexattr};
  Row(ops, kGetlk) = {.handler = OnGetlk, .reply_size = sizeof(LkOut)};
  Row(ops, kSetlk) = {.handler = OnSetlk};
  Row(ops, kSetlkw) = {.handler = OnSetlkw};
  Row(ops, kInterrupt) = {.handler = OnInterrupt, .silent = true};
  Row(ops, kIoctl) = {.handler = OnIoctl, .reply_size = sizeof(IoctlOut)};
  return ops;
}

constexpr Ops kOps = AllOps();

}  // namespace

const Op* FindOp(Opcode opcode) {
  const auto index = static_cast<size_t>(opcode);
  if (index >= kNumOpcodes || kOps[index].handler == nullptr) return nullptr;
  return &kOps[index];
}

}  // namespace gofer::fuse
