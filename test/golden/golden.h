// Reads the golden bytes of test/golden/lisafs: what real gVisor peers have sent and answered.
//
// The files say their format at their beginning. A file that cannot be read or parsed ends the
// test. Threads: values.

#ifndef TEST_GOLDEN_GOLDEN_H_
#define TEST_GOLDEN_GOLDEN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace lisafs::golden {

using Bytes = std::vector<std::byte>;
// Decoded values by dotted name, as text: "child.stat.mode" -> "33188".
using Fields = std::map<std::string, std::string>;

struct Vector {
  std::string message;
  std::string direction;  // request, response, struct
  std::string versions;   // "22,24,26"
  std::string name;
  Fields fields;
  Bytes bytes;
};

struct Member {
  std::string name;
  std::string type;
  size_t offset;
};
struct Struct {
  std::string name;
  size_t size;
  std::vector<Member> members;
};

struct ChannelStep {
  std::string direction;
  std::string versions;
  uint32_t data_len;
  uint32_t state_after;
  size_t donated_fds;
  bool truncated;
  std::string what;
  Bytes bytes;
};

struct TreeEntry {
  std::string path;
  std::string type;  // dir, file, symlink
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  std::string data;
  std::map<std::string, std::string> xattrs;
};
struct Donated {
  std::string type;  // regular, directory, socket
  int flags;         // F_GETFL
};
struct GoldenReply {
  std::string versions;
  std::vector<Donated> donated;
  std::vector<std::pair<size_t, size_t>> ignore;  // offset and length in the frame
  Bytes frame;
};
struct TranscriptStep {
  std::string message;
  std::string note;
  Bytes send;
  std::vector<GoldenReply> replies;
  // A host process's action instead of a request: connects to this socket and writes that.
  std::string connect_to;
  std::string connect_text;
};
struct Transcript {
  std::string name;
  std::map<std::string, std::string> options;
  std::vector<TreeEntry> tree;
  std::vector<TranscriptStep> steps;
};

// All of vectors.txt. For headers.txt too: the message is the kind of header.
std::vector<Vector> ReadVectors();
std::vector<Vector> ReadHeaders();
std::vector<Struct> ReadStructs();
std::vector<ChannelStep> ReadChannelSteps();
std::vector<Transcript> ReadTranscripts();

// Whether a version list names this one ("26").
bool IsFor(absl::string_view versions, absl::string_view version);
std::string ToHex(const Bytes& bytes);

}  // namespace lisafs::golden

#endif  // TEST_GOLDEN_GOLDEN_H_
