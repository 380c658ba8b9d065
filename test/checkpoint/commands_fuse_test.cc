// The commands as processes, for FUSE clients: a mount of this machine, and a guest by vhost-user,
// go on with the next gofer, and who has files open there does not notice.

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gofer/base/byte_writer.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::testing {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using vhost::driver::DirentView;
using vhost::driver::Frontend;
using vhost::driver::FuseClient;
using vhost::driver::Machine;
using vhost::driver::MachineOptions;
using vhost::driver::Slot;
using vhost::driver::Vmm;

// What a command said, and its exit status.
struct Outcome {
  int status = 0;
  std::string out;
  std::string error;
};

// A gofer and its successors, with what `way` names.
class SuccessionTest : public ::testing::Test {
 protected:
  SuccessionTest() {
    tree_.Mkdir("served");
    tree_.Write("served/file", "content");
  }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  static Outcome Run(std::vector<std::string> arguments, std::map<int, int> fds = {}) {
    GoferProcess process({.arguments = std::move(arguments), .fds = std::move(fds)});
    const int status = process.Wait();
    return {.status = status, .out = process.Stdout(), .error = process.Stderr()};
  }
  Outcome Command(absl::string_view command, std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {std::string(command), ControlFlag()});
    return Run(std::move(more));
  }
  Outcome Checkpoint(std::vector<std::string> more = {}) const {
    more.push_back(ImageFlag());
    return Command("checkpoint", std::move(more));
  }
  std::string RootFlag() const { return absl::StrCat("--root=", tree_.At("served")); }
  std::string ImageFlag() const { return absl::StrCat("--image_path=", images_.path()); }
  std::string ControlFlag() const { return absl::StrCat("--control_socket=", run_.At("control")); }

  // `command` is serve or restore. Ends the test if it does not get ready.
  void Start(absl::string_view command, std::vector<std::string> way, std::map<int, int> fds = {}) {
    Pipe ready = MakePipe();
    fds[9] = ready.write.get();
    way.insert(way.begin(), {std::string(command), RootFlag(), ControlFlag(), "--ready_fd=9",
                             "--posix_locks", "--flock_locks"});
    if (command == "restore") way.push_back(ImageFlag());
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = std::move(way), .fds = std::move(fds)});
    ready.write.Reset();
    CHECK_EQ(ReadPipe(ready.read), "\n") << gofer_->Stderr();
  }
  // Saves the gofer that there is, and sees it end.
  void Save() {
    const Outcome saved = Checkpoint();
    CHECK_EQ(saved.status, 0) << saved.error;
    CHECK_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
  }
  bool IsLocked(const std::string& name) const {
    const UniqueFd fd(open(tree_.At(name).c_str(), O_RDWR | O_CLOEXEC));
    PCHECK(fd.valid());
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    return fcntl(fd.get(), F_OFD_SETLK, &lock) != 0;
  }

  const TempTree tree_;
  const TempTree images_;
  const TempTree run_;
  std::unique_ptr<GoferProcess> gofer_;
};

// ---- A mount that the caller keeps

// Somebody who uses the mount. A process of its own: a gofer is forked from the test, and would
// close the test's files, which waits for a gofer, before it is one. Dies of a failed CHECK.
class Program {
 public:
  class Pauser {
   public:
    Pauser(BorrowedFd to, BorrowedFd from) : to_(to), from_(from) {}
    void UntilToldToGoOn() {
      char byte = 0;
      PCHECK(write(to_.get(), &byte, 1) == 1);
      PCHECK(read(from_.get(), &byte, 1) == 1);
    }

   private:
    const BorrowedFd to_;
    const BorrowedFd from_;
  };

