// The soak: one gofer process with all its ways in on one tree, for minutes or hours. Two LISAFS
// clients, a virtio-fs guest and this machine's kernel do things at random, each in a part of the
// tree of its own and all in one that they share; the host changes a part that they only read. A
// model says what each answer must be. Meanwhile the gofer is saved every ten seconds, and clients
// die and come again. In the end nothing of it is left: no name, no descriptor, no thread; and
// memory has not grown, by its slope in runs of ten minutes and more.
//
//   tools/soak --minutes=60                       # as fast as it goes
//   bazel test //test/soak:soak_test --test_env=SOAK_SECONDS=600 --test_env=SOAK_PACE=100
//
// What an actor does is a function of the seed (SOAK_SEED) and of what others have done in the part
// that they share.
//
// Source: spec/security.md s.10 soak_test.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "glog/logging.h"
#include "gofer/control/client.h"
#include "gofer/control/control.pb.h"
#include "gtest/gtest.h"
#include "test/one_tree/view.h"
#include "test/soak/actor.h"
#include "test/soak/clients.h"
#include "test/support/environment.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"

namespace gofer::soak {
namespace {

using testing::FromEnvironment;
using testing::GoferProcess;
using testing::Must;

constexpr double kMaxSlopeKib = 64;  // per minute
constexpr absl::Duration kCheckpointEvery = absl::Seconds(10);
constexpr absl::Duration kSampleEvery = absl::Milliseconds(500);
// Threads for what waits for a disk: they come when they are first needed, and stay.
constexpr size_t kWorkers = 1;
// How long clients live, in operations.
constexpr uint64_t kMinLife = 300;
constexpr uint64_t kMaxLife = 3000;
// A slope can be told from what threads and buffers still come to need: 64 KiB are three new
// stacks.
constexpr absl::Duration kSlopeNeeds = absl::Minutes(10);
// How much more there may be at rest in the end than at rest in the beginning: pages that a buffer of
// a client who is gone has left half used.
constexpr double kMaxGrowthKib = 1024;

// What the process holds when nobody asks it anything.
struct Resources {
  uint64_t dentries = 0;
  uint64_t inodes = 0;
  uint64_t files = 0;  // descriptors of the tree
  size_t descriptors = 0;
  size_t threads = 0;
  std::string what = "";  // the descriptors are of

  bool operator==(const Resources&) const = default;
};

std::string ToString(const Resources& resources) {
  return absl::StrFormat("%d names, %d inodes, %d files, %d descriptors, %d threads",
                         resources.dentries, resources.inodes, resources.files,
                         resources.descriptors, resources.threads);
}

struct Sample {
  double minutes;
  double kib;
};

// The slope of the line that is nearest to them, in KiB per minute.
double Slope(const std::vector<Sample>& samples) {
  double mean_x = 0, mean_y = 0, up = 0, down = 0;
  for (const Sample& sample : samples) {
    mean_x += sample.minutes / static_cast<double>(samples.size());
    mean_y += sample.kib / static_cast<double>(samples.size());
  }
  for (const Sample& sample : samples) {
    up += (sample.minutes - mean_x) * (sample.kib - mean_y);
    down += (sample.minutes - mean_x) * (sample.minutes - mean_x);
  }
  return down == 0 ? 0 : up / down;
}

// Whether a save said no because of files that cannot be saved, as they may come to be at any time:
// a directory that is gone and open; a file of which a client knows no name that is left; and one
// whose directory the host takes away at that moment.
bool IsRefusal(const absl::Status& saved) {
  constexpr absl::string_view kIntroduction = " files cannot be saved: ";
  const size_t list = saved.message().find(kIntroduction);
  if (list == absl::string_view::npos) return false;
  for (const absl::string_view file :
       absl::StrSplit(saved.message().substr(list + kIntroduction.size()), "; ")) {
    if (!absl::EndsWith(file, ": is deleted, still open, and no regular file") &&
        !absl::EndsWith(file, ": was removed, and none of its other names is in use") &&
        !absl::EndsWith(file, ": lies in a directory that is not to be found any more")) {
      return false;
    }
  }
  return true;
}

class SoakTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    tree_.Mkdir("served");
    tree_.Mkdir("mnt");
    tree_.Mkdir("image");
    Start();
    if (!HasFatalFailure()) MakeClients();
  }
  void TearDown() override {
    clients_.clear();
    if (gofer_ == nullptr) return;
    EXPECT_TRUE(gofer_->Running());
    if (HasFailure()) std::cout << "seed " << seed_ << "\n" << gofer_->Stderr() << std::flush;
  }

