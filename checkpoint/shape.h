// What an image's payload is made of, seen from outside: bounds what parsing it takes.
//
// A parser makes an object of a hundred bytes of two, and eight bytes of each that stands in a
// column: a payload that obeys kMaxImageBytes could take more memory than the machine has before
// the codec sees any of it. So its elements are counted first, in place, against what the codecs
// accept.
//
// Threads: safe. Errors: absl::Status, kDataLoss with the message, the count and its bound.
// Source:  spec/security.md s.3 (a count is compared before anything is sized by it), s.5, s.6;
//          image.proto; the wire format of protobuf.

#ifndef CHECKPOINT_SHAPE_H_
#define CHECKPOINT_SHAPE_H_

#include <cstddef>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace gofer::checkpoint {

struct Shape;

// A field that there may be many of, or that is a message. Others take no more room than their
// bytes.
struct ShapeField {
  int number;
  size_t limit;          // of elements in the whole image
  const Shape* message;  // of each element; null: numbers in a column
};

struct Shape {
  const char* name;
  std::span<const ShapeField> fields;

  // Null if the field is neither a message nor a column.
  const ShapeField* Find(int number) const;
};

// That of the message Image.
const Shape& ImageShape();

absl::Status CheckShape(absl::string_view payload);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_SHAPE_H_
