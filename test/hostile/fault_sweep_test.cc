// The host fails: each call that a gofer makes of it for a sandbox or a guest fails once,
// with each of several errnos; all are interrupted again and again; reads and writes end after one
// byte. What a client sees then is the errno of the host, or nothing of it; what was to be made and
// could not is not there; nothing is left open, and the next one is served.
//
// The calls fail in the shipped program, see SystemCallTracer; a build with the fault seam would be
// another one. In CI each call gets two of the errnos, its neighbours others; all of them:
// --test_env=FAULT_ALL=1. Calls by which the gofer speaks to its peers are a sweep of their own:
// then the connection may end. seam_sites.h says of each call of gofer/sys which sweep it is in.

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/hostile/seam_sites.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/host_calls.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/system_call_tracer.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::testing {
namespace {

constexpr int kErrors[] = {EIO, ENOSPC, EMFILE, ENOMEM, EACCES, EINTR};
constexpr char kContent[] = "what is in it";
constexpr int kNotTried = -1;  // what it needs has failed

std::vector<int> ErrorsAt(int call) {
  if (getenv("FAULT_ALL") != nullptr) return {std::begin(kErrors), std::end(kErrors)};
  constexpr int kCount = static_cast<int>(std::size(kErrors));
  return {kErrors[(2 * call) % kCount], kErrors[(2 * call + 1) % kCount]};
}

bool IsTransport(const SystemCall& call) {
  return call.number == SYS_recvmsg || call.number == SYS_recvfrom || call.number == SYS_sendmsg ||
         call.number == SYS_read || call.number == SYS_write;
}
bool IsFileCall(const SystemCall& call) { return IsHostCall(call) && !IsTransport(call); }

// What the C library, or the kernel's headers of this machine, call what the seam calls `site`.
bool IsCallOf(absl::string_view site, absl::string_view call) {
  return call == site || (site == "renameat2" && call == "renameat");
}

// Whether this kernel is too old for a call of the seam, which makes another one then.
bool IsMissing(absl::string_view site) {
  constexpr long kFchmodat2 = 452;   // Linux 6.6
  constexpr long kGetxattrat = 464;  // Linux 6.13, as the other three
  errno = 0;
  if (site == "fchmodat2") syscall(kFchmodat2, -1, "", 0, 0);
  if (absl::EndsWith(site, "xattrat")) syscall(kGetxattrat, -1, "", 0, "", nullptr, 0);
  return errno == ENOSYS;
}

template <typename T>
absl::string_view Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

struct Step {
  std::string what;
  int error;
  friend bool operator==(const Step&, const Step&) = default;
  friend void PrintTo(const Step& step, std::ostream* out) {
    *out << step.what << " " << (step.error > 0 ? strerrorname_np(step.error) : "");
  }
};

// What a client did, one after the other, and what the host says of it.
class Steps {
 public:
  // Without `replies_arrive` what a step came to is known to the host alone.
  explicit Steps(const TempTree& tree, bool replies_arrive = true)
      : tree_(tree), replies_arrive_(replies_arrive) {}

  template <typename Call>
  bool Do(const char* what, bool needs, Call&& call) {
    const int error = needs ? ErrorOf(call()) : kNotTried;
    steps_.push_back({what, error});
    return error == 0;
  }
  // A step that makes a name: it is there when that is said, and only then.
  template <typename Call>
  bool Make(const char* what, absl::string_view name, bool needs, Call&& call) {
    const bool is_made = Do(what, needs, std::forward<Call>(call));
    EXPECT_TRUE(Exists(name) == is_made || !replies_arrive_) << what;
    return is_made;
  }
  // And one that removes it.
  template <typename Call>
  bool Remove(const char* what, absl::string_view name, bool needs, Call&& call) {
    const bool was_there = Exists(name);
    const bool is_removed = Do(what, needs, std::forward<Call>(call));
    EXPECT_TRUE(Exists(name) == (was_there && !is_removed) || !replies_arrive_) << what;
    return is_removed;
  }

  std::vector<Step> Take() { return std::move(steps_); }

 private:
  bool Exists(absl::string_view name) const { return tree_.Exists(absl::StrCat("work/", name)); }

  const TempTree& tree_;
  const bool replies_arrive_;
  std::vector<Step> steps_;
};

class FaultSweepTest : public ::testing::Test {
 protected:
  using Script = std::function<std::vector<Step>()>;

  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    if (!SystemCallTracer::IsSupported()) GTEST_SKIP() << "cannot trace on this machine";
    umask(0);
    tree_.Write("honest", "served");
  }
  void Start(const std::vector<std::string>& flags = {}) {
    Pipe ready = MakePipe();
    std::vector<std::string> arguments = {"serve",
                                          "--root=" + tree_.path(),
                                          "--xattr",
                                          "--posix_locks",
                                          "--flock_locks",
                                          "--host_uds=all",
                                          "--ready_fd=9",
                                          "--lisafs_socket=" + run_.At("lisafs"),
                                          "--vhost_user_socket=" + run_.At("vhost"),
                                          "--control_socket=" + run_.At("control")};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = std::move(arguments), .fds = {{9, ready.write.get()}}});
    ready.write.Reset();
    ASSERT_EQ(ReadPipe(ready.read), "\n") << gofer_->Stderr();
    honest_ = Connect();
    honest_root_ = Must(honest_->Mount()).root.control_fd;
  }

  std::unique_ptr<lisafs::Client> Connect() const {
    return std::make_unique<lisafs::Client>(
        Must(vhost::driver::Frontend::Connect(run_.At("lisafs"))));
  }
  // The same for each run: nothing of the one before.
  void Renew() const {
    std::filesystem::remove_all(tree_.At("work"));
    tree_.Mkdir("work");
    tree_.Write("work/file", kContent);
  }
  bool HonestIsServed() {
    lisafs::Inode inode;
    const absl::string_view names[] = {"honest"};
    const Stopwatch watch;
    const auto walked = honest_->Walk(honest_root_, names, std::span(&inode, 1));
    if (!walked.ok() || walked->count != 1 || !honest_->Close({inode.control_fd}).ok())
      return false;
    return watch.Elapsed() < absl::Seconds(1);
  }
  // Files that the serving process has open, without those that it merely remembers. A socket is
  // closed some time after its peer was, so they are not counted.
  size_t OpenFiles() {
    GoferProcess purge({.arguments = {"purge", "--control_socket=" + run_.At("control")}});
    EXPECT_EQ(purge.Wait(), 0) << purge.Stderr();
    size_t files = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(absl::StrCat("/proc/", serving_, "/fd"))) {
      std::error_code closed_meanwhile;
      const std::string is = std::filesystem::read_symlink(entry.path(), closed_meanwhile).string();
      if (absl::StartsWith(is, "/")) ++files;
    }
    return files;
  }
  std::set<pid_t> Threads() const {
    std::set<pid_t> threads;
    for (const auto& task :
         std::filesystem::directory_iterator(absl::StrCat("/proc/", gofer_->pid(), "/task"))) {
      threads.insert(std::stoi(task.path().filename().string()));
    }
    return threads;
  }
  // What a client had that has just gone goes a moment later.
  void ExpectOpenFiles(size_t expected) {
    EXPECT_TRUE(Eventually([&] { return OpenFiles() <= expected; }))
        << "something is left open: " << OpenFiles() << " instead of " << expected;
  }

  // A run while calls are changed; what was changed, if anything was.
  std::vector<Step> RunWith(const Script& script, SystemCallTracer::Chooser chooser,
                            std::vector<SystemCall>* seen) {
    Renew();
    SystemCallTracer tracer({.follow = {gofer_->pid()}}, std::move(chooser));
    std::vector<Step> steps = script();
    *seen = tracer.Stop();
    return steps;
  }

  // Each call of the script fails; those of `sweep` in seam_sites.h are among them.
  void SweepCalls(Sweep sweep, const Script& script) {
    std::vector<SystemCall> seen;
    const std::vector<Step> clean = RunWith(
        script, [](const SystemCall&) { return Choice::Let(); }, &seen);
    for (const Step& step : clean) ASSERT_EQ(step.error, 0) << step.what;
    ASSERT_TRUE(std::any_of(seen.begin(), seen.end(), IsFileCall));
    serving_ = seen.front().process;
    size_t files = OpenFiles();
    for (size_t before = files + 1; files != before;) {
      absl::SleepFor(absl::Milliseconds(20));
      before = std::exchange(files, OpenFiles());
    }
    std::map<std::string, int> failed;
    int unnoticed = 0;
    int at = 1;
    for (;; ++at) {
      bool reached = false;
      for (const int error : ErrorsAt(at)) {
        const std::vector<Step> steps = RunWith(
            script,
            [at, error, count = 0](const SystemCall& call) mutable {
              return IsFileCall(call) && ++count == at ? Choice::Fail(error) : Choice::Let();
            },
            &seen);
        const auto call = std::find_if(seen.begin(), seen.end(),
                                       [](const SystemCall& one) { return one.changed; });
        if (call == seen.end()) continue;
        reached = true;
        SCOPED_TRACE(
            absl::StrCat("call ", at, ", ", call->Name(), " fails with ", strerrorname_np(error)));
        ++failed[call->Name()];
        const auto [was, is] =
            std::mismatch(clean.begin(), clean.end(), steps.begin(), steps.end());
        if (is == steps.end()) {
          ++unnoticed;
        } else {
          EXPECT_NE(error, EINTR) << is->what << " was interrupted";
          // A guest is told of descriptors that the system has no more, and not of our process.
          EXPECT_TRUE(is->error == error || (error == EMFILE && is->error == ENFILE))
              << is->what << ": " << strerrorname_np(is->error);
        }
        ASSERT_TRUE(gofer_->Running()) << gofer_->Stderr();
        EXPECT_TRUE(HonestIsServed());
        if (HasFailure()) return;
      }
      if (!reached) break;
    }
    ExpectOpenFiles(files);
    int faults = 0;
    for (const auto& [name, times] : failed) faults += times;
    std::cout << faults << " faults at " << at - 1
              << " calls; unnoticed by the client: " << unnoticed << "; calls that failed:";
    for (const auto& [name, times] : failed) std::cout << " " << name << " " << times;
    std::cout << "\n";
    ExpectSwept(sweep, failed);
  }

  static void ExpectSwept(Sweep sweep, const std::map<std::string, int>& failed) {
    for (const SeamSite& site : kSeamSites) {
      if (site.sweep != sweep || IsMissing(site.call)) continue;
      EXPECT_TRUE(std::any_of(failed.begin(), failed.end(),
                              [&](const auto& one) { return IsCallOf(site.call, one.first); }))
          << site.call << " of gofer/sys/" << site.file << " was never made to fail";
    }
  }

  void Storm(const Script& script) {
    std::vector<SystemCall> seen;
    const std::vector<Step> clean = RunWith(
        script, [](const SystemCall&) { return Choice::Let(); }, &seen);
    constexpr int kInARow = 5;
    EXPECT_EQ(RunWith(
                  script,
                  [streak = 0](const SystemCall& call) mutable {
                    if (!IsFileCall(call)) return Choice::Let();
                    streak = streak < kInARow ? streak + 1 : 0;
                    return streak > 0 ? Choice::Fail(EINTR) : Choice::Let();
                  },
                  &seen),
              clean);
    EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](auto& call) { return call.changed; }),
              100);
    EXPECT_EQ(RunWith(
                  script,
                  [](const SystemCall& call) {
                    const bool is_data = call.number == SYS_pread64 ||
                                         call.number == SYS_pwrite64 || call.number == SYS_preadv ||
                                         call.number == SYS_pwritev || call.number == SYS_preadv2 ||
                                         call.number == SYS_pwritev2;
                    return is_data ? Choice::Shorten() : Choice::Let();
                  },
                  &seen),
              clean);
    EXPECT_GT(std::count_if(seen.begin(), seen.end(), [](auto& call) { return call.changed; }), 1);
    EXPECT_TRUE(HonestIsServed());
  }

  std::vector<Step> RunSandbox(bool replies_arrive = true);
  std::vector<Step> RunGuest();
  std::vector<Step> RunSyncfs();
  // The request's errno; what it brings back is not looked at.
  ErrnoOr<void> Ask(fuse::Opcode opcode, fuse::NodeId node, absl::string_view arguments) {
    fuse::InHeader header = {};
    header.opcode = opcode;
    header.nodeid = node;
    ASSIGN_OR_RETURN(const vhost::driver::FuseClient::RawReply reply,
                     guest_->Raw(header, arguments));
    if (reply.error != 0) return Errno(reply.error);
    return {};
  }
  void Boot() {
    machine_ = Must(vhost::driver::Machine::Attach(
        Must(vhost::driver::Frontend::Connect(run_.At("vhost"))), {}));
    Must(machine_->Start());
    guest_ = std::make_unique<vhost::driver::FuseClient>(machine_.get());
    Must(guest_->Init());
  }

  TempTree tree_;
  TempTree run_;
  std::unique_ptr<GoferProcess> gofer_;
  pid_t serving_ = -1;
  std::unique_ptr<lisafs::Client> honest_;
  lisafs::FdId honest_root_{};
  std::unique_ptr<vhost::driver::Machine> machine_;
  std::unique_ptr<vhost::driver::FuseClient> guest_;
};

