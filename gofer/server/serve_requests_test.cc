// What `gofer status` and `gofer metrics` say of requests and limits: clients of each kind ask for
// known things, get known errors, and exactly those are counted; every limit of SECURITY.md is
// there.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::server {
namespace {

using ::testing::AllOf;
using ::testing::ContainerEq;
using ::testing::Contains;
using testing::GoferProcess;
using testing::GoferStart;
using ::testing::HasSubstr;
using testing::Must;
using ::testing::Pair;

// Of each operation how many requests there were, and how often each errno.
struct Counted {
  uint64_t requests = 0;
  std::map<std::string, uint64_t> errors = {};
  bool operator==(const Counted&) const = default;
};
using CountedByName = std::map<std::string, Counted>;

std::ostream& operator<<(std::ostream& out, const Counted& counted) {
  out << counted.requests;
  for (const auto& [error, count] : counted.errors) out << " " << error << " " << count;
  return out;
}

uint64_t Number(const std::string& text) {
  uint64_t number = 0;
  CHECK(absl::SimpleAtoi(text, &number)) << text;
  return number;
}

// Calls `visit` with the groups of each match.
template <typename Visit>
void ForEachMatch(const std::string& text, const std::string& pattern, Visit visit) {
  const std::regex expression(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), expression), end; it != end; ++it) {
    visit(*it);
  }
}

