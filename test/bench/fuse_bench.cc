// fuse_bench measures what programs get from a folder that is mounted through us on /dev/fuse,
// beside the plain folder and beside other servers. tools/bench builds and starts it.
//
//   fuse_bench --gofer=bazel-bin/gofer/gofer [--peer='NAME=COMMAND {dir} {mnt}']...
//
// Everybody serves the same folder, at the same time, at mount points of their own, and all take
// turns within every round, so that whatever else the machine does hits all of them. A peer's
// command mounts, and serves in the foreground until SIGTERM; bindfs takes part where it is
// installed.

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "test/bench/fuse_loads.h"
#include "test/bench/histogram.h"
#include "test/bench/host.h"
#include "test/bench/runner.h"

DEFINE_string(gofer, "", "our gofer, by path");
DEFINE_string(gofer_flags, "--cache=auto", "more flags for `gofer serve`, space separated");
DEFINE_bool(bindfs, true, "whether bindfs takes part, where it is installed");
DEFINE_string(dir, "/var/tmp", "where the folder is made, and removed");
DEFINE_string(json, "", "file for the results as JSON");
DEFINE_string(filter, "", "only loads whose name has one of these in it, comma separated");
DEFINE_string(jobs, "1,4", "threads that work at once");
DEFINE_int32(rounds, 5, "how often everything is measured; medians are shown");
DEFINE_int32(cell_ms, 300, "milliseconds for each measurement");

