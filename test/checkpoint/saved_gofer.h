// SavedGofer: a gofer process with a client that has files open, an image of it that is there
// already, and one that is to take its place: what tests begin with that let a save go wrong.
//
//   SavedGofer world;
//   world.Begin();                                   // serving, and an image of that: the old one
//   SystemCallTracer save(world.Save(), chooser);
//   save.Wait();
//   EXPECT_NE(world.WhichImage(), SavedGofer::Which::kNone);
//
// Owner:   of the process and of three directories. Threads: one.
// Errors:  what fails ends the test at once.

#ifndef TEST_CHECKPOINT_SAVED_GOFER_H_
#define TEST_CHECKPOINT_SAVED_GOFER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "lisafs/client/client.h"
#include "test/support/gofer_process.h"
#include "test/support/system_call_tracer.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {

class SavedGofer {
 public:
  enum class Which { kOld, kNew, kNone };  // kNone: no image, or not a whole one

  SavedGofer();

  // Starts a gofer with a client, unless one serves. In the directory of images is the old one,
  // alone.
  void Begin();
  // The command that saves it to where the old image is, and the gofer, for a SystemCallTracer.
  Traced Save(bool leave_running = true) const;
  std::vector<std::string> SaveArguments(bool leave_running = true) const;
  // The image, read and decoded. The new one has a name more.
  Which WhichImage() const;
  // Files in the directory of images beside the image.
  std::vector<std::string> Strays() const;
  // A save by which nothing goes wrong: whether it succeeds, and leaves nothing but the new image.
  bool SavesNow();

  bool Running() { return gofer_ != nullptr && gofer_->Running(); }
  // Whether the client is answered, with what is in the files that it has open.
  bool Serves();
  void End();

  GoferProcess& gofer() { return *gofer_; }
  const TempTree& tree() const { return tree_; }
  const TempTree& images() const { return images_; }
  // Of a restore: the image is the old one, and `socket` is the client's other end.
  std::vector<std::string> RestoreArguments() const;
  // What the client of an old image has, over another socket.
  bool Serves(lisafs::Client& client) const;

 private:
  void Start();

  TempTree tree_;
  TempTree images_;
  TempTree run_;
  const std::string socket_ = run_.At("control");
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<lisafs::Client> client_;
  lisafs::FdId top_{};
  lisafs::FdId below_{};
  lisafs::FdId deleted_{};
  lisafs::FdId listing_{};
  std::string old_image_;
  size_t old_names_ = 0;
};

}  // namespace gofer::testing

#endif  // TEST_CHECKPOINT_SAVED_GOFER_H_
