#include "gofer/server/control_way.h"

#include <linux/limits.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "checkpoint/codec.h"
#include "checkpoint/image_file.h"
#include "fuse/session/connection.h"
#include "fuse/session/session.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/log_linear.h"
#include "gofer/base/name.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/request_gate.h"
#include "gofer/fs/filesystem.h"
#include "gofer/server/log_output.h"
#include "gofer/stats/request_stats.h"
#include "gofer/sys/socket.h"

namespace gofer::server {
namespace {

// From the reply to a checkpoint that ends the process to the word that the image is in its place.
constexpr absl::Duration kDonePatience = absl::Seconds(30);

// What a command has had for itself goes back to the host: the allocator would keep all that lies below
// the youngest thing that a client has. On destruction, after everything that was made later.
class GivesMemoryBack {
 public:
  GivesMemoryBack() = default;
  GivesMemoryBack(const GivesMemoryBack&) = delete;
  GivesMemoryBack& operator=(const GivesMemoryBack&) = delete;
  ~GivesMemoryBack() { malloc_trim(0); }
};

// Files that cannot be saved are the state's fault, all else is not.
control::Reply Failed(const absl::Status& error) {
  return control::FailureReply(
      error.message(), absl::IsFailedPrecondition(error) ? kExitMismatch : ExitStatusOf(error));
}

control::Reply ToReply(const checkpoint::SaveResult& saved) {
  control::Reply reply;
  control::CheckpointResult& result = *reply.mutable_checkpoint();
  result.set_names(saved.names);
  result.set_files(saved.files);
  result.set_open_files(saved.open_files);
  result.set_deleted_files(saved.deleted_files);
  result.set_clients(saved.clients);
  result.set_image_bytes(saved.payload_bytes + checkpoint::kImageHeaderSize);
  result.set_paths_checked(saved.paths.checked);
  result.set_paths_repaired(saved.paths.repaired);
  result.set_paths_deleted(saved.paths.deleted);
  result.set_paths_not_found(saved.paths.not_found);
  result.set_pause_us(static_cast<uint64_t>(absl::ToInt64Microseconds(saved.pause)));
  return reply;
}

void AddClient(const WayIn& way, control::WayIn& entry) {
  const std::optional<checkpoint::FuseClient> client = way.fuse_client();
  if (!client.has_value()) return;
  const RefPtr<fuse::Connection> connection = client->session->connection();
  if (!connection) return;
  entry.set_nodes(connection->nodes().size());
  entry.set_open_files(connection->handles().size());
  entry.set_restored(way.restored());
}

void AddRequests(const WayIn& way, control::WayIn& entry) {
  for (const stats::Operation& operation : way.Requests()) {
    control::Operation& added = *entry.add_operations();
    added.set_name(operation.name);
    added.set_requests(operation.requests);
    added.set_total_ns(operation.total_ns);
    for (const CountedRange& range : operation.latencies) {
      control::LatencyRange& latency = *added.add_latencies();
      latency.set_above_ns(range.above);
      latency.set_upto_ns(range.upto);
      latency.set_requests(range.count);
    }
    for (const stats::ErrnoCount& error : operation.errors) {
      control::ErrnoCount& count = *added.add_errors();
      count.set_number(error.error);
      count.set_requests(error.count);
    }
  }
}

void AddLimits(const std::vector<LimitUse>& limits,
               google::protobuf::RepeatedPtrField<control::LimitUse>& added) {
  for (const LimitUse& limit : limits) {
    control::LimitUse& entry = *added.Add();
    entry.set_resource(std::string(limit.resource));
    entry.set_limit(limit.limit);
    if (limit.used.has_value()) entry.set_used(*limit.used);
  }
}

}  // namespace

ControlWay::ControlWay(std::vector<ControlSocket> sockets, Service service)
    : service_(std::move(service)), server_(*this, service_.judge, service_.limits) {
  for (ControlSocket& socket : sockets) {
    if (socket.listens) {
      listening_.push_back(std::move(socket.fd));
    } else {
      server_.Add(std::move(socket.fd));
    }
  }
}

std::vector<BorrowedFd> ControlWay::Watched() const {
  return std::vector<BorrowedFd>(listening_.begin(), listening_.end());
}

void ControlWay::OnReadable(size_t index) {
  ErrnoOr<UniqueFd> client = sys::Accept(listening_[index]);
  if (client.ok()) {
    server_.Add(*std::move(client));
  } else if (client.error() != EAGAIN && client.error() != ECONNABORTED) {
    LOG_EVERY_N(WARNING, 100) << "control socket: accept: " << client.error().ToString();
  }
}

control::Reply ControlWay::Handle(control::Received received, Client& client) {
  switch (received.request.command_case()) {
    case control::Request::kStatus:
      return ReplyStatus();
    case control::Request::kConfinement:
      return ReplyConfinement();
    case control::Request::kPurge:
      return Purge();
    case control::Request::kStop: {
      LOG(INFO) << "ending: a command";
      service_.loop.AskToEnd();
      control::Reply reply;
      reply.mutable_stopping();
      return reply;
    }
    case control::Request::kCheckpoint:
      return Checkpoint(received.request.checkpoint(), received.descriptor, client);
    case control::Request::kCheckpointDone:
      return control::FailureReply("control socket: there is no checkpoint that waits");
    case control::Request::COMMAND_NOT_SET:
      break;
  }
  return control::FailureReply(absl::StrCat("control socket: a command that gofer ",
                                            service_.about.version(), " does not know"));
}

control::Reply ControlWay::ReplyStatus() const {
  control::Reply reply;
  control::Status& status = *reply.mutable_status();
  status = service_.about;
  status.set_uptime_ms(static_cast<uint64_t>(absl::ToInt64Milliseconds(absl::Now() - begin_)));
  for (const WayIn* const way : service_.ways) {
    control::WayIn& entry = *status.add_ways_in();
    entry.set_name(std::string(way->name()));
    entry.set_state(way->state());
    AddClient(*way, entry);
    AddRequests(*way, entry);
    AddLimits(way->Limits(), *entry.mutable_limits());
  }
  fs::Filesystem& filesystem = service_.subject.filesystem;
  status.set_dentries(filesystem.dentries().size());
  status.set_unreferenced_dentries(filesystem.dentries().unreferenced());
  status.set_inodes(filesystem.inodes().size());
  status.set_file_descriptors(filesystem.open_fds());
  AddLimits(CommonLimits(), *status.mutable_limits());
  status.set_log_records_dropped(LogRecordsDropped());
  return reply;
}

std::vector<LimitUse> ControlWay::CommonLimits() const {
  fs::Filesystem& filesystem = service_.subject.filesystem;
  const checkpoint::SaveOptions save;
  // The main one, and those that start and end others.
  size_t max_threads = service_.limits.clients + 4;
  for (const WayIn* const way : service_.ways) max_threads += way->MaxThreads();
  return {
      {.resource = "process_threads", .limit = max_threads, .used = service_.confinement.Threads()},
      {.resource = "file_descriptors",
       .limit = service_.about.file_descriptors_limit(),
       .used = filesystem.open_fds()},
      {.resource = "names", .limit = service_.max_nodes, .used = filesystem.dentries().size()},
      {.resource = "files", .limit = service_.max_nodes, .used = filesystem.inodes().size()},
      {.resource = "name_bytes", .limit = kMaxNameBytes},
      {.resource = "xattr_bytes", .limit = XATTR_SIZE_MAX},
      {.resource = "control_clients", .limit = service_.limits.clients, .used = server_.clients()},
      {.resource = "control_request_bytes", .limit = control::kMaxRequestBytes},
      {.resource = "control_request_seconds",
       .limit = static_cast<uint64_t>(absl::ToInt64Seconds(service_.limits.request))},
      {.resource = "image_bytes", .limit = checkpoint::kMaxImageBytes},
      {.resource = "image_files", .limit = checkpoint::kMaxNodes},
      {.resource = "image_deleted_bytes", .limit = save.max_deleted_bytes},
      {.resource = "save_quiesce_seconds",
       .limit = static_cast<uint64_t>(absl::ToInt64Seconds(save.quiesce))},
      {.resource = "log_record_bytes", .limit = kMaxLogMessageBytes},
      {.resource = "log_records_per_second", .limit = LogRecordsPerSecond()}};
}

control::Reply ControlWay::ReplyConfinement() const {
  absl::StatusOr<control::Confinement> now = service_.confinement.Now();
  if (!now.ok()) return Failed(now.status());
  control::Reply reply;
  *reply.mutable_confinement() = *std::move(now);
  return reply;
}

control::Reply ControlWay::Purge() {
  const GivesMemoryBack at_the_end;
  control::Reply reply;
  reply.mutable_purged()->set_dentries(service_.subject.filesystem.dentries().Purge());
  return reply;
}

std::vector<checkpoint::FuseClient> ControlWay::FuseClients() const {
  std::vector<checkpoint::FuseClient> clients;
  for (const WayIn* const way : service_.ways) {
    const std::optional<checkpoint::FuseClient> client = way->fuse_client();
    if (client.has_value() && way->OutlivesProcess()) clients.push_back(*client);
  }
  return clients;
}

absl::Status ControlWay::CanEnd() const {
  for (const WayIn* const way : service_.ways) {
    if (way->OutlivesProcess()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint: what is ", way->state(),
                     " ends with this process, for whoever uses it; unmount it before, or give "
                     "--leave_running. A mount that is to go on is handed down by --fuse_fd"));
  }
  return absl::OkStatus();
}