  // `device` is not the program's to keep.
  Program(UniqueFd& device, absl::FunctionRef<void(Pauser&)> body) {
    SocketPair ends = StreamPair();
    pid_ = fork();
    PCHECK(pid_ >= 0);
    if (pid_ == 0) {
      device.Reset();
      ends.ours.Reset();
      Pauser pauser(ends.theirs, ends.theirs);
      body(pauser);
      _exit(0);
    }
    socket_ = std::move(ends.ours);
  }

  void AwaitPause() {
    char byte = 0;
    PCHECK(read(socket_.get(), &byte, 1) == 1) << "the program has ended";
  }
  void GoOn() {
    const char byte = 0;
    PCHECK(write(socket_.get(), &byte, 1) == 1);
  }
  void ExpectEnd() {
    int status = -1;
    ASSERT_EQ(waitpid(pid_, &status, 0), pid_);
    EXPECT_EQ(status, 0);
  }

 private:
  pid_t pid_ = -1;
  UniqueFd socket_;
};

class MountSuccessionTest : public SuccessionTest {
 protected:
  void SetUp() override {
    SuccessionTest::SetUp();
    if (IsSkipped()) return;
    tree_.Mkdir("mnt");
    device_ = UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    PCHECK(device_.valid());
    const std::string data =
        absl::StrCat("fd=", device_.get(),
                     ",rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other");
    PCHECK(mount("test", tree_.At("mnt").c_str(), "fuse", MS_NOSUID | MS_NODEV, data.c_str()) == 0);
    mounted_ = true;
    Start("serve", {"--fuse_fd=7"}, Device());
  }
  void TearDown() override {
    if (!mounted_) return;
    EXPECT_EQ(umount2(tree_.At("mnt").c_str(), MNT_DETACH), 0);
  }

  std::map<int, int> Device() const { return {{7, device_.get()}}; }
  void Restart() {
    Save();
    Start("restore", {"--fuse_fd=7"}, Device());
  }
  std::string At(absl::string_view name) const { return tree_.At(absl::StrCat("mnt/", name)); }
  UniqueFd Open(absl::string_view name, int flags) const {
    UniqueFd file(open(At(name).c_str(), flags | O_CLOEXEC, 0644));
    PCHECK(file.valid()) << name;
    return file;
  }

  UniqueFd device_;
  bool mounted_ = false;
};

TEST_F(MountSuccessionTest, OpenFilesGoOn) {
  Program program(device_, [this](Program::Pauser& pause) {
    const UniqueFd reading = Open("file", O_RDONLY);
    const UniqueFd writing = Open("new", O_WRONLY | O_CREAT | O_APPEND);
    const UniqueFd gone = Open("gone", O_RDWR | O_CREAT);
    char buffer[16];
    CHECK_EQ(read(reading.get(), buffer, 3), 3);
    CHECK_EQ(write(writing.get(), "one", 3), 3);
    CHECK_EQ(write(gone.get(), "kept", 4), 4);
    PCHECK(unlink(At("gone").c_str()) == 0);
    for (const absl::string_view word : {" two", " three"}) {
      pause.UntilToldToGoOn();
      PCHECK(write(writing.get(), word.data(), word.size()) == static_cast<ssize_t>(word.size()));
      CHECK_EQ(pread(gone.get(), buffer, sizeof(buffer), 0), 4);
    }
    CHECK_EQ(read(reading.get(), buffer, sizeof(buffer)), 4);
    CHECK_EQ(absl::string_view(buffer, 4), "tent");
    CHECK_EQ(pwrite(gone.get(), "still ", 6, 0), 6);
  });
  for (int i = 0; i < 2; ++i) {
    program.AwaitPause();
    Restart();
    program.GoOn();
  }
  program.ExpectEnd();
  EXPECT_EQ(tree_.Read("served/new"), "one two three");
  EXPECT_FALSE(tree_.Exists("served/gone"));
  tree_.Write("mnt/after", "text");
  EXPECT_EQ(tree_.Read("served/after"), "text");
}

