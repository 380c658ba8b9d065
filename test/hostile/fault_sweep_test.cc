// The host fails: each call that a gofer makes of it for a sandbox or a guest fails once, with
// each of several errnos; all are interrupted again and again; reads and writes end after one byte.
// What a client sees then is the errno of the host, or nothing of it; what was to be made and could not
// is not there; nothing is left open, and the next one is served.
//
// The calls fail in the shipped program, see SystemCallTracer; a build with the fault seam would be
// another one. In CI each call gets two of the errnos, its neighbours others; all of them:
// --test_env=FAULT_ALL=1. Calls by which the gofer speaks to its peers are a sweep of their own: then
// the connection may end.

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gmock/gmock.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/host_calls.h"
#include "test/support/results.h"
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
  return call.number == SYS_recvmsg || call.number == SYS_sendmsg || call.number == SYS_read ||
         call.number == SYS_write;
}
bool IsFileCall(const SystemCall& call) { return IsHostCall(call) && !IsTransport(call); }

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
    Pipe ready = MakePipe();
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = {"serve", "--root=" + tree_.path(), "--xattr", "--ready_fd=9",
                                 "--lisafs_socket=" + run_.At("lisafs"),
                                 "--vhost_user_socket=" + run_.At("vhost"),
                                 "--control_socket=" + run_.At("control")},
                   .fds = {{9, ready.write.get()}}});
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
    const absl::Time begin = absl::Now();
    const auto walked = honest_->Walk(honest_root_, names, std::span(&inode, 1));
    if (!walked.ok() || walked->count != 1 || !honest_->Close({inode.control_fd}).ok())
      return false;
    return absl::Now() - begin < absl::Seconds(1);
  }
  // Files that the serving process has open, without those that it merely remembers. A socket is closed
  // some time after its peer was, so they are not counted.
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
  // What a client had that has just gone goes a moment later.
  void ExpectOpenFiles(size_t expected) {
    const absl::Time deadline = absl::Now() + absl::Seconds(5);
    size_t files = OpenFiles();
    for (; files != expected && absl::Now() < deadline; files = OpenFiles()) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(files, expected) << "something is left open";
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

  void Sweep(const Script& script) {
    std::vector<SystemCall> seen;
    const std::vector<Step> clean = RunWith(
        script, [](const SystemCall&) { return Choice::Let(); }, &seen);
    for (const Step& step : clean) ASSERT_EQ(step.error, 0) << step.what;
    ASSERT_GT(std::count_if(seen.begin(), seen.end(), IsFileCall), 30);
    serving_ = seen.front().process;
    size_t files = OpenFiles();
    for (size_t before = files + 1; files != before;) {
      absl::SleepFor(absl::Milliseconds(20));
      before = std::exchange(files, OpenFiles());
    }
    std::map<std::string, int> failed;
    int unnoticed = 0;
    for (int at = 1;; ++at) {
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
    std::cout << "unnoticed by the client: " << unnoticed << "; calls that failed:";
    for (const auto& [name, times] : failed) std::cout << " " << name << " " << times;
    std::cout << "\n";
    EXPECT_GE(failed.size(), 10u);
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
  FdId root{}, work{}, file{}, open_file{}, made{}, link{}, listing{}, created{};
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
  steps.Do("set xattr", has_file, [&] { return client->FSetXattr(file, "user.a", "b", 0); });
  steps.Do("get xattr", has_file, [&] { return client->FListXattr(file, 100); });
  steps.Make("create", "created", has_work, [&] {
    return keep(client->OpenCreateAt(work, "created", 0640, owner, O_RDWR), created,
                [](auto& opened) { return opened.fd; });
  });
  const bool has_made = steps.Make("mkdir", "made", has_work, [&] {
    return keep(client->MkdirAt(work, "made", 0750, owner), made, control);
  });
  steps.Make("mknod", "node", has_work,
             [&] { return client->MknodAt(work, "node", S_IFREG | 0600, owner, 0, 0); });
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
  steps.Remove("unlink", "linked", has_name, [&] { return client->UnlinkAt(work, "linked", 0); });
  steps.Remove("rmdir", "renamed", is_renamed,
               [&] { return client->UnlinkAt(work, "renamed", AT_REMOVEDIR); });
  return steps.Take();
}

// On a machine that runs all the time; what it has looked up it forgets.
std::vector<Step> FaultSweepTest::RunGuest() {
  using fuse::HandleId;
  using fuse::NodeId;
  Steps steps(tree_);
  vhost::driver::FuseClient& guest = *guest_;
  NodeId work{}, file{}, link{};
  HandleId open_file{}, listing{}, created_file{};
  NodeId created{};
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
  steps.Do("set xattr", has_file, [&] { return guest.Setxattr(file, "user.a", "b", 0); });
  steps.Do("list xattr", has_file, [&] { return guest.Listxattr(file, 100); });
  const bool is_created = steps.Make("create", "created", has_work, [&]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(const fuse::CreateOut out, guest.Create(work, "created", O_RDWR, 0640));
    created = out.entry.nodeid;
    created_file = static_cast<HandleId>(out.open.fh);
    return {};
  });
  const bool has_made =
      steps.Make("mkdir", "made", has_work, [&] { return guest.Mkdir(work, "made", 0750); });
  steps.Make("mknod", "node", has_work, [&] { return guest.Mknod(work, "node", S_IFREG | 0600); });
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
  if (is_open) Must(guest.Release(file, open_file));
  if (is_created) Must(guest.Release(created, created_file));
  if (is_listed) Must(guest.Releasedir(work, listing));
  Must(guest.ForgetAll());
  return steps.Take();
}

TEST_F(FaultSweepTest, EachCallForASandboxFails) {
  Sweep([this] { return RunSandbox(); });
}

TEST_F(FaultSweepTest, EachCallForAGuestFails) {
  Boot();
  Sweep([this] { return RunGuest(); });
}

TEST_F(FaultSweepTest, CallsForASandboxAreInterruptedAndComeShort) {
  Storm([this] { return RunSandbox(); });
}

TEST_F(FaultSweepTest, CallsForAGuestAreInterruptedAndComeShort) {
  Boot();
  Storm([this] { return RunGuest(); });
}

// The sandbox may lose its connection, and nobody else anything.
TEST_F(FaultSweepTest, CallsToASandboxFail) {
  int lost = 0;
  for (int at = 1;; ++at) {
    const int error = kErrors[at % static_cast<int>(std::size(kErrors))];
    std::vector<SystemCall> seen;
    const std::vector<Step> steps =
        RunWith([this] { return RunSandbox(/*replies_arrive=*/false); },
                [at, error, count = 0](const SystemCall& call) mutable {
                  return IsTransport(call) && ++count == at ? Choice::Fail(error) : Choice::Let();
                },
                &seen);
    const bool reached =
        std::any_of(seen.begin(), seen.end(), [](const SystemCall& call) { return call.changed; });
    SCOPED_TRACE(absl::StrCat("call ", at, " to a peer fails with ", strerrorname_np(error)));
    if (steps.back().error != 0) ++lost;
    ASSERT_TRUE(gofer_->Running()) << gofer_->Stderr();
    EXPECT_TRUE(HonestIsServed());
    if (HasFailure() || !reached) break;
  }
  EXPECT_GT(lost, 10);
  Renew();
  for (const Step& step : RunSandbox()) EXPECT_EQ(step.error, 0) << step.what;
}

}  // namespace
}  // namespace gofer::testing
