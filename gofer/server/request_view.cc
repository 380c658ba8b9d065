#include "gofer/server/request_view.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/json.h"
#include "gofer/base/log_linear.h"

namespace gofer::server {
namespace {

// A line of the table.
struct Row {
  double per_second = 0;
  // Of no requests there are none.
  std::optional<double> p50_us = std::nullopt;
  std::optional<double> p99_us = std::nullopt;
};

// Nothing if there is none of that name, or no status.
const control::Operation* Find(const control::Status* status, int way, absl::string_view name) {
  if (status == nullptr || way >= status->ways_in_size()) return nullptr;
  for (const control::Operation& operation : status->ways_in(way).operations()) {
    if (operation.name() == name) return &operation;
  }
  return nullptr;
}

std::vector<CountedRange> LatenciesSince(const control::Operation& now,
                                         const control::Operation* before) {
  std::map<uint64_t, uint64_t> counted;
  if (before != nullptr) {
    for (const control::LatencyRange& range : before->latencies()) {
      counted[range.upto_ns()] = range.requests();
    }
  }
  std::vector<CountedRange> ranges;
  for (const control::LatencyRange& range : now.latencies()) {
    const auto earlier = counted.find(range.upto_ns());
    const uint64_t less = earlier == counted.end() ? 0 : earlier->second;
    if (range.requests() <= less) continue;
    ranges.push_back(
        {.above = range.above_ns(), .upto = range.upto_ns(), .count = range.requests() - less});
  }
  return ranges;
}

double Seconds(const control::Status& now, const control::Status* before) {
  const uint64_t since = before == nullptr ? 0 : before->uptime_ms();
  return static_cast<double>(std::max<uint64_t>(now.uptime_ms() - since, 1)) / 1000;
}

Row RowOf(const control::Operation& now, const control::Operation* before, double seconds) {
  const std::vector<CountedRange> latencies = LatenciesSince(now, before);
  uint64_t requests = 0;
  for (const CountedRange& range : latencies) requests += range.count;
  Row row = {.per_second = static_cast<double>(requests) / seconds};
  if (requests == 0) return row;
  row.p50_us = Percentile(latencies, 0.5) / 1000;
  row.p99_us = Percentile(latencies, 0.99) / 1000;
  return row;
}

std::string OrElse(const std::optional<double>& value, absl::string_view none) {
  return value.has_value() ? absl::StrFormat("%.1f", *value) : std::string(none);
}

}  // namespace

std::string NameOf(const control::ErrnoCount& error) {
  if (error.number() == 0) return "other";
  // Without what it means.
  const std::string text = Errno(error.number()).ToString();
  return text.substr(0, text.find(" ("));
}

std::string RequestsAsTables(const control::Status& now, const control::Status* before) {
  const double seconds = Seconds(now, before);
  std::string text;
  for (int way = 0; way < now.ways_in_size(); ++way) {
    const control::WayIn& entry = now.ways_in(way);
    if (entry.operations().empty()) continue;
    absl::StrAppendFormat(&text, "\n%-20s %12s %10s %10s %10s  %s\n",
                          absl::StrCat(entry.name(), " ", way), "requests", "per s", "p50 us",
                          "p99 us", "errors");
    for (const control::Operation& operation : entry.operations()) {
      const Row row = RowOf(operation, Find(before, way, operation.name()), seconds);
      const std::string errors = absl::StrJoin(
          operation.errors(), ", ", [](std::string* out, const control::ErrnoCount& error) {
            absl::StrAppend(out, NameOf(error), " ", error.requests());
          });
      absl::StrAppendFormat(&text, "  %-18s %12d %10.1f %10s %10s%s%s\n", operation.name(),
                            operation.requests(), row.per_second, OrElse(row.p50_us, "-"),
                            OrElse(row.p99_us, "-"), errors.empty() ? "" : "  ", errors);
    }
  }
  return text;
}

std::string RequestsAsJson(const control::Status& now, const control::Status* before, int way) {
  const double seconds = Seconds(now, before);
  const auto add = [&](std::string* out, const control::Operation& operation) {
    const Row row = RowOf(operation, Find(before, way, operation.name()), seconds);
    const std::string errors = absl::StrJoin(
        operation.errors(), ",", [](std::string* list, const control::ErrnoCount& error) {
          absl::StrAppend(list, JsonQuote(NameOf(error)), ":", error.requests());
        });
    absl::StrAppendFormat(
        out, R"({"name":%s,"requests":%d,"per_second":%.1f,"p50_us":%s,"p99_us":%s,"errors":{%s}})",
        JsonQuote(operation.name()), operation.requests(), row.per_second,
        OrElse(row.p50_us, "null"), OrElse(row.p99_us, "null"), errors);
  };
  return absl::StrCat("[", absl::StrJoin(now.ways_in(way).operations(), ",", add), "]");
}

}  // namespace gofer::server