// A connection of its own, from its beginning to its end.
std::vector<Step> FaultSweepTest::RunSandbox(bool replies_arrive) {
  using lisafs::FdId;
  Steps steps(tree_, replies_arrive);
  const std::unique_ptr<lisafs::Client> client = Connect();
  FdId root{}, work{}, file{}, open_file{}, made{}, link{}, listing{}, created{}, socket{};
  FdId listener{};
  const auto walk = [&](FdId from, absl::string_view name, FdId& to) -> ErrnoOr<void> {
    lisafs::Inode inode;
    const absl::string_view names[] = {name};
    ASSIGN_OR_RETURN(const lisafs::WalkResult walked,
                     client->Walk(from, names, std::span(&inode, 1)));
    if (walked.count != 1) return Errno(ENOENT);
    to = inode.control_fd;
    return {};
  };
  // What has an id, and becomes one.
  const auto keep = [](auto result, FdId& to, auto&& id) -> ErrnoOr<void> {
    if (!result.ok()) return result.error();
    to = id(*result);
    return {};
  };
  const auto control = [](const lisafs::Inode& inode) { return inode.control_fd; };
  const lisafs::Owner owner = {.uid = 1000, .gid = 100};

  bool mounted = steps.Do("mount", true, [&] {
    return keep(client->Mount(), root, [](auto& mount) { return mount.root.control_fd; });
  });
  const bool has_work = steps.Do("walk", mounted, [&] { return walk(root, "work", work); });
  const bool has_file = steps.Do("walk on", has_work, [&] { return walk(work, "file", file); });
  steps.Do("stat", has_file, [&] { return client->FStat(file); });
  steps.Do("statfs", has_work, [&] { return client->FStatFS(work); });
  const bool is_open = steps.Do("open", has_file, [&] {
    return keep(client->OpenAt(file, O_RDWR), open_file, [](auto& opened) { return opened.fd; });
  });
  steps.Do("write", is_open, [&]() -> ErrnoOr<void> {
    // As applications do: what is left is written again.
    const std::string text = "other content";
    for (size_t done = 0; done < text.size();) {
      ASSIGN_OR_RETURN(
          const size_t put,
          client->PWrite(open_file, std::as_bytes(std::span(text)).subspan(done), done));
      if (put == 0) return Errno(EPIPE);
      done += put;
    }
    return {};
  });
  steps.Do("read", is_open, [&]() -> ErrnoOr<void> {
    std::string text(13, '\0');
    for (size_t done = 0; done < text.size();) {
      ASSIGN_OR_RETURN(
          const size_t got,
          client->PRead(open_file, std::as_writable_bytes(std::span(text)).subspan(done), done));
      if (got == 0) return Errno(EPIPE);
      done += got;
    }
    // What the write came to is on the disk.
    EXPECT_EQ(text, tree_.Read("work/file").substr(0, 13));
    return {};
  });
  steps.Do("fsync", is_open, [&] { return client->FSync({open_file}); });
  steps.Do("fallocate", is_open, [&] { return client->FAllocate(open_file, 0, 0, 100); });
  const bool has_attribute =
      steps.Do("set xattr", has_file, [&] { return client->FSetXattr(file, "user.a", "b", 0); });
  steps.Do("list xattr", has_file, [&] { return client->FListXattr(file, 100); });
  steps.Do("get xattr", has_attribute, [&] { return client->FGetXattr(file, "user.a", 100); });
  steps.Do("remove xattr", has_attribute, [&] { return client->FRemoveXattr(file, "user.a"); });
  const auto set_stat = [&](const char* what, uint32_t mask) {
    steps.Do(what, has_file, [&]() -> ErrnoOr<void> {
      ASSIGN_OR_RETURN(const lisafs::SetStatResp set,
                       client->SetStat({.fd = file,
                                        .mask = mask,
                                        .mode = 0640,
                                        .uid = 1000,
                                        .gid = 100,
                                        .size = 50,
                                        .atime = {.sec = 1, .nsec = 0},
                                        .mtime = {.sec = 2, .nsec = 0}}));
      if (set.failure_mask != 0) return Errno(static_cast<int>(set.failure_errno));
      return {};
    });
  };
  set_stat("chmod", STATX_MODE);
  set_stat("chown", STATX_UID | STATX_GID);
  set_stat("truncate", STATX_SIZE);
  set_stat("utimes", STATX_ATIME | STATX_MTIME);
  steps.Make("create", "created", has_work, [&] {
    return keep(client->OpenCreateAt(work, "created", 0640, owner, O_RDWR), created,
                [](auto& opened) { return opened.fd; });
  });
  const bool has_made = steps.Make("mkdir", "made", has_work, [&] {
    return keep(client->MkdirAt(work, "made", 0750, owner), made, control);
  });
  steps.Make("mknod", "node", has_work,
             [&] { return client->MknodAt(work, "node", S_IFREG | 0600, owner, 0, 0); });
  steps.Make("mknod whiteout", "whiteout", has_work,
             [&] { return client->MknodAt(work, "whiteout", S_IFCHR | 0600, owner, 0, 0); });
  const bool is_bound = steps.Make("bind", "socket", has_work, [&]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(lisafs::BindResult bound,
                     client->BindAt(work, "socket", SOCK_STREAM, 0600, owner));
    socket = bound.child.control_fd;
    listener = bound.fd;
    return {};
  });
  const bool listens = steps.Do("listen", is_bound, [&] { return client->Listen(listener, 1); });
  UniqueFd connected;
  const bool is_connected = steps.Do("connect", listens, [&]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(connected, client->Connect(socket, SOCK_STREAM));
    return {};
  });
  steps.Do("accept", is_connected, [&] { return client->Accept(listener); });
  const bool has_link = steps.Make("symlink", "symlink", has_work, [&] {
    return keep(client->SymlinkAt(work, "symlink", "target", owner), link, control);
  });
  steps.Do("readlink", has_link, [&] { return client->ReadLinkAt(link); });
  const bool has_name =
      steps.Make("link", "linked", has_file, [&] { return client->LinkAt(work, file, "linked"); });
  const bool is_renamed = steps.Make("rename", "renamed", has_made, [&] {
    return client->RenameAt(work, "made", work, "renamed");
  });
  const bool is_listed = steps.Do("open directory", has_work, [&] {
    return keep(client->OpenAt(work, O_RDONLY), listing, [](auto& opened) { return opened.fd; });
  });
  steps.Do("list", is_listed, [&] { return client->Getdents64(listing, 4000); });
  steps.Do("list again", is_listed, [&] { return client->Getdents64(listing, -4000); });
  steps.Remove("unlink", "linked", has_name, [&] { return client->UnlinkAt(work, "linked", 0); });
  steps.Remove("rmdir", "renamed", is_renamed,
               [&] { return client->UnlinkAt(work, "renamed", AT_REMOVEDIR); });
  steps.Do("channel", mounted, [&] { return client->OpenChannel(); });
  return steps.Take();
}

