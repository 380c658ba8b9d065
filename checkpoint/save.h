// Saving: the moment in which nobody is served, and what is done in it.
//
//   1. the gate is closed: new requests wait, those in flight finish;
//   2. names that no client refers to are dropped: they may not be there later;
//   3. everything that clients refer to is recorded, with the data of files that only they keep;
//   4. the record becomes the payload of an image, and is stored;
//   5. the gate is opened again, unless the gofer is to end.
//
// Whatever fails, the tree and its clients are as before, and so is the image that was there.
//
// Owner:   borrows what it saves. Threads: one save at a time.
// Errors:  absl::Status
//            kDeadlineExceeded    requests in flight did not end in time;
//            kFailedPrecondition  files cannot be saved, by name;
//            and those of the store.
// Source:  the design's section on checkpoints; spec/security.md s.5 and s.6.

#ifndef CHECKPOINT_SAVE_H_
#define CHECKPOINT_SAVE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gofer/fs/filesystem.h"
#include "lisafs/server/server.h"

namespace gofer::checkpoint {

// What is saved: a tree, and the front ends on it.
struct Subject {
  fs::Filesystem& filesystem;
  const lisafs::Server& lisafs;
  std::string version = "";  // of the gofer
  std::string root = "";     // as the command line names it
  bool readonly = false;
};

struct SaveOptions {
  // Clients are served again afterwards; otherwise the gate stays closed.
  bool leave_running = false;
  uint64_t max_deleted_bytes = uint64_t{64} << 20;
  absl::Duration quiesce = absl::Seconds(5);
};

struct SaveResult {
  uint64_t names = 0;
  uint64_t files = 0;
  uint64_t open_files = 0;
  uint64_t deleted_files = 0;
  uint64_t clients = 0;
  uint64_t payload_bytes = 0;
  absl::Duration pause;  // from the closing of the gate to the end of the record
};

// Takes the payload to where it is kept, see WriteImage and StoreImage.
using ImageStore = absl::FunctionRef<absl::Status(absl::string_view payload)>;

absl::StatusOr<SaveResult> Save(const Subject& subject, const SaveOptions& options,
                                ImageStore store);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_SAVE_H_
