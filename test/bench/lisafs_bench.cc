// lisafs_bench measures our gofer and gVisor's own gofer server side by side, with one client, and
// the bare system calls beneath. tools/bench builds and starts it.
//
//   lisafs_bench --gofer=bazel-bin/gofer/gofer --peer=PEER [--runsc=/usr/bin/runsc] [--json=FILE]
//
// Both servers are separate processes and confine themselves as they do in production (a root of
// their own, their own seccomp filter). Each thread has a connection of its own, because gVisor's
// server gives a connection only as many channels as there are processors. The servers take turns
// within every round, and who begins changes, so that whatever else the machine does hits both.

#include <fcntl.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "lisafs/client/client.h"
#include "test/bench/host.h"
#include "test/bench/operations.h"
#include "test/bench/report.h"
#include "test/bench/runner.h"
#include "test/bench/server_process.h"

DEFINE_string(gofer, "", "our gofer, by path");
DEFINE_string(gofer_flags, "", "more flags for `gofer serve`, space separated");
DEFINE_string(peer, "", "gVisor's gofer server, built by test/bench/peer/build, by path");
DEFINE_string(
    runsc, "",
    "runsc, whose gofer's memory and start are measured; by path; none: the peer's stand in");
DEFINE_string(dir, "/var/tmp", "where the served tree is made, and removed");
DEFINE_string(json, "", "file for the results as JSON");
DEFINE_string(filter, "", "only operations whose name has this in it");
DEFINE_string(ways, "channel,socket", "channel, socket or both");
DEFINE_string(threads, "1,2,4", "numbers of client threads, at most 4");
DEFINE_int32(rounds, 5, "how often everything is measured; medians are shown");
DEFINE_int32(cell_ms, 120, "milliseconds for each measurement");
DEFINE_int32(starts, 9, "fresh processes for start time and memory; 0: none");

namespace gofer::bench {
namespace {

// A server with a client for every thread, each on a connection and a channel of its own.
class Bench {
 public:
  explicit Bench(const ServerStart& start) : server_(start) {
    for (UniqueFd& socket : server_.TakeSockets()) {
      auto client = std::make_unique<lisafs::Client>(std::move(socket));
      auto mount = client->Mount();
      CHECK(mount.ok()) << "Mount: " << mount.error().ToString();
      roots_.push_back(mount->root.control_fd);
      const auto channel = client->OpenChannel();
      CHECK(channel.ok()) << "Channel: " << channel.error().ToString();
      clients_.push_back(std::move(client));
    }
  }

  Sample Run(const Operation& operation, bool over_channel, int threads) {
    return Measure(
        threads, static_cast<uint64_t>(FLAGS_cell_ms) * 1000000, &server_, [&](int thread) {
          lisafs::Client& client = *clients_[thread];
          return operation.make_lisafs(over_channel ? client.over_channel(0) : client.over_socket(),
                                       roots_[thread], thread);
        });
  }

