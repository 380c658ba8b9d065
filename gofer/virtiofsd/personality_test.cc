// The binary under the name of virtiofsd, as a process: what the programs that start it see of it.

#include "gofer/virtiofsd/personality.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"

namespace gofer::virtiofsd {
namespace {

using testing::GoferProcess;
using testing::GoferStart;

constexpr uint32_t kNobody = 65534;

struct sockaddr_un Address(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  CHECK_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, path.size());
  return address;
}

UniqueFd NewSocket() { return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

// Once somebody listens there.
UniqueFd ConnectTo(const std::string& path) {
  const struct sockaddr_un address = Address(path);
  UniqueFd socket;
  EXPECT_TRUE(testing::Eventually([&] {
    socket = NewSocket();
    return connect(socket.get(), reinterpret_cast<const struct sockaddr*>(&address),
                   sizeof(address)) == 0;
  })) << "nobody listens at "
      << path;
  return socket;
}

UniqueFd ListenAt(const std::string& path) {
  const struct sockaddr_un address = Address(path);
  UniqueFd socket = NewSocket();
  PCHECK(bind(socket.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof(address)) ==
         0);
  PCHECK(listen(socket.get(), 1) == 0);
  return socket;
}

std::string StatusOf(pid_t pid, const std::string& name) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (absl::StartsWith(line, name + ":\t")) return line.substr(name.size() + 2);
  }
  return "(none)";
}

// The child that serves: the one with a pid namespace of its own.
pid_t Service(const GoferProcess& gofer) {
  pid_t service = -1;
  const bool found = testing::Eventually([&] {
    std::ifstream children(absl::StrCat("/proc/", gofer.pid(), "/task/", gofer.pid(), "/children"));
    while (children >> service) {
      if (absl::StrContains(StatusOf(service, "NSpid"), "\t")) return true;
    }
    return false;
  });
  CHECK(found) << gofer.Stderr();  // -1 is everybody for kill(2)
  return service;
}

// Whether the process comes to be like that; it may be on its way.
bool Becomes(pid_t pid, const std::string& name, absl::string_view value) {
  return testing::Eventually([&] { return StatusOf(pid, name) == value; });
}

// Waits until the last step of confinement is done.
void AwaitConfinement(pid_t pid) {
  EXPECT_TRUE(Becomes(pid, "Seccomp", "2")) << StatusOf(pid, "Seccomp");
}

bool IsAlive(pid_t pid) {
  const std::string state = StatusOf(pid, "State");
  return state != "(none)" && state[0] != 'Z';
}

bool EndsSoon(pid_t pid) {
  return testing::Eventually([&] { return !IsAlive(pid); });
}

class PersonalityTest : public ::testing::Test {
 protected:
  PersonalityTest() {
    share_.Write("file", "content");
    share_.Mkdir("sub");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  std::unique_ptr<GoferProcess> Run(std::vector<std::string> arguments, std::map<int, int> fds = {},
                                    std::vector<std::string> environment = {}) {
    return std::make_unique<GoferProcess>(GoferStart{.name = "/usr/libexec/virtiofsd",
                                                     .arguments = std::move(arguments),
                                                     .fds = std::move(fds),
                                                     .environment = std::move(environment)});
  }
  // With a directory and a socket.
  std::unique_ptr<GoferProcess> Serve(std::vector<std::string> further = {},
                                      std::vector<std::string> environment = {}) {
    std::vector<std::string> arguments = {Share(), absl::StrCat("--socket-path=", Socket())};
    arguments.insert(arguments.end(), further.begin(), further.end());
    return Run(std::move(arguments), {}, std::move(environment));
  }
  std::string Share() const { return absl::StrCat("--shared-dir=", share_.path()); }
  std::string Socket() const { return run_.At("vfs.sock"); }

  // Status and all output of one that ends by itself.
  std::string Outcome(std::vector<std::string> arguments, std::map<int, int> fds = {}) {
    const auto gofer = Run(std::move(arguments), std::move(fds));
    const int status = gofer->Wait();
    return absl::StrCat(status, " ", gofer->Stdout(), gofer->Stderr());
  }
  // The last line alone: the log is before it.
  std::string LastLine(std::vector<std::string> further) {
    const auto gofer = Serve(std::move(further));
    const int status = gofer->Wait();
    std::string text = gofer->Stderr();
    if (!text.empty()) text.pop_back();
    return absl::StrCat(status, " ", text.substr(text.rfind('\n') + 1));
  }

  const testing::TempTree share_;
  const testing::TempTree run_;
};

TEST_F(PersonalityTest, ServesOneMonitorAndEndsWhenItHasGone) {
  const auto gofer = Serve();
  UniqueFd monitor = ConnectTo(Socket());
  EXPECT_EQ(run_.Stat("vfs.sock").st_mode, S_IFSOCK | 0600u);
  EXPECT_EQ(run_.Read("vfs.sock.pid"), absl::StrCat(gofer->pid(), "\n"));
  EXPECT_EQ(run_.Stat("vfs.sock.pid").st_mode, S_IFREG | 0600u);
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_TRUE(gofer->Running());
  monitor.Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_EQ(gofer->Stdout(), "");
}

TEST_F(PersonalityTest, AMonitorThatBreaksTheProtocolIsAFailure) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  const uint32_t no_such_version[] = {1, 7, 0};
  ASSERT_EQ(send(monitor.get(), no_such_version, sizeof(no_such_version), 0),
            ssize_t{sizeof(no_such_version)});
  EXPECT_EQ(gofer->Wait(), 1) << gofer->Stderr();
  EXPECT_TRUE(absl::StrContains(gofer->Stderr(), "gofer: virtiofsd: vhost-user: "));
}

