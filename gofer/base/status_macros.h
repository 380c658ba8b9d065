// ASSIGN_OR_RETURN and RETURN_IF_ERROR for both error families: absl::Status(Or) and Errno(Or).
//
// The enclosing function must return the same family as the expression: mixing them is a decision
// (which number does the peer get?) and is written out with ToStatus or ErrnoFrom.

#ifndef GOFER_BASE_STATUS_MACROS_H_
#define GOFER_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/errno.h"

namespace gofer::internal {

inline bool IsOk(const absl::Status& status) { return status.ok(); }
template <typename T>
bool IsOk(const absl::StatusOr<T>& result) {
  return result.ok();
}
template <typename T>
bool IsOk(const ErrnoOr<T>& result) {
  return result.ok();
}

inline absl::Status ErrorOf(absl::Status status) { return status; }
template <typename T>
absl::Status ErrorOf(absl::StatusOr<T>&& result) {
  return std::move(result).status();
}
template <typename T>
Errno ErrorOf(const ErrnoOr<T>& result) {
  return result.error();
}

}  // namespace gofer::internal

#define GOFER_CONCAT_INNER(a, b) a##b
#define GOFER_CONCAT(a, b) GOFER_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                               \
  do {                                                            \
    auto gofer_result = (expression);                             \
    if (!::gofer::internal::IsOk(gofer_result)) [[unlikely]]      \
      return ::gofer::internal::ErrorOf(std::move(gofer_result)); \
  } while (false)

#define GOFER_ASSIGN_OR_RETURN(result, declaration, expression) \
  auto result = (expression);                                   \
  if (!::gofer::internal::IsOk(result)) [[unlikely]]            \
    return ::gofer::internal::ErrorOf(std::move(result));       \
  declaration = *std::move(result)

// ASSIGN_OR_RETURN(UniqueFd fd, OpenPath(dir, name));
#define ASSIGN_OR_RETURN(declaration, expression) \
  GOFER_ASSIGN_OR_RETURN(GOFER_CONCAT(gofer_result_, __LINE__), declaration, expression)

#endif  // GOFER_BASE_STATUS_MACROS_H_
