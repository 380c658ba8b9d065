// View: the served tree as one kind of client sees it, by path and with the same verbs for all
// kinds: a folder (the host's own, or a mount on /dev/fuse), a LISAFS client, a virtio-fs guest.
//
// Nothing is remembered between calls: each looks its path up anew. What a client holds open is an
// OpenFile.
//
// Owner:   the caller; a view outlives the files that were opened through it.
// Threads: one for each view. Errors: the errno that this client got.

#ifndef TEST_ONE_TREE_VIEW_H_
#define TEST_ONE_TREE_VIEW_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fuse/wire/abi.h"
#include "gofer/base/errno.h"
#include "lisafs/client/client.h"
#include "vhost/driver/fuse_client.h"

namespace gofer::one_tree {

struct Facts {
  uint32_t mode = 0;
  uint32_t nlink = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t ino = 0;
  uint64_t size = 0;
};

// A regular file that a client holds open for reading and writing, whatever becomes of its names.
class OpenFile {
 public:
  OpenFile() = default;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  // Closes it, unless it was abandoned.
  virtual ~OpenFile() = default;
  // The client has died: nobody says goodbye.
  void Abandon() { abandoned_ = true; }

  virtual ErrnoOr<Facts> Look() = 0;
  virtual ErrnoOr<std::string> Read() = 0;
  // From its start.
  virtual ErrnoOr<void> Write(const std::string& text) = 0;

 protected:
  bool abandoned() const { return abandoned_; }

 private:
  bool abandoned_ = false;
};

class View {
 public:
  explicit View(std::string name) : name_(std::move(name)) {}
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  virtual ~View() = default;

  const std::string& name() const { return name_; }

  virtual ErrnoOr<void> Create(const std::string& path, const std::string& text) = 0;
  // From the start of a file that is there.
  virtual ErrnoOr<void> Write(const std::string& path, const std::string& text) = 0;
  virtual ErrnoOr<void> Mkdir(const std::string& path) = 0;
  virtual ErrnoOr<void> Symlink(const std::string& target, const std::string& path) = 0;
  virtual ErrnoOr<void> Link(const std::string& from, const std::string& to) = 0;
  virtual ErrnoOr<void> Rename(const std::string& from, const std::string& to) = 0;
  virtual ErrnoOr<void> Unlink(const std::string& path) = 0;
  virtual ErrnoOr<void> Rmdir(const std::string& path) = 0;
  virtual ErrnoOr<void> Chmod(const std::string& path, uint32_t mode) = 0;
  virtual ErrnoOr<void> Truncate(const std::string& path, uint64_t size) = 0;

  virtual ErrnoOr<Facts> Look(const std::string& path) = 0;
  virtual ErrnoOr<std::string> Read(const std::string& path) = 0;
  virtual ErrnoOr<std::string> Target(const std::string& path) = 0;
  virtual ErrnoOr<std::vector<std::string>> Names(const std::string& path) = 0;

  virtual ErrnoOr<std::unique_ptr<OpenFile>> Open(const std::string& path) = 0;
  // While nothing is open: what the client knows it may forget.
  virtual ErrnoOr<void> Forget() { return {}; }

  // Everything below the root: what each name is, with content or target.
  std::map<std::string, std::string> Tree();

 private:
  void AddTree(const std::string& dir, std::map<std::string, std::string>& tree);

  const std::string name_;
};

class FolderView : public View {
 public:
  FolderView(std::string name, std::string path) : View(std::move(name)), path_(std::move(path)) {}

