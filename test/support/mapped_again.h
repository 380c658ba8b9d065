// MappedAgain: the pages of a shared mapping at a second address, for a thread that changes them
// behind the back of whoever uses the first: as a sandbox's or a guest's other processors do.
// ThreadSanitizer goes by addresses, so it does not take that for a mistake of the test's.
//
// Owner:   the test; the first mapping may end before. Threads: the memory is anybody's.

#ifndef TEST_SUPPORT_MAPPED_AGAIN_H_
#define TEST_SUPPORT_MAPPED_AGAIN_H_

#include <sys/mman.h>

#include <cstddef>
#include <span>

#include "glog/logging.h"

namespace gofer::testing {

class MappedAgain {
 public:
  // Begins at a page.
  explicit MappedAgain(std::span<std::byte> mapped) : size_(mapped.size()) {
    // An old size of 0 leaves a shared mapping where it is, see mremap(2).
    void* const at = mremap(mapped.data(), 0, size_, MREMAP_MAYMOVE);
    PCHECK(at != MAP_FAILED) << "mremap of " << size_;
    bytes_ = static_cast<std::byte*>(at);
  }
  MappedAgain(const MappedAgain&) = delete;
  MappedAgain& operator=(const MappedAgain&) = delete;
  ~MappedAgain() { munmap(bytes_, size_); }

  std::byte* data() const { return bytes_; }

 private:
  const size_t size_;
  std::byte* bytes_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_MAPPED_AGAIN_H_
