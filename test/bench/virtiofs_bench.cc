// virtiofs_bench measures our vhost-user daemon beside others, with one client that plays VMM and
// guest, and the bare system calls beneath. tools/bench builds and starts it.
//
//   virtiofs_bench --gofer=bazel-bin/gofer/gofer [--daemon='NAME=COMMAND {socket} {dir}']...
//
// Every daemon is a process of its own and confines itself as it does in production. QEMU's
// virtiofsd takes part where it is installed. All have the same cache policy, "auto". They take
// turns within every round, and who begins changes, so that whatever else the machine does hits all
// of them.

#include <fcntl.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "test/bench/daemon.h"
#include "test/bench/host.h"
#include "test/bench/pipeline.h"
#include "test/bench/runner.h"
#include "test/bench/tree_walk.h"
#include "test/bench/virtiofs_operations.h"
#include "test/bench/virtiofs_report.h"
#include "test/support/vhost_daemon.h"

DEFINE_string(gofer, "", "our gofer, by path");
DEFINE_string(gofer_flags, "", "more flags for `gofer virtiofsd`, space separated");
DEFINE_bool(qemu, true, "whether QEMU's virtiofsd takes part, where it is installed");
DEFINE_string(dir, "/var/tmp", "where the served tree is made, and removed");
DEFINE_string(json, "", "file for the results as JSON");
DEFINE_string(filter, "", "only operations whose name has one of these in it, comma separated");
DEFINE_string(depths, "1,16", "requests in flight, at most 16");
DEFINE_int32(rounds, 5, "how often everything is measured; medians are shown");
DEFINE_int32(cell_ms, 160, "milliseconds for each measurement");
DEFINE_int32(walks, 5, "walks of the big tree; 0: none");
DEFINE_int32(rlimit_nofile, 20000, "for one more walk with our daemon; 0: none");
DEFINE_int32(spin_us, 0,
             "how long the client looks for a reply before it sleeps until the device calls, as a "
             "guest does");

namespace gofer::bench {
namespace {

using vhost::driver::FuseClientOptions;

std::string OurCommand(absl::string_view more = "") {
  return absl::StrCat(FLAGS_gofer,
                      " virtiofsd --socket-path={socket} --shared-dir={dir} --cache=auto ",
                      FLAGS_gofer_flags, " ", more);
}

bool IsWanted(absl::string_view name) {
  if (FLAGS_filter.empty()) return true;
  for (absl::string_view part : absl::StrSplit(FLAGS_filter, ',', absl::SkipEmpty())) {
    if (absl::StrContains(name, part)) return true;
  }
  return false;
}

// A daemon with a guest that has mounted it and knows its files.
struct Booted {
  Booted(const Contender& contender, const std::string& dir)
      : daemon(contender, dir,
               FuseClientOptions{.depth = kMaxDepth, .spin = absl::Microseconds(FLAGS_spin_us)}),
        mounted(daemon.client()) {}

