#include "test/bench/report.h"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "test/bench/histogram.h"

namespace gofer::bench {
namespace {

// Medians over the rounds, each figure by itself.
Sample Medians(const std::vector<Sample>& rounds) {
  const auto median = [&](double Sample::*field) {
    std::vector<double> values;
    for (const Sample& sample : rounds) values.push_back(sample.*field);
    return Median(std::move(values));
  };
  return {.ops_per_s = median(&Sample::ops_per_s),
          .p50_ns = median(&Sample::p50_ns),
          .p99_ns = median(&Sample::p99_ns),
          .client_cpu_ns = median(&Sample::client_cpu_ns),
          .server_cpu_ns = median(&Sample::server_cpu_ns)};
}

struct Comparison {
  Sample ours, theirs, floor;
  double speed() const { return ours.ops_per_s / theirs.ops_per_s; }
  double p50() const { return theirs.p50_ns / ours.p50_ns; }
  double server_cpu() const { return ours.server_cpu_ns / theirs.server_cpu_ns; }
  double whole_cpu() const {
    return (ours.server_cpu_ns + ours.client_cpu_ns) /
           (theirs.server_cpu_ns + theirs.client_cpu_ns);
  }
  double of_floor() const { return ours.ops_per_s / floor.ops_per_s; }
};

Comparison Compare(const Cell& cell) {
  return {Medians(cell.ours), Medians(cell.theirs), Medians(*cell.floor)};
}

const char* WayName(bool over_channel) { return over_channel ? "channel" : "socket"; }

using Filter = std::function<bool(const Cell&)>;

// The comparisons of some cells, and which of them is the worst.
struct Selection {
  std::vector<double> speeds, p50s, server_cpus, whole_cpus;
  double slowest = 0;
  std::string slowest_name;
};

Selection Select(const std::vector<Cell>& cells, const Filter& wanted) {
  Selection found;
  for (const Cell& cell : cells) {
    if (!wanted(cell)) continue;
    const Comparison by = Compare(cell);
    if (found.speeds.empty() || by.speed() < found.slowest) {
      found.slowest = by.speed();
      found.slowest_name = absl::StrFormat("%s, %s, %d threads", cell.operation->name,
                                           WayName(cell.over_channel), cell.threads);
    }
    found.speeds.push_back(by.speed());
    found.p50s.push_back(by.p50());
    found.server_cpus.push_back(by.server_cpu());
    found.whole_cpus.push_back(by.whole_cpu());
  }
  return found;
}

struct Target {
  std::string what;
  double value;
  double bound;
  bool at_least;
  std::string detail;
  bool reached() const { return at_least ? value >= bound : value <= bound; }
};

std::vector<Target> Targets(const Report& report) {
  const auto named = [](absl::string_view name) {
    return [name](const Cell& cell) { return name == cell.operation->name; };
  };
  const auto of_class = [](OperationClass size_class) {
    return [size_class](const Cell& cell) { return cell.operation->size_class == size_class; };
  };
  std::vector<Target> targets;
  const auto add_speed = [&](std::string what, const Selection& cells, double mean, double each) {
    if (cells.speeds.empty()) return;
    targets.push_back({what + ": throughput, geometric mean", GeometricMean(cells.speeds), mean,
                       true, "gVisor's"});
    if (each > 0)
      targets.push_back(
          {what + ": throughput, worst", cells.slowest, each, true, cells.slowest_name});
  };
  const Selection small = Select(report.cells, of_class(OperationClass::kSmall));
  add_speed("small operations", small, 1.5, 1.0);
  if (!small.speeds.empty()) {
    targets.push_back({"small operations: server CPU per operation, geometric mean",
                       GeometricMean(small.server_cpus), 0.6, false, "gVisor's"});
  }
  add_speed("Walk 1", Select(report.cells, named("Walk 1")), 2.5, 0);
  add_speed("Getdents64 10k", Select(report.cells, named("Getdents64 10k")), 2.5, 0);
  add_speed("PRead, PWrite of 64K and more", Select(report.cells, of_class(OperationClass::kBulk)),
            1.0, 1.0);
  if (!report.starts.empty()) {
    const StartCost& ours = report.starts.front();
    const StartCost& runsc = report.starts.back();
    const double ours_mib = Median(ours.private_kib) / 1024;
    targets.push_back({"idle private memory, MiB", ours_mib, 6, false, ""});
    targets.push_back({"idle private memory, share", ours_mib * 1024 / Median(runsc.private_kib),
                       0.25, false, absl::StrCat("of that of ", runsc.name)});
    targets.push_back({"exec to ready, ms", Median(ours.ready_ms), 10, false, ""});
  }
  return targets;
}

std::string Rate(double ops_per_s) {
  return ops_per_s >= 1e4 ? absl::StrFormat("%.0fk", ops_per_s / 1e3)
                          : absl::StrFormat("%.0f", ops_per_s);
}
std::string Micros(double ns) {
  return absl::StrFormat("%.*f", ns >= 1e5 ? 0 : ns >= 1e4 ? 1 : 2, ns / 1e3);
}

std::string TableRow(const Cell& cell) {
  const Comparison by = Compare(cell);
  std::string row = absl::StrFormat("%-18s %-7s %d", cell.operation->name,
                                    WayName(cell.over_channel), cell.threads);
  for (const Sample* sample : {&by.ours, &by.theirs}) {
    absl::StrAppendFormat(&row, " |%8s %7s %7s %6s %6s", Rate(sample->ops_per_s),
                          Micros(sample->p50_ns), Micros(sample->p99_ns),
                          Micros(sample->server_cpu_ns), Micros(sample->client_cpu_ns));
  }
  absl::StrAppendFormat(&row, " |%8s %7s %7s", Rate(by.floor.ops_per_s), Micros(by.floor.p50_ns),
                        Micros(by.floor.client_cpu_ns));
  absl::StrAppendFormat(&row, " |%6.2f %6.2f %6.2f\n", by.speed(), by.server_cpu(), by.of_floor());
  return row;
}

std::string JsonSample(const Sample& sample) {
  return absl::StrFormat(
      R"({"ops_per_s": %.1f, "p50_ns": %.0f, "p99_ns": %.0f, "server_cpu_ns": %.0f, "client_cpu_ns": %.0f})",
      sample.ops_per_s, sample.p50_ns, sample.p99_ns, sample.server_cpu_ns, sample.client_cpu_ns);
}

std::string JsonRounds(const std::vector<Sample>& rounds) {
  const auto each = [](std::string* out, const Sample& sample) { out->append(JsonSample(sample)); };
  return absl::StrCat(R"({"median": )", JsonSample(Medians(rounds)), R"(, "rounds": [)",
                      absl::StrJoin(rounds, ", ", each), "]}");
}

}  // namespace

std::string Report::Text() const {
  std::string text = absl::StrFormat(
      "%s\nmedians of %d rounds of %d ms each, both servers in turn in every round, same client, "
      "same tree;\n"
      "p50, p99 and CPU per operation (server's, client's) in microseconds; x = our throughput / "
      "gVisor's,\n"
      "cpu = our server's CPU per operation / gVisor's, floor = our throughput / that of the bare "
      "calls\n\n",
      host, rounds, cell_ms);
  const std::string columns =
      absl::StrFormat(" |%8s %7s %7s %6s %6s", "ops/s", "p50", "p99", "srv", "cli");
  absl::StrAppendFormat(&text, "%-28s |%-38s |%-38s |%-24s |\n", "", " ours", " gVisor",
                        " bare calls");
  absl::StrAppendFormat(&text, "%-18s %-7s %s%s%s |%8s %7s %7s |%6s %6s %6s\n", "operation", "way",
                        "t", columns, columns, "ops/s", "p50", "cpu", "x", "cpu", "floor");
  for (const Cell& cell : cells) text += TableRow(cell);

  absl::StrAppend(
      &text,
      "\ngeometric means over the small operations (ours / gVisor's; of p50: gVisor's / ours)\n");
  for (const bool over_channel : {true, false}) {
    for (const int threads : {1, 2, 4}) {
      const Selection found = Select(cells, [&](const Cell& cell) {
        return cell.operation->size_class == OperationClass::kSmall &&
               cell.over_channel == over_channel && cell.threads == threads;
      });
      if (found.speeds.empty()) continue;
      absl::StrAppendFormat(&text,
                            "  %-7s %d threads: throughput %.2f, p50 %.2f, server CPU %.2f, server "
                            "and client CPU %.2f\n",
                            WayName(over_channel), threads, GeometricMean(found.speeds),
                            GeometricMean(found.p50s), GeometricMean(found.server_cpus),
                            GeometricMean(found.whole_cpus));
    }
  }
  if (!starts.empty()) {
    absl::StrAppendFormat(&text, "\n%-28s %9s %14s %15s %15s\n", "fresh, idle, alone (medians)",
                          "ready ms", "first reply ms", "private KiB", "anonymous KiB");
    for (const StartCost& start : starts) {
      absl::StrAppendFormat(
          &text, "%-28s %9s %14.1f %15.0f %15.0f\n", start.name,
          start.ready_ms.empty() ? "-" : absl::StrFormat("%.1f", Median(start.ready_ms)),
          Median(start.first_reply_ms), Median(start.private_kib), Median(start.anonymous_kib));
    }
  }
  absl::StrAppend(&text, "\ntargets\n");
  for (const Target& target : Targets(*this)) {
    absl::StrAppendFormat(&text, "  %-7s %s: %.2f (%s %.2f%s%s)\n",
                          target.reached() ? "reached" : "MISSED", target.what, target.value,
                          target.at_least ? "at least" : "at most", target.bound,
                          target.detail.empty() ? "" : "; ", target.detail);
  }
  return text;
}

std::string Report::Json() const {
  std::string json = absl::StrFormat(
      "{\"host\": \"%s\", \"rounds\": %d, \"cell_ms\": %d,\n\"cells\": [\n", host, rounds, cell_ms);
  const auto add_cell = [](std::string* out, const Cell& cell) {
    const Comparison by = Compare(cell);
    absl::StrAppendFormat(out,
                          "  {\"operation\": \"%s\", \"requests\": \"%s\", \"bare_calls\": \"%s\", "
                          "\"way\": \"%s\", \"threads\": %d,\n"
                          "   \"throughput_ratio\": %.3f, \"server_cpu_ratio\": %.3f, "
                          "\"cpu_ratio\": %.3f, \"floor_ratio\": %.3f,\n"
                          "   \"ours\": %s,\n   \"gvisor\": %s,\n   \"floor\": %s}",
                          cell.operation->name, cell.operation->requests, cell.operation->floor,
                          WayName(cell.over_channel), cell.threads, by.speed(), by.server_cpu(),
                          by.whole_cpu(), by.of_floor(), JsonRounds(cell.ours),
                          JsonRounds(cell.theirs), JsonRounds(*cell.floor));
  };
  absl::StrAppend(&json, absl::StrJoin(cells, ",\n", add_cell), "\n],\n\"starts\": [\n");
  const auto add_start = [](std::string* out, const StartCost& start) {
    absl::StrAppendFormat(
        out,
        "  {\"name\": \"%s\", \"ready_ms\": %.2f, \"first_reply_ms\": %.2f, \"private_kib\": %.0f, "
        "\"anonymous_kib\": %.0f}",
        start.name, Median(start.ready_ms), Median(start.first_reply_ms), Median(start.private_kib),
        Median(start.anonymous_kib));
  };
  absl::StrAppend(&json, absl::StrJoin(starts, ",\n", add_start), "\n],\n\"targets\": [\n");
  const auto add_target = [](std::string* out, const Target& target) {
    absl::StrAppendFormat(
        out,
        "  {\"what\": \"%s\", \"value\": %.3f, \"bound\": %.3f, \"at_least\": %s, "
        "\"reached\": %s, \"detail\": \"%s\"}",
        target.what, target.value, target.bound, target.at_least ? "true" : "false",
        target.reached() ? "true" : "false", target.detail);
  };
  absl::StrAppend(&json, absl::StrJoin(Targets(*this), ",\n", add_target), "\n]}\n");
  return json;
}

}  // namespace gofer::bench
