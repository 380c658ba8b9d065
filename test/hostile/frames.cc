#include "test/hostile/frames.h"

#include <sys/socket.h>

#include <span>

#include "glog/logging.h"
#include "gofer/base/byte_writer.h"
#include "lisafs/wire/requests.h"
#include "lisafs/wire/structs.h"

namespace lisafs {
namespace {

template <typename Encode>
std::string Encoded(Encode&& encode) {
  std::string bytes(4096, '\0');
  gofer::ByteWriter writer(std::as_writable_bytes(std::span(bytes)));
  encode(writer);
  CHECK(writer.ok());
  bytes.resize(writer.size());
  return bytes;
}

}  // namespace

void AppendFrame(std::string& stream, MessageId id, absl::string_view payload) {
  const SocketHeader header = {
      .payload_len = static_cast<uint32_t>(payload.size()), .message = id, .pad = 0};
  stream.append(reinterpret_cast<const char*>(&header), sizeof(header));
  stream.append(payload.data(), payload.size());
}

std::string RecordedSession() {
  const absl::string_view path[] = {"dir"};
  const FdId closing[] = {FdId{4}, FdId{3}, FdId{2}};
  std::string stream;
  AppendFrame(stream, MessageId::kMount, "");
  AppendFrame(stream, MessageId::kMkdirAt, Encoded([](gofer::ByteWriter& w) {
                EncodeNamed(MkdirAtReq{.fixed = {.dir_fd = FdId{1},
                                                 .uid = kNoId,
                                                 .gid = kNoId,
                                                 .mode = 0755,
                                                 .pad0 = 0,
                                                 .pad1 = 0},
                                       .name = "dir"},
                            w);
              }));
  AppendFrame(stream, MessageId::kOpenCreateAt, Encoded([](gofer::ByteWriter& w) {
                EncodeNamed(OpenCreateAtReq{.fixed = {.create_common = {.dir_fd = FdId{2},
                                                                        .uid = kNoId,
                                                                        .gid = kNoId,
                                                                        .mode = 0644,
                                                                        .pad0 = 0,
                                                                        .pad1 = 0},
                                                      .flags = 2},
                                            .name = "file"},
                            w);
              }));
  AppendFrame(stream, MessageId::kPWrite, Encoded([](gofer::ByteWriter& w) {
                w.Write(PWriteReqFixed{.offset = 0, .fd = FdId{4}, .num_bytes = 4});
                w.WriteBytes("text");
              }));
  AppendFrame(stream, MessageId::kWalkStat,
              Encoded([&](gofer::ByteWriter& w) { EncodeWalkReq(FdId{1}, path, w); }));
  AppendFrame(stream, MessageId::kUnlinkAt, Encoded([](gofer::ByteWriter& w) {
                EncodeNamed(UnlinkAtReq{.fixed = {.dir_fd = FdId{2}, .flags = 0}, .name = "file"},
                            w);
              }));
  AppendFrame(stream, MessageId::kChannel, "");
  AppendFrame(stream, MessageId::kClose,
              Encoded([&](gofer::ByteWriter& w) { WriteFdIds(closing, w); }));
  return stream;
}

void SendAll(int socket, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

}  // namespace lisafs