  void Start() {
    testing::Pipe ready = testing::MakePipe();
    gofer_ = std::make_unique<GoferProcess>(testing::GoferStart{
        .arguments = {"serve", "--root=" + tree_.At("served"), "--cache=never", "--ready_fd=9",
                      "--lisafs_socket=" + tree_.At("lisafs"),
                      "--vhost_user_socket=" + tree_.At("vhost"),
                      "--fuse_mountpoint=" + tree_.At("mnt"),
                      "--control_socket=" + tree_.At("control"),
                      absl::StrCat("--thread_pool_size=", kWorkers)},
        .fds = {{9, ready.write.get()}},
        // What is free is then free for all threads, and memory comes to its size soon.
        .environment = {"MALLOC_ARENA_MAX=1"}});
    ready.write.Reset();
    ASSERT_EQ(testing::ReadPipe(ready.read), "\n") << gofer_->Stderr();
  }

  // Each in a region of its own, in the one of all, and in that of the host.
  void MakeClients() {
    shared_ = AddRegion("shared");
    host_region_ = AddRegion("host");
    const auto grounds = [&](const char* name) -> std::vector<Ground> {
      return {{.region = AddRegion(name), .weight = 5},
              {.region = shared_, .weight = 4},
              {.region = host_region_, .read_only = true, .weight = 1}};
    };
    const auto seed = [this] { return seed_ * 1000 + clients_.size(); };
    const std::string lisafs = tree_.At("lisafs");
    clients_.push_back(
        std::make_unique<LisafsSoakClient>("LISAFS socket", lisafs, 0, grounds("socket"), seed()));
    clients_.push_back(std::make_unique<LisafsSoakClient>("LISAFS channels", lisafs, 2,
                                                          grounds("channels"), seed()));
    clients_.push_back(std::make_unique<GuestSoakClient>(
        "virtio-fs", Must(vhost::driver::Frontend::Connect(tree_.At("vhost"))), grounds("guest"),
        seed()));
    clients_.push_back(std::make_unique<FolderSoakClient>(
        std::make_unique<MountView>("/dev/fuse", tree_.At("mnt")), grounds("mount"), seed()));
    clients_.push_back(std::make_unique<FolderSoakClient>(
        std::make_unique<one_tree::FolderView>("host", tree_.At("served")),
        std::vector<Ground>{{.region = host_region_}}, seed()));
  }
  Region* AddRegion(const char* name) {
    return regions_.emplace_back(std::make_unique<Region>(name)).get();
  }

  void Fail(const std::string& what) {
    failed_ = true;
    ADD_FAILURE() << "seed " << seed_ << ": " << what;
  }

  // ---- load

  // All act until the time is over or an answer was wrong.
  void Run(absl::Duration time) {
    for (const auto& region : regions_) tree_.Mkdir("served/" + region->directory);
    const absl::Time end = absl::Now() + time;
    std::vector<std::thread> threads;
    for (const auto& client : clients_) {
      client->Come();
      threads.emplace_back([this, end, &client = *client] { Live(client, end); });
    }
    Watch(end);
    for (std::thread& thread : threads) thread.join();
  }

  void Live(Client& client, absl::Time end) {
    const auto lifetime = [&] {
      return kMinLife + client.actor().random()() % (kMaxLife - kMinLife);
    };
    uint64_t left = lifetime();
    const absl::Time begin = absl::Now();
    for (uint64_t steps = 0; absl::Now() < end && !failed_; ++steps) {
      const std::string wrong = client.actor().Step();
      if (!wrong.empty()) Fail(wrong);
      if (--left == 0) {
        client.Die();
        client.Come();
        left = lifetime();
      }
      if (pace_ > 0) {
        absl::SleepFor(begin +
                       absl::Seconds(1) * static_cast<double>(steps) / static_cast<double>(pace_) -
                       absl::Now());
      }
    }
  }

  // Meanwhile: saves it, and looks at its memory.
  void Watch(absl::Time end) {
    absl::Time next_checkpoint = absl::Now() + kCheckpointEvery / 2;
    while (absl::Now() < end && !failed_) {
      absl::SleepFor(kSampleEvery);
      samples_.push_back({absl::ToDoubleMinutes(absl::Now() - begin_), MemoryKib()});
      if (absl::Now() < next_checkpoint) continue;
      next_checkpoint += kCheckpointEvery;
      Checkpoint();
    }
  }

