#include "lisafs/server/op_table.h"

#include <array>
#include <cstddef>

#include "lisafs/server/handlers.h"

namespace lisafs {
namespace {

using gofer::Errno;
using gofer::ErrnoOr;
using enum MessageId;
using Ops = std::array<Op, kNumMessageIds>;

constexpr size_t Index(MessageId id) { return static_cast<size_t>(id); }

// Flush is not here: it is never announced, and would cost a client a round trip at every close for
// nothing. OpenAt is no writer: whether it writes is in its flags.
constexpr Ops NewestOps() {
  Ops ops{};
  ops[Index(kMount)] = {OnMount};
  ops[Index(kChannel)] = {OnChannel};
  ops[Index(kFStat)] = {OnFStat};
  ops[Index(kSetStat)] = {OnSetStat, /*writes=*/true};
  ops[Index(kWalk)] = {OnWalk};
  ops[Index(kWalkStat)] = {OnWalkStat};
  ops[Index(kOpenAt)] = {OnOpenAt};
  ops[Index(kOpenCreateAt)] = {OnOpenCreateAt, /*writes=*/true};
  ops[Index(kClose)] = {OnClose};
  ops[Index(kFSync)] = {OnFSync};
  ops[Index(kPWrite)] = {OnPWrite, /*writes=*/true};
  ops[Index(kPRead)] = {OnPRead};
  ops[Index(kMkdirAt)] = {OnMkdirAt, /*writes=*/true};
  ops[Index(kMknodAt)] = {OnMknodAt, /*writes=*/true};
  ops[Index(kSymlinkAt)] = {OnSymlinkAt, /*writes=*/true};
  ops[Index(kLinkAt)] = {OnLinkAt, /*writes=*/true};
  ops[Index(kFStatFS)] = {OnFStatFS};
  ops[Index(kFAllocate)] = {OnFAllocate, /*writes=*/true};
  ops[Index(kReadLinkAt)] = {OnReadLinkAt};
  ops[Index(kConnect)] = {OnConnect};
  ops[Index(kUnlinkAt)] = {OnUnlinkAt, /*writes=*/true};
  ops[Index(kRenameAt)] = {OnRenameAt, /*writes=*/true};
  ops[Index(kGetdents64)] = {OnGetdents64};
  ops[Index(kFGetXattr)] = {OnFGetXattr};
  ops[Index(kFSetXattr)] = {OnFSetXattr, /*writes=*/true};
  ops[Index(kFListXattr)] = {OnFListXattr};
  ops[Index(kFRemoveXattr)] = {OnFRemoveXattr, /*writes=*/true};
  ops[Index(kBindAt)] = {OnBindAt, /*writes=*/true};
  ops[Index(kListen)] = {OnListen};
  ops[Index(kAccept)] = {OnAccept};
  ops[Index(kConnectWithCreds)] = {OnConnectWithCreds};
  ops[Index(kRenameAt2)] = {OnRenameAt2, /*writes=*/true};
  return ops;
}

ErrnoOr<void> OnUnsupported(Connection&, Call&) { return Errno(EOPNOTSUPP); }

// What an older server does not have: extended attributes that applications would suddenly see, and
// messages that did not exist. It refuses them after the read-only check, as it does what it has.
constexpr Ops Without(Ops ops, std::initializer_list<MessageId> missing) {
  for (const MessageId id : missing) ops[Index(id)].handler = OnUnsupported;
  return ops;
}

constexpr Ops kV26 = NewestOps();
constexpr Ops kV24 = Without(kV26, {kFSetXattr, kFListXattr, kFRemoveXattr});
constexpr Ops kV22 = Without(kV24, {kFGetXattr});
// These two no older server has heard of.
constexpr bool IsNewest(MessageId id) { return id == kConnectWithCreds || id == kRenameAt2; }

constexpr MessageId kAnnounced22[] = {
    kMount,        kChannel,    kFStat,     kSetStat,   kWalk,       kWalkStat, kOpenAt,
    kOpenCreateAt, kClose,      kFSync,     kPWrite,    kPRead,      kMkdirAt,  kMknodAt,
    kSymlinkAt,    kLinkAt,     kFStatFS,   kFAllocate, kReadLinkAt, kConnect,  kUnlinkAt,
    kRenameAt,     kGetdents64, kFGetXattr, kFSetXattr, kBindAt,     kListen,   kAccept,
};
constexpr MessageId kAnnounced26[] = {
    kMount,
    kChannel,
    kFStat,
    kSetStat,
    kWalk,
    kWalkStat,
    kOpenAt,
    kOpenCreateAt,
    kClose,
    kFSync,
    kPWrite,
    kPRead,
    kMkdirAt,
    kMknodAt,
    kSymlinkAt,
    kLinkAt,
    kFStatFS,
    kFAllocate,
    kReadLinkAt,
    kConnect,
    kUnlinkAt,
    kRenameAt,
    kGetdents64,
    kFGetXattr,
    kFSetXattr,
    kFListXattr,
    kFRemoveXattr,
    kBindAt,
    kListen,
    kAccept,
    kConnectWithCreds,
    kRenameAt2,
};
static_assert(std::size(kAnnounced22) == 28 && std::size(kAnnounced26) == 32);

}  // namespace

const Op* FindOp(MessageId id, Personality personality) {
  if (Index(id) >= kNumMessageIds) return nullptr;
  if (IsNewest(id) && personality != Personality::kV26) return nullptr;
  const Ops& ops = personality == Personality::kV22   ? kV22
                   : personality == Personality::kV24 ? kV24
                                                      : kV26;
  const Op& op = ops[Index(id)];
  return op.handler == nullptr ? nullptr : &op;
}

std::span<const MessageId> AnnouncedIds(Personality personality) {
  if (personality == Personality::kV26) return kAnnounced26;
  return kAnnounced22;
}

}  // namespace lisafs