control::Reply ControlWay::Checkpoint(const control::CheckpointRequest& request, BorrowedFd file,
                                      Client& client) {
  if (file.get() < 0) {
    return control::FailureReply("checkpoint: no file came along with the command");
  }
  if (saving_.exchange(true)) {
    return control::FailureReply(
        "checkpoint: another one is being made; try again when it is done");
  }
  const absl::Cleanup ended = [this] { saving_ = false; };
  const GivesMemoryBack at_the_end;
  if (!request.leave_running()) {
    if (const absl::Status can_end = CanEnd(); !can_end.ok()) return Failed(can_end);
  }
  const std::vector<checkpoint::FuseClient> fuse = FuseClients();
  checkpoint::Subject subject = service_.subject;
  subject.fuse = fuse;
  std::atomic<bool> cancel{false};
  checkpoint::SaveOptions options = {
      .leave_running = request.leave_running(),
      .confirm_paths = request.confirm_paths(),
      .watch = {.cancel = &cancel, .progress = [&](uint64_t done, uint64_t total) {
                  control::Progress progress;
                  progress.set_what("looking at paths");
                  progress.set_done(done);
                  progress.set_total(std::max(done, total));
                  if (!client.Report(progress)) cancel = true;
                }}};
  if (request.quiesce_seconds() > 0) options.quiesce = absl::Seconds(request.quiesce_seconds());
  if (request.has_max_deleted_bytes()) options.max_deleted_bytes = request.max_deleted_bytes();
  const checkpoint::ImageKey key = {.secret = request.key()};
  const absl::StatusOr<checkpoint::SaveResult> saved = checkpoint::Save(
      subject, options,
      [&](absl::string_view payload) { return checkpoint::WriteImage(file, payload, key); });
  if (!saved.ok()) {
    LOG(ERROR) << saved.status().message();
    return Failed(saved.status());
  }
  LOG(INFO) << "checkpoint: " << saved->names << " names, " << saved->open_files
            << " open files; clients waited for " << absl::FormatDuration(saved->pause);
  const control::Reply reply = ToReply(*saved);
  return options.leave_running ? reply : AwaitDone(subject, *saved, reply, client);
}

control::Reply ControlWay::AwaitDone(const checkpoint::Subject& subject,
                                     const checkpoint::SaveResult& saved,
                                     const control::Reply& reply, Client& client) {
  const absl::StatusOr<control::Received> done = client.Ask(reply, kDonePatience);
  if (!done.ok() || !done->request.has_checkpoint_done()) {
    checkpoint::ServeOn(subject);
    LOG(WARNING) << "checkpoint: nobody said that the image is in its place; serving on";
    return control::FailureReply("checkpoint: not completed; the gofer serves on");
  }
  LOG(INFO) << "ending: saved";
  checkpoint::LetGo(subject, saved);
  service_.loop.AskToLeave([this] { server_.Stop(); });
  control::Reply stopping;
  stopping.mutable_stopping();
  return stopping;
}

}  // namespace gofer::server
