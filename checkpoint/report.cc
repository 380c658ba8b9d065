#include "checkpoint/report.h"

#include <sys/stat.h>

#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "checkpoint/text.h"
#include "gofer/base/json.h"

namespace gofer::checkpoint {
namespace {

using fs::Finding;
using fs::InodeState;
using fs::RestoreReport;
using fs::Verdict;

// What of two files differs, saved before found.
std::string Difference(const InodeState& saved, const InodeState& found) {
  std::string text;
  const auto add = [&text](absl::string_view what, const std::string& before,
                           const std::string& after) {
    if (before != after) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", what, " ", before, " is now ", after);
    }
  };
  add("type", std::string(TypeName(saved.type)), std::string(TypeName(found.type)));
  add("inode", absl::StrCat(saved.ino), absl::StrCat(found.ino));
  if (saved.handle != found.handle && !saved.handle.empty() && !found.handle.empty()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", "another file has its inode number");
  }
  if (saved.birth.has_value() && found.birth.has_value()) {
    add("birth", TimeText(*saved.birth), TimeText(*found.birth));
  }
  if (saved.type == S_IFREG && found.type == S_IFREG) {
    add("size", absl::StrCat(saved.size), absl::StrCat(found.size));
    add("mtime", TimeText(saved.mtime), TimeText(found.mtime));
  }
  return text;
}

std::string FindingAsText(const Finding& finding) {
  std::string text =
      absl::StrCat(fs::VerdictName(finding.verdict), "  ", absl::CHexEscape(finding.path), ": ");
  switch (finding.verdict) {
    case Verdict::kMoved:
      absl::StrAppend(&text, "is now ", absl::CHexEscape(finding.found_path));
      break;
    case Verdict::kMissing:
      absl::StrAppend(&text, TypeName(finding.saved.type), " with inode ", finding.saved.ino,
                      " was not found in the tree");
      break;
    case Verdict::kUnverifiable:
      absl::StrAppend(&text, finding.error.has_value() ? finding.error->ToString() : "");
      break;
    default:
      if (finding.found.has_value())
        absl::StrAppend(&text, Difference(finding.saved, *finding.found));
      if (!finding.found_path.empty()) {
        absl::StrAppend(&text, ", and it is now ", absl::CHexEscape(finding.found_path));
      }
  }
  return text;
}

std::string FindingAsJson(const Finding& finding) {
  std::string json = absl::StrCat("{", PathAsJson("path", finding.path),
                                  ",\"verdict\":", JsonQuote(fs::VerdictName(finding.verdict)),
                                  ",\"saved\":", FileAsJson(finding.saved));
  if (finding.found.has_value()) absl::StrAppend(&json, ",\"found\":", FileAsJson(*finding.found));
  if (!finding.found_path.empty()) {
    absl::StrAppend(&json, ",", PathAsJson("found_path", finding.found_path));
  }
  if (finding.error.has_value()) {
    absl::StrAppend(&json, ",\"error\":", JsonQuote(finding.error->ToString()));
  }
  return json + "}";
}

}  // namespace

std::string ReportAsText(const RestoreReport& report) {
  std::string text;
  std::map<absl::string_view, int> counts;
  for (const Finding& finding : report.findings) {
    absl::StrAppend(&text, FindingAsText(finding), "\n");
    ++counts[fs::VerdictName(finding.verdict)];
  }
  absl::StrAppend(&text, report.same, " same");
  for (const auto& [verdict, count] : counts) absl::StrAppend(&text, ", ", count, " ", verdict);
  if (report.relocated) {
    absl::StrAppend(&text,
                    "; the root is another directory than the saved one, so files were "
                    "compared by name, type, size and modification time");
  }
  return text + "\n";
}

std::string ReportAsJson(const RestoreReport& report) {
  std::string json = absl::StrCat("{\"relocated\":", report.relocated ? "true" : "false",
                                  ",\"same\":", report.same, ",\"findings\":[");
  bool first = true;
  for (const Finding& finding : report.findings) {
    absl::StrAppend(&json, first ? "" : ",", FindingAsJson(finding));
    first = false;
  }
  return json + "]}\n";
}

}  // namespace gofer::checkpoint