// On a machine that runs all the time; what it has looked up it forgets.
std::vector<Step> FaultSweepTest::RunGuest() {
  using fuse::HandleId;
  using fuse::NodeId;
  Steps steps(tree_);
  vhost::driver::FuseClient& guest = *guest_;
  NodeId work{}, file{}, link{};
  HandleId open_file{}, listing{}, created_file{}, unnamed_file{};
  NodeId created{}, unnamed{};
  const auto node = [](auto result, NodeId& to) -> ErrnoOr<void> {
    if (!result.ok()) return result.error();
    to = result->nodeid;
    return {};
  };
  const auto handle = [](auto result, HandleId& to) -> ErrnoOr<void> {
    if (!result.ok()) return result.error();
    to = static_cast<HandleId>(result->fh);
    return {};
  };
  const bool has_work =
      steps.Do("lookup", true, [&] { return node(guest.Lookup(NodeId::kRoot, "work"), work); });
  const bool has_file =
      steps.Do("lookup below", has_work, [&] { return node(guest.Lookup(work, "file"), file); });
  steps.Do("getattr", has_file, [&] { return guest.Getattr(file); });
  steps.Do("statfs", has_work, [&] { return guest.Statfs(work); });
  const bool is_open =
      steps.Do("open", has_file, [&] { return handle(guest.Open(file, O_RDWR), open_file); });
  steps.Do("write", is_open, [&]() -> ErrnoOr<void> {
    const std::string text = "other content";
    for (size_t done = 0; done < text.size();) {
      ASSIGN_OR_RETURN(const size_t put, guest.Write(file, open_file, done, text.substr(done)));
      if (put == 0) return Errno(EPIPE);
      done += put;
    }
    return {};
  });
  steps.Do("read", is_open, [&]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(const std::string text, guest.Read(file, open_file, 0, 13));
    EXPECT_EQ(text, tree_.Read("work/file").substr(0, 13));
    return {};
  });
  steps.Do("fsync", is_open, [&] { return guest.Fsync(file, open_file, false); });
  steps.Do("fallocate", is_open, [&] { return guest.Fallocate(file, open_file, 0, 100, 0); });
  steps.Do("lseek", is_open, [&] { return guest.Lseek(file, open_file, 0, SEEK_DATA); });
  const bool has_attribute =
      steps.Do("set xattr", has_file, [&] { return guest.Setxattr(file, "user.a", "b", 0); });
  steps.Do("list xattr", has_file, [&] { return guest.Listxattr(file, 100); });
  steps.Do("get xattr", has_attribute, [&] { return guest.Getxattr(file, "user.a", 100); });
  steps.Do("remove xattr", has_attribute, [&] { return guest.Removexattr(file, "user.a"); });
  const auto set_attributes = [&](const char* what, uint32_t valid) {
    fuse::SetattrIn in = {};
    in.valid = valid;
    in.mode = 0640;
    in.uid = 1000;
    in.gid = 100;
    in.size = 50;
    steps.Do(what, has_file, [&] { return guest.Setattr(file, in); });
  };
  set_attributes("chmod", fuse::setattr::kMode);
  set_attributes("chown", fuse::setattr::kUid | fuse::setattr::kGid);
  set_attributes("truncate", fuse::setattr::kSize);
  set_attributes("utimes", fuse::setattr::kAtime | fuse::setattr::kMtime);
  steps.Do("fdatasync", is_open, [&] { return guest.Fsync(file, open_file, true); });
  fuse::LkIn lock = {};
  lock.fh = open_file;
  lock.owner = 0;  // whose locks go when the file is closed
  lock.lk = {.start = 0, .end = 9, .type = F_RDLCK, .pid = 1};
  steps.Do("lock", is_open, [&] { return guest.Setlk(file, lock, false); });
  steps.Do("test lock", is_open, [&] { return guest.Getlk(file, lock); });
  lock.lk_flags = fuse::kLkFlock;
  steps.Do("flock", is_open, [&] { return guest.Setlk(file, lock, false); });
  steps.Do("ioctl", is_open, [&]() -> ErrnoOr<void> {
    const fuse::IoctlIn in = {.fh = open_file,
                              .flags = 0,
                              .cmd = static_cast<uint32_t>(FS_IOC_GETFLAGS),
                              .arg = 0,
                              .in_size = 0,
                              .out_size = 4};
    const ErrnoOr<void> asked = Ask(fuse::Opcode::kIoctl, file, Bytes(in));
    // Some file systems have none.
    if (!asked.ok() && asked.error() == ENOTTY) return {};
    return asked;
  });
  const bool is_created = steps.Make("create", "created", has_work, [&]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(const fuse::CreateOut out, guest.Create(work, "created", O_RDWR, 0640));
    created = out.entry.nodeid;
    created_file = static_cast<HandleId>(out.open.fh);
    return {};
  });
  steps.Do("copy", is_open && is_created, [&] {
    return guest.CopyFileRange(file, {.fh_in = open_file,
                                      .off_in = 0,
                                      .nodeid_out = created,
                                      .fh_out = created_file,
                                      .off_out = 0,
                                      .len = 5,
                                      .flags = 0});
  });
  const bool is_unnamed = steps.Do("tmpfile", has_work, [&]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(const fuse::CreateOut out, guest.Tmpfile(work, O_RDWR, 0600));
    unnamed = out.entry.nodeid;
    unnamed_file = static_cast<HandleId>(out.open.fh);
    return {};
  });
  const bool has_made =
      steps.Make("mkdir", "made", has_work, [&] { return guest.Mkdir(work, "made", 0750); });
  steps.Make("mknod", "node", has_work, [&] { return guest.Mknod(work, "node", S_IFREG | 0600); });
  steps.Make("mkfifo", "fifo", has_work, [&] { return guest.Mknod(work, "fifo", S_IFIFO | 0600); });
  const bool has_link = steps.Make("symlink", "symlink", has_work, [&] {
    return node(guest.Symlink(work, "symlink", "target"), link);
  });
  steps.Do("readlink", has_link, [&] { return guest.Readlink(link); });
  const bool has_name =
      steps.Make("link", "linked", has_file, [&] { return guest.Link(file, work, "linked"); });
  const bool is_renamed = steps.Make("rename", "renamed", has_made,
                                     [&] { return guest.Rename(work, "made", work, "renamed"); });
  const bool is_listed =
      steps.Do("opendir", has_work, [&] { return handle(guest.Opendir(work), listing); });
  steps.Do("readdir", is_listed, [&] {
    return guest.Readdirplus(work, listing, 0, 4000, [](const vhost::driver::DirentView&) {});
  });
  steps.Remove("unlink", "linked", has_name, [&] { return guest.Unlink(work, "linked"); });
  steps.Remove("rmdir", "renamed", is_renamed, [&] { return guest.Rmdir(work, "renamed"); });
  // What is closed is closed, whatever the host says.
  if (is_open) Must(guest.Flush(file, open_file));
  if (is_open) Must(guest.Release(file, open_file));
  if (is_created) Must(guest.Release(created, created_file));
  if (is_unnamed) Must(guest.Release(unnamed, unnamed_file));
  if (is_listed) Must(guest.Releasedir(work, listing));
  Must(guest.ForgetAll());
  return steps.Take();
}

