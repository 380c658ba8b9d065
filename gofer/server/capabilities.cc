#include "gofer/server/capabilities.h"

#include <cap-ng.h>
#include <linux/capability.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

uint64_t Mask(const std::vector<int>& capabilities) {
  uint64_t mask = 0;
  for (const int capability : capabilities) mask |= uint64_t{1} << capability;
  return mask;
}

bool Contains(const std::vector<int>& capabilities, int capability) {
  return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
}

// Effective and permitted become what is there of `wanted`, the other two empty.
absl::Status Keep(const std::vector<int>& wanted) {
  const ErrnoOr<sys::CapabilitySets> held = sys::GetCapabilities();
  if (!held.ok()) return ToStatus(held.error(), "capget");
  capng_clear(CAPNG_SELECT_CAPS);
  uint64_t kept = 0;
  for (const int capability : wanted) {
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

}  // namespace

std::vector<int> NeededCapabilities(const CapabilityOptions& options) {
  std::vector<int> needed = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID};
  if (options.switch_ids) needed.insert(needed.end(), {CAP_SETUID, CAP_SETGID});
  if (options.make_devices) needed.push_back(CAP_MKNOD);
  if (options.set_file_capabilities) needed.push_back(CAP_SETFCAP);
  if (options.open_by_handle) needed.push_back(CAP_DAC_READ_SEARCH);
  for (const int capability : options.added) {
    if (!Contains(needed, capability)) needed.push_back(capability);
  }
  for (const int capability : options.removed) std::erase(needed, capability);
  return needed;
}

std::string CapabilityName(int capability) {
  const char* const name = capng_capability_to_name(static_cast<unsigned>(capability));
  return name == nullptr ? absl::StrCat(capability) : absl::AsciiStrToUpper(name);
}

absl::string_view CapabilityReason(int capability) {
  switch (capability) {
    case CAP_CHOWN:
      return "new files get the client's owner";
    case CAP_DAC_OVERRIDE:
      return "the client checks permissions itself";
    case CAP_FOWNER:
      return "mode, times and extended attributes of others' files";
    case CAP_FSETID:
      return "setuid and setgid bits stay where a request sets them";
    case CAP_SETUID:
    case CAP_SETGID:
      return "to be the client's user while making a file or connecting to a socket";
    case CAP_MKNOD:
      return "--make_devices: clients make device nodes";
    case CAP_SETFCAP:
      return "--file_capabilities: clients set them";
    case CAP_DAC_READ_SEARCH:
      return "--inode_file_handles: files are opened by handle";
    default:
      return "--modcaps";
  }
}

absl::Status ModifyCapabilities(absl::string_view list, CapabilityOptions& options) {
  const auto error = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("--modcaps=", list, ": ", why));
  };
  for (const absl::string_view element : absl::StrSplit(list, ':')) {
    if (element.empty()) return error("an element is empty");
    const bool add = element[0] == '+';
    if (!add && element[0] != '-') {
      return error(absl::StrCat("\"", element, "\" does not begin with + or -"));
    }
    const std::string name(element.substr(1));
    const int capability = capng_name_to_capability(name.c_str());
    if (capability < 0) return error(absl::StrCat("there is no capability \"", name, "\""));
    std::vector<int>& to = add ? options.added : options.removed;
    std::erase(add ? options.removed : options.added, capability);
    if (!Contains(to, capability)) to.push_back(capability);
  }
  if (options.open_by_handle && Contains(options.removed, CAP_DAC_READ_SEARCH)) {
    return error("--inode-file-handles needs dac_read_search");
  }
  return absl::OkStatus();
}

absl::Status DropBoundingSet(const CapabilityOptions& options) {
  const ErrnoOr<sys::CapabilitySets> held = sys::GetCapabilities();
  if (!held.ok()) return ToStatus(held.error(), "capget");
  if ((held->effective & Mask({CAP_SETPCAP})) == 0) return absl::OkStatus();
  const std::vector<int> needed = NeededCapabilities(options);
  capng_clear(CAPNG_SELECT_BOUNDS);
  for (const int capability : needed) {
    capng_update(CAPNG_ADD, CAPNG_BOUNDING_SET, static_cast<unsigned>(capability));
  }
  const int result = capng_apply(CAPNG_SELECT_BOUNDS);
  // libcap-ng reports success also when the kernel has refused.
  const uint64_t left = sys::GetBoundingSet();
  if (result == 0 && (left & ~Mask(needed)) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrFormat(
      "capabilities: the bounding set should be at most %#x and is %#x (libcap-ng: %d)",
      Mask(needed), left, result));
}

absl::Status LimitCapabilities(const CapabilityOptions& options) {
  return Keep(NeededCapabilities(options));
}

absl::Status DropAllCapabilities() { return Keep({}); }

}  // namespace gofer::server
