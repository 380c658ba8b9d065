#include "gofer/server/commands.h"

#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/image_file.h"
#include "gofer/base/errno.h"
#include "gofer/base/json.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/client.h"
#include "gofer/control/control.pb.h"
#include "gofer/server/confinement_view.h"
#include "gofer/server/metrics.h"
#include "gofer/server/options.h"
#include "gofer/server/request_view.h"
#include "gofer/server/restoration.h"
#include "gofer/sys/child.h"
#include "gofer/sys/own_directory.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/process.h"
#include "gofer/sys/socket.h"

namespace gofer::server {
namespace {

// One line that is written over on a terminal; one for each step otherwise.
class ProgressLine {
 public:
  ProgressLine() : terminal_(sys::IsTerminal(2)) {}
  ~ProgressLine() {
    if (terminal_ && !what_.empty()) std::cerr << "\n";
  }

  void Show(const control::Progress& progress) {
    const bool same_step = std::exchange(what_, progress.what()) == progress.what();
    const bool complete = progress.total() != 0 && progress.done() == progress.total();
    if (same_step && !terminal_ && !complete) return;
    std::cerr << (terminal_ ? "\r\033[K" : "") << progress.what();
    if (progress.total() != 0) std::cerr << " " << progress.done() << "/" << progress.total();
    std::cerr << (terminal_ ? "" : "\n") << std::flush;
  }

 private:
  const bool terminal_;
  std::string what_;
};

absl::StatusOr<UniqueFd> Connect(const CommandFlags& flags) {
  if (flags.control_socket.empty()) {
    return absl::InvalidArgumentError(
        "--control_socket is missing; name the one that the gofer was started with");
  }
  return control::ConnectToGofer(flags.control_socket);
}

absl::StatusOr<control::Reply> Send(BorrowedFd gofer, const control::Request& request,
                                    BorrowedFd descriptor = BorrowedFd(-1)) {
  ProgressLine line;
  return control::Command(gofer, request, descriptor,
                          [&line](const control::Progress& progress) { line.Show(progress); });
}

// A table of names and numbers, as lines or as a JSON object. What is text comes quoted already.
class Answer {
 public:
  explicit Answer(bool json) : json_(json) {}

  template <typename Number>
  void Add(absl::string_view name, Number value, absl::string_view unit = "") {
    AddText(name, absl::StrCat(value), unit);
  }
  void AddQuoted(absl::string_view name, absl::string_view value) {
    AddText(name, json_ ? JsonQuote(value) : absl::CHexEscape(value), "");
  }
  void AddFlag(absl::string_view name, bool value) {
    AddText(name, json_ ? (value ? "true" : "false") : (value ? "yes" : "no"), "");
  }
  // A value that is JSON already; for a person, `text`.
  void AddRaw(absl::string_view name, absl::string_view json, absl::string_view text) {
    AddText(name, std::string(json_ ? json : text), "");
  }
  void Print() const { std::cout << (json_ ? absl::StrCat("{", out_, "}\n") : out_) << std::flush; }

 private:
  void AddText(absl::string_view name, const std::string& value, absl::string_view unit) {
    if (json_) {
      absl::StrAppend(&out_, out_.empty() ? "" : ",", JsonQuote(name), ":", value);
    } else {
      std::string label(name);
      for (char& letter : label) letter = letter == '_' ? ' ' : letter;
      absl::StrAppend(&out_, absl::StrFormat("%-24s %s%s\n", label, value, unit));
    }
  }