std::vector<Step> FaultSweepTest::RunSyncfs() {
  Steps steps(tree_);
  steps.Do("syncfs", true, [&] {
    return Ask(fuse::Opcode::kSyncfs, fuse::NodeId::kRoot, Bytes(fuse::SyncfsIn{.padding = 0}));
  });
  return steps.Take();
}

TEST_F(FaultSweepTest, EachCallForASandboxFails) {
  Start();
  SweepCalls(Sweep::kSandbox, [this] { return RunSandbox(); });
}

TEST_F(FaultSweepTest, EachCallForAGuestFails) {
  Start();
  Boot();
  SweepCalls(Sweep::kGuest, [this] { return RunGuest(); });
  SweepCalls(Sweep::kDisk, [this] { return RunSyncfs(); });
}

TEST_F(FaultSweepTest, EachCallForAGuestFailsWhereFilesAreHeldByHandles) {
  Start({"--inode_file_handles=mandatory"});
  Boot();
  SweepCalls(Sweep::kByHandle, [this] { return RunGuest(); });
}

// Calls that the kernel does not have are not tried twice.
TEST_F(FaultSweepTest, EachCallForAGuestFailsOnAnOldKernel) {
  Start();
  Boot();
  std::vector<SystemCall> seen;
  const std::vector<Step> steps =
      RunWith([this] { return RunGuest(); },
              [](const SystemCall& call) {
                const bool is_new = absl::EndsWith(call.Name(), "xattrat") || call.Is("fchmodat2");
                return is_new ? Choice::Fail(ENOSYS) : Choice::Let();
              },
              &seen);
  for (const Step& step : steps) EXPECT_EQ(step.error, 0) << step.what;
  SweepCalls(Sweep::kOldKernel, [this] { return RunGuest(); });
}

