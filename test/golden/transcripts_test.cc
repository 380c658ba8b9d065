// Whole conversations that real gofers were recorded with, replayed against our server on the tree
// that they describe. Replies must be equal byte for byte; the ranges that depend on the host or
// the time are held against the host's own view of the tree instead.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/server/server.h"
#include "lisafs/wire/responses.h"
#include "test/golden/golden.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs::golden {
namespace {

using gofer::UniqueFd;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

constexpr int64_t kTreeTime = 1671408000;
constexpr uint32_t kBasicStats = 0x7ff;
constexpr uint32_t kBirthTime = 0x800;
constexpr uint32_t kMountId = 0x1000;

// What of a file cannot change while it lives.
struct HostFile {
  uint32_t type;
  uint64_t dev;
};
using HostFiles = std::map<uint64_t, HostFile>;

void Fill(const TempTree& tree, const std::vector<TreeEntry>& entries) {
  for (const TreeEntry& entry : entries) {
    if (entry.type == "dir") {
      tree.Mkdir(entry.path, entry.mode);
    } else if (entry.type == "file") {
      tree.Write(entry.path, entry.data, entry.mode);
    } else {
      tree.Symlink(entry.path, entry.data);
    }
    const std::string path = tree.At(entry.path);
    ASSERT_EQ(lchown(path.c_str(), entry.uid, entry.gid), 0);
    for (const auto& [name, value] : entry.xattrs) {
      ASSERT_EQ(lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0), 0);
    }
  }
  const struct timespec time = {.tv_sec = kTreeTime, .tv_nsec = 1};
  const struct timespec times[2] = {time, time};
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    ASSERT_EQ(utimensat(AT_FDCWD, tree.At(entry->path).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  ASSERT_EQ(utimensat(AT_FDCWD, tree.path().c_str(), times, 0), 0);
}

// Adds what the tree holds now; what was deleted stays, since clients still hold it.
void Scan(const TempTree& tree, HostFiles& files) {
  const auto add = [&files](const struct stat& stat) {
    files[stat.st_ino] = {.type = stat.st_mode & S_IFMT, .dev = stat.st_dev};
  };
  add(tree.Stat(""));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(tree.path())) {
    struct stat stat;
    if (lstat(entry.path().c_str(), &stat) == 0) add(stat);
  }
}

template <typename T>
T Decoded(absl::StatusOr<T> decoded) {
  CHECK(decoded.ok()) << decoded.status();
  return *std::move(decoded);
}

class Replay {
 public:
  Replay(const TempTree& tree, const HostFiles& files) : tree_(tree), files_(files) {}

  // The parts of a reply that no recording can tell: from the host's point of view they must be
  // right.
  void CheckHostValues(const Bytes& frame) {
    SocketHeader header;
    std::memcpy(&header, frame.data(), sizeof(header));
    const Payload payload = Payload(frame).subspan(sizeof(header));
    switch (header.message) {
      case MessageId::kMount:
        CheckInode(Decoded(DecodeMountResp(payload)).root);
        break;
      case MessageId::kFStat:
        CheckStatx(Decoded(DecodeFixed<Statx>("FStat", payload)));
        break;
      case MessageId::kWalk: {
        const WalkResp walk = Decoded(DecodeWalkResp(payload));
        for (const Inode& inode : walk.inodes) CheckInode(inode);
        break;
      }
      case MessageId::kWalkStat: {
        const std::vector<Statx> stats = Decoded(DecodeWalkStatResp(payload));
        for (const Statx& stat : stats) CheckStatx(stat);
        break;
      }
      case MessageId::kOpenCreateAt:
      case MessageId::kMkdirAt:
      case MessageId::kMknodAt:
      case MessageId::kSymlinkAt:
      case MessageId::kLinkAt:
      case MessageId::kBindAt:
        CheckInode(Decoded(DecodeFixed<Inode>("new node", payload)));
        break;
      case MessageId::kFStatFS:
        CheckStatFS(Decoded(DecodeFixed<StatFS>("FStatFS", payload)));
        break;
      case MessageId::kGetdents64: {
        const std::vector<Dirent> dirents = Decoded(DecodeGetdents64Resp(payload));
        for (const Dirent& dirent : dirents) CheckDirent(dirent);
        break;
      }
      default:
        break;
    }
  }

 private:
  void CheckInode(const Inode& inode) {
    CheckStatx(inode.stat);
    const auto [known, is_new] = inodes_by_fd_.emplace(inode.control_fd, inode.stat.ino);
    EXPECT_TRUE(is_new) << "an id was given out twice";
  }

