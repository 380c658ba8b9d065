// UniqueFd owns a file descriptor, BorrowedFd is lent one. An int is a number.
//
// Owner:   a UniqueFd closes exactly once, on destruction. A BorrowedFd must not outlive its owner.
// Threads: values. Closing can block on the host (NFS, FUSE): never let a UniqueFd die under a leaf
// lock.

#ifndef GOFER_BASE_UNIQUE_FD_H_
#define GOFER_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace gofer {

class BorrowedFd {
 public:
  constexpr BorrowedFd() = default;
  constexpr explicit BorrowedFd(int fd) : fd_(fd) {}

  constexpr int get() const { return fd_; }
  constexpr bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class [[nodiscard]] UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  BorrowedFd borrow() const { return BorrowedFd(fd_); }
  operator BorrowedFd() const { return BorrowedFd(fd_); }  // NOLINT: lending is what it is for
  // The caller closes it from now on.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  // close(2) is not retried on EINTR: Linux has released the number by then.
  void Reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace gofer

#endif  // GOFER_BASE_UNIQUE_FD_H_
