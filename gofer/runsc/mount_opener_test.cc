#include "gofer/runsc/mount_opener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "glog/logging.h"
#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

// Plays runsc: answers one request in two pieces, the first with a descriptor if there is one.
std::string Serve(int socket, const std::string& reply, int fd) {
  char request[4096];
  const ssize_t size = recv(socket, request, sizeof(request), 0);
  PCHECK(size > 0);
  struct iovec part = {.iov_base = const_cast<char*>(reply.data()), .iov_len = 1};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    struct cmsghdr* const record = CMSG_FIRSTHDR(&message);
    record->cmsg_level = SOL_SOCKET;
    record->cmsg_type = SCM_RIGHTS;
    record->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(record), &fd, sizeof(int));
  }
  PCHECK(sendmsg(socket, &message, 0) == 1);
  const auto rest = static_cast<ssize_t>(reply.size() - 1);
  PCHECK(send(socket, reply.data() + 1, reply.size() - 1, 0) == rest);
  shutdown(socket, SHUT_WR);
  return std::string(request, static_cast<size_t>(size));
}

struct Asked {
  absl::StatusOr<UniqueFd> file = absl::UnknownError("not asked");
  std::string request;
};

Asked Ask(const std::string& reply, int fd) {
  int sockets[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  const UniqueFd ours(sockets[0]), theirs(sockets[1]);
  Asked asked;
  std::thread runsc([&] { asked.request = Serve(theirs.get(), reply, fd); });
  oci::Mount mount;
  mount.set_source("/s");
  mount.set_destination("/d");
  mount.add_options("rbind");
  asked.file = OpenMountByRpc(ours, mount);
  runsc.join();
  return asked;
}

TEST(OpenMountByRpc, GetsTheDescriptor) {
  const UniqueFd file(open("/etc", O_PATH | O_CLOEXEC));
  const Asked asked = Ask(R"({"success":true,"err":"","result":{}})", file.get());
  ASSERT_TRUE(asked.file.ok()) << asked.file.status();
  EXPECT_GE(fcntl(asked.file->get(), F_GETFD), 0);
  EXPECT_EQ(
      asked.request,
      R"({"method":"goferToHostRPC.OpenMount","arg":{"destination":"/d","source":"/s","options":["rbind"],)"
      R"("Mount":{"destination":"/d","source":"/s","options":["rbind"]},"Flags":20480}})")
      << "both shapes that runsc has had; MS_BIND|MS_REC";
}

TEST(OpenMountByRpc, WhatRunscRefuses) {
  const Asked asked = Ask(R"({"success":false,"err":"no such mount","result":null})", -1);
  EXPECT_EQ(asked.file.status().message(), "ask runsc to open /s: no such mount");
}

TEST(OpenMountByRpc, AnswersThatMakeNoSense) {
  EXPECT_EQ(Ask(R"({"success":true})", -1).file.status().message(),
            "ask runsc to open /s: the answer has no descriptor");
  EXPECT_EQ(Ask(R"({"success":tr)", -1).file.status().message(),
            "ask runsc to open /s: runsc closed the connection");
}

}  // namespace
}  // namespace gofer::runsc
