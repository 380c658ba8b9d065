#include "gofer/server/flags.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "fuse/dev/dev_fuse.h"
#include "gflags/gflags.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/state.h"
#include "gofer/server/fuse_options.h"
#include "gofer/server/options.h"
#include "lisafs/server/options.h"
#include "lisafs/wire/structs.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/user/backend.h"
#include "vhost/virtio_fs/device.h"
#include "vhost/virtqueue/ring_layout.h"

DEFINE_string(root, "", "serve: the directory to serve");
DEFINE_bool(readonly, false, "serve: refuse every change");
DEFINE_string(mounts, "",
              "serve: what else of the host is served below the root, SOURCE:PATH[:ro],...");
DEFINE_string(lisafs_fd, "",
              "serve: connected unix stream sockets by number, N[:PATH[:ro]],...; exits 0 when all "
              "have ended");
DEFINE_string(lisafs_socket, "",
              "serve: sockets to listen on, FILE[:PATH[:ro]],...; one mount per connection");
DEFINE_string(vhost_user_socket, "",
              "serve: sockets to listen on for virtual machine monitors, FILE,...; one connection "
              "each, exits 0 when all have ended");
DEFINE_string(
    vhost_user_fd, "",
    "serve: sockets for virtual machine monitors by number, N,...; listening or connected");
DEFINE_string(fuse_mountpoint, "",
              "serve: directories of this machine to mount the tree at, DIR,...; exits 0 when all "
              "have been unmounted");
DEFINE_string(fuse_fd, "",
              "serve: descriptors of /dev/fuse that the caller has made mounts with, N,...");
DEFINE_bool(allow_other, false, "serve: all users may use what --fuse_mountpoint mounts");
DEFINE_string(tag, "",
              "vhost-user: the tag that the guest mounts by, for monitors that ask the device");
DEFINE_int32(thread_pool_size, -1,
             "vhost-user: threads for requests that wait for a disk; 0: none, -1: up to 16");
DEFINE_string(host_uds, "none",
              "serve: unix sockets of the host for clients: none, open, create, all");
DEFINE_string(host_fifo, "none", "serve: FIFOs of the host for clients: none, open");
DEFINE_string(donate_fds, "auto",
              "serve: whether clients get descriptors of open files: auto, never");
DEFINE_int32(ready_fd, -1, "serve: gets one newline when clients are served, and is closed");
DEFINE_string(log_format, "text", "serve: the log on stderr: text, json");
DEFINE_string(pid_file, "", "serve: gets the process id");
DEFINE_uint64(rlimit_nofile, 0,
              "serve: limit of open descriptors, soft and hard; 0 raises soft to hard");
DEFINE_uint64(max_connections, 0, "serve: how many LISAFS clients at a time; 0: 1024");
DEFINE_uint64(max_channels, 0, "serve: how many channels each LISAFS client may have; 0: 4");
DEFINE_uint64(max_queues, 0, "vhost-user: how many rings a guest may have, 2 to 256; 0: 256");
DEFINE_uint64(max_ring_entries, 0, "vhost-user: how many entries each ring may have; 0: 32768");
DEFINE_uint64(max_memory_regions, 0,
              "vhost-user: in how many regions a guest may share memory; 0: 509");
DEFINE_uint64(max_memory_bytes, 0,
              "vhost-user: how many bytes of memory a guest may share; 0: 1 TiB");
DEFINE_uint64(max_requests, 0, "vhost-user: how many requests may be in hand; 0: 8192");
DEFINE_uint64(max_mount_threads, 0,
              "serve: how many threads may serve each --fuse_mountpoint and --fuse_fd; 0: 64");
DEFINE_uint64(max_control_clients, 0, "serve: how many clients may give commands; 0: 8");
DEFINE_uint64(control_request_seconds, 0,
              "serve: how long a command may take to arrive, in seconds; 0: 5");
DEFINE_uint64(log_records_per_second, 0,
              "serve: how many records are logged in a second, others are counted; 0: 50");
DEFINE_uint64(max_nodes, 0, "serve: how many files and names all clients may know; 0: 1000000");
DEFINE_string(seccomp, "kill", "serve: for a system call outside the list: kill, trap, log, none");
DEFINE_string(sandbox, "namespace",
              "serve: namespace (own mount, ipc, net and uts namespaces, and a user namespace "
              "without root; pivot_root into the served tree), chroot, none");
DEFINE_string(landlock, "auto",
              "serve: auto (where the kernel has it, files are opened and made in the served tree "
              "alone), off");
