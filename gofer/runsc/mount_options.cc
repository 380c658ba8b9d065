#include "gofer/runsc/mount_options.h"

#include <sys/mount.h>

#include "absl/strings/str_cat.h"

namespace gofer::runsc {
namespace {

struct AttributeOption {
  absl::string_view name;
  uint64_t attribute;
  bool set;
};

constexpr AttributeOption kAttributeOptions[] = {
    {"ro", MOUNT_ATTR_RDONLY, true},
    {"rw", MOUNT_ATTR_RDONLY, false},
    {"nosuid", MOUNT_ATTR_NOSUID, true},
    {"suid", MOUNT_ATTR_NOSUID, false},
    {"nodev", MOUNT_ATTR_NODEV, true},
    {"dev", MOUNT_ATTR_NODEV, false},
    {"noexec", MOUNT_ATTR_NOEXEC, true},
    {"exec", MOUNT_ATTR_NOEXEC, false},
    {"nodiratime", MOUNT_ATTR_NODIRATIME, true},
    {"diratime", MOUNT_ATTR_NODIRATIME, false},
};

struct AtimeOption {
  absl::string_view name;
  uint64_t atime;
};

constexpr AtimeOption kAtimeOptions[] = {
    {"noatime", MOUNT_ATTR_NOATIME},
    {"relatime", MOUNT_ATTR_RELATIME},
    {"strictatime", MOUNT_ATTR_STRICTATIME},
};

struct PropagationOption {
  absl::string_view name;
  Propagation propagation;
};

constexpr PropagationOption kPropagationOptions[] = {
    {"private", {MS_PRIVATE, sys::Recursive::kNo}},
    {"rprivate", {MS_PRIVATE, sys::Recursive::kYes}},
    {"slave", {MS_SLAVE, sys::Recursive::kNo}},
    {"rslave", {MS_SLAVE, sys::Recursive::kYes}},
    {"unbindable", {MS_UNBINDABLE, sys::Recursive::kNo}},
    {"runbindable", {MS_UNBINDABLE, sys::Recursive::kYes}},
};

template <typename Option, size_t kCount>
const Option* Find(const Option (&options)[kCount], absl::string_view name) {
  for (const Option& option : options) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

}  // namespace

MountOptions ParseMountOptions(const oci::Mount& mount) {
  MountOptions parsed;
  for (const std::string& text : mount.options()) {
    if (text == "rbind") {
      parsed.recursive = sys::Recursive::kYes;
    } else if (const AttributeOption* option = Find(kAttributeOptions, text)) {
      parsed.attributes = option->set ? parsed.attributes | option->attribute
                                      : parsed.attributes & ~option->attribute;
    } else if (const AtimeOption* option = Find(kAtimeOptions, text)) {
      parsed.atime = option->atime;
    } else if (const PropagationOption* option = Find(kPropagationOptions, text)) {
      parsed.propagation = option->propagation;
    }
  }
  return parsed;
}

absl::StatusOr<Propagation> ParseRootPropagation(absl::string_view text) {
  const PropagationOption* const option = Find(kPropagationOptions, text);
  if (option == nullptr || option->propagation.type == MS_UNBINDABLE) {
    return absl::InvalidArgumentError(
        absl::StrCat("spec: linux.rootfsPropagation is \"", text,
                     "\", which is not one of private, rprivate, slave, rslave"));
  }
  return option->propagation;
}

}  // namespace gofer::runsc
