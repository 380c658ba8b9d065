// Saving: the moment in which nobody is served, and what is done in it.
//
//   1. while clients are served, names are given to files that have been moved behind our back (see
//      fs::RepairPaths). What moves after that is found by the restore, or by step 6. What the
//      files are is taken down at the same time (see fs::PreparedFiles);
//   2. the gate is closed: new requests wait, those in flight finish;
//   3. names that no client refers to are dropped: they may not be there later;
//   4. what is in FIFOs that clients read is copied, and stays in them;
//   5. everything that clients refer to is recorded, with the data of files that only they keep.
//      The host is asked for what is open or has been changed by clients since step 1, no more:
//      this and the number of names is how long clients wait;
//   6. where it is asked for, all paths are checked again. Here the record is complete, and the
//      gate is opened again unless the gofer is to end;
//   7. what clients have written to the files that they have open is brought to its disk (see
//      fs::Snapshot::WriteBack); then the record becomes the payload of an image, and is stored. A
//      gofer that is to end then takes out of FIFOs what it has saved of them (LetGo), or goes on
//      after all (ServeOn).
//
// Whatever fails, the tree and its clients are as before, and so is the image that was there.
//
// Owner:   borrows what it saves. Threads: safe; of two saves of one tree at the same time, as when
//          two guests migrate, each waits for requests alone, and clients wait for both.
// Errors:  absl::Status
//            kCancelled           the watch said so, in step 1 or 6;
//            kDeadlineExceeded    requests in flight did not end in time;
//            kFailedPrecondition  files cannot be saved, by name, or paths do not hold;
//            and those of the store.
// Source:  the design's section on checkpoints; spec/security.md s.5 and s.6.

#ifndef CHECKPOINT_SAVE_H_
#define CHECKPOINT_SAVE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fuse/dev/dev_fuse.h"
#include "fuse/session/session.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/path_repair.h"
#include "gofer/fs/prepared_files.h"
#include "gofer/fs/snapshot.h"
#include "lisafs/server/server.h"

namespace gofer::checkpoint {

// A FUSE session, and what carries it.
struct FuseClient {
  // As in FuseClientState.
  absl::string_view way;
  fuse::Session* session;
  // The mount that it serves, which takes no requests from before the gate is closed until clients
  // are served again: what it has not taken waits in the kernel, for whoever has the descriptor.
  fuse::DevFuse* device = nullptr;
};

// What is saved: a tree, and the front ends on it.
struct Subject {
  fs::Filesystem& filesystem;
  const lisafs::Server& lisafs;
  // Those of each way in the order of the command line, which a restore matches them by.
  std::span<const FuseClient> fuse = {};
  std::string version = "";  // of the gofer
  std::string root = "";     // as the command line names it
  bool readonly = false;
};

struct SaveOptions {
  // Clients are served again afterwards; otherwise the gate stays closed and mounts are left alone.
  bool leave_running = false;
  uint64_t max_deleted_bytes = uint64_t{64} << 20;
  absl::Duration quiesce = absl::Seconds(5);
  // A path that does not lead to its file when the record is made fails the save. Costs a look at
  // every name while clients wait.
  bool confirm_paths = false;
  // Of step 1, and of step 6.
  fs::PathWatch watch = {};
};

struct SaveResult {
  uint64_t names = 0;
  uint64_t files = 0;
  uint64_t open_files = 0;
  uint64_t deleted_files = 0;
  uint64_t clients = 0;
  uint64_t payload_bytes = 0;
  fs::PathRepair paths = {};  // what step 1 did
  // Of FIFOs, without leave_running. To be dropped before the Filesystem.
  std::vector<fs::UnreadFifo> unread = {};
  absl::Duration pause = {};  // from the closing of the gate to the end of the record
};

// Takes the payload to where it is kept, see WriteImage and StoreImage.
using ImageStore = absl::FunctionRef<absl::Status(absl::string_view payload)>;

// `prepared`: step 1 has been done before, and has taken down this. Of long ago it had better be
// empty.
absl::StatusOr<SaveResult> Save(const Subject& subject, const SaveOptions& options,
                                ImageStore store,
                                std::optional<fs::PreparedFiles> prepared = std::nullopt);

// After a Save without leave_running, when the image is in its place: others will go on with it,
// and need what is held of the host.
void LetGo(const Subject& subject, const SaveResult& saved);
// The same, but the gofer does not end after all.
void ServeOn(const Subject& subject);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_SAVE_H_
