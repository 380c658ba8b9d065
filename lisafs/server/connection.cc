#include "lisafs/server/connection.h"

#include <utility>

#include "gofer/base/request_gate.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/memory_map.h"
#include "lisafs/server/op_table.h"

namespace lisafs {

using gofer::Errno;
using gofer::ErrnoOr;

namespace {

// What a thread serves its socket or channel with: the one place that sees each request with its
// message and its result.
class CountedConnection final : public CallHandler {
 public:
  CountedConnection(Connection& connection, gofer::stats::RequestStats& requests)
      : connection_(connection), recorder_(requests) {}

  void Handle(Call& call) override {
    const uint64_t begin = recorder_.Now();
    if (!call.error().has_value()) connection_.Handle(call);
    recorder_.Record(RequestRow(call.id), begin, call.error());
  }

 private:
  Connection& connection_;
  gofer::stats::Recorder recorder_;
};

}  // namespace

Connection::Connection(gofer::fs::Filesystem& filesystem, gofer::stats::RequestStats& requests,
                       const ServerOptions& server_options, ConnectionOptions options,
                       std::unique_ptr<MainSocket> socket)
    : filesystem_(filesystem),
      requests_(requests),
      server_options_(server_options),
      options_(std::move(options)),
      socket_(std::move(socket)) {}

Connection::~Connection() = default;

void Connection::Serve() {
  {
    CountedConnection counted(*this, requests_);
    socket_->Serve(counted);
  }
  // The client has gone, and may wait for that to be noticed on the socket: files are released
  // before it is.
  ShutDownChannels();
  fds_.Clear();
  SetMountPoint(nullptr);
  socket_->ShutDown();
}

void Connection::Stop() { socket_->StopReceiving(); }

void Connection::ShutDown() {
  socket_->ShutDown();
  absl::MutexLock lock(&channels_mu_);
  for (ServedChannel& served : channels_) served.channel->ShutDown();
}

void Connection::ShutDownChannels() {
  std::vector<ServedChannel> channels;
  {
    absl::MutexLock lock(&channels_mu_);
    closing_ = true;
    for (ServedChannel& served : channels_) served.channel->ShutDown();
    channels.swap(channels_);
  }
  // A thread that serves a request may be about to add a channel: the lock is not held while
  // waiting for it.
  for (ServedChannel& served : channels) {
    served.channel->ShutDownAndWait();
    served.thread.join();
  }
}

bool Connection::IsMountPoint(const ControlFd& file) const {
  absl::ReaderMutexLock lock(&mount_point_mu_);
  return mount_point_.get() == &file;
}

void Connection::SetMountPoint(gofer::RefPtr<ControlFd> file) {
  absl::MutexLock lock(&mount_point_mu_);
  std::swap(mount_point_, file);  // the old one is dropped after the lock
}

ErrnoOr<Connection::NewChannel> Connection::AddChannel() {
  absl::MutexLock lock(&channels_mu_);
  if (closing_) return Errno(ENOSYS);
  const size_t index = channels_.size();
  if (index >= server_options_.max_channels) return Errno(ENOMEM);
  if (!memory_.valid()) {
    // Room for all windows at once; pages are taken when they are touched.
    ASSIGN_OR_RETURN(memory_, gofer::sys::CreateSealedMemory("flipcall_packet_windows",
                                                             kMaxChannels * kWindowSize));
  }
  gofer::UniqueFd client_socket;
  ASSIGN_OR_RETURN(std::unique_ptr<Channel> channel,
                   Channel::Create(memory_, index, client_socket));
  Channel* const serving = channel.get();
  channels_.push_back({.channel = std::move(channel), .thread = std::thread([this, serving] {
                                                        CountedConnection counted(*this, requests_);
                                                        serving->Serve(counted);
                                                      })});
  return NewChannel{.place = {.data_offset = static_cast<int64_t>(index * kWindowSize),
                              .data_length = kWindowSize},
                    .memory = memory_,
                    .client_socket = std::move(client_socket)};
}

size_t Connection::num_channels() const {
  absl::MutexLock lock(&channels_mu_);
  return channels_.size();
}

void Connection::Handle(Call& call) {
  const Op* const op = FindOp(call.id, server_options_.personality);
  if (op == nullptr) return call.Fail(Errno(EOPNOTSUPP));
  if (op->writes && options_.readonly) return call.Fail(Errno(EROFS));
  const gofer::RequestGate::Pass pass(filesystem_.gate());
  if (const ErrnoOr<void> result = op->handler(*this, call); !result.ok())
    return call.Fail(result.error());
  if (!call.body.ok()) call.Fail(Errno(EIO));  // the reply would be longer than a client takes
}

}  // namespace lisafs
