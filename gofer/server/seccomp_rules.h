// The system calls that a serving gofer may make, as a table: call, what its arguments must be, and
// why.
//
// Everything that is not in the table ends the process. A call may have several rows; one that fits
// is enough.
//
// Source: spec/security.md s.1; spec/runsc-gofer-launch.md s.6; seccomp(2).

#ifndef GOFER_SERVER_SECCOMP_RULES_H_
#define GOFER_SERVER_SECCOMP_RULES_H_

#include <array>
#include <cstdint>
#include <span>

namespace gofer::server {

// Which part of the gofer makes the call: the first is always there, the others only where a policy
// asks for them.
enum class RuleSet : uint8_t {
  kServe,            // every gofer
  kListen,           // connections are accepted while serving (--lisafs_socket)
  kHostSocketsOpen,  // --host_uds=open or all
  kHostSocketsMake,  // --host_uds=create or all
  kHostFifos,        // --host_fifo=open, saved and restored
  kFuse,             // FUSE clients, by vhost-user or /dev/fuse
  kFuseIdentity,     // new files are made as the client's user
  kFuseDevices,      // FUSE clients may make device nodes
  kVhostUser,        // virtual machines
  kControl,          // commands (--control_socket)
  kFileHandles,      // --inode-file-handles=prefer or mandatory
};

// (argument & mask) == value, over all 64 bits.
struct Condition {
  uint8_t argument = 0;
  uint64_t mask = 0;  // 0: no condition
  uint64_t value = 0;
};

// With value 0: the argument is a descriptor, neither AT_FDCWD nor anything else negative.
inline constexpr uint64_t kDescriptorMask = 0x80000000;

struct SeccompRule {
  const char* name;
  int number;
  RuleSet set;
  std::array<Condition, 3> conditions;
  const char* reason;
};

std::span<const SeccompRule> SeccompRules();

}  // namespace gofer::server

#endif  // GOFER_SERVER_SECCOMP_RULES_H_
