#include "gofer/runsc/mount_opener.h"

#include <google/protobuf/util/json_util.h>
#include <sys/mount.h>

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/oci_spec.h"
#include "gofer/sys/process.h"
#include "gofer/sys/socket.h"

namespace gofer::runsc {
namespace {

// Far more than the answer, which names no more than an error, can need.
constexpr size_t kMaxReplyBytes = 64 << 10;

absl::StatusOr<oci::OpenMountReply> ParseReply(absl::string_view json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  oci::OpenMountReply reply;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), &reply, options);
  if (!parsed.ok()) return absl::DataLossError(parsed.message().ToString());
  return reply;
}

// Unframed: the object is whole when it parses.
absl::StatusOr<std::pair<oci::OpenMountReply, UniqueFd>> ReceiveReply(BorrowedFd rpc) {
  std::string json;
  UniqueFd file;
  while (json.size() < kMaxReplyBytes) {
    std::array<std::byte, 4096> buffer;
    std::array<UniqueFd, 1> files;
    const ErrnoOr<sys::Received> received = sys::ReceiveWithFds(rpc, buffer, files);
    if (!received.ok()) return ToStatus(received.error(), "receive");
    if (received->bytes == 0) return absl::DataLossError("runsc closed the connection");
    if (received->fds > 0) file = std::move(files[0]);
    json.append(reinterpret_cast<const char*>(buffer.data()), received->bytes);
    if (absl::StatusOr<oci::OpenMountReply> reply = ParseReply(json); reply.ok()) {
      return std::pair(*std::move(reply), std::move(file));
    }
  }
  return absl::DataLossError(absl::StrCat("no JSON object in ", kMaxReplyBytes, " bytes"));
}

absl::StatusOr<UniqueFd> Ask(BorrowedFd rpc, const oci::Mount& mount) {
  oci::OpenMountRequest request;
  request.set_method("goferToHostRPC.OpenMount");
  if (!request.mutable_arg()->ParseFromString(mount.SerializeAsString())) {
    return absl::InternalError("the mount does not fit the request");
  }
  *request.mutable_arg()->mutable_mount() = mount;
  request.mutable_arg()->set_flags(MS_BIND | (HasOption(mount, "rbind") ? MS_REC : 0));
  std::string json;
  if (const auto printed = google::protobuf::util::MessageToJsonString(request, &json);
      !printed.ok()) {
    return absl::InternalError(printed.message().ToString());
  }
  if (const ErrnoOr<void> sent = sys::WriteAll(rpc, json); !sent.ok())
    return ToStatus(sent.error(), "send");
  ASSIGN_OR_RETURN(auto reply, ReceiveReply(rpc));
  if (!reply.first.success()) return absl::PermissionDeniedError(reply.first.err());
  if (!reply.second.valid()) return absl::DataLossError("the answer has no descriptor");
  return std::move(reply.second);
}

}  // namespace

absl::StatusOr<UniqueFd> OpenMountByRpc(BorrowedFd rpc, const oci::Mount& mount) {
  absl::StatusOr<UniqueFd> opened = Ask(rpc, mount);
  if (opened.ok()) return opened;
  return absl::Status(opened.status().code(), absl::StrCat("ask runsc to open ", mount.source(),
                                                           ": ", opened.status().message()));
}

}  // namespace gofer::runsc
