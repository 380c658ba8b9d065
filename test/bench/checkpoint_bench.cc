// Save and restore of a big tree, beside what the same work costs with system calls alone.
//
// A client walks to some files and opens a few; that is what an image holds. All others are known
// to the core as cached names, as after the lookups of a guest. Each round: they are looked up
// again, since a save drops them; the save is prepared, the client writes to one of a hundred of
// those files, the tree is saved, and a fresh core restores it with and without validation. The
// floors are statx of every saved file, and write and fsync of as many bytes as the image has, in
// the same round.
//
// Usage: checkpoint_bench [--dir=DIR] [--files=N] [--referenced=N] [--open=N] [--rounds=N]
//                         [--json=FILE]

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/image_file.h"
#include "checkpoint/load.h"
#include "checkpoint/report.h"
#include "checkpoint/save.h"
#include "gflags/gflags.h"
#include "glog/logging.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/path_repair.h"
#include "gofer/fs/prepared_files.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/own_directory.h"
#include "gofer/sys/process.h"
#include "lisafs/client/client.h"
#include "lisafs/server/server.h"
#include "test/bench/host.h"

DEFINE_string(dir, "/var/tmp", "where the tree is made");
DEFINE_uint64(files, 1'000'000, "in the tree");
DEFINE_uint64(referenced, 100'000, "of them that the client refers to when the tree is saved");
DEFINE_uint64(open, 1'000, "of those that it has open");
DEFINE_int32(rounds, 5, "the median of them is shown");
DEFINE_string(json, "", "a file that gets the numbers as a JSON object");

namespace gofer::bench {

// Of each of the two cores that are there at a time.
inline constexpr uint64_t kDescriptors = 6000;

namespace {

constexpr uint64_t kFilesPerDir = 1000;
constexpr uint64_t kFileSize = 4;
constexpr size_t kChangedOf = 100;  // one of so many changes between preparing and saving

template <typename Result>
auto Must(Result result) {
  CHECK(result.ok()) << "in a benchmark nothing fails";
  return *std::move(result);
}

std::string DirName(uint64_t file) { return absl::StrCat("dir", file / kFilesPerDir); }
std::string FileName(uint64_t file) { return absl::StrCat("file", file % kFilesPerDir); }

Name NameOf(const std::string& name) { return Must(Name::Parse(name)); }

// Every stride-th file is one that the client keeps.
uint64_t Stride() { return std::max<uint64_t>(1, FLAGS_files / FLAGS_referenced); }

void MakeTree(const std::string& root) {
  for (uint64_t file = 0; file < FLAGS_files; ++file) {
    const std::string dir = absl::StrCat(root, "/", DirName(file));
    if (file % kFilesPerDir == 0) PCHECK(mkdir(dir.c_str(), 0755) == 0) << dir;
    const std::string path = absl::StrCat(dir, "/", FileName(file));
    const UniqueFd made(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    PCHECK(made.valid() && write(made.get(), "data", kFileSize) == ssize_t{kFileSize}) << path;
  }
}

std::unique_ptr<fs::Filesystem> MakeFilesystem(const std::string& root) {
  return Must(fs::Filesystem::Create(Must(sys::OpenRootPath(root.c_str())),
                                     Must(sys::OpenProcSelfFd()),
                                     {.max_unreferenced_dentries = FLAGS_files + FLAGS_files / 100,
                                      .max_nodes = 2 * FLAGS_files + 10'000,
                                      .max_fds = kDescriptors}));
}

// A LISAFS client and the server on its tree, in this process.
class Service {
 public:
  explicit Service(const std::string& root)
      : filesystem_(MakeFilesystem(root)), server_(filesystem_.get(), {.donate_fds = false}) {
    int fds[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    CHECK(server_.AddConnection(UniqueFd(fds[1]), {}).ok());
    client_ = std::make_unique<lisafs::Client>(UniqueFd(fds[0]));
  }
  ~Service() {
    client_.reset();
    server_.Wait();
  }

  void WalkToSome() {
    const lisafs::FdId root = Must(client_->Mount()).root.control_fd;
    lisafs::FdId dir{};
    uint64_t dir_of = ~uint64_t{0};
    uint64_t opened = 0;
    for (uint64_t file = 0; file < FLAGS_files; file += Stride()) {
      if (file / kFilesPerDir != dir_of) {
        dir_of = file / kFilesPerDir;
        dir = Walk(root, DirName(file));
      }
      const lisafs::FdId found = Walk(dir, FileName(file));
      if (opened < FLAGS_open) {
        Must(client_->OpenAt(found, O_RDWR));
        ++opened;
      } else {
        not_open_.push_back(found);
      }
    }
  }

  // Without opening what is found: there are not descriptors for all. Directories first: one that
  // has to be opened when there are none left costs all names that are cached by then.
  void CacheEverything() {
    for (uint64_t file = 0; file < FLAGS_files; file += kFilesPerDir) CacheDirectory(file, 1);
    for (uint64_t file = 0; file < FLAGS_files; file += kFilesPerDir) {
      CacheDirectory(file, std::min(kFilesPerDir, FLAGS_files - file));
    }
    CHECK_GE(filesystem_->dentries().size(), FLAGS_files);
  }

  // Each with a byte more than before, and closed again.
  void ChangeSomeFiles(uint64_t size) {
    constexpr std::byte kMore[1] = {};
    for (size_t i = 0; i < not_open_.size(); i += kChangedOf) {
      const lisafs::FdId open = Must(client_->OpenAt(not_open_[i], O_RDWR)).fd;
      CHECK_EQ(Must(client_->PWrite(open, kMore, size)), 1u);
      CHECK(client_->Close({open}).ok());
    }
  }

  checkpoint::Subject subject() { return {.filesystem = *filesystem_, .lisafs = server_}; }
  fs::Filesystem& filesystem() { return *filesystem_; }

 private:
  void CacheDirectory(uint64_t first, uint64_t count) {
    const fs::Entry dir =
        Must(filesystem_->LookupUnopened(filesystem_->root(), NameOf(DirName(first))));
    for (uint64_t file = first; file < first + count; ++file) {
      (void)Must(filesystem_->LookupUnopened(*dir.dentry, NameOf(FileName(file))));
    }
  }
  lisafs::FdId Walk(lisafs::FdId from, absl::string_view name) {
    lisafs::Inode inode;
    CHECK_EQ(Must(client_->Walk(from, {name}, std::span(&inode, 1))).count, 1u) << name;
    return inode.control_fd;
  }

  std::unique_ptr<fs::Filesystem> filesystem_;
  lisafs::Server server_;
  std::unique_ptr<lisafs::Client> client_;
  std::vector<lisafs::FdId> not_open_;  // that the client keeps
};

double MillisecondsOf(const std::function<void()>& work) {
  const absl::Time begin = absl::Now();
  work();
  return absl::ToDoubleMilliseconds(absl::Now() - begin);
}

// One statx for each saved file, relative to its directory, as cheap as it gets.
void StatSavedFiles(const std::string& root) {
  UniqueFd dir;
  uint64_t of = ~uint64_t{0};
  for (uint64_t file = 0; file < FLAGS_files; file += Stride()) {
    if (file / kFilesPerDir != of) {
      of = file / kFilesPerDir;
      dir = UniqueFd(
          open(absl::StrCat(root, "/", DirName(file)).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    }
    struct statx attr;
    PCHECK(statx(dir.get(), FileName(file).c_str(), AT_SYMLINK_NOFOLLOW, STATX_ALL, &attr) == 0);
  }
}

void WriteDurably(const std::string& path, size_t size) {
  const std::string bytes(size, 'x');
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  CHECK(sys::WriteAll(file, bytes).ok());
  PCHECK(fsync(file.get()) == 0);
}

// A line of this process's status, in bytes: "RssAnon:" is anonymous memory, "VmHWM:" the most that
// it had of all kinds since ForgetPeak, "VmRSS:" what it has now.
double StatusBytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kib = 0;
    if (word == key && status >> kib) return kib * 1024;
  }
  LOG(FATAL) << "/proc/self/status has no " << key;
}

void ForgetPeak() {
  std::ofstream refs("/proc/self/clear_refs");
  refs << "5" << std::flush;
  CHECK(refs.good()) << "/proc/self/clear_refs";
}

struct Series {
  std::string name;
  std::string unit;
  std::vector<double> values = {};

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[sorted.size() / 2];
  }
};

enum Measure {
  kPrepare,
  kPause,
  kStore,
  kWriteFloor,
  kImageBytes,
  kSaveMemory,
  kStatFloor,
  kRestore,
  kRestoreUnvalidated
};

class Campaign {
 public:
  Campaign() : tree_(FLAGS_dir), images_(FLAGS_dir) {}

  void Run() {
    std::cout << "a tree of " << FLAGS_files << " files in " << FLAGS_dir << ": "
              << DescribeHost(FLAGS_dir) << std::endl;
    MakeTree(tree_.path());
    sync();  // or the first save would wait for all of it
    const double before = StatusBytes("RssAnon:");
    service_ = std::make_unique<Service>(tree_.path());
    service_->WalkToSome();
    service_->CacheEverything();
    dentry_bytes_ = (StatusBytes("RssAnon:") - before) /
                    static_cast<double>(service_->filesystem().dentries().size());
    dentries_ = service_->filesystem().dentries().size();
    for (int round = 0; round < FLAGS_rounds; ++round) Round(round);
  }

  void Print() const {
    for (const Series& series : series_) {
      std::cout << absl::StrFormat("%-34s %10.1f %s\n", series.name, series.median(), series.unit);
    }
    std::cout << absl::StrFormat("%-34s %10.1f bytes of memory, %d dentries\n", "cached dentry",
                                 dentry_bytes_, dentries_);
    Target("pause", series_[kPause].median(), 100, "ms");
    Target("restore / statx of every file",
           series_[kRestore].median() / series_[kStatFloor].median(), 2.0, "x");
    Target("image bytes per saved name", series_[kImageBytes].median(), 100, "bytes");
    std::cout << std::flush;  // to remove the tree takes long, and may be cut short
    if (FLAGS_json.empty()) return;
    std::ofstream(FLAGS_json) << "{"
                              << absl::StrJoin(series_, ",",
                                               [](std::string* out, const Series& series) {
                                                 absl::StrAppend(out, "\"", series.name,
                                                                 "\":", series.median());
                                               })
                              << "}\n";
  }

 private:
  static void Target(absl::string_view name, double value, double limit, absl::string_view unit) {
    std::cout << absl::StrFormat("%-34s %10.2f %s, at most %.1f: %s\n", name, value, unit, limit,
                                 value <= limit ? "reached" : "MISSED");
  }
  void Add(Measure measure, double value) { series_[measure].values.push_back(value); }

  void Round(int round) {
    const UniqueFd directory = Must(sys::OpenOwnDirectory(images_.path().c_str()));
    fs::Filesystem& filesystem = service_->filesystem();
    service_->CacheEverything();
    ForgetPeak();
    const double before = StatusBytes("VmRSS:");
    std::optional<fs::PreparedFiles> prepared;
    Add(kPrepare, MillisecondsOf([&] {
          filesystem.dentries().Purge();
          prepared.emplace(filesystem);
          fs::RepairPaths(filesystem, {}, &*prepared);
        }));
    service_->ChangeSomeFiles(kFileSize + static_cast<uint64_t>(round));
    checkpoint::SaveResult saved;
    const double save_ms = MillisecondsOf([&] {
      saved = Must(checkpoint::Save(
          service_->subject(), {.leave_running = true},
          [&](absl::string_view payload) { return checkpoint::StoreImage(directory, payload, {}); },
          std::move(prepared)));
    });
    Add(kSaveMemory,
        std::max(0.0, StatusBytes("VmHWM:") - before) / static_cast<double>(saved.names));
    CHECK_GE(saved.names, FLAGS_files / Stride());
    const double pause_ms = absl::ToDoubleMilliseconds(saved.pause);
    Add(kPause, pause_ms);
    Add(kStore, save_ms - pause_ms);
    Add(kWriteFloor, MillisecondsOf([&] {
          WriteDurably(absl::StrCat(images_.path(), "/floor"), saved.payload_bytes);
        }));
    Add(kImageBytes, static_cast<double>(saved.payload_bytes) / static_cast<double>(saved.names));
    Add(kStatFloor, MillisecondsOf([&] { StatSavedFiles(tree_.path()); }));
    Add(kRestore, RestoreOnce(directory, {.sizes = true, .mtimes = true}));
    Add(kRestoreUnvalidated, RestoreOnce(directory, {.sizes = false, .mtimes = false}));
  }

  // From the opening of the image to a core that holds everything again.
  double RestoreOnce(BorrowedFd directory, fs::Validation validation) {
    const std::unique_ptr<fs::Filesystem> filesystem = MakeFilesystem(tree_.path());
    std::unique_ptr<fs::TreeRestore> restore;
    const double ms = MillisecondsOf([&] {
      checkpoint::Loaded loaded = Must(checkpoint::Load(directory, {}));
      restore = std::make_unique<fs::TreeRestore>(*filesystem, std::move(loaded.files),
                                                  fs::RestoreOptions{.validation = validation});
      const fs::RestoreReport& report = restore->Examine();
      CHECK(report.findings.empty()) << checkpoint::ReportAsText(report).substr(0, 1000);
      CHECK(restore->Take().ok());
    });
    restore.reset();
    return ms;
  }

  const ScratchDir tree_;
  const ScratchDir images_;
  std::unique_ptr<Service> service_;
  double dentry_bytes_ = 0;
  size_t dentries_ = 0;
  std::vector<Series> series_ = {
      {"prepare", "ms"},
      {"pause", "ms"},
      {"store", "ms"},
      {"floor: write and fsync", "ms"},
      {"image bytes per saved name", "bytes"},
      {"growth of memory per saved name", "bytes"},
      {"floor: statx of every saved file", "ms"},
      {"restore with validation", "ms"},
      {"restore without validation", "ms"},
  };
};

}  // namespace
}  // namespace gofer::bench

int main(int argc, char** argv) {
  google::ParseCommandLineFlags(&argc, &argv, true);
  struct rlimit limit;
  PCHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = 3 * gofer::bench::kDescriptors;
  PCHECK(limit.rlim_cur <= limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0)
      << "needs " << limit.rlim_cur << " descriptors";
  gofer::bench::Campaign campaign;
  campaign.Run();
  campaign.Print();
  return 0;
}
