// Both ends of a control socket, on real socket pairs.

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/client.h"
#include "gofer/control/control.pb.h"
#include "gofer/control/frame.h"
#include "gofer/control/peer_judge.h"
#include "gofer/control/server.h"
#include "gtest/gtest.h"

namespace gofer::control {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// For an answer that comes.
absl::Time Late() { return absl::Now() + absl::Seconds(60); }

std::pair<UniqueFd, UniqueFd> StreamPair() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Answers purge with a number and two reports of progress, status with what a descriptor says,
// checkpoint by asking back, and fails stop.
class FakeHandler : public CommandHandler {
 public:
  Reply Handle(Received request, Client& client) override {
    Reply reply;
    if (request.request.has_purge()) {
      Progress report;
      for (uint64_t done = 1; done <= 2; ++done) {
        report.set_done(done);
        EXPECT_TRUE(client.Report(report));
      }
      reply.mutable_purged()->set_dentries(42);
    } else if (request.request.has_status()) {
      char byte = 0;
      if (request.descriptor.valid() && read(request.descriptor.get(), &byte, 1) == 1) {
        reply.mutable_status()->set_version(std::string(1, byte));
      }
      reply.mutable_status()->set_pid(getpid());
    } else if (request.request.has_checkpoint()) {
      reply.mutable_checkpoint()->set_names(1);
      const absl::StatusOr<Received> done =
          client.Ask(reply, absl::Milliseconds(patience_ms.load()));
      outcome = done.ok() && !done->request.has_checkpoint_done()
                    ? absl::InvalidArgumentError("not what was asked for")
                    : done.status();
      reply.mutable_stopping();
    } else {
      reply.mutable_failure()->set_message("it does not want to");
      reply.mutable_failure()->set_exit_status(3);
    }
    return reply;
  }

  std::atomic<int> patience_ms{60'000};                        // with that second request
  absl::Status outcome = absl::UnknownError("not asked yet");  // of a checkpoint's second request
};

class ControlTest : public ::testing::Test {
 protected:
  UniqueFd Connect() {
    auto [ours, theirs] = StreamPair();
    server_.Add(std::move(theirs));
    return std::move(ours);
  }
  static absl::StatusOr<Reply> Send(BorrowedFd socket, const Request& request,
                                    BorrowedFd descriptor = BorrowedFd(-1)) {
    return Command(socket, request, descriptor, [](const Progress&) {});
  }

