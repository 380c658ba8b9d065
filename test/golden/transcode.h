// Decodes any LISAFS payload with lisafs/wire, names its values, and encodes them again: what the
// byte tests and the fuzzers hold against the golden files.
//
// Errors: a payload that does not decode is the decoder's own status. Threads: safe.

#ifndef TEST_GOLDEN_TRANSCODE_H_
#define TEST_GOLDEN_TRANSCODE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lisafs/wire/requests.h"
#include "test/golden/golden.h"

namespace lisafs::golden {

struct Transcoded {
  Fields fields;
  Bytes bytes;
};

// `message` is the message's name, or that of a part ("Statx"); `direction` as in Vector.
absl::StatusOr<Transcoded> Transcode(absl::string_view message, absl::string_view direction,
                                     Payload payload);

}  // namespace lisafs::golden

#endif  // TEST_GOLDEN_TRANSCODE_H_
