#include "test/bench/fuse_loads.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"

namespace gofer::bench {
namespace {

constexpr int kSmallFiles = 1000;
constexpr int kListed = 10'000;
constexpr uint64_t kBlock = 4096;
constexpr uint64_t kBigFile = 64 << 20;

std::string SmallFile(const Folder& folder, int i) {
  return absl::StrCat(folder.path, "/small/", i);
}

UniqueFd Open(const std::string& path, int flags) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, 0644));
  PCHECK(fd.valid()) << path;
  return fd;
}

void MakeEmpty(const std::string& path) { const UniqueFd file = Open(path, O_WRONLY | O_CREAT); }

class Stat final : public Worker {
 public:
  Stat(const Folder& folder, int thread) : folder_(folder), next_(thread * 101) {}
  void Once() override {
    struct stat st;
    PCHECK(stat(SmallFile(folder_, next_++ % kSmallFiles).c_str(), &st) == 0);
  }

 private:
  const Folder folder_;
  int next_;
};

class ReadSmall final : public Worker {
 public:
  ReadSmall(const Folder& folder, int thread) : folder_(folder), next_(thread * 101) {}
  void Once() override {
    const UniqueFd file = Open(SmallFile(folder_, next_++ % kSmallFiles), O_RDONLY);
    PCHECK(pread(file.get(), buffer_.data(), kBlock, 0) == kBlock);
  }

 private:
  const Folder folder_;
  int next_;
  std::vector<char> buffer_ = std::vector<char>(kBlock);
};

class CreateAndRemove final : public Worker {
 public:
  CreateAndRemove(const Folder& folder, int thread)
      : path_(absl::StrCat(folder.path, "/made/", thread)) {}
  void Once() override {
    {
      const UniqueFd file = Open(path_, O_WRONLY | O_CREAT | O_EXCL);
      PCHECK(write(file.get(), buffer_.data(), kBlock) == kBlock);
    }
    PCHECK(unlink(path_.c_str()) == 0);
  }

 private:
  const std::string path_;
  const std::vector<char> buffer_ = std::vector<char>(kBlock, 'x');
};

class Rename final : public Worker {
 public:
  Rename(const Folder& folder, int thread)
      : names_{absl::StrCat(folder.path, "/made/here", thread),
               absl::StrCat(folder.path, "/made/there", thread)} {
    MakeEmpty(names_[0]);
  }
  ~Rename() override { PCHECK(unlink(names_[at_].c_str()) == 0); }
  void Once() override {
    PCHECK(rename(names_[at_].c_str(), names_[1 - at_].c_str()) == 0);
    at_ = 1 - at_;
  }

 private:
  const std::string names_[2];
  int at_ = 0;
};

enum class Order { kRandom, kSequence };

class Read final : public Worker {
 public:
  Read(const Folder& folder, int thread, uint64_t size, Order order, bool cached)
      : file_(Open(folder.path + "/big", O_RDONLY)),
        order_(order),
        // On the plain folder nothing else is left than what is cached.
        drop_(folder.is_mount && !cached),
        buffer_(size),
        state_(static_cast<uint64_t>(thread) * 7919 + 1) {
    const int advice = order == Order::kRandom ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL;
    PCHECK(posix_fadvise(file_.get(), 0, 0, advice) == 0);
    if (drop_) Drop(0, 0);
    if (cached) ReadAll();
  }
  void Once() override {
    const uint64_t blocks = kBigFile / buffer_.size();
    uint64_t block;
    if (order_ == Order::kRandom) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      block = (state_ >> 33) % blocks;
    } else {
      block = state_++ % blocks;
      if (block == 0 && drop_) Drop(0, 0);
    }
    const uint64_t offset = block * buffer_.size();
    PCHECK(pread(file_.get(), buffer_.data(), buffer_.size(), static_cast<off_t>(offset)) ==
           static_cast<ssize_t>(buffer_.size()));
    if (drop_ && order_ == Order::kRandom) Drop(offset, buffer_.size());
  }

 private:
  void ReadAll() {
    std::vector<char> chunk(1 << 20);
    for (uint64_t done = 0; done < kBigFile; done += chunk.size()) {
      PCHECK(pread(file_.get(), chunk.data(), chunk.size(), static_cast<off_t>(done)) ==
             static_cast<ssize_t>(chunk.size()));
    }
  }
  void Drop(uint64_t offset, uint64_t size) {
    PCHECK(posix_fadvise(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(size),
                         POSIX_FADV_DONTNEED) == 0);
  }

  const UniqueFd file_;
  const Order order_;
  const bool drop_;
  std::vector<char> buffer_;
  uint64_t state_;
};

