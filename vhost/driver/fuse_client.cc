#include "vhost/driver/fuse_client.h"

#include <algorithm>
#include <utility>

#include "glog/logging.h"
#include "gofer/base/status_macros.h"

namespace gofer::vhost::driver {
namespace {

using fuse::AttrOut;
using fuse::CreateOut;
using fuse::EntryOut;
using fuse::HandleId;
using fuse::InHeader;
using fuse::NodeId;
using fuse::Opcode;
using fuse::OutHeader;

constexpr size_t kPage = 4096;
// The longest value of an extended attribute, and names and structs beside it.
constexpr size_t kArgumentRoom = (64 << 10) + kPage;
constexpr size_t kMaxSymlink = 4096;
// No errno is above it; Linux refuses such a reply.
constexpr int kMaxErrno = 511;

// A string with its NUL, as an argument.
struct Terminated {
  absl::string_view text;
};

template <WireStruct T>
void Put(ByteWriter& writer, const T& value) {
  writer.Write(value);
}
void Put(ByteWriter& writer, const Terminated& name) {
  writer.WriteBytes(name.text);
  writer.Write(uint8_t{0});
}
void Put(ByteWriter& writer, absl::string_view bytes) { writer.WriteBytes(bytes); }

uint32_t Size32(size_t size) { return static_cast<uint32_t>(size); }

}  // namespace

// ---- slots

void Slot::WriteData(std::span<const std::byte> from) {
  for (size_t i = 0; !from.empty(); ++i) {
    const size_t part = std::min(from.size(), kPage);
    std::memcpy(pages_[i].host, from.data(), part);
    from = from.subspan(part);
  }
}

void Slot::ReadData(std::span<std::byte> to, size_t offset) const {
  while (!to.empty()) {
    const size_t part = std::min(to.size(), kPage - offset % kPage);
    std::memcpy(to.data(), pages_[offset / kPage].host + offset % kPage, part);
    to = to.subspan(part);
    offset += part;
  }
}

FuseClient::FuseClient(Machine* machine, const FuseClientOptions& options)
    : machine_(machine), queue_(machine->queue(options.queue)), options_(options) {
  GuestRam& ram = machine->ram();
  const size_t num_pages = (options.data_bytes + kPage - 1) / kPage;
  for (size_t i = 0; i < options.depth; ++i) {
    slots_.emplace_back(Slot());
    Slot& slot = slots_.back();
    slot.header_ = ram.Allocate(sizeof(InHeader), 64);
    slot.args_ = ram.Allocate(kArgumentRoom, 64);
    slot.out_header_ = ram.Allocate(sizeof(OutHeader), 64);
    slot.result_ = ram.Allocate(kArgumentRoom, 64);
    const RamBlock data = ram.Allocate(num_pages * kPage, kPage);
    // Even pages first, then odd ones: a guest's page cache has no neighbours either.
    for (size_t begin : {0, 1}) {
      for (size_t page = begin; page < num_pages; page += 2) {
        slot.pages_.push_back(data.Sub(page * kPage, kPage));
      }
    }
    free_.push_back(&slot);
  }
  pieces_.reserve(num_pages + 4);
  forget_ = ram.Allocate(sizeof(InHeader) + sizeof(fuse::ForgetIn), 64);
  // Other clients of the same mount must not use the same numbers.
  next_unique_ = options.queue << 48 | 2;
}

void FuseClient::Reset() {
  free_.clear();
  for (Slot& slot : slots_) free_.push_back(&slot);
  lookups_.clear();
  granted_ = {};
}

// ---- many at once

Slot* FuseClient::Acquire() {
  if (free_.empty()) return nullptr;
  Slot* const slot = free_.back();
  free_.pop_back();
  return slot;
}

void FuseClient::Submit(Slot& slot, Opcode opcode, NodeId node, const Shape& shape) {
  CHECK(slot.arguments_.ok()) << "arguments of " << fuse::OpcodeName(opcode) << " are too long";
  CHECK_LE(std::max(shape.data_in, shape.data_out), options_.data_bytes);
  const size_t args = slot.arguments_.size();
  slot.shape_ = shape;
  slot.unique_ = next_unique_;
  next_unique_ += 2;
  const InHeader header = {.len = Size32(sizeof(InHeader) + args + shape.data_in),
                           .opcode = opcode,
                           .unique = slot.unique_,
                           .nodeid = node,
                           .uid = options_.uid,
                           .gid = options_.gid,
                           .pid = options_.pid,
                           .total_extlen = 0,
                           .padding = 0};
  std::memcpy(slot.header_.host, &header, sizeof(header));

  pieces_.clear();
  const auto add = [&](const RamBlock& block, size_t size) {
    pieces_.push_back({block.guest_address, Size32(size)});
  };
  const auto add_pages = [&](size_t size) {
    for (size_t page = 0; size > 0; ++page) {
      const size_t part = std::min(size, kPage);
      add(slot.pages_[page], part);
      size -= part;
    }
  };
  add(slot.header_, sizeof(InHeader));
  if (args > 0) add(slot.args_, args);
  add_pages(shape.data_in);
  const size_t readable = pieces_.size();
  if (shape.reply) {
    add(slot.out_header_, sizeof(OutHeader));
    if (shape.result > 0) add(slot.result_, shape.result);
    add_pages(shape.data_out);
  }
  const std::span<const Piece> pieces = pieces_;
  CHECK(queue_.Add(pieces.first(readable), pieces.subspan(readable),
                   reinterpret_cast<uint64_t>(&slot)))
      << "the ring has no room: its size is " << queue_.size();
  queue_.Publish();
}

ErrnoOr<Slot*> FuseClient::Finish(const Finished& finished) {
  Slot& slot = *reinterpret_cast<Slot*>(finished.token);
  slot.error_ = 0;
  slot.result_bytes_ = slot.data_bytes_ = 0;
  if (!slot.shape_.reply) return &slot;
  OutHeader header;
  std::memcpy(&header, slot.out_header_.host, sizeof(header));
  const size_t room = sizeof(header) + slot.shape_.result + slot.shape_.data_out;
  const bool sensible = header.unique == slot.unique_ && header.len >= sizeof(header) &&
                        header.len <= room && header.error <= 0 && header.error >= -kMaxErrno &&
                        (header.error == 0 || header.len == sizeof(header)) &&
                        finished.written == header.len;
  if (!sensible) {
    LOG(ERROR) << "reply to request " << slot.unique_ << " with room for " << room << " bytes: len "
               << header.len << ", error " << header.error << ", unique " << header.unique
               << ", used " << finished.written;
    return Errno(EBADMSG);
  }
  slot.error_ = -header.error;
  const size_t payload = header.len - sizeof(header);
  slot.result_bytes_ = std::min(payload, slot.shape_.result);
  slot.data_bytes_ = payload - slot.result_bytes_;
  return &slot;
}

ErrnoOr<Slot*> FuseClient::Next() {
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<Finished> finished, queue_.Take());
    if (finished) return Finish(*finished);
    RETURN_IF_ERROR(queue_.Wait(options_.patience, options_.spin));
  }
}