  const bool json_;
  std::string out_;
};

template <typename Limits>
std::string LimitsAsJson(const Limits& limits) {
  const auto add = [](std::string* out, const control::LimitUse& limit) {
    absl::StrAppend(out, JsonQuote(limit.resource()), ":{\"limit\":", limit.limit());
    if (limit.has_used()) absl::StrAppend(out, ",\"used\":", limit.used());
    absl::StrAppend(out, "}");
  };
  return absl::StrCat("{", absl::StrJoin(limits, ",", add), "}");
}

std::string WayInAsJson(const control::Status& status, const control::Status* before, int number) {
  const control::WayIn& way = status.ways_in(number);
  std::string json =
      absl::StrCat("{\"name\":", JsonQuote(way.name()), ",\"state\":", JsonQuote(way.state()));
  if (way.has_nodes()) {
    absl::StrAppend(&json, ",\"nodes\":", way.nodes(), ",\"open_files\":", way.open_files(),
                    ",\"restored\":", way.restored() ? "true" : "false");
  }
  return absl::StrCat(json, ",\"operations\":", RequestsAsJson(status, before, number),
                      ",\"limits\":", LimitsAsJson(way.limits()), "}");
}

std::string WayInAsText(const control::WayIn& way) {
  std::string text = absl::StrCat(way.name(), ": ", absl::CHexEscape(way.state()));
  if (way.has_nodes()) {
    absl::StrAppend(&text, ", ", way.nodes(), " nodes, ", way.open_files(), " open files",
                    way.restored() ? ", restored" : "");
  }
  return text;
}

// Rates are those since `before`, if it is not null.
void PrintStatus(const control::Status& status, const control::Status* before, bool json) {
  Answer answer(json);
  answer.AddQuoted("version", status.version());
  answer.Add("pid", status.pid());
  answer.AddQuoted("root", status.root());
  answer.AddFlag("readonly", status.readonly());
  answer.AddFlag("restored", status.restored());
  answer.AddQuoted("sandbox", status.sandbox());
  answer.AddQuoted("seccomp", status.seccomp());
  answer.AddQuoted("landlock", status.landlock());
  answer.Add("uptime_ms", status.uptime_ms());
  std::string ways = "[";
  std::string lines;
  for (int i = 0; i < status.ways_in_size(); ++i) {
    absl::StrAppend(&ways, ways.size() > 1 ? "," : "", WayInAsJson(status, before, i));
    absl::StrAppend(&lines, lines.empty() ? "" : "; ", WayInAsText(status.ways_in(i)));
  }
  answer.AddRaw("ways_in", absl::StrCat(ways, "]"), lines);
  answer.Add("dentries", status.dentries());
  answer.Add("unreferenced_dentries", status.unreferenced_dentries());
  answer.Add("inodes", status.inodes());
  answer.Add("file_descriptors", status.file_descriptors());
  answer.Add("file_descriptors_limit", status.file_descriptors_limit());
  answer.Add("log_records_dropped", status.log_records_dropped());
  if (json) answer.AddRaw("limits", LimitsAsJson(status.limits()), "");
  answer.Print();
  if (!json) std::cout << RequestsAsTables(status, before) << std::flush;
}

void PrintCheckpoint(const control::CheckpointResult& result, const CommandFlags& flags) {
  Answer answer(flags.json);
  answer.AddQuoted("image", absl::StrCat(flags.image_path, "/", checkpoint::kImageName));
  answer.Add("image_bytes", result.image_bytes());
  answer.Add("names", result.names());
  answer.Add("files", result.files());
  answer.Add("open_files", result.open_files());
  answer.Add("deleted_files", result.deleted_files());
  answer.Add("clients", result.clients());
  answer.Add("paths_repaired", result.paths_repaired());
  answer.Add("paths_not_found", result.paths_not_found());
  answer.Add("pause_us", result.pause_us());
  answer.AddFlag("running", flags.leave_running);
  answer.Print();
}

// A command after which the gofer ends: returns when it has ended, so that another one can have its
// sockets. If that takes long, or cannot be known, nobody waits for it.
class Ending {
 public:
  explicit Ending(BorrowedFd gofer) : gofer_(gofer) {
    // While it is there for sure, so that it is no other process of that number.
    const ErrnoOr<int> pid = sys::PeerPid(gofer);
    if (!pid.ok()) return;
    ErrnoOr<UniqueFd> process = sys::ProcessDescriptor(*pid);
    if (process.ok()) process_ = *std::move(process);
  }
  void Await() const {
    const BorrowedFd connection[] = {gofer_};
    const ErrnoOr<std::vector<size_t>> closed = sys::WaitReadable(connection, kEndPatience);
    if (!closed.ok() || closed->empty() || !process_.valid()) return;
    // Whoever made the socket may have been another one, which lives on.
    const BorrowedFd process[] = {process_};
    (void)sys::WaitReadable(process, kExitPatience);
  }

 private:
  static constexpr absl::Duration kEndPatience = absl::Seconds(10);
  static constexpr absl::Duration kExitPatience = absl::Milliseconds(200);

