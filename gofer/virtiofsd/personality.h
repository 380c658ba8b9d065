// The `virtiofsd` personality: what programs that start virtiofsd 1.13 rely on, from its command
// line to its exit status, served by the same code as `gofer serve`.
//
// Threads: called once, on the main thread, while there is no other.
// Errors:  exit status 0 when the monitor has closed the connection; 1 when something failed, or a
//          signal ended it; 2 for wrong use. A line on stderr.
// Source:  spec/virtiofsd-parity.md; spec/vhost-user-fs.md s.1.

#ifndef GOFER_VIRTIOFSD_PERSONALITY_H_
#define GOFER_VIRTIOFSD_PERSONALITY_H_

#include <string>
#include <vector>

namespace gofer::virtiofsd {

inline constexpr char kPersonalityName[] = "virtiofsd";

// The exit status. `arguments` without argv[0].
int RunPersonality(const std::vector<std::string>& arguments);

}  // namespace gofer::virtiofsd

#endif  // GOFER_VIRTIOFSD_PERSONALITY_H_