 private:
  ServerProcess server_;
  std::vector<std::unique_ptr<lisafs::Client>> clients_;
  std::vector<lisafs::FdId> roots_;
};

// Of a copy of the program: pages of a file that another process maps too do not count as private,
// and which other gofers or sandboxes happen to run on this machine may not decide the result.
StartCost MeasureStarts(std::string name, ServerStart start, const std::string& scratch) {
  StartCost cost{.name = std::move(name)};
  const std::string copy = absl::StrCat(scratch, "/program");
  std::filesystem::copy_file(start.command[0], copy,
                             std::filesystem::copy_options::overwrite_existing);
  start.command[0] = copy;
  int ended = 0;
  while (std::ssize(cost.first_reply_ms) < FLAGS_starts) {
    const ServerProcess server(start);
    std::this_thread::sleep_for(
        std::chrono::milliseconds(20));  // what a server does after its first reply
    const std::optional<PrivateMemory> memory = server.Memory();
    if (!memory.has_value()) {
      // `runsc gofer` does, now and then.
      CHECK_LT(++ended, FLAGS_starts) << cost.name << " ends after its first reply";
      std::cerr << cost.name << " has ended after its first reply; once more\n";
      continue;
    }
    if (server.ready_ns() > 0)
      cost.ready_ms.push_back(static_cast<double>(server.ready_ns()) / 1e6);
    cost.first_reply_ms.push_back(static_cast<double>(server.first_reply_ns()) / 1e6);
    cost.private_kib.push_back(static_cast<double>(memory->private_kib));
    cost.anonymous_kib.push_back(static_cast<double>(memory->anonymous_kib));
  }
  std::filesystem::remove(copy);
  return cost;
}

int Main() {
  if (FLAGS_gofer.empty() || FLAGS_peer.empty()) {
    std::cerr << "lisafs_bench: needs --gofer and --peer; tools/bench lisafs gives both\n";
    return 2;
  }
  std::vector<int> thread_counts;
  for (absl::string_view text : absl::StrSplit(FLAGS_threads, ',')) {
    const int threads = atoi(std::string(text).c_str());
    if (threads < 1 || threads > kMaxThreads) {
      std::cerr << "lisafs_bench: --threads: " << text << " is not between 1 and " << kMaxThreads
                << "\n";
      return 2;
    }
    thread_counts.push_back(threads);
  }

  const ScratchDir tree(FLAGS_dir);
  MakeTree(tree.path());
  ServerStart ours{
      .kind = ServerStart::Kind::kFlags, .command = {FLAGS_gofer, "serve"}, .root = tree.path()};
  for (absl::string_view flag : absl::StrSplit(FLAGS_gofer_flags, ' ', absl::SkipEmpty())) {
    ours.command.emplace_back(flag);
  }
  ServerStart peer{.kind = ServerStart::Kind::kFlags, .command = {FLAGS_peer}, .root = tree.path()};

  Report report{.host = DescribeHost(tree.path()),
                .cell_ms = static_cast<uint64_t>(FLAGS_cell_ms),
                .rounds = FLAGS_rounds};
  // First: the machine's caches are the same for all of them, and nothing else of ours runs yet.
  if (FLAGS_starts > 0) {
    report.starts.push_back(MeasureStarts("gofer serve", ours, tree.path()));
    report.starts.push_back(MeasureStarts("gVisor's server (peer)", peer, tree.path()));
    if (!FLAGS_runsc.empty()) {
      const ServerStart runsc{
          .kind = ServerStart::Kind::kRunscGofer, .command = {FLAGS_runsc}, .root = tree.path()};
      report.starts.push_back(MeasureStarts("runsc gofer", runsc, tree.path()));
    }
  }

  ours.num_connections = peer.num_connections = kMaxThreads;
  Bench our_bench(ours);
  Bench peer_bench(peer);
  const UniqueFd root(open(tree.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  PCHECK(root.valid());

  struct Floor {
    const Operation* operation;
    int threads;
    std::vector<Sample> samples;
  };
  std::deque<Floor> floors;  // cells point into it
  for (const Operation& operation : AllOperations()) {
    if (!absl::StrContains(operation.name, FLAGS_filter)) continue;
    for (const int threads : thread_counts) floors.push_back({&operation, threads, {}});
  }
  for (const bool over_channel : {true, false}) {
    if (!absl::StrContains(FLAGS_ways, over_channel ? "channel" : "socket")) continue;
    for (const Floor& floor : floors) {
      report.cells.push_back(
          {floor.operation, over_channel, floor.threads, {}, {}, &floor.samples});
    }
  }
  for (int round = 0; round < FLAGS_rounds; ++round) {
    std::cerr << "round " << round + 1 << " of " << FLAGS_rounds << "\n";
    for (Floor& floor : floors) {
      floor.samples.push_back(
          Measure(floor.threads, static_cast<uint64_t>(FLAGS_cell_ms) * 1000000, nullptr,
                  [&](int thread) { return floor.operation->make_floor(root, thread); }));
    }
    bool ours_first = round % 2 == 0;
    for (Cell& cell : report.cells) {
      for (const bool is_ours : {ours_first, !ours_first}) {
        (is_ours ? cell.ours : cell.theirs)
            .push_back((is_ours ? our_bench : peer_bench)
                           .Run(*cell.operation, cell.over_channel, cell.threads));
      }
      ours_first = !ours_first;
    }
  }

  std::cout << report.Text() << std::flush;
  if (!FLAGS_json.empty()) {
    std::ofstream file(FLAGS_json);
    file << report.Json();
    file.close();
    if (!file) {
      std::cerr << "lisafs_bench: cannot write " << FLAGS_json << "\n";
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace gofer::bench

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  return gofer::bench::Main();
}
