// FUSE requests that are cut, that lie about sizes, or that leave too little room for their reply,
// through a real ring. Each is refused, does nothing, and what comes back is never more than it
// says. Attacks.
//
// Source: spec/security.md s.10 fuse_decode_test; spec/vhost-user-fs.md s.11, rows 14 to 23 and 28.

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "gtest/gtest.h"
#include "test/hostile/fuse_requests.h"
#include "test/hostile/hostile_guest.h"
#include "vhost/driver/fuse_client.h"

namespace gofer::vhost {
namespace {

using driver::FuseClient;
using driver::Slot;
using fuse::InHeader;
using fuse::NodeId;
using fuse::Opcode;
using fuse::OutHeader;
using RawReply = FuseClient::RawReply;

constexpr uint32_t Size32(size_t size) { return static_cast<uint32_t>(size); }

class FuseDecodeTest : public HostileGuestTest {
 protected:
  void SetUp() override {
    Boot();
    files_ = SetUpFiles(client());
    requests_ = EveryRequest(files_);
    // What the requests name.
    for (const char* name : {"unlinked", "old"}) tree_.Write(absl::StrCat("served/dir/", name), "");
    tree_.Mkdir("served/dir/removed");
    Must(client().Setxattr(files_.file, "user.c", "", 0));
    before_ = tree_.Snapshot();
  }
  void ExpectNothingDone() {
    const auto now = tree_.Snapshot();
    EXPECT_EQ(now, before_);
    before_ = now;  // one complaint is enough
  }
  // Refused, or for those without a reply just given back.
  void ExpectRefused(const OddRequest& request, const RawReply& reply) {
    EXPECT_FALSE(reply.wrote_beyond);
    if (request.has_reply) {
      EXPECT_EQ(reply.error, EINVAL);
    } else {
      EXPECT_EQ(reply.written, 0u);
    }
  }

