#include "gofer/sys/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gofer/base/errno.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

void ExpectInChild(absl::FunctionRef<void()> body) {
  const testing::ChildEnd end = testing::InChild(body);
  EXPECT_EQ(end.status, 0) << end.stderr_text << " signal " << end.signal;
}

TEST(Descriptors, AllButTheKeptAreClosed) {
  ExpectInChild([] {
    for (const int fd : {10, 11, 20, 300}) ASSERT_EQ(dup2(0, fd), fd);
    const std::vector<int> keep = {20, -1, 11, 11, 5000};
    ASSERT_TRUE(CloseAllExcept(keep).ok());
    EXPECT_TRUE(IsOpen(0) && IsOpen(1) && IsOpen(2));
    EXPECT_TRUE(IsOpen(11) && IsOpen(20));
    EXPECT_FALSE(IsOpen(3) || IsOpen(10) || IsOpen(300) || IsOpen(-1));
  });
}

TEST(Descriptors, StandardStreamsAreOpenedWhereTheyAreMissing) {
  ExpectInChild([] {
    close(0);
    close(1);
    ASSERT_TRUE(OpenStandardStreams().ok());
    EXPECT_TRUE(IsOpen(0) && IsOpen(1));
    EXPECT_EQ(write(1, "x", 1), 1);
    EXPECT_FALSE(IsOpen(3) && IsOpen(4) && IsOpen(5)) << "and no more";
  });
}

TEST(Descriptors, CloseOnExecAndDuplicates) {
  ExpectInChild([] {
    ASSERT_EQ(dup2(0, 10), 10);
    ASSERT_TRUE(SetCloseOnExec(BorrowedFd(10)).ok());
    EXPECT_EQ(fcntl(10, F_GETFD), FD_CLOEXEC);
    ASSERT_TRUE(SetCloseOnExec(BorrowedFd(10), false).ok());
    EXPECT_EQ(fcntl(10, F_GETFD), 0);
    EXPECT_EQ(SetCloseOnExec(BorrowedFd(99)).error(), Errno(EBADF));
    ASSERT_TRUE(DuplicateAs(BorrowedFd(10), 12).ok());
    EXPECT_EQ(fcntl(12, F_GETFD), FD_CLOEXEC);
    ASSERT_TRUE(DuplicateAs(BorrowedFd(10), 2).ok());
    EXPECT_EQ(fcntl(2, F_GETFD), 0) << "a standard stream is inherited";
    EXPECT_TRUE(DuplicateAs(BorrowedFd(10), 10).ok());
  });
}