class ServeRequestsTest : public ::testing::Test {
 protected:
  ServeRequestsTest() {
    tree_.Mkdir("served");
    tree_.Write("served/file", "content");
    tree_.Mkdir("mnt");
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  void Start(std::vector<std::string> flags) {
    testing::Pipe ready = testing::MakePipe();
    std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", tree_.At("served")),
                                          "--ready_fd=9", ControlFlag()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = std::move(arguments), .fds = {{9, ready.write.get()}}});
    ready.write.Reset();
    ASSERT_EQ(testing::ReadPipe(ready.read), "\n") << gofer_->Stderr();
  }
  std::string ControlFlag() const { return absl::StrCat("--control_socket=", tree_.At("control")); }

  std::string Command(std::vector<std::string> arguments) const {
    arguments.push_back(ControlFlag());
    GoferProcess process(GoferStart{.arguments = std::move(arguments)});
    CHECK_EQ(process.Wait(), 0) << process.Stderr();
    return process.Stdout();
  }
  // What has been counted of the way in of that name.
  CountedByName Status(const std::string& way) const {
    const std::string json = Command({"status", "--json"});
    const std::string begin = absl::StrCat("{\"name\":\"", way, "\",\"state\"");
    const size_t from = json.find(begin);
    CHECK(from != std::string::npos) << json;
    const size_t to = json.find("\"state\"", from + begin.size());
    CountedByName counted;
    ForEachMatch(json.substr(from, to - from),
                 R"re(\{"name":"([^"]+)","requests":(\d+),"per_second":[\d.]+,)re"
                 R"re("p50_us":[\d.]+,"p99_us":[\d.]+,"errors":\{([^}]*)\}\})re",
                 [&](const std::smatch& operation) {
                   Counted& added = counted[operation[1]];
                   added.requests = Number(operation[2]);
                   ForEachMatch(operation[3], R"re("(\w+)":(\d+))re",
                                [&](const std::smatch& error) {
                                  added.errors[error[1]] = Number(error[2]);
                                });
                 });
    return counted;
  }
  CountedByName Metrics(const std::string& way) const {
    const std::string text = Command({"metrics"});
    const std::string labels =
        absl::StrCat(R"re(\{way=")re", way, R"re(",index="\d+",operation="([^"]+)")re");
    CountedByName counted;
    ForEachMatch(
        text, absl::StrCat("gofer_request_duration_seconds_count", labels, R"re(\} (\d+)\n)re"),
        [&](const std::smatch& sample) { counted[sample[1]].requests = Number(sample[2]); });
    ForEachMatch(
        text, absl::StrCat("gofer_request_errors_total", labels, R"re(,errno="(\w+)"\} (\d+)\n)re"),
        [&](const std::smatch& sample) {
          counted[sample[1]].errors[sample[2]] = Number(sample[3]);
        });
    return counted;
  }
  void ExpectCounted(const std::string& way, const CountedByName& expected) const {
    EXPECT_THAT(Status(way), ContainerEq(expected));
    EXPECT_THAT(Metrics(way), ContainerEq(expected));
  }

  UniqueFd Connect(absl::string_view name) const {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    tree_.At(name).copy(address.sun_path, sizeof(address.sun_path) - 1);
    PCHECK(connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) ==
           0);
    return socket;
  }

  const testing::TempTree tree_;
  std::unique_ptr<GoferProcess> gofer_;
};

TEST_F(ServeRequestsTest, OfLisafsClients) {
  Start({absl::StrCat("--lisafs_socket=", tree_.At("lisafs"))});
  ExpectCounted("lisafs", {});
  CountedByName expected;
  {
    lisafs::Client client(Connect("lisafs"));
    const lisafs::FdId root = Must(client.Mount()).root.control_fd;
    const size_t channel = Must(client.OpenChannel());
    for (const lisafs::Calls& calls :
         {lisafs::Calls(client.over_socket()), lisafs::Calls(client.over_channel(channel))}) {
      for (int i = 0; i < 3; ++i) Must(calls.FStat(root));
      EXPECT_EQ(calls.FStat(static_cast<lisafs::FdId>(4711)).error(), EBADF);
      EXPECT_EQ(calls.UnlinkAt(root, "missing", 0).error(), ENOENT);
      EXPECT_EQ(calls.UnlinkAt(root, "file", AT_REMOVEDIR).error(), ENOTDIR);
      EXPECT_EQ(Must(calls.Raw(static_cast<lisafs::MessageId>(999), "")).error(), EOPNOTSUPP);
      EXPECT_EQ(Must(calls.Raw(static_cast<lisafs::MessageId>(777), "")).error(), EOPNOTSUPP);
    }
    const std::string too_long(lisafs::kMaxMessageSize + 1, 'x');
    EXPECT_EQ(Must(client.over_socket().Raw(lisafs::MessageId::kPWrite, too_long)).error(), EIO);
    expected = {{"Mount", {.requests = 1}},
                {"Channel", {.requests = 1}},
                {"FStat", {.requests = 8, .errors = {{"EBADF", 2}}}},
                {"UnlinkAt", {.requests = 4, .errors = {{"ENOENT", 2}, {"ENOTDIR", 2}}}},
                {"PWrite", {.requests = 1, .errors = {{"EIO", 1}}}},
                {"Unknown", {.requests = 4, .errors = {{"EOPNOTSUPP", 4}}}}};
    ExpectCounted("lisafs", expected);
  }
  // Another client's add to them, though the first has gone with its threads.
  lisafs::Client client(Connect("lisafs"));
  Must(client.Mount());
  ++expected["Mount"].requests;
  ExpectCounted("lisafs", expected);
}

TEST_F(ServeRequestsTest, OfAGuest) {
  Start({absl::StrCat("--vhost_user_socket=", tree_.At("vhost"))});
  using fuse::NodeId;
  using vhost::driver::FuseClient;
  using vhost::driver::Machine;
  const std::unique_ptr<Machine> machine =
      Must(Machine::Attach(Must(vhost::driver::Frontend::Connect(tree_.At("vhost"))), {}));
  Must(machine->Start());
  FuseClient client(machine.get());
  Must(client.Init());
  for (int i = 0; i < 5; ++i) Must(client.Getattr(NodeId::kRoot));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.Lookup(NodeId::kRoot, "missing").error(), ENOENT);
  const NodeId file = Must(client.Lookup(NodeId::kRoot, "file")).nodeid;
  const fuse::HandleId handle = Must(client.Open(file, O_RDWR)).fh;
  EXPECT_EQ(Must(client.Read(file, handle, 0, 100)), "content");
  // Those that a worker does count once.
  for (int i = 0; i < 4; ++i) Must(client.Fsync(file, handle, /*data_only=*/true));
  EXPECT_EQ(client.Fsync(file, static_cast<fuse::HandleId>(4711), true).error(), EBADF);
  for (const uint32_t opcode : {9999u, 8888u}) {
    fuse::InHeader header = {};
    header.opcode = static_cast<fuse::Opcode>(opcode);
    header.nodeid = NodeId::kRoot;
    EXPECT_EQ(Must(client.Raw(header, "")).error, ENOSYS);
  }
  Must(client.Forget(file, 1));
  const CountedByName expected = {
      {"INIT", {.requests = 1}},
      {"GETATTR", {.requests = 5}},
      {"LOOKUP", {.requests = 4, .errors = {{"ENOENT", 3}}}},
      {"OPEN", {.requests = 1}},
      {"READ", {.requests = 1}},
      {"FSYNC", {.requests = 5, .errors = {{"EBADF", 1}}}},
      {"FORGET", {.requests = 1}},
      {"other opcodes", {.requests = 2, .errors = {{"ENOSYS", 2}}}},
  };
  // FORGET has no reply: that it has been taken is all that a client can know.
  EXPECT_TRUE(testing::Eventually([&] { return Status("vhost-user") == expected; }));
  ExpectCounted("vhost-user", expected);
}

