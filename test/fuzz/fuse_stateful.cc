// Fuzzes a life of a FUSE client on a real tree, with something beside it that nobody may touch.
// Nodes and handles that a message names stand for those that the client has been given: so that
// most requests mean something, and the interesting ones follow each other.
// Input: messages, each as long as its header says.

#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/string_view.h"
#include "fuse/session/session.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/dirent_writer.h"
#include "glog/logging.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using testing::FuseRequest;
using testing::FuseWorld;

constexpr size_t kMaxMessages = 64;
constexpr size_t kMaxKnown = 64;
// An id with this in its highest byte is sent as it is.
constexpr uint64_t kForged = 0xff;

SessionOptions Options() {
  SessionOptions options;
  options.xattr = true;
  options.posix_locks = options.flock_locks = true;
  options.killpriv_v2 = true;
  return options;
}

// What is served, and the canary beside it.
class World {
 public:
  World() : world_("served") {
    world_.tree.Mkdir("beside");
    world_.tree.Write("beside/secret", "secret");
    Refill();
    beside_ = Beside();
    world_.Restart(Options());
  }

  // A life, and what must hold after it.
  void Live(absl::string_view input) {
    CHECK_EQ(world_.client->Init().error, 0);
    nodes_ = {NodeId::kRoot};
    handles_ = {HandleId::kNone};
    for (size_t i = 0; i < kMaxMessages && input.size() >= sizeof(InHeader); ++i) {
      InHeader header;
      std::memcpy(&header, input.data(), sizeof(header));
      const size_t size = std::clamp<size_t>(header.len, sizeof(header), input.size());
      std::string message(input.substr(0, size));
      input.remove_prefix(size);
      header.len = static_cast<uint32_t>(size);
      header.nodeid = NodeFor(header.nodeid);
      std::memcpy(message.data(), &header, sizeof(header));
      TranslateArgs(header.opcode, message);
      Send(header, message);
    }
    if (const RefPtr<Connection> connection = world_.session->connection(); connection) {
      CHECK_GE(connection->nodes().lookups(), connection->nodes().size());
    }
    world_.session->Reset();
    Check();
  }

 private:
  NodeId NodeFor(NodeId id) const {
    const auto number = static_cast<uint64_t>(id);
    return number >> 56 == kForged ? id : nodes_[number % nodes_.size()];
  }
  HandleId HandleFor(HandleId id) const {
    const auto number = static_cast<uint64_t>(id);
    return number >> 56 == kForged ? id : handles_[number % handles_.size()];
  }
  template <typename T, typename F>
  static void Change(std::string& message, size_t offset, F&& change) {
    if (message.size() < offset + sizeof(T)) return;
    T value;
    std::memcpy(&value, message.data() + offset, sizeof(value));
    value = change(value);
    std::memcpy(message.data() + offset, &value, sizeof(value));
  }
  void Node(std::string& message, size_t offset) const {
    Change<NodeId>(message, sizeof(InHeader) + offset, [&](NodeId id) { return NodeFor(id); });
  }
  void Handle(std::string& message, size_t offset) const {
    Change<HandleId>(message, sizeof(InHeader) + offset,
                     [&](HandleId id) { return HandleFor(id); });
  }
  void TranslateArgs(Opcode opcode, std::string& message) const {
    switch (opcode) {
      case Opcode::kRead:
      case Opcode::kReaddir:
      case Opcode::kReaddirplus:
      case Opcode::kWrite:
      case Opcode::kRelease:
      case Opcode::kReleasedir:
      case Opcode::kFlush:
      case Opcode::kFsync:
      case Opcode::kFsyncdir:
      case Opcode::kFallocate:
      case Opcode::kLseek:
      case Opcode::kIoctl:
      case Opcode::kGetlk:
      case Opcode::kSetlk:
      case Opcode::kSetlkw:
        return Handle(message, 0);
      case Opcode::kGetattr:
      case Opcode::kSetattr:
      case Opcode::kStatx:
        return Handle(message, 8);
      case Opcode::kCopyFileRange:
        Handle(message, offsetof(CopyFileRangeIn, fh_in));
        Node(message, offsetof(CopyFileRangeIn, nodeid_out));
        return Handle(message, offsetof(CopyFileRangeIn, fh_out));
      case Opcode::kLink:
      case Opcode::kRename:
      case Opcode::kRename2:
        return Node(message, 0);
      default:
        return;
    }
  }

