// The tables of SECURITY.md are the ones in the code. When this fails, what it expected is what
// belongs between the two marks.

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/server/capabilities.h"
#include "gofer/server/seccomp_filter.h"
#include "gtest/gtest.h"

namespace gofer::server {
namespace {

// Between <!-- NAME --> and <!-- end of NAME -->.
std::string Section(const std::string& name) {
  std::ifstream file("SECURITY.md");
  std::stringstream content;
  content << file.rdbuf();
  const std::string text = content.str(), begin = absl::StrCat("<!-- ", name, " -->\n"),
                    end = absl::StrCat("<!-- end of ", name, " -->\n");
  const size_t from = text.find(begin), to = text.find(end);
  CHECK(from != std::string::npos && to != std::string::npos) << name;
  return text.substr(from + begin.size(), to - from - begin.size());
}

TEST(SecurityDoc, SystemCalls) {
  std::string table = "| call | when | arguments | what for |\n| --- | --- | --- | --- |\n";
  for (const AllowedCall& call : AllowedCallsOfAll()) {
    const std::string answer = call.answer == "allow" ? "" : absl::StrCat(call.answer, ": ");
    absl::StrAppend(&table, "| ", call.name, " | ", call.when, " | ", call.arguments, " | ", answer,
                    call.reason, " |\n");
  }
  EXPECT_EQ(Section("system calls"), table);
}

TEST(SecurityDoc, Capabilities) {
  std::string table = "| capability | when | what for |\n| --- | --- | --- |\n";
  const std::vector<int> always = NeededCapabilities({});
  const CapabilityOptions all = {.switch_ids = true,
                                 .make_devices = true,
                                 .set_file_capabilities = true,
                                 .open_by_handle = true};
  for (const int capability : NeededCapabilities(all)) {
    const bool kept = std::find(always.begin(), always.end(), capability) != always.end();
    absl::StrAppend(&table, "| ", CapabilityName(capability), " | ", kept ? "always" : "by flag",
                    " | ", CapabilityReason(capability), " |\n");
  }
  EXPECT_EQ(Section("capabilities"), table);
}

}  // namespace
}  // namespace gofer::server