TEST_F(ServeRequestsTest, OfTheKernel) {
  Start({absl::StrCat("--fuse_mountpoint=", tree_.At("mnt"))});
  for (const char* const name : {"a", "b", "c"}) {
    EXPECT_EQ(mkdir(tree_.At(absl::StrCat("mnt/", name)).c_str(), 0755), 0);
  }
  struct stat st;
  for (const char* const name : {"x", "y", "z"}) {
    EXPECT_EQ(stat(tree_.At(absl::StrCat("mnt/", name)).c_str(), &st), -1);
  }
  EXPECT_EQ(mkdir(tree_.At("mnt/file").c_str(), 0755), -1);
  // What else the kernel asks for is its own affair. It looks a name up before it makes it.
  for (const CountedByName& counted : {Status("fuse"), Metrics("fuse")}) {
    EXPECT_THAT(counted, AllOf(Contains(Pair("INIT", Counted{.requests = 1})),
                               Contains(Pair("MKDIR", Counted{.requests = 3}))));
    ASSERT_EQ(counted.count("LOOKUP"), 1u);
    const std::map<std::string, uint64_t> errors = {{"ENOENT", 6}};
    EXPECT_THAT(counted.at("LOOKUP").errors, ContainerEq(errors));
    EXPECT_GE(counted.at("LOOKUP").requests, 7u);
  }
}

// In its column of SECURITY.md's table, between its marks.
std::set<std::string> DocumentedLimits() {
  std::ifstream file("SECURITY.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t from = text.find("<!-- limits -->"), to = text.find("<!-- end of limits -->");
  CHECK(from != std::string::npos && to != std::string::npos);
  constexpr size_t kMetric = 5;
  std::set<std::string> names;
  for (const absl::string_view line : absl::StrSplit(text.substr(from, to - from), '\n')) {
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() <= kMetric) continue;
    ForEachMatch(cells[kMetric], "`(\\w+)`",
                 [&](const std::smatch& name) { names.insert(name[1]); });
  }
  return names;
}

TEST_F(ServeRequestsTest, EveryLimitOfTheDocumentIsAMetric) {
  Start({absl::StrCat("--lisafs_socket=", tree_.At("lisafs")),
         absl::StrCat("--vhost_user_socket=", tree_.At("vhost")),
         absl::StrCat("--fuse_mountpoint=", tree_.At("mnt")), "--max_nodes=4321"});
  lisafs::Client client(Connect("lisafs"));
  Must(client.Mount());
  Must(client.OpenChannel());
  const std::string text = Command({"metrics"});
  std::set<std::string> names;
  ForEachMatch(text, R"re(\ngofer_limit\{resource="(\w+)"[^}]*\} [1-9])re",
               [&](const std::smatch& limit) { names.insert(limit[1]); });
  EXPECT_THAT(names, ContainerEq(DocumentedLimits()));
  for (const char* const sample :
       {R"(gofer_limit{resource="files"} 4321)",
        R"(gofer_limit_used{resource="control_clients"} 1)",
        R"(gofer_limit{resource="connections",way="lisafs",index="0"} 1024)",
        R"(gofer_limit_used{resource="connections",way="lisafs",index="0"} 1)",
        R"(gofer_limit_used{resource="channels_of_a_connection",way="lisafs",index="0"} 1)",
        R"(gofer_limit_used{resource="requests",way="vhost-user",index="1"} 0)",
        R"(gofer_limit{resource="threads",way="fuse",index="2"} 64)"}) {
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\n", sample, "\n")));
  }
}

