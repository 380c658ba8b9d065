#include "test/bench/virtiofs_report.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "test/bench/histogram.h"

namespace gofer::bench {
namespace {

constexpr double kWalkedEntries = double{kWalkedDirs} * (kWalkedFilesPerDir + 1);

template <typename T>
double MedianOf(const std::vector<T>& rounds, double T::*field) {
  std::vector<double> values;
  for (const T& round : rounds) values.push_back(round.*field);
  return Median(std::move(values));
}

// Medians over the rounds, each figure by itself.
Sample Medians(const std::vector<Sample>& rounds) {
  return {.ops_per_s = MedianOf(rounds, &Sample::ops_per_s),
          .p50_ns = MedianOf(rounds, &Sample::p50_ns),
          .p99_ns = MedianOf(rounds, &Sample::p99_ns),
          .client_cpu_ns = MedianOf(rounds, &Sample::client_cpu_ns),
          .server_cpu_ns = MedianOf(rounds, &Sample::server_cpu_ns)};
}

WalkSample Medians(const std::vector<WalkSample>& rounds) {
  WalkSample medians = {.entries = MedianOf(rounds, &WalkSample::entries),
                        .seconds = MedianOf(rounds, &WalkSample::seconds),
                        .server_cpu_s = MedianOf(rounds, &WalkSample::server_cpu_s),
                        .bytes_per_entry = MedianOf(rounds, &WalkSample::bytes_per_entry),
                        .fds = MedianOf(rounds, &WalkSample::fds)};
  for (const WalkSample& round : rounds) {
    if (!round.error.empty()) medians.error = round.error;
  }
  if (medians.error.empty() && medians.entries != kWalkedEntries) {
    medians.error = absl::StrFormat("%.0f of %.0f entries", medians.entries, kWalkedEntries);
  }
  return medians;
}

// Ours against the best of the others, which is the one with the most operations per second.
struct Standing {
  Sample ours;
  std::optional<Sample> best = {};
  size_t best_index = 0;
  Sample floor;

