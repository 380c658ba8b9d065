// That seam_sites.h names each call of gofer/sys once: one that is new there is in a sweep of
// fault_sweep_test, or says why in none.
//
// Source: spec/security.md s.9.

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "test/hostile/seam_sites.h"

namespace gofer::testing {
namespace {

// The calls of the seam, as its sources name them: file and call.
std::set<std::pair<std::string, std::string>> SitesInSources(size_t* count) {
  std::set<std::pair<std::string, std::string>> sites;
  // Either of proc_fds_xattr.cc passes two names on.
  const std::regex call(R"re((?:Call|Either)\(\s*"(\w+)"(?:, "(\w+)")?)re");
  for (const auto& entry : std::filesystem::directory_iterator("gofer/sys")) {
    const std::string file = entry.path().filename().string();
    if (!absl::EndsWith(file, ".cc") || absl::EndsWith(file, "_test.cc")) continue;
    std::ifstream in(entry.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (std::sregex_iterator at(text.begin(), text.end(), call), end; at != end; ++at) {
      for (const size_t group : {1, 2}) {
        if (!(*at)[group].matched) continue;
        sites.emplace(file, (*at)[group].str());
        ++*count;
      }
    }
  }
  return sites;
}

TEST(SeamSites, EachIsInASweepOrHasAReason) {
  size_t calls = 0;
  const std::set<std::pair<std::string, std::string>> sources = SitesInSources(&calls);
  ASSERT_GT(sources.size(), 100u);
  size_t swept = 0;
  for (const auto& [file, call] : sources) {
    EXPECT_EQ(std::count_if(std::begin(kSeamSites), std::end(kSeamSites),
                            [&file = file, &call = call](const SeamSite& site) {
                              return site.file == file && (site.call == call || site.call == "*");
                            }),
              1)
        << call << " of gofer/sys/" << file;
  }
  for (const SeamSite& site : kSeamSites) {
    EXPECT_TRUE(std::any_of(sources.begin(), sources.end(),
                            [&](const auto& one) {
                              return one.first == site.file &&
                                     (one.second == site.call || site.call == "*");
                            }))
        << site.call << " of gofer/sys/" << site.file << " is not there any more";
    EXPECT_EQ(site.sweep == Sweep::kOtherwise, !site.why.empty()) << site.call;
    if (site.sweep != Sweep::kOtherwise) ++swept;
  }
  std::cout << calls << " calls at " << sources.size() << " sites, of which " << swept
            << " are swept here\n";
}

}  // namespace
}  // namespace gofer::testing
