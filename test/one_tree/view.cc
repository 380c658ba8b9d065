#include "test/one_tree/view.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/stat.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <span>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "test/support/results.h"

namespace gofer::one_tree {
namespace {

using fuse::HandleId;
using fuse::NodeId;

constexpr uint32_t kFileMode = 0644;
constexpr uint32_t kDirMode = 0755;
constexpr size_t kChunk = 64 * 1024;

// "a/b/c" -> "a/b", "c"
std::pair<std::string, std::string> Split(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

std::string Join(const std::string& dir, const std::string& name) {
  return dir.empty() ? name : dir + "/" + name;
}

std::vector<std::string> Parts(const std::string& path) {
  return absl::StrSplit(path, '/', absl::SkipEmpty());
}

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

ErrnoOr<void> Done(int result) {
  if (result < 0) return Errno::Last();
  return {};
}

Facts ToFacts(const struct stat& st) {
  return {.mode = st.st_mode,
          .nlink = static_cast<uint32_t>(st.st_nlink),
          .uid = st.st_uid,
          .gid = st.st_gid,
          .ino = st.st_ino,
          .size = static_cast<uint64_t>(st.st_size)};
}

Facts ToFacts(const lisafs::Statx& stat) {
  return {.mode = stat.mode,
          .nlink = stat.nlink,
          .uid = stat.uid,
          .gid = stat.gid,
          .ino = stat.ino,
          .size = stat.size};
}

Facts ToFacts(const fuse::Attr& attr) {
  return {.mode = attr.mode,
          .nlink = attr.nlink,
          .uid = attr.uid,
          .gid = attr.gid,
          .ino = attr.ino,
          .size = attr.size};
}

}  // namespace

// ---- View

std::map<std::string, std::string> View::Tree() {
  std::map<std::string, std::string> tree;
  AddTree("", tree);
  return tree;
}

void View::AddTree(const std::string& dir, std::map<std::string, std::string>& tree) {
  const auto failed = [](Errno error) { return error.ToString(); };
  const ErrnoOr<std::vector<std::string>> names = Names(dir);
  if (!names.ok()) {
    tree[Join(dir, "?")] = failed(names.error());
    return;
  }
  for (const std::string& name : *names) {
    const std::string path = Join(dir, name);
    const ErrnoOr<Facts> facts = Look(path);
    if (!facts.ok()) {
      tree[path] = failed(facts.error());
      continue;
    }
    std::string text =
        absl::StrFormat("%06o %d:%d ino %d", facts->mode, facts->uid, facts->gid, facts->ino);
    if (!S_ISDIR(facts->mode))
      absl::StrAppendFormat(&text, " links %d size %d", facts->nlink, facts->size);
    if (S_ISREG(facts->mode) || S_ISLNK(facts->mode)) {
      const ErrnoOr<std::string> content = S_ISREG(facts->mode) ? Read(path) : Target(path);
      absl::StrAppend(&text, " ", content.ok() ? *content : failed(content.error()));
    }
    tree[path] = text;
    if (S_ISDIR(facts->mode)) AddTree(path, tree);
  }
}

// ---- FolderView

namespace {

class FolderFile final : public OpenFile {
 public:
  explicit FolderFile(UniqueFd fd) : fd_(std::move(fd)) {}

  ErrnoOr<Facts> Look() override {
    struct stat st;
    if (fstat(fd_.get(), &st) != 0) return Errno::Last();
    return ToFacts(st);
  }
  ErrnoOr<std::string> Read() override {
    std::string text(kChunk, '\0');
    const ssize_t size = pread(fd_.get(), text.data(), text.size(), 0);
    if (size < 0) return Errno::Last();
    text.resize(static_cast<size_t>(size));
    return text;
  }
  ErrnoOr<void> Write(const std::string& text) override {
    return Done(static_cast<int>(pwrite(fd_.get(), text.data(), text.size(), 0)));
  }

