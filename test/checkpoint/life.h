// Life: one life of a gofer, in this process: a Filesystem, a LISAFS server on it, and one client.
//
//   Life before(tree.OpenPath(), options);
//   before.Start();
//   const FdId file = before.Walk(before.root(), "file");
//   ...                                        // saved, and over
//   Life after(tree.OpenPath(), options);
//   after.Restore(files, connections);         // absl::Status
//   after.Read(file, 100);
//
// Owner:   all three; ends when it is destroyed, the client first.
// Threads: one, beside those of the server.
// Errors:  verbs that return values end the test when they fail; calls through -> return them.

#ifndef TEST_CHECKPOINT_LIFE_H_
#define TEST_CHECKPOINT_LIFE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/state.h"
#include "gofer/fs/tree_restore.h"
#include "lisafs/client/client.h"
#include "lisafs/server/options.h"
#include "lisafs/server/server.h"
#include "lisafs/server/state.h"

namespace gofer::testing {

class Life {
 public:
  // `root` is an O_PATH descriptor of what is served.
  Life(UniqueFd root, const lisafs::ServerOptions& options);
  ~Life();

  // A new client, which mounts.
  void Start();
  // With a restored tree, and what the client could name. Whatever the report says, all is taken.
  // `others` restores who else has ids of the tree.
  absl::Status Restore(
      fs::FilesystemState files, const lisafs::ServerState& state,
      const fs::RestoreOptions& options = {},
      const std::function<absl::Status(fs::TreeRestore&)>& others = [](fs::TreeRestore&) {
        return absl::OkStatus();
      });

  lisafs::Client* operator->() { return client_.get(); }
  lisafs::Server& server() { return *server_; }
  fs::Filesystem& filesystem() { return *filesystem_; }
  lisafs::FdId root() const { return root_; }                  // after Start
  const fs::RestoreReport& report() const { return report_; }  // after Restore

  lisafs::FdId Walk(lisafs::FdId from, absl::string_view name);
  std::string Read(lisafs::FdId file, size_t size, uint64_t offset = 0);
  size_t Write(lisafs::FdId file, absl::string_view text, uint64_t offset = 0);

 private:
  std::unique_ptr<fs::Filesystem> filesystem_;
  std::unique_ptr<lisafs::Server> server_;
  UniqueFd server_end_;
  std::unique_ptr<lisafs::Client> client_;
  lisafs::FdId root_{};
  fs::RestoreReport report_;
};

// Saves it as an image would be, and reads that. The life goes on as `options` say.
absl::StatusOr<checkpoint::Loaded> SaveInMemory(Life& life,
                                                const checkpoint::SaveOptions& options = {
                                                    .leave_running = true});

}  // namespace gofer::testing

#endif  // TEST_CHECKPOINT_LIFE_H_