  FakeHandler handler_;
  PeerJudge judge_{geteuid()};
  ControlServer server_{handler_, judge_};
};

Request Status() {
  Request request;
  request.mutable_status();
  return request;
}
Request Purge() {
  Request request;
  request.mutable_purge();
  return request;
}
Request Stop() {
  Request request;
  request.mutable_stop();
  return request;
}

TEST_F(ControlTest, SeveralCommandsOnOneSocket) {
  const UniqueFd socket = Connect();
  EXPECT_EQ(Send(socket, Status())->status().pid(), getpid());
  EXPECT_EQ(Send(socket, Purge())->purged().dentries(), 42u);
}

TEST_F(ControlTest, ProgressComesBeforeTheResult) {
  const UniqueFd socket = Connect();
  std::vector<uint64_t> seen;
  const absl::StatusOr<Reply> reply =
      Command(socket, Purge(), BorrowedFd(-1),
              [&](const Progress& progress) { seen.push_back(progress.done()); });
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(seen, ElementsAre(1, 2));
}

TEST_F(ControlTest, ACommandMayTakeTwoRequests) {
  const UniqueFd socket = Connect();
  Request first, second;
  first.mutable_checkpoint();
  second.mutable_checkpoint_done();
  EXPECT_EQ(Send(socket, first)->checkpoint().names(), 1u);
  EXPECT_TRUE(Send(socket, second)->has_stopping());
  EXPECT_EQ(handler_.outcome, absl::OkStatus());

  // The second does not come in time, or its sender has gone.
  handler_.patience_ms = 50;
  EXPECT_EQ(Send(socket, first)->checkpoint().names(), 1u);
  EXPECT_TRUE(ReceiveReply(socket, absl::InfiniteFuture())->has_stopping());
  EXPECT_EQ(handler_.outcome.code(), absl::StatusCode::kDeadlineExceeded);
  handler_.patience_ms = 60'000;
  EXPECT_EQ(Send(socket, first)->checkpoint().names(), 1u);
  shutdown(socket.get(), SHUT_WR);
  EXPECT_TRUE(ReceiveReply(socket, absl::InfiniteFuture())->has_stopping());
  EXPECT_EQ(handler_.outcome.code(), absl::StatusCode::kOutOfRange);
}

TEST_F(ControlTest, AFailureHasItsTextAndExitStatus) {
  const UniqueFd socket = Connect();
  const absl::Status status = Send(socket, Stop()).status();
  EXPECT_EQ(status.message(), "it does not want to");
  EXPECT_EQ(ExitStatusOf(status), 3);
}

TEST_F(ControlTest, ADescriptorTravelsAlong) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const UniqueFd reader(fds[0]);
  const UniqueFd writer(fds[1]);
  ASSERT_EQ(write(writer.get(), "x", 1), 1);
  const UniqueFd socket = Connect();
  EXPECT_EQ(Send(socket, Status(), reader)->status().version(), "x");
}

TEST_F(ControlTest, AStrangerIsTurnedAway) {
  // A socket pair has the effective ids of the thread that makes it. As root that thread becomes
  // somebody else, which no other thread sees; without the right to, the server is another's.
  constexpr uint32_t kSomebody = 54321;
  std::pair<UniqueFd, UniqueFd> pair;
  std::thread([&pair] {
    if (geteuid() == 0) {
      ASSERT_EQ(syscall(SYS_setresuid, -1, kSomebody, -1), 0);
    }
    pair = StreamPair();
  }).join();
  PeerJudge judge(geteuid() == 0 ? geteuid() : kSomebody);
  ControlServer server(handler_, judge);
  server.Add(std::move(pair.second));
  EXPECT_THAT(ReceiveReply(pair.first, Late())->failure().message(), HasSubstr("may command"));
}

TEST_F(ControlTest, TheNinthClientIsTurnedAwayUntilOneLeaves) {
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < Limits().clients; ++i) {
    clients.push_back(Connect());
    ASSERT_TRUE(Send(clients.back(), Status()).ok());
  }
  {
    const UniqueFd ninth = Connect();
    EXPECT_THAT(ReceiveReply(ninth, Late())->failure().message(), HasSubstr("8 clients"));
  }
  clients.pop_back();
  // Its thread has to see the end first.
  for (int tries = 0;; ++tries) {
    const UniqueFd again = Connect();
    if (Send(again, Status()).ok()) break;
    ASSERT_LT(tries, 1000);
    absl::SleepFor(absl::Milliseconds(5));
  }
}

struct BadBytes {
  const char* what;
  std::string bytes;
  const char* message;
};

class BadBytesTest : public ControlTest, public ::testing::WithParamInterface<BadBytes> {};

TEST_P(BadBytesTest, EndTheClientAndNobodyElse) {
  const UniqueFd honest = Connect();
  const UniqueFd socket = Connect();
  ASSERT_EQ(write(socket.get(), GetParam().bytes.data(), GetParam().bytes.size()),
            static_cast<ssize_t>(GetParam().bytes.size()));
  shutdown(socket.get(), SHUT_WR);
  const absl::StatusOr<Reply> reply = ReceiveReply(socket, Late());
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_THAT(reply->failure().message(), HasSubstr(GetParam().message));
  EXPECT_EQ(ReceiveReply(socket, Late()).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_TRUE(Send(honest, Status()).ok());
}

INSTANTIATE_TEST_SUITE_P(
    All, BadBytesTest,
    ::testing::Values(BadBytes{"half_a_size", std::string("\1\0", 2), "after 2 of 4 bytes"},
                      BadBytes{"no_body", std::string("\1\0\0\0", 4), "closed behind the size"},
                      BadBytes{"half_a_body", std::string("\4\0\0\0ab", 6), "after 2 of 4 bytes"},
                      BadBytes{"too_large", std::string("\0\0\1\1", 4), "the limit is 65536"},
                      BadBytes{"largest", std::string("\xff\xff\xff\xff", 4), "the limit is 65536"},
                      BadBytes{"no_message", std::string("\2\0\0\0\xff\xff", 6), "that are no"}),
    [](const auto& info) { return std::string(info.param.what); });

TEST_F(ControlTest, ASlowRequestRunsIntoTheDeadline) {
  auto [ours, theirs] = StreamPair();
  ASSERT_EQ(write(ours.get(), "\4\0\0\0ab", 6), 6);
  EXPECT_EQ(ReceiveRequest(theirs, absl::Now() + absl::Milliseconds(10)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ControlTest, StopCutsIdleClientsOff) {
  const UniqueFd socket = Connect();
  ASSERT_TRUE(Send(socket, Status()).ok());
  server_.Stop();
  EXPECT_FALSE(Send(socket, Status()).ok());
}

}  // namespace
}  // namespace gofer::control
