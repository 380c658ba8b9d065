// Gives back the pages of this program's own code and constants that starting up has touched: most
// of them are never needed again, and of the little memory that an idle gofer has to itself they
// were four fifths.
//
// They are clean pages of a file: what is needed again comes back from the page cache, by a fault
// of a microsecond.
//
// Threads: safe. Errors: none; what the kernel refuses stays. Source: dl_iterate_phdr(3),
//          madvise(2) MADV_DONTNEED.

#ifndef GOFER_SYS_OWN_CODE_H_
#define GOFER_SYS_OWN_CODE_H_

namespace gofer::sys {

void ReleaseOwnCode();

}  // namespace gofer::sys

#endif  // GOFER_SYS_OWN_CODE_H_