// ---- one at a time

Slot& FuseClient::OnlySlot() {
  CHECK_EQ(free_.size(), slots_.size()) << "a typed call while others are in flight";
  return *Acquire();
}

ErrnoOr<Slot*> FuseClient::Exchange(Slot& slot, Opcode opcode, NodeId node, const Shape& shape) {
  Submit(slot, opcode, node, shape);
  ErrnoOr<Slot*> done = Next();
  if (!done.ok()) return done.error();
  Release(slot);  // nobody takes it before the caller has read it
  if (slot.error() != 0) return Errno(slot.error());
  return &slot;
}

template <typename... Parts>
ErrnoOr<Slot*> FuseClient::Call(Opcode opcode, NodeId node, const Shape& shape,
                                const Parts&... parts) {
  Slot& slot = OnlySlot();
  [[maybe_unused]] ByteWriter& arguments = slot.Arguments();
  (Put(arguments, parts), ...);
  return Exchange(slot, opcode, node, shape);
}

template <WireStruct Out, typename... Parts>
ErrnoOr<Out> FuseClient::CallFor(Opcode opcode, NodeId node, const Parts&... parts) {
  ASSIGN_OR_RETURN(const Slot* slot, Call(opcode, node, {.result = sizeof(Out)}, parts...));
  if (slot->result_bytes() != sizeof(Out)) {
    LOG(ERROR) << fuse::OpcodeName(opcode) << ": a reply of " << slot->result_bytes()
               << " bytes, not " << sizeof(Out);
    return Errno(EBADMSG);
  }
  return slot->Result<Out>();
}

