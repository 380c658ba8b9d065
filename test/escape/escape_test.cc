// A gofer whose thread for a client has been taken over after the start tries to get out: every
// attempt fails, in every sandbox that is one, as root and without root.
//
// Twice: as it ships, where most attempts end the process, and with --seccomp=none, where the other
// walls have to hold by themselves.
//
// Source: spec/security.md s.1; SECURITY.md.

#include <dirent.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/escape/puppet.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

constexpr uint32_t kNobody = 65534;
constexpr uint64_t kWorkingDirectory = static_cast<uint64_t>(AT_FDCWD);

// Where it runs, and what a thread of it can name.
struct Prison {
  Puppet& thread;
  uint64_t root;  // descriptors that a serving gofer has
  uint64_t procfs;
  std::string outside;  // a file beside the served tree, as the host calls it
  int parent;           // the test
};

struct Attempt {
  const char* name;
  std::function<std::optional<int64_t>(const Prison&)> go;
  // As it ships: 0, seccomp ends the process; else minus an errno, or kHarmless.
  int64_t shipped;
  // Without the filter: answers that show that another wall held.
  std::set<int64_t> bare;
};

// It succeeds and gains nothing: a descriptor, if there is one, is of something inside.
constexpr int64_t kHarmless = 1;

const Attempt kAttempts[] = {
    // ---- files by path
    {"open an absolute path",
     [](const Prison& p) {
       return p.thread.Call(SYS_open, {p.thread.PutString(p.outside), O_RDONLY});
     },
     0,
     {-ENOENT}},
    {"openat an absolute path, as libraries do",
     [](const Prison& p) {
       return p.thread.Call(SYS_openat,
                            {kWorkingDirectory, p.thread.PutString(p.outside), O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"openat an absolute path past a descriptor",
     [](const Prison& p) {
       return p.thread.Call(SYS_openat, {p.root, p.thread.PutString(p.outside), O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"openat .. far up",
     [](const Prison& p) {
       const std::string path = absl::StrCat("../../../../../../../../../..", p.outside);
       return p.thread.Call(SYS_openat, {p.root, p.thread.PutString(path), O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"openat .. as a mere location",
     [](const Prison& p) {
       return p.thread.Call(SYS_openat, {p.root, p.thread.PutString("../.."), O_PATH});
     },
     kHarmless,
     {kHarmless}},
    {"openat2 without any restriction",
     [](const Prison& p) {
       const struct { uint64_t flags, mode, resolve; } how = {O_RDONLY, 0, 0};
       const uint64_t at = p.thread.Put({reinterpret_cast<const char*>(&how), sizeof(how)});
       const uint64_t path = p.thread.PutString(absl::StrCat("../../../../..", p.outside));
       return p.thread.Call(SYS_openat2, {p.root, path, at, sizeof(how)});
     },
     -ENOENT,
     {-ENOENT}},
    {"a symbolic link to outside, followed",
     [](const Prison& p) {
       const uint64_t target = p.thread.PutString(p.outside);
       const auto made =
           p.thread.Call(SYS_symlinkat, {target, p.root, p.thread.PutString("way-out")});
       if (!made.has_value() || *made < 0) return made;
       return p.thread.Call(SYS_openat, {p.root, p.thread.PutString("way-out"), O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"a hard link to outside",
     [](const Prison& p) {
       const uint64_t from = p.thread.PutString(p.outside);
       return p.thread.Call(SYS_linkat,
                            {kWorkingDirectory, from, p.root, p.thread.PutString("linked"), 0});
     },
     0,
     {-ENOENT}},

    // ---- the root
    {"chroot once more",
     [](const Prison& p) {
       const auto made = p.thread.Call(SYS_mkdirat, {p.root, p.thread.PutString("jail"), 0700});
       if (!made.has_value()) return made;
       return p.thread.Call(SYS_chroot, {p.thread.PutString("jail")});
     },
     0,
     {-EPERM}},
    {"pivot_root",
     [](const Prison& p) {
       return p.thread.Call(SYS_pivot_root, {p.thread.PutString("."), p.thread.PutString(".")});
     },
     0,
     {-EPERM}},
    {"unmount the root",
     [](const Prison& p) {
       return p.thread.Call(SYS_umount2, {p.thread.PutString("/"), 2 /* MNT_DETACH */});
     },
     0,
     {-EPERM}},
    {"change the directory and go up",
     [](const Prison& p) {
       const auto changed = p.thread.Call(SYS_fchdir, {p.procfs});
       if (!changed.has_value()) return changed;
       return p.thread.Call(SYS_open, {p.thread.PutString("../../../etc/passwd"), O_RDONLY});
     },
     0,
     {-ENOENT}},

    // ---- file handles
    {"name_to_handle_at",
     [](const Prison& p) {
       const uint64_t handle = p.thread.Put(std::string(256, '\0'));
       const uint64_t mount = p.thread.Put(std::string(16, '\0'));
       return p.thread.Call(SYS_name_to_handle_at,
                            {p.root, p.thread.PutString("."), handle, mount, 0});
     },
     0,
     {-EOVERFLOW}},
    {"open_by_handle_at",
     [](const Prison& p) {
       const uint64_t handle = p.thread.Put(std::string("\x8\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0", 16));
       return p.thread.Call(SYS_open_by_handle_at, {kWorkingDirectory, handle, O_RDONLY});
     },
     0,
     {-EPERM}},

    // ---- the directory of descriptors
    {"from the descriptors' directory to the rest of /proc",
     [](const Prison& p) {
       return p.thread.Call(SYS_openat, {p.procfs, p.thread.PutString("../environ"), O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"from the descriptors' directory to another process's root",
     [](const Prison& p) {
       const std::string path = absl::StrCat("../../", p.parent, "/root", p.outside);
       return p.thread.Call(SYS_openat, {p.procfs, p.thread.PutString(path), O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"from the descriptors' directory to the host's root",
     [](const Prison& p) {
       const std::string path = absl::StrCat("../../../..", p.outside);
       return p.thread.Call(SYS_openat, {p.procfs, p.thread.PutString(path), O_PATH});
     },
     -ENOENT,
     {-ENOENT}},
    {"its own memory",
     [](const Prison& p) {
       return p.thread.Call(SYS_openat, {p.procfs, p.thread.PutString("../mem"), O_RDWR});
     },
     -ENOENT,
     {-ENOENT}},

    // ---- other processes
    {"ptrace",
     [](const Prison& p) {
       return p.thread.Call(SYS_ptrace, {PTRACE_ATTACH, static_cast<uint64_t>(p.parent), 0, 0});
     },
     0,
     {-EPERM}},
    {"process_vm_readv",
     [](const Prison& p) {
       const uint64_t buffer = p.thread.Put(std::string(16, '\0'));
       const struct iovec vector = {.iov_base = reinterpret_cast<void*>(buffer), .iov_len = 16};
       const uint64_t at = p.thread.Put({reinterpret_cast<const char*>(&vector), sizeof(vector)});
       return p.thread.Call(SYS_process_vm_readv,
                            {static_cast<uint64_t>(p.parent), at, 1, at, 1, 0});
     },
     0,
     {-EPERM}},
    {"kill",
     [](const Prison& p) {
       return p.thread.Call(SYS_kill, {static_cast<uint64_t>(p.parent), 0});
     },
     0,
     {-EPERM}},
    {"tgkill another process",
     [](const Prison& p) {
       const auto parent = static_cast<uint64_t>(p.parent);
       return p.thread.Call(SYS_tgkill, {parent, parent, 0});
     },
     0,
     {-EPERM}},
    {"pidfd_send_signal",
     [](const Prison& p) {
       const auto process = p.thread.Call(SYS_pidfd_open, {static_cast<uint64_t>(p.parent), 0});
       if (!process.has_value() || *process < 0) return process;
       return p.thread.Call(SYS_pidfd_send_signal, {static_cast<uint64_t>(*process), 0, 0, 0});
     },
     0,
     {-EPERM}},
    {"pidfd_getfd",
     [](const Prison& p) {
       const auto process = p.thread.Call(SYS_pidfd_open, {static_cast<uint64_t>(p.parent), 0});
       if (!process.has_value() || *process < 0) return process;
       return p.thread.Call(SYS_pidfd_getfd, {static_cast<uint64_t>(*process), 0, 0});
     },
     0,
     {-EPERM}},

    // ---- namespaces and processes of its own
    {"a mount namespace",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_NEWNS}); },
     0,
     {-EPERM}},
    {"a network namespace",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_NEWNET}); },
     0,
     {-EPERM}},
    // Those that anybody may make hold no wall; seccomp alone is in front of them.
    {"a user namespace",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_NEWUSER}); },
     0,
     {}},
    {"a process in a user namespace",
     [](const Prison& p) { return p.thread.Call(SYS_clone, {CLONE_NEWUSER | SIGCHLD}); },
     0,
     {}},
    {"fork", [](const Prison& p) { return p.thread.Call(SYS_clone, {SIGCHLD}); }, 0, {}},
    {"clone3",
     [](const Prison& p) {
       return p.thread.Call(SYS_clone3, {0, 88});
     },
     -ENOSYS,
     {-EFAULT}},
    {"setns",
     [](const Prison& p) {
       return p.thread.Call(SYS_setns, {p.procfs, 0});
     },
     0,
     {-EINVAL}},
    {"execve",
     [](const Prison& p) {
       return p.thread.Call(SYS_execve, {p.thread.PutString("/bin/sh"), 0, 0});
     },
     0,
     {-ENOENT}},
    {"execveat",
     [](const Prison& p) {
       return p.thread.Call(SYS_execveat, {p.root, p.thread.PutString("program"), 0, 0, 0});
     },
     0,
     {-EACCES}},

    // ---- sockets
    {"a network socket",
     [](const Prison& p) {
       const auto socket = p.thread.Call(SYS_socket, {AF_INET, SOCK_STREAM, 0});
       if (!socket.has_value() || *socket < 0) return socket;
       const std::string address("\2\0\0\x16\x8\x8\x8\x8\0\0\0\0\0\0\0\0", 16);  // 8.8.8.8:22
       return p.thread.Call(SYS_connect,
                            {static_cast<uint64_t>(*socket), p.thread.Put(address), 16});
     },
     0,
     {-ENETUNREACH, -EACCES}},
    {"a unix socket",
     [](const Prison& p) {
       return p.thread.Call(SYS_socket, {AF_UNIX, SOCK_STREAM, 0});
     },
     0,
     {}},
    {"a netlink socket",
     [](const Prison& p) {
       return p.thread.Call(SYS_socket, {AF_NETLINK, SOCK_RAW, 0});
     },
     0,
     {}},

    // ---- mounts
    {"mount",
     [](const Prison& p) {
       const uint64_t type = p.thread.PutString("proc");
       return p.thread.Call(SYS_mount, {type, p.thread.PutString("/"), type, 0, 0});
     },
     0,
     {-EPERM}},
    {"open_tree",
     [](const Prison& p) {
       return p.thread.Call(SYS_open_tree, {p.root, p.thread.PutString("."), OPEN_TREE_CLONE});
     },
     0,
     {-EPERM}},
    {"fsopen",
     [](const Prison& p) {
       return p.thread.Call(SYS_fsopen, {p.thread.PutString("proc"), 0});
     },
     0,
     {-EPERM}},
    {"mount_setattr",
     [](const Prison& p) {
       const uint64_t attr = p.thread.Put(std::string(32, '\0'));
       return p.thread.Call(SYS_mount_setattr, {p.root, p.thread.PutString("."), 0, attr, 32});
     },
     0,
     {-EPERM, 0}},  // a change of nothing is allowed to everybody

    // ---- privileges
    {"a device node",
     [](const Prison& p) {
       return p.thread.Call(SYS_mknodat,
                            {p.root, p.thread.PutString("null"), S_IFCHR | 0666, makedev(1, 3)});
     },
     0,
     {-EPERM}},
    {"another user",
     [](const Prison& p) {
       return p.thread.Call(SYS_setresuid, {1, 1, 1});
     },
     0,
     {-EPERM, -EINVAL}},
    {"all capabilities",
     [](const Prison& p) {
       const std::string header("\x22\x05\x08\x20\0\0\0\0", 8), all(24, '\xff');
       const uint64_t at = p.thread.Put(header);
       return p.thread.Call(SYS_capset, {at, p.thread.Put(all)});
     },
     0,
     {-EPERM}},
    {"to be dumpable",
     [](const Prison& p) {
       return p.thread.Call(SYS_prctl, {PR_SET_DUMPABLE, 1});
     },
     0,
     {}},

    // ---- code and the kernel
    {"memory that can be executed",
     [](const Prison& p) {
       return p.thread.Call(SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                       MAP_PRIVATE | MAP_ANONYMOUS, ~uint64_t{0}, 0});
     },
     0,
     {}},
    {"bpf",
     [](const Prison& p) {
       return p.thread.Call(SYS_bpf, {0, 0, 0});
     },
     0,
     {}},
    {"io_uring",
     [](const Prison& p) {
       return p.thread.Call(SYS_io_uring_setup, {1, 0});
     },
     0,
     {}},
    {"userfaultfd", [](const Prison& p) { return p.thread.Call(SYS_userfaultfd, {0}); }, 0, {}},
    {"perf_event_open",
     [](const Prison& p) { return p.thread.Call(SYS_perf_event_open, {}); },
     0,
     {}},
    {"add_key", [](const Prison& p) { return p.thread.Call(SYS_add_key, {}); }, 0, {}},
    {"init_module",
     [](const Prison& p) { return p.thread.Call(SYS_init_module, {}); },
     0,
     {-EPERM, -ENOSYS}},
    {"reboot", [](const Prison& p) { return p.thread.Call(SYS_reboot, {}); }, 0, {-EPERM, -EINVAL}},
    {"a terminal's input",
     [](const Prison& p) {
       return p.thread.Call(SYS_ioctl, {0, 0x5412});
     },
     0,
     {}},
    {"another numbering of calls",
     [](const Prison& p) { return p.thread.Call(0x40000000 + SYS_getpid); },
     0,
     {}},
};

struct Mode {
  const char* name;
  std::vector<std::string> flags;
  bool as_root;
};

// What host sockets let a thread do besides: to have a working directory of its own, which no path
// that it may use begins at, and no other thread's.
const Attempt kHostSocketAttempts[] = {
    {"a working directory of its own",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_FS}); },
     kHarmless,
     {0}},
    {"to go up from it",
     [](const Prison& p) {
       for (const std::optional<int64_t> done :
            {p.thread.Call(SYS_unshare, {CLONE_FS}), p.thread.Call(SYS_fchdir, {p.procfs})}) {
         if (done != std::optional<int64_t>(0)) return done;
       }
       const uint64_t path = p.thread.PutString(absl::StrCat("../../../../..", p.outside));
       return p.thread.Call(SYS_openat, {kWorkingDirectory, path, O_RDONLY});
     },
     -ENOENT,
     {-ENOENT}},
    {"a socket by a path that goes up from it",
     [](const Prison& p) {
       for (const std::optional<int64_t> done :
            {p.thread.Call(SYS_unshare, {CLONE_FS}), p.thread.Call(SYS_fchdir, {p.procfs})}) {
         if (done != std::optional<int64_t>(0)) return done;
       }
       const auto socket = p.thread.Call(SYS_socket, {AF_UNIX, SOCK_STREAM, 0});
       if (!socket.has_value() || *socket < 0) return socket;
       const std::string address("\1\0../../../../../../etc/passwd", 2 + 28);
       return p.thread.Call(
           SYS_connect, {static_cast<uint64_t>(*socket), p.thread.Put(address), address.size()});
     },
     -ENOENT,
     {-ENOENT}},
    {"a root of its own with it",
     [](const Prison& p) {
       const auto own = p.thread.Call(SYS_unshare, {CLONE_FS});
       if (own != std::optional<int64_t>(0)) return own;
       return p.thread.Call(SYS_chroot, {p.thread.PutString(".")});
     },
     0,
     {-EPERM}},
    {"a mount namespace with it",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_FS | CLONE_NEWNS}); },
     0,
     {-EPERM}},
    {"descriptors of its own",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_FILES}); },
     0,
     {}},
    {"a user namespace with it",
     [](const Prison& p) { return p.thread.Call(SYS_unshare, {CLONE_FS | CLONE_NEWUSER}); },
     0,
     {}},
};