TEST_F(PersonalityTest, ASecondMonitorFindsNobody) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  const struct sockaddr_un address = Address(Socket());
  // It has stopped listening as soon as it has taken the first one in.
  int error = 0;
  EXPECT_TRUE(testing::Eventually([&] {
    const UniqueFd second = NewSocket();
    if (connect(second.get(), reinterpret_cast<const struct sockaddr*>(&address),
                sizeof(address)) == 0) {
      return false;
    }
    error = errno;
    return true;
  })) << "it still listens";
  EXPECT_EQ(error, ECONNREFUSED);
}

TEST_F(PersonalityTest, ASecondOneWithTheSameSocketDoesNotStart) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  EXPECT_EQ(LastLine({}), absl::StrCat("1 gofer: virtiofsd: pid file ", Socket(),
                                       ".pid: another process holds it and serves already"));
  EXPECT_TRUE(gofer->Running());
}

TEST_F(PersonalityTest, WhatACrashLeftBehindIsReplaced) {
  ListenAt(Socket()).Reset();
  run_.Write("vfs.sock.pid", "123456789\n", 0600);
  const auto gofer = Serve();
  UniqueFd monitor = ConnectTo(Socket());
  EXPECT_EQ(run_.Read("vfs.sock.pid"), absl::StrCat(gofer->pid(), "\n"));
  monitor.Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

TEST_F(PersonalityTest, ASocketByDescriptorListeningOrConnected) {
  UniqueFd listener = ListenAt(Socket());
  auto gofer = Run({Share(), "--fd=8"}, {{8, listener.get()}});
  listener.Reset();
  ConnectTo(Socket()).Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_FALSE(run_.Exists("vfs.sock.pid"));

  testing::SocketPair pair = testing::StreamPair();
  gofer = Run({Share(), "--fd", "9"}, {{9, pair.theirs.get()}});
  pair.theirs.Reset();
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_TRUE(gofer->Running()) << gofer->Stderr();
  pair.ours.Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  EXPECT_EQ(Outcome({Share(), "--fd=77"}).substr(0, 1), "1");
}

TEST_F(PersonalityTest, ASocketFromTheServiceManager) {
  const UniqueFd listener = ListenAt(Socket());
  UniqueFd monitor = ConnectTo(Socket());  // waits in the backlog
  monitor.Reset();
  const std::string binary = testing::GoferBinary();
  const testing::ChildEnd end = testing::InChild([&] {
    PCHECK(dup2(listener.get(), 3) == 3 && fcntl(3, F_SETFD, 0) == 0);
    const std::string share = Share(), pid = absl::StrCat("LISTEN_PID=", getpid());
    const char* const arguments[] = {"virtiofsd", share.c_str(), nullptr};
    const char* const environment[] = {pid.c_str(), "LISTEN_FDS=1", nullptr};
    execve(binary.c_str(), const_cast<char**>(arguments), const_cast<char**>(environment));
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_EQ(Outcome({Share()}), "2 gofer: virtiofsd: no socket: give --socket-path or --fd\n");
}

TEST_F(PersonalityTest, SignalsEndIt) {
  for (const int signal : {SIGTERM, SIGHUP, SIGINT}) {
    const auto gofer = Serve();
    const UniqueFd monitor = ConnectTo(Socket());
    const pid_t service = Service(*gofer);
    const testing::Stopwatch watch;
    gofer->Signal(signal);
    EXPECT_EQ(gofer->Wait(), 1) << signal << gofer->Stderr();
    EXPECT_LT(watch.Elapsed(), absl::Seconds(2));
    EXPECT_FALSE(IsAlive(service));
  }
}

TEST_F(PersonalityTest, ASignalWhileItStartsIsNotLost) {
  for (int delay_us = 0; delay_us < 40'000; delay_us += 2'000) {
    const auto gofer = Serve();
    absl::SleepFor(absl::Microseconds(delay_us));
    gofer->Signal(SIGTERM);
    const int status = gofer->Wait();
    EXPECT_TRUE(status == 1 || status == -SIGTERM) << status << " after " << delay_us;
  }
}

TEST_F(PersonalityTest, TheServiceDoesNotOutliveTheOneThatWasStarted) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  const pid_t service = Service(*gofer);
  gofer->Signal(SIGKILL);
  EXPECT_EQ(gofer->Wait(), -SIGKILL);
  EXPECT_TRUE(EndsSoon(service));
}

TEST_F(PersonalityTest, TheOneThatWasStartedEndsAsTheServiceDoes) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  ASSERT_EQ(kill(Service(*gofer), SIGKILL), 0);
  EXPECT_EQ(gofer->Wait(), 256 - SIGKILL) << "minus the signal, as far as a status can say it";
  EXPECT_TRUE(absl::StrContains(gofer->Stderr(), "the serving process was ended by signal 9"));
}

TEST_F(PersonalityTest, WhatIsInForceByDefault) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  const pid_t service = Service(*gofer);
  // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, MKNOD, SETFCAP.
  AwaitConfinement(service);
  EXPECT_EQ(StatusOf(service, "CapEff"), "00000000880000db");
  EXPECT_EQ(StatusOf(service, "CapPrm"), "00000000880000db");
  EXPECT_EQ(StatusOf(service, "CapBnd"), "00000000880000db");
  EXPECT_EQ(StatusOf(service, "Groups"), " ") << "none";
#ifndef GOFER_SANITIZER
  EXPECT_EQ(StatusOf(service, "Seccomp"), "2");
#endif
  EXPECT_EQ(StatusOf(service, "NSpid"), absl::StrCat(service, "\t1"));
  // The one that was started goes its own way meanwhile; giving up new privileges is its last step.
  EXPECT_TRUE(Becomes(gofer->pid(), "NoNewPrivs", "1"));
  EXPECT_EQ(StatusOf(gofer->pid(), "CapEff"), "0000000000000000") << "it only waits";
  EXPECT_EQ(StatusOf(gofer->pid(), "CapPrm"), "0000000000000000");
  struct stat root, served;
  ASSERT_EQ(stat(absl::StrCat("/proc/", service, "/root").c_str(), &root), 0);
  ASSERT_EQ(stat(share_.path().c_str(), &served), 0);
  EXPECT_EQ(root.st_ino, served.st_ino) << "the shared directory is all that there is";
  for (const char* const name : {"mnt", "ipc", "net", "uts", "pid"}) {
    char ours[64] = {}, theirs[64] = {};
    ASSERT_GT(readlink(absl::StrCat("/proc/self/ns/", name).c_str(), ours, sizeof(ours) - 1), 0);
    ASSERT_GT(
        readlink(absl::StrCat("/proc/", service, "/ns/", name).c_str(), theirs, sizeof(theirs) - 1),
        0);
    EXPECT_STRNE(ours, theirs) << name;
  }
}

