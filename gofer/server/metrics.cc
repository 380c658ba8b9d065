#include "gofer/server/metrics.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "gofer/server/request_view.h"

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
  void Describe(absl::string_view name, absl::string_view help, absl::string_view type = "gauge") {
    name_ = std::string(name);
    absl::StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
  }
  // `part` is what a histogram's samples have behind its name.
  template <typename Number>
  void Sample(Number value, absl::string_view labels = "", absl::string_view part = "") {
    absl::StrAppend(&text_, name_, part, labels.empty() ? "" : "{", labels,
                    labels.empty() ? "" : "}", " ", value, "\n");
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
std::string LabelsOf(const control::Status& status, int way) {
  return absl::StrCat("way=", Quote(status.ways_in(way).name()), ",index=\"", way, "\"");
}

// Where a histogram's buckets end: each power of two from a microsecond to half a minute, in ns.
constexpr int kFirstBound = 10;
constexpr int kLastBound = 35;

// Calls `add` with the labels of each operation of each way in.
template <typename Add>
void ForEachOperation(const control::Status& status, Add add) {
  for (int i = 0; i < status.ways_in_size(); ++i) {
    for (const control::Operation& operation : status.ways_in(i).operations()) {
      add(operation, absl::StrCat(LabelsOf(status, i), ",operation=", Quote(operation.name())));
    }
  }
}

void AddDurations(const control::Operation& operation, absl::string_view labels, Metrics& metrics) {
  uint64_t below = 0;
  int next = 0;
  for (int bound = kFirstBound; bound <= kLastBound; ++bound) {
    const uint64_t upto = (uint64_t{1} << bound) - 1;
    for (; next < operation.latencies_size() && operation.latencies(next).upto_ns() <= upto; ++next)
      below += operation.latencies(next).requests();
    metrics.Sample(below,
                   absl::StrCat(labels, ",le=\"", absl::StrFormat("%.9f", upto * 1e-9), "\""),
                   "_bucket");
  }
  metrics.Sample(operation.requests(), absl::StrCat(labels, ",le=\"+Inf\""), "_bucket");
  metrics.Sample(absl::StrFormat("%.9f", static_cast<double>(operation.total_ns()) * 1e-9), labels,
                 "_sum");
  metrics.Sample(operation.requests(), labels, "_count");
}

// Calls `add` for each limit, those of all clients first, with its labels.
template <typename Add>
void ForEachLimit(const control::Status& status, Add add) {
  const auto resource = [](const control::LimitUse& limit) {
    return absl::StrCat("resource=", Quote(limit.resource()));
  };
  for (const control::LimitUse& limit : status.limits()) add(limit, resource(limit));
  for (int i = 0; i < status.ways_in_size(); ++i) {
    for (const control::LimitUse& limit : status.ways_in(i).limits()) {
      add(limit, absl::StrCat(resource(limit), ",", LabelsOf(status, i)));
    }
  }
}

void AddLimits(const control::Status& status, Metrics& metrics) {
  metrics.Describe("gofer_limit", "What clients may have or send at most, see SECURITY.md.");
  ForEachLimit(status, [&](const control::LimitUse& limit, const std::string& labels) {
    metrics.Sample(limit.limit(), labels);
  });
  metrics.Describe("gofer_limit_used", "How much of it is in use, where that is counted.");
  ForEachLimit(status, [&](const control::LimitUse& limit, const std::string& labels) {
    if (limit.has_used()) metrics.Sample(limit.used(), labels);
  });
  metrics.Describe("gofer_log_records_dropped_total", "Log records too many in their second.",
                   "counter");
  metrics.Sample(status.log_records_dropped());
}

void AddRequests(const control::Status& status, Metrics& metrics) {
  metrics.Describe("gofer_request_duration_seconds",
                   "From a request's arrival to its reply, also where that is an error.",
                   "histogram");
  ForEachOperation(status, [&](const control::Operation& operation, const std::string& labels) {
    AddDurations(operation, labels, metrics);
  });
  metrics.Describe("gofer_request_errors_total", "Requests that were answered with an error.",
                   "counter");
  ForEachOperation(status, [&](const control::Operation& operation, const std::string& labels) {
    for (const control::ErrnoCount& error : operation.errors()) {
      metrics.Sample(error.requests(), absl::StrCat(labels, ",errno=", Quote(NameOf(error))));
    }
  });
}

template <typename Count>
void AddForEachClient(const control::Status& status, Count count, Metrics& metrics) {
  for (int i = 0; i < status.ways_in_size(); ++i) {
    const control::WayIn& way = status.ways_in(i);
    if (!way.has_nodes()) continue;
    metrics.Sample(count(way), LabelsOf(status, i));
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
  AddLimits(status, metrics);
  AddRequests(status, metrics);
  return std::move(metrics).Take();
}

}  // namespace gofer::server