TEST_F(MountSuccessionTest, ListingsGoOn) {
  for (int i = 0; i < 500; ++i) tree_.Write(absl::StrCat("served/entry", i), "");
  Program program(device_, [this](Program::Pauser& pause) {
    DIR* const dir = opendir(At("").c_str());
    PCHECK(dir != nullptr);
    std::vector<std::string> names;
    for (int i = 0; i < 20; ++i) names.emplace_back(readdir(dir)->d_name);
    pause.UntilToldToGoOn();
    while (const struct dirent* const entry = readdir(dir)) names.emplace_back(entry->d_name);
    closedir(dir);
    std::sort(names.begin(), names.end());
    CHECK_EQ(names.size(), 503u);
    CHECK(std::unique(names.begin(), names.end()) == names.end());
  });
  program.AwaitPause();
  Restart();
  program.GoOn();
  program.ExpectEnd();
}

TEST_F(MountSuccessionTest, LocksAreHeldByEachInTurn) {
  tree_.Write("served/other", "");
  Program program(device_, [this](Program::Pauser& pause) {
    const UniqueFd ranges = Open("file", O_RDWR);
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0};
    PCHECK(fcntl(ranges.get(), F_SETLK, &lock) == 0);
    const UniqueFd whole = Open("other", O_RDWR);
    PCHECK(flock(whole.get(), LOCK_EX) == 0);
    for (int i = 0; i < 2; ++i) pause.UntilToldToGoOn();
    lock.l_type = F_UNLCK;
    PCHECK(fcntl(ranges.get(), F_SETLK, &lock) == 0);
    PCHECK(flock(whole.get(), LOCK_UN) == 0);
    pause.UntilToldToGoOn();
  });
  const UniqueFd on_host(open(tree_.At("served/other").c_str(), O_RDWR | O_CLOEXEC));
  for (int i = 0; i < 2; ++i) {
    program.AwaitPause();
    Restart();
    EXPECT_TRUE(IsLocked("served/file"));
    EXPECT_EQ(flock(on_host.get(), LOCK_EX | LOCK_NB), -1);
    program.GoOn();
  }
  program.AwaitPause();
  EXPECT_FALSE(IsLocked("served/file"));
  EXPECT_EQ(flock(on_host.get(), LOCK_EX | LOCK_NB), 0);
  program.GoOn();
  program.ExpectEnd();
}

TEST_F(MountSuccessionTest, AProgramThatDoesNotStopIsNotDisturbed) {
  const std::string stop = run_.At("stop");
  const std::string at = At("d");
  const pid_t program = fork();
  ASSERT_GE(program, 0);
  if (program == 0) {
    for (;;) {
      if (mkdir(at.c_str(), 0755) != 0 || rmdir(at.c_str()) != 0) _exit(errno);
      if (access(stop.c_str(), F_OK) == 0) _exit(0);
    }
  }
  for (int i = 0; i < 3; ++i) Restart();
  ASSERT_EQ(Checkpoint({"--leave_running"}).status, 0);
  run_.Write("stop", "");
  int status = -1;
  ASSERT_EQ(waitpid(program, &status, 0), program);
  EXPECT_EQ(status, 0);
}

TEST_F(MountSuccessionTest, StatusAndInspectTellOfTheClient) {
  Program program(device_, [this](Program::Pauser& pause) {
    const UniqueFd file = Open("file", O_RDONLY);
    pause.UntilToldToGoOn();
  });
  program.AwaitPause();
  EXPECT_THAT(Command("status").out,
              AllOf(HasSubstr("restored                 no\n"),
                    HasSubstr("fuse: mounted by the caller with descriptor 7, 1 nodes, 1 open "
                              "files\n"),
                    ContainsRegex("\n  OPEN +1 ")));
  Save();
  EXPECT_THAT(Run({"inspect", images_.path()}).out,
              HasSubstr("FUSE clients: 1\n  by fuse: version 7."));
  EXPECT_THAT(Run({"inspect", images_.path(), "--json"}).out,
              AllOf(HasSubstr("\"fuse_clients\":[{\"way\":\"fuse\",\"connected\":true"),
                    HasSubstr("\"nodes\":1,\"open_files\":1,\"locks\":0}]")));
  Start("restore", {"--fuse_fd=7"}, Device());
  EXPECT_THAT(Command("status").out, HasSubstr("1 nodes, 1 open files, restored\n"));
  // What was counted before is no part of an image.
  EXPECT_THAT(Command("status", {"--json"}).out,
              HasSubstr("\"nodes\":1,\"open_files\":1,\"restored\":true,\"operations\":[],"));
  program.GoOn();
  program.ExpectEnd();
}

