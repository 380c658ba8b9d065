// The `runsc-gofer` personality: everything between the command line of `runsc ... gofer ...` and
// its exit status.
//
// In the order of the contract: spec, wait for runsc, root, list of mounts back to the sandbox,
// confinement, one LISAFS connection per io fd, end when all of them have ended.
//
// Threads: called once, on the main thread, while there is no other.
// Errors:  exit status 2 for wrong use, 128 for anything else, as runsc's own; a line on stderr,
//          and a JSON object on --log-fd, where container engines look for it.
// Source:  spec/runsc-gofer-launch.md.

#ifndef GOFER_RUNSC_PERSONALITY_H_
#define GOFER_RUNSC_PERSONALITY_H_

#include <string>
#include <vector>

namespace gofer::runsc {

inline constexpr char kPersonalityName[] = "runsc-gofer";

// The exit status. `arguments` without argv[0].
int RunPersonality(const std::vector<std::string>& arguments);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_PERSONALITY_H_
