// What a LISAFS server and each of its connections is configured with. Values; the personality
// decides what must differ between gVisor releases, which the wire does not tell.
// Source: spec/lisafs.md s.1; spec/runsc-gofer-launch.md s.2, s.4.

#ifndef LISAFS_SERVER_OPTIONS_H_
#define LISAFS_SERVER_OPTIONS_H_

#include <cstddef>
#include <string>

#include "lisafs/wire/structs.h"

namespace lisafs {

// The release whose sentry is the client: which messages it is told of.
enum class Personality { kV22, kV24, kV26 };

// Which of the host's unix sockets a client may reach: connect to, bind, or both.
enum class HostUds { kNone, kOpen, kCreate, kAll };
inline bool MayConnect(HostUds policy) {
  return policy == HostUds::kOpen || policy == HostUds::kAll;
}
inline bool MayBind(HostUds policy) {
  return policy == HostUds::kCreate || policy == HostUds::kAll;
}

// More than these no process serves, nor has an image.
inline constexpr size_t kMaxConnections = 1024;

struct ServerOptions {
  Personality personality = Personality::kV26;
  HostUds host_uds = HostUds::kNone;
  // Whether named pipes may be opened.
  bool host_fifo_open = false;
  // Whether character devices may be opened; V22 and V24 had no such policy and always did.
  bool character_device_open = false;
  // Whether open regular files are donated, so that the client reads and maps them by itself.
  bool donate_fds = true;
  // directfs: the mount point's descriptor is donated with Mount and when it is opened.
  bool donate_mount_fd = false;
  size_t max_connections = kMaxConnections;
  size_t max_channels = kMaxChannels;  // of each connection; more there are no windows for
};

struct ConnectionOptions {
  // Absolute, below the served root.
  std::string mount_path = "/";
  bool readonly = false;
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_OPTIONS_H_
