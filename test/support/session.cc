#include "test/support/session.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "absl/strings/str_split.h"

namespace gofer::testing {
namespace {

using lisafs::FdId;
using lisafs::Inode;

// "a/b/c" as its directory's path and its name.
std::pair<absl::string_view, absl::string_view> SplitLast(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

lisafs::Calls MakeCalls(lisafs::Client& client, Via via) {
  if (via == Via::kSocket) return client.over_socket();
  return client.over_channel(Must(client.OpenChannel()));
}

}  // namespace

Session::Session(TestServer& server, Via via, const lisafs::ConnectionOptions& options)
    : client_(server.Connect(options)),
      root_(Must(client_->Mount()).root),
      calls_(MakeCalls(*client_, via)) {
  // Descriptors that come with a reply are still the server's too when the reply is here, but not
  // when it answers the next request there: who counts them from here on counts none of those.
  Must(client_->over_socket().FStat(root_.control_fd));
}

ErrnoOr<Inode> Session::TryWalk(absl::string_view path) {
  if (path.empty()) return root_;
  const std::vector<absl::string_view> names = absl::StrSplit(path, '/');
  std::vector<Inode> inodes(names.size());
  auto walk = calls_.Walk(root(), names, inodes);
  if (!walk.ok()) return walk.error();
  if (walk->count != names.size()) {
    return Errno(walk->status == lisafs::WalkStatus::kComponentSymlink ? ELOOP : ENOENT);
  }
  return inodes.back();
}

Inode Session::Walk(absl::string_view path, int line) { return Must(TryWalk(path), line); }

FdId Session::Open(FdId file, uint32_t flags, int line) {
  return Must(calls_.OpenAt(file, flags), line).fd;
}

Inode Session::Create(absl::string_view path, absl::string_view text, int line) {
  const auto [dir, name] = SplitLast(path);
  const lisafs::CreateResult created =
      Must(calls_.OpenCreateAt(Walk(dir, line).control_fd, name, 0644, {.uid = 0, .gid = 0},
                               /*flags=*/2),
           line);
  Write(created.fd, text, 0, line);
  Must(calls_.Close({created.fd}), line);
  return created.child;
}

Inode Session::Mkdir(absl::string_view path, int line) {
  const auto [dir, name] = SplitLast(path);
  return Must(calls_.MkdirAt(Walk(dir, line).control_fd, name, 0755, {.uid = 0, .gid = 0}), line);
}

std::string Session::Read(FdId open_file, size_t size, uint64_t offset, int line) {
  std::string text(size, '\0');
  text.resize(Must(calls_.PRead(open_file, std::as_writable_bytes(std::span(text)), offset), line));
  return text;
}

size_t Session::Write(FdId open_file, absl::string_view text, uint64_t offset, int line) {
  return Must(calls_.PWrite(open_file, std::as_bytes(std::span(text.data(), text.size())), offset),
              line);
}

std::vector<lisafs::Dirent> Session::List(FdId open_dir, int32_t count, int line) {
  std::vector<lisafs::Dirent> all = Must(calls_.Getdents64(open_dir, -count), line);
  for (;;) {
    std::vector<lisafs::Dirent> more = Must(calls_.Getdents64(open_dir, count), line);
    if (more.empty()) return all;
    std::move(more.begin(), more.end(), std::back_inserter(all));
  }
}

}  // namespace gofer::testing