TEST_F(FaultSweepTest, CallsForASandboxAreInterruptedAndComeShort) {
  Start();
  Storm([this] { return RunSandbox(); });
}

TEST_F(FaultSweepTest, CallsForAGuestAreInterruptedAndComeShort) {
  Start();
  Boot();
  Storm([this] { return RunGuest(); });
}

// The sandbox may lose its connection, and nobody else anything.
TEST_F(FaultSweepTest, CallsToASandboxFail) {
  Start();
  int lost = 0;
  std::map<std::string, int> failed;
  for (int at = 1;; ++at) {
    const int error = kErrors[at % static_cast<int>(std::size(kErrors))];
    std::vector<SystemCall> seen;
    const std::vector<Step> steps =
        RunWith([this] { return RunSandbox(/*replies_arrive=*/false); },
                [at, error, others = Threads(), count = 0](const SystemCall& call) mutable {
                  // The honest client's is waiting for the next request.
                  if (call.number == SYS_recvfrom && others.contains(call.thread)) {
                    return Choice::Let();
                  }
                  return IsTransport(call) && ++count == at ? Choice::Fail(error) : Choice::Let();
                },
                &seen);
    const auto call =
        std::find_if(seen.begin(), seen.end(), [](const SystemCall& one) { return one.changed; });
    const bool reached = call != seen.end();
    if (reached) ++failed[call->Name()];
    SCOPED_TRACE(absl::StrCat("call ", at, " to a peer fails with ", strerrorname_np(error)));
    if (steps.back().error != 0) ++lost;
    ASSERT_TRUE(gofer_->Running()) << gofer_->Stderr();
    EXPECT_TRUE(HonestIsServed());
    if (HasFailure() || !reached) break;
  }
  EXPECT_GT(lost, 10);
  ExpectSwept(Sweep::kPeers, failed);
  Renew();
  for (const Step& step : RunSandbox()) EXPECT_EQ(step.error, 0) << step.what;
}

}  // namespace
}  // namespace gofer::testing