  Daemon daemon;
  Mounted mounted;
};

void MeasureCells(const std::string& dir, const std::vector<size_t>& depths,
                  VirtiofsReport& report) {
  const UniqueFd root(open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  PCHECK(root.valid());
  for (const size_t depth : depths) {
    for (const VirtiofsOperation& operation : AllVirtiofsOperations()) {
      if (!IsWanted(operation.name) || (operation.one_at_a_time && depth != 1)) continue;
      report.cells.push_back({&operation, depth, {}});
      report.cells.back().daemons.resize(report.contenders.size());
    }
  }
  if (report.cells.empty()) return;
  std::vector<std::unique_ptr<Booted>> booted;
  for (const Contender& contender : report.contenders) {
    booted.push_back(std::make_unique<Booted>(contender, dir));
  }
  const uint64_t duration_ns = static_cast<uint64_t>(FLAGS_cell_ms) * 1000000;
  size_t first = 0;
  for (int round = 0; round < FLAGS_rounds; ++round) {
    std::cerr << "round " << round + 1 << " of " << FLAGS_rounds << "\n";
    for (VirtiofsCell& cell : report.cells) {
      cell.floor.push_back(
          Measure(1, duration_ns, nullptr, [&](int) { return cell.operation->make_floor(root); }));
      for (size_t i = 0; i < booted.size(); ++i) {
        const size_t turn = (first + i) % booted.size();
        cell.daemons[turn].push_back(MeasurePipelined(
            booted[turn]->daemon, cell.depth, duration_ns,
            [&](size_t stream) { return cell.operation->make(booted[turn]->mounted, stream); }));
      }
      ++first;
    }
  }
}

void MeasureWalks(const std::string& dir, VirtiofsReport& report) {
  if (FLAGS_walks == 0 || !IsWanted("walk")) return;
  MakeWalkedTree(dir);
  report.bare_walks.name = "bare calls";
  for (const Contender& contender : report.contenders) report.walks.push_back({contender.name});
  WalkBare(dir);  // the host's caches are warm for everybody
  for (int round = 0; round < FLAGS_walks; ++round) {
    std::cerr << "walk " << round + 1 << " of " << FLAGS_walks << "\n";
    report.bare_walks.rounds.push_back(WalkBare(dir));
    for (size_t i = 0; i < report.contenders.size(); ++i) {
      const size_t turn = (static_cast<size_t>(round) + i) % report.contenders.size();
      report.walks[turn].rounds.push_back(WalkWithDaemon(report.contenders[turn], dir));
    }
  }
  if (FLAGS_rlimit_nofile == 0) return;
  const std::string limit = absl::StrCat("--rlimit-nofile=", FLAGS_rlimit_nofile);
  report.limited_walks.name = absl::StrCat("gofer ", limit);
  for (int round = 0; round < FLAGS_walks; ++round) {
    report.limited_walks.rounds.push_back(
        WalkWithDaemon({.name = report.limited_walks.name, .command = OurCommand(limit)}, dir));
  }
}

int Main(std::vector<Contender> others) {
  if (FLAGS_gofer.empty()) {
    std::cerr << "virtiofs_bench: needs --gofer; tools/bench virtiofs gives it\n";
    return 2;
  }
  std::vector<size_t> depths;
  for (absl::string_view text : absl::StrSplit(FLAGS_depths, ',')) {
    uint32_t depth;
    if (!absl::SimpleAtoi(text, &depth) || depth < 1 || depth > kMaxDepth) {
      std::cerr << "virtiofs_bench: --depths: " << text << " is not between 1 and " << kMaxDepth
                << "\n";
      return 2;
    }
    depths.push_back(depth);
  }
  VirtiofsReport report{
      .host = DescribeHost(FLAGS_dir),
      .client = FLAGS_spin_us == 0
                    ? "which sleeps until it is called"
                    : absl::StrCat("which polls for ", FLAGS_spin_us, " us, then sleeps"),
      .cell_ms = static_cast<uint64_t>(FLAGS_cell_ms),
      .rounds = FLAGS_rounds};
  report.contenders.push_back({"gofer", OurCommand()});
  if (const std::string qemu = testing::QemuVirtiofsd(); FLAGS_qemu && !qemu.empty()) {
    report.contenders.push_back(
        {"QEMU virtiofsd",
         absl::StrCat(qemu, " -f --socket-path={socket} -o source={dir} -o cache=auto")});
  }
  for (Contender& other : others) report.contenders.push_back(std::move(other));

  const ScratchDir tree(FLAGS_dir);
  MakeVirtiofsTree(tree.path());
  MeasureCells(tree.path(), depths, report);
  MeasureWalks(tree.path(), report);

  std::cout << report.Text() << std::flush;
  if (FLAGS_json.empty()) return 0;
  std::ofstream file(FLAGS_json);
  file << report.Json();
  file.close();
  if (!file) {
    std::cerr << "virtiofs_bench: cannot write " << FLAGS_json << "\n";
    return 1;
  }
  return 0;
}

// Takes --daemon=NAME=COMMAND out of the arguments: gflags has no flag that comes several times.
std::vector<Contender> TakeDaemons(int& argc, char** argv) {
  std::vector<Contender> daemons;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    absl::string_view value = argv[i];
    if (!absl::ConsumePrefix(&value, "--daemon=")) {
      argv[kept++] = argv[i];
      continue;
    }
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(value, absl::MaxSplits('=', 1));
    if (parts.first.empty() || !absl::StrContains(parts.second, "{socket}")) {
      std::cerr << "virtiofs_bench: " << argv[i]
                << " is not --daemon='NAME=COMMAND {socket} {dir}'\n";
      exit(2);
    }
    daemons.push_back({parts.first, parts.second});
  }
  argc = kept;
  return daemons;
}

}  // namespace
}  // namespace gofer::bench

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  std::vector<gofer::bench::Contender> others = gofer::bench::TakeDaemons(argc, argv);
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  return gofer::bench::Main(std::move(others));
}
