#include "fuse/session/negotiation.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace gofer::fuse {
namespace {

constexpr uint64_t kDay_s = 86400;

// Requests that wait in the client; its limits, as virtiofsd sets them.
constexpr uint16_t kMaxBackground = 65535;
constexpr uint16_t kCongestionThreshold = kMaxBackground / 4 * 3;

constexpr uint64_t kAcl = init::kPosixAcl | init::kDontMask | init::kSetxattrExt;

uint64_t Wanted(const SessionOptions& options) {
  uint64_t flags = init::kAsyncRead | init::kParallelDirops | init::kBigWrites |
                   init::kAutoInvalData | init::kAsyncDio | init::kHasIoctlDir | init::kMaxPages |
                   init::kSubmounts | init::kExt | init::kCreateSuppGroup | init::kAllowIdmap;
  if (options.readdirplus && options.cache != CachePolicy::kNever) {
    flags |= init::kDoReaddirplus | init::kReaddirplusAuto;
  }
  // A link's target never changes: it is as long-lived as the name.
  if (CacheRules::Of(options.cache).negative) flags |= init::kCacheSymlinks;
  if (options.writeback) flags |= init::kWritebackCache;
  if (options.killpriv_v2) flags |= init::kHandleKillprivV2 | init::kAtomicOTrunc;
  if (options.allow_mmap) flags |= init::kDirectIoAllowMmap;
  if (options.posix_acl) flags |= kAcl;
  if (options.security_label) flags |= init::kSecurityCtx;
  if (options.posix_locks) flags |= init::kPosixLocks;
  if (options.flock_locks) flags |= init::kFlockLocks;
  return flags;
}

// Without these the client would do what the option is there to prevent.
uint64_t Needed(const SessionOptions& options) {
  return (options.posix_acl ? kAcl : 0) | (options.security_label ? init::kSecurityCtx : 0);
}

}  // namespace

CacheRules CacheRules::Of(CachePolicy policy) {
  constexpr uint32_t kDirect = fopen::kDirectIo | fopen::kParallelDirectWrites;
  constexpr uint32_t kKeepDir = fopen::kKeepCache | fopen::kCacheDir;
  switch (policy) {
    case CachePolicy::kNever:
      return {.valid_s = 0, .file_open = kDirect, .dir_open = 0, .negative = false};
    case CachePolicy::kMetadata:
      return {.valid_s = kDay_s, .file_open = kDirect, .dir_open = kKeepDir, .negative = true};
    case CachePolicy::kAuto:
      break;
    case CachePolicy::kAlways:
      return {.valid_s = kDay_s,
              .file_open = fopen::kKeepCache,
              .dir_open = kKeepDir,
              .negative = true};
  }
  return {.valid_s = 1, .file_open = 0, .dir_open = 0, .negative = false};
}

ErrnoOr<Negotiation> Negotiate(const InitReq& request, const SessionOptions& options) {
  Negotiation result = {};
  result.reply.major = kMajor;
  result.reply.minor = kMinor;
  if (request.fixed.major > kMajor) return result;
  if (request.fixed.major < kMajor || request.fixed.minor < kOldestMinor) return Errno(EPROTO);
  const uint64_t missing = Needed(options) & ~request.flags;
  if (missing != 0) return Errno(EPROTO);

  result.agreed = true;
  result.granted = {.minor = std::min(kMinor, request.fixed.minor),
                    .flags = request.flags & Wanted(options),
                    .can_resend = (request.flags & init::kHasResend) != 0};
  // A client that opens with O_TRUNC and does not say to drop privileges leaves a file that anybody
  // has emptied with its set-id bits; one that cuts the file by a SETATTR takes them away itself.
  if (!result.granted.Has(init::kHandleKillprivV2)) result.granted.flags &= ~init::kAtomicOTrunc;
  InitOut& reply = result.reply;
  reply.max_readahead = request.fixed.max_readahead;
  reply.flags = static_cast<uint32_t>(result.granted.flags);
  reply.flags2 = static_cast<uint32_t>(result.granted.flags >> 32);
  reply.max_background = kMaxBackground;
  reply.congestion_threshold = kCongestionThreshold;
  reply.max_write = kMaxData;
  reply.time_gran = 1;
  reply.max_pages = kMaxPages;
  return result;
}

absl::Status CheckGranted(const Granted& granted, const SessionOptions& options) {
  // What the client does differently because of the others, it may go on doing.
  constexpr struct {
    uint64_t flag;
    absl::string_view option;
  } kReliedOn[] = {
      {init::kWritebackCache, "--writeback"},
      {init::kHandleKillprivV2, "--killpriv-v2"},
      {init::kPosixAcl, "--posix-acl"},
      {init::kSecurityCtx, "--security-label"},
      {init::kPosixLocks, "locks of byte ranges"},
      {init::kFlockLocks, "locks of whole files"},
  };
  std::string missing;
  for (const auto& [flag, option] : kReliedOn) {
    if (!granted.Has(flag) || (Wanted(options) & flag) != 0) continue;
    absl::StrAppend(&missing, missing.empty() ? "" : ", ", option);
  }
  if (missing.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("image: a FUSE client was granted ", missing,
                   ", which is off here; serve it with the options that it was saved with"));
}

}  // namespace gofer::fuse