// One gofer with one client, and a thread of it in our hands.
class Prisoner {
 public:
  Prisoner(const TempTree& host, const Mode& mode, absl::string_view seccomp) {
    SocketPair sockets = StreamPair();
    std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", host.At("served")),
                                          "--lisafs_fd=7", absl::StrCat("--seccomp=", seccomp)};
    arguments.insert(arguments.end(), mode.flags.begin(), mode.flags.end());
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.name = "gofer",
                   .arguments = std::move(arguments),
                   .fds = {{7, sockets.theirs.get()}},
                   .user = mode.as_root ? std::nullopt : std::optional<uint32_t>(kNobody)});
    sockets.theirs.Reset();
    client_ = std::make_unique<lisafs::Client>(std::move(sockets.ours));
    const auto mount = client_->Mount();
    CHECK(mount.ok()) << mode.name << ": " << gofer_->Stderr();
    thread_ = std::make_unique<Puppet>(ClientThread());
  }
  ~Prisoner() { thread_.reset(); }

  // The thread that serves the client: not the main thread.
  pid_t ClientThread() const {
    pid_t found = 0;
    const auto waits = [&] {
      for (const auto& task :
           std::filesystem::directory_iterator(absl::StrCat("/proc/", gofer_->pid(), "/task"))) {
        pid_t tid = 0;
        CHECK(absl::SimpleAtoi(task.path().filename().string(), &tid));
        if (tid != gofer_->pid() && Waits(tid)) found = tid;
      }
      return found != 0;
    };
    CHECK(Eventually(waits)) << "no thread waits for the client";
    return found;
  }
  Puppet& thread() { return *thread_; }
  // A descriptor of it that is of the same file as `path`.
  uint64_t DescriptorOf(const std::string& path) const {
    struct stat wanted;
    PCHECK(stat(path.c_str(), &wanted) == 0) << path;
    for (const int fd : gofer_->OpenFds()) {
      if (IsSame(Look(fd), wanted)) return static_cast<uint64_t>(fd);
    }
    LOG(FATAL) << "no descriptor of " << path;
  }
  uint64_t ProcDescriptor() const {
    return DescriptorOf(absl::StrCat("/proc/", gofer_->pid(), "/fd"));
  }
  struct stat Look(int fd) const {
    struct stat found = {};
    stat(absl::StrCat("/proc/", gofer_->pid(), "/fd/", fd).c_str(), &found);
    return found;
  }
  static bool IsSame(const struct stat& a, const struct stat& b) {
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
  }

 private:
  bool Waits(pid_t tid) const {
    int number = -1;
    FILE* const file =
        fopen(absl::StrCat("/proc/", gofer_->pid(), "/task/", tid, "/syscall").c_str(), "re");
    if (file == nullptr) return false;
    const int fields = fscanf(file, "%d", &number);
    fclose(file);
    return fields == 1 && number == SYS_recvfrom;
  }

  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<lisafs::Client> client_;
  std::unique_ptr<Puppet> thread_;
};