  void CheckStatx(const Statx& stat) {
    EXPECT_EQ(stat.mask & kBasicStats, kBasicStats);
    EXPECT_EQ(stat.mask & ~(kBasicStats | kBirthTime | kMountId), 0u);
    EXPECT_GT(stat.blksize, 0u);
    const auto file = files_.find(stat.ino);
    ASSERT_NE(file, files_.end()) << "inode " << stat.ino << " is not in the tree";
    EXPECT_EQ(stat.mode & S_IFMT, file->second.type);
    EXPECT_EQ(makedev(stat.dev_major, stat.dev_minor), file->second.dev);
    const int64_t now = time(nullptr);
    for (const StatxTimestamp& stamp : {stat.atime, stat.mtime, stat.ctime}) {
      EXPECT_GT(stamp.sec, 0);  // some requests set times of long ago
      EXPECT_LE(stamp.sec, now + 1);
      EXPECT_LT(stamp.nsec, 1'000'000'000u);
    }
    if ((stat.mask & kBirthTime) != 0) {
      EXPECT_GT(stat.btime.sec, kTreeTime);
      EXPECT_LE(stat.btime.sec, now + 1);
    } else {
      EXPECT_EQ(stat.btime.sec, 0);
    }
  }

  void CheckDirent(const Dirent& dirent) {
    const auto file = files_.find(dirent.ino);
    ASSERT_NE(file, files_.end());
    EXPECT_EQ(makedev(dirent.dev_major, dirent.dev_minor), file->second.dev);
    EXPECT_EQ(uint32_t{dirent.type} << 12, file->second.type);
  }

  void CheckStatFS(const StatFS& reply) {
    struct statfs host;
    ASSERT_EQ(statfs(tree_.path().c_str(), &host), 0);
    EXPECT_EQ(reply.type, static_cast<uint64_t>(host.f_type));
    EXPECT_EQ(reply.block_size, host.f_bsize);
    EXPECT_EQ(reply.blocks, host.f_blocks);
    EXPECT_LE(reply.blocks_free, reply.blocks);
    EXPECT_LE(reply.blocks_available, reply.blocks_free);
    EXPECT_EQ(reply.files, host.f_files);
    EXPECT_LE(reply.files_free, reply.files);
    EXPECT_EQ(reply.name_length, static_cast<uint64_t>(host.f_namelen));
  }

  const TempTree& tree_;
  const HostFiles& files_;
  std::map<FdId, uint64_t> inodes_by_fd_;
};

Bytes WithoutIgnored(Bytes frame, const GoldenReply& golden) {
  for (const auto& [offset, length] : golden.ignore) {
    for (size_t i = offset; i < offset + length && i < frame.size(); ++i) frame[i] = std::byte{0};
  }
  return frame;
}

std::string TypeOf(int fd) {
  struct stat stat;
  if (fstat(fd, &stat) != 0) return "closed";
  if (S_ISREG(stat.st_mode)) return "regular";
  if (S_ISDIR(stat.st_mode)) return "directory";
  return S_ISSOCK(stat.st_mode) ? "socket" : "other";
}

// What differs between a reply and a recorded one; empty if nothing does.
std::string Difference(const Bytes& frame, const std::vector<UniqueFd>& fds,
                       const GoldenReply& golden) {
  if (WithoutIgnored(frame, golden) != golden.frame) {
    return absl::StrCat("bytes:\n  ", ToHex(WithoutIgnored(frame, golden)), "\n  ",
                        ToHex(golden.frame));
  }
  if (fds.size() != golden.donated.size()) {
    return absl::StrCat(fds.size(), " descriptors, not ", golden.donated.size());
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    const std::string type = TypeOf(fds[i].get());
    // O_NOFOLLOW stays visible but means nothing once a file is open.
    const int flags = fcntl(fds[i].get(), F_GETFL) & ~O_NOFOLLOW;
    if (type != golden.donated[i].type || flags != (golden.donated[i].flags & ~O_NOFOLLOW)) {
      return absl::StrCat("descriptor ", i, ": ", type, " with flags ", flags, ", not ",
                          golden.donated[i].type, " with ", golden.donated[i].flags);
    }
  }
  return "";
}

// Whether a server of this personality may answer as that version did. Any recorded answer
// conforms; for the newest its own is wanted, and for the older ones where an application could
// tell the difference: in the list of messages, and in extended attributes. What 2024 answered to
// FGetXattr was in part a mistake, later mended.
bool MayAnswerAs(const std::string& message, const std::string& versions, Personality personality) {
  switch (personality) {
    case Personality::kV26:
      return IsFor(versions, "26");
    case Personality::kV24:
      if (message == "FGetXattr") return IsFor(versions, "24") || IsFor(versions, "26");
      return IsFor(versions, "24") ||
             (message != "Mount" && message.find("Xattr") == std::string::npos);
    case Personality::kV22:
      return IsFor(versions, "22") ||
             (message != "Mount" && message.find("Xattr") == std::string::npos);
  }
  return false;
}

// Where we differ on purpose: an Error with this number is also right.
struct Deviation {
  const char* transcript;
  size_t step;
  int error;
};
constexpr Deviation kDeviations[] = {
    // FStat of a BoundSocketFD was recorded as EREMOTEIO, a crash that was caught. It is an id of
    // the wrong kind.
    {"host sockets", 14, EINVAL},
};

bool IsDeviation(const Transcript& transcript, size_t step, const RawReply& reply) {
  for (const Deviation& deviation : kDeviations) {
    if (transcript.name == deviation.transcript && step == deviation.step)
      return reply.error() == deviation.error;
  }
  return false;
}

void Connect(const TempTree& tree, const TranscriptStep& step, std::vector<UniqueFd>& open) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = tree.At(step.connect_to);
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  ASSERT_EQ(connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)),
            0);
  ASSERT_EQ(send(socket.get(), step.connect_text.data(), step.connect_text.size(), 0),
            static_cast<ssize_t>(step.connect_text.size()));
  open.push_back(std::move(socket));
}

