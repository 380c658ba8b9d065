#include "test/bench/host.h"

#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "glog/logging.h"

namespace gofer::bench {

ScratchDir::ScratchDir(const std::string& parent)
    : path_(absl::StrCat(parent, "/gofer-bench.XXXXXX")) {
  PCHECK(mkdtemp(path_.data()) != nullptr) << path_;
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string DescribeHost(const std::string& dir) {
  utsname name;
  PCHECK(uname(&name) == 0);
  struct statfs fs;
  PCHECK(statfs(dir.c_str(), &fs) == 0);
  std::string cpu = "processors";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (absl::StartsWith(line, "model name")) {
      cpu = line.substr(line.find(':') + 2);
      break;
    }
  }
  const char* kind = fs.f_type == 0xef53       ? "ext4"
                     : fs.f_type == 0x01021994 ? "tmpfs"
                                               : "another file system";
  double load = 0;
  PCHECK(getloadavg(&load, 1) == 1);
  // Whoever reads the table has to know that a busy machine measures its scheduler.
  return absl::StrFormat(
      "%d x %s, %s %s, load average before the start %.1f%s, tree on %s (type %#x)",
      std::thread::hardware_concurrency(), cpu, name.sysname, name.release, load,
      load > 1 ? " (BUSY: the results are not worth much)" : "", kind, fs.f_type);
}

}  // namespace gofer::bench