 private:
  const UniqueFd fd_;
};

}  // namespace

ErrnoOr<void> FolderView::Put(const std::string& path, const std::string& text, int flags) {
  UniqueFd file(open(At(path).c_str(), O_WRONLY | O_CLOEXEC | flags, kFileMode));
  if (!file.valid()) return Errno::Last();
  return FolderFile(std::move(file)).Write(text);
}

ErrnoOr<void> FolderView::Create(const std::string& path, const std::string& text) {
  return Put(path, text, O_CREAT | O_EXCL);
}

ErrnoOr<void> FolderView::Write(const std::string& path, const std::string& text) {
  return Put(path, text, 0);
}

ErrnoOr<void> FolderView::Mkdir(const std::string& path) {
  return Done(mkdir(At(path).c_str(), kDirMode));
}

ErrnoOr<void> FolderView::Symlink(const std::string& target, const std::string& path) {
  return Done(symlink(target.c_str(), At(path).c_str()));
}

ErrnoOr<void> FolderView::Link(const std::string& from, const std::string& to) {
  return Done(link(At(from).c_str(), At(to).c_str()));
}

ErrnoOr<void> FolderView::Rename(const std::string& from, const std::string& to) {
  return Done(rename(At(from).c_str(), At(to).c_str()));
}

ErrnoOr<void> FolderView::Unlink(const std::string& path) { return Done(unlink(At(path).c_str())); }

ErrnoOr<void> FolderView::Rmdir(const std::string& path) { return Done(rmdir(At(path).c_str())); }

ErrnoOr<void> FolderView::Chmod(const std::string& path, uint32_t mode) {
  return Done(chmod(At(path).c_str(), mode));
}

ErrnoOr<void> FolderView::Truncate(const std::string& path, uint64_t size) {
  return Done(truncate(At(path).c_str(), static_cast<off_t>(size)));
}

ErrnoOr<Facts> FolderView::Look(const std::string& path) {
  struct stat st;
  if (lstat(At(path).c_str(), &st) != 0) return Errno::Last();
  return ToFacts(st);
}

ErrnoOr<std::string> FolderView::Read(const std::string& path) {
  UniqueFd file(open(At(path).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return Errno::Last();
  return FolderFile(std::move(file)).Read();
}

ErrnoOr<std::string> FolderView::Target(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t size = readlink(At(path).c_str(), target, sizeof(target));
  if (size < 0) return Errno::Last();
  return std::string(target, static_cast<size_t>(size));
}

ErrnoOr<std::vector<std::string>> FolderView::Names(const std::string& path) {
  DIR* const dir = opendir(At(path).c_str());
  if (dir == nullptr) return Errno::Last();
  std::vector<std::string> names;
  while (const dirent* const entry = readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(dir);
  return names;
}

ErrnoOr<std::unique_ptr<OpenFile>> FolderView::Open(const std::string& path) {
  UniqueFd file(open(At(path).c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid()) return Errno::Last();
  return std::unique_ptr<OpenFile>(std::make_unique<FolderFile>(std::move(file)));
}

// ---- LisafsView

namespace {

// An id of a client, given back at the end of the scope.
class Id {
 public:
  Id(lisafs::Client& client, lisafs::FdId id) : client_(client), id_(id) {}
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() { (void)client_.Close({id_}).ok(); }
  operator lisafs::FdId() const { return id_; }

 private:
  lisafs::Client& client_;
  const lisafs::FdId id_;
};

class LisafsFile final : public OpenFile {
 public:
  LisafsFile(lisafs::Client& client, lisafs::FdId node, lisafs::FdId file)
      : client_(client), node_(client, node), file_(client, file) {}

  ErrnoOr<Facts> Look() override {
    ASSIGN_OR_RETURN(const lisafs::Statx stat, client_.FStat(node_));
    return ToFacts(stat);
  }
  ErrnoOr<std::string> Read() override {
    std::string text(kChunk, '\0');
    ASSIGN_OR_RETURN(const size_t size,
                     client_.PRead(file_, std::as_writable_bytes(std::span(text)), 0));
    text.resize(size);
    return text;
  }
  ErrnoOr<void> Write(const std::string& text) override {
    RETURN_IF_ERROR(client_.PWrite(file_, BytesOf(text), 0));
    return {};
  }

 private:
  lisafs::Client& client_;
  const Id node_;
  const Id file_;
};

}  // namespace

// Where a walk has come to, until the end of the scope.
class LisafsView::Node {
 public:
  Node(LisafsView& view, const lisafs::Inode& inode) : view_(view), inode_(inode) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node() {
    if (inode_.control_fd == view_.root_.control_fd) return;
    (void)view_.client_.Close({inode_.control_fd}).ok();
  }
  operator lisafs::FdId() const { return inode_.control_fd; }
  const lisafs::Statx& stat() const { return inode_.stat; }

 private:
  LisafsView& view_;
  const lisafs::Inode inode_;
};

LisafsView::LisafsView(std::string name, UniqueFd socket)
    : View(std::move(name)),
      client_(std::move(socket)),
      root_(testing::Must(client_.Mount()).root) {}

ErrnoOr<lisafs::Inode> LisafsView::Walk(const std::string& path) {
  const std::vector<std::string> parts = Parts(path);
  if (parts.empty()) return root_;
  const std::vector<absl::string_view> names(parts.begin(), parts.end());
  std::vector<lisafs::Inode> inodes(names.size());
  ASSIGN_OR_RETURN(const lisafs::WalkResult walked,
                   client_.Walk(root_.control_fd, names, std::span(inodes)));
  for (size_t i = 0; i < walked.count; ++i) {
    if (i + 1 < names.size()) (void)client_.Close({inodes[i].control_fd}).ok();
  }
  if (walked.count < names.size()) {
    return Errno(walked.status == lisafs::WalkStatus::kComponentSymlink ? ELOOP : ENOENT);
  }
  return inodes.back();
}

ErrnoOr<void> LisafsView::Create(const std::string& path, const std::string& text) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(dir));
  const Node parent(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::CreateResult created,
                   client_.OpenCreateAt(parent, name, kFileMode, {}, O_WRONLY));
  return LisafsFile(client_, created.child.control_fd, created.fd).Write(text);
}

ErrnoOr<void> LisafsView::Write(const std::string& path, const std::string& text) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const Node node(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::OpenResult opened, client_.OpenAt(node, O_WRONLY));
  const Id file(client_, opened.fd);
  RETURN_IF_ERROR(client_.PWrite(file, BytesOf(text), 0));
  return {};
}

ErrnoOr<void> LisafsView::Mkdir(const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(dir));
  const Node parent(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::Inode made, client_.MkdirAt(parent, name, kDirMode, {}));
  return client_.Close({made.control_fd});
}

ErrnoOr<void> LisafsView::Symlink(const std::string& target, const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(dir));
  const Node parent(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::Inode made, client_.SymlinkAt(parent, name, target, {}));
  return client_.Close({made.control_fd});
}

ErrnoOr<void> LisafsView::Link(const std::string& from, const std::string& to) {
  const auto [dir, name] = Split(to);
  ASSIGN_OR_RETURN(const lisafs::Inode source_inode, Walk(from));
  const Node source(*this, source_inode);
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(dir));
  const Node parent(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::Inode made, client_.LinkAt(parent, source, name));
  return client_.Close({made.control_fd});
}