namespace gofer::bench {
namespace {

constexpr int kMountSeconds = 10;

struct Contender {
  std::string name;
  std::string command;  // {dir}, {mnt}
};

// A server of its own process, and what it has mounted.
class Mounted {
 public:
  Mounted(const Contender& contender, const std::string& dir, const std::string& mountpoint)
      : mountpoint_(mountpoint) {
    PCHECK(mkdir(mountpoint.c_str(), 0755) == 0);
    const dev_t before = Device();
    const std::string command = absl::StrCat(
        "exec ", absl::StrReplaceAll(contender.command, {{"{dir}", dir}, {"{mnt}", mountpoint}}));
    pid_ = fork();
    PCHECK(pid_ >= 0);
    if (pid_ == 0) {
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; Device() == before; ++i) {
      CHECK_LT(i, kMountSeconds * 100) << contender.name << " has not mounted: " << command;
      CHECK_EQ(waitpid(pid_, nullptr, WNOHANG), 0) << contender.name << " has ended: " << command;
      usleep(10'000);
    }
  }
  ~Mounted() {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
    umount2(mountpoint_.c_str(), MNT_DETACH);  // for servers that leave it
    rmdir(mountpoint_.c_str());
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

  Folder folder() const { return {.path = mountpoint_, .is_mount = true}; }

 private:
  dev_t Device() const {
    struct stat st;
    PCHECK(stat(mountpoint_.c_str(), &st) == 0) << mountpoint_;
    return st.st_dev;
  }

  const std::string mountpoint_;
  pid_t pid_;
};

struct Cell {
  const FuseLoad* load;
  int jobs;
  std::vector<std::vector<Sample>> samples;  // of each folder, the plain one first
};

bool IsWanted(absl::string_view name) {
  if (FLAGS_filter.empty()) return true;
  for (const absl::string_view part : absl::StrSplit(FLAGS_filter, ',', absl::SkipEmpty())) {
    if (absl::StrContains(name, part)) return true;
  }
  return false;
}

template <typename Field>
double MedianOf(const std::vector<Sample>& samples, Field Sample::*field) {
  std::vector<double> values;
  for (const Sample& sample : samples) values.push_back(sample.*field);
  return Median(std::move(values));
}

std::string Rate(const FuseLoad& load, double per_s) {
  if (load.bytes == 0) return absl::StrFormat("%.0f/s", per_s);
  return absl::StrFormat("%.0f MiB/s", per_s * static_cast<double>(load.bytes) / (1 << 20));
}

std::string Text(const std::string& host, const std::vector<std::string>& names,
                 const std::vector<Cell>& cells) {
  std::string text =
      absl::StrFormat("%s\nmedians of %d rounds of %d ms; x: as fast as the plain folder\n\n", host,
                      FLAGS_rounds, FLAGS_cell_ms);
  absl::StrAppendFormat(&text, "%-36s %4s", "load", "jobs");
  for (const std::string& name : names) absl::StrAppendFormat(&text, " | %-27s", name);
  text += '\n';
  std::vector<std::vector<double>> ratios(names.size());
  for (const Cell& cell : cells) {
    absl::StrAppendFormat(&text, "%-36s %4d", cell.load->name, cell.jobs);
    const double plain = MedianOf(cell.samples[0], &Sample::ops_per_s);
    for (size_t i = 0; i < names.size(); ++i) {
      const double per_s = MedianOf(cell.samples[i], &Sample::ops_per_s);
      ratios[i].push_back(per_s / plain);
      absl::StrAppendFormat(&text, " | %12s %5.2fx %5.0fus", Rate(*cell.load, per_s), per_s / plain,
                            MedianOf(cell.samples[i], &Sample::p99_ns) / 1000);
    }
    text += '\n';
  }
  absl::StrAppendFormat(&text, "%-41s", "geometric mean");
  for (std::vector<double>& each : ratios) {
    absl::StrAppendFormat(&text, " | %12s %5.2fx %7s", "", GeometricMean(each), "");
  }
  return text + "\n(rate, ratio, p99)\n";
}

std::string Json(const std::vector<std::string>& names, const std::vector<Cell>& cells) {
  std::string text = "[\n";
  for (const Cell& cell : cells) {
    for (size_t i = 0; i < names.size(); ++i) {
      absl::StrAppendFormat(
          &text,
          "%s{\"load\": \"%s\", \"jobs\": %d, \"server\": \"%s\", \"ops_per_s\": %.1f, "
          "\"p50_us\": %.2f, \"p99_us\": %.2f}",
          text.size() > 2 ? ",\n" : "", cell.load->name, cell.jobs, names[i],
          MedianOf(cell.samples[i], &Sample::ops_per_s),
          MedianOf(cell.samples[i], &Sample::p50_ns) / 1000,
          MedianOf(cell.samples[i], &Sample::p99_ns) / 1000);
    }
  }
  return text + "\n]\n";
}

int Main(std::vector<Contender> peers) {
  if (FLAGS_gofer.empty()) {
    std::cerr << "fuse_bench: needs --gofer; tools/bench fuse gives it\n";
    return 2;
  }
  std::vector<Contender> contenders = {
      {"gofer", absl::StrCat(FLAGS_gofer, " serve --root={dir} --fuse_mountpoint={mnt} ",
                             FLAGS_gofer_flags)}};
  if (FLAGS_bindfs && access("/usr/bin/bindfs", X_OK) == 0) {
    contenders.push_back({"bindfs", "/usr/bin/bindfs -f --multithreaded {dir} {mnt}"});
  }
  for (Contender& peer : peers) contenders.push_back(std::move(peer));

  const ScratchDir scratch(FLAGS_dir);
  const std::string dir = scratch.path() + "/served";
  PCHECK(mkdir(dir.c_str(), 0755) == 0);
  MakeFuseTree(dir);
  const std::string host = DescribeHost(FLAGS_dir);
  std::vector<std::unique_ptr<Mounted>> mounts;
  std::vector<Folder> folders = {{.path = dir, .is_mount = false}};
  std::vector<std::string> names = {"plain folder"};
  for (const Contender& contender : contenders) {
    mounts.push_back(std::make_unique<Mounted>(contender, dir,
                                               absl::StrCat(scratch.path(), "/", mounts.size())));
    folders.push_back(mounts.back()->folder());
    names.push_back(contender.name);
  }
  std::vector<Cell> cells;
  for (const absl::string_view text : absl::StrSplit(FLAGS_jobs, ',')) {
    int jobs;
    if (!absl::SimpleAtoi(text, &jobs) || jobs < 1) {
      std::cerr << "fuse_bench: --jobs: " << text << " is no number of threads\n";
      return 2;
    }
    for (const FuseLoad& load : AllFuseLoads()) {
      if (!IsWanted(load.name)) continue;
      cells.push_back({&load, jobs, std::vector<std::vector<Sample>>(folders.size())});
    }
  }
  const uint64_t duration_ns = static_cast<uint64_t>(FLAGS_cell_ms) * 1'000'000;
  for (int round = 0; round < FLAGS_rounds; ++round) {
    std::cerr << "round " << round + 1 << " of " << FLAGS_rounds << "\n";
    size_t first = 0;
    for (Cell& cell : cells) {
      for (size_t i = 0; i < folders.size(); ++i) {
        const size_t turn = (first + i) % folders.size();
        cell.samples[turn].push_back(Measure(cell.jobs, duration_ns, nullptr, [&](int thread) {
          return cell.load->make(folders[turn], thread);
        }));
      }
      ++first;
    }
  }
  mounts.clear();
  std::cout << Text(host, names, cells) << std::flush;
  if (FLAGS_json.empty()) return 0;
  std::ofstream file(FLAGS_json);
  file << Json(names, cells);
  file.close();
  if (!file) {
    std::cerr << "fuse_bench: cannot write " << FLAGS_json << "\n";
    return 1;
  }
  return 0;
}

// Takes --peer=NAME=COMMAND out of the arguments: gflags has no flag that comes several times.
std::vector<Contender> TakePeers(int& argc, char** argv) {
  std::vector<Contender> peers;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    absl::string_view value = argv[i];
    if (!absl::ConsumePrefix(&value, "--peer=")) {
      argv[kept++] = argv[i];
      continue;
    }
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(value, absl::MaxSplits('=', 1));
    if (parts.first.empty() || !absl::StrContains(parts.second, "{mnt}")) {
      std::cerr << "fuse_bench: " << argv[i] << " is not --peer='NAME=COMMAND {dir} {mnt}'\n";
      exit(2);
    }
    peers.push_back({parts.first, parts.second});
  }
  argc = kept;
  return peers;
}

}  // namespace
}  // namespace gofer::bench

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  std::vector<gofer::bench::Contender> peers = gofer::bench::TakePeers(argc, argv);
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  return gofer::bench::Main(std::move(peers));
}
