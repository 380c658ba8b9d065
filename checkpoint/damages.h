// Damages: an image's content that means everything an image can say, and what a forger may do to
// each of its parts. The tests of the codecs apply them to the messages, ckpt_tamper_test to whole
// images with a digest that fits, the fuzz target begins with them.
//
// Threads: safe.

#ifndef CHECKPOINT_DAMAGES_H_
#define CHECKPOINT_DAMAGES_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "checkpoint/fuse_codec.h"
#include "checkpoint/image.pb.h"
#include "gofer/fs/state.h"
#include "lisafs/server/state.h"

namespace gofer::checkpoint {

fs::InodeState SampleInode(uint32_t type, uint64_t ino);
// A root with a directory, in it a file that is open and one that is deleted; and a FIFO.
fs::FilesystemState SampleFiles();
// A client with ids of every kind, and one that has not mounted yet.
lisafs::ServerState SampleSandboxes();
// Two guests: one that has said INIT, knows three files, has two open and locks on one; one that
// has not.
std::vector<FuseClientState> SampleGuests();
// All of them.
Image SampleImage();

template <typename Message>
struct Damage {
  const char* what;
  const char* message;  // a part of the error, which is kDataLoss
  std::function<void(Message&)> apply;
};

// To SampleFiles.
std::span<const Damage<Filesystem>> FilesystemDamages();
// To the first of SampleSandboxes.
std::span<const Damage<LisafsConnection>> LisafsDamages();
// To the first of SampleGuests.
std::span<const Damage<FuseSession>> FuseDamages();
// To SampleImage as a whole.
std::span<const Damage<Image>> ImageDamages();

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_DAMAGES_H_
