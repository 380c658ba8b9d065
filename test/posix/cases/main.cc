// posix_cases: does what programs do to files, case by case, in folders of its own below DIR, and
// prints what happened, a line for each case. Two folders that behave alike give the same lines.
//
// Usage: posix_cases DIR [--json] [--only=TEXT[,TEXT...]] [--skip=TEXT[,TEXT...]] [--keep] [--list]
//                   [--shard=I/N]
//   DIR     an existing folder, reachable by every user; needs root
//   --only  cases whose names begin with one of these; --skip: but not with one of those
//   --shard every N-th case, from the I-th on: a part of all kinds, where time is short
//   --keep  leaves the folders of the cases there
//   --list  only the names
// Exit status: 0 when all cases ran, whatever they gave; 2 wrong use; 3 a case could not be set up.

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

struct Options {
  std::string dir;
  bool json = false;
  bool keep = false;
  bool list = false;
  size_t shard = 0;
  size_t shards = 1;
  std::vector<std::string> only;
  std::vector<std::string> skip;
};

[[noreturn]] void Usage(const std::string& why) {
  fprintf(stderr,
          "posix_cases: %s; usage: posix_cases DIR [--json] [--only=TEXT,...] [--skip=TEXT,...] "
          "[--keep] [--list] [--shard=I/N]\n",
          why.c_str());
  _exit(2);
}

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      options.json = true;
    } else if (word == "--keep") {
      options.keep = true;
    } else if (word == "--list") {
      options.list = true;
    } else if (word.substr(0, 8) == "--shard=") {
      if (sscanf(argv[i], "--shard=%zu/%zu", &options.shard, &options.shards) != 2 ||
          options.shard >= options.shards) {
        Usage("--shard wants I/N with I below N");
      }
    } else if (word.substr(0, 7) == "--only=") {
      options.only = Split(word.substr(7));
    } else if (word.substr(0, 7) == "--skip=") {
      options.skip = Split(word.substr(7));
    } else if (word.substr(0, 1) == "-" || !options.dir.empty()) {
      Usage("what is " + std::string(word));
    } else {
      options.dir = word;
    }
  }
  if (options.dir.empty() && !options.list) Usage("DIR is missing");
  return options;
}

bool BeginsWithAny(const std::string& name, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](const std::string& beginning) {
    return name.compare(0, beginning.size(), beginning) == 0;
  });
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

void Print(const Options& options, const std::string& name, const std::string& result) {
  if (options.json) {
    printf("{\"case\": %s, \"result\": %s}\n", Quoted(name).c_str(), Quoted(result).c_str());
  } else {
    printf("%s: %s\n", name.c_str(), result.c_str());
  }
  fflush(stdout);
}

// Linux does not forget the links that it has counted when it begins a walk anew, because somebody renamed
// something meanwhile: as many as may be followed are then too many. That happens now and then; what is
// too many every time is.
constexpr int kWalks = 8;

std::string ResultOf(const Options& options, const Case& which, const std::string& folder) {
  MakeDirectory(folder);
  if (chdir(folder.c_str()) != 0) Die("enter " + folder);
  umask(022);
  Result result;
  which.body(result);
  umask(022);
  std::string text = result.text();
  if (which.tree) text += " | " + DescribeTree();
  if (chdir(options.dir.c_str()) != 0) Die("go back to " + options.dir);
  return text;
}

void RunCase(const Options& options, const Case& which) {
  std::string folder = which.name;
  std::replace(folder.begin(), folder.end(), '/', '.');
  std::string text = ResultOf(options, which, folder);
  const bool counts_links = which.name.find("/chain_of_") != std::string::npos;
  for (int i = 1; i < kWalks && counts_links && text.find("ELOOP") != std::string::npos; ++i) {
    RemoveTree(folder);
    text = ResultOf(options, which, folder);
  }
  Print(options, which.name, text);
  if (!options.keep) RemoveTree(folder);
}

int Main(int argc, char** argv) {
  Options options = Parse(argc, argv);
  Cases cases;
  AddPathCases(cases);
  AddPermissionCases(cases);
  AddModeCases(cases);
  AddTimeCases(cases);
  AddDataCases(cases);
  AddSharingCases(cases);
  AddXattrCases(cases);
  AddTreeCases(cases);
  if (!options.list) {
    if (geteuid() != 0) Usage("needs root");
    if (chdir(options.dir.c_str()) != 0) Usage(options.dir + " cannot be entered");
    char absolute[4096];
    if (getcwd(absolute, sizeof(absolute)) == nullptr) Die("name " + options.dir);
    options.dir = absolute;
  }
  size_t chosen = 0;
  for (const Case& one : cases) {
    if (!options.only.empty() && !BeginsWithAny(one.name, options.only)) continue;
    if (BeginsWithAny(one.name, options.skip)) continue;
    if (chosen++ % options.shards != options.shard) continue;
    if (options.list) {
      puts(one.name.c_str());
    } else {
      RunCase(options, one);
    }
  }
  return 0;
}

}  // namespace
}  // namespace posix_cases

int main(int argc, char** argv) { return posix_cases::Main(argc, argv); }