template <typename... Parts>
ErrnoOr<void> FuseClient::CallForNothing(Opcode opcode, NodeId node, const Parts&... parts) {
  RETURN_IF_ERROR(Call(opcode, node, {}, parts...));
  return {};
}

template <typename... Parts>
ErrnoOr<EntryOut> FuseClient::CallForEntry(Opcode opcode, NodeId node, const Parts&... parts) {
  ASSIGN_OR_RETURN(const EntryOut entry, CallFor<EntryOut>(opcode, node, parts...));
  if (entry.nodeid == NodeId::kRoot) return Errno(EBADMSG);
  Count(entry);
  return entry;
}

template <typename... Parts>
ErrnoOr<std::string> FuseClient::CallForBytes(Opcode opcode, NodeId node, size_t size,
                                              const Parts&... parts) {
  ASSIGN_OR_RETURN(const Slot* slot, Call(opcode, node, {.result = size}, parts...));
  return std::string(slot->ResultText());
}

void FuseClient::Count(const EntryOut& entry) {
  if (entry.nodeid != NodeId::kNone) ++lookups_[entry.nodeid];
}

uint64_t FuseClient::lookups(NodeId node) const {
  const auto found = lookups_.find(node);
  return found == lookups_.end() ? 0 : found->second;
}

ErrnoOr<fuse::InitOut> FuseClient::Init(const InitRequest& request) {
  const fuse::InitIn fixed = {.major = request.major,
                              .minor = request.minor,
                              .max_readahead = request.max_readahead,
                              .flags = static_cast<uint32_t>(request.flags)};
  fuse::InitExtIn ext = {};
  ext.flags2 = static_cast<uint32_t>(request.flags >> 32);
  ASSIGN_OR_RETURN(granted_, CallFor<fuse::InitOut>(Opcode::kInit, NodeId::kNone, fixed, ext));
  lookups_.clear();
  return granted_;
}

ErrnoOr<void> FuseClient::Destroy() {
  RETURN_IF_ERROR(CallForNothing(Opcode::kDestroy, NodeId::kNone));
  lookups_.clear();
  return {};
}

ErrnoOr<EntryOut> FuseClient::Lookup(NodeId parent, absl::string_view name) {
  return CallForEntry(Opcode::kLookup, parent, Terminated{name});
}

ErrnoOr<void> FuseClient::Forget(NodeId node, uint64_t count) {
  DriverQueue& queue = machine_->queue(0);
  const InHeader header = {.len = Size32(forget_.size),
                           .opcode = Opcode::kForget,
                           .unique = std::exchange(next_unique_, next_unique_ + 2),
                           .nodeid = node,
                           .uid = 0,
                           .gid = 0,
                           .pid = 0,
                           .total_extlen = 0,
                           .padding = 0};
  const fuse::ForgetIn forget = {.nlookup = count};
  std::memcpy(forget_.host, &header, sizeof(header));
  std::memcpy(forget_.host + sizeof(header), &forget, sizeof(forget));
  const Piece piece = {forget_.guest_address, Size32(forget_.size)};
  CHECK(queue.Add(std::span(&piece, 1), {}, 0));
  queue.Publish();
  RETURN_IF_ERROR(queue.Wait(options_.patience, options_.spin));
  RETURN_IF_ERROR(queue.Take());
  if (const auto known = lookups_.find(node); known != lookups_.end()) {
    known->second -= std::min(known->second, count);
    if (known->second == 0) lookups_.erase(known);
  }
  return {};
}