  BorrowedFd gofer_;
  UniqueFd process_;
};

absl::StatusOr<UniqueFd> OpenImageDirectory(const CommandFlags& flags) {
  if (flags.image_path.empty()) {
    return absl::InvalidArgumentError(
        "checkpoint: --image_path is missing; name the directory that gets gofer.img");
  }
  ErrnoOr<UniqueFd> directory = sys::OpenOwnDirectory(flags.image_path.c_str());
  if (directory.ok()) return *std::move(directory);
  return ToStatus(directory.error(), absl::StrCat("--image_path=", flags.image_path));
}

control::Request ToRequest(const CommandFlags& flags, const checkpoint::ImageKey& key) {
  control::Request request;
  control::CheckpointRequest& checkpoint = *request.mutable_checkpoint();
  checkpoint.set_leave_running(flags.leave_running);
  checkpoint.set_confirm_paths(flags.confirm_paths);
  checkpoint.set_max_deleted_bytes(flags.max_deleted_bytes);
  checkpoint.set_key(key.secret);
  checkpoint.set_quiesce_seconds(static_cast<uint32_t>(flags.save_quiesce_seconds));
  return request;
}

}  // namespace

absl::Status Checkpoint(const CommandFlags& flags) {
  RETURN_IF_ERROR(CheckLimit("save_quiesce_seconds", flags.save_quiesce_seconds, 1, 3600,
                             "clients wait that long, so up to an hour"));
  ASSIGN_OR_RETURN(const UniqueFd directory, OpenImageDirectory(flags));
  ASSIGN_OR_RETURN(const checkpoint::ImageKey key, ReadImageKey(flags.image_key_file));
  ASSIGN_OR_RETURN(const UniqueFd gofer, Connect(flags));
  RETURN_IF_ERROR(checkpoint::RemoveStrayImages(directory).status());
  ASSIGN_OR_RETURN(checkpoint::PendingImage image, checkpoint::PendingImage::Create(directory));
  ASSIGN_OR_RETURN(const control::Reply saved, Send(gofer, ToRequest(flags, key), image.file()));
  RETURN_IF_ERROR(std::move(image).Commit());
  if (!flags.leave_running) {
    control::Request done;
    done.mutable_checkpoint_done();
    const Ending ending(gofer);
    RETURN_IF_ERROR(Send(gofer, done).status());
    ending.Await();
  }
  PrintCheckpoint(saved.checkpoint(), flags);
  return absl::OkStatus();
}

absl::Status ShowStatus(const CommandFlags& flags) {
  ASSIGN_OR_RETURN(const UniqueFd gofer, Connect(flags));
  control::Request request;
  request.mutable_status();
  std::optional<control::Status> before;
  for (;;) {
    ASSIGN_OR_RETURN(control::Reply reply, Send(gofer, request));
    // From the top of the screen, so that numbers change in their places.
    if (flags.watch && !flags.json && sys::IsTerminal(1)) std::cout << "\033[H\033[2J";
    PrintStatus(reply.status(), before.has_value() ? &*before : nullptr, flags.json);
    if (!flags.watch) return absl::OkStatus();
    before = std::move(*reply.mutable_status());
    absl::SleepFor(absl::Seconds(1));
  }
}

absl::Status ShowMetrics(const CommandFlags& flags) {
  ASSIGN_OR_RETURN(const UniqueFd gofer, Connect(flags));
  control::Request request;
  request.mutable_status();
  ASSIGN_OR_RETURN(const control::Reply reply, Send(gofer, request));
  std::cout << StatusAsMetrics(reply.status()) << std::flush;
  return absl::OkStatus();
}

absl::Status ShowConfinement(const CommandFlags& flags) {
  ASSIGN_OR_RETURN(const UniqueFd gofer, Connect(flags));
  control::Request request;
  request.mutable_confinement();
  ASSIGN_OR_RETURN(const control::Reply reply, Send(gofer, request));
  control::Confinement confinement = reply.confinement();
  const ErrnoOr<int> peer = sys::PeerPid(gofer);
  AddThreadsOf(ServingProcess(peer.ok() ? *peer : 0, confinement), confinement);
  std::cout << (flags.json ? ConfinementAsJson(confinement) : ConfinementAsText(confinement));
  return absl::OkStatus();
}

absl::Status Purge(const CommandFlags& flags) {
  ASSIGN_OR_RETURN(const UniqueFd gofer, Connect(flags));
  control::Request request;
  request.mutable_purge();
  ASSIGN_OR_RETURN(const control::Reply reply, Send(gofer, request));
  Answer answer(flags.json);
  answer.Add("purged_dentries", reply.purged().dentries());
  answer.Print();
  return absl::OkStatus();
}

absl::Status Stop(const CommandFlags& flags) {
  ASSIGN_OR_RETURN(const UniqueFd gofer, Connect(flags));
  control::Request request;
  request.mutable_stop();
  const Ending ending(gofer);
  RETURN_IF_ERROR(Send(gofer, request).status());
  ending.Await();
  Answer answer(flags.json);
  answer.AddFlag("stopping", true);
  answer.Print();
  return absl::OkStatus();
}

}  // namespace gofer::server
