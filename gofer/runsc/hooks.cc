#include "gofer/runsc/hooks.h"

#include <google/protobuf/util/json_util.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/sys/program.h"

namespace gofer::runsc {

absl::Status RunCreateContainerHooks(const oci::Spec& spec, const std::string& container_id,
                                     const std::string& bundle) {
  if (spec.hooks().create_container().empty()) return absl::OkStatus();
  oci::State state;
  state.set_oci_version(spec.oci_version());
  state.set_id(container_id);
  state.set_status("creating");
  state.set_pid(-1);  // the sandbox's, which the gofer does not know
  state.set_bundle(bundle);
  *state.mutable_annotations() = spec.annotations();
  std::string json;
  if (const auto printed = google::protobuf::util::MessageToJsonString(state, &json);
      !printed.ok()) {
    return absl::InternalError(absl::StrCat("state for hooks: ", printed.message().ToString()));
  }
  for (const oci::Hook& hook : spec.hooks().create_container()) {
    const sys::Program program = {
        .path = hook.path(),
        .arguments = {hook.args().begin(), hook.args().end()},
        .environment = {hook.env().begin(), hook.env().end()},
        .input = json,
        .timeout = hook.timeout() > 0 ? absl::Seconds(hook.timeout()) : absl::InfiniteDuration(),
    };
    const ErrnoOr<int> status = sys::RunProgram(program);
    if (!status.ok())
      return ToStatus(status.error(), absl::StrCat("createContainer hook ", hook.path()));
    if (*status != 0) {
      return absl::AbortedError(
          absl::StrCat("createContainer hook ", hook.path(), ": exit status ", *status));
    }
  }
  return absl::OkStatus();
}

}  // namespace gofer::runsc
