#include "test/golden/transcode.h"

#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gofer/base/byte_writer.h"
#include "gofer/base/status_macros.h"
#include "lisafs/wire/responses.h"
#include "lisafs/wire/structs.h"

namespace lisafs::golden {
namespace {

using gofer::ByteWriter;

// Collects named values; a prefix stands for the struct they are in.
class FieldWriter {
 public:
  explicit FieldWriter(Fields& fields, std::string prefix = "")
      : fields_(fields), prefix_(std::move(prefix)) {}

  template <typename T>
  void Number(absl::string_view name, T value) {
    if constexpr (std::is_enum_v<T>) {
      Number(name, static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (sizeof(T) == 1) {
      Text(name, absl::StrCat(static_cast<unsigned>(value)));
    } else {
      Text(name, absl::StrCat(value));
    }
  }
  void Text(absl::string_view name, absl::string_view value) {
    fields_[absl::StrCat(prefix_, name)] = std::string(value);
  }
  FieldWriter In(absl::string_view name) {
    return FieldWriter(fields_, absl::StrCat(prefix_, name, "."));
  }
  FieldWriter In(absl::string_view name, size_t index) {
    return In(absl::StrCat(name, "[", index, "]"));
  }

 private:
  Fields& fields_;
  const std::string prefix_;
};

// ---- a Name function per struct

template <typename Time>
void NameTime(const Time& time, FieldWriter out) {
  out.Number("sec", time.sec);
  out.Number("nsec", time.nsec);
}

void Name(const Statx& stat, FieldWriter& out) {
  out.Number("mask", stat.mask);
  out.Number("blksize", stat.blksize);
  out.Number("attributes", stat.attributes);
  out.Number("nlink", stat.nlink);
  out.Number("uid", stat.uid);
  out.Number("gid", stat.gid);
  out.Number("mode", stat.mode);
  out.Number("ino", stat.ino);
  out.Number("size", stat.size);
  out.Number("blocks", stat.blocks);
  out.Number("attributes_mask", stat.attributes_mask);
  NameTime(stat.atime, out.In("atime"));
  NameTime(stat.btime, out.In("btime"));
  NameTime(stat.ctime, out.In("ctime"));
  NameTime(stat.mtime, out.In("mtime"));
  out.Number("rdev_major", stat.rdev_major);
  out.Number("rdev_minor", stat.rdev_minor);
  out.Number("dev_major", stat.dev_major);
  out.Number("dev_minor", stat.dev_minor);
}

void Name(const Inode& inode, FieldWriter& out) {
  out.Number("control_fd", inode.control_fd);
  FieldWriter stat = out.In("stat");
  Name(inode.stat, stat);
}

void Name(const ErrorResp& error, FieldWriter& out) { out.Number("errno", error.errno_value); }
void Name(const StatReq& request, FieldWriter& out) { out.Number("fd", request.fd); }

void Name(const SetStatReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("mask", request.mask);
  out.Number("mode", request.mode);
  out.Number("uid", request.uid);
  out.Number("gid", request.gid);
  out.Number("size", request.size);
  NameTime(request.atime, out.In("atime"));
  NameTime(request.mtime, out.In("mtime"));
}

void Name(const SetStatResp& response, FieldWriter& out) {
  out.Number("failure_mask", response.failure_mask);
  out.Number("failure_errno", response.failure_errno);
}

void Name(const ChannelResp& response, FieldWriter& out) {
  out.Number("data_offset", response.data_offset);
  out.Number("data_length", response.data_length);
}

void Name(const OpenAtReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("flags", request.flags);
}
void Name(const OpenAtResp& response, FieldWriter& out) { out.Number("open_fd", response.open_fd); }

void Name(const CreateCommon& common, FieldWriter& out) {
  out.Number("dir_fd", common.dir_fd);
  out.Number("uid", common.uid);
  out.Number("gid", common.gid);
  out.Number("mode", common.mode);
}
void Name(const OpenCreateAtReqFixed& request, FieldWriter& out) {
  Name(request.create_common, out);
  out.Number("flags", uint32_t{request.flags});
}
void Name(const MknodAtReqFixed& request, FieldWriter& out) {
  Name(request.create_common, out);
  out.Number("minor", request.minor);
  out.Number("major", request.major);
}
void Name(const BindAtReqFixed& request, FieldWriter& out) {
  Name(request.create_common, out);
  out.Number("sock_type", uint32_t{request.sock_type});
}

template <typename Created>
void NameChild(const Created& response, FieldWriter& out) {
  FieldWriter child = out.In("child");
  Name(response.child, child);
}
void Name(const OpenCreateAtResp& response, FieldWriter& out) {
  NameChild(response, out);
  out.Number("open_fd", response.open_fd);
}
void Name(const BindAtResp& response, FieldWriter& out) {
  NameChild(response, out);
  out.Number("bound_socket_fd", response.bound_socket_fd);
}

void Name(const PWriteResp& response, FieldWriter& out) { out.Number("count", response.count); }
void Name(const PReadReq& request, FieldWriter& out) {
  out.Number("offset", request.offset);
  out.Number("fd", request.fd);
  out.Number("count", request.count);
}

void Name(const StatFS& stat, FieldWriter& out) {
  out.Number("type", stat.type);
  out.Number("block_size", stat.block_size);
  out.Number("blocks", stat.blocks);
  out.Number("blocks_free", stat.blocks_free);
  out.Number("blocks_available", stat.blocks_available);
  out.Number("files", stat.files);
  out.Number("files_free", stat.files_free);
  out.Number("name_length", stat.name_length);
}

void Name(const FAllocateReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("mode", request.mode);
  out.Number("offset", request.offset);
  out.Number("length", request.length);
}
void Name(const ConnectReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("sock_type", request.sock_type);
}
void Name(const ConnectWithCredsReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("sock_type", request.sock_type);
  out.Number("uid", request.uid);
  out.Number("gid", request.gid);
}
void Name(const Getdents64Req& request, FieldWriter& out) {
  out.Number("dir_fd", request.dir_fd);
  out.Number("count", request.count);
}
void Name(const FListXattrReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("size", request.size);
}
void Name(const ListenReq& request, FieldWriter& out) {
  out.Number("fd", request.fd);
  out.Number("backlog", request.backlog);
}
void Name(const SymlinkAtReqFixed& request, FieldWriter& out) {
  out.Number("dir_fd", request.dir_fd);
  out.Number("uid", request.uid);
  out.Number("gid", request.gid);
}
void Name(const LinkAtReqFixed& request, FieldWriter& out) {
  out.Number("dir_fd", request.dir_fd);
  out.Number("target_fd", request.target_fd);
}
void Name(const UnlinkAtReqFixed& request, FieldWriter& out) {
  out.Number("dir_fd", FdId{request.dir_fd});
  out.Number("flags", uint32_t{request.flags});
}
void Name(const RenameAtReqFixed& request, FieldWriter& out) {
  out.Number("old_dir", request.old_dir);
  out.Number("new_dir", request.new_dir);
}
void Name(const FGetXattrReqFixed& request, FieldWriter& out) {
  out.Number("fd", FdId{request.fd});
  out.Number("buf_size", uint32_t{request.buf_size});
}
void Name(const FSetXattrReqFixed& request, FieldWriter& out) {
  out.Number("fd", FdId{request.fd});
  out.Number("flags", uint32_t{request.flags});
}
void Name(const FRemoveXattrReqFixed& request, FieldWriter& out) { out.Number("fd", request.fd); }

// ---- a codec per message

using Codec = std::function<absl::StatusOr<Transcoded>(Payload)>;

// Runs a decoder, then what names and encodes the value it gave.
template <typename Decode, typename Emit>
Codec MakeCodec(Decode decode, Emit emit) {
  return [decode, emit](Payload payload) -> absl::StatusOr<Transcoded> {
    ASSIGN_OR_RETURN(const auto value, decode(payload));
    Transcoded result;
    result.bytes.resize(payload.size() + 8);
    FieldWriter fields(result.fields);
    ByteWriter writer(result.bytes);
    emit(value, fields, writer);
    if (!writer.ok())
      return absl::InternalError("what was decoded does not fit where it came from");
    result.bytes.resize(writer.size());
    return result;
  };
}

template <typename T>
Codec Fixed() {
  return MakeCodec([](Payload payload) { return DecodeFixed<T>("test", payload); },
                   [](const T& value, FieldWriter& fields, ByteWriter& writer) {
                     Name(value, fields);
                     EncodeFixed(value, writer);
                   });
}

Codec Nothing() {
  return [](Payload) -> absl::StatusOr<Transcoded> { return Transcoded{}; };
}

template <typename T>
Codec Named() {
  return MakeCodec([](Payload payload) { return DecodeNamed<T>("test", payload); },
                   [](const NamedReq<T>& value, FieldWriter& fields, ByteWriter& writer) {
                     Name(value.fixed, fields);
                     fields.Text("name", value.name);
                     EncodeNamed(value, writer);
                   });
}

template <typename T>
Codec Pair(const char* first, const char* second) {
  return MakeCodec([](Payload payload) { return DecodePair<T>("test", payload); },
                   [=](const PairReq<T>& value, FieldWriter& fields, ByteWriter& writer) {
                     Name(value.fixed, fields);
                     fields.Text(first, value.first);
                     fields.Text(second, value.second);
                     EncodePair(value, writer);
                   });
}

template <typename Strings>
void EmitStrings(const char* name, const Strings& strings, FieldWriter& fields,
                 ByteWriter& writer) {
  std::vector<absl::string_view> all;
  for (const absl::string_view one : strings) {
    fields.Text(absl::StrCat(name, "[", all.size(), "]"), one);
    all.push_back(one);
  }
  fields.Number(absl::StrCat(name, ".count"), all.size());
  WriteStrings(all, writer);
}

Codec WalkRequest() {
  return MakeCodec([](Payload payload) { return DecodeWalkReq("test", payload); },
                   [](const WalkReq& request, FieldWriter& fields, ByteWriter& writer) {
                     fields.Number("dir_fd", request.dir_fd);
                     writer.Write(request.dir_fd);
                     EmitStrings("path", request.path, fields, writer);
                   });
}

Codec FdIds() {
  return MakeCodec([](Payload payload) { return DecodeFdIdArray("test", payload); },
                   [](const FdIdArray& ids, FieldWriter& fields, ByteWriter& writer) {
                     fields.Number("fds.count", ids.size());
                     std::vector<FdId> all;
                     for (size_t i = 0; i < ids.size(); ++i) {
                       all.push_back(ids[i]);
                       fields.Number(absl::StrCat("fds[", i, "]"), ids[i]);
                     }
                     WriteFdIds(all, writer);
                   });
}

// PWrite's data follows its head, as PRead's reply does.
struct Data {
  PWriteReqFixed fixed;
  absl::string_view data;
};

Codec PWriteRequest() {
  return MakeCodec(
      [](Payload payload) -> absl::StatusOr<Data> {
        gofer::ByteReader reader("PWrite", payload);
        Data data;
        data.fixed = reader.Read<PWriteReqFixed>();
        data.data = reader.ReadBytes(data.fixed.num_bytes);
        return std::move(reader).FinishPrefix(data);
      },
      [](const Data& request, FieldWriter& fields, ByteWriter& writer) {
        fields.Number("offset", uint64_t{request.fixed.offset});
        fields.Number("fd", FdId{request.fixed.fd});
        fields.Number("num_bytes", uint32_t{request.fixed.num_bytes});
        fields.Text("data_hex", absl::BytesToHexString(request.data));
        writer.Write(request.fixed);
        writer.WriteBytes(request.data);
      });
}

Codec PReadResponse() {
  return MakeCodec(DecodePReadResp,
                   [](absl::string_view data, FieldWriter& fields, ByteWriter& writer) {
                     fields.Number("num_bytes", data.size());
                     fields.Text("data_hex", absl::BytesToHexString(data));
                     writer.Write(PReadRespFixed{.num_bytes = data.size()});
                     writer.WriteBytes(data);
                   });
}

Codec MountResponse() {
  return MakeCodec(DecodeMountResp,
                   [](const MountResp& mount, FieldWriter& fields, ByteWriter& writer) {
                     FieldWriter root = fields.In("root");
                     Name(mount.root, root);
                     fields.Number("max_message_size", mount.max_message_size);
                     fields.Number("supported.count", mount.supported.size());
                     for (size_t i = 0; i < mount.supported.size(); ++i) {
                       fields.Number(absl::StrCat("supported[", i, "]"), mount.supported[i]);
                     }
                     EncodeMountResp(mount, writer);
                   });
}

Codec WalkResponse() {
  return MakeCodec(DecodeWalkResp,
                   [](const WalkResp& walk, FieldWriter& fields, ByteWriter& writer) {
                     fields.Number("status", walk.status);
                     fields.Number("inodes.count", walk.inodes.size());
                     for (size_t i = 0; i < walk.inodes.size(); ++i) {
                       FieldWriter inode = fields.In("inodes", i);
                       Name(walk.inodes[i], inode);
                     }
                     EncodeWalkResp(walk, writer);
                   });
}

Codec WalkStatResponse() {
  return MakeCodec(DecodeWalkStatResp,
                   [](const std::vector<Statx>& stats, FieldWriter& fields, ByteWriter& writer) {
                     fields.Number("stats.count", stats.size());
                     for (size_t i = 0; i < stats.size(); ++i) {
                       FieldWriter stat = fields.In("stats", i);
                       Name(stats[i], stat);
                     }
                     EncodeWalkStatResp(stats, writer);
                   });
}

Codec Getdents64Response() {
  return MakeCodec(DecodeGetdents64Resp,
                   [](const std::vector<Dirent>& dirents, FieldWriter& fields, ByteWriter& writer) {
                     fields.Number("dirents.count", dirents.size());
                     for (size_t i = 0; i < dirents.size(); ++i) {
                       FieldWriter dirent = fields.In("dirents", i);
                       dirent.Number("ino", dirents[i].ino);
                       dirent.Number("dev_minor", dirents[i].dev_minor);
                       dirent.Number("dev_major", dirents[i].dev_major);
                       dirent.Number("off", dirents[i].off);
                       dirent.Number("type", dirents[i].type);
                       dirent.Text("name", dirents[i].name);
                     }
                     EncodeGetdents64Resp(dirents, writer);
                   });
}

Codec StringResponse(const char* name) {
  return MakeCodec([](Payload payload) { return DecodeStringResp("test", payload); },
                   [=](const std::string& value, FieldWriter& fields, ByteWriter& writer) {
                     fields.Text(name, value);
                     WriteString(value, writer);
                   });
}

Codec StringArrayResponse() {
  return MakeCodec(DecodeStringArrayResp,
                   [](const std::vector<std::string>& names, FieldWriter& fields,
                      ByteWriter& writer) { EmitStrings("names", names, fields, writer); });
}

Codec RenameAt2Request() {
  return MakeCodec(DecodeRenameAt2Req,
                   [](const RenameAt2Req& request, FieldWriter& fields, ByteWriter& writer) {
                     Name(request.rename.fixed, fields);
                     fields.Text("old_name", request.rename.first);
                     fields.Text("new_name", request.rename.second);
                     fields.Number("flags", request.flags);
                     EncodeRenameAt2Req(request, writer);
                   });
}

struct MessageCodec {
  Codec request;
  Codec response;
};

const std::map<std::string, MessageCodec, std::less<>>& Codecs() {
  static const auto* const codecs = new std::map<std::string, MessageCodec, std::less<>>{
      {"Error", {Nothing(), Fixed<ErrorResp>()}},
      {"Mount", {Nothing(), MountResponse()}},
      {"Channel", {Nothing(), Fixed<ChannelResp>()}},
      {"FStat", {Fixed<StatReq>(), Fixed<Statx>()}},
      {"SetStat", {Fixed<SetStatReq>(), Fixed<SetStatResp>()}},
      {"Walk", {WalkRequest(), WalkResponse()}},
      {"WalkStat", {WalkRequest(), WalkStatResponse()}},
      {"OpenAt", {Fixed<OpenAtReq>(), Fixed<OpenAtResp>()}},
      {"OpenCreateAt", {Named<OpenCreateAtReqFixed>(), Fixed<OpenCreateAtResp>()}},
      {"Close", {FdIds(), Nothing()}},
      {"FSync", {FdIds(), Nothing()}},
      {"PWrite", {PWriteRequest(), Fixed<PWriteResp>()}},
      {"PRead", {Fixed<PReadReq>(), PReadResponse()}},
      // A new node is answered by its Inode, which the golden file calls child.
      {"MkdirAt", {Named<CreateCommon>(), Fixed<Inode>()}},
      {"MknodAt", {Named<MknodAtReqFixed>(), Fixed<Inode>()}},
      {"SymlinkAt", {Pair<SymlinkAtReqFixed>("name", "target"), Fixed<Inode>()}},
      {"LinkAt", {Named<LinkAtReqFixed>(), Fixed<Inode>()}},
      {"FStatFS", {Fixed<StatReq>(), Fixed<StatFS>()}},
      {"FAllocate", {Fixed<FAllocateReq>(), Nothing()}},
      {"ReadLinkAt", {Fixed<StatReq>(), StringResponse("target")}},
      {"Flush", {Fixed<StatReq>(), Nothing()}},
      {"Connect", {Fixed<ConnectReq>(), Nothing()}},
      {"UnlinkAt", {Named<UnlinkAtReqFixed>(), Nothing()}},
      {"RenameAt", {Pair<RenameAtReqFixed>("old_name", "new_name"), Nothing()}},
      {"Getdents64", {Fixed<Getdents64Req>(), Getdents64Response()}},
      {"FGetXattr", {Named<FGetXattrReqFixed>(), StringResponse("value")}},
      {"FSetXattr", {Pair<FSetXattrReqFixed>("name", "value"), Nothing()}},
      {"FListXattr", {Fixed<FListXattrReq>(), StringArrayResponse()}},
      {"FRemoveXattr", {Named<FRemoveXattrReqFixed>(), Nothing()}},
      {"BindAt", {Named<BindAtReqFixed>(), Fixed<BindAtResp>()}},
      {"Listen", {Fixed<ListenReq>(), Nothing()}},
      {"Accept", {Fixed<StatReq>(), StringResponse("peer_addr")}},
      {"ConnectWithCreds", {Fixed<ConnectWithCredsReq>(), Nothing()}},
      {"RenameAt2", {RenameAt2Request(), Nothing()}},
      {"Statx", {Fixed<Statx>(), Fixed<Statx>()}},
      {"Inode", {Fixed<Inode>(), Fixed<Inode>()}},
  };
  return *codecs;
}

}  // namespace

absl::StatusOr<Transcoded> Transcode(absl::string_view message, absl::string_view direction,
                                     Payload payload) {
  const auto found = Codecs().find(message);
  if (found == Codecs().end()) return absl::NotFoundError(absl::StrCat("no codec for ", message));
  const MessageCodec& codec = found->second;
  return direction == "request" ? codec.request(payload) : codec.response(payload);
}

}  // namespace lisafs::golden