class EscapeTest : public ::testing::Test {
 protected:
  EscapeTest() {
    host_.Mkdir("served");
    host_.Write("served/program", "#!/bin/true\n", 0755);
    host_.Write("secret", "outside");
    // The one without root has to come by its tree, and may write there.
    CHECK_EQ(chmod(host_.path().c_str(), 0755), 0);
    CHECK_EQ(chown(host_.At("served").c_str(), kNobody, kNobody), 0);
    secret_ = host_.Stat("secret");
  }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and to trace processes";
  }

  static std::string Describe(const std::optional<int64_t>& answer, int signal) {
    if (!answer.has_value()) return absl::StrCat("ended by signal ", signal);
    if (*answer < 0) return strerrorname_np(static_cast<int>(-*answer));
    return absl::StrCat("got ", *answer);
  }

  // What came of one attempt, with its descriptor judged.
  struct Outcome {
    std::optional<int64_t> answer;
    int signal = 0;
    bool outside = false;
  };
  Outcome Try(const Attempt& attempt, const Mode& mode, absl::string_view seccomp) {
    Prisoner prisoner(host_, mode, seccomp);
    const Prison prison = {.thread = prisoner.thread(),
                           .root = prisoner.DescriptorOf(host_.At("served")),
                           .procfs = prisoner.ProcDescriptor(),
                           .outside = host_.At("secret"),
                           .parent = getpid()};
    Outcome outcome;
    outcome.answer = attempt.go(prison);
    outcome.signal = prisoner.thread().end_signal();
    if (outcome.answer.has_value() && *outcome.answer > 2) {
      const struct stat found = prisoner.Look(static_cast<int>(*outcome.answer));
      struct stat root;
      CHECK_EQ(stat("/", &root), 0);
      outcome.outside = Prisoner::IsSame(found, secret_) || Prisoner::IsSame(found, root) ||
                        Prisoner::IsSame(found, host_.Stat(""));
    }
    for (const char* const made : {"way-out", "null", "linked"}) {
      unlink(host_.At(absl::StrCat("served/", made)).c_str());
    }
    rmdir(host_.At("served/jail").c_str());
    return outcome;
  }

  void ExpectNoWayOut(const Mode& mode, std::span<const Attempt> attempts = kAttempts,
                      int at_least_killed = 30) {
    const auto beside = host_.StrictSnapshot();
    int killed = 0;
    for (const Attempt& attempt : attempts) {
      const Outcome shipped = Try(attempt, mode, "kill");
      SCOPED_TRACE(absl::StrCat(mode.name, ", as it ships: ", attempt.name, ": ",
                                Describe(shipped.answer, shipped.signal)));
      EXPECT_FALSE(shipped.outside);
      if (attempt.shipped == 0) {
        EXPECT_FALSE(shipped.answer.has_value());
        EXPECT_EQ(shipped.signal, SIGSYS);
        ++killed;
      } else if (attempt.shipped == kHarmless) {
        EXPECT_GE(shipped.answer.value_or(-1), 0);
      } else {
        EXPECT_EQ(shipped.answer, std::optional<int64_t>(attempt.shipped));
      }
    }
    EXPECT_GE(killed, at_least_killed);
    EXPECT_EQ(host_.Read("secret"), "outside");
    EXPECT_EQ(host_.StrictSnapshot().at("secret"), beside.at("secret"));
  }

  void ExpectOtherWallsHold(const Mode& mode, std::span<const Attempt> attempts = kAttempts) {
    for (const Attempt& attempt : attempts) {
      if (attempt.bare.empty()) continue;
      const Outcome bare = Try(attempt, mode, "none");
      SCOPED_TRACE(absl::StrCat(mode.name, ", without seccomp: ", attempt.name, ": ",
                                Describe(bare.answer, bare.signal)));
      ASSERT_TRUE(bare.answer.has_value());
      EXPECT_FALSE(bare.outside);
      EXPECT_TRUE(attempt.bare.count(*bare.answer >= 0 && *bare.answer != 0 ? kHarmless
                                                                            : *bare.answer) > 0);
    }
    EXPECT_EQ(host_.Read("secret"), "outside");
  }

  const TempTree host_;
  struct stat secret_;
};