DEFINE_bool(
    pid_namespace, false,
    "serve: with --sandbox=namespace, serve in a child that is the first of a pid namespace");
DEFINE_bool(follow_host_mounts, false,
            "serve: with --sandbox=namespace, show what the host mounts below the root later");
DEFINE_string(uid_map, "",
              "serve: without root, ranges of users in the user namespace, "
              ":INSIDE:OUTSIDE:COUNT:; repeatable");
DEFINE_string(gid_map, "", "serve: the same for groups");
DEFINE_string(modcaps, "", "serve: change the capabilities kept, +NAME:-NAME:...");
DEFINE_bool(keep_rlimit_nofile, false, "serve: leave the limit of open descriptors alone");
DEFINE_string(log_level, "info",
              "serve: least severe records: error, warn, info, debug, trace, off");
DEFINE_bool(syslog, false, "serve: log to syslog");
DEFINE_string(cache, "auto",
              "FUSE: how long clients may believe us: never, auto, metadata, always");
DEFINE_bool(allow_mmap, false, "FUSE: shared mappings with --cache=never or metadata");
DEFINE_bool(no_readdirplus, false, "FUSE: list directories without attributes");
DEFINE_bool(writeback, false, "FUSE: clients may keep back what they write");
DEFINE_bool(allow_direct_io, false, "FUSE: pass O_DIRECT on");
DEFINE_bool(preserve_noatime, false, "FUSE: pass O_NOATIME on");
DEFINE_bool(xattr, false, "FUSE: extended attributes");
DEFINE_string(xattrmap, "", "FUSE: rules that rename extended attributes, such as :map::user.vm.:");
DEFINE_bool(posix_acl, false, "FUSE: POSIX ACLs; implies --xattr");
DEFINE_bool(security_label, false, "FUSE: label new files as the client says; implies --xattr");
DEFINE_bool(killpriv_v2, false, "FUSE: setuid and setgid bits are dropped here when files change");
DEFINE_bool(no_announce_submounts, false, "FUSE: do not tell which directories are mount points");
DEFINE_string(inode_file_handles, "never",
              "FUSE: hold known files by file handle: never, prefer, mandatory");
DEFINE_bool(posix_locks, false, "FUSE: fcntl locks are the host's");
DEFINE_bool(flock_locks, false, "FUSE: flock locks are the host's");
DEFINE_bool(make_devices, false, "FUSE: device nodes may be made");
DEFINE_bool(file_capabilities, false, "FUSE: file capabilities may be set");
DEFINE_string(creds, "give",
              "FUSE: new files are made as root and given away (give), or made as the client's "
              "user (switch)");
DEFINE_string(translate_uid, "",
              "FUSE: rules that translate users, such as map:0:100000:65536; repeatable");
DEFINE_string(translate_gid, "", "FUSE: the same for groups");
DEFINE_string(migration_mode, "find-paths",
              "FUSE: state goes to the destination by find-paths, file-handles");
DEFINE_string(migration_on_error, "abort",
              "FUSE: what a file that the destination does not find does: abort, guest-error");
DEFINE_bool(migration_verify_handles, false, "FUSE: the destination compares file handles");
DEFINE_bool(migration_confirm_paths, false, "FUSE: look at all paths once more at the end");
DEFINE_string(
    control_socket, "",
    "serve: makes this socket for commands; other commands: the gofer that listens there");
DEFINE_int32(control_fd, -1, "serve: a socket for commands by number, listening or connected");
DEFINE_string(image_path, "", "checkpoint, restore: the directory of gofer.img");
DEFINE_string(image_key_file, "",
              "checkpoint, restore, inspect: a file with the secret that protects the image");
DEFINE_bool(leave_running, false, "checkpoint: serve on afterwards");
DEFINE_bool(confirm_paths, false,
            "checkpoint: look at all paths once more while nobody is served; fail if one is wrong");
DEFINE_uint64(max_deleted_bytes, uint64_t{64} << 20,
              "checkpoint: data of open files without a name that is saved; more is refused");
DEFINE_uint64(save_quiesce_seconds, 0,
              "checkpoint: how long to wait for requests in hand, in seconds; 0: 5");
DEFINE_bool(validate_file_sizes, true,
            "restore, inspect: regular files must have the size that they were saved with");
DEFINE_bool(validate_mtimes, true,
            "restore, inspect: regular files must have the modification time that they were saved "
            "with");
DEFINE_string(on_mismatch, "abort",
              "restore: for a file that is not what it was: abort (serve nothing), mark (it is "
              "ESTALE until it is looked up afresh)");
