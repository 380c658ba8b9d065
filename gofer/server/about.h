// What this build is and can do: `gofer --version` and `gofer capabilities`.
//
// Threads: any. Errors: none.

#ifndef GOFER_SERVER_ABOUT_H_
#define GOFER_SERVER_ABOUT_H_

#include <string>

namespace gofer::server {

inline constexpr char kVersion[] = "0.1.0";

// For people, one fact a line.
std::string CapabilitiesAsText();
// The same as one JSON object, with a newline.
std::string CapabilitiesAsJson();

// What virtual machine managers ask any vhost-user program for (--print-capabilities), as JSON.
std::string VhostUserCapabilities();

}  // namespace gofer::server

#endif  // GOFER_SERVER_ABOUT_H_
