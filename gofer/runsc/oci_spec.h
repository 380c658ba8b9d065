// Reads an OCI spec from the descriptor that the runtime hands down, and writes its list of mounts
// for the sandbox.
//
// Errors:  an absl::Status with what is wrong in the spec. Threads: any.
// Source:  opencontainers/runtime-spec; spec/runsc-gofer-launch.md s.5.1, s.5.6.

#ifndef GOFER_RUNSC_OCI_SPEC_H_
#define GOFER_RUNSC_OCI_SPEC_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/unique_fd.h"
#include "gofer/runsc/oci_spec.pb.h"

namespace gofer::runsc {

// Decodes, validates, and makes root.path and the sources of mounts absolute by `bundle`.
absl::StatusOr<oci::Spec> ParseSpec(absl::string_view json, absl::string_view bundle);
// From the start of the file, wherever its position is.
absl::StatusOr<oci::Spec> ReadSpec(BorrowedFd file, absl::string_view bundle);

// A JSON array of all mounts, in order.
absl::StatusOr<std::string> MountsToJson(const oci::Spec& spec);

// A bind mount by its type or by its options, with a source: one that a gofer may have to serve.
bool IsBindMount(const oci::Mount& mount);
// Whether one of the options is exactly this.
bool HasOption(const oci::Mount& mount, absl::string_view option);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_OCI_SPEC_H_