TEST(WholeReads, FromTheStartUpToALimit) {
  const testing::TempTree tree;
  const std::string content(40'000, 'c');
  tree.Write("file", content);
  const UniqueFd file(open(tree.At("file").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(lseek(file.get(), 0, SEEK_END), 40'000);
  EXPECT_EQ(*ReadToEnd(file, 40'000), content);
  EXPECT_EQ(ReadToEnd(file, 39'999).error(), Errno(EFBIG));

  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const UniqueFd reader(pipe_fds[0]);
  UniqueFd writer(pipe_fds[1]);
  ASSERT_TRUE(WriteAll(writer, "ab").ok());
  EXPECT_EQ(*ReadOneByte(reader), 1u);
  writer.Reset();
  EXPECT_EQ(*ReadToEnd(reader, 10), "b");
  EXPECT_EQ(*ReadOneByte(reader), 0u) << "end of file";
}

TEST(WholeWrites, AReaderThatIsGoneIsAnError) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const UniqueFd writer(pipe_fds[1]);
  close(pipe_fds[0]);
  ASSERT_TRUE(IgnoreSignal(SIGPIPE).ok());
  EXPECT_EQ(WriteAll(writer, "x").error(), Errno(EPIPE));
}

TEST(Identity, IdsAndGroups) {
  if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to be root";
  ExpectInChild([] {
    ASSERT_TRUE(DropSupplementaryGroups().ok());
    EXPECT_EQ(getgroups(0, nullptr), 0);
    ASSERT_TRUE(SetIds(1234, 2345).ok());
    uid_t uids[3];
    gid_t gids[3];
    getresuid(&uids[0], &uids[1], &uids[2]);
    getresgid(&gids[0], &gids[1], &gids[2]);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(uids[i] == 1234 && gids[i] == 2345);
    EXPECT_EQ(SetIds(0, 0).error(), Errno(EPERM));
  });
}

TEST(Identity, Privileges) {
  ExpectInChild([] {
    ASSERT_TRUE(SetNoNewPrivileges().ok());
    EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    ASSERT_TRUE(SetNotDumpable().ok());
    EXPECT_EQ(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    SetUmask(0);
    EXPECT_EQ(umask(022), 0u);
    ASSERT_TRUE(ChangeToRootDirectory().ok());
    char cwd[8];
    EXPECT_STREQ(getcwd(cwd, sizeof(cwd)), "/");
    EXPECT_EQ(ProcessId(), getpid());
  });
  if (!testing::IsPrivileged()) GTEST_SKIP() << "the rest needs to be root";
  ExpectInChild([] {
    ASSERT_TRUE(LockNoRoot().ok());
    EXPECT_EQ(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0), -1) << "for good";
  });
}

TEST(Limits, AreSetBothWays) {
  ExpectInChild([] {
    ASSERT_TRUE(SetLimit(RLIMIT_NOFILE, {.soft = 100, .hard = 200}).ok());
    const ErrnoOr<Limit> limit = GetLimit(RLIMIT_NOFILE);
    ASSERT_TRUE(limit.ok());
    EXPECT_EQ(limit->soft, 100u);
    EXPECT_EQ(limit->hard, 200u);
    EXPECT_EQ(SetLimit(RLIMIT_NOFILE, {.soft = 200, .hard = 100}).error(), Errno(EINVAL));
  });
}

TEST(Signals, AreReadFromADescriptor) {
  ExpectInChild([] {
    ASSERT_TRUE(IgnoreSignal(SIGUSR2).ok());
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    ResetSignals();
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, nullptr, &blocked);
    EXPECT_FALSE(sigismember(&blocked, SIGUSR1));
    struct sigaction action;
    sigaction(SIGUSR2, nullptr, &action);
    EXPECT_EQ(action.sa_handler, SIG_DFL);

    const int signals[] = {SIGTERM, SIGUSR1};
    const ErrnoOr<UniqueFd> fd = SignalDescriptor(signals);
    ASSERT_TRUE(fd.ok());
    EXPECT_EQ(ReadSignal(*fd).error(), Errno(EAGAIN));
    kill(getpid(), SIGUSR1);
    EXPECT_EQ(*ReadSignal(*fd), SIGUSR1);
  });
}

TEST(ConnectDatagram, ByPathAndByAbstractName) {
  const testing::TempTree tree;
  // An abstract name is the network namespace's, where processes of several pid namespaces may be.
  const std::string names[] = {tree.At("notify"), "@" + tree.At("notify")};
  for (const std::string& name : names) {
    const UniqueFd manager(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
    const auto length =
        static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(bind(manager.get(), reinterpret_cast<struct sockaddr*>(&address), length), 0) << name;
    const ErrnoOr<UniqueFd> socket = ConnectDatagram(name);
    ASSERT_TRUE(socket.ok()) << name;
    ASSERT_TRUE(WriteAll(*socket, "READY=1").ok());
    char text[16];
    EXPECT_EQ(recv(manager.get(), text, sizeof(text), 0), 7);
  }
  EXPECT_EQ(ConnectDatagram("").error(), Errno(EINVAL));
  EXPECT_EQ(ConnectDatagram(std::string(200, 'x')).error(), Errno(EINVAL));
}

}  // namespace
}  // namespace gofer::sys