DEFINE_bool(follow_moved, false,
            "restore, inspect: take files that are found under another name from there");
DEFINE_bool(tree, false, "inspect: every name");
DEFINE_bool(verify, false, "inspect: what a restore with --root would say");
DEFINE_bool(watch, false, "status: once a second, until interrupted");
DEFINE_bool(json, false, "the answer as a JSON object");

namespace gofer::server {
namespace {

// Ours only: the libraries' flags are not part of the interface.
bool FindFlag(const std::string& name, google::CommandLineFlagInfo& info) {
  return google::GetCommandLineFlagInfo(name.c_str(), &info) &&
         absl::EndsWith(info.filename, "server/flags.cc");
}

// Between the elements of a list that is given by several flags. Rules that translate ids may have
// commas of their own.
char Separator(absl::string_view list) {
  return absl::StartsWith(list, "translate_") || absl::EndsWith(list, "id_map") ? '\n' : ',';
}

template <typename Strings>
void AddRules(const std::string& text, absl::string_view flag, Strings* rules) {
  for (const absl::string_view rule : absl::StrSplit(text, Separator(flag), absl::SkipEmpty())) {
    rules->Add(std::string(rule));
  }
}

absl::StatusOr<FusePolicy> FusePolicyFromFlags() {
  FusePolicy policy;
  ASSIGN_OR_RETURN(const CacheName cache, ParseCache(FLAGS_cache));
  policy.set_cache(cache);
  policy.set_allow_mmap(FLAGS_allow_mmap);
  policy.set_no_readdirplus(FLAGS_no_readdirplus);
  policy.set_writeback(FLAGS_writeback);
  policy.set_allow_direct_io(FLAGS_allow_direct_io);
  policy.set_preserve_noatime(FLAGS_preserve_noatime);
  policy.set_xattr(FLAGS_xattr);
  policy.set_xattrmap(FLAGS_xattrmap);
  policy.set_posix_acl(FLAGS_posix_acl);
  policy.set_security_label(FLAGS_security_label);
  policy.set_killpriv_v2(FLAGS_killpriv_v2);
  policy.set_no_announce_submounts(FLAGS_no_announce_submounts);
  ASSIGN_OR_RETURN(const InodeFileHandlesName handles,
                   ParseInodeFileHandles(FLAGS_inode_file_handles));
  policy.set_inode_file_handles(handles);
  policy.set_posix_locks(FLAGS_posix_locks);
  policy.set_flock_locks(FLAGS_flock_locks);
  policy.set_make_devices(FLAGS_make_devices);
  policy.set_file_capabilities(FLAGS_file_capabilities);
  ASSIGN_OR_RETURN(const CredsName creds, ParseCreds(FLAGS_creds));
  policy.set_creds(creds);
  AddRules(FLAGS_translate_uid, "translate_uid", policy.mutable_translate_uid());
  AddRules(FLAGS_translate_gid, "translate_gid", policy.mutable_translate_gid());
  ASSIGN_OR_RETURN(const MigrationModeName mode, ParseMigrationMode(FLAGS_migration_mode));
  policy.set_migration_mode(mode);
  ASSIGN_OR_RETURN(const MigrationOnErrorName on_error,
                   ParseMigrationOnError(FLAGS_migration_on_error));
  policy.set_migration_on_error(on_error);
  policy.set_migration_verify_handles(FLAGS_migration_verify_handles);
  policy.set_migration_confirm_paths(FLAGS_migration_confirm_paths);
  return policy;
}

// Flags that are numbers of what clients may have. 0 stands for the default.
absl::Status SetLimits(ServeOptions& options) {
  constexpr char kCheckpoint[] = "a checkpoint can hold no more";
  constexpr char kProtocol[] = "the protocol has no more";
  const struct {
    absl::string_view flag;
    uint64_t value;
    uint64_t least;
    uint64_t most;
    absl::string_view why;
    void (ServeOptions::*set)(uint64_t);
  } limits[] = {
      {"max_nodes", FLAGS_max_nodes, 1, fs::kMaxNodes, kCheckpoint, &ServeOptions::set_max_nodes},
      {"max_connections", FLAGS_max_connections, 1, lisafs::kMaxConnections, kCheckpoint,
       &ServeOptions::set_max_connections},
      {"max_channels", FLAGS_max_channels, 1, lisafs::kMaxChannels, kProtocol,
       &ServeOptions::set_max_channels},
      {"max_queues", FLAGS_max_queues, 2, vhost::user::kMaxQueues,
       "one is for requests that must not wait, and the protocol has no more",
       &ServeOptions::set_max_queues},
      {"max_ring_entries", FLAGS_max_ring_entries, 1, vhost::kMaxRingSize, kProtocol,
       &ServeOptions::set_max_ring_entries},
      {"max_memory_regions", FLAGS_max_memory_regions, 1, vhost::kMaxMemoryRegions,
       "monitors know no more", &ServeOptions::set_max_memory_regions},
      {"max_memory_bytes", FLAGS_max_memory_bytes, 4096, vhost::kMaxGuestMemory,
       "from a page to 1 TiB", &ServeOptions::set_max_memory_bytes},
      {"max_requests", FLAGS_max_requests, 1, virtio_fs::SlotPool::kMaxSlots,
       "each has memory that is set aside", &ServeOptions::set_max_requests},
      {"max_mount_threads", FLAGS_max_mount_threads, 1, fuse::DevFuse::kMaxThreads,
       "more are of no use", &ServeOptions::set_max_mount_threads},
      {"max_control_clients", FLAGS_max_control_clients, 1, 64, "each has a thread",
       &ServeOptions::set_max_control_clients},
      {"control_request_seconds", FLAGS_control_request_seconds, 1, 3600, "up to an hour",
       &ServeOptions::set_control_request_seconds},
      {"log_records_per_second", FLAGS_log_records_per_second, 1, 1'000'000,
       "none at all is --log_level=off", &ServeOptions::set_log_records_per_second},
  };
  for (const auto& limit : limits) {
    RETURN_IF_ERROR(CheckLimit(limit.flag, limit.value, limit.least, limit.most, limit.why));
    (options.*limit.set)(limit.value);
  }
  return absl::OkStatus();
}

}  // namespace

std::string FlagsHelp() {
  std::string text;
  std::vector<google::CommandLineFlagInfo> flags;
  google::GetAllFlags(&flags);
  for (const google::CommandLineFlagInfo& flag : flags) {
    if (!absl::EndsWith(flag.filename, "server/flags.cc")) continue;
    absl::StrAppend(&text, "  --", flag.name, "=", flag.default_value, "\n      ", flag.description,
                    "\n");
  }
  return text;
}

absl::StatusOr<std::vector<std::string>> ParseFlags(const std::vector<std::string>& arguments) {
  std::vector<std::string> positional;
  absl::flat_hash_map<std::string, std::string> lists = {
      {"mounts", ""},        {"lisafs_fd", ""},
      {"lisafs_socket", ""}, {"vhost_user_socket", ""},
      {"vhost_user_fd", ""}, {"fuse_mountpoint", ""},
      {"fuse_fd", ""},       {"uid_map", ""},
      {"gid_map", ""},       {"translate_uid", ""},
      {"translate_gid", ""}};
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view text = arguments[i];
    if (!absl::ConsumePrefix(&text, "--") && !absl::ConsumePrefix(&text, "-")) {
      positional.push_back(arguments[i]);
      continue;
    }
    const size_t equals = text.find('=');
    const std::string name = absl::StrReplaceAll(text.substr(0, equals), {{"-", "_"}});
    google::CommandLineFlagInfo info;
    if (!FindFlag(name, info)) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown flag --", name, "; see gofer --help"));
    }
    std::string value;
    if (equals != absl::string_view::npos) {
      value = std::string(text.substr(equals + 1));
    } else if (info.type == "bool") {
      value = "true";
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
    }
    if (const auto list = lists.find(name); list != lists.end() && !value.empty()) {
      if (!list->second.empty()) list->second.push_back(Separator(name));
      list->second += value;
      value = list->second;
    }
    if (google::SetCommandLineOption(name.c_str(), value.c_str()).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, "=", value, ": is not a ", info.type));
    }
  }
  return positional;
}