ErrnoOr<void> LisafsView::Rename(const std::string& from, const std::string& to) {
  const auto [old_dir, old_name] = Split(from);
  const auto [new_dir, new_name] = Split(to);
  ASSIGN_OR_RETURN(const lisafs::Inode old_inode, Walk(old_dir));
  const Node old_parent(*this, old_inode);
  ASSIGN_OR_RETURN(const lisafs::Inode new_inode, Walk(new_dir));
  const Node new_parent(*this, new_inode);
  return client_.RenameAt(old_parent, old_name, new_parent, new_name);
}

ErrnoOr<void> LisafsView::Unlink(const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(dir));
  const Node parent(*this, inode);
  return client_.UnlinkAt(parent, name, 0);
}

ErrnoOr<void> LisafsView::Rmdir(const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(dir));
  const Node parent(*this, inode);
  return client_.UnlinkAt(parent, name, AT_REMOVEDIR);
}

ErrnoOr<void> LisafsView::Set(const std::string& path, const lisafs::SetStatReq& request) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const Node node(*this, inode);
  lisafs::SetStatReq of_node = request;
  of_node.fd = node;
  ASSIGN_OR_RETURN(const lisafs::SetStatResp set, client_.SetStat(of_node));
  if (set.failure_mask != 0) return Errno(static_cast<int>(set.failure_errno));
  return {};
}

ErrnoOr<void> LisafsView::Chmod(const std::string& path, uint32_t mode) {
  lisafs::SetStatReq request = {};
  request.mask = STATX_MODE;
  request.mode = mode;
  return Set(path, request);
}

