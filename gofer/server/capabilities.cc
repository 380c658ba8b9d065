#include "gofer/server/capabilities.h"

#include <cap-ng.h>
#include <linux/capability.h>

#include <cstdint>

#include "absl/strings/str_format.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

uint64_t Mask(const std::vector<int>& capabilities) {
  uint64_t mask = 0;
  for (const int capability : capabilities) mask |= uint64_t{1} << capability;
  return mask;
}

}  // namespace

std::vector<int> NeededCapabilities(const CapabilityOptions& options) {
  std::vector<int> needed = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID};
  if (options.switch_ids) needed.insert(needed.end(), {CAP_SETUID, CAP_SETGID});
  return needed;
}

absl::Status DropBoundingSet(const CapabilityOptions& options) {
  const ErrnoOr<sys::CapabilitySets> held = sys::GetCapabilities();
  if (!held.ok()) return ToStatus(held.error(), "capget");
  if ((held->effective & Mask({CAP_SETPCAP})) == 0) return absl::OkStatus();
  capng_clear(CAPNG_SELECT_BOUNDS);
  for (const int capability : NeededCapabilities(options)) {
    capng_update(CAPNG_ADD, CAPNG_BOUNDING_SET, static_cast<unsigned>(capability));
  }
  if (const int result = capng_apply(CAPNG_SELECT_BOUNDS); result != 0) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "capabilities: the bounding set could not be dropped (libcap-ng: %d)", result));
  }
  return absl::OkStatus();
}

absl::Status LimitCapabilities(const CapabilityOptions& options) {
  const ErrnoOr<sys::CapabilitySets> held = sys::GetCapabilities();
  if (!held.ok()) return ToStatus(held.error(), "capget");
  capng_clear(CAPNG_SELECT_CAPS);
  uint64_t kept = 0;
  for (const int capability : NeededCapabilities(options)) {
    // In a user namespace or without root some may be missing: nothing can be kept that is not
    // there.
    if ((held->permitted & Mask({capability})) == 0) continue;
    kept |= Mask({capability});
    capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
                 static_cast<unsigned>(capability));
  }
  // The kernel lowers ambient capabilities with the inheritable and permitted ones.
  const int result = capng_apply(CAPNG_SELECT_CAPS);
  const ErrnoOr<sys::CapabilitySets> now = sys::GetCapabilities();
  if (!now.ok()) return ToStatus(now.error(), "capget");
  if (result != 0 || now->effective != kept || now->permitted != kept || now->inheritable != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("capabilities: wanted effective and permitted %#x and nothing inheritable, "
                        "got %#x, %#x and %#x "
                        "(libcap-ng: %d)",
                        kept, now->effective, now->permitted, now->inheritable, result));
  }
  return absl::OkStatus();
}

}  // namespace gofer::server