// Each flag of that table is the number that its metric says.
TEST_F(ServeRequestsTest, EveryLimitIsWhatItsFlagSays) {
  const std::pair<const char*, const char*> limits[] = {
      {"--max_nodes=101", R"(files"})"},
      {"--max_connections=102", R"(connections",way="lisafs",index="0"})"},
      {"--max_channels=3", R"(channels_of_a_connection",way="lisafs",index="0"})"},
      {"--max_queues=104", R"(queues",way="vhost-user",index="1"})"},
      {"--max_ring_entries=105", R"(ring_entries",way="vhost-user",index="1"})"},
      {"--max_memory_regions=106", R"(memory_regions",way="vhost-user",index="1"})"},
      {"--max_memory_bytes=10700", R"(memory_bytes",way="vhost-user",index="1"})"},
      {"--max_requests=108", R"(requests",way="vhost-user",index="1"})"},
      {"--thread_pool_size=9", R"(threads",way="vhost-user",index="1"})"},
      {"--max_mount_threads=10", R"(threads",way="fuse",index="2"})"},
      {"--max_control_clients=11", R"(control_clients"})"},
      {"--control_request_seconds=12", R"(control_request_seconds"})"},
      {"--log_records_per_second=113", R"(log_records_per_second"})"}};
  std::vector<std::string> arguments = {absl::StrCat("--lisafs_socket=", tree_.At("lisafs")),
                                        absl::StrCat("--vhost_user_socket=", tree_.At("vhost")),
                                        absl::StrCat("--fuse_mountpoint=", tree_.At("mnt"))};
  for (const auto& [flag, metric] : limits) arguments.push_back(flag);
  Start(arguments);
  const std::string text = Command({"metrics"});
  for (const auto& [flag, metric] : limits) {
    const absl::string_view value = std::strchr(flag, '=') + 1;
    EXPECT_THAT(text,
                HasSubstr(absl::StrCat("\ngofer_limit{resource=\"", metric, " ", value, "\n")));
  }
}

// Once a second, each with what has come since the one before.
TEST_F(ServeRequestsTest, WatchedRatesAreThoseSinceTheLineBefore) {
  Start({absl::StrCat("--lisafs_socket=", tree_.At("lisafs"))});
  lisafs::Client client(Connect("lisafs"));
  const lisafs::FdId root = Must(client.Mount()).root.control_fd;
  GoferProcess watch(GoferStart{.arguments = {"status", "--json", "--watch", ControlFlag()}});
  // Those that are whole.
  const auto lines = [&](size_t wanted) {
    std::vector<std::string> seen;
    EXPECT_TRUE(testing::Eventually([&] {
      seen = absl::StrSplit(watch.Stdout(), '\n');
      seen.pop_back();
      return seen.size() >= wanted;
    })) << watch.Stdout();
    return seen;
  };
  lines(1);
  for (int i = 0; i < 100; ++i) Must(client.FStat(root));
  const std::regex fstat(R"re("name":"FStat","requests":(\d+),"per_second":([\d.]+),)re");
  double per_second = -1;
  // The next may be of before the last request. The one behind it has them all, the third nothing
  // new.
  for (const std::string& line : lines(lines(1).size() + 3)) {
    std::smatch found;
    if (!std::regex_search(line, found, fstat) || Number(found[1]) < 100) continue;
    if (per_second < 0) {
      per_second = std::stod(found[2]);
      EXPECT_GT(per_second, 0) << line;
      EXPECT_LE(per_second, 100) << "in a second or more: " << line;
    } else {
      EXPECT_EQ(std::stod(found[2]), 0) << line;
      per_second = 0;
    }
  }
  EXPECT_EQ(per_second, 0) << watch.Stdout();
}

// For a person: a line of each operation, with its errors.
TEST_F(ServeRequestsTest, AsATable) {
  Start({absl::StrCat("--lisafs_socket=", tree_.At("lisafs"))});
  lisafs::Client client(Connect("lisafs"));
  const lisafs::FdId root = Must(client.Mount()).root.control_fd;
  EXPECT_EQ(client.UnlinkAt(root, "missing", 0).error(), ENOENT);
  const std::string text = Command({"status"});
  EXPECT_THAT(text,
              HasSubstr("\nlisafs 0                 requests      per s     p50 us     p99 us  "
                        "errors\n"));
  const std::regex row(R"re(\n  UnlinkAt +1 +\d+\.\d +\d+\.\d +\d+\.\d  ENOENT 1\n)re");
  EXPECT_TRUE(std::regex_search(text, row)) << text;
}

}  // namespace
}  // namespace gofer::server
