// That every test which the security requirements name is there, says at its top which attacks it
// makes, and stands in the table of README.md. When the table is wrong, what this test expected is
// what belongs between the two marks.
//
// Source: spec/security.md s.10.

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"

namespace gofer::testing {
namespace {

struct Named {
  const char* package;
  const char* test;
  const char* attacks;
};

constexpr Named kTests[] = {
    {"hostile", "path_names_test", "A-01 to A-03"},
    {"hostile", "path_symlink_test", "A-04, A-11, A-16"},
    {"hostile", "path_race_test", "A-05 to A-08, A-14, A-22"},
    {"hostile", "path_mounts_test", "A-09, A-10, A-12, A-13"},
    {"hostile", "path_rename_test", "A-15, A-52, A-53"},
    {"hostile", "readdir_test", "A-17, A-44, A-98"},
    {"hostile", "file_special_test", "A-18 to A-21, A-23"},
    {"hostile", "file_modes_test", "A-24 to A-27, A-30, A-35"},
    {"hostile", "file_xattr_test", "A-28, A-29"},
    {"hostile", "file_args_test", "A-31 to A-34, A-99"},
    {"hostile", "file_locks_test", "A-36"},
    {"hostile", "file_quota_test", "A-37"},
    {"hostile", "lisafs_frame_test", "A-38, A-39, A-45, A-46"},
    {"hostile", "lisafs_decode_test", "A-40, A-41, A-43"},
    {"hostile", "lisafs_reply_bound_test", "A-42, A-66"},
    {"hostile", "lisafs_fdid_test", "A-47, A-51"},
    {"hostile", "lisafs_close_race_test", "A-48"},
    {"hostile", "lisafs_leak_test", "A-49, A-56"},
    {"hostile", "readonly_test", "A-50"},
    {"hostile", "smuggle_fd_test", "A-60, A-71"},
    {"hostile", "limits_test", "A-54, A-55, A-57, A-86, R-15"},
    {"hostile", "isolation_test", "A-58, A-100, R-14"},
    {"hostile", "hung_fs_test", "A-59, R-05"},
    {"hostile", "window_double_fetch_test", "A-61, A-62, A-89"},
    {"hostile", "window_state_test", "A-63 to A-65"},
    {"hostile", "donation_test", "A-67 to A-70"},
    {"hostile", "vu_message_test", "A-72 to A-74, A-80, A-82"},
    {"hostile", "vu_memory_test", "A-75 to A-79"},
    {"hostile", "vu_eventfd_test", "A-81"},
    {"hostile", "vu_reconnect_test", "A-83, R-06"},
    {"hostile", "virtqueue_test", "A-84, A-85, A-87, A-88, A-90, A-91"},
    {"hostile", "fuse_decode_test", "A-92 to A-94"},
    {"hostile", "fuse_state_test", "A-95 to A-97"},
    {"checkpoint", "ckpt_crash_test", "A-101, A-116, R-01, R-02"},
    {"checkpoint", "ckpt_fault_test", "A-102, R-03"},
    {"checkpoint", "ckpt_files_test", "A-103, A-120"},
    {"checkpoint", "ckpt_tamper_test", "A-104 to A-112"},
    {"checkpoint", "ckpt_identity_test", "A-113, A-114, A-117"},
    {"checkpoint", "ckpt_deleted_test", "A-115"},
    {"checkpoint", "ckpt_versions_test", "A-118, R-07"},
    {"checkpoint", "ckpt_quiesce_test", "A-119"},
    {"hostile", "control_auth_test", "A-121, A-123"},
    {"hostile", "control_flood_test", "A-122"},
    {"hostile", "start_env_test", "A-124"},
    {"hostile", "start_fail_closed_test", "A-127, R-13"},
    {"hostile", "confine_state_test", "A-125, A-128"},
    {"hostile", "seccomp_list_test", "A-126, R-16"},
    {"hostile", "log_test", "A-129"},
    {"hostile", "lifecycle_test", "A-33, A-130"},
    {"hostile", "client_death_test", "R-04"},
    {"hostile", "fault_sweep_test", "R-03"},
};

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// The comment that a file begins with, as one line.
std::string TopOf(const std::string& text) {
  std::vector<absl::string_view> lines;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, "//")) break;
    lines.push_back(absl::StripAsciiWhitespace(line));
  }
  return absl::StrJoin(lines, " ");
}

// "A-05 to A-07, R-03" as. Anything else in the text is passed over.
std::set<std::string> NumbersIn(const std::string& text) {
  std::set<std::string> numbers;
  char kind = 0;
  int last = 0;
  bool is_range = false;
  for (absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" ,.;:()"), absl::SkipEmpty())) {
    int number = 0;
    const bool is_number = word.size() > 2 && (word[0] == 'A' || word[0] == 'R') &&
                           word[1] == '-' && absl::SimpleAtoi(word.substr(2), &number);
    if (is_number) {
      const int first = is_range && kind == word[0] ? last + 1 : number;
      for (int i = first; i <= number; ++i) numbers.insert(absl::StrCat(word.substr(0, 2), i));
      kind = word[0];
      last = number;
    }
    is_range = !is_number && word == "to" && kind != 0;
  }
  return numbers;
}

TEST(Attacks, EveryTestNamesThoseThatItMakes) {
  for (const Named& one : kTests) {
    const std::set<std::string> said =
        NumbersIn(TopOf(Slurp(absl::StrCat("test/", one.package, "/", one.test, ".cc"))));
    for (const std::string& number : NumbersIn(one.attacks)) {
      EXPECT_EQ(said.count(number), 1u) << one.test << " does not name " << number;
    }
  }
}

TEST(Attacks, NoneIsLeftOut) {
  constexpr int kAttacks = 130;
  std::set<std::string> made;
  for (const Named& one : kTests) made.merge(NumbersIn(one.attacks));
  for (int i = 1; i <= kAttacks; ++i) EXPECT_EQ(made.count(absl::StrCat("A-", i)), 1u) << i;
}

TEST(Attacks, TheTableOfTheReadme) {
  std::string table = "| test | attacks |\n| --- | --- |\n";
  for (const Named& one : kTests) {
    absl::StrAppend(&table, "| `//test/", one.package, ":", one.test, "` | ", one.attacks, " |\n");
  }
  const std::string text = Slurp("test/hostile/README.md");
  const std::string begin = "<!-- attacks -->\n";
  const size_t from = text.find(begin);
  const size_t to = text.find("<!-- end of attacks -->\n");
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos);
  EXPECT_EQ(text.substr(from + begin.size(), to - from - begin.size()), table);
}

}  // namespace
}  // namespace gofer::testing