ErrnoOr<void> FuseClient::BatchForget(std::span<const fuse::ForgetOne> nodes) {
  Slot& slot = OnlySlot();
  const std::span<const std::byte> list = std::as_bytes(nodes);
  slot.Arguments().Write(fuse::BatchForgetIn{.count = Size32(nodes.size()), .dummy = 0});
  slot.WriteData(list);
  RETURN_IF_ERROR(Exchange(slot, Opcode::kBatchForget, NodeId::kNone,
                           {.data_in = list.size(), .reply = false}));
  return {};
}

ErrnoOr<void> FuseClient::ForgetAll() {
  std::vector<fuse::ForgetOne> nodes;
  const size_t most = options_.data_bytes / sizeof(fuse::ForgetOne);
  for (const auto& [node, count] : lookups_) {
    nodes.push_back({.nodeid = node, .nlookup = count});
    if (nodes.size() < most) continue;
    RETURN_IF_ERROR(BatchForget(nodes));
    nodes.clear();
  }
  if (!nodes.empty()) RETURN_IF_ERROR(BatchForget(nodes));
  lookups_.clear();
  return {};
}

ErrnoOr<AttrOut> FuseClient::Getattr(NodeId node, HandleId fh) {
  return CallFor<AttrOut>(
      Opcode::kGetattr, node,
      fuse::GetattrIn{
          .getattr_flags = fh == HandleId::kNone ? 0 : fuse::kGetattrFh, .dummy = 0, .fh = fh});
}

ErrnoOr<AttrOut> FuseClient::Setattr(NodeId node, const fuse::SetattrIn& in) {
  return CallFor<AttrOut>(Opcode::kSetattr, node, in);
}

ErrnoOr<fuse::StatxOut> FuseClient::Statx(NodeId node, const fuse::StatxIn& in) {
  return CallFor<fuse::StatxOut>(Opcode::kStatx, node, in);
}

ErrnoOr<void> FuseClient::Access(NodeId node, uint32_t mask) {
  return CallForNothing(Opcode::kAccess, node, fuse::AccessIn{.mask = mask, .padding = 0});
}

ErrnoOr<std::string> FuseClient::Readlink(NodeId node) {
  return CallForBytes(Opcode::kReadlink, node, kMaxSymlink);
}

ErrnoOr<fuse::KStatfs> FuseClient::Statfs(NodeId node) {
  return CallFor<fuse::KStatfs>(Opcode::kStatfs, node);
}

ErrnoOr<EntryOut> FuseClient::Symlink(NodeId parent, absl::string_view name,
                                      absl::string_view target) {
  return CallForEntry(Opcode::kSymlink, parent, Terminated{name}, Terminated{target});
}

ErrnoOr<EntryOut> FuseClient::Mknod(NodeId parent, absl::string_view name, uint32_t mode,
                                    uint32_t rdev) {
  return CallForEntry(Opcode::kMknod, parent,
                      fuse::MknodIn{.mode = mode, .rdev = rdev, .umask = 0, .padding = 0},
                      Terminated{name});
}

ErrnoOr<EntryOut> FuseClient::Mkdir(NodeId parent, absl::string_view name, uint32_t mode) {
  return CallForEntry(Opcode::kMkdir, parent, fuse::MkdirIn{.mode = mode, .umask = 0},
                      Terminated{name});
}

ErrnoOr<EntryOut> FuseClient::Link(NodeId node, NodeId parent, absl::string_view name) {
  return CallForEntry(Opcode::kLink, parent, fuse::LinkIn{.oldnodeid = node}, Terminated{name});
}

ErrnoOr<void> FuseClient::Unlink(NodeId parent, absl::string_view name) {
  return CallForNothing(Opcode::kUnlink, parent, Terminated{name});
}

ErrnoOr<void> FuseClient::Rmdir(NodeId parent, absl::string_view name) {
  return CallForNothing(Opcode::kRmdir, parent, Terminated{name});
}

ErrnoOr<void> FuseClient::Rename(NodeId parent, absl::string_view name, NodeId new_parent,
                                 absl::string_view new_name) {
  return CallForNothing(Opcode::kRename, parent, fuse::RenameIn{.newdir = new_parent},
                        Terminated{name}, Terminated{new_name});
}

