// Images of every version that was ever given out restore: each file in testdata is
// one, made on another machine, with a client of each kind that has open all that can be open. And
// what a version does not know it refuses, and says which one would.
//
// When the format changes, the image of the version before stays, and one of the new version is
// added:
//   bazel test //test/checkpoint:ckpt_versions_test
//   --test_env=CKPT_WRITE_IMAGE=$PWD/test/checkpoint/testdata/1.1.img
// writes it and then reads it as any other. What is in the tree and in the image is said by
// MakeTree and Fill below; to add to it is to make another test of the same kind, for images cannot
// be made anew.

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "checkpoint/image_file.h"
#include "checkpoint/load.h"
#include "checkpoint/report.h"
#include "checkpoint/save.h"
#include "fuse/session/session.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "test/checkpoint/life.h"
#include "test/support/fuse_client.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using checkpoint::Loaded;
using lisafs::FdId;
using lisafs::FdKind;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kOddName[] = "\xff\x80 no text\n";

// What the images are of. Times are all that tells a file in a copied tree.
void MakeTree(const TempTree& tree) {
  tree.Mkdir("dir");
  tree.Write("dir/file", "in the directory");
  tree.Write(absl::StrCat("dir/", kOddName), "odd");
  tree.Write("top", "top of the tree");
  tree.Symlink("link", "dir/file");
  tree.Fifo("fifo");
  // As it is found after the end of who had bound it.
  PCHECK(mknod(tree.At("socket").c_str(), S_IFSOCK | 0640, 0) == 0);
  for (const char* const name : {"dir/file", "top"}) {
    const struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                                      {.tv_sec = 1'600'000'000, .tv_nsec = 987'654'321}};
    PCHECK(utimensat(AT_FDCWD, tree.At(name).c_str(), times, 0) == 0);
  }
  const struct timespec early[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                                    {.tv_sec = -1'000'000'000, .tv_nsec = 1}};
  PCHECK(utimensat(AT_FDCWD, tree.At(absl::StrCat("dir/", kOddName)).c_str(), early, 0) == 0);
}

const lisafs::ServerOptions kServerOptions = {
    .host_uds = lisafs::HostUds::kAll, .host_fifo_open = true, .donate_fds = false};

// A sandbox and a guest that have everything of it.
void Fill(const TempTree& tree, Life& life, FuseClient& guest) {
  life.Start();
  const FdId dir = life.Walk(life.root(), "dir");
  const FdId file = life.Walk(dir, "file");
  Must(life->OpenAt(file, O_RDONLY));
  Must(life->OpenAt(file, O_RDWR));
  Must(life->OpenAt(dir, O_RDONLY));
  Must(life->OpenAt(life.Walk(dir, kOddName), O_RDONLY));
  life.Walk(life.root(), "link");
  tree.Write("gone", "has no name");
  Must(life->OpenAt(life.Walk(life.root(), "gone"), O_RDWR));
  Must(life->UnlinkAt(life.root(), "gone", 0));
  tree.Unlink("socket");
  Must(life->Listen(Must(life->BindAt(life.root(), "socket", SOCK_STREAM, 0640, {})).fd, 3));
  CHECK_EQ(guest.Init().error, 0);
  guest.Open(guest.Walk("top"), O_RDWR);
  guest.Opendir(guest.Walk("dir"));
}

std::string Saved(const TempTree& tree) {
  Life life(tree.OpenPath(), kServerOptions);
  fuse::Session session(&life.filesystem(), {});
  FuseClient guest(session);
  Fill(tree, life, guest);
  // What a FIFO holds is saved with it.
  const lisafs::OpenResult reader = Must(life->OpenAt(life.Walk(life.root(), "fifo"), O_RDONLY));
  const UniqueFd writer(open(tree.At("fifo").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  PCHECK(write(writer.get(), "not read", 8) == 8);
  const checkpoint::FuseClient clients[] = {{.way = "vhost-user", .session = &session}};
  std::string payload;
  const auto saved = checkpoint::Save({.filesystem = life.filesystem(),
                                       .lisafs = life.server(),
                                       .fuse = clients,
                                       .version = "golden",
                                       .root = "/srv"},
                                      {.leave_running = true}, [&](absl::string_view made) {
                                        payload = std::string(made);
                                        return absl::OkStatus();
                                      });
  CHECK(saved.ok()) << saved.status();
  return payload;
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.is_open()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> Images() {
  if (const char* const path = getenv("CKPT_WRITE_IMAGE")) {
    const TempTree tree;
    MakeTree(tree);
    const std::string payload = Saved(tree);
    const checkpoint::ImageHeader header = checkpoint::MakeImageHeader(payload, {});
    std::ofstream file(path, std::ios::binary);
    file << absl::string_view(header.data(), header.size()) << payload;
    CHECK(file.good()) << path;
  }
  std::vector<std::string> images;
  for (const auto& entry : std::filesystem::directory_iterator("test/checkpoint/testdata")) {
    images.push_back(entry.path().string());
  }
  return images;
}

// The ids that an image's sandbox had, by what they are of: "open /dir/file 2".
std::map<std::string, FdId> IdsOf(const Loaded& image) {
  std::vector<std::string> paths = {""};
  const auto& names = image.files.dentries;
  for (uint32_t row = 1; row < names.size(); ++row) {
    paths.push_back(absl::StrCat(paths[names[row].parent], "/", names[row].name));
  }
  std::map<std::string, FdId> ids;
  for (const lisafs::FdState& fd : image.lisafs.connections.at(0).fds) {
    const bool is_open = fd.kind == FdKind::kOpen;
    const auto& handles = image.files.handles;
    const uint32_t row = is_open ? handles[fd.row].dentry : fd.row;
    const std::string flags = is_open ? absl::StrCat(" ", handles[fd.row].flags & O_ACCMODE) : "";
    const char* const kind = is_open ? "open " : fd.kind == FdKind::kBound ? "bound " : "";
    ids[absl::StrCat(kind, paths[row], flags)] = FdId{fd.id};
  }
  return ids;
}

class CkptVersionsTest : public ::testing::TestWithParam<std::string> {
 protected:
  CkptVersionsTest() { MakeTree(tree_); }

  void ExpectSandboxGoesOn(Life& life, const Loaded& image) {
    std::map<std::string, FdId> ids = IdsOf(image);
    EXPECT_EQ(life.Read(ids.at("open /dir/file 0"), 100), "in the directory");
    EXPECT_EQ(life.Write(ids.at("open /dir/file 2"), "IN"), 2u);
    EXPECT_EQ(tree_.Read("dir/file"), "IN the directory");
    EXPECT_EQ(ErrorOf(life->PWrite(ids.at("open /dir/file 0"), {}, 0)), EBADF);
    EXPECT_EQ(life.Read(ids.at(absl::StrCat("open /dir/", kOddName, " 0")), 100), "odd");
    EXPECT_EQ(life.Read(ids.at("open /gone 2"), 100), "has no name");
    EXPECT_EQ(Must(life->FStat(ids.at("/gone"))).nlink, 0u);
    EXPECT_EQ(Must(life->ReadLinkAt(ids.at("/link"))), "dir/file");
    EXPECT_EQ(Must(life->Getdents64(ids.at("open /dir 0"), 4000)).size(), 2u);
    // New ids do not meet old ones.
    const FdId fresh = life.Walk(ids.at("/dir"), "file");
    for (const auto& [what, id] : ids) EXPECT_NE(fresh, id) << what;
    // The FIFO: what had not been read comes first.
    const lisafs::OpenResult reader = Must(life->OpenAt(ids.at("/fifo"), O_RDONLY));
    char text[20];
    ASSERT_EQ(read(reader.host_fd.get(), text, sizeof(text)), 8);
    EXPECT_EQ(absl::string_view(text, 8), "not read");
    // The socket is bound and listens.
    const UniqueFd host(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    tree_.At("socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(connect(host.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_TRUE(Must(life->Accept(ids.at("bound /socket"))).valid());
  }

  void ExpectGuestGoesOn(fuse::Session& session, const Loaded& image) {
    const fuse::SessionState& state = image.fuse.at(0).session;
    FuseClient guest(session);
    int regular = 0;
    for (const fuse::OpenFileState& file : state.files) {
      const fs::HandleState& handle = image.files.handles[file.row];
      const auto type = image.files.inodes[image.files.dentries[handle.dentry].inode].type;
      if (type != S_IFREG) continue;
      const auto node = static_cast<fuse::NodeId>(file.node);
      const auto id = static_cast<fuse::HandleId>(file.id);
      EXPECT_EQ(guest.Read(node, id, 0, 100).body, "top of the tree");
      EXPECT_EQ(guest.Write(node, id, 0, "T").error, 0);
      ++regular;
    }
    EXPECT_EQ(regular, 1);
    EXPECT_EQ(state.files.size(), 2u);
    for (const fuse::NodeState& node : state.nodes) {
      EXPECT_EQ(guest.Getattr(static_cast<fuse::NodeId>(node.id)).error, 0);
    }
    EXPECT_EQ(tree_.Read("top"), "Top of the tree");
  }

  TempTree tree_;
};

TEST_P(CkptVersionsTest, Restores) {
  const std::string bytes = ReadFile(GetParam());
  const absl::StatusOr<absl::string_view> payload = checkpoint::PayloadOf(bytes, {});
  ASSERT_TRUE(payload.ok()) << payload.status();
  const absl::StatusOr<Loaded> image = checkpoint::Decode(*payload);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->configuration.root(), "/srv");
  ASSERT_EQ(image->fuse.size(), 1u);
  Life life(tree_.OpenPath(), kServerOptions);
  fuse::Session session(&life.filesystem(), {});
  const absl::Status restored = life.Restore(
      image->files, image->lisafs, {},
      [&](fs::TreeRestore& tree) { return session.Restore(image->fuse[0].session, tree); });
  ASSERT_TRUE(restored.ok()) << restored;
  EXPECT_THAT(life.report().findings, IsEmpty()) << checkpoint::ReportAsText(life.report());
  EXPECT_TRUE(life.report().relocated);
  ExpectSandboxGoesOn(life, *image);
  ExpectGuestGoesOn(session, *image);
}

INSTANTIATE_TEST_SUITE_P(Golden, CkptVersionsTest, ::testing::ValuesIn(Images()),
                         [](const auto& info) {
                           std::string name = std::filesystem::path(info.param).stem().string();
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

// There is one of the version that this gofer writes: else a change of it would not be seen.
TEST(CkptVersionsOwnTest, TheCurrentVersionIsAmongThem) {
  const std::string current =
      absl::StrCat(checkpoint::kImageMajor, ".", checkpoint::kImageMinor, ".img");
  const std::vector<std::string> images = Images();
  EXPECT_TRUE(std::any_of(images.begin(), images.end(), [&](const std::string& path) {
    return absl::EndsWith(path, "/" + current);
  })) << current;
}

TEST(CkptVersionsOwnTest, OthersAreRefusedAndSayWhatToDo) {
  const std::string image = ReadFile(Images().at(0));
  const auto changed = [&](size_t offset, char value) {
    std::string other = image;
    other[offset] = value;
    return checkpoint::PayloadOf(other, {}).status();
  };
  // Before the digest is looked at: another format may have another one.
  for (const absl::Status& status : {changed(8, 2), changed(9, 1), changed(8, 0)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr("this gofer reads 1.x; restore with the version that "
                                            "saved it"));
  }
  const absl::Status feature = changed(16, 4);
  EXPECT_EQ(feature.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(feature.message(), HasSubstr("needs features 0x4"));
  EXPECT_EQ(changed(0, 'X').code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace gofer::testing