TEST_F(MountSuccessionTest, WaysThatAreNotThoseOfTheImageAreRefused) {
  Save();
  const Outcome none =
      Run({"restore", RootFlag(), ImageFlag(), "--lisafs_socket=" + run_.At("lisafs")});
  EXPECT_EQ(none.status, 3);
  EXPECT_THAT(none.error, HasSubstr("1 mounts were saved, 0 descriptors are handed down; give "
                                    "--fuse_fd for each"));
  const Outcome more = Run({"restore", RootFlag(), ImageFlag(), "--fuse_fd=7", "--posix_locks",
                            "--flock_locks", "--vhost_user_socket=" + run_.At("vm")},
                           Device());
  EXPECT_EQ(more.status, 3);
  EXPECT_THAT(more.error, HasSubstr("0 guests were saved, there are 1 sockets for them"));
  const Outcome readonly =
      Run({"restore", RootFlag(), ImageFlag(), "--fuse_fd=7", "--readonly"}, Device());
  EXPECT_EQ(readonly.status, 3);
  EXPECT_THAT(readonly.error, HasSubstr("--readonly=false"));
  const Outcome without_locks = Run({"restore", RootFlag(), ImageFlag(), "--fuse_fd=7"}, Device());
  EXPECT_EQ(without_locks.status, 3);
  EXPECT_THAT(without_locks.error, HasSubstr("locks of byte ranges, locks of whole files"));
  // Nothing of that has harmed it.
  Start("restore", {"--fuse_fd=7"}, Device());
  EXPECT_EQ(tree_.Read("mnt/file"), "content");
}

TEST_F(SuccessionTest, AMountOfOurOwnEndsWithUs) {
  tree_.Mkdir("mnt");
  Start("serve", {absl::StrCat("--fuse_mountpoint=", tree_.At("mnt"))});
  const Outcome refused = Checkpoint();
  EXPECT_EQ(refused.status, 3);
  EXPECT_THAT(refused.error, AllOf(HasSubstr(tree_.At("mnt")), HasSubstr("--leave_running"),
                                   HasSubstr("--fuse_fd")));
  const Outcome copy = Checkpoint({"--leave_running"});
  EXPECT_EQ(copy.status, 0) << copy.error;
  EXPECT_THAT(copy.out, HasSubstr("clients                  0\n"));
  EXPECT_EQ(tree_.Read("mnt/file"), "content");
  EXPECT_EQ(Command("stop").status, 0);
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
}

// ---- A guest, whose monitor connects anew