absl::StatusOr<ServeOptions> ServeOptionsFromFlags() {
  ServeOptions options;
  options.set_root(FLAGS_root);
  options.set_readonly(FLAGS_readonly);
  RETURN_IF_ERROR(ParseMounts(FLAGS_mounts, options));
  RETURN_IF_ERROR(ParseLisafsFds(FLAGS_lisafs_fd, options));
  RETURN_IF_ERROR(ParseLisafsSockets(FLAGS_lisafs_socket, options));
  RETURN_IF_ERROR(ParseVhostUserSockets(FLAGS_vhost_user_socket, options));
  RETURN_IF_ERROR(ParseVhostUserFds(FLAGS_vhost_user_fd, options));
  RETURN_IF_ERROR(ParseFuseMountpoints(FLAGS_fuse_mountpoint, options));
  RETURN_IF_ERROR(ParseFuseFds(FLAGS_fuse_fd, options));
  options.set_allow_other(FLAGS_allow_other);
  options.set_tag(FLAGS_tag);
  if (FLAGS_thread_pool_size >= 0)
    options.set_thread_pool_size(static_cast<uint32_t>(FLAGS_thread_pool_size));
  ASSIGN_OR_RETURN(const HostUds host_uds, ParseHostUds(FLAGS_host_uds));
  options.set_host_uds(host_uds);
  ASSIGN_OR_RETURN(const HostFifo host_fifo, ParseHostFifo(FLAGS_host_fifo));
  options.set_host_fifo(host_fifo);
  ASSIGN_OR_RETURN(const DonateFds donate_fds, ParseDonateFds(FLAGS_donate_fds));
  options.set_donate_fds(donate_fds);
  options.set_ready_fd(FLAGS_ready_fd);
  ASSIGN_OR_RETURN(const LogFormatName log_format, ParseLogFormat(FLAGS_log_format));
  options.set_log_format(log_format);
  options.set_pid_file(FLAGS_pid_file);
  options.set_rlimit_nofile(FLAGS_rlimit_nofile);
  RETURN_IF_ERROR(SetLimits(options));
  ASSIGN_OR_RETURN(const SeccompName seccomp, ParseSeccomp(FLAGS_seccomp));
  options.set_seccomp(seccomp);
  ASSIGN_OR_RETURN(const SandboxName sandbox, ParseSandbox(FLAGS_sandbox));
  options.set_sandbox(sandbox);
  ASSIGN_OR_RETURN(const LandlockName landlock, ParseLandlock(FLAGS_landlock));
  options.set_landlock(landlock);
  options.set_pid_namespace(FLAGS_pid_namespace);
  options.set_follow_host_mounts(FLAGS_follow_host_mounts);
  AddRules(FLAGS_uid_map, "uid_map", options.mutable_uid_map());
  AddRules(FLAGS_gid_map, "gid_map", options.mutable_gid_map());
  options.set_modcaps(FLAGS_modcaps);
  options.set_keep_rlimit_nofile(FLAGS_keep_rlimit_nofile);
  ASSIGN_OR_RETURN(const LogLevelName log_level, ParseLogLevel(FLAGS_log_level));
  options.set_log_level(log_level);
  options.set_syslog(FLAGS_syslog);
  options.set_control_socket(FLAGS_control_socket);
  if (FLAGS_control_fd >= 0) options.set_control_fd(FLAGS_control_fd);
  ASSIGN_OR_RETURN(*options.mutable_fuse(), FusePolicyFromFlags());
  RETURN_IF_ERROR(ToSessionOptions(options).status());
  RETURN_IF_ERROR(Validate(options));
  return options;
}

