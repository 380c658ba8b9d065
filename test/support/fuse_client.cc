#include "test/support/fuse_client.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"

namespace gofer::testing {

using fuse::HandleId;
using fuse::NodeId;
using fuse::Opcode;
using fuse::Outcome;
using fuse::Serving;

namespace {

constexpr char kGuard = '\x5a';
constexpr size_t kGuardSize = 64;

std::vector<struct iovec> Cut(char* memory, size_t size, size_t cut) {
  std::vector<struct iovec> pieces;
  if (cut == 0) cut = std::max<size_t>(size, 1);
  for (size_t at = 0; at < size; at += cut) {
    pieces.push_back({.iov_base = memory + at, .iov_len = std::min(cut, size - at)});
  }
  return pieces;
}

}  // namespace

std::string Terminated(absl::string_view text) {
  std::string bytes(text);
  bytes.push_back('\0');
  return bytes;
}

FuseRequest::FuseRequest(absl::string_view message, size_t room, size_t cut)
    : message_(message), room_(room + kGuardSize, kGuard), room_size_(room) {
  in_ = Cut(message_.data(), message_.size(), cut);
  out_ = Cut(room_.data(), room, cut);
  in = in_;
  out = out_;
}

void FuseRequest::Complete(size_t written) {
  const std::lock_guard<std::mutex> lock(mu_);
  CHECK(!completed_) << "completed twice";
  completed_ = true;
  written_ = written;
  done_.notify_all();
}

size_t FuseRequest::Wait() {
  std::unique_lock<std::mutex> lock(mu_);
  done_.wait(lock, [this] { return completed_; });
  return written_;
}

bool FuseRequest::completed() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return completed_;
}

absl::string_view FuseRequest::reply(size_t written) const {
  CHECK_LE(written, room_size_);
  return absl::string_view(room_).substr(0, written);
}

bool FuseRequest::GuardIntact() const {
  return room_.find_first_not_of(kGuard, room_size_) == std::string::npos;
}

std::string FuseClient::Message(Opcode opcode, NodeId node, absl::string_view args) {
  unique_ += 2;
  const fuse::InHeader header = {.len = static_cast<uint32_t>(sizeof(fuse::InHeader) + args.size()),
                                 .opcode = opcode,
                                 .unique = unique_,
                                 .nodeid = node,
                                 .uid = uid,
                                 .gid = gid,
                                 .pid = 1,
                                 .total_extlen = extlen,
                                 .padding = 0};
  return absl::StrCat(Bytes(header), args);
}

FuseReply FuseClient::Call(Opcode opcode, NodeId node, absl::string_view args) {
  return Raw(Message(opcode, node, args), room);
}

FuseReply FuseClient::Raw(absl::string_view message, size_t room) {
  FuseRequest request(message, room, cut);
  Outcome outcome = session_.Serve(request, Serving::kInline, scratch_);
  last_kind_ = outcome.kind;
  if (outcome.kind == Outcome::Kind::kWouldBlock) {
    outcome = session_.Serve(request, Serving::kWorker, scratch_);
    CHECK(outcome.kind != Outcome::Kind::kWouldBlock) << "a worker may block";
  }
  if (outcome.kind == Outcome::Kind::kDeferred) {
    last_kind_ = outcome.kind;
    outcome.written = request.Wait();
  }
  CHECK(request.GuardIntact()) << "written behind the room for the reply";
  FuseReply reply = {.written = outcome.written, .error = 0, .body = ""};
  if (outcome.written == 0) return reply;
  CHECK_GE(outcome.written, sizeof(fuse::OutHeader));
  const absl::string_view bytes = request.reply(outcome.written);
  fuse::OutHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  CHECK_EQ(header.len, outcome.written);
  CHECK(header.error <= 0 && header.error > -512) << header.error;
  CHECK(header.error == 0 || header.len == sizeof(header)) << "an error with a body";
  if (message.size() >= sizeof(fuse::InHeader)) {
    fuse::InHeader in;
    std::memcpy(&in, message.data(), sizeof(in));
    CHECK_EQ(header.unique, in.unique);
  }
  reply.error = -header.error;
  reply.body = std::string(bytes.substr(sizeof(header)));
  return reply;
}

FuseReply FuseClient::Init(uint64_t flags, uint32_t minor, uint32_t major) {
  return Raw(InitMessage(flags, minor, major), room);
}

std::string FuseClient::InitMessage(uint64_t flags, uint32_t minor, uint32_t major) {
  const fuse::InitIn in = {.major = major,
                           .minor = minor,
                           .max_readahead = 131072,
                           .flags = static_cast<uint32_t>(flags)};
  fuse::InitExtIn ext = {};
  ext.flags2 = static_cast<uint32_t>(flags >> 32);
  return Message(Opcode::kInit, NodeId::kNone, Bytes(in) + Bytes(ext));
}

