// One well-formed request for every operation of FUSE, to be cut, bent and sent to where it does
// not belong.
//
// Source: linux/fuse.h 7.41; spec/fuse.md s.3 and s.4.

#ifndef TEST_HOSTILE_FUSE_REQUESTS_H_
#define TEST_HOSTILE_FUSE_REQUESTS_H_

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "gofer/base/byte_reader.h"
#include "vhost/driver/fuse_client.h"

namespace gofer::vhost {

// What a guest has open in the tree that SetUpFiles makes.
struct Files {
  fuse::NodeId dir;
  fuse::NodeId file;
  fuse::NodeId link;
  fuse::HandleId file_handle;
  fuse::HandleId dir_handle;
};
Files SetUpFiles(driver::FuseClient& client);

struct OddRequest {
  fuse::Opcode opcode;
  fuse::NodeId node;
  std::string arguments;
  // As many of their bytes make a request; fewer do not.
  size_t least;
  // At least so many are in the reply behind its header, if all goes well.
  size_t result;
  // Where in the arguments there is a handle; npos: there is none.
  size_t handle_at = std::string::npos;
  bool has_reply = true;

  fuse::InHeader Header() const {
    fuse::InHeader header = {};
    header.opcode = opcode;
    header.nodeid = node;
    return header;
  }
};

// All but INIT and DESTROY, which end what the others need. None has anything but its own
// arguments to be refused for, but some of the results cannot be had from every host.
std::vector<OddRequest> EveryRequest(const Files& files);

// The bytes of structs and strings, one after the other.
inline void Append(std::string& to, absl::string_view bytes) { to.append(bytes); }
template <WireStruct T>
requires(!std::is_convertible_v<const T&, absl::string_view>) void Append(std::string& to,
                                                                          const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}
template <typename... Parts>
std::string Bytes(const Parts&... parts) {
  std::string bytes;
  (Append(bytes, parts), ...);
  return bytes;
}
// A name with its NUL.
inline std::string Named(absl::string_view name) { return std::string(name) + '\0'; }

}  // namespace gofer::vhost

#endif  // TEST_HOSTILE_FUSE_REQUESTS_H_