  ErrnoOr<void> Create(const std::string& path, const std::string& text) override;
  ErrnoOr<void> Write(const std::string& path, const std::string& text) override;
  ErrnoOr<void> Mkdir(const std::string& path) override;
  ErrnoOr<void> Symlink(const std::string& target, const std::string& path) override;
  ErrnoOr<void> Link(const std::string& from, const std::string& to) override;
  ErrnoOr<void> Rename(const std::string& from, const std::string& to) override;
  ErrnoOr<void> Unlink(const std::string& path) override;
  ErrnoOr<void> Rmdir(const std::string& path) override;
  ErrnoOr<void> Chmod(const std::string& path, uint32_t mode) override;
  ErrnoOr<void> Truncate(const std::string& path, uint64_t size) override;
  ErrnoOr<Facts> Look(const std::string& path) override;
  ErrnoOr<std::string> Read(const std::string& path) override;
  ErrnoOr<std::string> Target(const std::string& path) override;
  ErrnoOr<std::vector<std::string>> Names(const std::string& path) override;
  ErrnoOr<std::unique_ptr<OpenFile>> Open(const std::string& path) override;

  std::string At(const std::string& path) const { return path_ + "/" + path; }

 private:
  ErrnoOr<void> Put(const std::string& path, const std::string& text, int flags);

  const std::string path_;
};

class LisafsView final : public View {
 public:
  // Mounts.
  LisafsView(std::string name, UniqueFd socket);

  ErrnoOr<void> Create(const std::string& path, const std::string& text) override;
  ErrnoOr<void> Write(const std::string& path, const std::string& text) override;
  ErrnoOr<void> Mkdir(const std::string& path) override;
  ErrnoOr<void> Symlink(const std::string& target, const std::string& path) override;
  ErrnoOr<void> Link(const std::string& from, const std::string& to) override;
  ErrnoOr<void> Rename(const std::string& from, const std::string& to) override;
  ErrnoOr<void> Unlink(const std::string& path) override;
  ErrnoOr<void> Rmdir(const std::string& path) override;
  ErrnoOr<void> Chmod(const std::string& path, uint32_t mode) override;
  ErrnoOr<void> Truncate(const std::string& path, uint64_t size) override;
  ErrnoOr<Facts> Look(const std::string& path) override;
  ErrnoOr<std::string> Read(const std::string& path) override;
  ErrnoOr<std::string> Target(const std::string& path) override;
  ErrnoOr<std::vector<std::string>> Names(const std::string& path) override;
  ErrnoOr<std::unique_ptr<OpenFile>> Open(const std::string& path) override;

  lisafs::Client& client() { return client_; }
  // The id is the caller's to close, but for the root's.
  ErrnoOr<lisafs::Inode> Walk(const std::string& path);

 private:
  class Node;

  ErrnoOr<void> Set(const std::string& path, const lisafs::SetStatReq& request);

  lisafs::Client client_;
  lisafs::Inode root_;
};

class GuestView final : public View {
 public:
  GuestView(std::string name, vhost::driver::FuseClient* client)
      : View(std::move(name)), client_(*client) {}

  ErrnoOr<void> Create(const std::string& path, const std::string& text) override;
  ErrnoOr<void> Write(const std::string& path, const std::string& text) override;
  ErrnoOr<void> Mkdir(const std::string& path) override;
  ErrnoOr<void> Symlink(const std::string& target, const std::string& path) override;
  ErrnoOr<void> Link(const std::string& from, const std::string& to) override;
  ErrnoOr<void> Rename(const std::string& from, const std::string& to) override;
  ErrnoOr<void> Unlink(const std::string& path) override;
  ErrnoOr<void> Rmdir(const std::string& path) override;
  ErrnoOr<void> Chmod(const std::string& path, uint32_t mode) override;
  ErrnoOr<void> Truncate(const std::string& path, uint64_t size) override;
  ErrnoOr<Facts> Look(const std::string& path) override;
  ErrnoOr<std::string> Read(const std::string& path) override;
  ErrnoOr<std::string> Target(const std::string& path) override;
  ErrnoOr<std::vector<std::string>> Names(const std::string& path) override;
  ErrnoOr<std::unique_ptr<OpenFile>> Open(const std::string& path) override;
  ErrnoOr<void> Forget() override { return client_.ForgetAll(); }

  ErrnoOr<fuse::NodeId> Walk(const std::string& path);

 private:
  vhost::driver::FuseClient& client_;
};

}  // namespace gofer::one_tree

#endif  // TEST_ONE_TREE_VIEW_H_
