// The commands as processes: a gofer that is saved and ended, another one that goes on for its
// clients, and what a person is told when files are not what they were.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gofer/control/client.h"
#include "gofer/control/control.pb.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using lisafs::FdId;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// What a command said, and its exit status.
struct Outcome {
  int status = 0;
  std::string out;
  std::string error;
};

class CommandsTest : public ::testing::Test {
 protected:
  CommandsTest() {
    tree_.Mkdir("dir");
    tree_.Write("dir/file", "content");
    tree_.Write("top", "top of the tree");
  }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  static Outcome Run(std::vector<std::string> arguments) {
    GoferProcess process({.arguments = std::move(arguments)});
    const int status = process.Wait();
    return {.status = status, .out = process.Stdout(), .error = process.Stderr()};
  }
  Outcome Command(absl::string_view command, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {std::string(command), "--control_socket=" + socket_});
    return Run(std::move(more));
  }
  Outcome Checkpoint(std::vector<std::string> more = {}) {
    more.push_back("--image_path=" + images_.path());
    return Command("checkpoint", std::move(more));
  }
  Outcome Inspect(std::vector<std::string> more) {
    more.insert(more.begin(), {"inspect", images_.path()});
    return Run(std::move(more));
  }
  std::string Root() const { return "--root=" + tree_.path(); }

  // Serves or restores, with one client handed down. Ready when this returns, or over.
  void Start(std::vector<std::string> arguments) {
    SocketPair client = StreamPair();
    Pipe ready = MakePipe();
    arguments.insert(arguments.end(),
                     {Root(), "--lisafs_fd=7", "--ready_fd=9", "--control_socket=" + socket_});
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = std::move(arguments),
                   .fds = {{7, client.theirs.get()}, {9, ready.write.get()}}});
    ready.write.Reset();
    ready_ = ReadPipe(ready.read);
    client_ = std::make_unique<lisafs::Client>(std::move(client.ours));
  }
  void Serve() {
    Start({"serve"});
    ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
    root_ = Must(client_->Mount()).root.control_fd;
  }
  void Restore(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"restore", "--image_path=" + images_.path()});
    gofer_->Wait();  // it has been told to end, and still has the control socket
    Start(std::move(more));
  }
  FdId Walk(FdId from, absl::string_view name) {
    lisafs::Inode inode;
    const absl::string_view names[] = {name};
    const lisafs::WalkResult walked = Must(client_->Walk(from, names, std::span(&inode, 1)));
    CHECK_EQ(walked.count, 1u) << name;
    return inode.control_fd;
  }
  FdId Open(absl::string_view name, int flags) {
    return Must(client_->OpenAt(Walk(root_, name), flags)).fd;
  }
  ErrnoOr<std::string> Read(FdId file) {
    std::string text(100, '\0');
    const auto size = client_->PRead(file, std::as_writable_bytes(std::span(text)), 0);
    if (!size.ok()) return size.error();
    text.resize(*size);
    return text;
  }
  int WriteError(FdId file) {
    const char byte = 'T';
    return ErrorOf(client_->PWrite(file, std::as_bytes(std::span(&byte, 1)), 0));
  }

  TempTree tree_;
  TempTree images_;
  TempTree run_;
  const std::string socket_ = run_.At("control");
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<lisafs::Client> client_;
  std::string ready_;
  FdId root_{};
};

TEST_F(CommandsTest, AnotherProcessGoesOnForTheClient) {
  Serve();
  const FdId file = Open("top", O_RDWR);
  const FdId gone = Open("top", O_RDONLY);
  Must(client_->Close({gone}));
  const Outcome saved = Checkpoint();
  EXPECT_EQ(saved.status, 0) << saved.error;
  EXPECT_THAT(saved.out, AllOf(HasSubstr("gofer.img"), HasSubstr("open files               1\n"),
                               HasSubstr("running                  no\n")));
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
  Restore();
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  EXPECT_EQ(*Read(file), "top of the tree");
  EXPECT_EQ(WriteError(file), 0);
  EXPECT_EQ(tree_.Read("top"), "Top of the tree");
  EXPECT_EQ(Read(gone).error(), EBADF);
  EXPECT_EQ(Must(client_->FStat(Walk(root_, "dir"))).ino, tree_.Stat("dir").st_ino);
  client_.reset();
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
}