using Parameters = std::tuple<size_t, Personality>;

class TranscriptTest : public testing::TestWithParam<Parameters> {};

const char* VersionOf(Personality personality) {
  switch (personality) {
    case Personality::kV22:
      return "22";
    case Personality::kV24:
      return "24";
    case Personality::kV26:
      return "26";
  }
  return "";
}

TEST_P(TranscriptTest, IsReproduced) {
  const auto [index, personality] = GetParam();
  const Transcript transcript = ReadTranscripts().at(index);
  SCOPED_TRACE(transcript.name);
  const TempTree tree;
  ASSERT_NO_FATAL_FAILURE(Fill(tree, transcript.tree));

  ServerOptions server_options = {.personality = personality};
  ConnectionOptions connection_options;
  for (const auto& [name, value] : transcript.options) {
    if (name == "readonly") {
      connection_options.readonly = true;
    } else if (name == "donate_mount_fd") {
      // No client of 2022 knows directfs, so nobody asks for it there.
      server_options.donate_mount_fd = personality != Personality::kV22;
    } else {
      ASSERT_EQ(name, "host_uds");
      ASSERT_EQ(value, "all");
      server_options.host_uds = HostUds::kAll;
    }
  }
  TestServer server(tree, server_options);
  const std::unique_ptr<Client> client = server.Connect(connection_options);

  HostFiles files;
  Scan(tree, files);
  Replay replay(tree, files);
  std::vector<UniqueFd> host_sockets;
  for (size_t i = 0; i < transcript.steps.size(); ++i) {
    const TranscriptStep& step = transcript.steps[i];
    SCOPED_TRACE(absl::StrCat("step ", i, ", ", step.message, ": ", step.note));
    if (!step.connect_to.empty()) {
      ASSERT_NO_FATAL_FAILURE(Connect(tree, step, host_sockets));
      continue;
    }
    SocketHeader header;
    std::memcpy(&header, step.send.data(), sizeof(header));
    const auto reply = client->Raw(header.message, Payload(step.send).subspan(sizeof(header)));
    ASSERT_TRUE(reply.ok()) << reply.error().ToString();
    Bytes frame(sizeof(SocketHeader) + reply->payload.size());
    const SocketHeader reply_header = {.payload_len = static_cast<uint32_t>(reply->payload.size()),
                                       .message = reply->id,
                                       .pad = 0};
    std::memcpy(frame.data(), &reply_header, sizeof(reply_header));
    std::memcpy(frame.data() + sizeof(reply_header), reply->payload.data(), reply->payload.size());

    bool matched = false;
    std::string differences;
    for (const GoldenReply& golden : step.replies) {
      if (!MayAnswerAs(step.message, golden.versions, personality)) continue;
      const std::string difference = Difference(frame, reply->fds, golden);
      matched |= difference.empty();
      absl::StrAppend(&differences, "\nagainst ", golden.versions, ": ", difference);
    }
    EXPECT_TRUE(matched || IsDeviation(transcript, i, *reply)) << differences;
    Scan(tree, files);
    replay.CheckHostValues(frame);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TranscriptTest,
                         testing::Combine(testing::Range(size_t{0}, size_t{8}),
                                          testing::Values(Personality::kV22, Personality::kV24,
                                                          Personality::kV26)),
                         [](const testing::TestParamInfo<Parameters>& info) {
                           return absl::StrCat("Transcript", std::get<0>(info.param), "AsV",
                                               VersionOf(std::get<1>(info.param)));
                         });

TEST(Transcripts, AreAllThere) {
  const std::vector<Transcript> transcripts = ReadTranscripts();
  ASSERT_EQ(transcripts.size(), 8u);
  size_t requests = 0;
  for (const Transcript& transcript : transcripts) {
    for (const TranscriptStep& step : transcript.steps) requests += step.connect_to.empty() ? 1 : 0;
  }
  EXPECT_EQ(requests, 203u);
}

}  // namespace
}  // namespace lisafs::golden
