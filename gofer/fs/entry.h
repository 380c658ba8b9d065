// Entry: what a lookup has found, or an operation has made, under a name.
//
// Owner: whoever asked. Threads: a value.

#ifndef GOFER_FS_ENTRY_H_
#define GOFER_FS_ENTRY_H_

#include "gofer/base/ref_ptr.h"
#include "gofer/fs/dentry.h"
#include "gofer/sys/host_fs.h"

namespace gofer::fs {

// The Dentry, and the attributes at that moment.
struct Entry {
  RefPtr<Dentry> dentry;
  sys::Attr attr;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_ENTRY_H_
