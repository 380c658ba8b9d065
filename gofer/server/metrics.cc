#include "gofer/server/metrics.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"

namespace gofer::server {
namespace {

// A label's value. Other bytes are allowed as they are.
std::string Quote(absl::string_view value) {
  return absl::StrCat(
      "\"", absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}), "\"");
}

class Metrics {
 public:
  // What the samples that follow are.
  void Describe(absl::string_view name, absl::string_view help) {
    name_ = std::string(name);
    absl::StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n");
  }
  template <typename Number>
  void Sample(Number value, absl::string_view labels = "") {
    absl::StrAppend(&text_, name_, labels.empty() ? "" : "{", labels, labels.empty() ? "" : "}",
                    " ", value, "\n");
  }
  template <typename Number>
  void Add(absl::string_view name, absl::string_view help, Number value) {
    Describe(name, help);
    Sample(value);
  }
  std::string Take() && { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

// Ways in of one name are told apart by their order.
template <typename Count>
void AddForEachClient(const control::Status& status, Count count, Metrics& metrics) {
  for (int i = 0; i < status.ways_in_size(); ++i) {
    const control::WayIn& way = status.ways_in(i);
    if (!way.has_nodes()) continue;
    metrics.Sample(count(way), absl::StrCat("way=", Quote(way.name()), ",index=\"", i, "\""));
  }
}

}  // namespace

std::string StatusAsMetrics(const control::Status& status) {
  Metrics metrics;
  metrics.Describe("gofer_info", "What is served, and how it is confined.");
  metrics.Sample(
      1, absl::StrCat("version=", Quote(status.version()), ",root=", Quote(status.root()),
                      ",sandbox=", Quote(status.sandbox()), ",seccomp=", Quote(status.seccomp())));
  metrics.Add("gofer_uptime_seconds", "Since the gofer serves.",
              static_cast<double>(status.uptime_ms()) / 1000);
  metrics.Add("gofer_readonly", "Whether clients may change nothing.", status.readonly() ? 1 : 0);
  metrics.Add("gofer_dentries", "Names that are known.", status.dentries());
  metrics.Add("gofer_dentries_unreferenced", "Of these, names that no client refers to.",
              status.unreferenced_dentries());
  metrics.Add("gofer_inodes", "Files that are known.", status.inodes());
  metrics.Add("gofer_file_descriptors", "Descriptors of files and directories.",
              status.file_descriptors());
  metrics.Add("gofer_file_descriptors_limit", "Past it, descriptors of known files are given up.",
              status.file_descriptors_limit());
  metrics.Describe("gofer_client_nodes", "Files that a FUSE client knows.");
  AddForEachClient(
      status, [](const control::WayIn& way) { return way.nodes(); }, metrics);
  metrics.Describe("gofer_client_open_files", "Files that a FUSE client has open.");
  AddForEachClient(
      status, [](const control::WayIn& way) { return way.open_files(); }, metrics);
  return std::move(metrics).Take();
}

}  // namespace gofer::server