fuse::EntryOut FuseClient::Lookup(NodeId parent, absl::string_view name) {
  const FuseReply reply = Call(Opcode::kLookup, parent, Terminated(name));
  CHECK_EQ(reply.error, 0) << "LOOKUP " << name;
  return reply.As<fuse::EntryOut>();
}

NodeId FuseClient::Walk(absl::string_view path) {
  NodeId at = NodeId::kRoot;
  for (const absl::string_view name : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    at = Lookup(at, name).nodeid;
  }
  return at;
}

HandleId FuseClient::Open(NodeId node, uint32_t flags) {
  const FuseReply reply =
      Call(Opcode::kOpen, node, Bytes(fuse::OpenIn{.flags = flags, .open_flags = 0}));
  CHECK_EQ(reply.error, 0) << "OPEN";
  return reply.As<fuse::OpenOut>().fh;
}

HandleId FuseClient::Opendir(NodeId node) {
  const FuseReply reply = Call(Opcode::kOpendir, node, Bytes(fuse::OpenIn{}));
  CHECK_EQ(reply.error, 0) << "OPENDIR";
  return reply.As<fuse::OpenOut>().fh;
}

fuse::CreateOut FuseClient::Create(NodeId parent, absl::string_view name, uint32_t flags,
                                   uint32_t mode) {
  const fuse::CreateIn in = {.flags = flags, .mode = S_IFREG | mode, .umask = 0, .open_flags = 0};
  const FuseReply reply = Call(Opcode::kCreate, parent, Bytes(in) + Terminated(name));
  CHECK_EQ(reply.error, 0) << "CREATE " << name;
  return reply.As<fuse::CreateOut>();
}

FuseReply FuseClient::Read(NodeId node, HandleId fh, uint64_t offset, uint32_t size) {
  fuse::ReadIn in = {};
  in.fh = fh;
  in.offset = offset;
  in.size = size;
  return Call(Opcode::kRead, node, Bytes(in));
}

FuseReply FuseClient::Write(NodeId node, HandleId fh, uint64_t offset, absl::string_view data,
                            uint32_t flags, uint32_t write_flags) {
  fuse::WriteIn in = {};
  in.fh = fh;
  in.offset = offset;
  in.size = static_cast<uint32_t>(data.size());
  in.flags = flags;
  in.write_flags = write_flags;
  return Call(Opcode::kWrite, node, absl::StrCat(Bytes(in), data));
}

FuseReply FuseClient::Getattr(NodeId node) {
  return Call(Opcode::kGetattr, node, Bytes(fuse::GetattrIn{}));
}

FuseReply FuseClient::Setattr(NodeId node, const fuse::SetattrIn& in) {
  return Call(Opcode::kSetattr, node, Bytes(in));
}

FuseReply FuseClient::Release(NodeId node, HandleId fh) {
  fuse::ReleaseIn in = {};
  in.fh = fh;
  return Call(Opcode::kRelease, node, Bytes(in));
}

void FuseClient::Forget(NodeId node, uint64_t lookups) {
  const FuseReply reply = Call(Opcode::kForget, node, Bytes(fuse::ForgetIn{lookups}));
  CHECK_EQ(reply.written, 0u) << "FORGET has no reply";
}

std::vector<FuseDirent> ParseDirents(absl::string_view body, bool plus) {
  std::vector<FuseDirent> list;
  const size_t fixed = plus ? sizeof(fuse::Direntplus) : sizeof(fuse::Dirent);
  while (!body.empty()) {
    CHECK_GE(body.size(), fixed);
    FuseDirent one = {};
    if (plus) std::memcpy(&one.entry, body.data(), sizeof(one.entry));
    std::memcpy(&one.dirent, body.data() + fixed - sizeof(one.dirent), sizeof(one.dirent));
    const size_t size = (fixed + one.dirent.namelen + 7) & ~size_t{7};
    CHECK_GE(body.size(), size);
    one.name = std::string(body.substr(fixed, one.dirent.namelen));
    CHECK(one.name.find('\0') == std::string::npos);
    const absl::string_view pad =
        body.substr(fixed + one.dirent.namelen, size - fixed - one.dirent.namelen);
    CHECK(pad.find_first_not_of('\0') == absl::string_view::npos) << "padding is not zero";
    body.remove_prefix(size);
    list.push_back(one);
  }
  return list;
}

}  // namespace gofer::testing
