#include "checkpoint/damages.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "checkpoint/codec.h"
#include "checkpoint/lisafs_codec.h"

namespace gofer::checkpoint {

fs::InodeState SampleInode(uint32_t type, uint64_t ino) {
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

fs::FilesystemState SampleFiles() {
  fs::FilesystemState state;
  state.inodes = {SampleInode(S_IFDIR, 2), SampleInode(S_IFDIR, 11), SampleInode(S_IFREG, 12),
                  SampleInode(S_IFREG, 13), SampleInode(S_IFIFO, 14)};
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

lisafs::ServerState SampleSandboxes() {
  using lisafs::FdKind;
  lisafs::ConnectionState client;
  client.mount_path = "/";
  client.mount_point = 0;
  client.next_id = 100;
  client.fds = {{.id = 1, .kind = FdKind::kControl, .row = 0},
                {.id = 2, .kind = FdKind::kControl, .row = 2},
                {.id = 5, .kind = FdKind::kOpen, .row = 0},
                {.id = 9,
                 .kind = FdKind::kBound,
                 .row = 4,
                 .socket_type = SOCK_STREAM,
                 .listening = true,
                 .backlog = 7},
                {.id = 10, .kind = FdKind::kBound, .row = 4, .socket_type = SOCK_DGRAM}};
  lisafs::ConnectionState waiting;
  waiting.mount_path = "/sub";
  waiting.readonly = true;
  return {.connections = {client, waiting}};
}

std::vector<FuseClientState> SampleGuests() {
  fuse::SessionState state;
  state.connected = true;
  state.readonly = true;
  state.minor = 38;
  state.flags = 0x1'0000'0001;
  state.can_resend = true;
  state.next_node_sequence = 8;
  state.next_file_sequence = 0xffffffff;
  state.nodes = {{.id = 0x1'0000'0010, .row = 70, .lookups = 1},
                 {.id = 0x1'0000'0011, .row = 3, .lookups = uint64_t{1} << 40},
                 {.id = 0xffff'fffe'0000'0000, .row = 0, .lookups = 2}};
  state.files = {
      {.id = 0x1'0000'0000, .node = 0x1'0000'0010, .row = 5, .flock = fuse::LockKind::kExclusive},
      {.id = 0x2'0000'0001, .node = 1, .row = 0, .flock = fuse::LockKind::kNone}};
  state.locks = {{.row = 70, .owner = UINT64_MAX, .exclusive = true, .start = 0, .end = INT64_MAX},
                 {.row = 3, .owner = 0, .exclusive = false, .start = 9, .end = 9}};
  return {{.way = "vhost-user", .session = state}, {.way = "fuse", .session = {}}};
}

Image SampleImage() {
  Image image;
  image.mutable_configuration()->set_gofer_version("test");
  image.mutable_configuration()->set_root("/srv");
  *image.mutable_filesystem() = Encode(SampleFiles());
  Encode(SampleSandboxes(), image);
  Encode(SampleGuests(), image);
  return image;
}

namespace {

void Rename(Filesystem& message, const std::string& name) {
  // The second row's name is "dir".
  std::string names = message.dentries().name();
  names.replace(0, 3, name);
  message.mutable_dentries()->set_name(names);
  message.mutable_dentries()->set_name_size(1, static_cast<uint32_t>(name.size()));
}

// A chain of directories.
void Nest(Filesystem& message, uint32_t depth) {
  fs::FilesystemState state = SampleFiles();
  const auto first = static_cast<uint32_t>(state.dentries.size());
  for (uint32_t i = 0; i < depth; ++i) {
    state.inodes.push_back(SampleInode(S_IFDIR, 1000 + i));
    state.dentries.push_back({.parent = i == 0 ? 0 : first + i - 1,
                              .inode = static_cast<uint32_t>(state.inodes.size() - 1),
                              .name = "deeper and deeper"});
  }
  message = Encode(state);
}

const Damage<Filesystem> kFilesystemDamages[] = {
    {"deep", "its names are so deep", [](Filesystem& m) { Nest(m, 10'000); }},
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

const Damage<LisafsConnection> kLisafsDamages[] = {
    {"no_path", "a mount path of 0 bytes", [](LisafsConnection& m) { m.clear_mount_path(); }},
    {"relative_path", "which is not absolute",
     [](LisafsConnection& m) { m.set_mount_path("sub"); }},
    {"long_path", "a mount path of 4097 bytes",
     [](LisafsConnection& m) { m.set_mount_path("/" + std::string(4096, 'x')); }},
    {"short_rows", "4 rows and 5 kinds",
     [](LisafsConnection& m) { m.mutable_row()->RemoveLast(); }},
    {"long_ids", "6 ids", [](LisafsConnection& m) { m.add_id_distance(1); }},
    {"id_zero", "id 0 is followed", [](LisafsConnection& m) { m.set_id_distance(0, 0); }},
    {"id_twice", "at a distance of 0", [](LisafsConnection& m) { m.set_id_distance(3, 0); }},
    {"id_wraps", "id 9 is followed", [](LisafsConnection& m) { m.set_id_distance(4, UINT64_MAX); }},
    {"kind_none", "is of kind 0", [](LisafsConnection& m) { m.set_kind(0, 0); }},
    {"kind_beyond", "is of kind 4", [](LisafsConnection& m) { m.set_kind(4, 4); }},
    {"socket_missing", "1 bound sockets are described, 2 have ids",
     [](LisafsConnection& m) { m.mutable_sockets()->RemoveLast(); }},
    {"socket_beyond", "what is at 5 is no bound socket",
     [](LisafsConnection& m) { m.mutable_sockets(0)->set_position(5); }},
    {"socket_of_file", "what is at 0 is no bound socket",
     [](LisafsConnection& m) { m.mutable_sockets(0)->set_position(0); }},
    {"socket_type", "has type 3", [](LisafsConnection& m) { m.mutable_sockets(0)->set_type(3); }},
    {"socket_twice", "is described twice",
     [](LisafsConnection& m) { m.mutable_sockets(1)->set_position(3); }},
};

template <typename Add>
void Repeat(int times, Add&& add) {
  for (int i = 0; i < times; ++i) add();
}

constexpr int kMany = kMaxNodes + 1;

// Counts that CheckShape knows, with bytes of which there are few.
const Damage<Image> kImageDamages[] = {
    {"many_sandboxes", "Image has more than 1024 elements of field 3",
     [](Image& m) { Repeat(1100, [&] { m.add_lisafs(); }); }},
    {"many_guests", "Image has more than 1024 elements of field 4",
     [](Image& m) { Repeat(1100, [&] { m.add_fuse(); }); }},
    {"many_handles", "Filesystem has more than 2000000 elements of field 3",
     [](Image& m) { Repeat(kMany, [&] { m.mutable_filesystem()->add_handles(); }); }},
    {"many_deleted", "Filesystem has more than 2000000 elements of field 4",
     [](Image& m) { Repeat(kMany, [&] { m.mutable_filesystem()->add_deleted_files(); }); }},
    {"many_extents", "DeletedFile has more than 2000000 elements of field 5",
     [](Image& m) {
       DeletedFile& file = *m.mutable_filesystem()->mutable_deleted_files(0);
       Repeat(kMany, [&] { file.add_extents(); });
     }},
    {"many_devices", "Inodes has more than 2000000 elements of field 1",
     [](Image& m) {
       Repeat(kMany, [&] { m.mutable_filesystem()->mutable_inodes()->add_devices(); });
     }},
    {"many_files", "Inodes has more than 2000000 elements of field 4",
     [](Image& m) {
       Repeat(kMany, [&] { m.mutable_filesystem()->mutable_inodes()->add_ino(1); });
     }},
    {"many_names", "Dentries has more than 2000000 elements of field 2",
     [](Image& m) {
       Repeat(kMany, [&] { m.mutable_filesystem()->mutable_dentries()->add_inode(0); });
     }},
    {"many_sockets", "LisafsConnection has more than 2000000 elements of field 8",
     [](Image& m) { Repeat(kMany, [&] { m.mutable_lisafs(0)->add_sockets(); }); }},
    {"many_ids", "LisafsConnection has more than 8000000 elements of field 5",
     [](Image& m) { Repeat(4 * kMany, [&] { m.mutable_lisafs(1)->add_id_distance(1); }); }},
    {"many_nodes", "FuseSession has more than 8000000 elements of field 10",
     [](Image& m) { Repeat(4 * kMany, [&] { m.mutable_fuse(1)->add_node_lookups(1); }); }},
    {"many_locks", "FuseSession has more than 2000000 elements of field 15",
     [](Image& m) { Repeat(kMany, [&] { m.mutable_fuse(0)->add_locks(); }); }},
    {"no_files", "there is no root", [](Image& m) { m.clear_filesystem(); }},
    {"nothing", "there is no root", [](Image& m) { m.Clear(); }},
};

const Damage<FuseSession> kFuseDamages[] = {
    {"long_way", "a name of 4097 bytes", [](FuseSession& m) { m.set_way(std::string(4097, 'x')); }},
    {"not_connected", "has not said INIT", [](FuseSession& m) { m.set_connected(false); }},
    {"short_rows", "column node_row has 2 rows",
     [](FuseSession& m) { m.mutable_node_row()->RemoveLast(); }},
    {"long_lookups", "column node_lookups has 4 rows",
     [](FuseSession& m) { m.add_node_lookups(1); }},
    {"short_nodes", "column file_node has 1 rows",
     [](FuseSession& m) { m.mutable_file_node()->RemoveLast(); }},
    {"long_file_rows", "column file_row has 3 rows", [](FuseSession& m) { m.add_file_row(1); }},
    {"short_flocks", "column file_flock has 1 rows",
     [](FuseSession& m) { m.mutable_file_flock()->RemoveLast(); }},
    {"node_twice", "at a distance of 0", [](FuseSession& m) { m.set_node_distance(1, 0); }},
    {"node_zero", "id 0 is followed", [](FuseSession& m) { m.set_node_distance(0, 0); }},
    {"node_wraps", "is followed by one at a distance of",
     [](FuseSession& m) { m.set_node_distance(2, UINT64_MAX); }},
    {"file_twice", "at a distance of 0", [](FuseSession& m) { m.set_file_distance(1, 0); }},
    {"row_below", "is name 18446744073709551615", [](FuseSession& m) { m.set_node_row(0, -1); }},
    {"row_beyond", "is name 2000000, the limit is",
     [](FuseSession& m) { m.set_node_row(0, 2'000'000); }},
    {"row_extreme", "the limit is", [](FuseSession& m) { m.set_node_row(0, INT64_MIN); }},
    {"no_lookups", "has no lookups", [](FuseSession& m) { m.set_node_lookups(1, 0); }},
    {"flock", "a lock of kind 3", [](FuseSession& m) { m.set_file_flock(0, 3); }},
    {"lock_backwards", "is of bytes 10 to 9",
     [](FuseSession& m) { m.mutable_locks(1)->set_start(10); }},
    {"lock_beyond", "to 9223372036854775808",
     [](FuseSession& m) { m.mutable_locks(0)->set_end(uint64_t{1} << 63); }},
};

}  // namespace

std::span<const Damage<Filesystem>> FilesystemDamages() { return kFilesystemDamages; }
std::span<const Damage<LisafsConnection>> LisafsDamages() { return kLisafsDamages; }
std::span<const Damage<FuseSession>> FuseDamages() { return kFuseDamages; }
std::span<const Damage<Image>> ImageDamages() { return kImageDamages; }

}  // namespace gofer::checkpoint