ErrnoOr<void> LisafsView::Truncate(const std::string& path, uint64_t size) {
  lisafs::SetStatReq request = {};
  request.mask = STATX_SIZE;
  request.size = size;
  return Set(path, request);
}

ErrnoOr<Facts> LisafsView::Look(const std::string& path) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const Node node(*this, inode);
  return ToFacts(node.stat());
}

ErrnoOr<std::string> LisafsView::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const Node node(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::OpenResult opened, client_.OpenAt(node, O_RDONLY));
  const Id file(client_, opened.fd);
  std::string text(kChunk, '\0');
  ASSIGN_OR_RETURN(const size_t size,
                   client_.PRead(file, std::as_writable_bytes(std::span(text)), 0));
  text.resize(size);
  return text;
}

ErrnoOr<std::string> LisafsView::Target(const std::string& path) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const Node node(*this, inode);
  return client_.ReadLinkAt(node);
}

ErrnoOr<std::vector<std::string>> LisafsView::Names(const std::string& path) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const Node node(*this, inode);
  ASSIGN_OR_RETURN(const lisafs::OpenResult opened, client_.OpenAt(node, O_RDONLY | O_DIRECTORY));
  const Id dir(client_, opened.fd);
  std::vector<std::string> names;
  for (;;) {
    ASSIGN_OR_RETURN(const std::vector<lisafs::Dirent> some, client_.Getdents64(dir, kChunk));
    if (some.empty()) break;
    for (const lisafs::Dirent& entry : some) {
      if (entry.name != "." && entry.name != "..") names.push_back(entry.name);
    }
  }
  return names;
}

ErrnoOr<std::unique_ptr<OpenFile>> LisafsView::Open(const std::string& path) {
  ASSIGN_OR_RETURN(const lisafs::Inode inode, Walk(path));
  const ErrnoOr<lisafs::OpenResult> opened = client_.OpenAt(inode.control_fd, O_RDWR);
  if (!opened.ok()) {
    const Node node(*this, inode);
    return opened.error();
  }
  return std::unique_ptr<OpenFile>(
      std::make_unique<LisafsFile>(client_, inode.control_fd, opened->fd));
}

// ---- GuestView

namespace {

class GuestFile final : public OpenFile {
 public:
  GuestFile(vhost::driver::FuseClient& client, NodeId node, HandleId handle)
      : client_(client), node_(node), handle_(handle) {}
  ~GuestFile() override {
    if (!abandoned()) (void)client_.Release(node_, handle_).ok();
  }

  ErrnoOr<Facts> Look() override {
    ASSIGN_OR_RETURN(const fuse::AttrOut out, client_.Getattr(node_, handle_));
    return ToFacts(out.attr);
  }
  ErrnoOr<std::string> Read() override { return client_.Read(node_, handle_, 0, kChunk); }
  ErrnoOr<void> Write(const std::string& text) override {
    RETURN_IF_ERROR(client_.Write(node_, handle_, 0, text));
    return {};
  }

 private:
  vhost::driver::FuseClient& client_;
  const NodeId node_;
  const HandleId handle_;
};

}  // namespace

ErrnoOr<NodeId> GuestView::Walk(const std::string& path) {
  NodeId node = NodeId::kRoot;
  for (const std::string& name : Parts(path)) {
    ASSIGN_OR_RETURN(const fuse::EntryOut entry, client_.Lookup(node, name));
    node = entry.nodeid;
  }
  return node;
}

ErrnoOr<void> GuestView::Create(const std::string& path, const std::string& text) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const NodeId parent, Walk(dir));
  ASSIGN_OR_RETURN(const fuse::CreateOut created,
                   client_.Create(parent, name, O_WRONLY | O_EXCL, S_IFREG | kFileMode));
  const ErrnoOr<size_t> written = client_.Write(created.entry.nodeid, created.open.fh, 0, text);
  RETURN_IF_ERROR(client_.Release(created.entry.nodeid, created.open.fh));
  return written.ok() ? ErrnoOr<void>() : written.error();
}

