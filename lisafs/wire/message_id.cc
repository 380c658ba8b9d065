#include "lisafs/wire/message_id.h"

namespace lisafs {
namespace {

constexpr absl::string_view kNames[kNumMessageIds] = {
    "Error",      "Mount",        "Channel",
    "FStat",      "SetStat",      "Walk",
    "WalkStat",   "OpenAt",       "OpenCreateAt",
    "Close",      "FSync",        "PWrite",
    "PRead",      "MkdirAt",      "MknodAt",
    "SymlinkAt",  "LinkAt",       "FStatFS",
    "FAllocate",  "ReadLinkAt",   "Flush",
    "Connect",    "UnlinkAt",     "RenameAt",
    "Getdents64", "FGetXattr",    "FSetXattr",
    "FListXattr", "FRemoveXattr", "BindAt",
    "Listen",     "Accept",       "ConnectWithCreds",
    "RenameAt2",
};

}  // namespace

absl::string_view MessageName(MessageId id) {
  const size_t index = static_cast<size_t>(id);
  return index < kNumMessageIds ? kNames[index] : "Unknown";
}

}  // namespace lisafs