  void Send(const InHeader& in, const std::string& message) {
    FuseRequest request(message, 4096, in.unique % 100);
    Scratch& scratch = world_.client->scratch();
    Outcome outcome = world_.session->Serve(request, Serving::kInline, scratch);
    if (outcome.kind == Outcome::Kind::kWouldBlock) {
      outcome = world_.session->Serve(request, Serving::kWorker, scratch);
    }
    if (outcome.kind == Outcome::Kind::kDeferred) {
      world_.session->CancelDeferred();
      outcome.written = request.Wait();
    }
    CHECK(request.GuardIntact());
    if (outcome.written == 0) return;
    const absl::string_view reply = request.reply(outcome.written);
    OutHeader header;
    std::memcpy(&header, reply.data(), sizeof(header));
    CHECK_EQ(header.len, reply.size());
    CHECK(header.error <= 0 && header.error > -512);
    CHECK(header.error == 0 || header.len == sizeof(header));
    if (header.error == 0) Learn(in.opcode, reply.substr(sizeof(header)));
  }

  template <typename T>
  static void Remember(std::vector<T>& known, T id) {
    if (known.size() < kMaxKnown) known.push_back(id);
  }
  void Learn(Opcode opcode, absl::string_view body) {
    ByteReader reader("reply", std::as_bytes(std::span(body)));
    switch (opcode) {
      case Opcode::kLookup:
      case Opcode::kMkdir:
      case Opcode::kMknod:
      case Opcode::kSymlink:
      case Opcode::kLink:
        return Remember(nodes_, reader.Read<EntryOut>().nodeid);
      case Opcode::kCreate:
      case Opcode::kTmpfile: {
        const auto out = reader.Read<CreateOut>();
        Remember(nodes_, out.entry.nodeid);
        return Remember(handles_, out.open.fh);
      }
      case Opcode::kOpen:
      case Opcode::kOpendir:
        return Remember(handles_, reader.Read<OpenOut>().fh);
      case Opcode::kReaddirplus:
        while (reader.remaining() > 0) {
          const auto record = reader.Read<Direntplus>();
          reader.ReadSpan(DirentWriter::SizeOf(sizeof(record), record.dirent.namelen) -
                          sizeof(record));
          CHECK(reader.ok());
          if (record.entry_out.nodeid != NodeId::kNone) Remember(nodes_, record.entry_out.nodeid);
        }
        return;
      default:
        return;
    }
  }

  void Check() {
    CHECK(Beside() == beside_) << "something beside the served tree was touched";
    world_.filesystem->dentries().Purge();
    CHECK_EQ(world_.filesystem->dentries().size(), 1u) << "a session has gone and left something";
    if (++lives_ % 16 != 0) return;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(world_.tree.At("served"))) {
      std::filesystem::remove_all(entry.path(), error);
    }
    Refill();
  }
  void Refill() const {
    const testing::TempTree& tree = world_.tree;
    tree.Mkdir("served/d");
    tree.Write("served/d/f", "hello world\n");
    tree.Symlink("served/d/ln", "f");
    tree.Mkdir("served/d/sub");
    tree.Write("served/a", "hello\n");
    tree.Symlink("served/abs", "../beside/secret");
    tree.Fifo("served/pipe");
  }
  std::map<std::string, std::string> Beside() const {
    std::map<std::string, std::string> times;
    for (const char* name : {"beside", "beside/secret"}) {
      const struct stat stat = world_.tree.Stat(name);
      times[name] =
          std::to_string(stat.st_ctim.tv_sec) + "." + std::to_string(stat.st_ctim.tv_nsec);
    }
    return times;
  }

  FuseWorld world_;
  std::map<std::string, std::string> beside_;
  std::vector<NodeId> nodes_;
  std::vector<HandleId> handles_;
  size_t lives_ = 0;
};

}  // namespace
}  // namespace gofer::fuse

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const world = new gofer::fuse::World;
  world->Live(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
