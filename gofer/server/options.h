// Values of `gofer serve`'s flags, from text to ServeOptions.
//
// Errors:  InvalidArgument: flag, value, what it should be. Threads: values.
// Source:  options.proto.

#ifndef GOFER_SERVER_OPTIONS_H_
#define GOFER_SERVER_OPTIONS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/server/log_output.h"
#include "gofer/server/options.pb.h"

namespace gofer::server {

// N[:PATH[:ro]],…
absl::Status ParseLisafsFds(absl::string_view text, ServeOptions& options);
// FILE[:PATH[:ro]],…
absl::Status ParseLisafsSockets(absl::string_view text, ServeOptions& options);

// SOURCE:PATH[:ro],...
absl::Status ParseMounts(absl::string_view text, ServeOptions& options);

// FILE,...
absl::Status ParseVhostUserSockets(absl::string_view text, ServeOptions& options);
// N,...
absl::Status ParseVhostUserFds(absl::string_view text, ServeOptions& options);
// DIR[,...]
absl::Status ParseFuseMountpoints(absl::string_view text, ServeOptions& options);
// N[,...]
absl::Status ParseFuseFds(absl::string_view text, ServeOptions& options);

absl::StatusOr<HostUds> ParseHostUds(absl::string_view text);
absl::StatusOr<HostFifo> ParseHostFifo(absl::string_view text);
absl::StatusOr<DonateFds> ParseDonateFds(absl::string_view text);
absl::StatusOr<LogFormatName> ParseLogFormat(absl::string_view text);
absl::StatusOr<SeccompName> ParseSeccomp(absl::string_view text);
absl::StatusOr<SandboxName> ParseSandbox(absl::string_view text);
absl::StatusOr<OnMismatch> ParseOnMismatch(absl::string_view text);
absl::StatusOr<LandlockName> ParseLandlock(absl::string_view text);
absl::StatusOr<LogLevelName> ParseLogLevel(absl::string_view text);
absl::StatusOr<CacheName> ParseCache(absl::string_view text);
absl::StatusOr<InodeFileHandlesName> ParseInodeFileHandles(absl::string_view text);
absl::StatusOr<CredsName> ParseCreds(absl::string_view text);
absl::StatusOr<MigrationModeName> ParseMigrationMode(absl::string_view text);
absl::StatusOr<MigrationOnErrorName> ParseMigrationOnError(absl::string_view text);

// The other way round.
absl::string_view NameOf(SeccompName seccomp);
absl::string_view NameOf(SandboxName sandbox);

// What the log's output goes by.
LogLevel ToLogLevel(LogLevelName name);

// That a number is 0, which stands for the default, or in its range; `why` it is that range.
absl::Status CheckLimit(absl::string_view flag, uint64_t value, uint64_t least, uint64_t most,
                        absl::string_view why);

// What one flag alone cannot tell: something to serve, a way in, no descriptor twice.
absl::Status Validate(const ServeOptions& options);

}  // namespace gofer::server

#endif  // GOFER_SERVER_OPTIONS_H_
