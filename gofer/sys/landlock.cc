#include "gofer/sys/landlock.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444  // Linux 5.13; the same numbers on every architecture
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

namespace gofer::sys {
namespace {

using internal::Call;

constexpr uint32_t kCreateRulesetVersion = 1 << 0;
constexpr int kRulePathBeneath = 1;

// struct landlock_ruleset_attr as of ABI 6. An older kernel takes it too, as long as what it does
// not know is zero.
struct RulesetAttr {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

struct PathBeneathAttr {
  uint64_t allowed_access;
  int32_t parent_fd;
} __attribute__((packed));

ErrnoOr<void> Done(int64_t result) {
  if (result < 0) return Errno::Last();
  return {};
}

}  // namespace

ErrnoOr<int> LandlockAbi() {
  const long abi = Call("landlock_create_ruleset", [] {
    return syscall(SYS_landlock_create_ruleset, nullptr, 0, kCreateRulesetVersion);
  });
  if (abi < 0) return Errno::Last();
  return static_cast<int>(abi);
}

ErrnoOr<void> ApplyLandlock(const LandlockRules& rules) {
  const RulesetAttr attr = {.handled_access_fs = rules.files,
                            .handled_access_net = rules.network,
                            .scoped = rules.scopes};
  const UniqueFd ruleset(static_cast<int>(Call("landlock_create_ruleset", [&] {
    return syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
  })));
  if (!ruleset.valid()) return Errno::Last();
  for (const LandlockTree& tree : rules.trees) {
    const PathBeneathAttr beneath = {.allowed_access = tree.files & rules.files,
                                     .parent_fd = tree.directory.get()};
    RETURN_IF_ERROR(Done(Call("landlock_add_rule", [&] {
      return syscall(SYS_landlock_add_rule, ruleset.get(), kRulePathBeneath, &beneath, 0);
    })));
  }
  return Done(Call("landlock_restrict_self",
                   [&] { return syscall(SYS_landlock_restrict_self, ruleset.get(), 0); }));
}

}  // namespace gofer::sys