  Files files_;
  std::vector<OddRequest> requests_;
  std::map<std::string, std::string> before_;
};

TEST_F(FuseDecodeTest, EveryTruncationIsRefused) {
  for (const OddRequest& request : requests_) {
    for (size_t size = 0; size < request.least; ++size) {
      SCOPED_TRACE(absl::StrCat(fuse::OpcodeName(request.opcode), " with ", size, " of ",
                                request.arguments.size(), " bytes"));
      // Nothing more is there; more is there than the header says; less is there than it says.
      const absl::string_view cut = absl::string_view(request.arguments).substr(0, size);
      InHeader header = request.Header();
      ExpectRefused(request, Must(client().Raw(header, cut)));
      header.len = Size32(sizeof(InHeader) + size);
      ExpectRefused(request, Must(client().Raw(header, request.arguments)));
      header.len = Size32(sizeof(InHeader) + request.arguments.size());
      ExpectRefused(request, Must(client().Raw(header, cut)));
    }
    ExpectNothingDone();
  }
}

TEST_F(FuseDecodeTest, LengthsOfTheHeaderThatCannotBe) {
  for (const OddRequest& request : requests_) {
    for (const size_t length :
         {size_t{1}, size_t{39}, sizeof(InHeader) + request.arguments.size() + 1,
          size_t{fuse::kMaxMessage} + 1, size_t{1} << 31, size_t{UINT32_MAX}}) {
      SCOPED_TRACE(absl::StrCat(fuse::OpcodeName(request.opcode), " of ", length, " bytes"));
      InHeader header = request.Header();
      header.len = Size32(length);
      const RawReply reply = Must(client().Raw(header, request.arguments));
      EXPECT_FALSE(reply.wrote_beyond);
      EXPECT_TRUE(reply.written == 0 || reply.error != 0);
    }
  }
  ExpectNothingDone();
}

// A reply that has no room is an error, and nothing was done that the guest then does not know of.
TEST_F(FuseDecodeTest, EveryRoomThatIsTooSmallIsRefused) {
  for (const OddRequest& request : requests_) {
    std::set<size_t> rooms = {0, 1, 15};
    for (size_t part = 0; part < request.result; part += 4) rooms.insert(sizeof(OutHeader) + part);
    if (request.result > 0) rooms.insert(sizeof(OutHeader) + request.result - 1);
    for (const size_t room : rooms) {
      if (!request.has_reply) continue;
      SCOPED_TRACE(absl::StrCat(fuse::OpcodeName(request.opcode), " with room for ", room));
      const RawReply reply = Must(client().Raw(request.Header(), request.arguments, room));
      EXPECT_FALSE(reply.wrote_beyond);
      if (room < sizeof(OutHeader)) {
        EXPECT_EQ(reply.written, 0u);
      } else {
        EXPECT_NE(reply.error, 0);
      }
    }
    ExpectNothingDone();
  }
}

// They are what they should be: whole, each is served, or refused for what it asks.
TEST_F(FuseDecodeTest, WholeRequestsAreServed) {
  for (const OddRequest& request : requests_) {
    SCOPED_TRACE(fuse::OpcodeName(request.opcode));
    const RawReply reply = Must(client().Raw(request.Header(), request.arguments));
    EXPECT_FALSE(reply.wrote_beyond);
    if (request.opcode == Opcode::kIoctl || request.opcode == Opcode::kRename2) continue;
    EXPECT_EQ(reply.error, 0);
    EXPECT_GE(reply.payload.size(), request.result);
  }
}

// Fixed requests may have grown in a newer guest; names may not.
TEST_F(FuseDecodeTest, BytesBehindTheEnd) {
  for (const OddRequest& request : requests_) {
    if (request.opcode == Opcode::kRelease || request.opcode == Opcode::kReleasedir) continue;
    SCOPED_TRACE(fuse::OpcodeName(request.opcode));
    const RawReply reply =
        Must(client().Raw(request.Header(), request.arguments + std::string(64, '\xff')));
    EXPECT_FALSE(reply.wrote_beyond);
  }
}

TEST_F(FuseDecodeTest, EveryOtherOpcodeIsUnknown) {
  std::set<uint32_t> known = {static_cast<uint32_t>(Opcode::kInit),
                              static_cast<uint32_t>(Opcode::kDestroy)};
  for (const OddRequest& request : requests_) known.insert(static_cast<uint32_t>(request.opcode));
  std::vector<uint32_t> unknown = {1u << 16, 1u << 31, UINT32_MAX};
  for (uint32_t opcode = 0; opcode < 65536; ++opcode) {
    if (!known.contains(opcode)) unknown.push_back(opcode);
  }
  FuseClient many(&machine(), {.queue = 2, .depth = 16, .data_bytes = 0});
  size_t sent = 0, done = 0;
  while (done < unknown.size()) {
    for (Slot* slot; sent < unknown.size() && (slot = many.Acquire()) != nullptr; ++sent) {
      slot->tag = unknown[sent];
      slot->Arguments().WriteBytes(std::string(64, '\0'));
      many.Submit(*slot, static_cast<Opcode>(unknown[sent]), files_.file, {.result = 64});
    }
    Slot* const slot = Must(many.Next());
    ASSERT_EQ(slot->error(), ENOSYS) << slot->tag;
    many.Release(*slot);
    ++done;
  }
}

// ---- numbers in requests that the rest of the request does not bear out

struct Lie {
  const char* name;
  Opcode opcode;
  NodeId Files::*node;
  std::string arguments;
  std::set<int> errors;
};

TEST_F(FuseDecodeTest, LiesAboutSizes) {
  const auto fh = files_.file_handle;
  const auto dh = files_.dir_handle;
  const auto write = [&](uint32_t size, uint64_t offset, absl::string_view data) {
    return Bytes(fuse::WriteIn{.fh = fh,
                               .offset = offset,
                               .size = size,
                               .write_flags = 0,
                               .lock_owner = 0,
                               .flags = 0,
                               .padding = 0},
                 data);
  };
  const auto read = [&](fuse::HandleId handle, uint32_t size, uint64_t offset) {
    return Bytes(fuse::ReadIn{.fh = handle,
                              .offset = offset,
                              .size = size,
                              .read_flags = 0,
                              .lock_owner = 0,
                              .flags = 0,
                              .padding = 0});
  };
  const auto setxattr = [&](uint32_t size, absl::string_view rest) {
    return Bytes(fuse::SetxattrIn{.size = size, .flags = 0}, rest);
  };
  constexpr auto kFile = &Files::file;
  constexpr auto kDir = &Files::dir;
  const Lie lies[] = {
      {"WRITE of more than it brings", Opcode::kWrite, kFile, write(5, 0, "data"), {EINVAL}},
      {"WRITE of 4 GiB", Opcode::kWrite, kFile, write(UINT32_MAX, 0, "data"), {EINVAL}},
      {"WRITE at the last offset",
       Opcode::kWrite,
       kFile,
       write(4, UINT64_MAX, "data"),
       {EINVAL, EFBIG, EOVERFLOW}},
      {"WRITE beyond the last offset",
       Opcode::kWrite,
       kFile,
       write(4, INT64_MAX, "data"),
       {EINVAL, EFBIG, EOVERFLOW}},
      {"READ of more than there is room for",
       Opcode::kRead,
       kFile,
       read(fh, 1 << 20, 0),
       {EINVAL, ENOMEM}},
      {"READ of 4 GiB", Opcode::kRead, kFile, read(fh, UINT32_MAX, 0), {EINVAL, ENOMEM}},
      {"READ at the last offset",
       Opcode::kRead,
       kFile,
       read(fh, 4, UINT64_MAX),
       {EINVAL, EOVERFLOW}},
      {"READDIR of 4 GiB", Opcode::kReaddir, kDir, read(dh, UINT32_MAX, 0), {EINVAL, ENOMEM}},
      {"READDIRPLUS of 4 GiB",
       Opcode::kReaddirplus,
       kDir,
       read(dh, UINT32_MAX, 0),
       {EINVAL, ENOMEM}},
      {"SETXATTR of more than it brings",
       Opcode::kSetxattr,
       kFile,
       setxattr(4, Named("user.l") + "abc"),
       {EINVAL}},
      {"SETXATTR of 4 GiB",
       Opcode::kSetxattr,
       kFile,
       setxattr(UINT32_MAX, Named("user.l") + "abc"),
       {EINVAL, E2BIG}},
      {"SETXATTR without a name",
       Opcode::kSetxattr,
       kFile,
       setxattr(3, Named("") + "abc"),
       {EINVAL, ERANGE, ENOTSUP}},
      {"GETXATTR of 4 GiB",
       Opcode::kGetxattr,
       kFile,
       Bytes(fuse::GetxattrIn{.size = UINT32_MAX, .padding = 0}, Named("user.a")),
       {0, EINVAL, ENOMEM, E2BIG, ERANGE}},
      {"GETXATTR of one byte",
       Opcode::kGetxattr,
       kFile,
       Bytes(fuse::GetxattrIn{.size = 1, .padding = 0}, Named("user.a")),
       {ERANGE}},
      {"LISTXATTR of one byte",
       Opcode::kListxattr,
       kFile,
       Bytes(fuse::GetxattrIn{.size = 1, .padding = 0}),
       {ERANGE}},
      {"IOCTL that brings less than it says",
       Opcode::kIoctl,
       kFile,
       Bytes(fuse::IoctlIn{.fh = fh,
                           .flags = 0,
                           .cmd = 0x40086602,
                           .arg = 0,
                           .in_size = UINT32_MAX,
                           .out_size = 0}),
       {EINVAL, ENOTTY, ENOSYS, EOPNOTSUPP}},
      {"FALLOCATE of less than nothing",
       Opcode::kFallocate,
       kFile,
       Bytes(fuse::FallocateIn{
           .fh = fh, .offset = INT64_MAX, .length = INT64_MAX, .mode = 0, .padding = 0}),
       {EINVAL, EFBIG, EOVERFLOW}},
      {"FALLOCATE in all modes",
       Opcode::kFallocate,
       kFile,
       Bytes(
           fuse::FallocateIn{.fh = fh, .offset = 0, .length = 1, .mode = UINT32_MAX, .padding = 0}),
       {EINVAL, EOPNOTSUPP}},
      {"LSEEK from nowhere",
       Opcode::kLseek,
       kFile,
       Bytes(fuse::LseekIn{.fh = fh, .offset = 0, .whence = 99, .padding = 0}),
       {EINVAL}},
      {"COPY_FILE_RANGE with flags",
       Opcode::kCopyFileRange,
       kFile,
       Bytes(fuse::CopyFileRangeIn{.fh_in = fh,
                                   .off_in = 0,
                                   .nodeid_out = files_.file,
                                   .fh_out = fh,
                                   .off_out = UINT64_MAX,
                                   .len = UINT64_MAX,
                                   .flags = UINT64_MAX}),
       {EINVAL, EOVERFLOW, EFBIG}},
      {"RENAME2 with all flags",
       Opcode::kRename2,
       kDir,
       Bytes(fuse::Rename2In{.newdir = files_.dir, .flags = UINT32_MAX, .padding = 0}, Named("old"),
             Named("new")),
       {EINVAL}},
      {"a name of 256 bytes", Opcode::kLookup, kDir, Named(std::string(256, 'n')), {ENAMETOOLONG}},
      {"a name of 4096 bytes",
       Opcode::kLookup,
       kDir,
       Named(std::string(4096, 'n')),
       {ENAMETOOLONG, EINVAL}},
      {"an empty name", Opcode::kLookup, kDir, Named(""), {EINVAL, ENOENT}},
      {"a name that leads down", Opcode::kLookup, kDir, Named("dir/file"), {EINVAL}},
      {"a name that leads up", Opcode::kLookup, kDir, Named(".."), {EINVAL}},
      {"a name from the root", Opcode::kLookup, kDir, Named("/etc"), {EINVAL}},
      {"a directory named as its parent",
       Opcode::kMkdir,
       kDir,
       Bytes(fuse::MkdirIn{.mode = 0755, .umask = 0}, Named("..")),
       {EINVAL, EEXIST}},
      {"a file made outside",
       Opcode::kCreate,
       kDir,
       Bytes(fuse::CreateIn{.flags = O_RDWR, .mode = 0644, .umask = 0, .open_flags = 0},
             Named("../../beside/made")),
       {EINVAL}},
      {"a link made outside", Opcode::kSymlink, kDir, Named("../x") + Named("target"), {EINVAL}},
      {"a rename to outside",
       Opcode::kRename,
       kDir,
       Bytes(fuse::RenameIn{.newdir = NodeId::kRoot}, Named("old"), Named("../beside/new")),
       {EINVAL}},
      {"two names in a request with one",
       Opcode::kUnlink,
       kDir,
       Named("unlinked") + Named("old"),
       {EINVAL}},
  };
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.name);
    InHeader header = {};
    header.opcode = lie.opcode;
    header.nodeid = files_.*lie.node;
    const RawReply reply = Must(client().Raw(header, lie.arguments));
    EXPECT_TRUE(lie.errors.contains(reply.error)) << "error " << reply.error;
    if (lie.opcode != Opcode::kRead) {
      EXPECT_FALSE(reply.wrote_beyond);
    }
  }
  ExpectNothingDone();
}

// No reply, so only what follows can tell: the counts are bounded by what is there.
TEST_F(FuseDecodeTest, ForgettingMoreThanIsNamed) {
  const auto forget = [&](uint32_t count, size_t entries) {
    std::string bytes = Bytes(fuse::BatchForgetIn{.count = count, .dummy = 0});
    for (size_t i = 0; i < entries; ++i) {
      Append(bytes, fuse::ForgetOne{.nodeid = static_cast<NodeId>(1000 + i), .nlookup = 1});
    }
    InHeader header = {};
    header.opcode = Opcode::kBatchForget;
    const RawReply reply = Must(client().Raw(header, bytes));
    EXPECT_EQ(reply.written, 0u);
  };
  forget(UINT32_MAX, 0);
  forget(UINT32_MAX, 1);
  forget(2, 1);
  forget(0x10000001, 1);  // times 16 is 16 again
  forget(0, 100);
  forget(4000, 4000);
  EXPECT_EQ(ErrorOf(client().Getattr(files_.file)), 0);
}

}  // namespace
}  // namespace gofer::vhost
