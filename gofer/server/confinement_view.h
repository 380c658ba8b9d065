// The other side of `gofer confinement`: what the gofer answered, completed by what its user can
// see of it in /proc, for a person and for a program.
//
// Threads: safe. Errors: none; what cannot be seen is left out.
// Source:  proc(5); unix(7), SO_PEERCRED.

#ifndef GOFER_SERVER_CONFINEMENT_VIEW_H_
#define GOFER_SERVER_CONFINEMENT_VIEW_H_

#include <string>

#include "gofer/control/control.pb.h"

namespace gofer::server {

// The process that answered, as this one numbers it: `peer`, who made the socket, or the child of
// it that serves in a pid namespace of its own. 0 if it cannot be seen.
int ServingProcess(int peer, const control::Confinement& confinement);

// All threads of process `pid` instead of the one that it knows itself.
void AddThreadsOf(int pid, control::Confinement& confinement);

std::string ConfinementAsText(const control::Confinement& confinement);
std::string ConfinementAsJson(const control::Confinement& confinement);

}  // namespace gofer::server

#endif  // GOFER_SERVER_CONFINEMENT_VIEW_H_