TEST_F(CommandsTest, AGoferThatIsLeftRunningServesOn) {
  Serve();
  const FdId file = Open("top", O_RDWR);
  const Outcome saved = Checkpoint({"--leave_running", "--json"});
  EXPECT_EQ(saved.status, 0) << saved.error;
  EXPECT_THAT(saved.out, AllOf(HasSubstr("\"running\":true"), HasSubstr("\"clients\":1")));
  EXPECT_EQ(WriteError(file), 0);
  EXPECT_TRUE(gofer_->Running());
}

// They are written back at once, by a call that the system call filter must know.
TEST_F(CommandsTest, ManyFilesMayBeOpenForWriting) {
  Serve();
  std::vector<FdId> files;
  for (int i = 0; i < 40; ++i) {
    const std::string name = absl::StrCat("file", i);
    tree_.Write(name, "content");
    files.push_back(Open(name, O_RDWR));
    EXPECT_EQ(WriteError(files.back()), 0);
  }
  const Outcome saved = Checkpoint();
  EXPECT_EQ(saved.status, 0) << saved.error;
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
  Restore();
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  for (const FdId file : files) EXPECT_EQ(*Read(file), "Tontent");
}

TEST_F(CommandsTest, AFileThatTheHostHasMovedIsSavedUnderItsName) {
  Serve();
  const FdId file = Open("top", O_RDONLY);
  tree_.Rename("top", "dir/elsewhere");
  const Outcome saved = Checkpoint({"--confirm_paths"});
  EXPECT_EQ(saved.status, 0) << saved.error;
  EXPECT_THAT(saved.out, HasSubstr("paths repaired           1\n"));
  EXPECT_THAT(saved.error, HasSubstr("looking at paths"));
  Restore();
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  EXPECT_EQ(*Read(file), "top of the tree");
}

TEST_F(CommandsTest, MountsThatWereAddedAreAddedAgain) {
  const TempTree volume;
  volume.Write("inside", "of the volume");
  const std::string mounts = absl::StrCat("--mounts=", volume.path(), ":/dir");
  Start({"serve", mounts});
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  root_ = Must(client_->Mount()).root.control_fd;
  const FdId file = Must(client_->OpenAt(Walk(Walk(root_, "dir"), "inside"), O_RDONLY)).fd;
  ASSERT_EQ(Checkpoint().status, 0);
  Restore();
  EXPECT_EQ(ready_, "");
  EXPECT_EQ(gofer_->Wait(), 3);
  EXPECT_THAT(gofer_->Stdout(), HasSubstr("dir/inside"));
  Restore({mounts});
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  EXPECT_EQ(*Read(file), "of the volume");
}

TEST_F(CommandsTest, ASaveThatFailsLeavesTheGoferAndTheImage) {
  Serve();
  ASSERT_EQ(Checkpoint({"--leave_running"}).status, 0);
  const std::string before = images_.Read("gofer.img");
  const FdId file = Open("top", O_RDWR);
  Must(client_->UnlinkAt(root_, "top", 0));
  const Outcome refused = Checkpoint({"--max_deleted_bytes=3"});
  EXPECT_EQ(refused.status, 3);
  EXPECT_THAT(refused.error, HasSubstr("top"));
  EXPECT_EQ(Command("checkpoint", {"--image_path=" + images_.At("nowhere")}).status, 1);
  EXPECT_EQ(Command("checkpoint").status, 2);
  EXPECT_EQ(images_.Read("gofer.img"), before);
  EXPECT_THAT(images_.Snapshot(), ::testing::SizeIs(1));
  EXPECT_EQ(*Read(file), "top of the tree");
}

