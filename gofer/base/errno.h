// Errno and ErrnoOr<T>: host errors on the data path, as the exact number the peer must get.
//
// An absl::Status cannot carry an errno without folding several into one code and building a string
// per error; ENOENT is an everyday answer here, so it travels as a plain int. Setup, negotiation
// and decoding use absl::Status; ToStatus/ErrnoFrom convert at the border and keep the number.
//
// Threads: values, safe to copy. Errors: none of its own.

#ifndef GOFER_BASE_ERRNO_H_
#define GOFER_BASE_ERRNO_H_

#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace gofer {

// A Linux error number; never 0.
class [[nodiscard]] Errno {
 public:
  constexpr explicit Errno(int value) : value_(value == 0 ? EIO : value) {}

  // The errno of the system call that has just failed. Call it before anything else can change it.
  static Errno Last() { return Errno(errno); }

  constexpr int value() const { return value_; }
  // "ENOENT (No such file or directory)": for logs, never for a peer.
  std::string ToString() const;

  friend constexpr bool operator==(Errno a, Errno b) { return a.value_ == b.value_; }
  friend constexpr bool operator==(Errno a, int b) { return a.value_ == b; }

 private:
  int value_;
};

// A value or an error number. Reading value() of a failed one is a bug of ours, caught by the
// hardened build.
template <typename T>
class [[nodiscard]] ErrnoOr {
 public:
  using value_type = T;

  ErrnoOr(Errno error)
      : error_(error.value()) {}  // NOLINT: implicit so that `return Errno(ENOENT)` works
  ErrnoOr(T value) : error_(0) {
    std::construct_at(&value_, std::move(value));
  }  // NOLINT: implicit
  ErrnoOr(ErrnoOr&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
      : error_(other.error_) {
    if (ok()) std::construct_at(&value_, std::move(other.value_));
  }
  ErrnoOr& operator=(ErrnoOr&& other) noexcept(std::is_nothrow_move_constructible_v<T>) {
    if (this != &other) {
      Destroy();
      error_ = other.error_;
      if (ok()) std::construct_at(&value_, std::move(other.value_));
    }
    return *this;
  }
  ErrnoOr(const ErrnoOr&) = delete;
  ErrnoOr& operator=(const ErrnoOr&) = delete;
  ~ErrnoOr() { Destroy(); }

  bool ok() const { return error_ == 0; }
  // Only when !ok().
  Errno error() const { return Errno(error_); }
  T& value() & { return value_; }
  const T& value() const& { return value_; }
  T&& value() && { return std::move(value_); }
  T& operator*() & { return value_; }
  const T& operator*() const& { return value_; }
  T&& operator*() && { return std::move(value_); }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }

 private:
  void Destroy() {
    if (ok()) std::destroy_at(&value_);
  }

  int error_;
  union {
    T value_;
  };
};

template <>
class [[nodiscard]] ErrnoOr<void> {
 public:
  constexpr ErrnoOr() : error_(0) {}
  constexpr ErrnoOr(Errno error) : error_(error.value()) {}  // NOLINT: implicit

  constexpr bool ok() const { return error_ == 0; }
  constexpr Errno error() const { return Errno(error_); }

 private:
  int error_;
};

// "openat2(root): ENOENT (No such file or directory)", with the number as a payload.
absl::Status ToStatus(Errno error, absl::string_view what);
// The same of a result: OK, or its value, if it is no error.
absl::Status ToStatus(const ErrnoOr<void>& result, absl::string_view what);
template <typename T>
absl::StatusOr<T> ToStatus(ErrnoOr<T> result, absl::string_view what) {
  if (!result.ok()) return ToStatus(result.error(), what);
  return *std::move(result);
}
// The number that ToStatus put in; EIO if there is none. Only for a failed status.
Errno ErrnoFrom(const absl::Status& status);

}  // namespace gofer

#endif  // GOFER_BASE_ERRNO_H_