class GuestSuccessionTest : public SuccessionTest {
 protected:
  void SetUp() override {
    SuccessionTest::SetUp();
    if (!IsSkipped()) Start("serve", Way());
  }
  std::vector<std::string> Way() const {
    return {absl::StrCat("--vhost_user_socket=", run_.At("vm"))};
  }
  // A machine that has booted, and its client with nothing but INIT done.
  void Boot(const MachineOptions& options = {.vmm = Vmm::kCloudHypervisor,
                                             .track_inflight = true}) {
    machine_ = Must(Machine::Attach(Must(Frontend::Connect(run_.At("vm"))), options));
    Must(machine_->Start());
    guest_ =
        std::make_unique<FuseClient>(machine_.get(), vhost::driver::FuseClientOptions{.depth = 32});
    Must(guest_->Init());
  }
  void Reconnect() { Must(machine_->Reconnect(Must(Frontend::Connect(run_.At("vm"))))); }
  void Restart() {
    Save();
    Start("restore", Way());
    Reconnect();
  }
  void SubmitMkdirs(int first, int count) {
    for (int i = first; i < first + count; ++i) {
      Slot* const slot = guest_->Acquire();
      CHECK(slot != nullptr);
      const std::string name = absl::StrCat("made", i);
      ByteWriter& arguments = slot->Arguments();
      arguments.Write(fuse::MkdirIn{.mode = 0755, .umask = 0});
      arguments.WriteBytes(absl::string_view(name.c_str(), name.size() + 1));
      guest_->Submit(*slot, fuse::Opcode::kMkdir, NodeId::kRoot,
                     {.result = sizeof(fuse::EntryOut)});
    }
  }
  // All of them have been done, and once.
  void ExpectAnswers(int count) {
    for (int i = 0; i < count; ++i) {
      Slot* const done = Must(guest_->Next());
      EXPECT_EQ(done->error(), 0);
      guest_->Release(*done);
    }
    EXPECT_EQ(guest_->in_flight(), 0u);
  }
  static fuse::LkIn LockOf(HandleId fh, uint64_t owner, uint32_t type) {
    return {.fh = fh,
            .owner = owner,
            .lk = {.start = 0, .end = fuse::kLockToEnd, .type = type, .pid = 1},
            .lk_flags = 0,
            .padding = 0};
  }

  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> guest_;
};

TEST_F(GuestSuccessionTest, OpenFilesListingsAndLocksGoOn) {
  tree_.Mkdir("served/dir");
  for (int i = 0; i < 200; ++i) tree_.Write(absl::StrCat("served/dir/entry", i), "");
  Boot();
  FuseClient& guest = *guest_;
  const NodeId file = Must(guest.Lookup(NodeId::kRoot, "file")).nodeid;
  const HandleId gone = Must(guest.Open(file, O_RDWR)).fh;
  Must(guest.Unlink(NodeId::kRoot, "file"));
  const fuse::CreateOut made = Must(guest.Create(NodeId::kRoot, "made", O_RDWR, 0644));
  Must(guest.Setlk(made.entry.nodeid, LockOf(made.open.fh, 7, F_WRLCK), /*wait=*/false));
  const NodeId dir = Must(guest.Lookup(NodeId::kRoot, "dir")).nodeid;
  const HandleId listing = Must(guest.Opendir(dir)).fh;
  std::vector<std::string> names;
  uint64_t offset = 0;
  const auto list = [&] {
    return Must(guest.Readdir(dir, listing, offset, 2048, [&](const DirentView& entry) {
      names.emplace_back(entry.name);
      offset = entry.fixed.off;
    }));
  };
  list();

  for (const absl::string_view word : {"one ", "two "}) {
    Restart();
    const uint64_t end = Must(guest.Getattr(made.entry.nodeid, made.open.fh)).attr.size;
    EXPECT_EQ(Must(guest.Write(made.entry.nodeid, made.open.fh, end, word)), word.size());
    EXPECT_EQ(Must(guest.Read(file, gone, 0, 100)), "content");
    EXPECT_TRUE(IsLocked("served/made"));
    EXPECT_GT(list(), 0u);
  }
  while (list() > 0) {
  }
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, SizeIs(202));
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
  EXPECT_EQ(tree_.Read("served/made"), "one two ");
  EXPECT_EQ(Must(guest.Lookup(NodeId::kRoot, "made")).nodeid, made.entry.nodeid);
  EXPECT_THAT(Command("status").out,
              AllOf(HasSubstr("vhost-user: a monitor is connected, 3 nodes, 3 open files, "
                              "restored\n")));
  machine_.reset();
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
}

