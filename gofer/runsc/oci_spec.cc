#include "gofer/runsc/oci_spec.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/mount_options.h"
#include "gofer/runsc/path.h"
#include "gofer/sys/process.h"

namespace gofer::runsc {
namespace {

// A spec has some 10 KiB; one with thousands of mounts some hundred.
constexpr size_t kMaxSpecBytes = 64 << 20;

std::string Absolute(absl::string_view bundle, absl::string_view path) {
  if (path.empty() || absl::StartsWith(path, "/")) return std::string(path);
  return CleanPath(absl::StrCat(bundle, "/", path));
}

absl::Status Validate(const oci::Spec& spec) {
  if (!spec.has_process()) return absl::InvalidArgumentError("spec: process is missing");
  if (const std::string& text = spec.linux().rootfs_propagation(); !text.empty()) {
    RETURN_IF_ERROR(ParseRootPropagation(text).status());
  }
  for (const oci::Mount& mount : spec.mounts()) {
    if (!absl::StartsWith(mount.destination(), "/")) {
      return absl::InvalidArgumentError(
          absl::StrCat("spec: mount destination \"", mount.destination(), "\" is not absolute"));
    }
    for (const std::string& option : mount.options()) {
      if (option == "shared" || option == "rshared") {
        return absl::InvalidArgumentError(
            absl::StrCat("spec: mount ", mount.destination(), ": option \"", option,
                         "\" would let the sandbox's mounts reach the host"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<oci::Spec> ParseSpec(absl::string_view json, absl::string_view bundle) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  oci::Spec spec;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &spec, options);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("spec: ", parsed.message().ToString()));
  }
  RETURN_IF_ERROR(Validate(spec));
  spec.mutable_root()->set_path(Absolute(bundle, spec.root().path()));
  for (oci::Mount& mount : *spec.mutable_mounts()) {
    mount.set_source(Absolute(bundle, mount.source()));
  }
  return spec;
}

absl::StatusOr<oci::Spec> ReadSpec(BorrowedFd file, absl::string_view bundle) {
  const ErrnoOr<std::string> json = sys::ReadToEnd(file, kMaxSpecBytes);
  if (!json.ok()) return ToStatus(json.error(), absl::StrCat("spec on descriptor ", file.get()));
  return ParseSpec(*json, bundle);
}

absl::StatusOr<std::string> MountsToJson(const oci::Spec& spec) {
  std::string list = "[";
  for (const oci::Mount& mount : spec.mounts()) {
    std::string text;
    const auto printed = google::protobuf::util::MessageToJsonString(mount, &text);
    if (!printed.ok()) {
      return absl::InternalError(
          absl::StrCat("mount ", mount.destination(), ": ", printed.message().ToString()));
    }
    absl::StrAppend(&list, list.size() > 1 ? "," : "", text);
  }
  return list + "]";
}

bool IsBindMount(const oci::Mount& mount) {
  const bool bind = mount.type() == "bind" || HasOption(mount, "bind") || HasOption(mount, "rbind");
  return bind && !mount.source().empty();
}

bool HasOption(const oci::Mount& mount, absl::string_view option) {
  return std::find(mount.options().begin(), mount.options().end(), option) != mount.options().end();
}

}  // namespace gofer::runsc