ErrnoOr<void> FuseClient::Rename2(NodeId parent, absl::string_view name, NodeId new_parent,
                                  absl::string_view new_name, uint32_t flags) {
  return CallForNothing(Opcode::kRename2, parent,
                        fuse::Rename2In{.newdir = new_parent, .flags = flags, .padding = 0},
                        Terminated{name}, Terminated{new_name});
}

ErrnoOr<fuse::OpenOut> FuseClient::Open(NodeId node, uint32_t flags) {
  return CallFor<fuse::OpenOut>(Opcode::kOpen, node, fuse::OpenIn{.flags = flags, .open_flags = 0});
}

ErrnoOr<CreateOut> FuseClient::Create(NodeId parent, absl::string_view name, uint32_t flags,
                                      uint32_t mode) {
  ASSIGN_OR_RETURN(
      const CreateOut made,
      CallFor<CreateOut>(Opcode::kCreate, parent,
                         fuse::CreateIn{.flags = flags, .mode = mode, .umask = 0, .open_flags = 0},
                         Terminated{name}));
  Count(made.entry);
  return made;
}

ErrnoOr<CreateOut> FuseClient::Tmpfile(NodeId parent, uint32_t flags, uint32_t mode) {
  ASSIGN_OR_RETURN(
      const CreateOut made,
      CallFor<CreateOut>(Opcode::kTmpfile, parent,
                         fuse::CreateIn{.flags = flags, .mode = mode, .umask = 0, .open_flags = 0},
                         Terminated{"/"}));
  Count(made.entry);
  return made;
}

ErrnoOr<void> FuseClient::Release(NodeId node, HandleId fh) {
  return CallForNothing(Opcode::kRelease, node,
                        fuse::ReleaseIn{.fh = fh, .flags = 0, .release_flags = 0, .lock_owner = 0});
}

ErrnoOr<void> FuseClient::Flush(NodeId node, HandleId fh) {
  return CallForNothing(Opcode::kFlush, node,
                        fuse::FlushIn{.fh = fh, .unused = 0, .padding = 0, .lock_owner = 0});
}

ErrnoOr<void> FuseClient::Fsync(NodeId node, HandleId fh, bool data_only) {
  return CallForNothing(
      Opcode::kFsync, node,
      fuse::FsyncIn{.fh = fh, .fsync_flags = data_only ? fuse::kFsyncFdatasync : 0, .padding = 0});
}

ErrnoOr<std::string> FuseClient::Read(NodeId node, HandleId fh, uint64_t offset, size_t size) {
  const fuse::ReadIn in = {.fh = fh,
                           .offset = offset,
                           .size = Size32(size),
                           .read_flags = 0,
                           .lock_owner = 0,
                           .flags = 0,
                           .padding = 0};
  ASSIGN_OR_RETURN(const Slot* slot, Call(Opcode::kRead, node, {.data_out = size}, in));
  std::string data(slot->data_bytes(), '\0');
  slot->ReadData(std::as_writable_bytes(std::span(data)));
  return data;
}

ErrnoOr<size_t> FuseClient::Write(NodeId node, HandleId fh, uint64_t offset, absl::string_view data,
                                  uint32_t write_flags) {
  Slot& slot = OnlySlot();
  slot.Arguments().Write(fuse::WriteIn{.fh = fh,
                                       .offset = offset,
                                       .size = Size32(data.size()),
                                       .write_flags = write_flags,
                                       .lock_owner = 0,
                                       .flags = 0,
                                       .padding = 0});
  slot.WriteData(std::as_bytes(std::span(data.data(), data.size())));
  RETURN_IF_ERROR(Exchange(slot, Opcode::kWrite, node,
                           {.data_in = data.size(), .result = sizeof(fuse::WriteOut)}));
  const size_t written = slot.Result<fuse::WriteOut>().size;
  if (written > data.size()) return Errno(EBADMSG);
  return written;
}

ErrnoOr<void> FuseClient::Fallocate(NodeId node, HandleId fh, uint64_t offset, uint64_t length,
                                    uint32_t mode) {
  return CallForNothing(
      Opcode::kFallocate, node,
      fuse::FallocateIn{.fh = fh, .offset = offset, .length = length, .mode = mode, .padding = 0});
}

