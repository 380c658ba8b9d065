// Byte equality: every payload and header that a real peer was recorded with decodes to the values
// it was made from, and encodes back to the same bytes. Every strict prefix of a request is
// refused.

#include <cstddef>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "lisafs/wire/message_id.h"
#include "lisafs/wire/structs.h"
#include "test/golden/golden.h"
#include "test/golden/transcode.h"

namespace lisafs::golden {
namespace {

// The golden file puts the Inode of a new node under "child".
Fields WithoutChild(const Fields& fields) {
  constexpr char kChild[] = "child.";
  if (fields.empty() || fields.begin()->first.rfind(kChild, 0) != 0) return fields;
  Fields result;
  for (const auto& [name, value] : fields) result[name.substr(sizeof(kChild) - 1)] = value;
  return result;
}

TEST(Vectors, DecodeToTheirFieldsAndEncodeToTheirBytes) {
  const std::vector<Vector> vectors = ReadVectors();
  EXPECT_EQ(vectors.size(), 88u);
  for (const Vector& vector : vectors) {
    SCOPED_TRACE(vector.message + " " + vector.direction + ": " + vector.name);
    const auto transcoded = Transcode(vector.message, vector.direction, vector.bytes);
    ASSERT_TRUE(transcoded.ok()) << transcoded.status();
    EXPECT_EQ(ToHex(transcoded->bytes), ToHex(vector.bytes));
    const bool is_bare_inode = transcoded->fields.count("control_fd") != 0;
    EXPECT_EQ(transcoded->fields, is_bare_inode ? WithoutChild(vector.fields) : vector.fields);
  }
}

TEST(Vectors, CoverEveryMessageInBothDirections) {
  std::set<std::string> seen;
  for (const Vector& vector : ReadVectors()) seen.insert(vector.message + " " + vector.direction);
  for (size_t id = 0; id < kNumMessageIds; ++id) {
    const std::string name(MessageName(static_cast<MessageId>(id)));
    EXPECT_EQ(seen.count(name + " response"), 1u) << name;
    EXPECT_EQ(seen.count(name + " request"), id == 0 ? 0u : 1u) << name;
  }
}

TEST(Vectors, EveryStrictPrefixIsRefused) {
  for (const Vector& vector : ReadVectors()) {
    for (size_t size = 0; size < vector.bytes.size(); ++size) {
      EXPECT_FALSE(
          Transcode(vector.message, vector.direction, Payload(vector.bytes).first(size)).ok())
          << vector.message << " " << vector.direction << " (" << vector.name << "), prefix of "
          << size << " bytes";
    }
  }
}

TEST(Vectors, TailIsIgnored) {
  for (Vector& vector : ReadVectors()) {
    if (vector.direction != "request") continue;
    vector.bytes.push_back(std::byte{0x7a});
    EXPECT_TRUE(Transcode(vector.message, vector.direction, vector.bytes).ok()) << vector.message;
  }
}

// Reads a header by its struct and gives its golden fields.
template <typename T>
T Header(const Bytes& bytes) {
  T header;
  EXPECT_EQ(bytes.size(), sizeof(header));
  std::memcpy(&header, bytes.data(), sizeof(header));
  return header;
}

TEST(Headers, DecodeToTheirFields) {
  size_t checked = 0;
  for (const Vector& vector : ReadHeaders()) {
    SCOPED_TRACE(vector.message + ": " + vector.name);
    Fields fields;
    if (vector.message == "socket_header") {
      const auto header = Header<SocketHeader>(vector.bytes);
      fields = {{"payload_len", std::to_string(header.payload_len)},
                {"message", std::to_string(static_cast<int>(header.message))},
                {"pad", std::to_string(header.pad)}};
    } else if (vector.message == "channel_header") {
      const auto header = Header<ChannelHeader>(vector.bytes);
      fields = {{"message", std::to_string(static_cast<int>(header.message))},
                {"num_fds", std::to_string(header.num_fds)},
                {"pad", std::to_string(header.pad)}};
    } else if (vector.message == "packet_window_header") {
      const auto header = Header<PacketHeader>(vector.bytes);
      fields = {{"connection_state", std::to_string(header.connection_state)},
                {"data_len", std::to_string(header.data_len)},
                {"reserved", std::to_string(header.reserved)}};
    } else {
      ASSERT_EQ(vector.message, "socket_frame");
      const auto header = Header<SocketHeader>(
          Bytes(vector.bytes.begin(), vector.bytes.begin() + sizeof(SocketHeader)));
      EXPECT_EQ(header.payload_len + sizeof(header), vector.bytes.size());
      const auto transcoded = Transcode(MessageName(header.message), vector.direction,
                                        Payload(vector.bytes).subspan(sizeof(header)));
      ASSERT_TRUE(transcoded.ok());
      fields = transcoded->fields;
      fields["message"] = std::to_string(static_cast<int>(header.message));
    }
    EXPECT_EQ(fields, vector.fields);
    ++checked;
  }
  EXPECT_EQ(checked, 15u);
}

struct Place {
  size_t offset;
  size_t size;
};

#define M(type, member)                                       \
  {                                                           \
#member, { offsetof(type, member), sizeof(type::member) } \
  }
#define S(type, ...)                \
  {                                 \
#type, {                        \
      sizeof(type), { __VA_ARGS__ } \
    }                               \
  }

// What the compiler made of each struct, by the golden file's names.
const std::map<std::string, std::pair<size_t, std::map<std::string, Place>>>& OurStructs() {
  static const auto* const structs = new std::map<std::string,
                                                  std::pair<size_t, std::map<std::string, Place>>>{
      S(SocketHeader, M(SocketHeader, payload_len), M(SocketHeader, message), M(SocketHeader, pad)),
      S(ChannelHeader, M(ChannelHeader, message), M(ChannelHeader, num_fds), M(ChannelHeader, pad)),
      S(PacketHeader, M(PacketHeader, connection_state), M(PacketHeader, data_len),
        M(PacketHeader, reserved)),
      S(ErrorResp, {"errno", {offsetof(ErrorResp, errno_value), sizeof(ErrorResp::errno_value)}}),
      S(StatxTimestamp, M(StatxTimestamp, sec), M(StatxTimestamp, nsec), M(StatxTimestamp, pad)),
      S(Statx, M(Statx, mask), M(Statx, blksize), M(Statx, attributes), M(Statx, nlink),
        M(Statx, uid), M(Statx, gid), M(Statx, mode), M(Statx, pad), M(Statx, ino), M(Statx, size),
        M(Statx, blocks), M(Statx, attributes_mask), M(Statx, atime), M(Statx, btime),
        M(Statx, ctime), M(Statx, mtime), M(Statx, rdev_major), M(Statx, rdev_minor),
        M(Statx, dev_major), M(Statx, dev_minor)),
      S(Inode, M(Inode, control_fd), M(Inode, stat)),
      S(StatReq, M(StatReq, fd)),
      S(Timespec, M(Timespec, sec), M(Timespec, nsec)),
      S(SetStatReq, M(SetStatReq, fd), M(SetStatReq, mask), M(SetStatReq, mode), M(SetStatReq, uid),
        M(SetStatReq, gid), M(SetStatReq, size), M(SetStatReq, atime), M(SetStatReq, mtime)),
      S(SetStatResp, M(SetStatResp, failure_mask), M(SetStatResp, failure_errno)),
      S(ChannelResp, M(ChannelResp, data_offset), M(ChannelResp, data_length)),
      S(OpenAtReq, M(OpenAtReq, fd), M(OpenAtReq, flags), M(OpenAtReq, pad)),
      S(OpenAtResp, M(OpenAtResp, open_fd)),
      S(CreateCommon, M(CreateCommon, dir_fd), M(CreateCommon, uid), M(CreateCommon, gid),
        M(CreateCommon, mode), {"pad", {offsetof(CreateCommon, pad0), sizeof(CreateCommon::pad0)}},
        {"pad2", {offsetof(CreateCommon, pad1), sizeof(CreateCommon::pad1)}}),
      S(OpenCreateAtReqFixed, M(OpenCreateAtReqFixed, create_common),
        M(OpenCreateAtReqFixed, flags)),
      S(OpenCreateAtResp, M(OpenCreateAtResp, child), M(OpenCreateAtResp, open_fd)),
      S(PWriteReqFixed, M(PWriteReqFixed, offset), M(PWriteReqFixed, fd),
        M(PWriteReqFixed, num_bytes)),
      S(PWriteResp, M(PWriteResp, count)),
      S(PReadReq, M(PReadReq, offset), M(PReadReq, fd), M(PReadReq, count), M(PReadReq, pad)),
      S(PReadRespFixed, M(PReadRespFixed, num_bytes)),
      S(MknodAtReqFixed, M(MknodAtReqFixed, create_common), M(MknodAtReqFixed, minor),
        M(MknodAtReqFixed, major)),
      S(SymlinkAtReqFixed, M(SymlinkAtReqFixed, dir_fd), M(SymlinkAtReqFixed, uid),
        M(SymlinkAtReqFixed, gid)),
      S(LinkAtReqFixed, M(LinkAtReqFixed, dir_fd), M(LinkAtReqFixed, target_fd)),
      S(StatFS, M(StatFS, type), M(StatFS, block_size), M(StatFS, blocks), M(StatFS, blocks_free),
        M(StatFS, blocks_available), M(StatFS, files), M(StatFS, files_free),
        M(StatFS, name_length)),
      S(FAllocateReq, M(FAllocateReq, fd), M(FAllocateReq, mode), M(FAllocateReq, offset),
        M(FAllocateReq, length)),
      S(ConnectReq, M(ConnectReq, fd), M(ConnectReq, sock_type), M(ConnectReq, pad)),
      S(ConnectWithCredsReq, M(ConnectWithCredsReq, fd), M(ConnectWithCredsReq, sock_type),
        M(ConnectWithCredsReq, pad), M(ConnectWithCredsReq, uid), M(ConnectWithCredsReq, gid)),
      S(UnlinkAtReqFixed, M(UnlinkAtReqFixed, dir_fd), M(UnlinkAtReqFixed, flags)),
      S(RenameAtReqFixed, M(RenameAtReqFixed, old_dir), M(RenameAtReqFixed, new_dir)),
      S(Getdents64Req, M(Getdents64Req, dir_fd), M(Getdents64Req, count), M(Getdents64Req, pad)),
      S(Dirent64Fixed, M(Dirent64Fixed, ino), M(Dirent64Fixed, dev_minor),
        M(Dirent64Fixed, dev_major), M(Dirent64Fixed, off), M(Dirent64Fixed, type),
        M(Dirent64Fixed, name_len)),
      S(FGetXattrReqFixed, M(FGetXattrReqFixed, fd), M(FGetXattrReqFixed, buf_size)),
      S(FSetXattrReqFixed, M(FSetXattrReqFixed, fd), M(FSetXattrReqFixed, flags)),
      S(FListXattrReq, M(FListXattrReq, fd), M(FListXattrReq, size)),
      S(FRemoveXattrReqFixed, M(FRemoveXattrReqFixed, fd)),
      S(BindAtReqFixed, M(BindAtReqFixed, create_common), M(BindAtReqFixed, sock_type)),
      S(BindAtResp, M(BindAtResp, child), M(BindAtResp, bound_socket_fd)),
      S(ListenReq, M(ListenReq, fd), M(ListenReq, backlog), M(ListenReq, pad)),
  };
  return *structs;
}

const std::map<std::string, size_t> kTypeSizes = {
    {"u8", 1},           {"u16", 2},     {"u32", 4},     {"u64", 8},       {"i32", 4},
    {"i64", 8},          {"Statx", 144}, {"Inode", 152}, {"Timespec", 16}, {"StatxTimestamp", 16},
    {"CreateCommon", 24}};

TEST(Structs, StandWhereTheWireHasThem) {
  for (const Struct& golden : ReadStructs()) {
    SCOPED_TRACE(golden.name);
    ASSERT_EQ(OurStructs().count(golden.name), 1u);
    const auto& [size, members] = OurStructs().at(golden.name);
    EXPECT_EQ(size, golden.size);
    EXPECT_EQ(members.size(), golden.members.size());
    for (const Member& member : golden.members) {
      SCOPED_TRACE(member.name);
      ASSERT_EQ(members.count(member.name), 1u);
      EXPECT_EQ(members.at(member.name).offset, member.offset);
      EXPECT_EQ(members.at(member.name).size, kTypeSizes.at(member.type));
    }
  }
}

}  // namespace
}  // namespace lisafs::golden
