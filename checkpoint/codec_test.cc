#include "checkpoint/codec.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace gofer::checkpoint {
namespace {

using ::testing::HasSubstr;

fs::InodeState MakeInode(uint32_t type, uint64_t ino) {
  return {.type = type,
          .dev_major = 8,
          .dev_minor = 1,
          .ino = ino,
          .birth = fs::FileTime{.sec = 1'700'000'000, .nsec = 5},
          .handle_type = 1,
          .handle = absl::StrCat("handle", ino),
          .size = 0,
          .mtime = {.sec = 1'700'000'100, .nsec = 999'999'999},
          .ctime = {.sec = 1'700'000'200, .nsec = 0},
          .client_dev_major = 8,
          .client_dev_minor = 1,
          .client_ino = ino};
}

// A root with a directory, in it a file that is open and one that is deleted; and a FIFO.
fs::FilesystemState MakeState() {
  fs::FilesystemState state;
  state.inodes = {MakeInode(S_IFDIR, 2), MakeInode(S_IFDIR, 11), MakeInode(S_IFREG, 12),
                  MakeInode(S_IFREG, 13), MakeInode(S_IFIFO, 14)};
  state.inodes[2].size = 100;
  state.inodes[2].client_ino = 777;
  state.inodes[3].client_dev_major = 259;
  state.inodes[3].size = 50;
  state.inodes[3].mtime = {.sec = INT64_MIN, .nsec = 1};  // files can be that old
  state.inodes[4].mtime = {.sec = INT64_MAX, .nsec = 1};
  state.inodes[4].birth.reset();
  state.inodes[4].handle.clear();
  state.inodes[4].dev_minor = 2;
  state.dentries = {{.parent = fs::kNoIndex, .inode = 0, .name = "", .deleted = false},
                    {.parent = 0, .inode = 1, .name = "dir", .deleted = false},
                    {.parent = 1, .inode = 2, .name = "\xff\x01 not text", .deleted = false},
                    {.parent = 1, .inode = 3, .name = "gone", .deleted = true},
                    {.parent = 0, .inode = 4, .name = "fifo", .deleted = false, .astray = true}};
  state.handles = {{.dentry = 2, .flags = O_RDWR | O_DIRECT, .position = 0, .unread = ""},
                   {.dentry = 1, .flags = O_RDONLY, .position = 123456789, .unread = ""},
                   {.dentry = 4, .flags = O_RDONLY, .position = 0, .unread = "not yet read"}};
  state.deleted_files = {
      {.inode = 3,
       .mode = 0640,
       .uid = 1000,
       .gid = 100,
       .extents = {{.offset = 0, .data = "begin"}, {.offset = 40, .data = "end at 50!"}}}};
  return state;
}

TEST(CodecTest, WhatIsEncodedIsDecoded) {
  const fs::FilesystemState state = MakeState();
  std::string bytes;
  ASSERT_TRUE(Encode(state).SerializeToString(&bytes));
  Filesystem message;
  ASSERT_TRUE(message.ParseFromString(bytes));
  const absl::StatusOr<fs::FilesystemState> decoded = Decode(message);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->inodes, state.inodes);
  EXPECT_EQ(decoded->dentries, state.dentries);
  EXPECT_EQ(decoded->handles, state.handles);
  EXPECT_EQ(decoded->deleted_files, state.deleted_files);
}

TEST(CodecTest, AFileTakesFewBytes) {
  fs::FilesystemState state = MakeState();
  const size_t before = Encode(state).ByteSizeLong();
  constexpr uint32_t kFiles = 10'000;
  for (uint32_t i = 0; i < kFiles; ++i) {
    state.inodes.push_back(MakeInode(S_IFREG, 1'000'000 + i));
    state.inodes.back().handle.resize(12);
    state.inodes.back().size = 100'000 + i;
    state.inodes.back().mtime = {.sec = 1'700'000'000 + i * 7, .nsec = 123'456'789 + i};
    state.inodes.back().ctime = state.inodes.back().mtime;
    state.inodes.back().birth = state.inodes.back().mtime;
    state.dentries.push_back({.parent = 1,
                              .inode = static_cast<uint32_t>(state.inodes.size() - 1),
                              .name = absl::StrCat("some_file_", i, ".txt"),
                              .deleted = false});
  }
  EXPECT_LE((Encode(state).ByteSizeLong() - before) / kFiles, 100u);
}

struct Damage {
  const char* what;
  const char* message;  // a part of the error
  std::function<void(Filesystem&)> apply;
};

class DamageTest : public ::testing::TestWithParam<Damage> {};

TEST_P(DamageTest, IsRefused) {
  Filesystem message = Encode(MakeState());
  GetParam().apply(message);
  const absl::StatusOr<fs::FilesystemState> decoded = Decode(message);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(decoded.status().message(), HasSubstr(GetParam().message));
}

void Rename(Filesystem& message, const std::string& name) {
  // The second row's name is "dir".
  std::string names = message.dentries().name();
  names.replace(0, 3, name);
  message.mutable_dentries()->set_name(names);
  message.mutable_dentries()->set_name_size(1, static_cast<uint32_t>(name.size()));
}

const Damage kDamages[] = {
    {"empty", "there is no root", [](Filesystem& m) { m.Clear(); }},
    {"short_column", "column ino has 4 rows",
     [](Filesystem& m) { m.mutable_inodes()->mutable_ino()->RemoveLast(); }},
    {"long_column", "column mtime_nsec has 6 rows",
     [](Filesystem& m) { m.mutable_inodes()->add_mtime_nsec(0); }},
    {"type_none", "has type 0", [](Filesystem& m) { m.mutable_inodes()->set_type(2, 0); }},
    {"type_wide", "has type 4104", [](Filesystem& m) { m.mutable_inodes()->set_type(2, 0x1008); }},
    {"device", "is on device 3 of 3", [](Filesystem& m) { m.mutable_inodes()->set_device(0, 3); }},
    {"nsec", "has a time with 1000000000 ns",
     [](Filesystem& m) { m.mutable_inodes()->set_mtime_nsec(1, 1'000'000'000); }},
    {"size", "the bound is 9223372036854775807",
     [](Filesystem& m) { m.mutable_inodes()->set_size(1, uint64_t{1} << 63); }},
    {"handle_beyond", "file handles of row 4",
     [](Filesystem& m) { m.mutable_inodes()->set_handle_size(4, 1000); }},
    {"handle_left", "7 bytes of file handles",
     [](Filesystem& m) { m.mutable_inodes()->mutable_handle()->append("surplus"); }},
    {"handle_long", "has a handle of 200 bytes",
     [](Filesystem& m) {
       m.mutable_inodes()->mutable_handle()->append(200, 'x');
       m.mutable_inodes()->set_handle_size(4, 200);
     }},
    {"renumbered", "renumbered file 5 of 5",
     [](Filesystem& m) { m.mutable_inodes()->set_renumbered_row(0, 5); }},
    {"renumbered_rows", "column renumbered_ino",
     [](Filesystem& m) { m.mutable_inodes()->add_renumbered_row(0); }},
    {"root_with_parent", "name 0 comes 1 behind",
     [](Filesystem& m) { m.mutable_dentries()->set_parent_distance(0, 1); }},
    {"second_root", "is a second root",
     [](Filesystem& m) { m.mutable_dentries()->set_parent_distance(1, 0); }},
    {"parent_beyond", "name 2 comes 3 behind",
     [](Filesystem& m) { m.mutable_dentries()->set_parent_distance(2, 3); }},
    {"parent_is_file", "lies in what is no directory",
     [](Filesystem& m) { m.mutable_dentries()->set_parent_distance(3, 1); }},
    {"inode_beyond", "leads to file 5 of 5",
     [](Filesystem& m) { m.mutable_dentries()->set_inode(4, 5); }},
    {"dot_dot", "name 1 of 2 bytes", [](Filesystem& m) { Rename(m, ".."); }},
    {"slash", "name 1 of 3 bytes", [](Filesystem& m) { Rename(m, "a/b"); }},
    {"nul", "name 1 of 3 bytes", [](Filesystem& m) { Rename(m, std::string("a\0b", 3)); }},
    {"empty_name", "name 1 of 0 bytes", [](Filesystem& m) { Rename(m, ""); }},
    {"long_name", "name 1 of 256 bytes", [](Filesystem& m) { Rename(m, std::string(256, 'x')); }},
    {"twice", "name 4 is there twice",
     [](Filesystem& m) {
       m.mutable_dentries()->set_name("dir\xff\x01 not textgonedir");
       m.mutable_dentries()->set_name_size(4, 3);
     }},
    {"directory_twice", "is a second one of directory 1",
     [](Filesystem& m) { m.mutable_dentries()->set_inode(4, 1); }},
    {"in_deleted", "lies in a deleted directory",
     [](Filesystem& m) { m.mutable_dentries()->set_deleted_row(0, 1); }},
    {"deleted_root", "deleted name 0",
     [](Filesystem& m) { m.mutable_dentries()->set_deleted_row(0, 0); }},
    {"deleted_beyond", "deleted name 5 of 5",
     [](Filesystem& m) { m.mutable_dentries()->add_deleted_row(5); }},
    {"astray_root", "astray name 0",
     [](Filesystem& m) { m.mutable_dentries()->add_astray_row(0); }},
    {"astray_beyond", "astray name 5 of 5",
     [](Filesystem& m) { m.mutable_dentries()->add_astray_row(5); }},
    {"handle_of_nothing", "open file 0 is name 5 of 5",
     [](Filesystem& m) { m.mutable_handles(0)->set_dentry(5); }},
    {"handle_flags", "open file 0 has flags",
     [](Filesystem& m) { m.mutable_handles(0)->set_flags(O_RDWR | O_CREAT); }},
    {"unread_of_file", "is no FIFO", [](Filesystem& m) { m.mutable_handles(0)->set_unread("x"); }},
    {"unread_long", "unread bytes, the bound is",
     [](Filesystem& m) { m.mutable_handles(2)->set_unread(std::string((1 << 20) + 1, 'x')); }},
    {"deleted_file", "deleted file 0 is file 5",
     [](Filesystem& m) { m.mutable_deleted_files(0)->set_inode(5); }},
    {"deleted_directory", "is no regular file",
     [](Filesystem& m) { m.mutable_deleted_files(0)->set_inode(1); }},
    {"deleted_twice", "deleted file 1 is there twice",
     [](Filesystem& m) { *m.add_deleted_files() = m.deleted_files(0); }},
    {"deleted_mode", "has mode",
     [](Filesystem& m) { m.mutable_deleted_files(0)->set_mode(010000); }},
    {"extent_order", "has an extent of 10 at 3",
     [](Filesystem& m) { m.mutable_deleted_files(0)->mutable_extents(1)->set_offset(3); }},
    {"extent_end", "has an extent of 10 at 41",
     [](Filesystem& m) { m.mutable_deleted_files(0)->mutable_extents(1)->set_offset(41); }},
    {"extent_wrap", "has an extent",
     [](Filesystem& m) { m.mutable_deleted_files(0)->mutable_extents(1)->set_offset(UINT64_MAX); }},
    {"extent_empty", "has an extent of 0",
     [](Filesystem& m) { m.mutable_deleted_files(0)->mutable_extents(0)->clear_data(); }},
};

INSTANTIATE_TEST_SUITE_P(All, DamageTest, ::testing::ValuesIn(kDamages),
                         [](const auto& info) { return std::string(info.param.what); });

}  // namespace
}  // namespace gofer::checkpoint