TEST_F(PersonalityTest, TheOneThatWaitsHoldsNoSocket) {
  const auto gofer = Serve();
  const UniqueFd monitor = ConnectTo(Socket());
  EXPECT_TRUE(testing::Eventually([&] { return gofer->OpenFds().size() <= 5; }))
      << gofer->OpenFds().size() << " instead of standard streams, signals, and the service";
}

TEST_F(PersonalityTest, CapabilitiesByName) {
  auto gofer = Serve({"--modcaps=+sys_admin:-MKNOD", "--sandbox=chroot"});
  UniqueFd monitor = ConnectTo(Socket());
  AwaitConfinement(gofer->pid());
  EXPECT_EQ(gofer->Status("CapEff"), "00000000802000db");
  gofer = Serve({"--inode-file-handles=prefer", "--sandbox=chroot",
                 absl::StrCat("--socket-path=", run_.At("other"))});
  monitor = ConnectTo(run_.At("other"));
  AwaitConfinement(gofer->pid());
  EXPECT_EQ(gofer->Status("CapEff"), "00000000880000df") << "and DAC_READ_SEARCH";
}

TEST_F(PersonalityTest, LooserSandboxes) {
  for (const char* const mode : {"--sandbox=chroot", "--sandbox=none", "-osandbox=chroot"}) {
    const auto gofer = Serve({mode});
    UniqueFd monitor = ConnectTo(Socket());
    AwaitConfinement(gofer->pid());
    EXPECT_EQ(gofer->Status("CapEff"), "00000000880000db") << mode;
    EXPECT_EQ(StatusOf(gofer->pid(), "NSpid"), absl::StrCat(gofer->pid())) << "one process";
    monitor.Reset();
    EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  }
}

