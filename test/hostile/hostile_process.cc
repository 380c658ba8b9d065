#include "test/hostile/hostile_process.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/stopwatch.h"

namespace gofer::testing {

HostileProcessTest::HostileProcessTest() : served_(tree_.path()) { tree_.Write("file", "content"); }

void HostileProcessTest::SetUp() {
  if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
}

void HostileProcessTest::Start(std::vector<std::string> flags) {
  Pipe ready = MakePipe();
  std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", served_), "--ready_fd=9",
                                        absl::StrCat("--lisafs_socket=", run_.At("lisafs")),
                                        absl::StrCat("--control_socket=", run_.At("control"))};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  gofer_ = std::make_unique<GoferProcess>(GoferStart{
      .name = "gofer", .arguments = std::move(arguments), .fds = {{9, ready.write.get()}}});
  ready.write.Reset();
  ASSERT_EQ(ReadPipe(ready.read), "\n") << gofer_->Stderr();
  honest_ = Connect();
  ASSERT_NE(honest_, nullptr);
  ExpectHonestServed();
  Settle();
  base_fds_ = gofer_->OpenFds().size();
  base_files_ = StatusNumber("file_descriptors");
}

void HostileProcessTest::TearDown() {
  if (gofer_ == nullptr) return;
  ExpectHonestServed();
  Settle();
  EXPECT_EQ(gofer_->OpenFds().size(), base_fds_);
  EXPECT_EQ(StatusNumber("file_descriptors"), base_files_);
  EXPECT_TRUE(gofer_->Running());
}

void HostileProcessTest::Settle() {
  const auto two_threads = [&] { return Threads() == 2; };
  EXPECT_TRUE(Eventually(two_threads)) << Threads();
  EXPECT_NE(Connect(), nullptr);
  Command("purge");
  EXPECT_TRUE(Eventually(two_threads)) << Threads();
}

UniqueFd HostileProcessTest::ConnectSocket(absl::string_view name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  run_.At(name).copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0) {
    return UniqueFd();
  }
  return socket;
}

std::unique_ptr<HostileProcessTest::Client> HostileProcessTest::Connect() {
  UniqueFd socket = ConnectSocket("lisafs");
  if (!socket.valid()) return nullptr;
  auto made = std::make_unique<Client>(std::move(socket));
  const auto mount = made->client.Mount();
  if (!mount.ok()) return nullptr;
  made->root = mount->root;
  return made;
}

ErrnoOr<lisafs::Inode> HostileProcessTest::Walk(Client& client, absl::string_view name) {
  lisafs::Inode inode;
  const auto walked = client.client.Walk(client.root.control_fd, {name}, std::span(&inode, 1));
  if (!walked.ok()) return walked.error();
  if (walked->count != 1) return Errno(ENOENT);
  return inode;
}

void HostileProcessTest::ExpectHonestServed() {
  const Stopwatch watch;
  EXPECT_TRUE(honest_->client.FStat(honest_->root.control_fd).ok());
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
}

size_t HostileProcessTest::Threads() const {
  const std::filesystem::directory_iterator tasks(absl::StrCat("/proc/", gofer_->pid(), "/task"));
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

int64_t HostileProcessTest::ResidentKiB() const {
  std::ifstream sums(absl::StrCat("/proc/", gofer_->pid(), "/smaps_rollup"));
  for (std::string word; sums >> word;) {
    int64_t value = 0;
    if (word == "Rss:" && sums >> value) return value;
  }
  LOG(FATAL) << "nothing says what memory it has";
}

std::string HostileProcessTest::Command(const std::string& command) const {
  GoferProcess process(GoferStart{
      .name = "gofer",
      .arguments = {command, absl::StrCat("--control_socket=", run_.At("control")), "--json"}});
  CHECK_EQ(process.Wait(), 0) << process.Stderr();
  return process.Stdout();
}

int64_t HostileProcessTest::StatusNumber(absl::string_view name) const {
  const std::string json = Command("status");
  const std::string label = absl::StrCat("\"", name, "\":");
  const size_t at = json.find(label);
  CHECK(at != std::string::npos) << json;
  const size_t begin = at + label.size();
  int64_t number = -1;
  CHECK(absl::SimpleAtoi(json.substr(begin, json.find_first_of(",}", begin) - begin), &number));
  return number;
}

HostileProcessTest::LimitUse HostileProcessTest::Limit(absl::string_view resource) const {
  const std::string text = Command("metrics");
  LimitUse found;
  for (const auto& [metric, value] :
       {std::pair("gofer_limit{", &found.limit), std::pair("gofer_limit_used{", &found.used)}) {
    const size_t at = text.find(absl::StrCat("\n", metric, "resource=\"", resource, "\""));
    CHECK(at != std::string::npos) << resource << " in " << text;
    const size_t begin = text.find("} ", at) + 2;
    CHECK(absl::SimpleAtoi(text.substr(begin, text.find('\n', begin) - begin), value));
  }
  return found;
}

}  // namespace gofer::testing
