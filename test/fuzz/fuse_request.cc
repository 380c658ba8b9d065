// Fuzzes one FUSE request: the decoders on its arguments, and a session on it, whose tree is empty
// but for what the request itself makes. What comes back is well-formed, and never more than there
// is room for.
// Input: a byte that says how buffers are cut, one that says what the mount may do, the message.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/string_view.h"
#include "fuse/session/session.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/requests.h"
#include "glog/logging.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using testing::FuseRequest;
using testing::FuseWorld;

// Whatever the opcode: a decoder may be given anything.
void DecodeAll(Payload args, uint16_t extlen) {
  (void)DecodeInit(args);
  (void)DecodeName("fuzz", args);
  (void)DecodeNamed<GetxattrIn>("fuzz", args);
  (void)DecodePair<Rename2In>("fuzz", args);
  (void)DecodeSymlink(args, extlen);
  (void)DecodeIoctl(args);
  for (const bool ext : {false, true}) {
    const auto request = DecodeSetxattr(args, ext);
    if (request.ok()) CHECK_EQ(request->value.size(), request->fixed.size);
  }
  const auto create = DecodeCreate<CreateIn>("fuzz", args, extlen);
  if (create.ok()) {
    CHECK(create->name.find('\0') == absl::string_view::npos);
    CHECK(create->extensions.context_value.empty() || !create->extensions.context_name.empty());
  }
}

SessionOptions OptionsFor(uint8_t bits) {
  SessionOptions options;
  options.readonly = (bits & 1) != 0;
  options.xattr = (bits & 2) != 0;
  options.posix_acl = (bits & 4) != 0;
  options.security_label = (bits & 8) != 0;
  options.killpriv_v2 = (bits & 16) != 0;
  options.writeback = (bits & 32) != 0;
  options.posix_locks = options.flock_locks = (bits & 64) != 0;
  options.cache = (bits & 128) != 0 ? CachePolicy::kAlways : CachePolicy::kAuto;
  return options;
}

void CheckReply(const FuseRequest& request, const Outcome& outcome, const InHeader& in) {
  CHECK(request.GuardIntact());
  if (outcome.written == 0) return;
  CHECK_GE(outcome.written, sizeof(OutHeader));
  OutHeader header;
  std::memcpy(&header, request.reply(outcome.written).data(), sizeof(header));
  CHECK_EQ(header.len, outcome.written);
  CHECK_EQ(header.unique, in.unique);
  CHECK(header.error <= 0 && header.error > -512);
  CHECK(header.error == 0 || header.len == sizeof(header));
}

// One tree for all runs, and a session for each set of options that came up.
class World {
 public:
  void Serve(uint8_t options, absl::string_view message, size_t cut) {
    std::unique_ptr<Session>& session = sessions_[options];
    if (session == nullptr) {
      session = std::make_unique<Session>(world_.filesystem.get(), OptionsFor(options));
    }
    ServeOne(*session, init_, 0, kRoom);
    // Room for much, and for nearly nothing.
    ServeOne(*session, message, cut, kRoom);
    ServeOne(*session, message, cut, cut);
    session->Reset();
    Clean();
  }

 private:
  static constexpr size_t kRoom = 4096;

  void ServeOne(Session& session, absl::string_view message, size_t cut, size_t room) {
    FuseRequest request(message, room, cut);
    InHeader in = {};
    std::memcpy(&in, message.data(), std::min(message.size(), sizeof(in)));
    Outcome outcome = session.Serve(request, Serving::kInline, scratch_);
    if (outcome.kind == Outcome::Kind::kWouldBlock) {
      outcome = session.Serve(request, Serving::kWorker, scratch_);
      CHECK(outcome.kind != Outcome::Kind::kWouldBlock);
    }
    if (outcome.kind == Outcome::Kind::kDeferred) {
      session.CancelDeferred();
      outcome.written = request.Wait();
    }
    CheckReply(request, outcome, in);
  }

  // What the request has made goes; a session that has gone leaves nothing.
  void Clean() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(world_.tree.path())) {
      std::filesystem::remove_all(entry.path(), error);
    }
    world_.filesystem->dentries().Purge();
    CHECK_EQ(world_.filesystem->dentries().size(), 1u) << "a session has left something";
  }

  FuseWorld world_;
  const std::string init_ = world_.client->InitMessage();
  Scratch scratch_;
  std::array<std::unique_ptr<Session>, 256> sessions_;
};

}  // namespace
}  // namespace gofer::fuse

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gofer::fuse;  // NOLINT: one function
  static auto* const world = new World;
  if (size < 2) return 0;
  const absl::string_view message(reinterpret_cast<const char*>(data) + 2, size - 2);
  InHeader header = {};
  std::memcpy(&header, message.data(), std::min(message.size(), sizeof(header)));
  if (message.size() > sizeof(header)) {
    DecodeAll(std::as_bytes(std::span(message.substr(sizeof(header)))), header.total_extlen);
  }
  world->Serve(data[1], message, data[0]);
  return 0;
}
