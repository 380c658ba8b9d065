// LISAFS's socket by hand: frames as bytes, and a session made of them.
//
// Source: spec/lisafs.md s.2.2.

#ifndef TEST_HOSTILE_FRAMES_H_
#define TEST_HOSTILE_FRAMES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "lisafs/wire/message_id.h"

namespace lisafs {

void AppendFrame(std::string& stream, MessageId id, absl::string_view payload);

// A session as a sentry would hold it: it mounts, makes a directory and a file, writes, looks,
// removes, opens a channel and closes. Ids are counted from 1.
std::string RecordedSession();

// As much as the peer takes.
void SendAll(int socket, absl::string_view bytes);

}  // namespace lisafs

#endif  // TEST_HOSTILE_FRAMES_H_
