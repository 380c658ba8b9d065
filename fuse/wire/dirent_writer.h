// DirentWriter: packs the records of READDIR and READDIRPLUS, and knows beforehand whether the next
// one fits, so that no node is looked up whose record would have to be taken back.
//
// Owner: the Reply is the caller's. Threads: one at a time.
// Source: spec/fuse.md s.14.1, s.14.2; linux/fuse.h FUSE_DIRENT_ALIGN.

#ifndef FUSE_WIRE_DIRENT_WRITER_H_
#define FUSE_WIRE_DIRENT_WRITER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/reply.h"

namespace gofer::fuse {

class DirentWriter {
 public:
  // At most `size` bytes, the client's limit; the caller has checked that the reply has room.
  DirentWriter(Reply& reply, size_t size) : reply_(reply), left_(size) {}

  static constexpr size_t SizeOf(size_t fixed, size_t name) {
    return (fixed + name + 7) & ~size_t{7};
  }

  template <WireStruct Record>
  bool Fits(absl::string_view name) const {
    return SizeOf(sizeof(Record), name.size()) <= left_;
  }

  // `record` is a Dirent or Direntplus that Fits. Its name's length is set here.
  void Write(Dirent record, absl::string_view name) {
    record.namelen = static_cast<uint32_t>(name.size());
    Put(record, name);
  }
  void Write(Direntplus record, absl::string_view name) {
    record.dirent.namelen = static_cast<uint32_t>(name.size());
    Put(record, name);
  }

 private:
  template <WireStruct Record>
  void Put(const Record& record, absl::string_view name) {
    const size_t size = SizeOf(sizeof(Record), name.size());
    reply_.Write(record);
    reply_.WriteBytes(name);
    reply_.WriteBytes(absl::string_view("\0\0\0\0\0\0\0", size - sizeof(Record) - name.size()));
    left_ -= size;
  }

  Reply& reply_;
  size_t left_;
};

}  // namespace gofer::fuse

#endif  // FUSE_WIRE_DIRENT_WRITER_H_