  absl::StatusOr<control::Reply> Command(const control::Request& request, BorrowedFd file) {
    absl::StatusOr<UniqueFd> socket = control::ConnectToGofer(tree_.At("control"));
    if (!socket.ok()) return socket.status();
    absl::StatusOr<control::Reply> reply =
        control::Command(*socket, request, file, [](const control::Progress&) {});
    // Until the gofer has closed its end, which it has for a moment longer than the answer takes.
    shutdown(socket->get(), SHUT_WR);
    char rest;
    while (read(socket->get(), &rest, 1) > 0) continue;
    return reply;
  }

  void Checkpoint() {
    const UniqueFd file(
        open(tree_.At("image/gofer.img").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    PCHECK(file.valid());
    control::Request request;
    request.mutable_checkpoint()->set_leave_running(true);
    const absl::StatusOr<control::Reply> reply = Command(request, file);
    if (IsRefusal(reply.status())) {
      ++refused_checkpoints_;
      return;
    }
    if (!reply.ok()) return Fail(absl::StrCat("checkpoint: ", reply.status().message()));
    const absl::StatusOr<checkpoint::Loaded> image = checkpoint::Load(tree_.OpenPath("image"), {});
    if (!image.ok()) return Fail(absl::StrCat("image: ", image.status().message()));
    ++checkpoints_;
    saved_files_ += reply->checkpoint().open_files();
    saved_deleted_ += reply->checkpoint().deleted_files();
    longest_pause_ = std::max(longest_pause_, absl::Microseconds(reply->checkpoint().pause_us()));
  }

  // ---- the end of it

  // Everybody leaves, all have seen the same, and the tree is emptied through the mount, so that
  // the kernel has nothing more to know. What is held then.
  Resources Rest() {
    for (const auto& region : regions_) {
      for (const auto& client : clients_) {
        if (failed_) break;
        const std::string wrong = Differences(client->view(), *region);
        if (!wrong.empty()) Fail(wrong);
      }
    }
    for (const auto& client : clients_) {
      const std::string wrong = client->Leave();
      if (!wrong.empty()) Fail(wrong);
    }
    for (const auto& region : regions_) {
      std::filesystem::remove_all(tree_.At("mnt/" + region->directory));
      const absl::MutexLock lock(&region->mu);
      region->model = Model();
    }
    return Settle();
  }

  // What happens behind the answers is over when nothing changes any more, look after look. Then
  // only the root is known.
  Resources Settle() {
    constexpr int kEnough = 5;
    Resources now;
    int same = 0;
    const absl::Time deadline = absl::Now() + testing::kPatience;
    while (same < kEnough && absl::Now() < deadline) {
      control::Request purge;
      purge.mutable_purge();
      EXPECT_TRUE(Command(purge, BorrowedFd(-1)).ok());
      const Resources before = std::exchange(now, Look());
      same = now.dentries == 1 && now == before ? same + 1 : 0;
      absl::SleepFor(absl::Milliseconds(100));
    }
    EXPECT_EQ(now.dentries, 1u) << "seed " << seed_;
    EXPECT_EQ(now.inodes, 1u) << "seed " << seed_;
    return now;
  }

  Resources Look() {
    control::Request request;
    request.mutable_status();
    const absl::StatusOr<control::Reply> reply = Command(request, BorrowedFd(-1));
    if (!reply.ok()) {
      Fail(absl::StrCat("status: ", reply.status().message()));
      return {};
    }
    const control::Status& status = reply->status();
    // The thread that served this goes after the answer.
    absl::SleepFor(absl::Milliseconds(20));
    return {.dentries = status.dentries(),
            .inodes = status.inodes(),
            .files = status.file_descriptors(),
            .descriptors = gofer_->OpenFds().size(),
            .threads = CountThreads(),
            .what = Descriptors()};
  }

  // Without those that wait for a request of the kernel: more come when all are busy, and stay.
  size_t CountThreads() const {
    const std::string process = absl::StrCat("/proc/", gofer_->pid());
    size_t threads = 0;
    for (const auto& task : std::filesystem::directory_iterator(process + "/task")) {
      int64_t call = -1;
      std::string argument;
      std::ifstream(task.path() / "syscall") >> call >> argument;
      uint64_t fd = 0;
      std::error_code gone;
      const bool reads =
          call == SYS_read && absl::SimpleHexAtoi(argument, &fd) &&
          std::filesystem::read_symlink(absl::StrCat(process, "/fd/", fd), gone) == "/dev/fuse";
      if (!reads) ++threads;
    }
    return threads;
  }

  std::string Descriptors() const {
    std::string all;
    for (const int fd : gofer_->OpenFds()) {
      std::error_code gone;
      absl::StrAppend(
          &all, " ",
          std::filesystem::read_symlink(absl::StrCat("/proc/", gofer_->pid(), "/fd/", fd), gone)
              .string());
    }
    return all;
  }

  // Its own: without the program's text, which comes page by page, and without windows and guest
  // memory, which are its clients'.
  double MemoryKib() const {
    std::ifstream sums(absl::StrCat("/proc/", gofer_->pid(), "/smaps_rollup"));
    for (std::string word; sums >> word;) {
      double kib = 0;
      if (word == "Anonymous:" && sums >> kib) return kib;
    }
    return 0;
  }

  void Report(absl::Duration time, const Resources& end, double slope) {
    std::cout << "soak: seed " << seed_ << ", " << absl::FormatDuration(time) << "\n";
    for (const auto& client : clients_) {
      std::cout << absl::StrFormat("  %-16s %9d operations, %5d deaths\n", client->name(),
                                   client->actor().steps(), client->deaths());
    }
    std::cout << "  " << checkpoints_ << " checkpoints, " << refused_checkpoints_
              << " refused; with " << saved_files_ << " open files, " << saved_deleted_
              << " of them deleted; the longest pause " << absl::FormatDuration(longest_pause_)
              << "\n"
              << "  before: " << ToString(base_) << "\n"
              << "  after:  " << ToString(end) << "\n"
              << absl::StrFormat(
                     "  memory: %.0f KiB, slope %.1f KiB per minute, limit %.0f; at rest "
                     "%.0f KiB, before %.0f KiB\n",
                     samples_.empty() ? 0 : samples_.back().kib, slope, kMaxSlopeKib, MemoryKib(),
                     base_kib_)
              << std::flush;
  }

  const uint64_t seed_ = FromEnvironment("SOAK_SEED", 1);
  // Operations of each client in a second; 0: as many as it can.
  const uint64_t pace_ = FromEnvironment("SOAK_PACE", 50);
  const testing::TempTree tree_;
  std::unique_ptr<GoferProcess> gofer_;
  std::vector<std::unique_ptr<Region>> regions_;
  Region* shared_ = nullptr;
  Region* host_region_ = nullptr;
  std::vector<std::unique_ptr<Client>> clients_;
  std::atomic<bool> failed_{false};
  const absl::Time begin_ = absl::Now();
  std::vector<Sample> samples_;
  Resources base_;
  double base_kib_ = 0;
  uint64_t checkpoints_ = 0;
  uint64_t refused_checkpoints_ = 0;
  uint64_t saved_files_ = 0;
  uint64_t saved_deleted_ = 0;
  absl::Duration longest_pause_;
};

TEST_F(SoakTest, NothingIsLeftOfIt) {
  const absl::Duration time =
      absl::Seconds(static_cast<int64_t>(FromEnvironment("SOAK_SECONDS", 120)));
  // Until caches, pools and the allocator have what they need.
  Run(time / 4);
  base_ = Rest();
  base_kib_ = MemoryKib();
  if (failed_) return;
  samples_.clear();
  Run(time * 3 / 4);
  const Resources end = Rest();
  const double slope = Slope(samples_);
  Report(time, end, slope);
  EXPECT_EQ(end.descriptors, base_.descriptors)
      << "seed " << seed_ << "\nbefore: " << base_.what << "\nafter:  " << end.what;
  EXPECT_EQ(end.files, base_.files) << "seed " << seed_;
  EXPECT_LE(end.threads, base_.threads + kWorkers) << "seed " << seed_;
  EXPECT_GT(checkpoints_, 0u);
#ifndef GOFER_SANITIZER  // they keep what was freed
  if (time >= kSlopeNeeds) {
    EXPECT_LT(slope, kMaxSlopeKib) << "seed " << seed_;
  }
  EXPECT_GT(base_kib_, 0);
  EXPECT_LT(MemoryKib() - base_kib_, kMaxGrowthKib) << "seed " << seed_;
#endif
}

}  // namespace
}  // namespace gofer::soak