absl::StatusOr<ServeOptions> RestoreOptionsFromFlags() {
  ASSIGN_OR_RETURN(ServeOptions options, ServeOptionsFromFlags());
  if (FLAGS_image_path.empty()) {
    return absl::InvalidArgumentError(
        "restore: --image_path is missing; name the directory of gofer.img");
  }
  RestoreOptions& restore = *options.mutable_restore();
  restore.set_image_path(FLAGS_image_path);
  restore.set_validate_file_sizes(FLAGS_validate_file_sizes);
  restore.set_validate_mtimes(FLAGS_validate_mtimes);
  ASSIGN_OR_RETURN(const OnMismatch on_mismatch, ParseOnMismatch(FLAGS_on_mismatch));
  restore.set_on_mismatch(on_mismatch);
  restore.set_follow_moved(FLAGS_follow_moved);
  restore.set_image_key_file(FLAGS_image_key_file);
  restore.set_json(FLAGS_json);
  return options;
}

CommandFlags CommandFlagsFromFlags() {
  return {.control_socket = FLAGS_control_socket,
          .image_path = FLAGS_image_path,
          .image_key_file = FLAGS_image_key_file,
          .leave_running = FLAGS_leave_running,
          .confirm_paths = FLAGS_confirm_paths,
          .max_deleted_bytes = FLAGS_max_deleted_bytes,
          .save_quiesce_seconds = FLAGS_save_quiesce_seconds,
          .root = FLAGS_root,
          .validate_file_sizes = FLAGS_validate_file_sizes,
          .validate_mtimes = FLAGS_validate_mtimes,
          .follow_moved = FLAGS_follow_moved,
          .tree = FLAGS_tree,
          .verify = FLAGS_verify,
          .watch = FLAGS_watch,
          .json = FLAGS_json};
}

}  // namespace gofer::server