const Mode kNamespace = {"namespace", {}, true};
const Mode kRootless = {"namespace without root", {}, false};
const Mode kChroot = {"chroot", {"--sandbox=chroot"}, true};
const Mode kHostSockets = {"host sockets", {"--host_uds=all"}, true};

TEST_F(EscapeTest, Namespace) { ExpectNoWayOut(kNamespace); }
TEST_F(EscapeTest, NamespaceWithoutRoot) { ExpectNoWayOut(kRootless); }
TEST_F(EscapeTest, Chroot) { ExpectNoWayOut(kChroot); }
TEST_F(EscapeTest, HostSockets) {
  ExpectNoWayOut(kHostSockets, kHostSocketAttempts, /*at_least_killed=*/4);
}

TEST_F(EscapeTest, NamespaceHoldsWithoutSeccomp) { ExpectOtherWallsHold(kNamespace); }
TEST_F(EscapeTest, NamespaceWithoutRootHoldsWithoutSeccomp) { ExpectOtherWallsHold(kRootless); }
TEST_F(EscapeTest, HostSocketsHoldWithoutSeccomp) {
  ExpectOtherWallsHold(kHostSockets, kHostSocketAttempts);
}

// With --sandbox=none the host's files are in sight, and Landlock is what is left.
TEST_F(EscapeTest, LandlockAlone) {
  if (syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2) {
    GTEST_SKIP() << "the kernel has no Landlock to speak of";
  }
  const auto open = [](uint64_t flags) {
    return Attempt{"open a file beside the tree",
                   [flags](const Prison& p) {
                     const uint64_t path = p.thread.PutString("../secret");
                     return p.thread.Call(SYS_openat, {p.root, path, flags});
                   },
                   0,
                   {}};
  };
  const Mode none = {"none", {"--sandbox=none"}, true};
  EXPECT_EQ(Try(open(O_RDONLY), none, "kill").answer, std::optional<int64_t>(-EACCES));
  EXPECT_EQ(Try(open(O_WRONLY), none, "kill").answer, std::optional<int64_t>(-EACCES));
  const Mode off = {"none", {"--sandbox=none", "--landlock=off"}, true};
  EXPECT_TRUE(Try(open(O_RDONLY), off, "kill").outside) << "the test can see an escape";
}

}  // namespace
}  // namespace gofer::testing