class Write final : public Worker {
 public:
  Write(const Folder& folder, int thread, uint64_t size, Order order)
      : path_(absl::StrCat(folder.path, "/made/written", thread)),
        file_(Open(path_, O_RDWR | O_CREAT)),
        order_(order),
        buffer_(size, 'w'),
        state_(static_cast<uint64_t>(thread)) {}
  ~Write() override { PCHECK(unlink(path_.c_str()) == 0); }
  void Once() override {
    const uint64_t blocks = kBigFile / 4 / buffer_.size();
    uint64_t block;
    if (order_ == Order::kRandom) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      block = (state_ >> 33) % blocks;
    } else {
      block = state_++ % blocks;
    }
    PCHECK(pwrite(file_.get(), buffer_.data(), buffer_.size(),
                  static_cast<off_t>(block * buffer_.size())) ==
           static_cast<ssize_t>(buffer_.size()));
  }

 private:
  const std::string path_;
  const UniqueFd file_;
  const Order order_;
  const std::vector<char> buffer_;
  uint64_t state_;
};

class List final : public Worker {
 public:
  List(const Folder& folder, bool with_stat)
      : path_(folder.path + "/listed"), with_stat_(with_stat) {}
  void Once() override {
    DIR* const dir = opendir(path_.c_str());
    PCHECK(dir != nullptr) << path_;
    int seen = 0;
    while (const dirent* const entry = readdir(dir)) {
      struct stat st;
      if (with_stat_) PCHECK(fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
      ++seen;
    }
    closedir(dir);
    CHECK_EQ(seen, kListed + 2);
  }

 private:
  const std::string path_;
  const bool with_stat_;
};

template <typename Kind, typename... Arguments>
std::function<std::unique_ptr<Worker>(const Folder&, int)> Make(Arguments... arguments) {
  return [=](const Folder& folder, int thread) -> std::unique_ptr<Worker> {
    return std::make_unique<Kind>(folder, thread, arguments...);
  };
}

std::function<std::unique_ptr<Worker>(const Folder&, int)> MakeList(bool with_stat) {
  return [=](const Folder& folder, int) -> std::unique_ptr<Worker> {
    return std::make_unique<List>(folder, with_stat);
  };
}

}  // namespace

std::span<const FuseLoad> AllFuseLoads() {
  constexpr uint64_t k128 = 128 << 10;
  constexpr uint64_t k1024 = 1 << 20;
  static const std::vector<FuseLoad> loads = {
      {"stat, 1 000 names in turn", 0, Make<Stat>()},
      {"open, read 4 KiB, close", 0, Make<ReadSmall>()},
      {"create, write 4 KiB, close, unlink", 0, Make<CreateAndRemove>()},
      {"rename", 0, Make<Rename>()},
      {"list 10 000 names", 0, MakeList(false)},
      {"list and stat 10 000 names", 0, MakeList(true)},
      {"read 4 KiB at random, cached", kBlock, Make<Read>(kBlock, Order::kRandom, true)},
      {"read 4 KiB at random", kBlock, Make<Read>(kBlock, Order::kRandom, false)},
      {"read 128 KiB in sequence", k128, Make<Read>(k128, Order::kSequence, false)},
      {"read 1 MiB in sequence", k1024, Make<Read>(k1024, Order::kSequence, false)},
      {"write 4 KiB at random", kBlock, Make<Write>(kBlock, Order::kRandom)},
      {"write 128 KiB in sequence", k128, Make<Write>(k128, Order::kSequence)},
      {"write 1 MiB in sequence", k1024, Make<Write>(k1024, Order::kSequence)},
  };
  return loads;
}

void MakeFuseTree(const std::string& dir) {
  for (const char* const name : {"small", "made", "listed"}) {
    PCHECK(mkdir(absl::StrCat(dir, "/", name).c_str(), 0755) == 0);
  }
  const std::vector<char> block(1 << 20, 'b');
  for (int i = 0; i < kSmallFiles; ++i) {
    const UniqueFd file = Open(absl::StrCat(dir, "/small/", i), O_WRONLY | O_CREAT);
    PCHECK(write(file.get(), block.data(), kBlock) == kBlock);
  }
  for (int i = 0; i < kListed; ++i) MakeEmpty(absl::StrCat(dir, "/listed/name", i));
  const UniqueFd big = Open(dir + "/big", O_RDWR | O_CREAT);
  for (uint64_t done = 0; done < kBigFile; done += block.size()) {
    PCHECK(write(big.get(), block.data(), block.size()) == static_cast<ssize_t>(block.size()));
  }
}

}  // namespace gofer::bench