ErrnoOr<void> GuestView::Write(const std::string& path, const std::string& text) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  ASSIGN_OR_RETURN(const fuse::OpenOut opened, client_.Open(node, O_WRONLY));
  const ErrnoOr<size_t> written = client_.Write(node, opened.fh, 0, text);
  RETURN_IF_ERROR(client_.Release(node, opened.fh));
  return written.ok() ? ErrnoOr<void>() : written.error();
}

ErrnoOr<void> GuestView::Mkdir(const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const NodeId parent, Walk(dir));
  RETURN_IF_ERROR(client_.Mkdir(parent, name, kDirMode));
  return {};
}

ErrnoOr<void> GuestView::Symlink(const std::string& target, const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const NodeId parent, Walk(dir));
  RETURN_IF_ERROR(client_.Symlink(parent, name, target));
  return {};
}

ErrnoOr<void> GuestView::Link(const std::string& from, const std::string& to) {
  const auto [dir, name] = Split(to);
  ASSIGN_OR_RETURN(const NodeId source, Walk(from));
  ASSIGN_OR_RETURN(const NodeId parent, Walk(dir));
  RETURN_IF_ERROR(client_.Link(source, parent, name));
  return {};
}

ErrnoOr<void> GuestView::Rename(const std::string& from, const std::string& to) {
  const auto [old_dir, old_name] = Split(from);
  const auto [new_dir, new_name] = Split(to);
  ASSIGN_OR_RETURN(const NodeId old_parent, Walk(old_dir));
  ASSIGN_OR_RETURN(const NodeId new_parent, Walk(new_dir));
  return client_.Rename(old_parent, old_name, new_parent, new_name);
}

ErrnoOr<void> GuestView::Unlink(const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const NodeId parent, Walk(dir));
  return client_.Unlink(parent, name);
}

ErrnoOr<void> GuestView::Rmdir(const std::string& path) {
  const auto [dir, name] = Split(path);
  ASSIGN_OR_RETURN(const NodeId parent, Walk(dir));
  return client_.Rmdir(parent, name);
}

ErrnoOr<void> GuestView::Chmod(const std::string& path, uint32_t mode) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  fuse::SetattrIn in = {};
  in.valid = fuse::setattr::kMode;
  in.mode = mode;
  RETURN_IF_ERROR(client_.Setattr(node, in));
  return {};
}

ErrnoOr<void> GuestView::Truncate(const std::string& path, uint64_t size) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  fuse::SetattrIn in = {};
  in.valid = fuse::setattr::kSize;
  in.size = size;
  RETURN_IF_ERROR(client_.Setattr(node, in));
  return {};
}

ErrnoOr<Facts> GuestView::Look(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  ASSIGN_OR_RETURN(const fuse::AttrOut out, client_.Getattr(node));
  return ToFacts(out.attr);
}

ErrnoOr<std::string> GuestView::Read(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  ASSIGN_OR_RETURN(const fuse::OpenOut opened, client_.Open(node, O_RDONLY));
  ErrnoOr<std::string> text = client_.Read(node, opened.fh, 0, kChunk);
  RETURN_IF_ERROR(client_.Release(node, opened.fh));
  return text;
}

ErrnoOr<std::string> GuestView::Target(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  return client_.Readlink(node);
}

ErrnoOr<std::vector<std::string>> GuestView::Names(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  ASSIGN_OR_RETURN(const fuse::OpenOut opened, client_.Opendir(node));
  std::vector<std::string> names;
  for (uint64_t offset = 0;;) {
    ErrnoOr<size_t> records = client_.Readdir(node, opened.fh, offset, kChunk,
                                              [&](const vhost::driver::DirentView& entry) {
                                                offset = entry.fixed.off;
                                                if (entry.name != "." && entry.name != "..")
                                                  names.emplace_back(entry.name);
                                              });
    if (!records.ok()) return records.error();
    if (*records == 0) break;
  }
  RETURN_IF_ERROR(client_.Releasedir(node, opened.fh));
  return names;
}

ErrnoOr<std::unique_ptr<OpenFile>> GuestView::Open(const std::string& path) {
  ASSIGN_OR_RETURN(const NodeId node, Walk(path));
  ASSIGN_OR_RETURN(const fuse::OpenOut opened, client_.Open(node, O_RDWR));
  return std::unique_ptr<OpenFile>(std::make_unique<GuestFile>(client_, node, opened.fh));
}

}  // namespace gofer::one_tree