ErrnoOr<uint64_t> FuseClient::Lseek(NodeId node, HandleId fh, uint64_t offset, uint32_t whence) {
  ASSIGN_OR_RETURN(const fuse::LseekOut out,
                   CallFor<fuse::LseekOut>(
                       Opcode::kLseek, node,
                       fuse::LseekIn{.fh = fh, .offset = offset, .whence = whence, .padding = 0}));
  return uint64_t{out.offset};
}

ErrnoOr<size_t> FuseClient::CopyFileRange(NodeId node, const fuse::CopyFileRangeIn& in) {
  ASSIGN_OR_RETURN(const fuse::WriteOut out,
                   CallFor<fuse::WriteOut>(Opcode::kCopyFileRange, node, in));
  return size_t{out.size};
}

ErrnoOr<fuse::FileLock> FuseClient::Getlk(NodeId node, const fuse::LkIn& in) {
  ASSIGN_OR_RETURN(const fuse::LkOut out, CallFor<fuse::LkOut>(Opcode::kGetlk, node, in));
  return fuse::FileLock(out.lk);
}

ErrnoOr<void> FuseClient::Setlk(NodeId node, const fuse::LkIn& in, bool wait) {
  return CallForNothing(wait ? Opcode::kSetlkw : Opcode::kSetlk, node, in);
}

ErrnoOr<fuse::OpenOut> FuseClient::Opendir(NodeId node, uint32_t flags) {
  return CallFor<fuse::OpenOut>(Opcode::kOpendir, node,
                                fuse::OpenIn{.flags = flags, .open_flags = 0});
}

ErrnoOr<void> FuseClient::Releasedir(NodeId node, HandleId fh) {
  return CallForNothing(Opcode::kReleasedir, node,
                        fuse::ReleaseIn{.fh = fh, .flags = 0, .release_flags = 0, .lock_owner = 0});
}

ErrnoOr<size_t> FuseClient::List(Opcode opcode, NodeId node, HandleId fh, uint64_t offset,
                                 size_t size, absl::FunctionRef<void(const DirentView&)> visit) {
  const fuse::ReadIn in = {.fh = fh,
                           .offset = offset,
                           .size = Size32(size),
                           .read_flags = 0,
                           .lock_owner = 0,
                           .flags = 0,
                           .padding = 0};
  ASSIGN_OR_RETURN(const Slot* slot, Call(opcode, node, {.data_out = size}, in));
  // The pages are not neighbours, so records lie across their borders.
  listing_.resize(slot->data_bytes());
  slot->ReadData(listing_);
  ByteReader reader("listing", listing_);
  size_t records = 0;
  while (reader.remaining() > 0) {
    DirentView view = {};
    if (opcode == Opcode::kReaddirplus) view.entry = reader.Read<EntryOut>();
    view.fixed = reader.Read<fuse::Dirent>();
    view.name = reader.ReadBytes(view.fixed.namelen);
    reader.ReadBytes((8 - view.name.size() % 8) % 8);
    if (!reader.ok() || view.name.empty() || view.name.find('/') != view.name.npos) {
      LOG(ERROR) << fuse::OpcodeName(opcode) << ": record " << records << " of " << listing_.size()
                 << " bytes makes no sense";
      return Errno(EBADMSG);
    }
    if (view.name != "." && view.name != "..") Count(view.entry);
    visit(view);
    ++records;
  }
  return records;
}

ErrnoOr<size_t> FuseClient::Readdir(NodeId node, HandleId fh, uint64_t offset, size_t size,
                                    absl::FunctionRef<void(const DirentView&)> visit) {
  return List(Opcode::kReaddir, node, fh, offset, size, visit);
}

ErrnoOr<size_t> FuseClient::Readdirplus(NodeId node, HandleId fh, uint64_t offset, size_t size,
                                        absl::FunctionRef<void(const DirentView&)> visit) {
  return List(Opcode::kReaddirplus, node, fh, offset, size, visit);
}

ErrnoOr<std::string> FuseClient::Getxattr(NodeId node, absl::string_view name, uint32_t size) {
  return CallForBytes(Opcode::kGetxattr, node, size, fuse::GetxattrIn{.size = size, .padding = 0},
                      Terminated{name});
}

