// Fuzzes every decoder of lisafs/wire: what decodes must encode back to something that decodes to
// the same values, and no longer than it came. Input: a message's number, a direction, a payload.

#include <cstddef>
#include <cstdint>

#include "glog/logging.h"
#include "lisafs/wire/message_id.h"
#include "test/golden/transcode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const absl::string_view message =
      lisafs::MessageName(static_cast<lisafs::MessageId>(data[0] % lisafs::kNumMessageIds));
  const absl::string_view direction = data[1] % 2 == 0 ? "request" : "response";
  const lisafs::Payload payload = std::as_bytes(std::span(data + 2, size - 2));
  const auto decoded = lisafs::golden::Transcode(message, direction, payload);
  if (!decoded.ok()) return 0;
  CHECK_LE(decoded->bytes.size(), payload.size()) << message;
  const auto again = lisafs::golden::Transcode(message, direction, decoded->bytes);
  CHECK(again.ok()) << message << ": " << again.status();
  CHECK(again->fields == decoded->fields) << message;
  CHECK(again->bytes == decoded->bytes) << message;
  return 0;
}