TEST_F(GuestSuccessionTest, RequestsAreAnsweredOnceByOneOfTheTwo) {
  Boot();
  SubmitMkdirs(0, 16);
  Save();
  SubmitMkdirs(16, 16);  // nobody is there
  Start("restore", Way());
  Reconnect();
  ExpectAnswers(32);
}

TEST_F(GuestSuccessionTest, ARequestThatWaitsForALockWaitsOn) {
  Boot();
  FuseClient& guest = *guest_;
  const NodeId file = Must(guest.Lookup(NodeId::kRoot, "file")).nodeid;
  const HandleId fh = Must(guest.Open(file, O_RDWR)).fh;
  Must(guest.Setlk(file, LockOf(fh, 1, F_WRLCK), /*wait=*/false));
  Slot* const waiting = guest.Acquire();
  waiting->Arguments().Write(LockOf(fh, 2, F_WRLCK));
  guest.Submit(*waiting, fuse::Opcode::kSetlkw, file, {});
  SubmitMkdirs(0, 1);
  Slot* const made = Must(guest.Next());  // so that one has been taken
  EXPECT_NE(made, waiting);
  guest.Release(*made);
  Restart();
  Slot* const unlock = guest.Acquire();
  unlock->Arguments().Write(LockOf(fh, 1, F_UNLCK));
  guest.Submit(*unlock, fuse::Opcode::kSetlk, file, {});
  ExpectAnswers(2);
  EXPECT_TRUE(IsLocked("served/file"));
}

// A virtual machine that was stopped for the while, or restored itself: its monitor begins with a
// reset.
TEST_F(GuestSuccessionTest, AMonitorThatBeginsWithAResetFindsTheGuestsFiles) {
  Boot({.vmm = Vmm::kQemu10});
  const NodeId file = Must(guest_->Lookup(NodeId::kRoot, "file")).nodeid;
  const HandleId fh = Must(guest_->Open(file, O_RDONLY)).fh;
  Must(machine_->Stop());
  Save();
  Start("restore", Way());
  machine_ = Must(Machine::Attach(Must(Frontend::Connect(run_.At("vm"))), {.vmm = Vmm::kQemu10}));
  Must(machine_->Start());
  // A driver of its own; what it knows of the device is what the guest has always known.
  guest_ = std::make_unique<FuseClient>(machine_.get());
  EXPECT_EQ(Must(guest_->Read(file, fh, 0, 100)), "content");
  // From now on a reset is one.
  Must(machine_->Reboot());
  EXPECT_EQ(ErrorOf(guest_->Getattr(file)), EIO);
  Must(guest_->Init());
  EXPECT_NE(Must(guest_->Lookup(NodeId::kRoot, "file")).nodeid, NodeId::kRoot);
}

TEST_F(GuestSuccessionTest, BeforeAMonitorCameThereIsNoClientAndThePlaceIsKept) {
  const Outcome saved = Checkpoint();
  EXPECT_EQ(saved.status, 0) << saved.error;
  EXPECT_THAT(saved.out, HasSubstr("clients                  0\n"));
  EXPECT_THAT(Run({"inspect", images_.path()}).out,
              HasSubstr("  by vhost-user: nobody had connected\n"));
  const Outcome none =
      Run({"restore", RootFlag(), ImageFlag(), "--lisafs_socket=" + run_.At("lisafs")});
  EXPECT_EQ(none.status, 3);
  EXPECT_THAT(none.error, HasSubstr("1 guests were saved, there are 0 sockets for them; give "
                                    "--vhost_user_socket"));
  Start("restore", Way());
  EXPECT_THAT(Command("status").out, HasSubstr("vhost-user: waiting for a monitor\n"));
  Boot();
  EXPECT_EQ(Must(guest_->Getattr(NodeId::kRoot)).attr.ino, tree_.Stat("served").st_ino);
}

}  // namespace
}  // namespace gofer::testing