ErrnoOr<uint32_t> FuseClient::GetxattrSize(NodeId node, absl::string_view name) {
  ASSIGN_OR_RETURN(
      const fuse::GetxattrOut out,
      CallFor<fuse::GetxattrOut>(Opcode::kGetxattr, node, fuse::GetxattrIn{.size = 0, .padding = 0},
                                 Terminated{name}));
  return uint32_t{out.size};
}

ErrnoOr<std::string> FuseClient::Listxattr(NodeId node, uint32_t size) {
  return CallForBytes(Opcode::kListxattr, node, size, fuse::GetxattrIn{.size = size, .padding = 0});
}

ErrnoOr<void> FuseClient::Setxattr(NodeId node, absl::string_view name, absl::string_view value,
                                   uint32_t flags) {
  const fuse::SetxattrIn in = {.size = Size32(value.size()), .flags = flags};
  if ((granted_flags() & fuse::init::kSetxattrExt) != 0) {
    return CallForNothing(Opcode::kSetxattr, node, in,
                          fuse::SetxattrExtIn{.setxattr_flags = 0, .padding = 0}, Terminated{name},
                          value);
  }
  return CallForNothing(Opcode::kSetxattr, node, in, Terminated{name}, value);
}

ErrnoOr<void> FuseClient::Removexattr(NodeId node, absl::string_view name) {
  return CallForNothing(Opcode::kRemovexattr, node, Terminated{name});
}

ErrnoOr<FuseClient::RawReply> FuseClient::Raw(InHeader header, absl::string_view arguments,
                                              size_t room) {
  constexpr auto kPoison = std::byte{0xa5};
  Slot& slot = OnlySlot();
  CHECK_LE(arguments.size(), slot.args_.size);
  CHECK_LE(room, slot.result_.size);
  header.unique = slot.unique_ = std::exchange(next_unique_, next_unique_ + 2);
  if (header.len == 0) header.len = Size32(sizeof(header) + arguments.size());
  std::memcpy(slot.header_.host, &header, sizeof(header));
  std::memcpy(slot.args_.host, arguments.data(), arguments.size());
  const std::span<std::byte> reply_bytes(slot.result_.host, room);
  std::fill(reply_bytes.begin(), reply_bytes.end(), kPoison);
  const Piece in[] = {{slot.header_.guest_address, sizeof(InHeader)},
                      {slot.args_.guest_address, Size32(arguments.size())}};
  const Piece out = {slot.result_.guest_address, Size32(room)};
  CHECK(queue_.Add(std::span(in, arguments.empty() ? 1 : 2), std::span(&out, room > 0 ? 1 : 0),
                   reinterpret_cast<uint64_t>(&slot)));
  queue_.Publish();
  std::optional<Finished> finished;
  while (!finished) {
    RETURN_IF_ERROR(queue_.Wait(options_.patience, options_.spin));
    ASSIGN_OR_RETURN(finished, queue_.Take());
  }
  Release(slot);
  RawReply reply = {.error = 0, .written = finished->written, .payload = {}, .wrote_beyond = false};
  for (const std::byte byte : reply_bytes.subspan(reply.written)) {
    reply.wrote_beyond |= byte != kPoison;
  }
  if (reply.written == 0) return reply;
  OutHeader out_header = {};
  std::memcpy(&out_header, reply_bytes.data(), std::min(sizeof(out_header), room));
  if (reply.written < sizeof(out_header) || out_header.len != reply.written ||
      out_header.unique != slot.unique_ || out_header.error > 0 || out_header.error < -kMaxErrno ||
      (out_header.error != 0 && out_header.len != sizeof(out_header))) {
    LOG(ERROR) << "reply to " << fuse::OpcodeName(header.opcode) << ": len " << out_header.len
               << ", error " << out_header.error << ", unique " << out_header.unique << ", used "
               << reply.written;
    return Errno(EBADMSG);
  }
  reply.error = -out_header.error;
  const auto payload = reply_bytes.first(reply.written).subspan(sizeof(out_header));
  reply.payload.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
  return reply;
}

}  // namespace gofer::vhost::driver