TEST_F(PersonalityTest, ALinkToTheDirectoryIsFollowedOnce) {
  run_.Symlink("link", share_.path());
  const auto gofer = Serve({absl::StrCat("--shared-dir=", run_.At("link"))});
  ConnectTo(Socket()).Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

TEST_F(PersonalityTest, WhatTheHostMountsLaterShowsUp) {
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    const char* const share = share_.path().c_str();
    ASSERT_EQ(mount(share, share, nullptr, MS_BIND, nullptr), 0);
    ASSERT_EQ(mount(nullptr, share, nullptr, MS_SHARED, nullptr), 0);
    const auto gofer = Serve();
    const UniqueFd monitor = ConnectTo(Socket());
    const pid_t service = Service(*gofer);
    AwaitConfinement(service);
    ASSERT_EQ(mount("tmpfs", share_.At("sub").c_str(), "tmpfs", 0, nullptr), 0);
    struct stat mounted, seen;
    ASSERT_EQ(stat(share_.At("sub").c_str(), &mounted), 0);
    ASSERT_EQ(stat(absl::StrCat("/proc/", service, "/root/sub").c_str(), &seen), 0);
    EXPECT_EQ(seen.st_dev, mounted.st_dev);
    // And nothing that the service could mount would come out again.
    std::ifstream mounts(absl::StrCat("/proc/", service, "/mountinfo"));
    for (std::string line; std::getline(mounts, line);) {
      EXPECT_FALSE(absl::StrContains(line, " shared:")) << line;
    }
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(PersonalityTest, TheSocketsGroup) {
  const struct group* const group = getgrgid(1);
  ASSERT_NE(group, nullptr);
  const auto gofer = Serve({absl::StrCat("--socket-group=", group->gr_name)});
  const UniqueFd monitor = ConnectTo(Socket());
  EXPECT_EQ(run_.Stat("vfs.sock").st_mode, S_IFSOCK | 0660u);
  EXPECT_EQ(run_.Stat("vfs.sock").st_gid, 1u);
  EXPECT_EQ(run_.Stat("vfs.sock").st_uid, geteuid());
  EXPECT_EQ(
      LastLine({"--socket-group=no such group", absl::StrCat("--socket-path=", run_.At("other"))}),
      absl::StrCat("1 gofer: virtiofsd: group no such group of socket ", run_.At("other"),
                   ": ENOENT (No such file or directory)"));
}

TEST_F(PersonalityTest, TheLimitOfDescriptors) {
  const auto gofer = Serve({"--rlimit-nofile=2000", "--sandbox=none"});
  const UniqueFd monitor = ConnectTo(Socket());
  std::ifstream limits(absl::StrCat("/proc/", gofer->pid(), "/limits"));
  const std::string text((std::istreambuf_iterator<char>(limits)), {});
  EXPECT_TRUE(absl::StrContains(text, "Max open files            2000                 2000"))
      << text;
  const std::string other = absl::StrCat("--socket-path=", run_.At("other"));
  EXPECT_EQ(LastLine({other, "--rlimit-nofile=600"}),
            "1 gofer: virtiofsd: the limit of open descriptors is 600, and has to be 610 at least");
  EXPECT_EQ(LastLine({other, "--rlimit-nofile=18446744073709551615"}).substr(0, 46),
            "1 gofer: virtiofsd: --rlimit-nofile=1844674407");
}

TEST_F(PersonalityTest, OldFormsAreWarnedOf) {
  const auto gofer = Run({"--socket", Socket(), "-f", "-d", "-o",
                          absl::StrCat("source=", share_.path(), ",cache=none,no_posix_lock")});
  ConnectTo(Socket()).Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
  for (const char* const warning :
       {"-f is deprecated", "-d is deprecated", "-o is deprecated", "--socket is deprecated"}) {
    EXPECT_TRUE(absl::StrContains(gofer->Stderr(), warning)) << warning;
  }
}

TEST_F(PersonalityTest, TheLogsLevel) {
  auto gofer = Serve({"--log-level=off"});
  ConnectTo(Socket()).Reset();
  EXPECT_EQ(gofer->Wait(), 0);
  EXPECT_EQ(gofer->Stderr(), "");
  gofer = Serve({"--log-level=info"}, {"GOFER_LOG_LEVEL=OFF", "RUST_LOG=debug"});
  ConnectTo(Socket()).Reset();
  EXPECT_EQ(gofer->Wait(), 0);
  EXPECT_EQ(gofer->Stderr(), "") << "the variable counts more";
  gofer = Serve({}, {"GOFER_LOG_LEVEL=loud"});
  EXPECT_EQ(gofer->Wait(), 2);
  EXPECT_EQ(gofer->Stderr(),
            "gofer: virtiofsd: GOFER_LOG_LEVEL=loud: is not one of error, warn, info, debug, "
            "trace, off\n");
}

TEST_F(PersonalityTest, Syslog) {
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    ASSERT_EQ(mount("tmpfs", "/dev", "tmpfs", 0, nullptr), 0);
    const struct sockaddr_un address = Address("/dev/log");
    const UniqueFd syslog(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(
        bind(syslog.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof(address)), 0);
    const auto gofer = Serve({"--syslog"});
    ConnectTo(Socket()).Reset();
    EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
    EXPECT_EQ(gofer->Stderr(), "");
    bool last = false;
    const std::string head = absl::StrCat("<14>gofer[", gofer->pid(), "]: ");
    for (char record[1024] = {}; recv(syslog.get(), record, sizeof(record) - 1, MSG_DONTWAIT) > 0;
         std::fill(std::begin(record), std::end(record), '\0')) {
      last = absl::StartsWith(record, head);
    }
    EXPECT_TRUE(last) << "also from the process that serves";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(PersonalityTest, WithoutSyslogTheLogIsOnStderr) {
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    ASSERT_EQ(mount("tmpfs", "/dev", "tmpfs", 0, nullptr), 0);
    const auto gofer = Serve({"--syslog"});
    ConnectTo(Socket()).Reset();
    EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
    EXPECT_TRUE(absl::StrContains(gofer->Stderr(), "no syslog at /dev/log: ENOENT"));
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(PersonalityTest, WhatOnlyPrints) {
  EXPECT_EQ(Outcome({"--print-capabilities"}),
            "0 {\n  \"type\": \"fs\",\n  \"features\": [\n    \"migrate-precopy\",\n    "
            "\"separate-options\"\n  ]\n}\n");
  EXPECT_EQ(Outcome({"--print-capabilities", "--shared-dir=/none", "--cache=never"}).substr(0, 3),
            "0 {");
  EXPECT_EQ(Outcome({"--version"}).substr(0, 19), "0 virtiofsd 1.13.2 ");
  EXPECT_EQ(Outcome({"-h"}).substr(0, 30), "0 Launch a virtiofsd backend.\n");
  const auto nothing = Run({});
  EXPECT_EQ(nothing->Wait(), 2);
  EXPECT_EQ(nothing->Stdout(), "");
  EXPECT_EQ(nothing->Stderr().substr(0, 28), "Launch a virtiofsd backend.\n");
}

// What management reads instead of asking the program.
TEST_F(PersonalityTest, TheDiscoveryFileSaysTheSame) {
  std::ifstream file("gofer/virtiofsd/50-gofer.json");
  const std::string json((std::istreambuf_iterator<char>(file)), {});
  const std::string printed = Outcome({"--print-capabilities"}).substr(2);
  const auto without_blanks = [](std::string text) {
    text.erase(std::remove_if(text.begin(), text.end(), absl::ascii_isspace), text.end());
    return text;
  };
  EXPECT_EQ(
      without_blanks(json),
      without_blanks(absl::StrCat("{\"description\": \"gofer, a virtio-fs daemon\", \"binary\": "
                                  "\"/usr/local/libexec/virtiofsd\",",
                                  printed.substr(1))));
}

TEST_F(PersonalityTest, TheFirstWordChoosesItToo) {
  GoferStart start;
  start.arguments = {"virtiofsd", "--version"};
  GoferProcess process(start);
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_EQ(process.Stdout().substr(0, 17), "virtiofsd 1.13.2 ");
}

TEST_F(PersonalityTest, WrongUseIsOneLineAndStatusTwo) {
  EXPECT_EQ(Outcome({"--no-such-option"}),
            "2 gofer: virtiofsd: there is no option --no-such-option\n");
  EXPECT_EQ(Outcome({Share(), "--fd=3", "--socket-path=/run/s"}),
            "2 gofer: virtiofsd: --fd cannot be used with --socket-path or --socket\n");
  EXPECT_EQ(Outcome({"--socket-path", Socket()}),
            "2 gofer: virtiofsd: --shared-dir is missing: the directory to share\n");
  EXPECT_FALSE(run_.Exists("vfs.sock"));
}

TEST_F(PersonalityTest, WhatGoesWrongAtTheStartIsStatusOne) {
  EXPECT_EQ(LastLine({"--shared-dir=/none"}),
            "1 gofer: virtiofsd: --shared-dir=/none: ENOENT (No such file or directory)");
  EXPECT_EQ(LastLine({absl::StrCat("--shared-dir=", share_.At("file"))}),
            absl::StrCat("1 gofer: virtiofsd: --root=", share_.At("file"), ": is not a directory"));
  EXPECT_EQ(LastLine({"--socket-path=/none/vfs.sock"}),
            "1 gofer: virtiofsd: --socket-path=/none/vfs.sock: its directory: ENOENT (No such "
            "file or directory)");
  EXPECT_EQ(LastLine({"--modcaps=+flying"}),
            "1 gofer: virtiofsd: --modcaps=+flying: there is no capability \"flying\"");
  EXPECT_EQ(LastLine({"--inode-file-handles=mandatory", "--modcaps=-dac_read_search"}),
            "1 gofer: virtiofsd: --modcaps=-dac_read_search: --inode-file-handles needs "
            "dac_read_search");
  EXPECT_EQ(LastLine({"--translate-uid=map:0:0:5", "--translate-uid=guest:4:9:1"}),
            "1 gofer: virtiofsd: --translate-uid: rule \"guest:4:9:1\": overlaps an earlier rule "
            "for ids of the guest");
  EXPECT_EQ(LastLine({"--migration-mode=file-handles", "--migration-confirm-paths"}),
            "1 gofer: virtiofsd: --migration-confirm-paths cannot be used with "
            "--migration-mode=file-handles, which has no paths");
  EXPECT_EQ(LastLine({"--uid-map=:0:0:1:"}),
            "1 gofer: virtiofsd: --uid-map and --gid-map are for --sandbox=namespace without root "
            "alone");
  EXPECT_TRUE(absl::EndsWith(
      Outcome({"-o", "xattr", absl::StrCat("--socket-path=", Socket())}),
      "\ngofer: virtiofsd: no directory to share: give --shared-dir or -o source=\n"))
      << "after the warning about -o";
}

// As somebody who is not root.
class UnprivilegedTest : public PersonalityTest {
 protected:
  UnprivilegedTest() {
    PCHECK(chmod(share_.path().c_str(), 0777) == 0);
    PCHECK(chmod(run_.path().c_str(), 0777) == 0);
  }
  std::unique_ptr<GoferProcess> ServeAsNobody(std::vector<std::string> further,
                                              std::vector<std::string> environment = {}) {
    std::vector<std::string> arguments = {Share(), absl::StrCat("--socket-path=", Socket())};
    arguments.insert(arguments.end(), further.begin(), further.end());
    return std::make_unique<GoferProcess>(GoferStart{.name = "virtiofsd",
                                                     .arguments = std::move(arguments),
                                                     .fds = {},
                                                     .environment = std::move(environment),
                                                     .user = kNobody});
  }
  std::string LastLineAsNobody(std::vector<std::string> further,
                               std::vector<std::string> environment = {}) {
    const auto gofer = ServeAsNobody(std::move(further), std::move(environment));
    const int status = gofer->Wait();
    std::string text = gofer->Stderr();
    if (!text.empty()) text.pop_back();
    return absl::StrCat(status, " ", text.substr(text.rfind('\n') + 1));
  }
  static std::string MapOf(pid_t pid, absl::string_view name) {
    std::ifstream file(absl::StrCat("/proc/", pid, "/", name));
    uint32_t inside = 0, outside = 0, count = 0;
    file >> inside >> outside >> count;
    return absl::StrCat(inside, " ", outside, " ", count);
  }
};

TEST_F(UnprivilegedTest, ANamespaceOfUsersWithOneselfInIt) {
  const auto gofer = ServeAsNobody({});
  UniqueFd monitor = ConnectTo(Socket());
  const pid_t service = Service(*gofer);
  AwaitConfinement(service);
  EXPECT_EQ(MapOf(service, "uid_map"), "65534 65534 1");
  EXPECT_EQ(MapOf(service, "gid_map"), "65534 65534 1");
  EXPECT_EQ(StatusOf(service, "CapEff"), "00000000880000db");
  struct stat root, served;
  ASSERT_EQ(stat(absl::StrCat("/proc/", service, "/root").c_str(), &root), 0);
  ASSERT_EQ(stat(share_.path().c_str(), &served), 0);
  EXPECT_EQ(root.st_ino, served.st_ino);
  EXPECT_EQ(run_.Read("vfs.sock.pid"), absl::StrCat(gofer->pid(), "\n"));
  monitor.Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

TEST_F(UnprivilegedTest, OneselfAsRootOfTheNamespace) {
  const auto gofer = ServeAsNobody({"--uid-map=:0:65534:1:", "--gid-map=:0:65534:1:"});
  UniqueFd monitor = ConnectTo(Socket());
  const pid_t service = Service(*gofer);
  EXPECT_EQ(MapOf(service, "uid_map"), "0 65534 1");
  monitor.Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

// With the system's own newuidmap, and files of ranges that are the test's.
TEST_F(UnprivilegedTest, RangesOfTheSystem) {
  if (access("/usr/bin/newuidmap", X_OK) != 0) GTEST_SKIP() << "there is no newuidmap here";
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    run_.Write("subids", "nobody:100000:65536\n");
    for (const char* const file : {"/etc/subuid", "/etc/subgid"}) {
      ASSERT_EQ(mount(run_.At("subids").c_str(), file, nullptr, MS_BIND, nullptr), 0) << file;
    }
    auto gofer = ServeAsNobody(
        {"--uid-map=:0:65534:1:", "--uid-map=:1:100000:1000:", "--gid-map=:0:100000:65536:"},
        {"PATH=/usr/bin"});
    UniqueFd monitor = ConnectTo(Socket());
    const pid_t service = Service(*gofer);
    EXPECT_EQ(MapOf(service, "uid_map"), "0 65534 1");
    EXPECT_EQ(MapOf(service, "gid_map"), "0 100000 65536");
    monitor.Reset();
    EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
    EXPECT_EQ(LastLineAsNobody({"--uid-map=:0:5000:10:"}, {"PATH=/usr/bin"}),
              "1 gofer: virtiofsd: --uid-map, --gid-map: newuidmap or newgidmap refused; its own "
              "words are above, and /etc/subuid and /etc/subgid say what it allows");
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(UnprivilegedTest, WhatOnlyRootCan) {
  EXPECT_EQ(LastLineAsNobody({"--sandbox=chroot"}),
            "1 gofer: virtiofsd: --sandbox=chroot is for root alone: use --sandbox=namespace");
  EXPECT_EQ(LastLineAsNobody({"--sandbox=none", "--gid-map=:0:65534:1:"}),
            "1 gofer: virtiofsd: --uid-map and --gid-map are for --sandbox=namespace without root "
            "alone");
}

TEST_F(UnprivilegedTest, NoSandbox) {
  const auto gofer = ServeAsNobody({"--sandbox=none"});
  UniqueFd monitor = ConnectTo(Socket());
  AwaitConfinement(gofer->pid());
  EXPECT_EQ(gofer->Status("CapEff"), "0000000000000000");
  monitor.Reset();
  EXPECT_EQ(gofer->Wait(), 0) << gofer->Stderr();
}

}  // namespace
}  // namespace gofer::virtiofsd