TEST_F(CommandsTest, WithoutTheWordThatTheImageIsInItsPlaceClientsAreServedOn) {
  Serve();
  const FdId file = Open("top", O_RDONLY);
  {
    const absl::StatusOr<UniqueFd> command = control::ConnectToGofer(socket_);
    ASSERT_TRUE(command.ok()) << command.status();
    const UniqueFd image(open(images_.At("file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    control::Request request;
    request.mutable_checkpoint();
    const absl::StatusOr<control::Reply> saved =
        control::Command(*command, request, image, [](const control::Progress&) {});
    ASSERT_TRUE(saved.ok()) << saved.status();
    EXPECT_GT(images_.Stat("file").st_size, 0);
  }
  EXPECT_EQ(*Read(file), "top of the tree");
  EXPECT_TRUE(gofer_->Running());
}

TEST_F(CommandsTest, ADifferenceIsReportedAndNothingIsServed) {
  Serve();
  const FdId file = Open("top", O_RDONLY);
  const FdId below = Must(client_->OpenAt(Walk(Walk(root_, "dir"), "file"), O_RDONLY)).fd;
  ASSERT_EQ(Checkpoint().status, 0);
  tree_.Write("top", "longer than what was there");
  tree_.Unlink("dir/file");

  const Outcome predicted = Inspect({"--verify", Root()});
  EXPECT_EQ(predicted.status, 3);
  Restore();
  EXPECT_EQ(ready_, "") << "closed without a newline";
  EXPECT_EQ(gofer_->Wait(), 3);
  EXPECT_EQ(gofer_->Stdout(), predicted.out);
  EXPECT_THAT(predicted.out, AllOf(HasSubstr("changed  /top: size 15 is now 26"),
                                   HasSubstr("missing  /dir/file: ")));
  EXPECT_THAT(gofer_->Stderr(), HasSubstr("2 of 4 files are not what they were"));

  Restore({"--on_mismatch=mark", "--json"});
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  EXPECT_THAT(gofer_->Stdout(), HasSubstr("\"verdict\":\"missing\""));
  EXPECT_EQ(Read(file).error(), ESTALE);
  EXPECT_EQ(Read(below).error(), ESTALE);
  EXPECT_EQ(*Read(Open("top", O_RDONLY)), "longer than what was there");
}

TEST_F(CommandsTest, ValidationIsByTheFlags) {
  Serve();
  const FdId file = Open("top", O_RDONLY);
  ASSERT_EQ(Checkpoint().status, 0);
  tree_.Write("top", "longer than what was there");
  EXPECT_EQ(Inspect({"--verify", Root(), "--validate_mtimes=false"}).status, 3);
  EXPECT_EQ(Inspect({"--verify", Root(), "--validate_file_sizes=false"}).status, 3);
  Restore({"--validate_mtimes=false", "--validate_file_sizes=false"});
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  EXPECT_EQ(*Read(file), "longer than what was there");
}

TEST_F(CommandsTest, AMovedFileIsFollowedWhenThatIsAskedFor) {
  Serve();
  const FdId file = Open("top", O_RDONLY);
  ASSERT_EQ(Checkpoint().status, 0);
  tree_.Rename("top", "dir/elsewhere");
  const Outcome predicted = Inspect({"--verify", Root()});
  EXPECT_EQ(predicted.status, 3);
  EXPECT_THAT(predicted.out, HasSubstr("moved  /top: is now /dir/elsewhere"));
  EXPECT_EQ(Inspect({"--verify", Root(), "--follow_moved"}).status, 0);
  Restore({"--follow_moved"});
  ASSERT_EQ(ready_, "\n") << gofer_->Stderr();
  EXPECT_EQ(*Read(file), "top of the tree");
}

TEST_F(CommandsTest, OtherWaysInThanTheSavedOnesAreRefused) {
  Serve();
  ASSERT_EQ(Checkpoint().status, 0);
  const std::string image = "--image_path=" + images_.path();
  const Outcome none = Run({"restore", Root(), image, "--lisafs_socket=" + run_.At("other")});
  EXPECT_EQ(none.status, 3);
  EXPECT_THAT(none.error, HasSubstr("1 LISAFS clients were saved, 0 descriptors"));
  Restore({"--readonly"});
  EXPECT_EQ(gofer_->Wait(), 3);
  EXPECT_THAT(gofer_->Stderr(), HasSubstr("--readonly=false"));
  Restore({"--on_mismatch=perhaps"});
  EXPECT_EQ(gofer_->Wait(), 2);
}

TEST_F(CommandsTest, AnImageIsKeptByItsKey) {
  run_.Write("key", "a secret");
  run_.Write("other", "another one");
  Serve();
  const std::string key = "--image_key_file=" + run_.At("key");
  ASSERT_EQ(Checkpoint({key}).status, 0);
  EXPECT_THAT(Inspect({}).error, HasSubstr("protected by a key"));
  EXPECT_EQ(Inspect({"--image_key_file=" + run_.At("other")}).status, 1);
  EXPECT_EQ(Inspect({key}).status, 0);
  Restore();
  EXPECT_EQ(gofer_->Wait(), 1);
  Restore({key});
  EXPECT_EQ(ready_, "\n") << gofer_->Stderr();
}

TEST_F(CommandsTest, ADamagedImageIsRefusedBeforeAnythingIsServed) {
  Serve();
  ASSERT_EQ(Checkpoint().status, 0);
  std::string bytes = images_.Read("gofer.img");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  images_.Write("gofer.img", bytes);
  EXPECT_EQ(Inspect({}).status, 1);
  Restore();
  EXPECT_EQ(gofer_->Wait(), 1);
  EXPECT_EQ(ready_, "");
  EXPECT_THAT(gofer_->Stderr(), HasSubstr("it was damaged"));
}

TEST_F(CommandsTest, InspectShowsTheTree) {
  Serve();
  Open("top", O_RDWR);
  const FdId dir = Must(client_->OpenAt(Walk(root_, "dir"), O_RDONLY)).fd;
  (void)dir;
  ASSERT_EQ(Checkpoint().status, 0);
  const Outcome text = Inspect({"--tree"});
  EXPECT_EQ(text.status, 0) << text.error;
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("names: 3\n"), HasSubstr("open files: 2\n"), HasSubstr("/top  file "),
                    HasSubstr("15 bytes, open for reading and writing\n"),
                    HasSubstr("open for reading\n")));
  const Outcome json = Inspect({"--tree", "--json"});
  EXPECT_THAT(json.out, AllOf(HasSubstr("\"names\":3"), HasSubstr("\"path\":\"/top\""),
                              HasSubstr("\"open\":[\"reading and writing\"]")));
  EXPECT_THAT(Inspect({}).out, Not(HasSubstr("/top")));
  EXPECT_EQ(Inspect({"--verify"}).status, 2);
  EXPECT_EQ(Run({"inspect"}).status, 2);
  EXPECT_EQ(Run({"inspect", images_.At("gofer.img")}).status, 0);
  EXPECT_EQ(Run({"inspect", images_.At("nothing")}).status, 1);
}

TEST_F(CommandsTest, StatusPurgeAndStop) {
  Serve();
  Must(client_->Close({Walk(Walk(root_, "dir"), "file")}));
  const Outcome status = Command("status", {"--json"});
  EXPECT_EQ(status.status, 0) << status.error;
  EXPECT_THAT(
      status.out,
      AllOf(HasSubstr(absl::StrCat("\"pid\":", gofer_->pid())),
            HasSubstr(absl::StrCat("\"root\":\"", tree_.path(), "\"")),
            HasSubstr("\"sandbox\":\"namespace\""), HasSubstr("\"dentries\":3"),
            HasSubstr("{\"name\":\"lisafs\",\"state\":\"1 clients, 0 sockets\",\"operations\":[")));
  const Outcome metrics = Command("metrics");
  EXPECT_EQ(metrics.status, 0) << metrics.error;
  EXPECT_THAT(metrics.out, HasSubstr("\ngofer_dentries 3\n"));
  EXPECT_THAT(Command("purge").out, HasSubstr("purged dentries          1\n"));
  EXPECT_THAT(Command("status").out, HasSubstr("unreferenced dentries    0\n"));
  const Outcome stopped = Command("stop");
  EXPECT_EQ(stopped.status, 0) << stopped.error;
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
  const Outcome nobody = Command("stop");
  EXPECT_EQ(nobody.status, 1);
  EXPECT_THAT(nobody.error, HasSubstr("no gofer listens there"));
  EXPECT_EQ(Run({"status"}).status, 2);
}

TEST_F(CommandsTest, TheCommandsMayComeByADescriptor) {
  SocketPair control = StreamPair(), client = StreamPair();
  Pipe ready = MakePipe();
  GoferProcess gofer(
      {.arguments = {"serve", Root(), "--lisafs_fd=7", "--control_fd=8", "--ready_fd=9"},
       .fds = {{7, client.theirs.get()}, {8, control.theirs.get()}, {9, ready.write.get()}}});
  ready.write.Reset();
  ASSERT_EQ(ReadPipe(ready.read), "\n") << gofer.Stderr();
  control::Request request;
  request.mutable_status();
  const absl::StatusOr<control::Reply> reply =
      control::Command(control.ours, request, BorrowedFd(-1), [](const control::Progress&) {});
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->status().pid(), gofer.pid());
  // Whoever could command it is no reason to live on.
  client.theirs.Reset();
  client.ours.Reset();
  EXPECT_EQ(gofer.Wait(), 0) << gofer.Stderr();
}

}  // namespace
}  // namespace gofer::testing
