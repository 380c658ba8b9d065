#include "gofer/base/errno.h"

#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace gofer {
namespace {

constexpr absl::string_view kErrnoPayload = "gofer/errno";

}  // namespace

std::string Errno::ToString() const {
  const char* name = strerrorname_np(value_);
  if (name == nullptr) return absl::StrCat("errno ", value_);
  return absl::StrCat(name, " (", strerrordesc_np(value_), ")");
}

absl::Status ToStatus(Errno error, absl::string_view what) {
  absl::Status status(absl::ErrnoToStatusCode(error.value()),
                      absl::StrCat(what, ": ", error.ToString()));
  status.SetPayload(kErrnoPayload, absl::Cord(absl::StrCat(error.value())));
  return status;
}

absl::Status ToStatus(const ErrnoOr<void>& result, absl::string_view what) {
  return result.ok() ? absl::OkStatus() : ToStatus(result.error(), what);
}

Errno ErrnoFrom(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kErrnoPayload);
  int value = 0;
  if (payload.has_value() && absl::SimpleAtoi(std::string(*payload), &value)) return Errno(value);
  return Errno(EIO);
}

}  // namespace gofer
