// Open files as FUSE uses them.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/fs/filesystem_fixture.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::fs {
namespace {

struct iovec Part(std::string& text) {
  return {text.data(), text.size()};
}

class IoTest : public FilesystemTest {
 protected:
  RefPtr<Handle> Open(absl::string_view path, int flags, SetIdBits set_id = SetIdBits::kKeep) {
    ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(*Walk(path).dentry, flags, set_id);
    CHECK(handle.ok()) << path << ": " << handle.error().ToString();
    return *std::move(handle);
  }
  uint32_t ModeOf(absl::string_view path) { return tree_.Stat(path).st_mode & 07777; }
};

TEST_F(IoTest, VectorsOfAnyNumberAndSize) {
  tree_.Write("f", "");
  const RefPtr<Handle> handle = Open("f", O_RDWR);
  // More parts than one call of the host takes, empty ones too.
  std::vector<std::string> texts;
  std::string whole;
  for (int i = 0; i < 3000; ++i) {
    texts.push_back(i % 7 == 0 ? "" : absl::StrCat(i, ","));
    whole += texts.back();
  }
  std::vector<struct iovec> parts;
  for (std::string& text : texts) parts.push_back(Part(text));
  EXPECT_EQ(*fs_->WriteV(*handle, parts, 5, false), whole.size());
  EXPECT_EQ(tree_.Read("f"), std::string(5, '\0') + whole);

  for (std::string& text : texts) text.assign(text.size(), '?');
  EXPECT_EQ(*fs_->ReadV(*handle, parts, 5, true), whole.size());
  std::string again;
  for (const std::string& text : texts) again += text;
  EXPECT_EQ(again, whole);
  // The last one ends the file.
  EXPECT_EQ(*fs_->ReadV(*handle, parts, 6, true), whole.size() - 1);
  EXPECT_EQ(*fs_->ReadV(*handle, parts, 1 << 20, true), 0u);
}

TEST_F(IoTest, OffsetsPastTheEndOfTheWorldAreEINVAL) {
  tree_.Write("f", "text");
  const RefPtr<Handle> handle = Open("f", O_RDWR);
  std::string text = "x";
  const struct iovec part = Part(text);
  // -1 would be the host's own position.
  for (const uint64_t offset : {~uint64_t{0}, uint64_t{1} << 63}) {
    EXPECT_EQ(ErrorOf(fs_->ReadV(*handle, {&part, 1}, offset, true)), EINVAL);
    EXPECT_EQ(ErrorOf(fs_->WriteV(*handle, {&part, 1}, offset, false)), EINVAL);
    EXPECT_EQ(ErrorOf(fs_->CopyRange(*handle, offset, *handle, 0, 1)), EINVAL);
  }
  EXPECT_EQ(tree_.Read("f"), "text");
}

TEST_F(IoTest, AReadThatMayNotBlockReadsAllOrSaysSo) {
  tree_.Write("f", std::string(300'000, 'x'));
  const RefPtr<Handle> handle = Open("f", O_RDONLY);
  std::string text(400'000, '?');
  const struct iovec part = Part(text);
  ErrnoOr<size_t> read = fs_->ReadV(*handle, {&part, 1}, 0, false);
  if (!read.ok()) {
    EXPECT_EQ(read.error(), EAGAIN);
    read = fs_->ReadV(*handle, {&part, 1}, 0, true);
  }
  EXPECT_EQ(*read, 300'000u);
}

TEST_F(IoTest, AppendingGoesToTheEndWhateverTheOffset) {
  tree_.Write("f", "text");
  const RefPtr<Handle> handle = Open("f", O_WRONLY | O_APPEND);
  std::string text = "more";
  const struct iovec part = Part(text);
  EXPECT_EQ(*fs_->WriteV(*handle, {&part, 1}, 0, true), 4u);
  EXPECT_EQ(tree_.Read("f"), "textmore");
  EXPECT_EQ(*fs_->WriteV(*handle, {&part, 1}, 0, false), 4u) << "O_APPEND is not kept";
  EXPECT_EQ(tree_.Read("f"), "moremore");
}

TEST_F(IoTest, AccessIsThatOfTheHandle) {
  tree_.Write("f", "text");
  std::string text = "x";
  const struct iovec part = Part(text);
  const RefPtr<Handle> reader = Open("f", O_RDONLY);
  const RefPtr<Handle> writer = Open("f", O_WRONLY);
  EXPECT_EQ(ErrorOf(fs_->ReadV(*writer, {&part, 1}, 0, true)), EBADF);
  EXPECT_EQ(ErrorOf(fs_->WriteV(*reader, {&part, 1}, 0, false)), EBADF);
  EXPECT_EQ(ErrorOf(fs_->Truncate(*reader, 0)), EINVAL);
  EXPECT_EQ(ErrorOf(fs_->Truncate(*writer, 1)), 0);
  EXPECT_EQ(ErrorOf(fs_->CopyRange(*writer, 0, *writer, 9, 1)), EBADF);
  EXPECT_EQ(ErrorOf(fs_->CopyRange(*reader, 0, *reader, 9, 1)), EBADF);
}

TEST_F(IoTest, OnlyFilesAndDirectoriesAreOpened) {
  tree_.Fifo("p");
  tree_.Symlink("l", "p");
  tree_.Mkdir("d");
  tree_.Write("f", "text");
  EXPECT_EQ(ErrorOf(fs_->OpenWith(*Walk("p").dentry, O_RDONLY)), EBADF);
  EXPECT_EQ(ErrorOf(fs_->OpenWith(*Walk("l").dentry, O_RDONLY)), ELOOP);
  EXPECT_EQ(ErrorOf(fs_->OpenWith(*Walk("d").dentry, O_RDWR)), EISDIR);
  EXPECT_EQ(ErrorOf(fs_->OpenWith(*Walk("f").dentry, O_RDONLY | O_DIRECTORY)), ENOTDIR);
  // A hostile client's flags do nothing.
  Open("f", O_RDWR | O_CREAT | O_EXCL | O_PATH | (O_TMPFILE ^ O_DIRECTORY));
  EXPECT_EQ(tree_.Read("f"), "text");
  Open("f", O_WRONLY | O_TRUNC);
  EXPECT_EQ(tree_.Read("f"), "");
}

TEST_F(IoTest, DirectTransfersWithBuffersThatDoNotFitAreBounced) {
  tree_.Write("f", std::string(8192, 'a') + "tail");
  const ErrnoOr<RefPtr<Handle>> opened = fs_->OpenWith(*Walk("f").dentry, O_RDWR | O_DIRECT);
  if (!opened.ok()) GTEST_SKIP() << "no direct I/O here";
  const RefPtr<Handle>& handle = *opened;
  EXPECT_TRUE(handle->direct());
  std::string head(3, '?');
  std::string body(16381, '?');
  const std::vector<struct iovec> parts = {Part(head), Part(body)};
  EXPECT_EQ(ErrorOf(fs_->ReadV(*handle, parts, 0, false)), EAGAIN) << "not at once";
  EXPECT_EQ(*fs_->ReadV(*handle, parts, 0, true), 8196u);
  EXPECT_EQ(head + body.substr(0, 8193), std::string(8192, 'a') + "tail");

  std::string b(4093, 'b');
  std::string bbb(3, 'b');
  const std::vector<struct iovec> from = {Part(bbb), Part(b)};
  EXPECT_EQ(*fs_->WriteV(*handle, from, 4096, false), 4096u);
  EXPECT_EQ(tree_.Read("f"), std::string(4096, 'a') + std::string(4096, 'b') + "tail");
}

TEST_F(IoTest, SeekFindsHolesOfFilesOnly) {
  tree_.Write("f", "");
  tree_.Mkdir("d");
  const RefPtr<Handle> handle = Open("f", O_RDWR);
  std::string text(4096, 'x');
  const struct iovec part = Part(text);
  ASSERT_EQ(*fs_->WriteV(*handle, {&part, 1}, 1 << 20, false), 4096u);
  EXPECT_EQ(*fs_->Seek(*handle, 0, SEEK_DATA), uint64_t{1} << 20);
  EXPECT_EQ(*fs_->Seek(*handle, 0, SEEK_HOLE), 0u);
  EXPECT_EQ(ErrorOf(fs_->Seek(*handle, 2 << 20, SEEK_DATA)), ENXIO);
  EXPECT_EQ(ErrorOf(fs_->Seek(*handle, 0, 99)), EINVAL);
  EXPECT_EQ(ErrorOf(fs_->Seek(*Open("d", O_RDONLY), 0, SEEK_SET)), EINVAL);
}

TEST_F(IoTest, CopiesAndSyncs) {
  tree_.Write("from", "0123456789");
  tree_.Write("to", "");
  const RefPtr<Handle> from = Open("from", O_RDONLY);
  const RefPtr<Handle> to = Open("to", O_WRONLY);
  EXPECT_EQ(*fs_->CopyRange(*from, 2, *to, 1, 5), 5u);
  EXPECT_EQ(tree_.Read("to"), std::string("\0"
                                          "23456",
                                          6));
  EXPECT_EQ(*fs_->CopyRange(*from, 10, *to, 1, 5), 0u);
  EXPECT_EQ(ErrorOf(fs_->SyncData(*to)), 0);
  EXPECT_EQ(ErrorOf(fs_->Sync(*to)), 0);
  EXPECT_EQ(ErrorOf(fs_->Flush(*to)), 0);
  EXPECT_EQ(ErrorOf(fs_->Flush(*from)), 0);
  EXPECT_EQ(ErrorOf(fs_->SyncFs(fs_->root())), 0);
  EXPECT_EQ(ErrorOf(fs_->SyncFs(*Walk("to").dentry)), 0);
}

TEST_F(IoTest, AttributesByAnOpenFile) {
  tree_.Write("f", "text");
  const RefPtr<Handle> handle = Open("f", O_RDWR);
  tree_.Unlink("f");
  EXPECT_EQ(ErrorOf(fs_->ChangeMode(*handle, 04701)), 0);
  EXPECT_EQ(ErrorOf(fs_->ChangeOwner(*handle, {.uid = 3, .gid = kKeepId})), 0);
  const struct timespec times[2] = {{1, 2}, {3, 4}};
  EXPECT_EQ(ErrorOf(fs_->SetTimes(*handle, times)), 0);
  const ErrnoOr<sys::Attr> attr = fs_->Stat(*handle);
  EXPECT_EQ(attr->stx_mode, S_IFREG | 0701) << "a chown takes set-user-ID away";
  EXPECT_EQ(attr->stx_uid, 3u);
  EXPECT_EQ(attr->stx_mtime.tv_sec, 3);
  EXPECT_EQ(attr->stx_nlink, 0u);
}

TEST_F(IoTest, TimesAndOwnersOfSymlinksAreTheirOwn) {
  tree_.Write("f", "");
  tree_.Symlink("l", "f");
  const Entry link = Walk("l");
  const struct timespec times[2] = {{1, 2}, {3, 4}};
  EXPECT_EQ(ErrorOf(fs_->SetTimes(*link.dentry, times)), 0);
  EXPECT_EQ(ErrorOf(fs_->ChangeOwner(*link.dentry, {.uid = 3, .gid = 4})), 0);
  EXPECT_EQ(ErrorOf(fs_->ChangeMode(*link.dentry, 0600)), EOPNOTSUPP);
  EXPECT_EQ(tree_.Stat("l").st_mtime, 3);
  EXPECT_EQ(tree_.Stat("l").st_uid, 3u);
  EXPECT_NE(tree_.Stat("f").st_mtime, 3);
}

TEST_F(IoTest, SetIdBitsGoWhereTheyShall) {
  tree_.Write("f", "text");
  const std::string path = tree_.At("f");
  std::string text = "x";
  const struct iovec part = Part(text);
  const auto reset = [&](uint32_t mode) { ASSERT_EQ(chmod(path.c_str(), mode), 0); };

  const RefPtr<Handle> handle = Open("f", O_RDWR);
  reset(06755);
  EXPECT_EQ(*fs_->WriteV(*handle, {&part, 1}, 0, false, SetIdBits::kKeep), 1u);
  EXPECT_EQ(ModeOf("f"), 06755u);
  EXPECT_EQ(ErrorOf(fs_->Stat(*handle)), 0);  // seen by us, as by the client's lookups
  EXPECT_EQ(*fs_->WriteV(*handle, {&part, 1}, 0, false, SetIdBits::kDrop), 1u);
  EXPECT_EQ(ModeOf("f"), 0755u);
  reset(02644);
  EXPECT_EQ(ErrorOf(fs_->Stat(*handle)), 0);
  EXPECT_EQ(*fs_->WriteV(*handle, {&part, 1}, 0, false, SetIdBits::kDrop), 1u);
  EXPECT_EQ(ModeOf("f") & S_ISUID, 0u);

  for (const SetIdBits set_id : {SetIdBits::kKeep, SetIdBits::kDrop}) {
    const uint32_t expected = set_id == SetIdBits::kKeep ? 06755 : 0755;
    reset(06755);
    EXPECT_EQ(ErrorOf(fs_->Truncate(*Walk("f").dentry, 2, set_id)), 0);
    EXPECT_EQ(ModeOf("f"), expected);
    reset(06755);
    EXPECT_TRUE(fs_->Stat(*handle).ok());
    EXPECT_EQ(ErrorOf(fs_->Truncate(*handle, 1, set_id)), 0);
    EXPECT_EQ(ModeOf("f"), expected);
    reset(06755);
    Open("f", O_WRONLY | O_TRUNC, set_id);
    EXPECT_EQ(ModeOf("f"), expected);
  }
  // The thread has its capability back.
  reset(0755);
  ASSERT_EQ(chown(path.c_str(), 1000, 1000), 0);
  EXPECT_EQ(ErrorOf(fs_->ChangeMode(*Walk("f").dentry, 02755)), 0);
  EXPECT_EQ(ModeOf("f"), 02755u);
}

TEST_F(IoTest, FileCapabilitiesGoWithAnyWrite) {
  tree_.Write("f", "text");
  // cap_net_raw+ep
  const unsigned char value[20] = {1, 0, 0, 2, 0, 0x20};
  ASSERT_EQ(setxattr(tree_.At("f").c_str(), "security.capability", value, sizeof(value), 0), 0);
  std::string text = "x";
  const struct iovec part = Part(text);
  EXPECT_EQ(*fs_->WriteV(*Open("f", O_RDWR), {&part, 1}, 0, false, SetIdBits::kDrop), 1u);
  EXPECT_EQ(getxattr(tree_.At("f").c_str(), "security.capability", nullptr, 0), -1);
  EXPECT_EQ(errno, ENODATA);
}

TEST_F(IoTest, ListingsGoOnAtAnyCookie) {
  tree_.Mkdir("d");
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 3000; ++i) {
    const std::string name = absl::StrCat("file", std::string(i % 100, 'x'), i);
    tree_.Write(absl::StrCat("d/", name), "");
    expected.insert(name);
  }
  const RefPtr<Handle> handle = Open("d", O_RDONLY | O_DIRECTORY);
  struct Seen {
    std::string name;
    uint64_t off;
  };
  std::vector<Seen> all;
  const auto list = [&](Handle& from, uint64_t cookie, size_t limit) {
    std::vector<Seen> seen;
    const ErrnoOr<void> listed = fs_->ReadDirFrom(from, cookie, [&](const DirEntry& entry) {
      if (seen.size() == limit) return false;
      seen.push_back({std::string(entry.name), entry.off});
      return true;
    });
    CHECK(listed.ok()) << listed.error().ToString();
    return seen;
  };
  uint64_t cookie = 0;
  for (size_t limit = 1;; limit = limit % 50 + 1) {
    const std::vector<Seen> seen = list(*handle, cookie, limit);
    if (seen.empty()) break;
    all.insert(all.end(), seen.begin(), seen.end());
    cookie = seen.back().off;
  }
  std::set<std::string> names;
  for (const Seen& seen : all) names.insert(seen.name);
  EXPECT_EQ(all.size(), expected.size());
  EXPECT_EQ(names, expected);

  // From any place, backwards too, and by another open file.
  const RefPtr<Handle> other = Open("d", O_RDONLY | O_DIRECTORY);
  for (const size_t at : {2500, 17, 2999, 0, 1}) {
    const std::vector<Seen> seen = list(*(at % 2 == 0 ? handle : other), all[at].off, 3);
    for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i].name, all[at + 1 + i].name) << at;
  }
  // A new listing sees what is new.
  list(*handle, 0, 1);
  tree_.Write("d/one_more", "");
  bool found = false;
  for (const Seen& seen : list(*handle, 0, 10000)) found |= seen.name == "one_more";
  EXPECT_TRUE(found);
  EXPECT_EQ(ErrorOf(fs_->ReadDirFrom(*Open("d/one_more", O_RDONLY), 0,
                                     [](const DirEntry&) { return true; })),
            ENOTDIR);
}

TEST_F(IoTest, ListingsWithoutABufferOfTheirOwn) {
  tree_.Mkdir("d");
  for (int i = 0; i < 500; ++i) tree_.Write(absl::StrCat("d/", std::string(60, 'x'), i), "");
  const Entry dir = Walk("d");
  // More half-read listings than there are buffers.
  std::vector<RefPtr<Handle>> handles;
  for (size_t i = 0; i < DirCursor::kMaxBuffers + 3; ++i) {
    ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(*dir.dentry, O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(handle.ok());
    ASSERT_TRUE(fs_->ReadDirFrom(**handle, 0, [](const DirEntry&) { return false; }).ok());
    handles.push_back(*std::move(handle));
  }
  size_t count = 0;
  uint64_t cookie = 0;
  for (bool more = true; more;) {
    size_t taken = 0;
    ASSERT_TRUE(fs_->ReadDirFrom(*handles.back(), cookie,
                                 [&](const DirEntry& entry) {
                                   if (taken == 7) return false;
                                   cookie = entry.off;
                                   ++taken;
                                   return true;
                                 })
                    .ok());
    count += taken;
    more = taken > 0;
  }
  EXPECT_EQ(count, 502u);
}

TEST_F(IoTest, TheRootsParentIsTheRoot) {
  const ErrnoOr<RefPtr<Handle>> handle = fs_->OpenWith(fs_->root(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(handle.ok());
  uint64_t parent = 0;
  ASSERT_TRUE(fs_->ReadDirFrom(**handle, 0,
                               [&](const DirEntry& entry) {
                                 if (entry.name == "..") parent = entry.ino;
                                 return true;
                               })
                  .ok());
  EXPECT_EQ(parent, tree_.Stat("").st_ino);
}

TEST_F(IoTest, WholeFileLocksBelongToTheOpenFile) {
  tree_.Write("f", "");
  const RefPtr<Handle> a = Open("f", O_RDWR);
  const RefPtr<Handle> b = Open("f", O_RDONLY);
  EXPECT_EQ(ErrorOf(fs_->FLock(*a, F_WRLCK)), 0);
  EXPECT_EQ(ErrorOf(fs_->FLock(*b, F_RDLCK)), EAGAIN);
  EXPECT_EQ(ErrorOf(fs_->FLock(*a, F_RDLCK)), 0);
  EXPECT_EQ(ErrorOf(fs_->FLock(*b, F_RDLCK)), 0);
  EXPECT_EQ(ErrorOf(fs_->FLock(*a, F_UNLCK)), 0);
  EXPECT_EQ(ErrorOf(fs_->FLock(*b, F_WRLCK)), 0);
}

TEST_F(IoTest, InodeFlags) {
  tree_.Write("f", "");
  const RefPtr<Handle> handle = Open("f", O_RDONLY);
  const ErrnoOr<uint32_t> flags = fs_->GetInodeFlags(*handle);
  if (!flags.ok()) {
    EXPECT_TRUE(flags.error() == ENOTTY || flags.error() == EOPNOTSUPP);
    GTEST_SKIP() << "no inode flags here";
  }
  EXPECT_EQ(ErrorOf(fs_->SetInodeFlags(*handle, *flags | FS_NODUMP_FL)), 0);
  EXPECT_EQ(*fs_->GetInodeFlags(*handle), *flags | FS_NODUMP_FL);
  ErrnoOr<struct fsxattr> attributes = fs_->GetFsxattr(*handle);
  ASSERT_TRUE(attributes.ok());
  EXPECT_NE(attributes->fsx_xflags & FS_XFLAG_NODUMP, 0u);
  attributes->fsx_xflags &= ~FS_XFLAG_NODUMP;
  EXPECT_EQ(ErrorOf(fs_->SetFsxattr(*handle, *attributes)), 0);
  EXPECT_EQ(*fs_->GetInodeFlags(*handle), *flags);
  EXPECT_EQ(ErrorOf(fs_->GetInodeVersion(*handle)), 0);
}

TEST_F(IoTest, XattrsOfAnyNameAndType) {
  tree_.Write("f", "", 0);
  tree_.Symlink("l", "nowhere");
  tree_.Fifo("p");
  const std::byte value{'v'};
  std::byte buffer[8];
  char names[256];
  for (const char* const path : {"f", "l", "p"}) {
    const Entry entry = Walk(path);
    ASSERT_EQ(ErrorOf(fs_->SetAnyXattr(*entry.dentry, "trusted.k", {&value, 1}, 0)), 0) << path;
    EXPECT_EQ(ErrorOf(fs_->SetAnyXattr(*entry.dentry, "trusted.k", {&value, 1}, XATTR_CREATE)),
              EEXIST);
    EXPECT_EQ(*fs_->GetAnyXattr(*entry.dentry, "trusted.k", buffer), 1u);
    EXPECT_EQ(*fs_->GetAnyXattr(*entry.dentry, "trusted.k", {}), 1u);
    const ErrnoOr<size_t> size = fs_->ListAnyXattr(*entry.dentry, names);
    ASSERT_TRUE(size.ok());
    EXPECT_NE(absl::string_view(names, *size).find("trusted.k"), absl::string_view::npos);
    EXPECT_EQ(ErrorOf(fs_->RemoveAnyXattr(*entry.dentry, "trusted.k")), 0);
    EXPECT_EQ(ErrorOf(fs_->GetAnyXattr(*entry.dentry, "trusted.k", buffer)), ENODATA);
    EXPECT_EQ(ErrorOf(fs_->GetAnyXattr(*entry.dentry, "", buffer)), ERANGE);
    EXPECT_EQ(ErrorOf(fs_->GetAnyXattr(*entry.dentry, std::string(256, 'n'), buffer)), ERANGE);
    EXPECT_EQ(ErrorOf(fs_->GetAnyXattr(*entry.dentry, absl::string_view("user.\0x", 7), buffer)),
              EINVAL);
  }
}

}  // namespace
}  // namespace gofer::fs
