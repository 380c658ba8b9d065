// Handles and nodes that are used, closed and forgotten by many threads at once, ids included that
// others have just given back.

#include <fcntl.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_fuse.h"

namespace gofer::fuse {
namespace {

using testing::Bytes;
using testing::FuseClient;
using testing::FuseReply;
using testing::Terminated;

class FuseCloseRace : public HostileFuseTest {};

bool IsExpected(int error) {
  for (const int expected :
       {0, EBADF, ENOENT, EEXIST, ESTALE, ENOTDIR, EISDIR, ENOTEMPTY, EINVAL}) {
    if (error == expected) return true;
  }
  return false;
}

TEST_F(FuseCloseRace, EverythingAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 4000;
  // What the threads tell each other: ids that may be gone at any moment.
  std::atomic<uint64_t> nodes[8] = {};
  std::atomic<uint64_t> handles[8] = {};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      FuseClient one(*world_.session);
      std::minstd_rand random(t + 1);
      for (int i = 0; i < kRounds; ++i) {
        const unsigned pick = random() % 8;
        const auto node = NodeId{nodes[pick].load()};
        const auto fh = HandleId{handles[pick].load()};
        const std::string name = Terminated("r" + std::to_string(random() % 4));
        FuseReply reply;
        switch (random() % 10) {
          case 0:
            reply = one.Call(Opcode::kLookup, NodeId::kRoot, name);
            if (reply.error == 0) nodes[pick] = static_cast<uint64_t>(reply.As<EntryOut>().nodeid);
            break;
          case 1: {
            const CreateIn in = {.flags = O_RDWR, .mode = 0600, .umask = 0, .open_flags = 0};
            reply = one.Call(Opcode::kCreate, NodeId::kRoot, Bytes(in) + name);
            if (reply.error != 0) break;
            nodes[pick] = static_cast<uint64_t>(reply.As<CreateOut>().entry.nodeid);
            handles[pick] = static_cast<uint64_t>(reply.As<CreateOut>().open.fh);
            break;
          }
          case 2:
            reply = one.Call(Opcode::kOpen, node, Bytes(OpenIn{.flags = O_RDWR, .open_flags = 0}));
            if (reply.error == 0) handles[pick] = static_cast<uint64_t>(reply.As<OpenOut>().fh);
            break;
          case 3:
            reply = one.Release(node, fh);
            break;
          case 4:
            one.Forget(node, random() % 3);
            break;
          case 5:
            reply = one.Read(node, fh, 0, 100);
            break;
          case 6:
            reply = one.Write(node, fh, 0, "text");
            break;
          case 7:
            reply = one.Call(Opcode::kUnlink, NodeId::kRoot, name);
            break;
          case 8:
            reply = one.Call(Opcode::kRename, NodeId::kRoot,
                             Bytes(RenameIn{NodeId::kRoot}) + name + Terminated("r0"));
            break;
          default:
            reply = one.Getattr(node);
        }
        if (!IsExpected(reply.error)) ADD_FAILURE() << reply.error;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace gofer::fuse