  double speed() const { return ours.ops_per_s / best->ops_per_s; }
  double cpu() const { return ours.server_cpu_ns / best->server_cpu_ns; }
  double of_floor() const { return ours.ops_per_s / floor.ops_per_s; }
};

Standing Stand(const VirtiofsCell& cell) {
  Standing standing{.ours = Medians(cell.daemons[0]), .floor = Medians(cell.floor)};
  for (size_t i = 1; i < cell.daemons.size(); ++i) {
    const Sample peer = Medians(cell.daemons[i]);
    if (standing.best && peer.ops_per_s <= standing.best->ops_per_s) continue;
    standing.best = peer;
    standing.best_index = i;
  }
  return standing;
}

std::string CellName(const VirtiofsCell& cell) {
  return absl::StrFormat("%s at depth %d", cell.operation->name, cell.depth);
}

struct Target {
  std::string what;
  double value;
  double bound;
  bool at_least;
  std::string detail;
  bool reached() const { return at_least ? value >= bound : value <= bound; }
};

// Of the cells of a kind: how they stand, and the slowest.
struct Selection {
  std::vector<double> speeds, cpus;
  double slowest = 0;
  std::string slowest_name;
};

template <typename Filter>
Selection Select(const std::vector<VirtiofsCell>& cells, Filter wanted) {
  Selection found;
  for (const VirtiofsCell& cell : cells) {
    if (!wanted(cell)) continue;
    const Standing standing = Stand(cell);
    if (!standing.best) continue;
    if (found.speeds.empty() || standing.speed() < found.slowest) {
      found.slowest = standing.speed();
      found.slowest_name = CellName(cell);
    }
    found.speeds.push_back(standing.speed());
    found.cpus.push_back(standing.cpu());
  }
  return found;
}

std::vector<Target> Targets(const VirtiofsReport& report) {
  std::vector<Target> targets;
  const auto at_depth = [&](VirtiofsClass size_class, size_t depth) {
    return Select(report.cells, [=](const VirtiofsCell& cell) {
      return cell.operation->size_class == size_class && cell.depth == depth;
    });
  };
  for (const auto& [depth, bound] : {std::pair{size_t{1}, 1.3}, std::pair{size_t{16}, 2.0}}) {
    const Selection small = at_depth(VirtiofsClass::kSmall, depth);
    if (small.speeds.empty()) continue;
    targets.push_back({absl::StrFormat("small operations at depth %d, geometric mean", depth),
                       GeometricMean(small.speeds), bound, true, ""});
    targets.push_back({absl::StrFormat("small operations at depth %d, slowest", depth),
                       small.slowest, 1.0, true, small.slowest_name});
    targets.push_back(
        {absl::StrFormat("small operations at depth %d, CPU per operation, geometric mean", depth),
         GeometricMean(small.cpus), 1.0, false, ""});
  }
  const auto of_class = [&](VirtiofsClass size_class) {
    return Select(report.cells, [=](const VirtiofsCell& cell) {
      return cell.operation->size_class == size_class;
    });
  };
  if (const Selection bulk = of_class(VirtiofsClass::kBulk); !bulk.speeds.empty()) {
    targets.push_back({"reads and writes of 128 KiB and more, slowest", bulk.slowest, 1.0, true,
                       bulk.slowest_name});
  }
  if (const Selection listing = of_class(VirtiofsClass::kListing); !listing.speeds.empty()) {
    targets.push_back({"READDIRPLUS of 10 000 entries, slowest", listing.slowest, 2.5, true,
                       listing.slowest_name});
  }
  if (report.walks.empty()) return targets;

  const WalkSample ours = Medians(report.walks[0].rounds);
  double best = 0;
  std::string best_name;
  for (size_t i = 1; i < report.walks.size(); ++i) {
    const WalkSample peer = Medians(report.walks[i].rounds);
    if (!peer.error.empty() || (best != 0 && peer.seconds >= best)) continue;
    best = peer.seconds;
    best_name = report.walks[i].name;
  }
  if (best != 0) {
    targets.push_back({"tree walk", ours.error.empty() ? best / ours.seconds : 0, 2.5, true,
                       absl::StrCat("against ", best_name)});
  }
  if (!report.limited_walks.rounds.empty()) {
    const WalkSample limited = Medians(report.limited_walks.rounds);
    targets.push_back(
        {absl::StrCat("bytes of memory for each file held, ", report.limited_walks.name),
         limited.error.empty() ? limited.bytes_per_entry : 1e9, 200, false, limited.error});
  }
  return targets;
}

std::string Rate(double ops_per_s) {
  return ops_per_s < 1000 ? absl::StrFormat("%.1f", ops_per_s) : absl::StrFormat("%.0f", ops_per_s);
}

std::string Micros(double ns) {
  const double us = ns / 1000;
  return us < 100 ? absl::StrFormat("%.2f", us) : absl::StrFormat("%.0f", us);
}

std::string WalkRow(const VirtiofsWalks& walks) {
  const WalkSample median = Medians(walks.rounds);
  return absl::StrFormat("%-28s %9.2f %10.0f %9.2f %12.0f %9.0f  %s\n", walks.name, median.seconds,
                         median.entries / median.seconds, median.server_cpu_s,
                         median.bytes_per_entry, median.fds, median.error);
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

std::string JsonWalks(const VirtiofsWalks& walks) {
  const auto each = [](std::string* out, const WalkSample& walk) {
    absl::StrAppendFormat(out,
                          "{\"seconds\": %.3f, \"entries\": %.0f, \"server_cpu_s\": %.3f, "
                          "\"bytes_per_entry\": %.1f, \"fds\": %.0f, \"error\": \"%s\"}",
                          walk.seconds, walk.entries, walk.server_cpu_s, walk.bytes_per_entry,
                          walk.fds, walk.error);
  };
  return absl::StrCat("  {\"name\": \"", walks.name, "\", \"rounds\": [",
                      absl::StrJoin(walks.rounds, ", ", each), "]}");
}

std::string Escaped(absl::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\') escaped.push_back('\\');
    escaped.push_back(c);
  }
  return escaped;
}

}  // namespace

std::string VirtiofsReport::Text() const {
  std::string text = absl::StrFormat(
      "%s\nmedians of %d rounds of %d ms each, the daemons in turn in every round; one client over "
      "one request ring of 1024, %s\n"
      "p50, p99 and CPU of the server per operation in microseconds; x = our throughput / that of "
      "the best other (*),\ncpu = our CPU per operation / its; floor = our throughput / that of "
      "the "
      "bare calls by one thread\n\n",
      host, rounds, cell_ms, client);
  for (const Contender& contender : contenders) {
    absl::StrAppendFormat(&text, "%s: %s\n", contender.name, contender.command);
  }
  absl::StrAppendFormat(&text, "\n%-21s %3s", "operation", "d");
  for (const Contender& contender : contenders) {
    absl::StrAppendFormat(&text, " |%-34s", absl::StrCat(" ", contender.name));
  }
  absl::StrAppendFormat(&text, " |%-17s |\n%-25s", " bare calls", "");
  for (size_t i = 0; i < contenders.size(); ++i) {
    absl::StrAppendFormat(&text, " | %9s %7s %7s %7s", "ops/s", "p50", "p99", "cpu");
  }
  absl::StrAppendFormat(&text, " | %8s %7s |%6s %6s %6s\n", "ops/s", "p50", "x", "cpu", "floor");
  for (const VirtiofsCell& cell : cells) {
    const Standing standing = Stand(cell);
    absl::StrAppendFormat(&text, "%-21s %3d", cell.operation->name, cell.depth);
    for (size_t i = 0; i < cell.daemons.size(); ++i) {
      const Sample sample = Medians(cell.daemons[i]);
      absl::StrAppendFormat(&text, " |%s%9s %7s %7s %7s",
                            standing.best && i == standing.best_index ? "*" : " ",
                            Rate(sample.ops_per_s), Micros(sample.p50_ns), Micros(sample.p99_ns),
                            Micros(sample.server_cpu_ns));
    }
    absl::StrAppendFormat(&text, " | %8s %7s |", Rate(standing.floor.ops_per_s),
                          Micros(standing.floor.p50_ns));
    if (standing.best) {
      absl::StrAppendFormat(&text, "%6.2f %6.2f %6.2f\n", standing.speed(), standing.cpu(),
                            standing.of_floor());
    } else {
      absl::StrAppendFormat(&text, "%6s %6s %6.2f\n", "-", "-", standing.of_floor());
    }
  }
  if (!walks.empty()) {
    absl::StrAppendFormat(&text,
                          "\nwalk of %d directories with %d files each by a fresh daemon, "
                          "READDIRPLUS of 4 KiB, nothing forgotten\n%-28s %9s %10s %9s %12s %9s\n",
                          kWalkedDirs, kWalkedFilesPerDir, "", "seconds", "entries/s", "cpu s",
                          "bytes/entry", "fds");
    for (const VirtiofsWalks& walk : walks) text += WalkRow(walk);
    if (!limited_walks.rounds.empty()) text += WalkRow(limited_walks);
    text += WalkRow(bare_walks);
  }
  absl::StrAppend(&text, "\ntargets, against the best other in each row\n");
  for (const Target& target : Targets(*this)) {
    absl::StrAppendFormat(&text, "  %-7s %s: %.2f (%s %.2f%s%s)\n",
                          target.reached() ? "reached" : "MISSED", target.what, target.value,
                          target.at_least ? "at least" : "at most", target.bound,
                          target.detail.empty() ? "" : "; ", target.detail);
  }
  return text;
}

std::string VirtiofsReport::Json() const {
  std::string json = absl::StrFormat(
      "{\"host\": \"%s\", \"client\": \"%s\", \"rounds\": %d, \"cell_ms\": %d,\n"
      "\"daemons\": [\n",
      Escaped(host), client, rounds, cell_ms);
  const auto add_contender = [](std::string* out, const Contender& contender) {
    absl::StrAppend(out, "  {\"name\": \"", Escaped(contender.name), "\", \"command\": \"",
                    Escaped(contender.command), "\"}");
  };
  absl::StrAppend(&json, absl::StrJoin(contenders, ",\n", add_contender), "\n],\n\"cells\": [\n");
  const auto add_cell = [&](std::string* out, const VirtiofsCell& cell) {
    const Standing standing = Stand(cell);
    absl::StrAppendFormat(out,
                          "  {\"operation\": \"%s\", \"requests\": \"%s\", \"bare_calls\": \"%s\", "
                          "\"depth\": %d,\n",
                          cell.operation->name, cell.operation->requests, cell.operation->floor,
                          cell.depth);
    if (standing.best) {
      absl::StrAppendFormat(out,
                            "   \"best_other\": \"%s\", \"throughput_ratio\": %.3f, "
                            "\"server_cpu_ratio\": %.3f,\n",
                            Escaped(contenders[standing.best_index].name), standing.speed(),
                            standing.cpu());
    }
    for (size_t i = 0; i < cell.daemons.size(); ++i) {
      absl::StrAppend(out, "   \"", Escaped(contenders[i].name),
                      "\": ", JsonRounds(cell.daemons[i]), ",\n");
    }
    absl::StrAppend(out, "   \"floor\": ", JsonRounds(cell.floor), "}");
  };
  absl::StrAppend(&json, absl::StrJoin(cells, ",\n", add_cell), "\n],\n\"walks\": [\n");
  std::vector<VirtiofsWalks> all = walks;
  if (!limited_walks.rounds.empty()) all.push_back(limited_walks);
  if (!bare_walks.rounds.empty()) all.push_back(bare_walks);
  const auto add_walks = [](std::string* out, const VirtiofsWalks& of) { *out += JsonWalks(of); };
  absl::StrAppend(&json, absl::StrJoin(all, ",\n", add_walks), "\n],\n\"targets\": [\n");
  const auto add_target = [](std::string* out, const Target& target) {
    absl::StrAppendFormat(
        out,
        "  {\"what\": \"%s\", \"value\": %.3f, \"bound\": %.3f, \"at_least\": %s, "
        "\"reached\": %s, \"detail\": \"%s\"}",
        Escaped(target.what), target.value, target.bound, target.at_least ? "true" : "false",
        target.reached() ? "true" : "false", Escaped(target.detail));
  };
  absl::StrAppend(&json, absl::StrJoin(Targets(*this), ",\n", add_target), "\n]}\n");
  return json;
}

}  // namespace gofer::bench
